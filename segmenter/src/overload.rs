//! Whether the machine keeps up with real time, and how many rungs it is to encode: the dearest goes when it does not, and
//! comes back after a good while.
//!
//! Pure: a second's figures in, a count out. What stands in for a rung that is not encoded is `rung`'s and `writer`'s.

/// One second of work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Second {
    /// Media seconds made in it.
    pub(crate) speed: f64,
    /// The share of it that was spent waiting for the input. An input that itself comes slowly leaves the machine idle;
    /// that is not ours to warn of.
    pub(crate) idle: f64,
    /// What waits to be made up for.
    pub(crate) lag_ms: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Overload {
    rungs: usize,
    encoded: usize,
    /// No fewer are encoded, whatever happens.
    least: usize,
    /// Slow seconds in a row, less what the last cut is given to show its effect; and good ones.
    slow: i32,
    good: u32,
    /// Good seconds until a rung is taken back.
    trial: u32,
    /// Seconds since one was.
    taken_back: Option<u32>,
    /// Slow for so long that it was said.
    behind: bool,
}

/// What has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Turn {
    /// Slower than real time. One rung less, if there is one to spare.
    Behind,
    /// One rung more.
    TakenBack,
    /// Keeping up again, whatever is encoded.
    KeepsUp,
}

impl Overload {
    pub(crate) fn new(rungs: usize, least: usize) -> Self {
        Self {
            rungs,
            encoded: rungs,
            least: least.clamp(1, rungs.max(1)),
            slow: 0,
            good: 0,
            trial: TRIAL,
            taken_back: None,
            behind: false,
        }
    }

    /// How many rungs, the cheapest, are to be encoded.
    pub(crate) fn encoded(&self) -> usize {
        self.encoded
    }

    pub(crate) fn dropped(&self) -> usize {
        self.rungs - self.encoded
    }

    /// It is slow, or not all is encoded because it was.
    pub(crate) fn is_on(&self) -> bool {
        self.behind || self.dropped() > 0
    }

    /// A second went by.
    pub(crate) fn second(&mut self, second: Second) -> Option<Turn> {
        self.taken_back = self.taken_back.map(|ago| ago + 1);
        if second.speed < SLOW && second.idle < IDLE {
            self.good = 0;
            self.slow += 1;
            return (self.slow >= SLOW_SECONDS).then(|| self.cut());
        }
        self.slow = self.slow.min(0);
        if second.lag_ms > LATE_MS {
            return None;
        }
        self.good += 1;
        if self.behind && self.good >= GOOD_SECONDS {
            self.behind = false;
            return Some(Turn::KeepsUp);
        }
        if self.dropped() > 0 && self.good >= self.trial {
            (self.encoded, self.good) = (self.encoded + 1, 0);
            self.taken_back = Some(0);
            return Some(Turn::TakenBack);
        }
        None
    }

    fn cut(&mut self) -> Turn {
        self.slow = -SETTLING;
        self.behind = true;
        if self.encoded > self.least {
            self.encoded -= 1;
            let soon = self.taken_back.take().is_some_and(|ago| ago < PROVEN);
            self.trial = if soon {
                (self.trial * 2).min(LONGEST_TRIAL)
            } else {
                TRIAL
            };
        }
        Turn::Behind
    }
}

const SLOW: f64 = 0.97;
const IDLE: f64 = 0.05;
const SLOW_SECONDS: i32 = 4;
const GOOD_SECONDS: u32 = 3;
/// A cut begins with a segment, and what waits in the queues comes first.
const SETTLING: i32 = 3;
/// Later than this there is something to make up for, and no room for another rung.
const LATE_MS: u64 = 1000;
/// Good seconds until a rung is taken back. They double each time it has to go again within `PROVEN` seconds.
const TRIAL: u32 = 20;
const LONGEST_TRIAL: u32 = 640;
const PROVEN: u32 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that has the power for so many rungs of four, for so many seconds: what happened when.
    fn work(overload: &mut Overload, seconds: u32, power: usize) -> Vec<(u32, Turn, usize)> {
        let mut seen = Vec::new();
        for second in 0..seconds {
            let slow = overload.encoded() > power;
            let turn = overload.second(Second {
                speed: if slow { 0.7 } else { 1.0 },
                idle: if slow { 0.0 } else { 0.4 },
                lag_ms: 0,
            });
            seen.extend(turn.map(|turn| (second, turn, overload.encoded())));
        }
        seen
    }

    #[test]
    fn a_machine_that_keeps_up_encodes_all() {
        let mut overload = Overload::new(4, 1);
        assert_eq!(work(&mut overload, 3600, 4), []);
        assert!(!overload.is_on());
    }

    #[test]
    fn the_dearest_rung_goes_within_seconds_and_the_next_if_that_was_not_enough() {
        let mut overload = Overload::new(4, 1);
        let seen = work(&mut overload, 18, 2);
        assert_eq!(
            seen,
            [
                (3, Turn::Behind, 3),
                (10, Turn::Behind, 2),
                (13, Turn::KeepsUp, 2)
            ]
        );
        assert!(overload.is_on());
        assert_eq!(overload.dropped(), 2);
    }

    #[test]
    fn the_last_rung_stays_whatever_happens() {
        let mut overload = Overload::new(2, 1);
        work(&mut overload, 60, 0);
        assert_eq!(overload.encoded(), 1);
    }

    #[test]
    fn a_run_that_need_not_be_in_time_keeps_its_rungs() {
        let mut overload = Overload::new(4, 4);
        assert!(!work(&mut overload, 60, 2).is_empty());
        assert_eq!(overload.encoded(), 4);
    }

    #[test]
    fn what_was_dropped_is_taken_back_and_later_each_time_it_has_to_go_again() {
        let mut overload = Overload::new(4, 1);
        let seen = work(&mut overload, 600, 3);
        let back = seen.iter().filter(|(_, turn, _)| *turn == Turn::TakenBack);
        let back: Vec<_> = back.map(|(second, ..)| *second).collect();
        let waits: Vec<_> = back.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(back.len() < 7, "{back:?}");
        assert!(waits.windows(2).all(|pair| pair[1] > pair[0]), "{waits:?}");
        // The load is gone: one more time, and for good.
        assert_eq!(work(&mut overload, 1300, 4).len(), 1);
        assert!(!overload.is_on());
    }

    #[test]
    fn a_slow_input_is_no_slow_machine_and_a_hiccup_is_nothing() {
        let mut overload = Overload::new(4, 1);
        for second in 0..120 {
            let speed = if second % 4 == 0 { 1.0 } else { 0.8 };
            let slow_input = Second {
                speed: 0.5,
                idle: 0.8,
                lag_ms: 0,
            };
            let hiccup = Second {
                speed,
                idle: 0.0,
                lag_ms: 0,
            };
            let second = if second < 60 { slow_input } else { hiccup };
            assert_eq!(overload.second(second), None);
        }
    }

    #[test]
    fn nothing_is_taken_back_while_there_is_something_to_make_up_for() {
        let mut overload = Overload::new(4, 1);
        work(&mut overload, 4, 3);
        for _ in 0..100 {
            let late = Second {
                speed: 1.1,
                idle: 0.0,
                lag_ms: 5000,
            };
            assert_eq!(overload.second(late), None);
        }
        assert_eq!(overload.encoded(), 3);
    }
}
