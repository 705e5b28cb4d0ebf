//! The list of streams, and what somebody who is about to choose one wants to know of each. Whoever asks is nobody's
//! viewer for that.

use std::sync::Arc;

use axum::{Extension, Json, extract::State, http::header, response::IntoResponse};
use playlists::MediaTime;
use serde::Serialize;

use super::{NO_STORE, Origin, gate::Pass};
use crate::store::{Consumer, Published, StreamName};

/// `GET /live`: the streams of this node.
pub(super) async fn list(
    State(origin): State<Arc<Origin>>,
    pass: Option<Extension<Pass>>,
) -> impl IntoResponse {
    let streams = origin.store.streams().into_iter();
    let shown = |name: &StreamName| pass.as_ref().is_none_or(|pass| pass.shows(name.as_str()));
    let streams = streams.filter(|(name, _)| shown(name));
    let streams = streams
        .map(|(name, stream)| Listed::of(&origin, name, &stream))
        .collect();
    let listing = Listing {
        node: origin.node.clone(),
        streams,
    };
    ([(header::CACHE_CONTROL, NO_STORE)], Json(listing))
}

#[derive(Debug, Serialize)]
struct Listing {
    node: String,
    streams: Vec<Listed>,
}

#[derive(Debug, Serialize)]
struct Listed {
    name: StreamName,
    url: String,
    state: Phase,
    /// Seconds that can be gone back from the edge. A relay does not know: it is another node that keeps them.
    past: Option<f64>,
    /// Whether it is worth asking for its poster.
    poster: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    /// There is nothing to watch yet; who joins waits for it.
    Waiting,
    Live,
    /// It is a recording.
    Ended,
}

impl Phase {
    fn of(window: Option<&Published>) -> Self {
        match window {
            Some(window) if window.has_ended() => Self::Ended,
            Some(window) if window.is_playable() => Self::Live,
            Some(_) | None => Self::Waiting,
        }
    }
}

impl Listed {
    fn of(origin: &Origin, name: StreamName, stream: &Consumer) -> Self {
        let window = stream.now();
        let window = window.as_deref();
        let follows = origin.keeper.load().is_some();
        Self {
            url: format!("/live/{name}/index.m3u8"),
            state: Phase::of(window),
            past: (!follows).then(|| window.and_then(past).unwrap_or(0.0)),
            poster: follows || window.is_some_and(|window| window.posters().is_some()),
            name,
        }
    }
}

/// All that a long playlist lists.
fn past(window: &Published) -> Option<f64> {
    let kept = window.history()?.length();
    let live = window.segments().filter(|segment| segment.complete);
    let live = live.fold(MediaTime::ZERO, |sum, segment| sum + segment.duration());
    Some((kept + live).seconds())
}
