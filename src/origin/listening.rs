//! Who takes the main sound alone: by wish (`?rung=audio`), or as the plain ladder's variant for paths that carry no pictures.
//!
//! Such a viewer counts like any other, from its first segment on, and its deliveries are measured. There is nothing to choose
//! for it, and it has no share of the egress to ask for: sound takes less than is left of the cheapest rung's. Its names lie under
//! `v/{viewer}/`; behind a cache they are everybody's.

use std::{sync::Arc, time::Instant};

use axum::{
    http::{HeaderMap, Uri},
    response::Response,
};
use playlists::{Epoch, Rendition, Renditions, render, rendition::ALONE};

use super::{
    Origin, Refusal, beside,
    media::{self, File},
    meter::Span,
    own,
    piece::Piece,
    profile::{Container, Profile},
    seat::{Seat, ViewerId},
    viewers::Newcomer,
};
use crate::{
    net::Connection,
    store::{Consumer, Published, StreamName},
    token,
};

/// The text of a join for sound alone, and for whom what it names is; or a viewer who is turned away.
pub(super) fn join(
    origin: &Origin,
    stream: &StreamName,
    window: &Published,
    (viewer, names): (ViewerId, Option<&str>),
    by_name: bool,
    uri: &Uri,
) -> Result<Result<(String, String), Response>, Refusal> {
    let renditions = &window.format().renditions;
    let Some((_, alone)) = renditions.alone() else {
        return Err(Refusal::bad_request(format!(
            "rung={ALONE}: stream {stream} has no sound alone; --audio-rung of its primary makes it"
        )));
    };
    let profile = &viewer.profile;
    if profile.goes_back() {
        return Err(Refusal::bad_request(format!(
            "rung={ALONE}: sound alone is live only; leave out start"
        )));
    }
    if by_name && profile.container == Container::Ts {
        return Err(Refusal::bad_request(format!(
            "rung={ALONE}: sound alone is not to be had as MPEG-TS; leave out format=ts"
        )));
    }
    if let Some(turned_away) = origin.turn_away(stream, alone.bandwidth, uri) {
        return turned_away.map(Err);
    }
    let (folder, scope) = match names {
        Some("canonical") => (String::new(), token::of_ladder(stream.as_str())),
        _ => {
            let scope = token::of_viewer(stream.as_str(), viewer.key);
            (format!("v/{viewer}/"), scope)
        }
    };
    let text = render::sound_alone(renditions, &folder).unwrap_or_default();
    Ok(Ok((text, scope)))
}

/// Whether a viewer with this profile that takes `name` takes sound alone, and under names of its own. Of several sounds
/// only who said so at its join does: others take the same beside pictures.
pub(super) fn is_alone(
    origin: &Origin,
    profile: &Profile,
    renditions: &Renditions,
    name: &str,
) -> bool {
    let known = own::is_known(origin, None);
    let alone = renditions.alone().map(|(rendition, _)| rendition);
    alone
        .filter(|alone| known && alone.name.as_str() == name)
        .is_some_and(|alone| alone.is_only_alone() || profile.listens())
}

/// A segment or part of it, under the viewer's own name.
pub(super) async fn media(
    origin: &Origin,
    (seat, place): (&Seat, u8),
    (consumer, epoch): (&Consumer, Epoch),
    (index, rendition): (usize, &Rendition),
    (name, file): (&str, File),
    (connection, headers): (Arc<Connection>, &HeaderMap),
) -> Result<Response, Refusal> {
    let piece = beside::piece(&seat.stream, consumer, epoch, (index, rendition), name).await?;
    let now = consumer.now();
    let segment = now.as_ref().and_then(|now| now.segment(file.number));
    let (Some(now), Some(segment)) = (&now, segment) else {
        return Ok(piece.answer(headers));
    };
    let newcomer = Newcomer {
        ruled: false,
        place,
        patience: now.format().patience(),
        known: None,
        ceiling: 0,
    };
    let begins = file.part.is_none_or(|part| part == 0);
    origin
        .viewers
        .listen(seat, &newcomer, begins, Instant::now());
    let span = Span::of(segment, file.part);
    let piece = Piece {
        cache: own::OWN,
        measure: Some(media::measure(origin, seat, connection, span)),
        ..piece
    };
    Ok(piece.answer(headers))
}
