//! Media that is asked for in a rung that is not here: it is brought once for all who ask, and sent to them as it
//! comes. How it is brought is not known here.

use std::{io, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, header},
    response::Response,
};
use bytes::Bytes;
use playlists::Segment;

use super::{
    Refusal,
    delivery::{Delivery, Measure},
    media::File,
    meter::Meter,
};
use crate::store::{NotBrought, Published, Reader, Wanted};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lacking<'a> {
    pub window: &'a Published,
    pub segment: &'a Arc<Segment>,
    pub file: File,
    pub rung: usize,
}

impl Lacking<'_> {
    /// Whether what is asked for is not here. Of a segment that is open, each part is brought as it comes.
    pub(super) fn lacks(&self) -> bool {
        match self.file.part {
            Some(part) => {
                let part = self.segment.parts.get(part);
                part.is_some_and(|part| part.lacks(self.rung))
            }
            None => self.segment.complete && self.segment.lacks(self.rung),
        }
    }

    /// Whether it is to be sent as it comes: whoever wants a range of it, knows it already or wants it in another
    /// form waits for all of it instead.
    pub(super) fn is_streamed(&self, headers: &HeaderMap) -> bool {
        let plain = [header::RANGE, header::IF_NONE_MATCH]
            .iter()
            .all(|name| !headers.contains_key(name));
        self.lacks() && plain && !self.file.transport
    }

    /// The dearest rung below that is here: for when the one that is asked for cannot be had.
    pub(super) fn instead(&self) -> usize {
        let here = |rung: &usize| {
            !Self {
                rung: *rung,
                ..*self
            }
            .lacks()
        };
        (0..self.rung).rev().find(here).unwrap_or(0)
    }

    /// Sends it as it comes, under this tag and `Cache-Control`.
    pub(super) async fn stream(
        &self,
        (tag, cache): (String, &'static str),
        measure: Option<Measure>,
    ) -> Result<Response, Refusal> {
        let mut reader = self.bring().map_err(refused)?;
        let begun = tokio::time::timeout(BEGINS, reader.length()).await;
        let begun = begun.unwrap_or_else(|_| Err(late()));
        let length = begun.map_err(refused)?;
        let body = match reader.at_hand() {
            Some(chunks) => Body::new(Delivery::new(chunks, measure)),
            None => sent(reader, length, measure),
        };
        let fields = [
            (header::CONTENT_TYPE, "video/mp4".to_owned()),
            (header::CONTENT_LENGTH, length.to_string()),
            (header::CACHE_CONTROL, cache.to_owned()),
            (header::ACCEPT_RANGES, "bytes".to_owned()),
            (header::ETAG, format!("\"{tag}\"")),
        ];
        let mut response = Response::new(body);
        for (name, value) in fields {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        Ok(response)
    }

    /// The segment with what was asked for in it.
    pub(super) async fn supplied(&self) -> Result<Arc<Segment>, Refusal> {
        if !self.lacks() {
            return Ok(self.segment.clone());
        }
        let reader = self.bring().map_err(refused)?;
        let whole = tokio::time::timeout(COMES, reader.whole()).await;
        let octets = whole.unwrap_or_else(|_| Err(late())).map_err(refused)?;
        let Some(index) = self.file.part else {
            return Ok(Arc::new(self.segment.with(self.rung, octets)));
        };
        let mut segment = Segment::clone(self.segment);
        let part = segment.parts.get_mut(index);
        if let Some(place) = part.and_then(|part| part.media.get_mut(self.rung)) {
            *place = octets;
        }
        Ok(Arc::new(segment))
    }

    fn bring(&self) -> Result<Reader, NotBrought> {
        self.window.supply().bring(Wanted {
            number: self.segment.number(),
            epoch: self.segment.head.epoch,
            rung: self.rung,
            part: self.file.part,
        })
    }
}

fn late() -> NotBrought {
    NotBrought::Failed(Arc::from("it takes too long"))
}

/// The next who asks has it tried again; a player that is told 404 would take it for the end.
fn refused(why: NotBrought) -> Refusal {
    tracing::warn!(%why, "a rung that is not here cannot be had");
    Refusal::later(
        format!("it has to be fetched first, and cannot be: {why}"),
        1,
    )
}

/// How long somebody waits for the first octets, and for all of them, before another rung is better than none.
const BEGINS: Duration = Duration::from_secs(2);
const COMES: Duration = Duration::from_secs(5);

/// A body of what `reader` reads. Should that break off, so does the body.
fn sent(reader: Reader, length: u64, measure: Option<Measure>) -> Body {
    let state = Sent {
        reader,
        length,
        at: 0,
        measure,
        ready: Vec::new().into_iter(),
        meter: None,
    };
    Body::from_stream(futures_util::stream::try_unfold(state, Sent::next))
}

struct Sent {
    reader: Reader,
    length: u64,
    /// Octets that were given to the connection.
    at: u64,
    measure: Option<Measure>,
    ready: std::vec::IntoIter<Bytes>,
    /// What measures what was there at once; waiting for more is no part of it.
    meter: Option<Arc<Meter>>,
}

impl Sent {
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        if let Some(chunk) = self.ready.next() {
            self.at += chunk.len() as u64;
            return Ok(Some((chunk, self)));
        }
        if let Some(meter) = self.meter.take() {
            meter.given(true);
        }
        let new = self.reader.more().await.map_err(io::Error::other)?;
        let octets: u64 = new.iter().map(|chunk| chunk.len() as u64).sum();
        if octets == 0 {
            return Ok(None);
        }
        if let Some(measure) = &self.measure {
            let share = |at: u64| (at as f64 / self.length.max(1) as f64).min(1.0);
            let measure = measure.clone().cut(share(self.at)..share(self.at + octets));
            self.meter = Some(measure.begin(octets));
        }
        self.ready = new.into_iter();
        match self.ready.next() {
            Some(chunk) => {
                self.at += chunk.len() as u64;
                Ok(Some((chunk, self)))
            }
            None => Ok(None),
        }
    }
}

/// Whoever asked is gone.
impl Drop for Sent {
    fn drop(&mut self) {
        if let Some(meter) = &self.meter {
            meter.given(false);
        }
    }
}
