//! The default: plays the next segments through the viewer's buffer, for every rung, over paths
//! that turn out as expected, better, or worse, and takes the rung that is worth most.
//!
//! Model predictive control (Yin et al. 2015) with a distribution in place of the point estimate, as
//! Fugu has it (Yan et al. 2020: what a prediction is worth depends on knowing how wrong it is), and with
//! recourse: the segment that is asked for arrives at a rate that nobody knows yet, and what follows
//! is chosen once that is known. So a stall in what is asked for now counts in full, while a path that
//! has broken down does not also pay for rungs that nobody would take on it.

use playlists::MAX_RUNGS;

use super::{
    Choice, Rate, Reason, Rule, Situation, path::Path, playout::Playout, utility::Utility,
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mpc {
    /// Segments looked ahead, the one that is asked for among them; at most eight.
    pub horizon: usize,
    /// What a second of stall costs, in units of utility.
    pub stall: f64,
    /// By what factor it costs more a viewer who takes parts: who watches so close to what is live is further
    /// away from it after each, and few players come back.
    pub close: f64,
    /// What a change costs, for each unit of utility between the two rungs.
    pub change: f64,
    /// What a second costs by which the buffer has shrunk at the horizon: quality that only the buffer pays
    /// for is given back later, and the buffer is what the next surprise is met with.
    pub drain: f64,
    /// What a second of lost picture costs at a change of its size, right after another. A rung that
    /// was kept for long was paid for, and the next will be kept beyond the horizon: half of it after eight segments.
    pub lost: f64,
    /// The share of a rate, once known, that is reckoned with for what follows.
    pub margin: f64,
    /// The least standard deviation of ln(rate): no path is as steady as a few samples may look.
    pub floor: f64,
    /// Rungs up in one step; down has no limit.
    pub max_up: usize,
}

impl Default for Mpc {
    /// Of those tried, good on every family of traces rather than best on one: see `docs/adaptation.md`.
    fn default() -> Self {
        Self {
            horizon: 4,
            stall: 25.0,
            close: 4.0,
            change: 1.0,
            drain: 0.5,
            lost: 1.5,
            margin: 0.85,
            floor: 0.05,
            max_up: 2,
        }
    }
}

impl Rule for Mpc {
    fn name(&self) -> &'static str {
        "mpc"
    }

    fn choose(&self, situation: &Situation<'_>) -> Choice {
        let (Some(previous), Some(path), Some(_)) = (
            situation.viewer.previous,
            Path::of(situation),
            situation.viewer.buffer,
        ) else {
            // Nothing to play through yet: where to begin is a question of rates alone.
            return Rate::default().choose(situation);
        };
        let previous = previous.min(situation.top());
        // Without an estimate a pace bounds the path from above; it is no reason to climb.
        let most = match situation.viewer.estimate {
            Some(_) => previous.saturating_add(self.max_up).min(situation.top()),
            None => previous,
        };
        let plan = Plan::new(self, situation, path, previous);
        let had = (0..=most).filter(|rung| situation.may_begin(*rung));
        let outlooks = had.map(|rung| (rung, plan.outlook(rung)));
        let best = outlooks.reduce(|best, next| {
            if next.1.value > best.1.value {
                next
            } else {
                best
            }
        });
        let (rung, outlook) = best.unwrap_or_default();
        let reason = if rung == 0 && outlook.stalls {
            Reason::Emergency
        } else {
            situation.compared(rung)
        };
        situation.within(rung, reason)
    }
}

/// What is to be expected of a choice.
#[derive(Clone, Copy, Debug, Default)]
struct Outlook {
    value: f64,
    /// On the path as it is expected.
    stalls: bool,
}

/// A path as it may turn out.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    /// Octets per second.
    rate: f64,
    /// How likely it is.
    share: f64,
}

