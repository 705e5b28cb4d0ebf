//! The web pages, built from `web/` and embedded: the player's page of a node, with the player alone for pages of
//! others to embed, and the operators' page and that of viewers' analytics of a traffic manager.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, LazyLock},
};

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use rust_embed::RustEmbed;

use crate::text::Text;

#[derive(RustEmbed)]
#[folder = "web/dist/player"]
struct Player;

#[derive(RustEmbed)]
#[folder = "web/dist/ops"]
struct Ops;

#[derive(RustEmbed)]
#[folder = "web/dist/analytics"]
struct Analytics;

/// The page to watch on, `/`, and the player alone, `/embed/{stream}`.
pub fn player<S: Clone + Send + Sync + 'static>() -> Router<S> {
    static FILES: LazyLock<Files> = LazyLock::new(Files::of::<Player>);
    page(&FILES).route(
        "/embed/{stream}",
        // The page reads the name of the stream off its own address.
        get(async |headers: HeaderMap| FILES.answer("embed.html", &headers)),
    )
}

/// The page to run it by: `/ops`.
pub fn ops<S: Clone + Send + Sync + 'static>() -> Router<S> {
    static FILES: LazyLock<Files> = LazyLock::new(Files::of::<Ops>);
    Router::new().nest("/ops", page(&FILES))
}

/// What became of viewers: `/analytics`.
pub fn analytics<S: Clone + Send + Sync + 'static>() -> Router<S> {
    static FILES: LazyLock<Files> = LazyLock::new(Files::of::<Analytics>);
    Router::new().nest("/analytics", page(&FILES))
}

/// A page, and what it loads.
fn page<S: Clone + Send + Sync + 'static>(files: &'static LazyLock<Files>) -> Router<S> {
    Router::new()
        .route(
            "/",
            get(async |headers: HeaderMap| files.answer("index.html", &headers)),
        )
        .route(
            "/assets/{*path}",
            get(async |Path(path): Path<String>, headers: HeaderMap| {
                files.answer(&format!("assets/{path}"), &headers)
            }),
        )
}

/// What is embedded, by its path.
struct Files(HashMap<Arc<str>, File>);

struct File {
    content: Content,
    kind: &'static str,
    tag: HeaderValue,
    cache: &'static str,
    /// What a page may load, and who may have it in a frame; `None` for what is no page.
    policy: Option<HeaderValue>,
}

enum Content {
    /// May be compressed.
    Text(Text),
    /// Is compressed already, as pictures and fonts are.
    Octets(Bytes),
}

impl Files {
    fn of<Folder: RustEmbed>() -> Self {
        let files = Folder::iter().filter_map(|path| {
            let file = File::read::<Folder>(&path)?;
            Some((Arc::from(&*path), file))
        });
        Self(files.collect())
    }

    fn answer(&self, path: &str, headers: &HeaderMap) -> Response {
        let Some(file) = self.0.get(path) else {
            return (StatusCode::NOT_FOUND, format!("no page {path:?}\n")).into_response();
        };
        let mut common = HeaderMap::from_iter([
            (header::CACHE_CONTROL, HeaderValue::from_static(file.cache)),
            (header::ETAG, file.tag.clone()),
        ]);
        if let Some(policy) = &file.policy {
            common.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
        }
        if file.is_known(headers) {
            return (StatusCode::NOT_MODIFIED, common).into_response();
        }
        // A browser must not find another type in it than we say.
        let own = [
            (header::CONTENT_TYPE, file.kind),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        match &file.content {
            Content::Text(text) => (common, own, text.clone()).into_response(),
            Content::Octets(octets) => (common, own, octets.clone()).into_response(),
        }
    }
}

impl File {
    fn read<Folder: RustEmbed>(path: &str) -> Option<Self> {
        let file = Folder::get(path)?;
        let octets = match file.data {
            Cow::Borrowed(embedded) => Bytes::from_static(embedded),
            Cow::Owned(octets) => octets.into(),
        };
        let (kind, text) = kind(path);
        let mut tag = String::from("W/\"");
        for octet in &file.metadata.sha256_hash()[..8] {
            let _ = write!(tag, "{octet:02x}");
        }
        tag.push('"');
        Some(Self {
            content: if text {
                Content::Text(octets.into())
            } else {
                Content::Octets(octets)
            },
            kind,
            tag: HeaderValue::from_str(&tag).ok()?,
            // Whatever a page loads has a hash in its name; the page itself has to be looked at anew.
            cache: match path.ends_with(".html") {
                true => "no-cache",
                false => "public, max-age=31536000, immutable",
            },
            policy: framed_by(path).and_then(|by| {
                HeaderValue::try_from(format!("{POLICY} frame-ancestors {by}")).ok()
            }),
        })
    }

    /// Whether whoever asks has it. Compared weakly: both forms of a text are the same page.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let known = headers.get_all(header::IF_NONE_MATCH).iter();
        let tag = self.tag.to_str().unwrap_or_default();
        known
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .map(str::trim)
            .any(|known| known == "*" || known == tag || Some(known) == tag.strip_prefix("W/"))
    }
}

/// Who may have a page in a frame: buttons that do something are nothing for a frame of somebody else's.
fn framed_by(path: &str) -> Option<&'static str> {
    match path {
        "index.html" => Some("'self'"),
        "embed.html" => Some("*"),
        _ => None,
    }
}

/// A page loads what is its node's own. Only media may come from elsewhere, for a viewer is sent to other nodes;
/// it comes by requests of the script, or is played by the browser itself. A track of `data:` is what hls.js hangs cues on.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
    connect-src *; media-src * blob: data:; base-uri 'none'; form-action 'none';";

/// The type of a file, and whether it is text.
fn kind(path: &str) -> (&'static str, bool) {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => ("text/html; charset=utf-8", true),
        "js" | "mjs" => ("text/javascript; charset=utf-8", true),
        "css" => ("text/css; charset=utf-8", true),
        "json" | "map" => ("application/json", true),
        "txt" => ("text/plain; charset=utf-8", true),
        "svg" => ("image/svg+xml", true),
        "png" => ("image/png", false),
        "ico" => ("image/x-icon", false),
        "woff2" => ("font/woff2", false),
        "wasm" => ("application/wasm", true),
        _ => ("application/octet-stream", false),
    }
}
