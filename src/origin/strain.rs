//! How hard it is for this node to send: what is seen of all deliveries between two looks, and what
//! leaves by the network interfaces. What follows from it is `adaptation::saturation`'s to say.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use adaptation::Sight;
use playlists::Bitrate;

use super::{meter::Progress, rounds};

/// Counts of samples since the last look. Every delivery under way is sampled at the same pace, so that
/// counts of samples stand for deliveries.
#[derive(Debug, Default)]
pub struct Strain {
    samples: AtomicU32,
    pressing: AtomicU32,
    harmed: AtomicU32,
}

impl Strain {
    pub(super) fn note(&self, progress: &Progress) {
        self.samples.fetch_add(1, Relaxed);
        if progress.pressing {
            self.pressing.fetch_add(1, Relaxed);
        }
        if progress.harmed {
            self.harmed.fetch_add(1, Relaxed);
        }
    }
}

/// Looks at it, and remembers what was there before.
#[derive(Debug)]
pub(super) struct Lookout {
    at: Instant,
    served: u64,
    sent: u64,
}

impl Lookout {
    pub(super) fn new(served: u64, now: Instant) -> Self {
        Self {
            at: now,
            served,
            sent: interfaces(),
        }
    }

    /// What was seen since the last look, given the octets that viewers have ever acknowledged.
    pub(super) fn look(&mut self, strain: &Strain, served: u64, now: Instant) -> Sight {
        let (span, sent) = (now.saturating_duration_since(self.at), interfaces());
        let rate = |octets: u64| match span {
            Duration::ZERO => Bitrate::ZERO,
            span => Bitrate::of(octets, span),
        };
        let each = (span.as_secs_f64() / rounds::EVERY.as_secs_f64()).max(1.0);
        let count = |samples: &AtomicU32| {
            let samples = samples.swap(0, Relaxed);
            (f64::from(samples) / each).round() as u32
        };
        let acknowledged = rate(served.saturating_sub(self.served));
        let sight = Sight {
            // Where the interfaces cannot be read, or are those of somebody else, there are only we.
            sent: rate(sent.saturating_sub(self.sent)).max(acknowledged),
            served: acknowledged,
            outstanding: count(&strain.samples),
            pressing: count(&strain.pressing),
            harmed: count(&strain.harmed),
        };
        (self.at, self.served, self.sent) = (now, served, sent);
        sight
    }
}

/// Octets that ever left by all interfaces but loopback; 0 where that cannot be read.
fn interfaces() -> u64 {
    let Ok(folder) = fs::read_dir(INTERFACES) else {
        return 0;
    };
    let names = folder.filter_map(|entry| Some(entry.ok()?.file_name()));
    let counted = names.filter(|name| name != "lo").filter_map(|name| {
        let file = Path::new(INTERFACES).join(name).join("statistics/tx_bytes");
        fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()
    });
    counted.sum()
}

const INTERFACES: &str = "/sys/class/net";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_stand_for_deliveries() {
        let (strain, start) = (Strain::default(), Instant::now());
        let mut lookout = Lookout::new(1000, start);
        // Ten deliveries that are looked at five times each, half of them in trouble.
        strain.samples.fetch_add(50, Relaxed);
        strain.pressing.fetch_add(25, Relaxed);
        strain.harmed.fetch_add(24, Relaxed);
        let now = start + Duration::from_millis(250);
        let sight = lookout.look(&strain, 1000 + 31_250, now);
        assert_eq!(
            (sight.outstanding, sight.pressing, sight.harmed),
            (10, 5, 5)
        );
        assert_eq!(sight.served, Bitrate::from_kbps(1000));
        assert!(sight.sent >= sight.served);
        let again = lookout.look(&strain, 1000 + 31_250, now + Duration::from_millis(250));
        assert_eq!((again.outstanding, again.served), (0, Bitrate::ZERO));
    }
}
