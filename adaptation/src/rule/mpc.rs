//! The default: plays the next segments through the viewer's buffer, for every rung, over paths
//! that may turn out better or worse than expected, and takes the rung that is worth most.
//!
//! Model predictive control (Yin et al. 2015) with a distribution in place of the point estimate, as
//! Fugu has it (Yan et al. 2020: what a prediction is worth depends on knowing how wrong it is).
//! The distribution is log-normal around the estimate, with the width of the path's own errors,
//! and with more weight on its bad side: a rate that falls stays low for longer than one that rises.
//! Behind the segment in question one rung is held to the horizon; which one is part of the search.

use super::{
    Choice, Rate, Reason, Rule, Situation, path::Path, playout::Playout, utility::Utility,
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mpc {
    /// Segments looked ahead.
    pub horizon: usize,
    /// What a second of stall costs, in units of utility.
    pub stall: f64,
    /// What a change costs, for each unit of utility between the two rungs.
    pub change: f64,
    /// What a second costs by which the buffer is expected to shrink until the horizon: quality that only
    /// the buffer pays for is given back later.
    pub drain: f64,
    /// What a second of lost picture costs at a change of its size.
    pub lost: f64,
    /// The least standard deviation of ln(rate): no path is as steady as a few samples may look.
    pub floor: f64,
    /// Rungs up in one step; down has no limit.
    pub max_up: usize,
}

impl Default for Mpc {
    fn default() -> Self {
        Self {
            horizon: 5,
            stall: 12.0,
            change: 1.0,
            drain: 0.8,
            lost: 3.0,
            floor: 0.12,
            max_up: 2,
        }
    }
}

impl Rule for Mpc {
    fn name(&self) -> &'static str {
        "mpc"
    }

    fn choose(&self, situation: &Situation<'_>) -> Choice {
        let (Some(previous), Some(path), Some(_)) =
            (situation.previous, Path::of(situation), situation.buffer)
        else {
            return Rate::default().choose(situation);
        };
        let previous = previous.min(situation.top());
        // Without an estimate a pace bounds the path from above; it is no reason to climb.
        let most = match situation.estimate {
            Some(_) => previous.saturating_add(self.max_up).min(situation.top()),
            None => previous,
        };
        let plan = Plan::new(self, situation, path, previous);
        let best = (0..=most)
            .map(|rung| (rung, plan.worth(rung, most)))
            .reduce(|best, next| {
                if next.1.value > best.1.value {
                    next
                } else {
                    best
                }
            });
        let (rung, outlook) = best.unwrap_or_default();
        let reason = if rung == 0 && outlook.stalled > 0.0 {
            Reason::Emergency
        } else {
            situation.compared(rung)
        };
        situation.within(rung, reason)
    }
}

/// What is expected of a choice.
#[derive(Clone, Copy, Debug)]
struct Outlook {
    value: f64,
    /// Seconds, on the path that is expected.
    stalled: f64,
}

impl Default for Outlook {
    fn default() -> Self {
        Self {
            value: f64::NEG_INFINITY,
            stalled: 0.0,
        }
    }
}

/// One decision, with what is the same for all rungs.
struct Plan<'a> {
    rule: &'a Mpc,
    situation: &'a Situation<'a>,
    utility: Utility,
    previous: usize,
    /// Octets per second, and how likely.
    paths: [(f64, f64); SCENARIOS.len()],
    /// Octets on their way that go before.
    left: f64,
    rtt: f64,
    /// Seconds ahead now.
    level: f64,
}

impl<'a> Plan<'a> {
    fn new(rule: &'a Mpc, situation: &'a Situation<'a>, path: Path, previous: usize) -> Self {
        let deviation = path.deviation.max(rule.floor);
        let expected = path.rate.bps() as f64 / 8.0;
        Self {
            level: Playout::of(situation).level,
            rule,
            situation,
            utility: Utility::of(situation),
            previous,
            paths: SCENARIOS.map(|(at, share)| (expected * (at * deviation).exp(), share)),
            left: situation.in_flight.map_or(0.0, |flight| flight.left as f64),
            rtt: situation.rtt.as_secs_f64(),
        }
    }

    /// The best that can follow on `rung`, among the rungs up to `most`.
    fn worth(&self, rung: usize, most: usize) -> Outlook {
        // What comes first is the same whatever follows.
        let first = self.paths.map(|(rate, _)| {
            let mut playout = Playout::of(self.situation);
            playout.fetch(self.rtt + (self.left + self.octets(0, rung)) / rate);
            playout
        });
        (0..=most)
            .map(|then| self.follow(&first, rung, then))
            .reduce(|best, next| if next.value > best.value { next } else { best })
            .unwrap_or_default()
    }

    /// `rung` now, and `then` to the horizon.
    fn follow(&self, first: &[Playout; SCENARIOS.len()], rung: usize, then: usize) -> Outlook {
        let rest = self.rule.horizon.saturating_sub(1);
        let mut ends = *first;
        for (playout, (rate, _)) in ends.iter_mut().zip(&self.paths) {
            for nth in 1..=rest {
                playout.fetch(self.rtt + self.octets(nth, then) / rate);
            }
        }
        let shares = self.paths.map(|(_, share)| share);
        let risk: f64 = ends
            .iter()
            .zip(shares)
            .map(|(end, share)| end.stalled * share)
            .sum();
        let drain = (self.level - ends[EXPECTED].level).max(0.0);
        let worth = |rung| self.utility.rung(rung);
        let value = worth(rung) + rest as f64 * worth(then)
            - self.rule.stall * risk
            - self.rule.drain * drain
            - self.change(self.previous, rung)
            - self.change(rung, then);
        Outlook {
            value,
            stalled: ends[EXPECTED].stalled,
        }
    }

    fn change(&self, from: usize, to: usize) -> f64 {
        let between = (self.utility.rung(to) - self.utility.rung(from)).abs();
        let picture = |rung| self.situation.pictures.get(rung);
        let lost = if from != to && picture(from) != picture(to) {
            self.situation.lost.as_secs_f64()
        } else {
            0.0
        };
        self.rule.change * between + self.rule.lost * lost
    }

    /// Of the `nth` segment from now: true ones where it exists.
    fn octets(&self, nth: usize, rung: usize) -> f64 {
        let known = self
            .situation
            .sizes
            .after(nth)
            .and_then(|row| row.get(rung));
        let usual = || self.situation.expected.get(rung);
        let this = || self.situation.sizes.this().get(rung);
        known
            .or_else(usual)
            .or_else(this)
            .map_or(0.0, |octets| *octets as f64)
    }
}

/// Standard deviations from what is expected, and how likely: the bad side weighs more.
const SCENARIOS: [(f64, f64); 4] = [(-1.6, 0.15), (-0.8, 0.25), (0.0, 0.35), (0.8, 0.25)];
/// The one that is expected.
const EXPECTED: usize = 2;
