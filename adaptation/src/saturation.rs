//! What a node can send, learnt from when it could not send more.
//!
//! A link that is full shows in three things at once: many deliveries would take more than they get, the sum of
//! all no longer grows, and either most of them wait in a queue or lose packets, or the sum is the same however
//! many they are. (A congestion control that keeps queues short, as BBR does, leaves only the last; and where the queue never
//! empties, the shortest round trip has it in it.) What the sum is then, is what the link carries. One of the three
//! alone means something else: viewers who have all they want, viewers on bad paths of their own, a crowd that grows.
//!
//! Pure: a [`Sight`] for each quarter of a second in, a budget out. Where the numbers come from is the
//! origin's business, and who gets how much of the budget the allocator's.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use playlists::Bitrate;

/// What was seen of all deliveries since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sight {
    /// What left by the network interfaces, whoever sent it.
    pub sent: Bitrate,
    /// What viewers acknowledged.
    pub served: Bitrate,
    /// Deliveries under way.
    pub outstanding: u32,
    /// Those of them that would have taken more: not limited by the application, nor by their reader.
    pub pressing: u32,
    /// Those of them whose round trips are twice the shortest, or who lose more than one packet in fifty.
    pub harmed: u32,
}

/// Learns the egress budget of a node.
#[derive(Clone, Debug)]
pub struct Saturation {
    sights: VecDeque<Sight>,
    /// Of each of them, whether the link was seen to be full then, or many were harmed.
    troubles: VecDeque<bool>,
    /// The most that was served while few would have taken more; forgotten slowly.
    harmless: f64,
    state: State,
    seen: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Nothing is known to be too much.
    Open,
    /// So many bits per second are to be shared out.
    Holding {
        budget: f64,
        since: Instant,
        /// It helped: with less to send the harm went away. Until then it may be the viewers' own paths.
        helped: bool,
    },
    /// It did not help, so that it was not this node. Not to be tried again before that.
    Doubting { until: Instant },
}

impl Saturation {
    pub fn new() -> Self {
        Self {
            sights: VecDeque::with_capacity(SPAN),
            troubles: VecDeque::with_capacity(SPAN),
            harmless: 0.0,
            state: State::Open,
            seen: None,
        }
    }

    /// What is to be shared out from now on; `None` as long as nothing is known to be too much.
    pub fn see(&mut self, sight: Sight, now: Instant) -> Option<Bitrate> {
        let since = self.seen.replace(now);
        let passed = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if self.sights.len() == SPAN {
            self.sights.pop_front();
        }
        self.sights.push_back(sight);
        if self.troubles.len() == SPAN {
            self.troubles.pop_front();
        }
        self.troubles
            .push_back(sight.is_harmed() || self.is_level());
        self.harmless *= keep(passed, HARMLESS_HALVES);
        if !sight.is_pressed() {
            self.harmless = self.harmless.max(self.served());
        }
        self.state = match self.state {
            State::Open => self.look(now).unwrap_or(State::Open),
            State::Doubting { until } if now >= until => State::Open,
            State::Doubting { until } => State::Doubting { until },
            State::Holding {
                budget,
                since,
                helped,
            } => self.hold(budget, since, helped, passed, now),
        };
        self.budget()
    }

    pub fn budget(&self) -> Option<Bitrate> {
        match self.state {
            State::Holding { budget, .. } => Some(Bitrate::from_bps(budget as u64)),
            State::Open | State::Doubting { .. } => None,
        }
    }

    /// A new budget, if the link has been full for all of the span.
    fn look(&self, now: Instant) -> Option<State> {
        if !self.is_full() {
            return None;
        }
        // Not below what went well: then something else than the sum is the trouble.
        let budget = (self.served() * BELOW).max(self.harmless.min(self.served()));
        Some(State::Holding {
            budget,
            since: now,
            helped: false,
        })
    }

    fn hold(
        &self,
        budget: f64,
        since: Instant,
        helped: bool,
        passed: Duration,
        now: Instant,
    ) -> State {
        let held = now.saturating_duration_since(since);
        // What was under way when the budget came still has to arrive.
        if held < SETTLING {
            return State::Holding {
                budget,
                since,
                helped,
            };
        }
        let troubled = self.troubles.iter().filter(|troubled| **troubled).count();
        let helped = helped || troubled * 4 <= self.troubles.len();
        if !helped && held >= PATIENCE {
            return State::Doubting { until: now + DOUBT };
        }
        // The link carries less than it did. Who knows of no help yet does not ask for more of the same.
        if helped
            && let Some(State::Holding { budget: less, .. }) = self.look(now)
            && less < budget
        {
            return State::Holding {
                budget: less,
                since: now,
                helped,
            };
        }
        let grown = if helped && troubled == 0 {
            // Slowly, so that the harm of finding the limit again is small and rare.
            budget / keep(passed, DOUBLES)
        } else {
            budget
        };
        State::Holding {
            budget: grown,
            since,
            helped,
        }
    }

