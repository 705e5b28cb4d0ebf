//! How one delivery goes, by the kernel's account of its connection. What is sent, and to whom, is
//! `delivery`'s business.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use playlists::{Bitrate, MediaTime, Segment};

use super::asking::small;
use crate::net::{Connection, Stretch, tcp_info::TcpInfo};

/// Which media a delivery is of.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Of its segment.
    pub number: u64,
    /// Which part of that it is, if it is one.
    pub part: Option<u8>,
    /// Where in the segment it begins.
    pub begins: MediaTime,
    /// How long it plays.
    pub media: MediaTime,
    /// In which rung it is sent; `None` if it is in none, as sound alone is.
    pub rung: Option<u8>,
}

/// How one delivery goes, by the kernel's account of its connection.
#[derive(Debug)]
pub struct Meter {
    stretch: Stretch,
    /// Length of the media. On the wire there is more: heads, frames, records of TLS.
    octets: u64,
    span: Span,
    started: Instant,
    /// All of the media was given to the connection.
    whole: AtomicBool,
    /// What came of it was told.
    told: AtomicBool,
    info: TcpInfo,
    progress: Mutex<Progress>,
    /// What was learnt of it when it was broken off.
    abandoned: OnceLock<adaptation::Delivery>,
}

/// What was seen of a delivery so far.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Octets of this media.
    pub acked: u64,
    /// Octets that the connection carried meanwhile, whatever they were.
    carried: u64,
    /// Nothing more of it will be acknowledged.
    pub over: bool,
    /// When the last octet of those was acknowledged.
    at: Instant,
    /// Dearest rate sample that was not limited by us.
    capacity: Option<Bitrate>,
    /// Share of the busy time in which the viewer's window was the limit.
    receiver_limited: f64,
    pub min_rtt: Duration,
    /// It would take more: neither we nor the reader is the limit.
    pub pressing: bool,
    /// It waits in a queue, or loses packets.
    pub harmed: bool,
}

/// A delivery that is over.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Octets that the viewer has.
    pub octets: u64,
    /// Which part of its segment it was, if it was one.
    pub part: Option<u8>,
    /// In which rung it was.
    pub rung: Option<u8>,
    /// What that says of its path, if anything.
    pub delivery: Option<adaptation::Delivery>,
    /// It was broken off, since it came too late.
    pub abandoned: bool,
}

impl Span {
    /// Of a part of `segment`, or of all of it.
    pub fn of(segment: &Segment, part: Option<usize>) -> Self {
        let (number, parts) = (segment.number(), &segment.parts);
        match part.and_then(|index| Some((index, parts.get(index)?))) {
            Some((index, part)) => Self {
                number,
                part: Some(small(index)),
                begins: parts[..index].iter().map(|part| part.duration).sum(),
                media: part.duration,
                rung: None,
            },
            None => Self {
                number,
                part: None,
                begins: MediaTime::ZERO,
                media: segment.duration(),
                rung: None,
            },
        }
    }

    pub(super) fn in_rung(self, rung: usize) -> Self {
        let rung = Some(small(rung));
        Self { rung, ..self }
    }

    /// Some of its octets, from this share of them to that: they are taken to play as evenly as they lie.
    pub fn cut(self, shares: Range<f64>) -> Self {
        let at = |share: f64| MediaTime::from_seconds(self.media.seconds() * share);
        Self {
            begins: self.begins + at(shares.start),
            media: at(shares.end - shares.start),
            ..self
        }
    }
}

impl Meter {
    pub fn begin(connection: Arc<Connection>, octets: u64, span: Span, now: Instant) -> Self {
        let info = connection.sampled(now);
        let progress = Progress {
            acked: 0,
            carried: 0,
            over: false,
            at: now,
            capacity: None,
            receiver_limited: 0.0,
            min_rtt: info.min_rtt,
            pressing: false,
            harmed: false,
        };
        Self {
            stretch: Stretch::begin(connection),
            octets,
            span,
            started: now,
            whole: AtomicBool::new(false),
            told: AtomicBool::new(false),
            info,
            progress: Mutex::new(progress),
            abandoned: OnceLock::new(),
        }
    }

    /// No more of it will be given to the connection; `whole` if that was all of it.
    pub fn given(&self, whole: bool) {
        self.whole.store(whole, Relaxed);
        self.stretch.over();
    }

    pub fn sample(&self, now: Instant) -> Progress {
        let connection = self.stretch.connection();
        // Looked at before the sample, which then holds the last that the connection saw.
        let (open, end) = (connection.is_open(), self.stretch.end());
        let info = connection.sample(now);
        let busy = info.busy.saturating_sub(self.info.busy);
        let limited = info
            .receiver_limited
            .saturating_sub(self.info.receiver_limited);
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let carried = info.acked.min(end.unwrap_or(u64::MAX));
        let carried = carried.saturating_sub(self.stretch.before());
        let arrived = end.is_some_and(|end| info.acked >= end);
        let whole = arrived && self.whole.load(Relaxed);
        let acked = if whole {
            self.octets
        } else {
            carried.min(self.octets)
        };
        // Later octets of the connection may have been acknowledged since; the first sample that
        // finds this delivery whole tells when it was.
        if carried > progress.carried {
            progress.at = now
                .checked_sub(info.last_ack)
                .map_or(now, |at| at.max(self.started));
        }
        progress.acked = acked.max(progress.acked);
        progress.carried = carried.max(progress.carried);
        progress.over = arrived || !open;
        progress.capacity = progress.capacity.max(info.capacity);
        progress.min_rtt = info.min_rtt;
        progress.receiver_limited = if busy.is_zero() {
            0.0
        } else {
            (limited.as_secs_f64() / busy.as_secs_f64()).min(1.0)
        };
        progress.pressing = info.capacity.is_some() && progress.receiver_limited < READER_LIMITED;
        progress.harmed = self.is_harmed(&info);
        *progress
    }

