//! What the times of a viewer's requests say, where a proxy hides its path: a player that asks for the next
//! segment has the one before, and took no longer than that for it.
//!
//! It is weak evidence. Most of the time a player waits because it has enough, so that its pace is only a
//! bound from below; and one that stays away for long was paused. Pure.

use std::time::{Duration, Instant};

use adaptation::Delivery;
use playlists::MediaTime;

/// The last segment that a viewer asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cadence {
    pub number: u64,
    pub octets: u64,
    pub media: MediaTime,
    /// When it was there to be sent.
    pub answered: Instant,
}

impl Cadence {
    /// Since when the segment is there, as far as one can tell from it that segment `number` is asked for now: who
    /// keeps up has it by the time that it plays, and who was paused since then had it too.
    pub(super) fn there_since(&self, number: u64, now: Instant) -> Option<Instant> {
        let follows = number == self.number + 1;
        follows.then(|| now.min(self.answered + self.media.duration()))
    }

    /// What it says that segment `number` is asked for now.
    pub(super) fn followed_by(&self, number: u64, now: Instant) -> Option<Delivery> {
        let media = self.media.duration();
        let took = now.saturating_duration_since(self.answered);
        if number != self.number + 1 || media.is_zero() || took > media * PAUSED {
            return None;
        }
        // Between the two it may have waited for us to publish.
        let late = took > media.mul_f64(LATE);
        let elapsed = if late {
            took
        } else {
            took.clamp(media / FASTEST, media)
        };
        Some(Delivery {
            number: self.number,
            octets: self.octets,
            begins: MediaTime::ZERO,
            media: self.media,
            elapsed,
            min_rtt: Duration::ZERO,
            capacity: None,
            // As of a reader that reads as it plays: a bound, unless it falls behind.
            receiver_limited: 1.0,
            complete: true,
        })
    }
}

/// In segments: longer than this nobody takes who plays.
const PAUSED: u32 = 3;

/// Longer than this nobody takes who keeps up.
const LATE: f64 = 1.5;

/// Requests may overlap: a player is not believed to be faster than this times its media.
const FASTEST: u32 = 3;

#[cfg(test)]
mod tests {
    use adaptation::Evidence;
    use playlists::Bitrate;

    use super::*;

    fn evidence(number: u64, after: f64) -> Option<Evidence> {
        let start = Instant::now();
        let cadence = Cadence {
            number: 7,
            octets: 250_000,
            media: MediaTime::from_seconds(2.0),
            answered: start,
        };
        let now = start + Duration::from_secs_f64(after);
        cadence.followed_by(number, now)?.evidence()
    }

    #[test]
    fn who_keeps_up_is_at_least_at_the_rate_of_its_rung() {
        let kbps = Bitrate::from_kbps;
        assert_eq!(evidence(8, 2.0), Some(Evidence::AtLeast(kbps(1000))));
        assert_eq!(evidence(8, 2.4), Some(Evidence::AtLeast(kbps(1000))));
        assert_eq!(evidence(8, 1.0), Some(Evidence::AtLeast(kbps(2000))));
        let Some(Evidence::AtLeast(most)) = evidence(8, 0.0) else {
            panic!("a bound")
        };
        assert!(most <= kbps(3001), "{most}");
    }

    #[test]
    fn whoever_asks_on_has_what_it_asked_for_however_long_that_is_ago() {
        let answered = Instant::now();
        let cadence = Cadence {
            number: 7,
            octets: 250_000,
            media: MediaTime::from_seconds(2.0),
            answered,
        };
        let since = |number, after| {
            let since = cadence.there_since(number, answered + Duration::from_secs(after))?;
            Some((since - answered).as_secs())
        };
        assert_eq!(since(8, 1), Some(1));
        assert_eq!(since(8, 90), Some(2));
        assert_eq!(since(9, 90), None, "it has sought");
    }

    #[test]
    fn who_falls_behind_is_measured_and_who_was_paused_is_not() {
        let measured = Evidence::Measured(Bitrate::from_kbps(500));
        assert_eq!(evidence(8, 4.0), Some(measured));
        assert_eq!(evidence(8, 7.0), None);
        assert_eq!(evidence(7, 1.0), None, "the same again");
        assert_eq!(evidence(12, 1.0), None, "it has sought");
    }
}
