//! One segment on its way to one viewer: the body that sends it, and the measurement of how it went.
//!
//! What counts is what the peer acknowledged, not what was written: the kernel swallows a segment
//! in a millisecond. So a delivery is looked at until its last octet is acknowledged.

use std::{
    convert::Infallible,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use adaptation::abandon::Instead;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{
    meter::{Meter, Span},
    rounds,
    seat::Seat,
    viewers::Viewers,
};
use crate::net::Connection;

/// The body of a segment: its parts in order, shared with everyone who gets them.
#[derive(Debug)]
pub struct Delivery {
    chunks: std::vec::IntoIter<Bytes>,
    left: u64,
    /// What is to be measured, until the first octet is asked for.
    measure: Option<Measure>,
    /// What measures it from then on.
    meter: Option<Arc<Meter>>,
}

/// Whom a delivery is for, and over what.
#[derive(Clone, Debug)]
pub struct Measure {
    pub viewers: Arc<Viewers>,
    pub seat: Seat,
    pub connection: Arc<Connection>,
    /// What is delivered.
    pub span: Span,
    /// What its viewer would ask for and get, were it broken off; `None` if it is not to be.
    pub instead: Option<Instead>,
}

impl Delivery {
    /// `measure` is `None` where the transport cannot be seen.
    pub fn new(chunks: Vec<Bytes>, measure: Option<Measure>) -> Self {
        let left = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self {
            chunks: chunks.into_iter(),
            left,
            measure,
            meter: None,
        }
    }
}

/// hyper lets go of a body when it has taken all of it, or when whoever asked is gone.
impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(meter) = &self.meter {
            meter.given(self.left == 0);
        }
    }
}

impl Body for Delivery {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // Not before: the answer to a HEAD has a body that is never sent.
        if let Some(measure) = self.measure.take() {
            self.meter = Some(measure.begin(self.left));
        }
        let next = self.chunks.next();
        self.left -= next.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Poll::Ready(next.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.as_slice().is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl Measure {
    /// For a delivery of some of the octets, from this share of them to that.
    pub fn cut(self, shares: Range<f64>) -> Self {
        let span = self.span.cut(shares);
        Self { span, ..self }
    }

    pub(super) fn in_rung(self, rung: usize) -> Self {
        let span = self.span.in_rung(rung);
        Self { span, ..self }
    }

    /// The first of `octets` is about to be given to the connection.
    pub(super) fn begin(self, octets: u64) -> Arc<Meter> {
        let (connection, now) = (self.connection, Instant::now());
        let meter = Arc::new(Meter::begin(connection, octets, self.span, now));
        self.viewers.delivering(&self.seat, &meter);
        rounds::watch(&self.viewers, self.seat, &meter, self.instead);
        meter
    }
}