    /// Whether it waits in a queue for as long as it travels, or loses one packet in fifty.
    fn is_harmed(&self, info: &TcpInfo) -> bool {
        let queued = info.rtt.saturating_sub(info.min_rtt);
        let sent = info.sent.saturating_sub(self.info.sent);
        let again = info.retransmitted.saturating_sub(self.info.retransmitted);
        (queued >= info.min_rtt && queued >= QUEUED) || (again > 0 && again * 50 >= sent)
    }

    /// How fast it goes, once it has gone on for long enough to tell and is not held up by the viewer.
    pub fn pace(&self, now: Instant) -> Option<Bitrate> {
        if !self.tells() {
            return None;
        }
        let progress = *self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = now.saturating_duration_since(self.started);
        let tells = elapsed >= self.telling()
            && !progress.over
            && progress.receiver_limited < READER_LIMITED;
        tells.then(|| Bitrate::of(self.evident(&progress), elapsed))
    }

    /// How long it has to have gone on; below that it is mostly slow start.
    pub fn telling(&self) -> Duration {
        adaptation::abandon::telling(self.span.media.duration())
    }

    /// Octets that were acknowledged when it was looked at last.
    pub fn acked(&self) -> u64 {
        self.progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .acked
    }

    /// The same by its rung; `None` once somebody was told of its end, who counts it from then on.
    pub(super) fn under_way(&self) -> Option<(Option<u8>, u64)> {
        let told = self.told.load(Relaxed);
        (!told).then(|| (self.span.rung, self.acked()))
    }

    /// Others were under way on the same connection, whose octets count already.
    pub fn is_shared(&self) -> bool {
        self.stretch.is_shared()
    }

    /// For how long it has gone on, or went on before somebody saw that it was over.
    pub fn lasted(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    /// Octets that were not acknowledged yet when it was looked at last.
    pub fn left(&self) -> u64 {
        let progress = *self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if progress.over {
            return 0;
        }
        self.octets.saturating_sub(progress.acked)
    }

    /// Whether the connection says anything of the viewer's path. One that ends at a proxy does not.
    pub fn tells(&self) -> bool {
        self.stretch.connection().peer.direct
    }

    /// What the path is known to have carried. Several answers at a time share it (HTTP/2), so
    /// that one's own octets would say too little; then it is what all of them got through.
    fn evident(&self, progress: &Progress) -> u64 {
        if self.stretch.is_shared() {
            progress.carried
        } else {
            progress.acked
        }
    }

    /// Breaks it off with its connection. Of its path the last `elapsed` counts, in which `octets` came: before,
    /// that was another.
    pub fn abandon(&self, progress: &Progress, octets: u64, elapsed: Duration) {
        let share = octets as f64 / self.octets.max(1) as f64;
        let delivery = adaptation::Delivery {
            number: self.span.number,
            octets,
            begins: self.span.begins,
            media: MediaTime::from_seconds(self.span.media.seconds() * share),
            elapsed,
            min_rtt: progress.min_rtt,
            capacity: None,
            receiver_limited: progress.receiver_limited,
            complete: false,
        };
        if self.abandoned.set(delivery).is_ok() {
            self.stretch.connection().abort();
        }
    }

    pub fn was_abandoned(&self) -> bool {
        self.abandoned.get().is_some()
    }

    /// Whether what holds it up is its path: not the reader, nor anything else on its connection.
    pub fn is_held_up(&self, progress: &Progress) -> bool {
        progress.receiver_limited < READER_LIMITED && !self.stretch.is_shared()
    }

    /// What it is sent over.
    pub fn connection(&self) -> &Arc<Connection> {
        self.stretch.connection()
    }

    /// What came of it, once it is over; said once, to the first who asks. One that broke off lasted
    /// until it did.
    pub fn outcome(&self, progress: &Progress, now: Instant) -> Option<Outcome> {
        let over = progress.over && !self.told.swap(true, Relaxed);
        over.then(|| Outcome {
            octets: progress.acked,
            part: self.span.part,
            rung: self.span.rung,
            delivery: self.tells().then(|| self.delivery(progress, now)),
            abandoned: self.was_abandoned(),
        })
    }

    fn delivery(&self, progress: &Progress, now: Instant) -> adaptation::Delivery {
        if let Some(abandoned) = self.abandoned.get() {
            return *abandoned;
        }
        let complete = progress.over && progress.acked >= self.octets;
        let until = if complete { progress.at } else { now };
        adaptation::Delivery {
            number: self.span.number,
            octets: self.evident(progress),
            begins: self.span.begins,
            media: self.span.media,
            elapsed: until.saturating_duration_since(self.started),
            min_rtt: progress.min_rtt,
            capacity: progress.capacity,
            receiver_limited: progress.receiver_limited,
            complete,
        }
    }
}

/// What is less than this a busy machine may be.
const QUEUED: Duration = Duration::from_millis(10);

/// A viewer that reads as slowly as it plays says nothing about its path.
const READER_LIMITED: f64 = 0.2;
