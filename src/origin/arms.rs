//! Rules side by side: which viewer has which, and what came of each.
//!
//! A viewer's arm follows from its key alone, so that it is the same on every node that is configured
//! alike, and after a restart. What came of an arm is summed when a viewer leaves; those who are still
//! there are asked when somebody wants to know, so that no viewer ever waits for another.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use adaptation::Rule;
use serde::Serialize;

/// At least one arm; shares sum to more than none.
#[derive(Debug)]
pub struct Arms(Vec<Arm>);

/// A rule, and its part of the viewers.
#[derive(Debug)]
pub struct Arm {
    pub rule: Box<dyn Rule>,
    share: u32,
    past: Sums,
}

/// What came of one viewer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub watched_ms: u64,
    /// As the model of its buffer has it.
    pub stalled_ms: u64,
    pub stalls: u32,
    pub switches: u32,
    /// Of the segments that were chosen for it.
    pub media_ms: u64,
    pub octets: u64,
    /// Sum over the decisions that had one, in kbit/s.
    pub estimates_kbps: u64,
    pub estimated: u32,
}

/// Tallies of those who left.
#[derive(Debug, Default)]
struct Sums {
    viewers: AtomicU64,
    watched_ms: AtomicU64,
    stalled_ms: AtomicU64,
    stalls: AtomicU64,
    switches: AtomicU64,
    media_ms: AtomicU64,
    octets: AtomicU64,
    estimates_kbps: AtomicU64,
    estimated: AtomicU64,
}

/// One arm as `/v1/arms` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = Arm)]
pub struct ArmReport {
    pub arm: usize,
    pub rule: &'static str,
    /// Of all viewers, 0 to 1.
    pub share: f64,
    /// Ever, those of now included.
    pub viewers: u64,
    pub watching: u64,
    pub watched_s: f64,
    pub stalled_s: f64,
    pub stalls: u64,
    /// Of the time watched.
    pub stall_ratio: f64,
    pub mean_kbps: u64,
    pub switches_per_minute: f64,
    pub mean_estimate_kbps: u64,
}

impl Arms {
    /// `None` where nobody would have a rule.
    pub fn new(arms: Vec<(Box<dyn Rule>, u32)>) -> Option<Self> {
        let arms: Vec<_> = arms
            .into_iter()
            .filter(|(_, share)| *share > 0)
            .map(|(rule, share)| Arm {
                rule,
                share,
                past: Sums::default(),
            })
            .collect();
        let few = !arms.is_empty() && arms.len() <= ARMS;
        few.then_some(Self(arms))
    }

    /// The same rule for everybody.
    pub fn one(rule: Box<dyn Rule>) -> Self {
        Self(vec![Arm {
            rule,
            share: 1,
            past: Sums::default(),
        }])
    }

    /// The arm of the viewer with this key.
    pub fn of(&self, key: u64) -> u8 {
        if self.0.len() == 1 {
            return 0;
        }
        let all: u64 = self.0.iter().map(|arm| u64::from(arm.share)).sum();
        // Whatever the order in which keys are given out.
        let place = (u128::from(mixed(key)) * u128::from(all)) >> 64;
        let mut left = place as u64;
        for (index, arm) in (0u8..).zip(&self.0) {
            match left.checked_sub(arm.share.into()) {
                Some(less) => left = less,
                None => return index,
            }
        }
        0
    }

    pub fn rule(&self, arm: u8) -> &dyn Rule {
        &*self.arm(arm).rule
    }

    /// A viewer of this arm has gone.
    pub fn fold(&self, arm: u8, tally: &Tally) {
        self.arm(arm).past.add(tally);
    }

    /// What came of each arm so far, given the `live` viewers of each.
    pub fn report(&self, live: impl IntoIterator<Item = (u8, Tally)>) -> Vec<ArmReport> {
        let sums: Vec<_> = self.0.iter().map(|arm| arm.past.copy()).collect();
        let mut watching = vec![0u64; sums.len()];
        for (arm, tally) in live {
            let index = usize::from(arm).min(sums.len() - 1);
            sums[index].add(&tally);
            watching[index] += 1;
        }
        let all: u64 = self.0.iter().map(|arm| u64::from(arm.share)).sum();
        let arms = self.0.iter().zip(sums).zip(watching).enumerate();
        let report = |(index, ((arm, sums), watching)): (usize, ((&Arm, Sums), u64))| {
            let share = f64::from(arm.share) / all as f64;
            sums.report((index, arm.rule.name(), share), watching)
        };
        arms.map(report).collect()
    }

    /// One that is none is the first: configurations may differ from node to node.
    fn arm(&self, arm: u8) -> &Arm {
        self.0.get(usize::from(arm)).unwrap_or(&self.0[0])
    }
}

