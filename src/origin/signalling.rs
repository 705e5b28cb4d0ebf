//! How viewers learn of their rungs where it is not the usual way: playlists of one viewer, whose rungs
//! are chosen when they are listed; a rung's own init section; MPEG-TS; and behind a cache, where
//! a segment really is.
//!
//! What is written is `playlists::render`'s business, what is made of media `derived`'s. The usual
//! way, one text for everybody and the rung chosen at the GET, is `playlist`'s and `media`'s.

use std::{borrow::Cow, sync::Arc, time::Instant};

use axum::{
    http::{Uri, header},
    response::{IntoResponse, Redirect, Response},
};
use playlists::{
    Bitrate, Epoch, Renditions, Segment, Timeline,
    render::{self, Skip, Style, Taken},
};

use super::{
    NO_STORE, Origin, Refusal,
    asking::{self, Brought},
    lacking,
    media::{self, FOREVER},
    piece::Piece,
    profile::{Choosing, Container, Profile, Signalling},
    seat::Seat,
};
use crate::{
    store::{Published, StreamName},
    text::Text,
};

/// What another node knew of a viewer that it sent here.
#[derive(Clone, Debug, Default, serde::Deserialize)]
pub(super) struct Known {
    /// What it measured, kbit/s.
    seen: Option<u64>,
    /// What it told the viewer, if rungs are chosen when they are listed.
    told: Option<String>,
}

impl Known {
    pub(super) fn rate(&self) -> Option<Bitrate> {
        self.seen.map(Bitrate::from_kbps)
    }

    /// A text that is no timeline is as good as none: the viewer begins anew.
    fn told(&self) -> Option<Timeline> {
        self.told.as_deref()?.parse().ok()
    }
}

/// `uri`, and what the viewer was told, for another node to go on with.
pub(super) fn telling(uri: Uri, told: Option<Timeline>) -> Uri {
    let Some(told) = told else {
        return uri;
    };
    let query = uri.query().into_iter().flat_map(|query| query.split('&'));
    let query = query.filter(|pair| !pair.starts_with("told="));
    let query: String = query.map(|pair| format!("{pair}&")).collect();
    let whole = format!("{}?{query}told={told}", uri.path());
    whole.parse().unwrap_or(uri)
}

/// Whether a viewer with this profile gets the usual text: what is live, for all who get it the same.
pub(super) fn is_usual(profile: &Profile) -> bool {
    let (choosing, container) = (profile.choosing, profile.container);
    (choosing, container) == (Choosing::AtGet, Container::Fmp4) && !profile.goes_back()
}

/// A viewer's media playlist, unless it is the usual text; with `skip`, without what it has. It is what another node
/// knew of it and the place of its class that tell how its rungs are chosen.
pub(super) fn playlist(
    origin: &Origin,
    seat: &Seat,
    window: &Published,
    (known, place): (&Known, u8),
    skip: Skip,
) -> Option<Text> {
    let profile = &seat.viewer.profile;
    let transport = profile.container == Container::Ts;
    match profile.choosing {
        Choosing::AtGet if transport => Some(window.transport(None, skip)),
        Choosing::AtGet => None,
        Choosing::AtListing => {
            let timeline = list(origin, seat, window, (known, place))?;
            let style = Style {
                tagged: profile.signalling == Signalling::Tagged,
                transport,
                parts: profile.lists_parts(),
                canonical: origin.terms.behind_cdn,
            };
            let taken = Taken::Told(&timeline);
            let delta = (skip != Skip::Nothing).then(|| render::told_delta(window, taken, style));
            let text = delta.flatten();
            Some(Text::for_one(
                text.unwrap_or_else(|| render::told(window, taken, style)),
            ))
        }
    }
}

/// What the viewer is told of the segments that are listed, the open one among them if its parts are;
/// `None` if there are none.
fn list(
    origin: &Origin,
    seat: &Seat,
    window: &Published,
    (known, place): (&Known, u8),
) -> Option<Timeline> {
    let open = window.open_segment();
    let open = open.filter(|_| seat.viewer.profile.lists_parts());
    let segments: Vec<_> = window.listed().chain(open).collect();
    let newest = segments.last()?;
    let brought = Brought {
        known: known.rate(),
        // Nothing is taken yet, and a listing says nothing of a path.
        measured: true,
        place,
        ..Brought::default()
    };
    let table = window.table();
    let ask = asking::ask(origin, seat, window, newest, table, brought);
    let segments: Vec<_> = segments
        .iter()
        .map(|segment| (segment.number(), segment.head.discontinuity))
        .collect();
    let viewers = &origin.viewers;
    let timeline = viewers.list(seat, &segments, &ask, known.told(), Instant::now());
    tracing::debug!(viewer = %seat.viewer, told = %timeline, "segments listed");
    Some(timeline)
}

/// What of its profile a viewer can be given of this stream. MPEG-TS that it asked for `by_name` it
/// gets or is refused; where that is only what suits its player, fMP4 stands in, as it does for a
/// stream with renditions, which MPEG-TS goes without.
pub(super) async fn suited(
    origin: &Origin,
    stream: &StreamName,
    window: &Published,
    profile: Profile,
    by_name: bool,
) -> Result<Profile, Refusal> {
    if profile.container == Container::Fmp4 {
        return Ok(profile);
    }
    if by_name && window.format().renditions.apart() {
        return Err(Refusal::bad_request(format!(
            "stream {stream} cannot be given as MPEG-TS: its sound is in tracks of its own; leave out format=ts"
        )));
    }
    let plain = Profile {
        container: Container::Fmp4,
        ..profile.clone()
    };
    if !by_name && window.format().renditions.choices().next().is_some() {
        return Ok(plain);
    }
    let Some(segment) = window.listed().filter(|segment| !segment.gap).last() else {
        return Ok(profile);
    };
    match origin.derived.transport(stream, segment, 0).await {
        Ok(_) => Ok(profile),
        Err(_) if !by_name => Ok(plain),
        Err(why) => Err(Refusal::bad_request(format!(
            "stream {stream} cannot be given as MPEG-TS: {why}; leave out format=ts"
        ))),
    }
}

