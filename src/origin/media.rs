//! Handlers of media: the segment in the rung that the viewer can have now, and canonical objects.

use std::{sync::Arc, time::Instant};

use adaptation::abandon::Instead;
use axum::{
    Extension,
    extract::{Path, Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use playlists::{Bitrate, Epoch, Segment, Spot};
use serde::Deserialize;

use super::{
    NO_STORE, Origin, Refusal, abandoning,
    asking::{self, Brought},
    beside,
    cmcd::Cmcd,
    delivery::Measure,
    edge::{self, Growing},
    gate::Pass,
    lacking,
    meter::Span,
    piece::Piece,
    playlist::{elsewhere, stream_of},
    profile::Choosing,
    seat::{Seat, ViewerId},
    signalling,
    telling::{self, Told},
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

/// `v/{viewer}/{msn}.m4s` and `v/{viewer}/{msn}.{part}.m4s`: here the rung is chosen and pinned,
/// by whichever of them is asked for first.
pub(super) async fn chosen(
    State(origin): State<Arc<Origin>>,
    Path((stream, viewer, name)): Path<(String, String, String)>,
    Query(hint): Query<Hint>,
    Extension(connection): Extension<Arc<Connection>>,
    pass: Option<Extension<Pass>>,
    headers: HeaderMap,
    uri: axum::http::Uri,
) -> Result<Response, Refusal> {
    let asked = Instant::now();
    let (stream, consumer) = stream_of(&origin, &stream)?;
    let viewer: ViewerId = viewer.parse().map_err(Refusal::not_found)?;
    let seat = Seat { stream, viewer };
    if let Some(way) = origin.way(&seat, &uri, asked) {
        return Ok(way.redirect(&uri));
    }
    if let Some(rendition) = name.strip_suffix(".m3u8") {
        origin.viewers.touch(&seat, Instant::now());
        return beside::for_viewer(&origin, &seat, consumer, rendition, &uri).await;
    }
    let file = File::named(&name)?;
    let File { number, part, .. } = file;
    if let Some(keeper) = keeper(&origin, &consumer, number) {
        return Ok(elsewhere(&keeper, &uri, None));
    }
    let window = there(&seat.stream, &consumer, file).await?;
    let segment = window
        .segment(number)
        .ok_or_else(|| edge::absent(&window, number))?;
    if segment.gap {
        // Nothing to choose, and nothing to learn from.
        let piece = object(&origin, &seat.stream, segment, file, (0, "")).await?;
        let piece = Piece {
            cache: NO_STORE,
            ..piece
        };
        return Ok(piece.answer(&headers));
    }
    let said = Cmcd::of(uri.query(), &headers);
    let brought = Brought {
        known: hint.seen.map(Bitrate::from_kbps),
        listed: hint.listed,
        hint: said.map(|said| said.hint(part.is_some())),
        measured: connection.peer.direct,
        part,
        whole: !headers.contains_key(header::RANGE),
        taken: None,
        place: origin.place(pass.as_ref()),
    };
    let mut told = choose(&origin, &seat, (&window, segment), file, brought, asked);
    telling::pace(&origin, &window, &told.known, &connection);
    if origin.terms.behind_cdn {
        let mut response = signalling::elsewhere(segment, told.name(), &name);
        told.put(&origin, &headers, response.headers_mut());
        return Ok(response);
    }
    let sending = Sending {
        origin: &origin,
        stream: &seat.stream,
        consumer: &consumer,
        headers: &headers,
        cache: NO_STORE,
    };
    let measure = || measure(&origin, &seat, connection.clone(), Span::of(segment, part));
    let instead = |rung| abandoning::instead(&origin, &seat, segment, rung, &brought);
    let mut lacks = lacking::Lacking {
        window: &window,
        segment,
        file,
        rung: told.rung,
    };
    let mut sent = sending
        .send(lacks, told.name(), Some(measure()), || instead(lacks.rung))
        .await;
    if sent.is_err() && lacks.lacks() && seat.viewer.profile.choosing == Choosing::AtGet {
        // What is here is better than nothing, and another rung is no news to who is told of none.
        lacks.rung = lacks.instead();
        told.rung = lacks.rung;
        sent = sending
            .send(lacks, told.name(), Some(measure()), || instead(lacks.rung))
            .await;
    }
    let mut response = sent?;
    told.put(&origin, &headers, response.headers_mut());
    Ok(response)
}

/// How what is asked for is sent, in whatever rung.
pub(super) struct Sending<'a> {
    pub origin: &'a Origin,
    pub stream: &'a StreamName,
    pub consumer: &'a Consumer,
    pub headers: &'a HeaderMap,
    /// For what is there as a whole.
    pub cache: &'static str,
}

impl Sending<'_> {
    /// What is asked for, in its rung, which has this name; brought if it is not here. `instead` is asked where a delivery
    /// could be broken off.
    pub(super) async fn send(
        &self,
        asked: lacking::Lacking<'_>,
        rung: &str,
        measure: Option<Measure>,
        instead: impl FnOnce() -> Option<Instead>,
    ) -> Result<Response, Refusal> {
        let lacking::Lacking {
            window,
            segment,
            file,
            rung: chosen,
        } = asked;
        let measure = measure.map(|measure| measure.in_rung(chosen));
        if asked.is_streamed(self.headers) {
            let named = (tag(segment, rung, file.part), self.cache);
            return asked.stream(named, measure).await;
        }
        if file.part.is_none() && !segment.complete {
            return Ok(growing(segment, self.consumer.clone(), chosen, measure));
        }
        let instead = instead();
        let measure = measure.map(|measure| Measure { instead, ..measure });
        let segment = &asked.supplied().await?;
        let piece = object(self.origin, self.stream, segment, file, (chosen, rung));
        let piece = Piece {
            cache: self.cache,
            measure,
            ..piece.await?
        };
        let piece = there_now(window, file.number, piece).await;
        Ok(piece.answer(self.headers))
    }
}

/// Chooses the rung of `segment`, or finds that it was chosen.
pub(super) fn choose<'a>(
    origin: &Origin,
    seat: &Seat,
    (window, segment): (&'a Published, &Segment),
    File { number, part, .. }: File,
    brought: Brought,
    asked: Instant,
) -> Told<'a> {
    let past = asking::past(window, segment);
    let table = past.as_ref().unwrap_or_else(|| window.table());
    let ask = asking::ask(origin, seat, window, segment, table, brought);
    let (pin, known) = origin.viewers.decide(seat, &ask, asked);
    // A pin may be older than the ladder, if the stream began anew with a shorter one.
    let rung = pin.rung.min(segment.sizes().len() - 1);
    window.supply().watched(rung);
    if let Some(wished) = known.wished {
        window.supply().watched(wished);
    }
    let told = Told {
        window,
        pin,
        known,
        rung,
        media: Span::of(segment, part).media,
        asked,
        adapts: false,
    };
    tracing::debug!(viewer = %seat.viewer, number, ?part, rung = told.name(), ?pin, known = ?told.known, "rung chosen");
    told
}

