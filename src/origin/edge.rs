//! Waiting at the live edge: how long a request is held for what is not there yet, and a segment
//! that is sent while it is made.
//!
//! What may be asked for ahead is the window's to say; which rung is sent, `media`'s.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use playlists::{Epoch, Format, Part, Segment, Spot, Window, render::Skip};
use serde::Deserialize;

use super::{
    Refusal,
    delivery::Measure,
    meter::{Meter, Span},
};
use crate::store::{Consumer, Published, StreamName, Wanted};

/// Blocking playlist reload and delta update (RFC 8216bis sections 6.2.5.1 and 6.2.5.2).
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Reload {
    #[serde(rename = "_HLS_msn")]
    pub number: Option<u64>,
    #[serde(rename = "_HLS_part")]
    pub part: Option<usize>,
    #[serde(rename = "_HLS_skip")]
    pub skip: Option<String>,
}

impl Reload {
    /// `v2` leaves out old `EXT-X-DATERANGE` tags too. What is neither is answered in full, as a server
    /// always may.
    pub fn skips(&self) -> Skip {
        match self.skip.as_deref() {
            Some("YES") => Skip::Segments,
            Some("v2") => Skip::Ranges,
            _ => Skip::Nothing,
        }
    }
}

/// Waits until there is enough to start with.
pub async fn playable(name: &StreamName, mut stream: Consumer) -> Result<Arc<Published>, Refusal> {
    let window = tokio::time::timeout(JOIN_WAIT, stream.wait(Window::is_playable)).await;
    match window {
        Ok(Some(window)) => Ok(window),
        Ok(None) => Err(Refusal::not_found(format!("stream {name} has gone"))),
        Err(_) => Err(Refusal::later(format!("stream {name} has no media yet"), 2)),
    }
}

/// The window, once it holds what a blocking reload asks for.
///
/// The one exception is a source that is late: when the request has been held for as long as it
/// can be, the answer is the window as it is. The draft would have a 503 there; but hls.js ends
/// the viewing with the third such answer in a row, ffmpeg and mpv as well, while all of them ask
/// on after an old playlist and go on as soon as the source does.
pub async fn reload(
    name: &StreamName,
    mut stream: Consumer,
    reload: &Reload,
) -> Result<Arc<Published>, Refusal> {
    let now = match stream.now().filter(|now| now.is_playable()) {
        Some(now) => now,
        None => playable(name, stream.clone()).await?,
    };
    let number = match (reload.number, reload.part) {
        (Some(number), _) => number,
        (None, None) => return Ok(now),
        (None, Some(_)) => return Err(Refusal::bad_request("_HLS_part without _HLS_msn")),
    };
    if now.is_too_far(number, reload.part) {
        let last = now.last_part().map_or_else(String::new, said);
        let asked = match reload.part {
            Some(part) => said(Spot { number, part }),
            None => number.to_string(),
        };
        return Err(Refusal::bad_request(format!(
            "_HLS_msn and _HLS_part ask for {asked}, which is too far ahead: the last there is, is {last}"
        )));
    }
    let held = held(now.format());
    let wait = stream.wait(|window| window.reaches(number, reload.part));
    match tokio::time::timeout(held, wait).await {
        Ok(Some(window)) => Ok(window),
        // The stream has gone; what is known of it is still the best there is to say.
        Ok(None) => Ok(now),
        Err(_) => Ok(stream.now().unwrap_or(now)),
    }
}

/// The window, once it has the part at `spot`: whoever follows `EXT-X-PRELOAD-HINT` asks for it
/// before it is there.
///
/// A part that comes to nothing (its encoder died in mid-segment, or the node that told of it
/// divides its segments otherwise) is answered 503 rather than 404, which hls.js would take for
/// the end of the stream: it asks again, and by then it knows another part.
pub async fn part(
    name: &StreamName,
    mut stream: Consumer,
    spot: Spot,
) -> Result<Arc<Published>, Refusal> {
    let now = stream.now();
    let now = now.ok_or_else(|| Refusal::not_found(format!("{name} has no media")))?;
    let settled = |window: &Window| match window.segment(spot.number) {
        Some(segment) => segment.parts.len() > spot.part || segment.complete,
        None => window.has_ended() || window.last_part().is_some_and(|last| last > spot),
    };
    let there = |window: &Published| {
        let segment = window.segment(spot.number);
        segment.is_some_and(|segment| segment.parts.len() > spot.part)
    };
    if there(&now) {
        return Ok(now);
    }
    let lost = now.segment(spot.number).is_none()
        && now
            .last_part()
            .is_some_and(|last| last.number >= spot.number);
    if lost || now.is_too_far(spot.number, Some(spot.part)) {
        return Err(absent(&now, spot.number));
    }
    if now.has_ended() {
        return Err(Refusal::not_found(format!(
            "{name} has ended before {}",
            said(spot)
        )));
    }
    let held = held(now.format());
    match tokio::time::timeout(held, stream.wait(settled)).await {
        Ok(Some(window)) if there(&window) => Ok(window),
        Ok(Some(_)) => Err(Refusal::later(
            format!("{} has not come to be; there is another now", said(spot)),
            1,
        )),
        Ok(None) => Err(Refusal::not_found(format!("stream {name} has gone"))),
        Err(_) => Err(Refusal::later(
            format!("{} has not come within {held:?}", said(spot)),
            1,
        )),
    }
}