/// Whether a viewer can only be given the ladder, to adapt by itself: its switches are tagged, and the
/// sound is not in the rungs.
pub(super) fn is_beyond(window: &Published, profile: &Profile, abr: Option<&str>) -> bool {
    let tagged = profile.signalling == Signalling::Tagged;
    abr.is_none() && tagged && window.format().renditions.apart()
}

/// The renditions that go with a viewer's playlist. Theirs have no tags at its switches, without which
/// hls.js never starts, and are not MPEG-TS: who wants either has the sound that is in the rungs.
pub(super) fn renditions<'a>(renditions: &'a Renditions, profile: &Profile) -> Cow<'a, Renditions> {
    if profile.signalling == Signalling::Tagged || profile.container == Container::Ts {
        // Captions are in the pictures, and so in these as well.
        let closed = renditions.closed.clone();
        Cow::Owned(Renditions {
            closed,
            ..Renditions::default()
        })
    } else {
        Cow::Borrowed(renditions)
    }
}

/// What goes with the plain ladder. Sound alone is not to be had as MPEG-TS, and among such rungs it is of no use.
pub(super) fn beside_ladder<'a>(
    renditions: &'a Renditions,
    profile: &Profile,
) -> Cow<'a, Renditions> {
    let mut beside = Cow::Borrowed(renditions);
    if profile.container == Container::Ts && renditions.alone().is_some() {
        beside.to_mut().others.retain(|one| !one.is_only_alone());
    }
    beside
}

/// What the name of a canonical playlist needs, for who adapts by itself.
pub(super) fn query(profile: &Profile) -> &'static str {
    match profile.container {
        Container::Fmp4 => "",
        Container::Ts => "?format=ts",
    }
}

/// Of which segments a canonical playlist is to be.
#[derive(Debug, serde::Deserialize)]
pub struct Format {
    format: Option<String>,
}

impl Format {
    pub(super) fn container(&self) -> Result<Container, Refusal> {
        match self.format.as_deref() {
            None | Some("fmp4") => Ok(Container::Fmp4),
            Some("ts") => Ok(Container::Ts),
            Some(other) => Err(Refusal::bad_request(format!(
                "format={other:?} is neither \"fmp4\" nor \"ts\""
            ))),
        }
    }
}

/// `segment` in a rung of this name, as MPEG-TS.
pub(super) async fn transport(
    origin: &Origin,
    stream: &StreamName,
    segment: &Arc<Segment>,
    (rung, name): (usize, &str),
) -> Result<Piece, Refusal> {
    let (epoch, number) = (segment.head.epoch.0, segment.number());
    let made = origin.derived.transport(stream, segment, rung).await;
    let made = made.map_err(|why| {
        tracing::warn!(%stream, number, rung = name, %why, "cannot be given as MPEG-TS");
        Refusal::not_found(format!(
            "segment {number} is not to be had as MPEG-TS: {why}"
        ))
    })?;
    let tag = if segment.gap {
        format!("gap-{number}.ts")
    } else {
        format!("{epoch}-{name}-{number}.ts")
    };
    Ok(Piece {
        chunks: vec![made],
        tag,
        kind: "video/mp2t",
        cache: FOREVER,
        measure: None,
    })
}

/// `{epoch}/{rung}/init.mp4`: of this rung alone. Where it cannot be made, the one that all rungs share
/// is as good, if less true.
pub(super) async fn init(
    origin: &Origin,
    stream: &StreamName,
    window: &Published,
    epoch: Epoch,
    (rung, name): (usize, &str),
) -> Result<Piece, Refusal> {
    let of_epoch = |segment: &&Arc<Segment>| segment.head.init.epoch == epoch && !segment.gap;
    let segment = window
        .listed_in_full()
        .chain(window.segments())
        .find(of_epoch);
    let segment = segment.ok_or_else(|| {
        Refusal::not_found(format!("stream {stream} has no epoch {} any more", epoch.0))
    })?;
    let lacks = lacking::Lacking {
        window,
        segment,
        file: media::File::whole(segment.number()),
        rung,
    };
    let segment = &lacks.supplied().await.unwrap_or_else(|_| segment.clone());
    let made = match origin.derived.init(stream, segment, rung).await {
        Ok(made) => made,
        Err(why) => {
            tracing::debug!(%stream, rung = name, %why, "no init section of a rung's own");
            segment.head.init.media.clone()
        }
    };
    Ok(Piece {
        chunks: vec![made],
        tag: format!("{}-{name}-init", epoch.0),
        kind: "video/mp4",
        cache: FOREVER,
        measure: None,
    })
}

/// A file's name as that of a CMAF segment, and whether it is called MPEG-TS. Only whole segments are.
pub(super) fn container(name: &str) -> (Cow<'_, str>, bool) {
    match name.strip_suffix(".ts") {
        Some(stem) if !stem.contains('.') => (format!("{stem}.m4s").into(), true),
        _ => (name.into(), false),
    }
}

/// The canonical name of what a viewer asked for under its own: for caches, which know no viewers.
/// Relative, so that it leads to the host, and below the path, that the viewer knows.
pub(super) fn elsewhere(segment: &Segment, rung: &str, file: &str) -> Response {
    let target = format!("../../{}/{rung}/{file}", segment.head.epoch.0);
    (
        [(header::CACHE_CONTROL, NO_STORE)],
        Redirect::temporary(&target),
    )
        .into_response()
}