/// `{epoch}/{rung}/{msn}.m4s` and `{epoch}/{rung}/{msn}.{part}.m4s`.
pub async fn canonical(
    State(origin): State<Arc<Origin>>,
    Path((stream, epoch, rung, name)): Path<(String, u64, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (stream, consumer) = stream_of(&origin, &stream)?;
    let index = |window: &Published| {
        let index = window.format().ladder.index(&rung);
        index.ok_or_else(|| Refusal::not_found(format!("stream {stream} has no rung {rung:?}")))
    };
    let now = published(&stream, &consumer)?;
    let renditions = &now.format().renditions;
    if let Some(place) = renditions.index(&rung) {
        let rendition = (place, &renditions.others[place]);
        let epoch = Epoch(epoch);
        return beside::media(&stream, &consumer, epoch, rendition, &name, &headers).await;
    }
    // Nobody is made to wait for what has no name.
    let known = index(&now)?;
    if name == "init.mp4" {
        let piece = signalling::init(&origin, &stream, &now, Epoch(epoch), (known, &rung));
        return Ok(piece.await?.answer(&headers));
    }
    let file = File::named(&name)?;
    let File { number, part, .. } = file;
    if let (Some(part), Some(segment)) = (part, now.segment(number)) {
        let parts = segment.parts.len();
        if segment.complete && part > parts {
            let why = format!("segment {number} has no part {part}; it has {parts}");
            return Err(Refusal::not_found(why));
        }
    }
    let window = there(&stream, &consumer, file).await?;
    let rung_index = index(&window)?;
    let segment = window
        .segment(number)
        .ok_or_else(|| edge::absent(&window, number))?;
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
    window.supply().watched(rung_index);
    let lacks = lacking::Lacking {
        window: &window,
        segment,
        file,
        rung: rung_index,
    };
    let sending = Sending {
        origin: &origin,
        stream: &stream,
        consumer: &consumer,
        headers: &headers,
        cache: FOREVER,
    };
    sending.send(lacks, &rung, None, || None).await
}

/// The node that has a segment which is older than all that is here: a viewer may hold a long playlist
/// of that one, and come here by a redirect.
fn keeper(origin: &Origin, consumer: &Consumer, number: u64) -> Option<String> {
    let keeper = origin.keeper.load();
    let keeper = keeper.as_deref()?;
    let now = consumer.now()?;
    (now.is_past(number) && now.segment(number).is_none()).then(|| keeper.clone())
}

/// `piece` of segment `number`, its octets in memory.
pub(super) async fn there_now(window: &Published, number: u64, piece: Piece) -> Piece {
    if window.is_past(number) {
        piece.from_disk().await
    } else {
        piece
    }
}

/// The window in which there is what was asked for: a part, or of a whole segment at least its
/// first part; but MPEG-TS is made of what is complete.
pub(super) async fn there(
    stream: &StreamName,
    consumer: &Consumer,
    File {
        number,
        part,
        transport,
    }: File,
) -> Result<Arc<Published>, Refusal> {
    let now = published(stream, consumer)?;
    let past = now.segment(number).is_some_and(|segment| segment.complete);
    match part {
        None if past => Ok(now),
        None if transport => Err(edge::absent(&now, number)),
        part => {
            let part = part.unwrap_or(0);
            edge::part(stream, consumer.clone(), Spot { number, part }).await
        }
    }
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

/// What the last name in a path says.
#[derive(Clone, Copy, Debug)]
pub(super) struct File {
    pub(super) number: u64,
    pub(super) part: Option<usize>,
    /// MPEG-TS is wanted.
    pub(super) transport: bool,
}

impl File {
    pub(super) fn whole(number: u64) -> Self {
        Self {
            number,
            part: None,
            transport: false,
        }
    }

    pub(super) fn named(name: &str) -> Result<Self, Refusal> {
        let (stem, transport) = signalling::container(name);
        let parsed = || {
            let stem = stem.strip_suffix(".m4s")?;
            let (number, part) = match stem.split_once('.') {
                Some((number, part)) => (number, Some(part.parse().ok()?)),
                None => (stem, None),
            };
            Some(Self {
                number: number.parse().ok()?,
                part,
                transport,
            })
        };
        parsed().ok_or_else(|| Refusal::not_found(format!("{name}: not a segment")))
    }

    /// Whether all of it is in memory in some rung, as it will be sent.
    pub(super) fn is_at_hand(self, window: &Published, segment: &Segment) -> bool {
        let there = match self.part {
            Some(part) => part < segment.parts.len(),
            None => segment.complete,
        };
        there && !segment.gap && !self.transport && !window.is_past(self.number)
    }
}

/// How the delivery of some media is measured.
pub(super) fn measure(
    origin: &Origin,
    seat: &Seat,
    connection: Arc<Connection>,
    span: Span,
) -> Measure {
    Measure {
        viewers: origin.viewers.clone(),
        seat: seat.clone(),
        connection,
        span,
        instead: None,
    }
}

/// A part that is there, or the whole of a complete segment, in the rung of this index and name.
async fn object(
    origin: &Origin,
    stream: &StreamName,
    segment: &Arc<Segment>,
    file: File,
    (rung, name): (usize, &str),
) -> Result<Piece, Refusal> {
    if file.transport {
        return signalling::transport(origin, stream, segment, (rung, name)).await;
    }
    Ok(fragment(segment, file, (rung, name)))
}

/// The same where nothing has to be made for it.
pub(super) fn fragment(segment: &Segment, file: File, (rung, name): (usize, &str)) -> Piece {
    let part = file
        .part
        .and_then(|index| Some((index, segment.parts.get(index)?)));
    match part {
        Some((index, part)) => piece(
            vec![part.media[rung].clone()],
            tag(segment, name, Some(index)),
        ),
        None => whole(segment, rung, name),
    }
}

/// A segment that is still being made, as it comes. No cache may keep it: should it break off,
/// it would be taken for the whole.
fn growing(segment: &Segment, stream: Consumer, rung: usize, measure: Option<Measure>) -> Response {
    let growing = Growing {
        stream,
        number: segment.number(),
        epoch: segment.head.epoch,
        rung,
        measure,
    };
    let headers = [
        (header::CONTENT_TYPE, "video/mp4"),
        (header::CACHE_CONTROL, NO_STORE),
    ];
    (headers, growing.body()).into_response()
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
pub(super) fn tag(segment: &Segment, rung: &str, part: Option<usize>) -> String {
    let (epoch, number) = (segment.head.epoch.0, segment.number());
    match part {
        _ if segment.gap => format!("gap-{number}"),
        None => format!("{epoch}-{rung}-{number}"),
        Some(part) => format!("{epoch}-{rung}-{number}.{part}"),
    }
}

/// A named piece of media never changes, so any cache may keep it for good.
pub(super) const FOREVER: &str = "public, max-age=31536000, immutable";