    /// Whether many pressed, most of them in vain, and the sum stood still, for all of the span.
    fn is_full(&self) -> bool {
        let harmed = self.sights.iter().all(Sight::is_harmed);
        if self.sights.len() < SPAN || !(harmed || self.is_level()) {
            return false;
        }
        let half = |from: usize| {
            let sights = self.sights.iter().skip(from).take(SPAN / 2);
            let sum: u64 = sights.map(|sight| sight.sent.bps()).sum();
            sum as f64
        };
        half(SPAN / 2) <= half(0) * STILL
    }

    /// Whether for all of the span many pressed, now more and now fewer of them, and the sum was the same: what they get
    /// is what one of them leaves to the others. On paths of their own they would get the more the more they are.
    fn is_level(&self) -> bool {
        if self.sights.len() < SPAN || !self.sights.iter().all(Sight::is_pressed) {
            return false;
        }
        let sent = variation(self.sights.iter().map(|sight| sight.sent.bps() as f64));
        let many = variation(self.sights.iter().map(|sight| sight.outstanding.into()));
        sent <= LEVEL && many >= VARIES && many >= TOLD_APART * sent
    }

    /// What viewers got on average over the span.
    fn served(&self) -> f64 {
        let sum: u64 = self.sights.iter().map(|sight| sight.served.bps()).sum();
        sum as f64 / self.sights.len().max(1) as f64
    }
}

impl Default for Saturation {
    fn default() -> Self {
        Self::new()
    }
}

impl Sight {
    /// Many would take more, and most of all are the worse for it.
    fn is_harmed(&self) -> bool {
        self.is_pressed() && self.is_most(self.harmed)
    }

    /// Many would take more.
    fn is_pressed(&self) -> bool {
        self.outstanding >= MANY && self.is_most(self.pressing)
    }

    fn is_most(&self, count: u32) -> bool {
        u64::from(count) * 5 >= u64::from(self.outstanding) * 3
    }
}

/// Coefficient of variation.
fn variation(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / count;
    let square = values.map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    if mean > 0.0 {
        square.sqrt() / mean
    } else {
        0.0
    }
}

/// What is left of something after `passed`, if half of it is after `half`.
fn keep(passed: Duration, half: Duration) -> f64 {
    (-passed.as_secs_f64() / half.as_secs_f64()).exp2()
}

/// Sights that are looked at together: two seconds.
const SPAN: usize = 8;

/// Fewer deliveries than this are as slow as the slowest few of them happen to be.
const MANY: u32 = 8;

/// Of a full link: the queue in front of it drains, and there is room for who comes next.
const BELOW: f64 = 0.95;

/// A sum that grows by less than this over a second stands still.
const STILL: f64 = 1.04;

/// Coefficients of variation over the span. Measured with 20 players on a link of 16 Mbit/s under BBR: 0.002 to 0.012 of what
/// was sent, 0.07 to 0.3 of how many were under way.
const LEVEL: f64 = 0.02;
const VARIES: f64 = 0.05;
/// By so much the one has to be more than the other.
const TOLD_APART: f64 = 4.0;

/// A budget doubles in so long while nobody is harmed: 1.5 % in ten seconds.
const DOUBLES: Duration = Duration::from_secs(480);

const HARMLESS_HALVES: Duration = Duration::from_secs(600);

/// Until a new budget is felt: segments under way, and the next sharing.
const SETTLING: Duration = Duration::from_secs(4);

/// If it is not felt after so long, it was not this node's link.
const PATIENCE: Duration = Duration::from_secs(15);

