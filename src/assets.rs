//! The web pages, built from `web/` and embedded: the player's page of a node, and the
//! operators' page of a traffic manager.

use axum::{
    Router,
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "web/dist/player"]
struct Player;

#[derive(RustEmbed)]
#[folder = "web/dist/ops"]
struct Ops;

/// The page to watch on: `/`.
pub fn player<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(async || file::<Player>("index.html")))
        .route(
            "/assets/{*path}",
            get(async |Path(path): Path<String>| file::<Player>(&format!("assets/{path}"))),
        )
}

/// The page to run it by: `/ops`.
pub fn ops<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/ops", get(async || file::<Ops>("index.html")))
        .route(
            "/ops/assets/{*path}",
            get(async |Path(path): Path<String>| file::<Ops>(&format!("assets/{path}"))),
        )
}

fn file<Folder: RustEmbed>(path: &str) -> Response {
    let Some(file) = Folder::get(path) else {
        return (StatusCode::NOT_FOUND, format!("no page {path:?}\n")).into_response();
    };
    let kind = match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    // Whatever a page loads has a hash in its name; the page itself has to be looked at anew.
    let cache = match kind {
        "text/html; charset=utf-8" => "no-cache",
        _ => "public, max-age=31536000, immutable",
    };
    (
        [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)],
        file.data.into_owned(),
    )
        .into_response()
}
