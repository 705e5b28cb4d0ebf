//! How one delivery goes, by the kernel's account of its connection. What is sent, and to whom, is
//! `delivery`'s business.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use playlists::{Bitrate, MediaTime};

use crate::net::{Connection, tcp_info::TcpInfo};

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

/// What was seen of a delivery so far.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub acked: u64,
    /// When the last octet of those was acknowledged.
    at: Instant,
    /// Dearest rate sample that was not limited by us.
    capacity: Option<Bitrate>,
    /// Share of the busy time in which the viewer's window was the limit.
    receiver_limited: f64,
    min_rtt: Duration,
}

impl Meter {
    pub fn begin(connection: Arc<Connection>, octets: u64, now: Instant) -> Self {
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

    pub fn sample(&self, now: Instant) -> Progress {
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

    /// How many octets it is of.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    pub fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// Waits until another request on its connection proves that this answer was read.
    pub async fn superseded(&self) {
        self.connection.requested.notified().await;
    }

    /// What came of it. One that broke off lasted until it did.
    pub fn result(
        &self,
        progress: &Progress,
        media: MediaTime,
        now: Instant,
    ) -> adaptation::Delivery {
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

/// Below this a delivery is mostly slow start.
const TELLING: Duration = Duration::from_millis(500);

/// A viewer that reads as slowly as it plays says nothing about its path.
const READER_LIMITED: f64 = 0.2;