const DOUBT: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(250);

    /// Viewers behind one link, who would take so much in all, and somebody else on it.
    struct Node {
        saturation: Saturation,
        now: Instant,
        link: f64,
        wanted: f64,
        elsewhere: f64,
        /// Viewers on slow paths of their own.
        slow: bool,
        /// Queues are kept short, so that a full link harms nobody.
        calm: bool,
        looked: u32,
    }

    impl Node {
        fn new(link: f64, wanted: f64) -> Self {
            Self {
                saturation: Saturation::new(),
                now: Instant::now(),
                link,
                wanted,
                elsewhere: 0.0,
                slow: false,
                calm: false,
                looked: 0,
            }
        }

        /// What came of it, in Mbit/s.
        fn run(&mut self, seconds: u32) -> Option<f64> {
            for _ in 0..seconds * 4 {
                let budget = self.saturation.budget();
                let budget = budget.map_or(f64::MAX, |budget| budget.bps() as f64 / 1e6);
                let offered = self.wanted.min(budget * 0.97);
                let room = self.link - self.elsewhere;
                let (full, served) = (offered >= room, offered.min(room));
                let stuck = full || self.slow;
                let mbps = |rate: f64| Bitrate::from_bps((rate * 1e6) as u64);
                self.now += LOOK;
                self.looked += 1;
                // Segments come at a time, and so do those who ask for them.
                let some = [5, 4, 3, 4][self.looked as usize % 4];
                let paths = if self.slow {
                    f64::from(some) / 4.0
                } else {
                    1.0
                };
                let sight = Sight {
                    sent: mbps(served * paths + self.elsewhere),
                    served: mbps(served * paths),
                    outstanding: 10 * some,
                    pressing: if stuck { 9 * some } else { some },
                    harmed: if stuck && !self.calm { 8 * some } else { 1 },
                };
                self.saturation.see(sight, self.now);
            }
            let budget = self.saturation.budget()?;
            Some(budget.bps() as f64 / 1e6)
        }
    }

    #[test]
    fn who_has_enough_learns_nothing() {
        assert_eq!(Node::new(100.0, 80.0).run(600), None);
    }

    #[test]
    fn a_full_link_is_told_within_seconds_and_to_a_twentieth() {
        let mut node = Node::new(100.0, 130.0);
        let budget = node.run(5).unwrap();
        assert!((90.0..=100.0).contains(&budget), "{budget}");
    }

    #[test]
    fn a_full_link_is_told_where_queues_are_short_and_that_it_helps_to_send_less() {
        let mut node = Node::new(100.0, 130.0);
        node.calm = true;
        let budget = node.run(5).unwrap();
        assert!((90.0..=100.0).contains(&budget), "{budget}");
        let held = (0..600).filter(|_| node.run(1).is_some()).count();
        assert_eq!(held, 600);
        let budget = node.run(1).unwrap();
        assert!((90.0..=104.0).contains(&budget), "{budget}");
    }

    #[test]
    fn viewers_on_good_paths_of_their_own_who_would_take_more_are_let_be() {
        let mut node = Node::new(1000.0, 60.0);
        (node.slow, node.calm) = (true, true);
        assert_eq!(node.run(600), None);
    }

    #[test]
    fn the_limit_is_found_again_and_again_but_seldom() {
        let mut node = Node::new(100.0, 130.0);
        node.run(5);
        let budgets: Vec<_> = (0..1200).map(|_| node.run(1).unwrap()).collect();
        let above = budgets.iter().filter(|budget| **budget * 0.97 >= 100.0);
        let mean = budgets.iter().sum::<f64>() / budgets.len() as f64;
        assert!(above.count() < 200, "{budgets:?}");
        assert!((94.0..=104.0).contains(&mean), "{mean}");
    }

    #[test]
    fn a_link_that_loses_half_is_believed_and_one_that_comes_back_too() {
        let mut node = Node::new(100.0, 130.0);
        node.run(60);
        node.link = 50.0;
        let budget = node.run(15).unwrap();
        assert!((45.0..=52.0).contains(&budget), "{budget}");
        node.link = 100.0;
        let budget = node.run(900).unwrap();
        assert!(budget > 90.0, "{budget}");
    }

    #[test]
    fn what_others_send_over_the_link_is_not_ours_to_share_out() {
        let mut node = Node::new(100.0, 130.0);
        node.elsewhere = 40.0;
        let budget = node.run(10).unwrap();
        assert!((54.0..=60.0).contains(&budget), "{budget}");
    }

    #[test]
    fn viewers_on_bad_paths_of_their_own_are_not_held_down_for_long() {
        let mut node = Node::new(1000.0, 60.0);
        node.slow = true;
        let held = (0..300).filter(|_| node.run(1).is_some()).count();
        assert!(held <= 60, "{held} s of 300");
    }

    #[test]
    fn a_budget_is_never_below_what_went_well() {
        let mut node = Node::new(100.0, 99.0);
        assert_eq!(node.run(60), None);
        // One more, and it is full.
        node.wanted = 101.0;
        let budget = node.run(5).unwrap();
        assert!(budget >= 98.0, "{budget}");
    }

    #[test]
    fn few_deliveries_say_nothing() {
        let mut saturation = Saturation::new();
        let mut now = Instant::now();
        for _ in 0..100 {
            now += LOOK;
            let sight = Sight {
                sent: Bitrate::from_kbps(5000),
                served: Bitrate::from_kbps(5000),
                outstanding: 3,
                pressing: 3,
                harmed: 3,
            };
            assert_eq!(saturation.see(sight, now), None);
        }
    }
}
