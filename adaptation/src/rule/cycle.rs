//! A laboratory's rule: another rung every one to four segments, whatever the path carries.
//!
//! It is for trying players, which have to take any switch at any time. It depends on the segment's
//! number alone, so that all viewers of a node, and any who look at its log, see the same.

use super::{Choice, Rule, Situation};

/// Another rung every one to four segments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cycle;

impl Rule for Cycle {
    fn name(&self) -> &'static str {
        "cycle"
    }

    fn choose(&self, situation: &Situation<'_>) -> Choice {
        let wanted = rung(situation.offer.number, situation.offer.sizes.rungs());
        situation.within(wanted, situation.compared(wanted))
    }
}

/// The rung of segment `number` among `rungs`. In each round every rung is left by the same step,
/// in the next round by a larger one: from one rung up and over the top, then by two, and so on.
fn rung(number: u64, rungs: usize) -> usize {
    let rungs = rungs.max(1) as u64;
    let stay = match number % 10 {
        0 => 0,
        1..=2 => 1,
        3..=5 => 2,
        _ => 3,
    };
    let stay = number / 10 * 4 + stay;
    let step = 1 + (stay / rungs) % (rungs - 1).max(1);
    ((stay % rungs) * step % rungs) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn no_stay_is_longer_than_four_segments_and_stays_of_each_length_there_are() {
        for rungs in 2..=5 {
            let all: Vec<_> = (7000..7400).map(|number| rung(number, rungs)).collect();
            let lengths: BTreeSet<_> = all.chunk_by(|a, b| a == b).map(<[_]>::len).collect();
            assert_eq!(lengths, BTreeSet::from([1, 2, 3, 4]), "{rungs} rungs");
            assert!(all.iter().all(|rung| *rung < rungs));
        }
        assert!((0..100).all(|number| rung(number, 1) == 0));
    }

    #[test]
    fn among_three_rungs_each_is_left_for_each() {
        let mut switches = BTreeMap::<_, u32>::new();
        for number in 0..120 {
            *switches
                .entry((rung(number, 3), rung(number + 1, 3)))
                .or_default() += 1;
        }
        let left = switches.keys().filter(|(from, to)| from != to);
        assert_eq!(left.count(), 6, "{switches:?}");
    }
}
