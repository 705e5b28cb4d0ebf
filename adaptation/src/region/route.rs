//! Where a join goes, and what each node is to be told: both read off the balancer's state,
//! changing nothing.

use std::time::Instant;

use super::{
    Balancer, Mood, Region, Standing,
    node::{Node, Phase},
};

/// Where a viewer goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Route {
    /// `overloaded`: it has its fill, but a crowded place is better than none.
    Primary {
        overloaded: bool,
    },
    Relay {
        node: String,
    },
    /// A relay is about to be ready; ask again when something has changed.
    Wait,
}

/// What a node is to do from now on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Order {
    Continue,
    Activate {
        region: Region,
    },
    /// Send viewers to that relay; `None`: to the primary.
    Drain {
        to: Option<String>,
    },
    Retire,
}

impl Balancer {
    /// Where the next viewer of `region` goes. The caller then reports it as `Joined`.
    pub fn route(&self, region: &Region, now: Instant) -> Route {
        let region = self.known(region);
        let primary = self.primary();
        let silent = primary.is_some_and(|node| node.silent);
        if !silent && self.on_primary(&region) < self.limit(&region) {
            return Route::Primary { overloaded: false };
        }
        if let Some(node) = self.roomiest(&region, None) {
            return Route::Relay { node: node.into() };
        }
        if self.pending(&region, now) > 0 {
            return Route::Wait;
        }
        Route::Primary { overloaded: true }
    }

    /// As [`Balancer::route`], for a viewer who has waited long enough.
    pub fn route_now(&self, region: &Region, now: Instant) -> Route {
        match self.route(region, now) {
            Route::Wait => Route::Primary { overloaded: true },
            route => route,
        }
    }

    /// What `node` is to be told, each time it reports.
    pub fn order(&self, node: &str) -> Order {
        let Some(known) = self.nodes.get(node) else {
            return Order::Continue;
        };
        match &known.phase {
            Phase::Serving(region) => Order::Activate {
                region: region.clone(),
            },
            Phase::Draining(region) => Order::Drain {
                to: self.refuge(region, node, known),
            },
            Phase::Retiring => Order::Retire,
            Phase::Primary | Phase::Standby | Phase::Lost => Order::Continue,
        }
    }

    /// Where the viewers of a draining relay go: to the primary if they fit there (which frees
    /// relays for regions that need them), else to another relay, else to the primary all the same.
    fn refuge(&self, region: &Region, name: &str, node: &Node) -> Option<String> {
        let silent = self.primary().is_none_or(|node| node.silent);
        let there = self.on_primary(region).saturating_add(node.viewers(region));
        if !silent && there <= self.limit(region) {
            return None;
        }
        self.roomiest(region, Some(name)).map(Into::into)
    }

    /// The least loaded relay that serves the region and has room for one more.
    pub(super) fn roomiest(&self, region: &Region, but: Option<&str>) -> Option<&str> {
        self.nodes
            .iter()
            .filter(|(name, node)| Some(name.as_str()) != but && node.serves(region))
            .filter(|(_, node)| node.ready() && self.has_room(node))
            .min_by_key(|(_, node)| node.total())
            .map(|(name, _)| name.as_str())
    }

    fn has_room(&self, node: &Node) -> bool {
        self.config
            .relay_viewers
            .is_none_or(|most| node.total() < most)
    }

    /// Viewers of the region from which on the primary takes no more of it: the threshold, or
    /// less while its egress is short.
    pub fn limit(&self, region: &Region) -> u32 {
        let pressed = self.areas.get(region).and_then(|area| area.pressed);
        pressed.map_or(self.config.threshold, |most| {
            most.min(self.config.threshold)
        })
    }

    /// Viewers of the region on the primary, with those on their way.
    pub(super) fn on_primary(&self, region: &Region) -> u32 {
        self.primary().map_or(0, |node| node.viewers(region))
    }

    /// Viewers of the region on all nodes that are alive, with those on their way.
    pub(super) fn everywhere(&self, region: &Region) -> u32 {
        self.nodes
            .values()
            .filter(|node| node.phase != Phase::Lost)
            .map(|node| node.viewers(region))
            .fold(0, u32::saturating_add)
    }

    pub(super) fn pending(&self, region: &Region, now: Instant) -> usize {
        let patience = self.config.patience();
        self.nodes
            .values()
            .filter(|node| node.serves(region) && node.pending(patience, now))
            .count()
    }

    pub(super) fn primary(&self) -> Option<&Node> {
        self.nodes.values().find(|node| node.is_primary())
    }
}

/// For people to look at.
impl Balancer {
    /// Viewers of the region as reported, without those on their way: on the primary, on relays.
    pub fn counted(&self, region: &Region) -> (u32, u32) {
        let relays = self
            .nodes
            .values()
            .filter(|node| !node.is_primary() && node.phase != Phase::Lost);
        (
            self.primary().map_or(0, |node| node.counted(region)),
            relays
                .map(|node| node.counted(region))
                .fold(0, u32::saturating_add),
        )
    }

    /// Relays that serve the region, drain from it, or are on their way to it.
    pub fn relays(&self, region: &Region) -> usize {
        self.nodes
            .values()
            .filter(|node| node.serves(region) || node.drains(region))
            .count()
    }

    pub fn mood(&self, region: &Region, now: Instant) -> Mood {
        let any = |test: &dyn Fn(&Node) -> bool| self.nodes.values().any(test);
        if self.pending(region, now) > 0 {
            Mood::Launching
        } else if any(&|node| node.serves(region)) {
            Mood::Spilling
        } else if any(&|node| node.drains(region)) {
            Mood::Draining
        } else {
            Mood::Normal
        }
    }

    /// Known regions, in order of their names.
    pub fn regions(&self) -> impl Iterator<Item = &Region> {
        self.areas.keys()
    }

    /// Known nodes with the region they serve or were set up for, in order of their names.
    pub fn standings(&self) -> impl Iterator<Item = (&str, Option<&Region>, Standing)> {
        self.nodes
            .iter()
            .map(|(name, node)| (name.as_str(), node.region(), node.standing()))
    }

    /// When `node` was last heard; for one that is being launched, when it was asked for.
    pub fn heard(&self, node: &str) -> Option<Instant> {
        self.nodes.get(node).map(|node| node.heard)
    }

    /// The name of the primary, while it is heard.
    pub fn primary_name(&self) -> Option<&str> {
        self.nodes
            .iter()
            .find(|(_, node)| node.is_primary() && !node.silent)
            .map(|(name, _)| name.as_str())
    }
}