/// One decision, with what is the same for all rungs.
struct Plan<'a> {
    rule: &'a Mpc,
    situation: &'a Situation<'a>,
    utility: Utility,
    previous: usize,
    scenarios: [Scenario; ERRORS.len()],
    /// The buffer now.
    now: Playout,
    /// Octets on their way that go before.
    left: f64,
    /// Seconds.
    rtt: f64,
    /// Octets of the segments that follow, in every rung: true ones where they exist.
    following: [Row; FURTHEST],
    /// Of all of them together.
    total: Row,
    /// Of a segment, in seconds.
    duration: f64,
    /// What a second of stall costs this viewer.
    stall: f64,
    /// Shares of the segment: what is asked for, and what of it is behind that.
    this: f64,
    behind: f64,
    /// How many a segment is fetched with.
    requests: f64,
}

/// One segment in every rung.
type Row = [f64; MAX_RUNGS];

impl<'a> Plan<'a> {
    fn new(rule: &'a Mpc, situation: &'a Situation<'a>, path: Path, previous: usize) -> Self {
        let deviation = path.deviation.max(rule.floor);
        let expected = path.rate.bps() as f64 / 8.0;
        let part = situation.offer.part;
        let mut plan = Self {
            rule,
            situation,
            utility: Utility::of(situation),
            previous,
            scenarios: ERRORS.map(|error| Scenario {
                rate: expected * (error.steady + error.noise * deviation).exp(),
                share: error.share,
            }),
            now: Playout::of(situation),
            left: situation
                .viewer
                .in_flight
                .map_or(0.0, |flight| flight.left as f64),
            rtt: situation.viewer.rtt.as_secs_f64(),
            following: std::array::from_fn(|at| row(situation, at + 1)),
            total: [0.0; MAX_RUNGS],
            duration: situation.offer.duration.seconds(),
            stall: rule.stall
                * if situation.viewer.close {
                    rule.close
                } else {
                    1.0
                },
            this: part.map_or(1.0, |part| 1.0 / f64::from(part.of.max(1))),
            behind: situation.behind(),
            requests: part.map_or(1.0, |part| f64::from(part.of)),
        };
        plan.total = std::array::from_fn(|rung| plan.rest().iter().map(|row| row[rung]).sum());
        plan
    }

    fn outlook(&self, rung: usize) -> Outlook {
        let mut value = (self.this + self.behind) * self.utility.rung(rung)
            - self.change(self.previous, rung, self.situation.viewer.since_switch);
        let mut stalls = false;
        for (at, Scenario { rate, share }) in self.scenarios.into_iter().enumerate() {
            let mut playout = self.now;
            let octets = self.left + self.this * self.octets(rung);
            playout.fetch(self.this * self.duration, self.rtt + octets / rate);
            stalls |= at == EXPECTED && playout.stalled > 0.0;
            value += share * (self.best_after(rung, playout, rate) - self.stall * playout.stalled);
        }
        Outlook { value, stalls }
    }

    /// Of the segment.
    fn octets(&self, rung: usize) -> f64 {
        let this = self.situation.offer.sizes.this();
        this.get(rung).map_or(0.0, |octets| *octets as f64)
    }

    /// What can be made of the rest once `rung` has arrived at this rate: of the segment in question the same rung, or
    /// one that can be begun within it; then one rung to the horizon.
    fn best_after(&self, rung: usize, first: Playout, rate: f64) -> f64 {
        let second_per_octet = 1.0 / (rate * self.rule.margin);
        if self.behind <= 0.0 {
            return self.best_following(rung, first, second_per_octet);
        }
        let within = |then| {
            let mut playout = first;
            let octets = self.behind * self.octets(then);
            let round_trips = self.behind * self.requests * self.rtt;
            let seconds = round_trips + octets * second_per_octet;
            playout.fetch(self.behind * self.duration, seconds);
            let stalled = playout.stalled - first.stalled;
            let gained = self.behind * (self.utility.rung(then) - self.utility.rung(rung));
            let value = gained - self.change(rung, then, 0) - self.stall * stalled
                + self.best_following(then, playout, second_per_octet);
            (value, stalled > 0.0)
        };
        let (mut best, stalls) = within(rung);
        let later = self
            .situation
            .offer
            .part
            .map_or(0, |part| usize::from(part.later));
        if stalls {
            for then in 0..later.min(rung) {
                best = best.max(within(then).0);
            }
        }
        best
    }

