//! Handlers of stills: a stream's poster, the storyboard of what can still be watched, and the sprites that it
//! names. Every answer is the same for everybody, and nobody counts as a viewer for asking.
//!
//! Stills belong to segments, so that they are kept for as long, in memory or in the DVR. A relay has none of its
//! own: it takes each from the node that it follows, once for all who ask. How sprites are put together is `media`'s
//! business.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use playlists::{
    Epoch, render,
    still::{Coding, Sprite},
};
use serde::Deserialize;

use super::{
    NO_STORE, Origin, Refusal,
    gate::Pass,
    media::FOREVER,
    piece::Piece,
    playlist::stream_of,
    pulled::{FRESH, KEPT},
};
use crate::{
    net::FetchError,
    store::{self, Published},
    text::Text,
};

#[derive(Debug, Deserialize)]
pub(super) struct Width {
    /// At least so many pixels, if there is one as wide.
    width: Option<u16>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Zero {
    /// Times are counted from the beginning of this segment.
    from: Option<u64>,
    /// `canonical`: who asks hands on what it gets.
    names: Option<String>,
}

/// `poster.jpg`.
pub(super) async fn jpeg(
    State(origin): State<Arc<Origin>>,
    Path(stream): Path<String>,
    Query(width): Query<Width>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    poster(&origin, &stream, Coding::Jpeg, &width, &headers).await
}

/// `poster.webp`.
pub(super) async fn webp(
    State(origin): State<Arc<Origin>>,
    Path(stream): Path<String>,
    Query(width): Query<Width>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    poster(&origin, &stream, Coding::Webp, &width, &headers).await
}

async fn poster(
    origin: &Origin,
    stream: &str,
    coding: Coding,
    width: &Width,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let (name, consumer) = stream_of(origin, stream)?;
    let width = width.width.unwrap_or(USUAL_WIDTH);
    let missing = || Refusal::not_found(format!("stream {name} has no {} poster", coding.ending()));
    let media = match origin.keeper.load().as_deref() {
        Some(keeper) => {
            let path = format!("live/{name}/poster.{}?width={width}", coding.ending());
            origin
                .pulled
                .get(keeper, &path, FRESH)
                .await
                .map_err(from_keeper)?
        }
        None => {
            let now = consumer.now();
            let posters = now.as_ref().and_then(|now| now.posters());
            let poster = posters.and_then(|posters| posters.at_least(width, coding));
            at_hand(poster.ok_or_else(missing)?.media.clone()).await?
        }
    };
    Ok(piece(media, coding, POSTER).answer(headers))
}

/// `storyboard.vtt`.
pub(super) async fn storyboard(
    State(origin): State<Arc<Origin>>,
    Path(stream): Path<String>,
    Query(Zero { from, names }): Query<Zero>,
    pass: Option<Extension<Pass>>,
) -> Result<Response, Refusal> {
    let (name, consumer) = stream_of(&origin, &stream)?;
    let text = match origin.keeper.load().as_deref() {
        Some(keeper) => {
            let from = from.map_or(String::new(), |from| format!("&from={from}"));
            let path = format!("live/{name}/storyboard.vtt?names=canonical{from}");
            let pulled = origin.pulled.get(keeper, &path, FRESH).await;
            String::from_utf8_lossy(&pulled.map_err(from_keeper)?).into_owned()
        }
        None => {
            let now = consumer.now();
            let now = now.ok_or_else(|| Refusal::not_found(format!("{name} has no media")))?;
            render::storyboard(&now, from)
        }
    };
    let folder = match (&pass, &origin.terms.keys) {
        (Some(pass), Some(keys)) if names.as_deref() != Some("canonical") => {
            pass.folder_of_stills(keys, &name)
        }
        _ => None,
    };
    // Nobody else may be given what is under somebody's token.
    let (text, cache) = match folder {
        Some(folder) => (Text::for_one(moved(&text, &folder)), NO_STORE),
        None => (Text::from(text), STORYBOARD),
    };
    let headers = [
        (header::CONTENT_TYPE, "text/vtt"),
        (header::CACHE_CONTROL, cache),
    ];
    Ok((headers, text).into_response())
}

/// `{epoch}/storyboard/{first}-{last}.jpg`.
pub(super) async fn sprite(
    State(origin): State<Arc<Origin>>,
    Path((stream, epoch, file)): Path<(String, u64, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (name, consumer) = stream_of(&origin, &stream)?;
    let wrong = || Refusal::not_found(format!("{file}: not a sprite"));
    let (first, last) = Sprite::numbers(&file).ok_or_else(wrong)?;
    let epoch = Epoch(epoch);
    let sprite = Sprite { epoch, first, last };
    let media = match origin.keeper.load().as_deref() {
        Some(keeper) => {
            let path = format!("live/{name}/{}", sprite.name());
            origin
                .pulled
                .get(keeper, &path, KEPT)
                .await
                .map_err(from_keeper)?
        }
        None => {
            let now = consumer.now();
            let missing = || Refusal::not_found(format!("{name} has no sprite {file} any more"));
            let tiles = now.as_ref().and_then(|now| tiles(now, sprite));
            let tiles = tiles.ok_or_else(missing)?;
            let made = origin.derived.sprite(&name, sprite, tiles).await;
            made.map_err(|why| {
                tracing::warn!(stream = %name, ?sprite, %why, "no sprite");
                Refusal::of(StatusCode::INTERNAL_SERVER_ERROR, format!("{file}: {why}"))
            })?
        }
    };
    Ok(piece(media, Coding::Jpeg, FOREVER).answer(&headers))
}

/// The tiles of a sprite, one for each of its segments. There are none if it does not begin and end with one.
fn tiles(window: &Published, Sprite { epoch, first, last }: Sprite) -> Option<Vec<Bytes>> {
    let tile = |number: u64| {
        let segment = window.segment(number).filter(|segment| segment.complete)?;
        let tile = segment.tile().filter(|_| segment.head.epoch == epoch)?;
        Some(tile.media.clone())
    };
    let mut tiles = vec![tile(first)?];
    tile(last)?;
    for number in first + 1..=last {
        // Who has none leaves its place to the one before.
        let tile = tile(number).or_else(|| tiles.last().cloned());
        tiles.extend(tile);
    }
    Some(tiles)
}

/// The poster of a programme of before is in the DVR.
async fn at_hand(media: Bytes) -> Result<Bytes, Refusal> {
    let read = tokio::task::spawn_blocking(move || store::populate(&media).map(|()| media));
    let lost = |why: String| Refusal::not_found(format!("cannot be read back from the DVR: {why}"));
    let read = read.await.map_err(|why| lost(why.to_string()))?;
    read.map_err(|why| lost(why.to_string()))
}

/// What has the same octets has the same tag, on whatever node.
fn piece(media: Bytes, coding: Coding, cache: &'static str) -> Piece {
    Piece {
        tag: format!("{:08x}-{}", crc32fast::hash(&media), media.len()),
        chunks: vec![media],
        kind: coding.mime(),
        cache,
        measure: None,
    }
}

/// The storyboard with its sprites in another folder.
fn moved(text: &str, folder: &str) -> String {
    let lines = text.lines().map(|line| match line.contains("#xywh=") {
        true => format!("{folder}{line}\n"),
        false => format!("{line}\n"),
    });
    lines.collect()
}

fn from_keeper(why: Arc<FetchError>) -> Refusal {
    match &*why {
        FetchError::Status { status, said, .. } if *status == StatusCode::NOT_FOUND => {
            Refusal::not_found(said.trim())
        }
        why => Refusal::later(format!("the node that has it does not give it: {why}"), 2),
    }
}

/// For who does not say.
const USUAL_WIDTH: u16 = 640;

/// There is another every so many seconds, and nobody minds which.
const POSTER: &str = "public, max-age=5";

/// It grows with each segment.
const STORYBOARD: &str = "public, max-age=2";
