//! What is new in a visit, by what is known of it, and to which minutes that belongs.
//!
//! Pure. Numbers of a visit only grow, so that what was heard before says nothing new, in whatever order it comes. What is new
//! happened since the visit was heard of last, and is spread evenly over that time: after a message was lost, or waited, no minute has
//! more than could be in it.

use std::collections::{BTreeMap, HashMap};

/// What is counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Sums {
    /// Sessions that began, and visits: who goes on at another node is one session and two visits.
    pub joins: i64,
    pub visits: i64,
    /// Milliseconds.
    pub watched: i64,
    pub stalls: i64,
    pub stalled: i64,
    pub starved: i64,
    pub octets: i64,
}

/// A visit, as it is known or told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Standing {
    pub place: i64,
    pub began: i64,
    /// When it was looked at last.
    pub seen: i64,
    /// All but the joins and visits.
    pub sums: Sums,
    pub rungs: BTreeMap<String, i64>,
    pub ended: Option<String>,
}

/// By minute (its first second) and place.
#[derive(Debug, Default)]
pub(super) struct Minutes {
    pub sums: BTreeMap<(i64, i64), Sums>,
    pub rungs: BTreeMap<(i64, i64, String), i64>,
}

/// A node's own sums, since it was started.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Run {
    pub seen: i64,
    pub sent: i64,
    pub seatless: i64,
}

impl Sums {
    /// As columns have them, in this order; a field that is added cannot be forgotten here.
    pub(super) fn columns(self) -> [i64; 7] {
        let Self {
            joins,
            visits,
            watched,
            stalls,
            stalled,
            starved,
            octets,
        } = self;
        [joins, visits, watched, stalls, stalled, starved, octets]
    }

    pub(super) fn of(columns: [i64; 7]) -> Self {
        let [joins, visits, watched, stalls, stalled, starved, octets] = columns;
        Self {
            joins,
            visits,
            watched,
            stalls,
            stalled,
            starved,
            octets,
        }
    }

    /// Field by field.
    fn each(self, other: Self, with: impl Fn(i64, i64) -> i64) -> Self {
        let (ours, theirs) = (self.columns(), other.columns());
        Self::of(std::array::from_fn(|at| with(ours[at], theirs[at])))
    }

    pub(super) fn plus(self, other: Self) -> Self {
        self.each(other, i64::saturating_add)
    }

    fn beyond(self, known: Self) -> Self {
        self.each(known, |now, known| now.saturating_sub(known).max(0))
    }
}

impl Minutes {
    /// Puts down what is new in `told`, of a session of which this is `known`, and has it known.
    pub(super) fn put(&mut self, known: &mut Vec<Standing>, told: Standing) {
        let first = known.is_empty();
        let same = |visit: &Standing| (visit.place, visit.began) == (told.place, told.began);
        let nth = known.iter().position(same).unwrap_or_else(|| {
            let begun = Sums {
                joins: i64::from(first),
                visits: 1,
                ..Sums::default()
            };
            self.add(minute(told.began), told.place, begun);
            known.push(Standing {
                place: told.place,
                began: told.began,
                seen: told.began,
                ..Standing::default()
            });
            known.len() - 1
        });
        let visit = &mut known[nth];
        let new = told.sums.beyond(visit.sums);
        let shares = Shares::of(visit.seen, told.seen);
        for (at, sums) in shares.split_sums(new) {
            self.add(at, told.place, sums);
        }
        for (rung, octets) in told.rungs {
            let known = visit.rungs.entry(rung.clone()).or_default();
            let new = octets.saturating_sub(*known).max(0);
            *known += new;
            for (at, octets) in shares.split(new) {
                let key = (at, told.place, rung.clone());
                *self.rungs.entry(key).or_default() += octets;
            }
        }
        visit.sums = visit.sums.plus(new);
        if told.seen >= visit.seen {
            (visit.seen, visit.ended) = (told.seen, told.ended);
        }
    }

    fn add(&mut self, at: i64, place: i64, sums: Sums) {
        if sums != Sums::default() {
            let known = self.sums.entry((at, place)).or_default();
            *known = known.plus(sums);
        }
    }

    /// The same by the hour.
    pub(super) fn hours(&self) -> Self {
        let mut hours = Self::default();
        for ((at, place), sums) in &self.sums {
            hours.add(hour(*at), *place, *sums);
        }
        for ((at, place, rung), octets) in &self.rungs {
            *hours
                .rungs
                .entry((hour(*at), *place, rung.clone()))
                .or_default() += octets;
        }
        hours
    }
}

impl Run {
    /// What is new in `told`, by minute: sent, and without a seat.
    pub(super) fn hear(&mut self, told: Self) -> HashMap<i64, (i64, i64)> {
        let shares = Shares::of(self.seen, told.seen);
        let new = |told: i64, known: i64| told.saturating_sub(known).max(0);
        let mut minutes = HashMap::<i64, (i64, i64)>::new();
        for (at, octets) in shares.split(new(told.sent, self.sent)) {
            minutes.entry(at).or_default().0 += octets;
        }
        for (at, octets) in shares.split(new(told.seatless, self.seatless)) {
            minutes.entry(at).or_default().1 += octets;
        }
        *self = Self {
            seen: self.seen.max(told.seen),
            sent: self.sent.max(told.sent),
            seatless: self.seatless.max(told.seatless),
        };
        minutes
    }
}

/// Minutes, and how many milliseconds of a time lie in each.
struct Shares(Vec<(i64, i64)>);

