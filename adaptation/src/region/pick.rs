//! Which relay of several: what each can take, how full it is, and whether it is well.

use std::cmp::Ordering;

use super::{Balancer, Moment, Region, node::Node};

impl Balancer {
    /// The best relay that serves the region and has room for one more: one that is well before one that
    /// is not, and then the emptiest, where having the stream counts like some room.
    pub(super) fn roomiest(
        &self,
        region: &Region,
        stream: Option<&str>,
        but: Option<&str>,
        now: Moment,
    ) -> Option<&str> {
        let members = self.fleet.members(region);
        let open = members.filter(|(name, node)| Some(*name) != but && self.takes(name, node, now));
        let worst = |(name, node): &(&str, &Node)| {
            let late = now.saturating_sub(node.heard) >= self.config.heartbeat * 2;
            let has = stream.is_some_and(|stream| node.has(stream));
            let fullness = self.fullness(name, node) - if has { AFFINITY } else { 0.0 };
            (node.is_ill(), late, fullness)
        };
        let better = |one: &(bool, bool, f64), other: &(bool, bool, f64)| -> Ordering {
            let by_health = (one.0, one.1).cmp(&(other.0, other.1));
            by_health.then(one.2.total_cmp(&other.2))
        };
        let judged = open.map(|candidate| (worst(&candidate), candidate.0));
        let best = judged.min_by(|(one, _), (other, _)| better(one, other));
        best.map(|(_, name)| name)
    }

    /// A node that serves and may be sent one more viewer.
    pub(super) fn takes(&self, name: &str, node: &Node, now: Moment) -> bool {
        node.ready() && self.is_open(name) && self.spare(node, now) > 0
    }

    /// Nobody has asked for it to be left alone.
    pub(super) fn is_open(&self, name: &str) -> bool {
        !self.closed.contains(name) && self.weight(name) > 0.0
    }

    /// For how many more viewers a relay has room; [`u32::MAX`] if nobody knows a limit.
    pub(super) fn spare(&self, node: &Node, now: Moment) -> u32 {
        let cooldown = self.config.cooldown;
        let short = |since: Moment| now.saturating_sub(since) >= cooldown;
        if node.short_since.is_some_and(short) {
            return 0;
        }
        match self.capacity(node) {
            Some(most) => most.saturating_sub(node.total()),
            None => u32::MAX,
        }
    }

    /// Viewers that a relay takes: what the operator says of all, what it says itself, and what its
    /// budget is enough for by what its viewers take.
    pub(super) fn capacity(&self, node: &Node) -> Option<u32> {
        let report = node.report.as_ref();
        let seats = report.and_then(|report| report.seats);
        let budget = report.and_then(|report| report.budget).zip(node.rate);
        let budget = budget.map(|(budget, rate)| (budget.bps() as f64 / rate.max(1.0)) as u32);
        [self.config.relay_viewers, seats, budget]
            .into_iter()
            .flatten()
            .min()
    }

    /// 0 is empty, 1 is full for a node of weight 1.
    fn fullness(&self, name: &str, node: &Node) -> f64 {
        let most = self.capacity(node).unwrap_or(NOMINAL).max(1);
        let weight = self.weight(name).max(f64::MIN_POSITIVE);
        f64::from(node.total()) / f64::from(most) / weight
    }

    pub(super) fn weight(&self, name: &str) -> f64 {
        self.config.weights.get(name).copied().unwrap_or(1.0)
    }
}

/// What it is worth that a relay has the stream already, as a part of its capacity: no more is taken from
/// the primary for one more viewer of it.
const AFFINITY: f64 = 0.2;

/// Viewers of a node that says nothing of its capacity, to compare it with others.
const NOMINAL: u32 = 1_000;
