//! RobustMPC (Yin et al. 2015): the best sequence of rungs over five segments on a path that carries the harmonic
//! mean of the last five, less the worst error of its last five predictions. For comparison.
//!
//! Linear in the bitrate, as the paper's quality of experience: Mbit/s of each segment, less the differences,
//! less a top rung's worth for each second of stall.

use super::{Choice, Reason, Rule, Situation, playout::Playout};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RobustMpc {
    pub horizon: usize,
    /// What the differences of neighbours count.
    pub change: f64,
}

impl Default for RobustMpc {
    fn default() -> Self {
        Self {
            horizon: 5,
            change: 1.0,
        }
    }
}

impl Rule for RobustMpc {
    fn name(&self) -> &'static str {
        "robust-mpc"
    }

    fn choose(&self, situation: &Situation<'_>) -> Choice {
        let (Some(rate), Some(_), Some(previous)) = (
            situation.viewer.recent.harmonic_mean(),
            situation.viewer.buffer,
            situation.viewer.previous,
        ) else {
            let rung = situation.viewer.previous.unwrap_or(situation.offer.start);
            return situation.within(rung.min(situation.top()), Reason::Start);
        };
        let rate = rate.bps() as f64 / 8.0 / (1.0 + situation.viewer.recent.worst_error());
        let search = Search {
            rule: self,
            situation,
            rate: rate.max(1.0),
            top: mbps(situation, situation.top()),
        };
        let playout = Playout::of(situation);
        let (_, rung) = search.best(0, previous.min(situation.top()), playout);
        situation.within(rung, situation.compared(rung))
    }
}

/// All sequences, depth first.
struct Search<'a> {
    rule: &'a RobustMpc,
    situation: &'a Situation<'a>,
    /// Octets per second.
    rate: f64,
    /// Of the dearest rung, Mbit/s.
    top: f64,
}

impl Search<'_> {
    /// The best from the `nth` segment on, and its first rung.
    fn best(&self, nth: usize, previous: usize, playout: Playout) -> (f64, usize) {
        let mut best = (f64::NEG_INFINITY, 0);
        for rung in 0..=self.situation.top() {
            let sizes = self.situation.offer.sizes.after(nth);
            let octets = sizes.unwrap_or(self.situation.offer.expected).get(rung);
            let mut next = playout;
            let octets = octets.map_or(0.0, |octets| *octets as f64);
            next.fetch(self.situation.offer.duration.seconds(), octets / self.rate);
            let (own, before) = (mbps(self.situation, rung), mbps(self.situation, previous));
            let mut value = own
                - self.rule.change * (own - before).abs()
                - self.top * (next.stalled - playout.stalled);
            if nth + 1 < self.rule.horizon {
                value += self.best(nth + 1, rung, next).0;
            }
            if value > best.0 {
                best = (value, rung);
            }
        }
        best
    }
}

fn mbps(situation: &Situation<'_>, rung: usize) -> f64 {
    let octets = situation.offer.expected.get(rung).copied().unwrap_or(0) as f64;
    octets * 8.0 / 1e6 / situation.offer.duration.seconds().max(f64::EPSILON)
}
