//! What is counted while a source works, by the one thread that works it, and read by whoever reports.
//!
//! Counts only; what they mean is `health`'s business.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// The counts of one source. It is read as a whole by `reading`, and what lies between two readings is what happened.
#[derive(Debug)]
pub(crate) struct Gauge {
    born: Instant,
    /// Microseconds spent waiting for it, or for its time to come: the machine was not the bottleneck.
    waited: AtomicU64,
    /// Microseconds after `born` since which it is waited for now; 0 if it is not.
    since: AtomicU64,
    octets: AtomicU64,
    pictures: AtomicU64,
    opened: AtomicU64,
    /// Microseconds between the last two key frames, 0 if there were none, and when the last one came.
    key_interval: AtomicU64,
    key_at: AtomicU64,
}

/// What a gauge shows at one time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    pub(crate) waited: Duration,
    pub(crate) octets: u64,
    pub(crate) pictures: u64,
    pub(crate) opened: u64,
    /// Between the last two key frames; `None` before there were two.
    pub(crate) key_interval: Option<Duration>,
    /// Since the last key frame came.
    pub(crate) key_age: Option<Duration>,
}

impl Default for Gauge {
    fn default() -> Self {
        Self {
            born: Instant::now(),
            waited: AtomicU64::new(0),
            since: AtomicU64::new(0),
            octets: AtomicU64::new(0),
            pictures: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            key_interval: AtomicU64::new(0),
            key_at: AtomicU64::new(0),
        }
    }
}

impl Gauge {
    /// Does what is nothing but waiting.
    pub(crate) fn waiting<T>(&self, wait: impl FnOnce() -> T) -> T {
        let start = self.age();
        self.since.store(start, Ordering::Relaxed);
        let result = wait();
        self.waited.fetch_add(self.age() - start, Ordering::Relaxed);
        self.since.store(0, Ordering::Relaxed);
        result
    }

    pub(crate) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.key_interval.store(0, Ordering::Relaxed);
        self.key_at.store(0, Ordering::Relaxed);
    }

    pub(crate) fn octets(&self, octets: usize) {
        self.octets.fetch_add(octets as u64, Ordering::Relaxed);
    }

    pub(crate) fn picture(&self) {
        self.pictures.fetch_add(1, Ordering::Relaxed);
    }

    /// A key frame came, so long after the one before it.
    pub(crate) fn key(&self, interval: Option<Duration>) {
        if let Some(interval) = interval {
            let micros = interval.as_micros() as u64;
            self.key_interval.store(micros, Ordering::Relaxed);
        }
        self.key_at.store(self.age(), Ordering::Relaxed);
    }

    pub(crate) fn reading(&self) -> Reading {
        let now = self.age();
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let some = |micros: u64| (micros > 0).then_some(micros);
        let waiting = some(get(&self.since)).map_or(0, |since| now.saturating_sub(since));
        let key_at = some(get(&self.key_at));
        Reading {
            waited: Duration::from_micros(get(&self.waited) + waiting),
            octets: get(&self.octets),
            pictures: get(&self.pictures),
            opened: get(&self.opened),
            key_interval: some(get(&self.key_interval)).map(Duration::from_micros),
            key_age: key_at.map(|at| Duration::from_micros(now.saturating_sub(at))),
        }
    }

    /// Never 0, which stands for "not".
    fn age(&self) -> u64 {
        self.born.elapsed().as_micros() as u64 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_counts_while_it_lasts() {
        let gauge = Gauge::default();
        let before = gauge.reading().waited;
        let during = gauge.waiting(|| {
            while gauge.reading().waited == before {
                std::hint::spin_loop();
            }
            gauge.reading().waited
        });
        assert!(during > before);
        assert!(gauge.reading().waited >= during);
    }

    #[test]
    fn key_frames_are_counted_anew_for_each_opening() {
        let gauge = Gauge::default();
        gauge.opened();
        gauge.key(None);
        assert_eq!(gauge.reading().key_interval, None);
        gauge.key(Some(Duration::from_secs(2)));
        assert_eq!(gauge.reading().key_interval, Some(Duration::from_secs(2)));
        assert!(gauge.reading().key_age.is_some());
        gauge.opened();
        assert!(gauge.reading().key_age.is_none());
        assert_eq!(gauge.reading().opened, 2);
    }
}
