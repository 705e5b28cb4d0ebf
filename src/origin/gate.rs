//! Who may come in, where playback tokens are asked for: finds the token of a request, sees whether
//! it is for what is asked, and takes it out of the path, so that nothing behind it knows of tokens.
//!
//! A token stands in the path (`/~{token}/live/...`, which every relative name inherits), in the
//! query (`?token=`, for joins) or in `Authorization: Bearer` (for other nodes). What tokens say is
//! `token`'s business. Tokens are never logged, and no answer repeats one.

use std::{borrow::Cow, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{
        HeaderValue, StatusCode, Uri,
        header::{AUTHORIZATION, LOCATION, WWW_AUTHENTICATE},
        uri::PathAndQuery,
    },
    response::{IntoResponse as _, Response},
};
use tower::ServiceExt as _;
use url::form_urlencoded;

use super::Refusal;
use crate::{
    store::StreamName,
    token::{
        self, Fault, Token,
        keys::{self, Keys},
    },
};

/// What a request came in with; among its extensions.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    scope: String,
    class: Option<String>,
    /// Seconds since 1970.
    expires: u64,
    /// The way from where a stream is joined up to what stands before `/live` or a token.
    up: &'static str,
}

/// Lets requests through to `inside`, if their tokens are for what they ask.
pub(super) fn before(inside: Router, keys: Arc<Keys>) -> Router {
    Router::new().fallback(async move |request: Request| enter(inside, &keys, request).await)
}

async fn enter(inside: Router, keys: &Keys, mut request: Request) -> Response {
    let own = take(&mut request);
    if let Err(fault) = check(&mut request, own.as_deref(), keys) {
        return refusal(&fault).into_response();
    }
    let Ok(mut response) = inside.oneshot(request).await;
    if let Some(own) = own {
        keep(&mut response, &own);
    }
    response
}

/// Takes the token out of the path.
fn take(request: &mut Request) -> Option<String> {
    let uri = request.uri();
    let (own, rest) = uri.path().strip_prefix("/~")?.split_once('/')?;
    let text = match uri.query() {
        Some(query) => format!("/{rest}?{query}"),
        None => format!("/{rest}"),
    };
    let own = own.to_owned();
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    // It is a piece of what was one.
    parts.path_and_query = PathAndQuery::try_from(text).ok();
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    Some(own)
}

/// Whether the request may come in; leaves its pass with it.
fn check(request: &mut Request, own: Option<&str>, keys: &Keys) -> Result<(), Fault> {
    let Some(rest) = request.uri().path().strip_prefix("/live") else {
        return Ok(());
    };
    let (text, up) = match own {
        Some(own) => (Cow::Borrowed(own), "../../../"),
        None => (given(request).ok_or(Fault::Missing)?, QUERIED),
    };
    let ring = keys.ring();
    let token = ring.verify(&text, keys::now())?;
    // The list of streams shows everybody those that are theirs.
    if let Some((stream, rest)) = rest.strip_prefix('/').and_then(|rest| rest.split_once('/')) {
        token.allows(stream, rest)?;
    }
    let pass = Pass {
        scope: token.scope.to_owned(),
        class: token.class.map(str::to_owned),
        expires: token.expires,
        up,
    };
    request.extensions_mut().insert(pass);
    Ok(())
}

/// The token in the query, else in the headers.
fn given(request: &Request) -> Option<Cow<'_, str>> {
    let query = request.uri().query().unwrap_or_default();
    let named = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "token");
    let bearer = || {
        let header = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
        header.strip_prefix("Bearer ").map(Cow::Borrowed)
    };
    named.map(|(_, text)| text).or_else(bearer)
}

/// Who is sent elsewhere takes the token along.
fn keep(response: &mut Response, own: &str) {
    let Some(location) = response.headers_mut().get_mut(LOCATION) else {
        return;
    };
    let text = location.to_str().unwrap_or_default();
    let Some((node, rest)) = text.split_once("/live/") else {
        return;
    };
    if let Ok(to) = HeaderValue::try_from(format!("{node}/~{own}/live/{rest}")) {
        *location = to;
    }
}

/// The way up from where a stream is joined with a token that is not in the path.
const QUERIED: &str = "../../";

