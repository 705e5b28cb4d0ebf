//! One segment on its way to one viewer: the body that sends it, and the measurement of how it went.
//!
//! What counts is what the peer acknowledged, not what was written: the kernel swallows a segment
//! in a millisecond. So a delivery is looked at until its last octet is acknowledged.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use playlists::{Bitrate, MediaTime};

use super::viewers::{Seat, Viewers, account};
use crate::net::{Connection, tcp_info::TcpInfo};

/// The body of a segment: its parts in order, shared with everyone who gets them.
#[derive(Debug)]
pub struct Delivery {
    chunks: std::vec::IntoIter<Bytes>,
    left: u64,
    /// What is to be measured, until the first octet is asked for.
    measure: Option<Measure>,
}

/// Whom a delivery is for, and over what.
#[derive(Clone, Debug)]
pub struct Measure {
    pub viewers: Arc<Viewers>,
    pub seat: Seat,
    pub connection: Arc<Connection>,
    /// Length of what is delivered.
    pub media: MediaTime,
}

impl Delivery {
    /// `measure` is `None` where the transport cannot be seen.
    pub fn new<'a>(chunks: impl Iterator<Item = &'a Bytes>, measure: Option<Measure>) -> Self {
        let chunks: Vec<Bytes> = chunks.cloned().collect();
        let left = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self {
            chunks: chunks.into_iter(),
            left,
            measure,
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
            measure.begin(self.left);
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
    fn begin(self, octets: u64) {
        let meter = Arc::new(Meter::begin(self.connection, octets, Instant::now()));
        self.viewers.delivering(&self.seat, &meter);
        tokio::spawn(watch(meter, self.viewers, self.seat, self.media));
    }
}

/// Looks at a delivery until it is acknowledged in full or its connection is gone; both end, the
/// latter at the latest when the connection has made no progress for its patience.
async fn watch(meter: Arc<Meter>, viewers: Arc<Viewers>, seat: Seat, media: MediaTime) {
    let mut accounted = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(SAMPLE_EVERY) => {}
            // The next request proves that this answer was read, and its own answer must not be
            // taken for this one's.
            () = meter.connection.requested.notified() => {}
        }
        let open = meter.connection.is_open();
        let now = Instant::now();
        let progress = meter.sample(now);
        account(&viewers.egress, progress.acked - accounted);
        accounted = progress.acked;
        if progress.acked >= meter.octets || !open {
            viewers.delivered(&seat, &meter.result(&progress, media, now), now);
            return;
        }
    }
}

/// How one delivery goes, by the kernel's account of its connection.
#[derive(Debug)]
pub struct Meter {
    connection: Arc<Connection>,
    octets: u64,
    started: Instant,
    /// Octets of this connection before this delivery.
    before: u64,
    info: TcpInfo,
    progress: Mutex<Progress>,
}

#[derive(Clone, Copy, Debug)]
struct Progress {
    acked: u64,
    /// When the last octet of those was acknowledged.
    at: Instant,
    /// Dearest rate sample that was not limited by us.
    capacity: Option<Bitrate>,
    /// Share of the busy time in which the viewer's window was the limit.
    receiver_limited: f64,
    min_rtt: Duration,
}

impl Meter {
    fn begin(connection: Arc<Connection>, octets: u64, now: Instant) -> Self {
        let (info, before) = (connection.sample(), connection.written());
        let progress = Progress {
            acked: 0,
            at: now,
            capacity: None,
            receiver_limited: 0.0,
            min_rtt: info.min_rtt,
        };
        Self {
            connection,
            octets,
            started: now,
            before,
            info,
            progress: Mutex::new(progress),
        }
    }

    fn sample(&self, now: Instant) -> Progress {
        let info = self.connection.sample();
        let busy = info.busy.saturating_sub(self.info.busy);
        let limited = info
            .receiver_limited
            .saturating_sub(self.info.receiver_limited);
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let acked = info.acked.saturating_sub(self.before).min(self.octets);
        // Later octets of the connection may have been acknowledged since; the first sample that
        // finds this delivery whole tells when it was.
        if acked > progress.acked {
            progress.at = now
                .checked_sub(info.last_ack)
                .map_or(now, |at| at.max(self.started));
        }
        progress.acked = acked.max(progress.acked);
        progress.capacity = progress.capacity.max(info.capacity);
        progress.min_rtt = info.min_rtt;
        progress.receiver_limited = if busy.is_zero() {
            0.0
        } else {
            (limited.as_secs_f64() / busy.as_secs_f64()).min(1.0)
        };
        *progress
    }

    /// How fast it goes, once it has gone on for long enough to tell and is not held up by the viewer.
    pub fn pace(&self, now: Instant) -> Option<Bitrate> {
        let progress = *self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = now.saturating_duration_since(self.started);
        let tells = elapsed >= TELLING
            && progress.acked < self.octets
            && progress.receiver_limited < READER_LIMITED;
        tells.then(|| Bitrate::of(progress.acked, elapsed))
    }

    /// What came of it. One that broke off lasted until it did.
    fn result(&self, progress: &Progress, media: MediaTime, now: Instant) -> adaptation::Delivery {
        let complete = progress.acked >= self.octets;
        let until = if complete { progress.at } else { now };
        adaptation::Delivery {
            octets: progress.acked,
            media,
            elapsed: until.saturating_duration_since(self.started),
            min_rtt: progress.min_rtt,
            capacity: progress.capacity,
            receiver_limited: progress.receiver_limited,
            complete,
        }
    }
}

/// Fine enough to see a change of the link within a part; the time of the last acknowledgement
/// comes from the kernel, so the result is finer than this.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// Below this a delivery is mostly slow start.
const TELLING: Duration = Duration::from_millis(500);

/// A viewer that reads as slowly as it plays says nothing about its path.
const READER_LIMITED: f64 = 0.2;