impl Sums {
    fn add(&self, tally: &Tally) {
        self.viewers.fetch_add(1, Relaxed);
        for (sum, value) in [
            (&self.watched_ms, tally.watched_ms),
            (&self.stalled_ms, tally.stalled_ms),
            (&self.stalls, tally.stalls.into()),
            (&self.switches, tally.switches.into()),
            (&self.media_ms, tally.media_ms),
            (&self.octets, tally.octets),
            (&self.estimates_kbps, tally.estimates_kbps),
            (&self.estimated, tally.estimated.into()),
        ] {
            sum.fetch_add(value, Relaxed);
        }
    }

    fn copy(&self) -> Self {
        let copy = |sum: &AtomicU64| AtomicU64::new(sum.load(Relaxed));
        Self {
            viewers: copy(&self.viewers),
            watched_ms: copy(&self.watched_ms),
            stalled_ms: copy(&self.stalled_ms),
            stalls: copy(&self.stalls),
            switches: copy(&self.switches),
            media_ms: copy(&self.media_ms),
            octets: copy(&self.octets),
            estimates_kbps: copy(&self.estimates_kbps),
            estimated: copy(&self.estimated),
        }
    }

    fn report(&self, (arm, rule, share): (usize, &'static str, f64), watching: u64) -> ArmReport {
        let value = |sum: &AtomicU64| sum.load(Relaxed);
        let seconds = |sum: &AtomicU64| value(sum) as f64 / 1000.0;
        let per = |sum: f64, of: f64| if of > 0.0 { sum / of } else { 0.0 };
        let watched_s = seconds(&self.watched_ms);
        let bits = value(&self.octets) as f64 * 8.0;
        let estimates = value(&self.estimates_kbps) as f64;
        ArmReport {
            arm,
            rule,
            share,
            viewers: value(&self.viewers),
            watching,
            watched_s,
            stalled_s: seconds(&self.stalled_ms),
            stalls: value(&self.stalls),
            stall_ratio: per(seconds(&self.stalled_ms), watched_s),
            mean_kbps: per(bits, value(&self.media_ms) as f64) as u64,
            switches_per_minute: per(value(&self.switches) as f64 * 60.0, watched_s),
            mean_estimate_kbps: per(estimates, value(&self.estimated) as f64) as u64,
        }
    }
}

/// Every bit of a key counts for its place (the finalizer of SplitMix64; Steele, Lea & Flood 2014).
fn mixed(key: u64) -> u64 {
    let key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    key ^ (key >> 31)
}

/// More rules than anybody could tell apart by their results.
pub const ARMS: usize = 16;

#[cfg(test)]
mod tests {
    use adaptation::{Cycle, Fixed, Rate};

    use super::*;

    fn arms(shares: [u32; 3]) -> Arms {
        let [a, b, c] = shares;
        Arms::new(vec![
            (Box::new(Rate::default()), a),
            (Box::new(Cycle), b),
            (Box::new(Fixed), c),
        ])
        .unwrap()
    }

    #[test]
    fn each_rule_has_its_share_of_the_viewers_however_keys_are_given_out() {
        let arms = arms([80, 15, 5]);
        for step in [1, 0x1_0000_0000, 0x9e37_79b9_7f4a_7c15_u64] {
            let mut counts = [0u32; 3];
            for n in 0..100_000u64 {
                counts[usize::from(arms.of(n.wrapping_mul(step)))] += 1;
            }
            for (count, share) in counts.into_iter().zip([80_000u32, 15_000, 5_000]) {
                assert!(count.abs_diff(share) < 600, "{counts:?} with step {step}");
            }
        }
    }

    #[test]
    fn a_viewer_has_the_same_rule_on_every_node() {
        let (here, there) = (arms([1, 1, 1]), arms([1, 1, 1]));
        assert!((0..1000).all(|key| here.of(key) == there.of(key)));
        let alone = arms([1, 0, 0]);
        assert!((0..1000).all(|key| alone.of(key) == 0));
    }

    #[test]
    fn an_arm_without_a_share_is_none() {
        assert!(Arms::new(vec![(Box::new(Fixed), 0)]).is_none());
        assert!(Arms::new(Vec::new()).is_none());
    }

    #[test]
    fn who_has_left_and_who_is_there_are_summed_alike() {
        let arms = arms([1, 1, 0]);
        let tally = Tally {
            watched_ms: 60_000,
            stalled_ms: 600,
            stalls: 2,
            switches: 3,
            media_ms: 60_000,
            octets: 7_500_000,
            estimates_kbps: 30 * 2000,
            estimated: 30,
        };
        arms.fold(0, &tally);
        let [first, second] = <[ArmReport; 2]>::try_from(arms.report([(0, tally)])).unwrap();
        assert_eq!((first.viewers, first.watching), (2, 1));
        assert_eq!(
            (first.watched_s, first.stalled_s, first.stalls),
            (120.0, 1.2, 4)
        );
        assert_eq!((first.mean_kbps, first.mean_estimate_kbps), (1000, 2000));
        assert_eq!(first.switches_per_minute, 3.0);
        assert!((first.stall_ratio - 0.01).abs() < 1e-9);
        assert_eq!(
            (second.viewers, second.mean_kbps, second.stall_ratio),
            (0, 0, 0.0)
        );
    }
}
