//! A timer wheel: things to be looked at when their time comes, in slots of one tick each.
//!
//! Pure: time is an argument. Setting a timer is O(1), and a turn costs what is due (and, once in
//! a revolution, what is due later than that), however many timers there are. None goes off early,
//! and none later than by one tick. There is no taking one back: whoever sets it looks again when
//! it goes off, and sets it anew if there is nothing to do yet.

use std::time::{Duration, Instant};

/// Timers for `T`s.
#[derive(Debug)]
pub struct Wheel<T> {
    tick: Duration,
    start: Instant,
    /// The last tick whose timers went off.
    now: u64,
    slots: Vec<Vec<Timer<T>>>,
}

#[derive(Debug)]
struct Timer<T> {
    /// In ticks.
    at: u64,
    what: T,
}

impl<T> Wheel<T> {
    /// `tick` is how exact timers are; a zero one is taken for a nanosecond.
    pub fn new(tick: Duration, start: Instant) -> Self {
        Self {
            tick: tick.max(Duration::from_nanos(1)),
            start,
            now: 0,
            slots: std::iter::repeat_with(Vec::new).take(SLOTS).collect(),
        }
    }

    /// Sets a timer. What is due already goes off with the next turn that a tick has passed for.
    pub fn set(&mut self, what: T, due: Instant) {
        let ticks = self.since_start(due).div_ceil(self.tick.as_nanos());
        let at = u64::try_from(ticks).unwrap_or(u64::MAX).max(self.now + 1);
        self.slots[slot(at)].push(Timer { at, what });
    }

    /// Takes out what is due by `now`, in no order within a turn. A clock that stands still or goes
    /// back finds nothing.
    pub fn turn(&mut self, now: Instant) -> Vec<T> {
        let ticks = self.since_start(now) / self.tick.as_nanos();
        let until = u64::try_from(ticks).unwrap_or(u64::MAX);
        let mut due = Vec::new();
        // After a long sleep each slot is visited once, not once for each missed revolution.
        let first = (self.now + 1).max(until.saturating_sub(SLOTS as u64 - 1));
        for tick in first..=until {
            // A slot starts over without its storage, or each would keep that of the greatest crowd.
            for timer in std::mem::take(&mut self.slots[slot(tick)]) {
                if timer.at <= until {
                    due.push(timer.what);
                } else {
                    self.slots[slot(timer.at)].push(timer);
                }
            }
        }
        self.now = self.now.max(until);
        due
    }

    fn since_start(&self, time: Instant) -> u128 {
        time.saturating_duration_since(self.start).as_nanos()
    }
}

fn slot(tick: u64) -> usize {
    (tick % SLOTS as u64) as usize
}

/// With ticks of half a second a revolution is 64 s: more than three of all but the longest target
/// durations, so that hardly a timer is passed over.
const SLOTS: usize = 128;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TICK: Duration = Duration::from_millis(500);

    fn wheel() -> (Wheel<u32>, Instant) {
        let start = Instant::now();
        (Wheel::new(TICK, start), start)
    }

    #[test]
    fn a_timer_goes_off_once_and_never_early() {
        let (mut wheel, start) = wheel();
        wheel.set(7, start + Duration::from_millis(1200));
        assert!(wheel.turn(start + Duration::from_millis(1199)).is_empty());
        assert!(wheel.turn(start + Duration::from_millis(1499)).is_empty());
        assert_eq!(wheel.turn(start + Duration::from_millis(1500)), [7]);
        assert!(wheel.turn(start + Duration::from_secs(100)).is_empty());
    }

    #[test]
    fn what_is_due_already_goes_off_at_the_next_turn() {
        let (mut wheel, start) = wheel();
        assert!(wheel.turn(start + TICK * 10).is_empty());
        wheel.set(1, start);
        wheel.set(2, start + TICK * 10);
        assert_eq!(wheel.turn(start + TICK * 11), [1, 2]);
    }

    #[test]
    fn a_timer_far_away_waits_for_as_many_revolutions_as_it_takes() {
        let (mut wheel, start) = wheel();
        let far = TICK * (3 * SLOTS as u32 + 5);
        wheel.set(9, start + far);
        let mut gone = Duration::ZERO;
        while gone + TICK < far {
            gone += TICK;
            assert!(wheel.turn(start + gone).is_empty(), "{gone:?}");
        }
        assert_eq!(wheel.turn(start + far), [9]);
    }

    #[test]
    fn a_long_sleep_loses_nothing() {
        let (mut wheel, start) = wheel();
        for second in 1..100 {
            wheel.set(second, start + Duration::from_secs(second.into()));
        }
        let mut due = wheel.turn(start + Duration::from_secs(90));
        due.sort_unstable();
        assert_eq!(due, (1..=90).collect::<Vec<_>>());
        assert_eq!(wheel.turn(start + Duration::from_secs(99)).len(), 9);
    }

    #[test]
    fn a_crowd_leaves_no_storage_behind() {
        let (mut wheel, start) = wheel();
        for round in 1..=SLOTS as u32 {
            (0..1000).for_each(|what| wheel.set(what, start + TICK * round));
            assert_eq!(wheel.turn(start + TICK * round).len(), 1000);
        }
        let kept: usize = wheel.slots.iter().map(Vec::capacity).sum();
        assert_eq!(kept, 0);
    }

    /// What is done to a wheel, in milliseconds from now on.
    #[derive(Clone, Debug)]
    enum Act {
        Set(u64),
        Turn(u64),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            3 => (0u64..200_000).prop_map(Act::Set),
            2 => (0u64..3_000).prop_map(Act::Turn),
            1 => (0u64..150_000).prop_map(Act::Turn),
        ]
    }

    proptest! {
        /// The same as a list that is looked through from end to end at every turn.
        #[test]
        fn it_does_what_a_list_would_do(acts in prop::collection::vec(act(), 0..200)) {
            let (mut wheel, start) = wheel();
            let (mut list, mut now): (Vec<(u64, u32)>, u64) = (Vec::new(), 0);
            let tick = TICK.as_millis() as u64;
            for (what, act) in (0u32..).zip(acts) {
                match act {
                    Act::Set(ahead) => {
                        wheel.set(what, start + Duration::from_millis(now + ahead));
                        list.push(((now + ahead).div_ceil(tick).max(now / tick + 1), what));
                    }
                    Act::Turn(by) => {
                        now += by;
                        let mut due = wheel.turn(start + Duration::from_millis(now));
                        due.sort_unstable();
                        let (mut expected, rest): (Vec<_>, Vec<_>) =
                            list.into_iter().partition(|(at, _)| *at <= now / tick);
                        list = rest;
                        expected.sort_unstable_by_key(|(_, what)| *what);
                        prop_assert_eq!(due, expected.into_iter().map(|(_, what)| what).collect::<Vec<_>>());
                    }
                }
            }
        }
    }
}