impl Shares {
    /// Of what happened between two moments. All of it is in the last minute if there is no time between.
    fn of(from: i64, to: i64) -> Self {
        let from = from.max(to - LONGEST);
        if from >= to {
            return Self(vec![(minute(to), 1)]);
        }
        let starts = (minute(from)..=minute(to)).step_by(60);
        let shares = starts.map(|at| {
            let (begins, ends) = (from.max(at * 1000), to.min((at + 60) * 1000));
            (at, ends - begins)
        });
        Self(shares.filter(|(_, span)| *span > 0).collect())
    }

    /// Its parts add up to all of it.
    fn split(&self, amount: i64) -> Vec<(i64, i64)> {
        let all: i64 = self.0.iter().map(|(_, span)| span).sum();
        let (mut passed, mut given) = (0, 0);
        let parts = self.0.iter().map(|(at, span)| {
            passed += span;
            let until = i128::from(amount) * i128::from(passed) / i128::from(all.max(1));
            let until = i64::try_from(until).unwrap_or(amount);
            (*at, until - std::mem::replace(&mut given, until))
        });
        parts.filter(|(_, part)| *part != 0).collect()
    }

    fn split_sums(&self, sums: Sums) -> BTreeMap<i64, Sums> {
        let mut minutes = BTreeMap::<i64, [i64; 7]>::new();
        for (column, amount) in sums.columns().into_iter().enumerate() {
            for (at, part) in self.split(amount) {
                minutes.entry(at).or_default()[column] += part;
            }
        }
        let sums = |(at, columns)| (at, Sums::of(columns));
        minutes.into_iter().map(sums).collect()
    }
}

/// The first second of the minute, from milliseconds.
pub(super) fn minute(at_ms: i64) -> i64 {
    at_ms.div_euclid(60_000) * 60
}

/// The first second of the hour, from seconds.
pub(super) fn hour(at: i64) -> i64 {
    at.div_euclid(3600) * 3600
}

/// What was not heard of for longer than a day is spread over its last.
const LONGEST: i64 = 86_400_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(seen: i64, watched: i64, octets: i64) -> Standing {
        Standing {
            place: 1,
            began: 0,
            seen,
            sums: Sums {
                watched,
                octets,
                ..Sums::default()
            },
            rungs: [("720p".to_owned(), octets)].into(),
            ended: None,
        }
    }

    fn all(minutes: &Minutes) -> Sums {
        minutes
            .sums
            .values()
            .fold(Sums::default(), |all, sums| all.plus(*sums))
    }

    #[test]
    fn what_is_said_twice_or_late_counts_once() {
        let (mut minutes, mut known) = (Minutes::default(), Vec::new());
        let heard = [
            told(10_000, 9_000, 100),
            told(10_000, 9_000, 100),
            told(30_000, 29_000, 300),
            told(20_000, 19_000, 200),
        ];
        for told in heard {
            minutes.put(&mut known, told);
        }
        let expected = Sums {
            joins: 1,
            visits: 1,
            watched: 29_000,
            octets: 300,
            ..Sums::default()
        };
        assert_eq!(all(&minutes), expected);
        assert_eq!(minutes.rungs.values().sum::<i64>(), 300);
        assert_eq!((known.len(), known[0].seen), (1, 30_000));
    }

    #[test]
    fn a_viewer_that_goes_on_at_another_node_is_one_session_and_two_visits() {
        let (mut minutes, mut known) = (Minutes::default(), Vec::new());
        minutes.put(&mut known, told(60_000, 60_000, 100));
        let second = Standing {
            place: 2,
            began: 60_000,
            ..told(90_000, 30_000, 50)
        };
        minutes.put(&mut known, second);
        let sums = all(&minutes);
        assert_eq!((sums.joins, sums.visits), (1, 2));
        assert_eq!((sums.watched, sums.octets), (90_000, 150));
    }

    #[test]
    fn what_waited_is_spread_over_the_time_in_which_it_happened() {
        let (mut minutes, mut known) = (Minutes::default(), Vec::new());
        minutes.put(&mut known, told(30_000, 30_000, 30));
        minutes.put(&mut known, told(210_000, 210_000, 210));
        let watched: Vec<_> = minutes
            .sums
            .iter()
            .map(|((at, _), sums)| (*at, sums.watched))
            .collect();
        assert_eq!(
            watched,
            [(0, 60_000), (60, 60_000), (120, 60_000), (180, 30_000)]
        );
        assert_eq!(minutes.hours().sums[&(0, 1)].watched, 210_000);
    }

    #[test]
    fn an_end_is_not_undone_by_what_comes_late() {
        let (mut minutes, mut known) = (Minutes::default(), Vec::new());
        let left = Standing {
            ended: Some("left".into()),
            ..told(20_000, 1, 1)
        };
        minutes.put(&mut known, left);
        minutes.put(&mut known, told(10_000, 1, 1));
        assert_eq!(known[0].ended.as_deref(), Some("left"));
    }

    proptest! {
        #[test]
        fn parts_add_up_and_lie_within_their_time(
            from in 0i64..100_000_000, span in 0i64..100_000_000, amount in 0i64..i64::MAX / 2,
        ) {
            let (from, to) = (from, from + span);
            let parts = Shares::of(from, to).split(amount);
            prop_assert_eq!(parts.iter().map(|(_, part)| part).sum::<i64>(), amount);
            for (at, part) in parts {
                prop_assert!(part > 0 && at >= minute(from) && at <= minute(to));
            }
        }
    }
}
