//! Handlers of media: the segment in the rung that the viewer can have now, and canonical objects.

use std::{sync::Arc, time::Instant};

use adaptation::Offer;
use axum::{
    Extension,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue},
    response::Response,
};
use bytes::Bytes;
use playlists::{Bitrate, Epoch, Segment};
use serde::Deserialize;

use super::{
    NO_STORE, Origin, Refusal, Stance,
    delivery::Measure,
    piece::Piece,
    playlist::{elsewhere, stream_of},
    profile::Choosing,
    seat::{Seat, ViewerId},
    signalling,
    viewers::Ask,
};
use crate::{
    net::Connection,
    store::{Consumer, Published, StreamName},
};

#[derive(Debug, Deserialize)]
pub struct Hint {
    /// What the node before measured to this viewer, kbit/s.
    seen: Option<u64>,
    /// The rung that the playlist listed, where that is when it is chosen.
    #[serde(rename = "r")]
    listed: Option<usize>,
}

/// `v/{viewer}/{msn}.m4s`: here the rung is chosen and pinned.
pub async fn chosen(
    State(origin): State<Arc<Origin>>,
    Path((stream, viewer, name)): Path<(String, String, String)>,
    Query(hint): Query<Hint>,
    Extension(connection): Extension<Arc<Connection>>,
    headers: HeaderMap,
    uri: axum::http::Uri,
) -> Result<Response, Refusal> {
    let now = Instant::now();
    let (stream, consumer) = stream_of(&origin, &stream)?;
    let viewer: ViewerId = viewer.parse().map_err(Refusal::not_found)?;
    let seat = Seat { stream, viewer };
    if let Stance::Draining { to } = &**origin.stance.load() {
        let known = origin.viewers.moved(&seat, now);
        return Ok(elsewhere(to, &uri, known));
    }
    let (stem, transport) = signalling::container(&name);
    let number = stem
        .strip_suffix(".m4s")
        .and_then(|number| number.parse().ok());
    let number: u64 = number.ok_or_else(|| Refusal::not_found(format!("{name}: not a segment")))?;
    let window = published(&seat.stream, &consumer)?;
    let segment = complete(&window, number)?;
    let ladder = &window.format().ladder;
    let top = segment.sizes().len() - 1;
    let most = seat.viewer.profile.most(ladder).min(top);
    let share = origin.share.load();
    let ceiling = share.ceiling(seat.stream.as_str(), seat.viewer.key);
    let ask = Ask {
        number,
        offer: Offer {
            sizes: &segment.sizes()[..=most],
            duration: segment.duration(),
            start: 1.min(most),
        },
        ceiling: ceiling.min(most),
        fixed: seat.viewer.profile.fixed(ladder).is_some(),
        shared: share.at,
        hint: hint.seen.map(Bitrate::from_kbps),
        patience: window.format().patience(),
        listed: hint
            .listed
            .filter(|_| seat.viewer.profile.choosing == Choosing::AtListing),
    };
    if segment.gap {
        // Nothing to choose, and nothing to learn from.
        let piece = match transport {
            true => signalling::transport(&origin, &seat.stream, segment, (0, "")).await?,
            false => whole(segment, 0, ""),
        };
        let piece = Piece {
            cache: NO_STORE,
            ..piece
        };
        return Ok(piece.answer(&headers));
    }
    let (pin, estimate) = origin.viewers.decide(&seat, &ask, now);
    // A pin may be older than the ladder, if the stream began anew with a shorter one.
    let chosen = pin.rung.min(top);
    let rung = &ladder.rungs()[chosen].name;
    tracing::debug!(viewer = %seat.viewer, number, %rung, ?pin, ?estimate, ceiling = ask.ceiling, "rung chosen");
    let mut response = if origin.terms.behind_cdn {
        signalling::elsewhere(segment, rung.as_str(), &name)
    } else {
        let piece = match transport {
            true => {
                let rung = (chosen, rung.as_str());
                signalling::transport(&origin, &seat.stream, segment, rung).await?
            }
            false => whole(segment, chosen, rung.as_str()),
        };
        let measure = Measure {
            viewers: origin.viewers.clone(),
            seat,
            connection,
            media: segment.duration(),
        };
        let piece = Piece {
            cache: NO_STORE,
            measure: Some(measure),
            ..piece
        };
        piece.answer(&headers)
    };
    let headers = response.headers_mut();
    put(headers, "spillway-rung", rung.as_str());
    put(headers, "spillway-reason", &pin.reason.to_string());
    put(headers, "spillway-node", &origin.node);
    if let Some(estimate) = estimate {
        put(headers, "spillway-estimate", &estimate.kbps().to_string());
    }
    Ok(response)
}