    /// One rung in all segments behind the one in question.
    fn best_following(&self, rung: usize, first: Playout, second_per_octet: f64) -> f64 {
        let rest = self.rest().len() as f64;
        // All that can be played while it is fetched.
        let grain = self.this * self.duration;
        let held = first.level + (rest - 1.0) * self.duration + (self.duration - grain);
        let mut best = f64::NEG_INFINITY;
        for then in (0..self.situation.offer.sizes.rungs()).rev() {
            let seconds = rest * self.requests * self.rtt + self.total[then] * second_per_octet;
            let most = rest * self.utility.rung(then) - self.change(rung, then, 0);
            // Most are seen to be worth less without being played.
            if most - self.stall * (seconds - held).max(0.0) > best {
                best = best.max(most - self.price(first, second_per_octet, then));
            }
        }
        best
    }

    /// What stalls and the buffer's loss cost with `then` to the horizon.
    fn price(&self, first: Playout, second_per_octet: f64, then: usize) -> f64 {
        let mut playout = first;
        for row in self.rest() {
            let seconds = self.requests * self.rtt + row[then] * second_per_octet;
            playout.fetch(self.duration, seconds);
        }
        self.stall * (playout.stalled - first.stalled)
            + self.rule.drain * (self.now.level - playout.level).max(0.0)
    }

    fn rest(&self) -> &[Row] {
        &self.following[..self.rule.horizon.saturating_sub(1).min(FURTHEST)]
    }

    fn change(&self, from: usize, to: usize, kept: u32) -> f64 {
        let between = (self.utility.rung(to) - self.utility.rung(from)).abs();
        let picture = |rung| self.situation.offer.pictures.get(rung);
        let lost = if picture(from) == picture(to) {
            0.0
        } else {
            self.situation.offer.lost.as_secs_f64() / (1.0 + f64::from(kept) / PAID_OFF)
        };
        self.rule.change * between + self.rule.lost * lost
    }
}

/// Of the `nth` segment from now: true octets where it exists.
fn row(situation: &Situation<'_>, nth: usize) -> Row {
    let (known, this) = (
        situation.offer.sizes.after(nth),
        situation.offer.sizes.this(),
    );
    let usual = Some(situation.offer.expected).filter(|usual| usual.len() >= this.len());
    let octets = known.or(usual).unwrap_or(this);
    std::array::from_fn(|rung| octets.get(rung).map_or(0.0, |octets| *octets as f64))
}

/// How wrong a prediction may prove, as a logarithm: so much on any path, and so many of the path's
/// own deviations more.
struct Error {
    steady: f64,
    noise: f64,
    share: f64,
}

/// The errors of [`crate::throughput`]'s estimate over some 40,000 segments of five families of traces, by
/// the deviation that it had given: quantiles of 1, 5, 12, 25, 50 and 80 %. The bad side is longer than
/// a log-normal's, and has a part that does not depend on how steady a path has been.
const ERRORS: [Error; 6] = [
    Error {
        steady: -0.45,
        noise: -1.8,
        share: 0.02,
    },
    Error {
        steady: -0.15,
        noise: -1.4,
        share: 0.06,
    },
    Error {
        steady: -0.07,
        noise: -0.9,
        share: 0.12,
    },
    Error {
        steady: -0.03,
        noise: -0.35,
        share: 0.20,
    },
    Error {
        steady: 0.0,
        noise: 0.0,
        share: 0.35,
    },
    Error {
        steady: 0.03,
        noise: 0.5,
        share: 0.25,
    },
];
/// The one that is expected.
const EXPECTED: usize = 4;

/// Segments after which a change of the picture's size costs half of what it does right after another.
const PAID_OFF: f64 = 8.0;

/// Segments behind the one that is asked for.
const FURTHEST: usize = 7;
