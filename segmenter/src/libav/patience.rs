//! How long an input may say nothing. libav asks while it waits, and breaks off when it is over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How long one read may take; libav asks it while it waits.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    born: Instant,
    pub(super) limit: Duration,
    /// Milliseconds after `born`.
    deadline: Arc<AtomicU64>,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            born: Instant::now(),
            limit,
            deadline: Arc::new(AtomicU64::new(u64::MAX)),
        }
    }

    pub(super) fn start(&self) {
        self.deadline.store(
            (self.born.elapsed() + self.limit).as_millis() as u64,
            Ordering::Relaxed,
        );
    }

    pub(super) fn is_over(&self) -> bool {
        self.born.elapsed().as_millis() as u64 > self.deadline.load(Ordering::Relaxed)
    }
}