/// `{epoch}/{rung}/{msn}.m4s` and `{epoch}/{rung}/{msn}.{part}.m4s`.
pub async fn canonical(
    State(origin): State<Arc<Origin>>,
    Path((stream, epoch, rung, name)): Path<(String, u64, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (stream, consumer) = stream_of(&origin, &stream)?;
    let window = published(&stream, &consumer)?;
    let index = window.format().ladder.index(&rung);
    let rung =
        index.ok_or_else(|| Refusal::not_found(format!("stream {stream} has no rung {rung:?}")))?;
    let rung_name = window.format().ladder.rungs()[rung].name.as_str();
    if name == "init.mp4" {
        let (epoch, rung) = (Epoch(epoch), (rung, rung_name));
        let piece = signalling::init(&origin, &stream, &window, epoch, rung).await?;
        return Ok(piece.answer(&headers));
    }
    let (stem, transport) = signalling::container(&name);
    let (number, part) = canonical_name(&stem)
        .ok_or_else(|| Refusal::not_found(format!("{name}: not a segment")))?;
    let segment = match part {
        None => complete(&window, number)?,
        Some(_) => window
            .segment(number)
            .ok_or_else(|| gone(&window, number))?,
    };
    if segment.gap {
        // Its name is that of octets, and these are others.
        return Err(Refusal::not_found(format!("segment {number} is lost")));
    }
    if segment.head.epoch != Epoch(epoch) {
        return Err(Refusal::not_found(format!(
            "segment {number} is not of epoch {epoch}"
        )));
    }
    tracing::debug!(%stream, epoch, rung, name, "canonical object");
    let piece = match part {
        _ if transport => {
            signalling::transport(&origin, &stream, segment, (rung, rung_name)).await?
        }
        None => whole(segment, rung, rung_name),
        Some(index) => {
            let part = segment.parts.get(index);
            let part = part.ok_or_else(|| {
                Refusal::not_found(format!("segment {number} has no part {index} yet"))
            })?;
            piece(
                vec![part.media[rung].clone()],
                tag(segment, rung_name, Some(index)),
            )
        }
    };
    Ok(piece.answer(&headers))
}

/// `{epoch}/init.mp4`, the same for all rungs.
pub async fn init(
    State(origin): State<Arc<Origin>>,
    Path((stream, epoch)): Path<(String, u64)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (stream, consumer) = stream_of(&origin, &stream)?;
    let window = published(&stream, &consumer)?;
    let init = window.init(Epoch(epoch));
    let init = init.ok_or_else(|| {
        Refusal::not_found(format!("stream {stream} has no epoch {epoch} any more"))
    })?;
    Ok(piece(vec![init.media.clone()], format!("{epoch}-init")).answer(&headers))
}

fn published(stream: &StreamName, consumer: &Consumer) -> Result<Arc<Published>, Refusal> {
    let now = consumer.now();
    now.ok_or_else(|| Refusal::not_found(format!("{stream} has no media")))
}

fn complete(window: &Published, number: u64) -> Result<&Arc<Segment>, Refusal> {
    window
        .segment(number)
        .filter(|segment| segment.complete)
        .ok_or_else(|| gone(window, number))
}

fn gone(window: &Published, number: u64) -> Refusal {
    let mut segments = window
        .segments()
        .filter(|segment| segment.complete)
        .map(|segment| segment.number());
    let (first, last) = (
        segments.next().unwrap_or(0),
        segments.next_back().unwrap_or(0),
    );
    Refusal::not_found(format!("no segment {number}; there are {first} to {last}"))
}

fn canonical_name(name: &str) -> Option<(u64, Option<usize>)> {
    let name = name.strip_suffix(".m4s")?;
    match name.split_once('.') {
        Some((number, part)) => Some((number.parse().ok()?, Some(part.parse().ok()?))),
        None => Some((name.parse().ok()?, None)),
    }
}

fn whole(segment: &Segment, rung: usize, name: &str) -> Piece {
    piece(
        segment.media(rung).cloned().collect(),
        tag(segment, name, None),
    )
}

fn piece(chunks: Vec<Bytes>, tag: String) -> Piece {
    Piece {
        chunks,
        tag,
        kind: "video/mp4",
        cache: FOREVER,
        measure: None,
    }
}

/// A canonical name in short, for viewers too: what has the same is the same to the octet.
fn tag(segment: &Segment, rung: &str, part: Option<usize>) -> String {
    let (epoch, number) = (segment.head.epoch.0, segment.number());
    match part {
        _ if segment.gap => format!("gap-{number}"),
        None => format!("{epoch}-{rung}-{number}"),
        Some(part) => format!("{epoch}-{rung}-{number}.{part}"),
    }
}

/// Names and numbers are all that is ever put here; what could not be a header is left out.
fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// A named piece of media never changes, so any cache may keep it for good.
pub(super) const FOREVER: &str = "public, max-age=31536000, immutable";