fn refusal(fault: &Fault) -> Response<Body> {
    if let Fault::Scope(_) = fault {
        return Refusal::of(StatusCode::FORBIDDEN, fault.to_string()).into_response();
    }
    let why = format!("{fault}; join with ?token=TOKEN");
    let mut response = Refusal::of(StatusCode::UNAUTHORIZED, why).into_response();
    // RFC 9110 section 15.5.2 asks for a challenge; this is the form that other nodes use.
    let challenge = HeaderValue::from_static("Bearer realm=\"spillway\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

impl Pass {
    /// Whether its holder may know of a stream.
    pub(super) fn shows(&self, stream: &str) -> bool {
        let token = Token {
            scope: &self.scope,
            class: self.class(),
            expires: self.expires,
        };
        token.joins(stream)
    }

    /// Of whom its holder is one.
    pub(super) fn class(&self) -> Option<&str> {
        self.class.as_deref()
    }

    /// Where the stills of `stream` are to be found; `None` if their names inherit the token.
    pub(super) fn folder_of_stills(&self, keys: &Keys, stream: &StreamName) -> Option<String> {
        let role = token::of_stills(stream.as_str());
        (self.up == QUERIED).then(|| self.under(keys, stream, &role))
    }

    /// The way from where a stream is joined to its names under a token to play with.
    fn under(&self, keys: &Keys, stream: &StreamName, role: &str) -> String {
        let token = keys.session(role, self.class(), self.expires);
        format!("{}~{token}/live/{stream}/", self.up)
    }

    /// The multivariant playlist `text` of `stream`, with its names under a token to play with.
    pub(super) fn hand_out(
        &self,
        keys: &Keys,
        stream: &StreamName,
        role: &str,
        text: &str,
    ) -> String {
        let under = self.under(keys, stream, role);
        let (mut handed, uri) = (
            String::with_capacity(text.len() * 2),
            format!("URI=\"{under}"),
        );
        for line in text.lines() {
            match line {
                "" => {}
                line if line.starts_with('#') => handed.push_str(&line.replace("URI=\"", &uri)),
                name => handed.extend([&under, name]),
            }
            handed.push('\n');
        }
        handed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn request(uri: &str) -> Request {
        Request::builder().uri(uri).body(Body::empty()).unwrap()
    }

    #[test]
    fn a_token_is_taken_out_of_the_path_and_nothing_else() {
        for (uri, token, left) in [
            (
                "/~k.1.demo.00/live/demo/index.m3u8?a=b",
                Some("k.1.demo.00"),
                "/live/demo/index.m3u8?a=b",
            ),
            ("/~t/live", Some("t"), "/live"),
            ("/~t/", Some("t"), "/"),
            ("/~t", None, "/~t"),
            ("/live/~t/x", None, "/live/~t/x"),
        ] {
            let mut request = request(uri);
            assert_eq!(take(&mut request).as_deref(), token, "{uri}");
            assert_eq!(request.uri().to_string(), left);
        }
    }

    #[test]
    fn a_redirect_takes_the_token_along() {
        for (from, to) in [
            (
                "http://b:1/live/demo/v/1/2.m4s?seen=3",
                "http://b:1/~t/live/demo/v/1/2.m4s?seen=3",
            ),
            ("../../7/720p/1000.m4s", "../../7/720p/1000.m4s"),
            (
                "http://tm:9000/watch/demo.m3u8",
                "http://tm:9000/watch/demo.m3u8",
            ),
        ] {
            let mut response = (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, from)]).into_response();
            keep(&mut response, "t");
            assert_eq!(response.headers()[LOCATION], to);
        }
    }

    #[test]
    fn every_name_of_a_playlist_comes_to_lie_under_the_token() {
        let file = std::env::temp_dir().join(format!("spillway-gate-{}", std::process::id()));
        std::fs::write(&file, keys::new_key("k1").unwrap()).unwrap();
        let keys = Keys::load(&file, Duration::from_secs(60)).unwrap();
        std::fs::remove_file(&file).unwrap();
        let pass = Pass {
            scope: "demo".into(),
            class: None,
            expires: 0,
            up: "../../",
        };
        let text = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,URI=\"v/1/de.m3u8\"\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv/1/index.m3u8\n";
        let handed = pass.hand_out(&keys, &"demo".parse().unwrap(), "demo~ladder", text);
        let lines: Vec<_> = handed.lines().collect();
        assert_eq!(
            (lines[0], lines[2]),
            ("#EXTM3U", "#EXT-X-STREAM-INF:BANDWIDTH=1")
        );
        assert!(
            lines[1].starts_with("#EXT-X-MEDIA:TYPE=AUDIO,URI=\"../../~k1.")
                && lines[1].ends_with("/live/demo/v/1/de.m3u8\""),
            "{handed}"
        );
        assert!(
            lines[3].starts_with("../../~k1.") && lines[3].ends_with("/live/demo/v/1/index.m3u8")
        );
        assert_eq!(lines.len(), 4);
    }
}
