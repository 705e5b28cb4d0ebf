//! Viewers whose players adapt by themselves (`?abr=client`): the same playlists and segments as by their
//! canonical names, under `v/{viewer}/`, so that it is known who takes them. Such a viewer is measured,
//! counts in the demand, and is told the most that it is to take; what it takes is its own choice.
//!
//! Behind a cache there is none of it: there the canonical names are what matters.

use std::{sync::Arc, time::Instant};

use adaptation::{Choice, Reason, Rule, Situation};
use axum::{
    Extension,
    extract::{Path, Query, State},
    http::{HeaderMap, Uri},
    response::Response,
};
use playlists::{Epoch, render::View};

use super::{
    Origin, Refusal,
    asking::{self, Brought},
    cmcd::Cmcd,
    edge::{self, Reload},
    gate::Pass,
    lacking, listening,
    media::{self, File},
    meter::Span,
    playlist::{playlist, stream_of},
    profile::Container,
    seat::{Seat, ViewerId},
    signalling::Format,
    telling::Told,
};
use crate::{net::Connection, store::Consumer};

/// A rung that the player chose, whatever its path and the node's budget.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken(pub usize);

impl Rule for Taken {
    fn name(&self) -> &'static str {
        "client"
    }

    fn choose(&self, _: &Situation<'_>) -> Choice {
        Choice {
            rung: self.0,
            reason: Reason::Fixed,
        }
    }
}

/// `v/{viewer}/{rung}.m3u8`: the canonical playlist, whose names lie under the viewer then; `None` if
/// the stream has no such rung.
pub(super) async fn list(
    seat: &Seat,
    stream: Consumer,
    rung: &str,
    uri: &Uri,
) -> Option<Result<Response, Refusal>> {
    let rung = stream.now()?.format().ladder.index(rung)?;
    Some(listed(seat, stream, rung, uri).await)
}

async fn listed(
    seat: &Seat,
    stream: Consumer,
    rung: usize,
    uri: &Uri,
) -> Result<Response, Refusal> {
    let wrong =
        |error: axum::extract::rejection::QueryRejection| Refusal::bad_request(error.to_string());
    let reload: Query<Reload> = Query::try_from_uri(uri).map_err(wrong)?;
    let format: Query<Format> = Query::try_from_uri(uri).map_err(wrong)?;
    let window = edge::reload(&seat.stream, stream, &reload).await?;
    // A stream that began anew meanwhile may have fewer.
    let rung = rung.min(window.format().ladder.rungs().len() - 1);
    Ok(playlist(match format.container()? {
        Container::Ts => window.transport(Some(rung), reload.skips()),
        Container::Fmp4 => window.playlist(View::Canonical { rung }, reload.skips()),
    }))
}

/// `v/{viewer}/{epoch}/init.mp4`.
pub(super) async fn init(
    state: State<Arc<Origin>>,
    Path((stream, _, epoch)): Path<(String, String, u64)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    media::init(state, Path((stream, epoch)), headers).await
}

/// `v/{viewer}/{epoch}/{rung}/{name}`.
pub(super) async fn taken(
    state: State<Arc<Origin>>,
    Path((stream, viewer, epoch, rung, name)): Path<(String, String, u64, String, String)>,
    Extension(connection): Extension<Arc<Connection>>,
    pass: Option<Extension<Pass>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Refusal> {
    let asked = Instant::now();
    let viewer: ViewerId = viewer.parse().map_err(Refusal::not_found)?;
    let (stream_name, consumer) = stream_of(&state, &stream)?;
    let seat = Seat {
        stream: stream_name,
        viewer,
    };
    if let Some(way) = state.way(&seat, &uri, asked) {
        return Ok(way.redirect(&uri));
    }
    let Some(file) = File::named(&name).ok().filter(|_| name != "init.mp4") else {
        let path = Path((stream, epoch, rung, name));
        return media::canonical(state, path, headers).await;
    };
    let window = media::there(&seat.stream, &consumer, file).await?;
    let segment = window
        .segment(file.number)
        .filter(|segment| segment.head.epoch == Epoch(epoch) && !segment.gap);
    let renditions = &window.format().renditions;
    if listening::is_alone(&state, &seat.viewer.profile, renditions, &rung)
        && let Some(index) = renditions.index(&rung)
    {
        return listening::media(
            &state,
            (&seat, state.place(pass.as_ref())),
            (&consumer, Epoch(epoch)),
            (index, &renditions.others[index]),
            (&name, file),
            (connection, &headers),
        )
        .await;
    }
    let index = window.format().ladder.index(&rung);
    let (Some(segment), Some(index)) = (segment, index) else {
        // It is said there what is wrong.
        let path = Path((stream, epoch, rung, name));
        return media::canonical(state, path, headers).await;
    };
    let said = Cmcd::of(uri.query(), &headers);
    let brought = Brought {
        hint: said.map(|said| said.hint(file.part.is_some())),
        measured: connection.peer.direct,
        taken: Some(index),
        place: state.place(pass.as_ref()),
        ..Brought::default()
    };
    let past = asking::past(&window, segment);
    let table = past.as_ref().unwrap_or_else(|| window.table());
    let ask = asking::ask(&state, &seat, &window, segment, table, brought);
    let (pin, known) = state.viewers.decide(&seat, &ask, asked);
    tracing::debug!(viewer = %seat.viewer, number = file.number, part = ?file.part, %rung, ?known, "rung taken");
    let span = Span::of(segment, file.part);
    let measure = media::measure(&state, &seat, connection, span);
    window.supply().watched(index);
    let lacks = lacking::Lacking {
        window: &window,
        segment,
        file,
        rung: index,
    };
    let sending = media::Sending {
        origin: &state,
        stream: &seat.stream,
        consumer: &consumer,
        headers: &headers,
        // A viewer's own cache may keep it; one for many has it by another name.
        cache: OWN,
    };
    let mut response = sending.send(lacks, &rung, Some(measure), || None).await?;
    let told = Told {
        window: &window,
        pin,
        known,
        rung: index,
        media: span.media,
        asked,
        adapts: true,
    };
    told.put(&state, &headers, response.headers_mut());
    Ok(response)
}

/// Whether playlists of viewers who adapt by themselves lie under the viewer.
pub(super) fn is_known(origin: &Origin, names: Option<&str>) -> bool {
    !origin.terms.behind_cdn && names != Some("canonical")
}

/// It never changes, and is of this viewer.
pub(super) const OWN: &str = "private, max-age=31536000, immutable";
