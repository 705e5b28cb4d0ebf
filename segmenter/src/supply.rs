//! How well an input keeps its programme supplied: whether it gives pictures, and how long overdue the next one is.
//!
//! Pure. An input may come in bursts, as HLS does, so silence alone says nothing: a picture is overdue when what has
//! come would be over by now, had it begun as late as the least punctual picture of late.

use std::time::Duration;

use playlists::MediaTime;

/// One input. All times are since the start of the run, but those of pictures, which are the input's own.
#[derive(Debug, Default)]
pub(crate) struct Supply {
    /// The newest picture's time.
    newest: Option<i64>,
    /// The greatest delays (arrival less the picture's time) of this window and of the one before.
    delays: [Option<i64>; 2],
    /// When this window began.
    window: Duration,
    /// When the next picture was due, be it by a clock that is gone meanwhile.
    due: Option<Duration>,
    /// Since when pictures have come without a break.
    steady: Option<Duration>,
}

impl Supply {
    /// A picture of `time` came.
    pub(crate) fn picture(&mut self, time: MediaTime, now: Duration) {
        let time = time.to_ticks(MICROS);
        let jumped = self
            .newest
            .is_some_and(|newest| time - newest > FORWARD || newest - time > BACKWARD);
        let broken = self.overdue(now) > UNSTEADY;
        if jumped {
            self.anew();
        }
        if self.steady.is_none() || broken {
            self.steady = Some(now);
        }
        if now.saturating_sub(self.window) > WINDOW {
            (self.delays, self.window) = ([None, self.delays[0]], now);
        }
        let delay = now.as_micros() as i64 - time;
        self.delays[0] = self.delays[0].max(Some(delay));
        self.newest = self.newest.max(Some(time));
        let due = self.delays[0].max(self.delays[1]).unwrap_or(delay) + self.newest.unwrap_or(time);
        self.due = Some(Duration::from_micros(due.max(0) as u64));
    }

    /// Its clock starts over. That makes the next picture no less overdue.
    pub(crate) fn anew(&mut self) {
        (self.newest, self.delays) = (None, [None; 2]);
    }

    /// It has failed or ended. How long the next picture is overdue goes on growing.
    pub(crate) fn lost(&mut self) {
        self.steady = None;
    }

    /// How long the next picture is overdue; before the first one none is due.
    pub(crate) fn overdue(&self, now: Duration) -> Duration {
        self.due
            .map_or(Duration::ZERO, |due| now.saturating_sub(due))
    }

    /// For how long pictures have come without a break; nothing if they do not come now.
    pub(crate) fn steady(&self, now: Duration) -> Option<Duration> {
        let since = self.steady?;
        (self.overdue(now) <= UNSTEADY).then(|| now.saturating_sub(since))
    }
}

const MICROS: u32 = 1_000_000;
/// Jumps of the clock, as `cadence` tells them from gaps; in microseconds.
const FORWARD: i64 = 10_000_000;
const BACKWARD: i64 = 500_000;
/// A pause as long as this is a break.
const UNSTEADY: Duration = Duration::from_secs(1);
/// For how long the least punctual picture counts, at least: longer than the bursts of segments, and short enough that one
/// stall is not held against the next.
const WINDOW: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Pictures of `from` to `until` at 25 a second, all at `now`, or each at its time behind `now`.
    fn give(supply: &mut Supply, (from, until): (u64, u64), now: impl Fn(u64) -> u64) {
        for at in (from..until).step_by(40) {
            supply.picture(MediaTime::from_ticks(at as i64, 1000), millis(now(at)));
        }
    }

    #[test]
    fn nothing_is_due_before_the_first_picture() {
        let supply = Supply::default();
        assert_eq!(supply.overdue(millis(60_000)), Duration::ZERO);
        assert_eq!(supply.steady(millis(60_000)), None);
    }

    #[test]
    fn a_steady_input_that_stops_is_overdue_at_once() {
        let mut supply = Supply::default();
        give(&mut supply, (0, 10_000), |at| 500 + at);
        assert_eq!(supply.steady(millis(10_460)), Some(millis(9_960)));
        assert_eq!(supply.overdue(millis(13_460)), millis(3_000));
        assert_eq!(supply.steady(millis(13_460)), None);
    }

    #[test]
    fn bursts_of_six_seconds_are_no_stall_and_the_one_that_fails_to_come_is() {
        let mut supply = Supply::default();
        for burst in 0..10 {
            let at = burst * 6000;
            assert!(supply.overdue(millis(at)) <= millis(40), "burst {burst}");
            give(&mut supply, (at, at + 6000), |_| at);
        }
        assert_eq!(supply.steady(millis(59_900)), Some(millis(59_900)));
        assert_eq!(supply.overdue(millis(63_000 - 40)), millis(3_000));
    }

    #[test]
    fn one_late_stretch_is_not_held_against_it_for_ever() {
        let mut supply = Supply::default();
        give(&mut supply, (0, 5_000), |at| at);
        // What the network held up for 900 ms, and all of it on time again.
        give(&mut supply, (5_000, 6_000), |at| at.max(5_900));
        give(&mut supply, (6_000, 50_000), |at| at);
        assert_eq!(supply.overdue(millis(52_960)), millis(3_000));
    }

    #[test]
    fn a_clock_that_is_set_anew_is_no_stall() {
        let mut supply = Supply::default();
        give(&mut supply, (0, 2_000), |at| at);
        supply.picture(MediaTime::from_seconds(3600.0), millis(2_000));
        assert_eq!(supply.steady(millis(2_040)), Some(millis(2_040)));
        assert_eq!(supply.overdue(millis(2_040)), millis(40));
    }

    #[test]
    fn an_input_that_is_opened_and_gives_nothing_is_overdue_all_the_same() {
        let mut supply = Supply::default();
        give(&mut supply, (0, 2_000), |at| at);
        supply.lost();
        supply.anew();
        assert_eq!(supply.overdue(millis(4_960)), millis(3_000));
        give(&mut supply, (500_000, 502_000), |at| at - 495_000);
        assert_eq!(supply.steady(millis(6_960)), Some(millis(1_960)));
    }

    #[test]
    fn a_break_begins_the_count_again() {
        let mut supply = Supply::default();
        give(&mut supply, (0, 2_000), |at| at);
        give(&mut supply, (2_000, 4_000), |at| at + 8_000);
        assert_eq!(supply.steady(millis(11_960)), Some(millis(1_960)));
        supply.lost();
        assert_eq!(supply.steady(millis(11_960)), None);
        assert_eq!(supply.overdue(millis(13_960)), millis(2_000));
    }
}