/// Why there is no segment `number`.
pub fn absent(window: &Published, number: u64) -> Refusal {
    let complete = |segment: &&Arc<Segment>| segment.complete;
    let first = window.segments().find(complete).map(|first| first.number());
    let last = window.last_complete().map(|last| last.number());
    Refusal::not_found(format!(
        "no segment {number}; there are {} to {}",
        first.unwrap_or(0),
        last.unwrap_or(0)
    ))
}

fn said(spot: Spot) -> String {
    format!("part {} of segment {}", spot.part, spot.number)
}

/// How long a request may be held: three target durations (section 6.2.5.2), but hls.js gives up
/// on an answer that has not begun after ten seconds.
fn held(format: &Format) -> Duration {
    let target = Duration::from_secs(format.target_duration());
    format.patience().min(HELD.max(target * 3 / 2))
}

/// The body of a segment that is not complete yet: the parts that are there, and each further one
/// as it comes. Should the segment turn out to be another one than it was, the body breaks off.
#[derive(Debug)]
pub struct Growing {
    pub stream: Consumer,
    pub number: u64,
    pub epoch: Epoch,
    pub rung: usize,
    pub measure: Option<Measure>,
}

impl Growing {
    pub fn body(self) -> Body {
        let state = Growth {
            growing: self,
            ready: VecDeque::new(),
            taken: 0,
            complete: false,
            meter: None,
        };
        Body::from_stream(futures_util::stream::try_unfold(state, Growth::next))
    }
}

#[derive(Debug)]
struct Growth {
    growing: Growing,
    /// What is there and not sent.
    ready: VecDeque<Bytes>,
    /// Parts that were there when last looked at.
    taken: usize,
    complete: bool,
    /// What measures the parts that were there at once; waiting for the next is no part of it.
    meter: Option<Arc<Meter>>,
}

impl Growth {
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Ok(Some((chunk, self)));
            }
            if let Some(meter) = self.meter.take() {
                meter.given(true);
            }
            if self.complete {
                return Ok(None);
            }
            self.grow().await?;
        }
    }

    /// Waits for more of the segment.
    async fn grow(&mut self) -> io::Result<()> {
        let Self { growing, taken, .. } = self;
        let cut = || io::Error::other("the segment was given up while it was sent");
        let more = |window: &Window| match window.segment(growing.number) {
            Some(segment) => segment.complete || segment.parts.len() > *taken,
            None => true,
        };
        let held = growing.stream.now().map_or(HELD, |now| held(now.format()));
        let wait = growing.stream.wait(more);
        let window = tokio::time::timeout(held, wait).await.ok().flatten();
        let window = window.ok_or_else(cut)?;
        let segment = window
            .segment(growing.number)
            .filter(|segment| segment.head.epoch == growing.epoch)
            .ok_or_else(cut)?;
        let before = *taken;
        let parts = segment.parts.get(before..).ok_or_else(cut)?;
        let supply = window.supply();
        for (index, part) in (before..).zip(parts) {
            if !part.lacks(growing.rung) {
                self.ready.extend(part.media.get(growing.rung).cloned());
                continue;
            }
            let wanted = Wanted {
                number: growing.number,
                epoch: growing.epoch,
                rung: growing.rung,
                part: Some(index),
            };
            let brought = supply.bring(wanted).map_err(io::Error::other)?;
            self.ready
                .push_back(brought.whole().await.map_err(io::Error::other)?);
        }
        self.taken = segment.parts.len();
        self.complete = segment.complete;
        let octets = self.ready.iter().map(|chunk| chunk.len() as u64).sum();
        if octets > 0
            && let Some(measure) = &growing.measure
        {
            let length = |parts: &[Part]| parts.iter().map(|part| part.duration).sum();
            let span = Span {
                begins: length(&segment.parts[..before]),
                media: length(parts),
                ..measure.span
            };
            let measure = Measure {
                span,
                ..measure.clone()
            };
            self.meter = Some(measure.begin(octets));
        }
        Ok(())
    }
}

/// Whoever asked is gone.
impl Drop for Growth {
    fn drop(&mut self) {
        if let Some(meter) = &self.meter {
            meter.given(false);
        }
    }
}

/// For a stream that starts: a player that gave up would need its user.
const JOIN_WAIT: Duration = Duration::from_secs(10);

/// See [`held`].
const HELD: Duration = Duration::from_secs(8);
