//! Where a join goes, and what each node is to be told: both read off the balancer's state,
//! changing nothing.

use serde::{Deserialize, Serialize};

use super::{
    Balancer, Moment, Region,
    node::{Node, Phase},
    refuge::Refuge,
};

/// Who asks where to go.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub region: &'a Region,
    pub stream: Option<&'a str>,
    /// The node that it was sent to before.
    pub before: Option<&'a str>,
}

impl<'a> From<&'a Region> for Ask<'a> {
    fn from(region: &'a Region) -> Self {
        Self {
            region,
            stream: None,
            before: None,
        }
    }
}

/// Where a viewer goes.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// With `keep`, viewers beyond so many go to the primary.
    Activate {
        region: Region,
        keep: Option<u32>,
    },
    /// Send viewers to that relay; `None`: to the primary.
    Drain {
        to: Option<String>,
    },
    Retire,
}

impl Balancer {
    /// Where the next viewer goes. The caller then reports it as `Joined`, or as `Waiting`.
    pub fn route<'a>(&self, ask: impl Into<Ask<'a>>, now: Moment) -> Route {
        let ask: Ask<'_> = ask.into();
        let region = self.known(ask.region);
        if let Some(route) = self.pinned(&region) {
            return route;
        }
        // Who comes back goes where it was, if it could have been sent there today.
        let before = ask
            .before
            .and_then(|name| Some((name, self.fleet.get(name)?)));
        if let Some((name, _)) = before.filter(|(name, node)| {
            node.serves(&region) && !node.doubted && self.takes(name, node, now)
        }) {
            return Route::Relay { node: name.into() };
        }
        let silent = self.primary().is_some_and(|node| node.silent);
        if !silent && self.on_primary(&region) < self.limit(&region) {
            return Route::Primary { overloaded: false };
        }
        if let Some(node) = self.roomiest(&region, ask.stream, None, now) {
            return Route::Relay { node: node.into() };
        }
        if self.pending(&region, now) > 0 {
            return Route::Wait;
        }
        Route::Primary { overloaded: true }
    }

    /// As [`Balancer::route`], for a viewer who has waited long enough.
    pub fn route_now<'a>(&self, ask: impl Into<Ask<'a>>, now: Moment) -> Route {
        match self.route(ask, now) {
            Route::Wait => Route::Primary { overloaded: true },
            route => route,
        }
    }

    /// The node that the operator wants the region's viewers on, while it serves.
    fn pinned(&self, region: &Region) -> Option<Route> {
        let name = self.pins.get(region)?.node.as_deref()?;
        let node = self.fleet.get(name)?;
        if node.is_primary() {
            return (!node.silent).then_some(Route::Primary { overloaded: false });
        }
        let node = (node.ready() && !self.closed.contains(name)).then(|| name.to_owned())?;
        Some(Route::Relay { node })
    }

    /// Regions that an operator wants on a relay which is well, and which. Whoever watches on the primary goes there too.
    pub fn elsewhere(&self) -> impl Iterator<Item = (&Region, String)> {
        self.pins.keys().filter_map(|region| {
            let Some(Route::Relay { node }) = self.pinned(region) else {
                return None;
            };
            let well = !self.fleet.get(&node)?.is_ill();
            well.then_some((region, node))
        })
    }

    /// What `node` is to be told, each time it reports.
    pub fn order(&self, node: &str) -> Order {
        let Some(known) = self.fleet.get(node) else {
            return Order::Continue;
        };
        match &known.phase {
            Phase::Serving(region) => Order::Activate {
                region: region.clone(),
                keep: self.keep(region, node, known),
            },
            Phase::Draining(region) => {
                let refuge = known.refuge.clone();
                let refuge = refuge.unwrap_or_else(|| self.refuge(region, node, known));
                Order::Drain {
                    to: match refuge {
                        Refuge::Primary => None,
                        Refuge::Relay(relay) => Some(relay),
                    },
                }
            }
            Phase::Retiring => Order::Retire,
            Phase::Primary | Phase::Standby | Phase::Lost => Order::Continue,
        }
    }

    /// How many viewers a relay may keep: none while it is cut off; else, if there is room for some on the primary, and nobody
    /// has taken it for a while, the others. The emptiest relay gives first, so that it can go.
    fn keep(&self, region: &Region, name: &str, node: &Node) -> Option<u32> {
        if self.is_cut_off(node, self.seen()) {
            return Some(0);
        }
        let area = self.areas.get(region)?;
        let rested = area.free_since? + self.config.cooldown <= self.seen();
        let pinned = self
            .pins
            .get(region)
            .is_some_and(|pin| pin.relays.is_some() || pin.node.is_some());
        if !self.config.move_back || !rested || pinned || area.pressed.is_some() || !node.ready() {
            return None;
        }
        let members = self.fleet.members(region).filter(|(_, node)| node.ready());
        let emptiest = members.min_by_key(|(_, node)| node.viewers(region))?;
        let free = self.limit(region).saturating_sub(self.on_primary(region));
        // A place stays free, so that a viewer who is moved never starts a relay.
        let free = free.saturating_sub(1);
        (emptiest.0 == name && free > 0 && node.total() > 0)
            .then(|| node.total().saturating_sub(free))
    }

    /// A relay gets nothing new where the primary does: its viewers are better off there. Both have been so for a while, as the
    /// one hears of what happens to the other a little later. It goes on serving its region, so that there is nothing to take
    /// back but this when it is well again.
    fn is_cut_off(&self, node: &Node, now: Moment) -> bool {
        let Some(primary) = self.primary().filter(|primary| !primary.silent) else {
            return false;
        };
        // What it has from elsewhere cannot be watched on the primary.
        let (here, there) = (node.report.as_ref(), primary.report.as_ref());
        let same = here.zip(there).is_some_and(|(here, there)| {
            let mut streams = here.streams.keys();
            streams.all(|stream| there.streams.contains_key(stream))
        });
        let awhile = self.config.heartbeat * 2;
        same && self.ready(now)
            && node.ready()
            && now.saturating_sub(primary.heard) < awhile
            && node.has_been(true, awhile, now)
            && primary.has_been(false, awhile, now)
    }

    /// Viewers of the region from which on the primary takes no more of it: the threshold, be it of
    /// viewers or of what they take, or less while its egress is short.
    pub fn limit(&self, region: &Region) -> u32 {
        let rate = self.primary().and_then(|node| node.rate);
        let threshold = self.config.threshold(region, rate);
        let pressed = self.areas.get(region).and_then(|area| area.pressed);
        pressed.map_or(threshold, |most| most.min(threshold))
    }

    /// Viewers of the region on the primary, with those on their way.
    pub(super) fn on_primary(&self, region: &Region) -> u32 {
        self.primary().map_or(0, |node| node.viewers(region))
    }

    pub(super) fn pending(&self, region: &Region, now: Moment) -> usize {
        let patience = self.config.patience();
        self.fleet
            .members(region)
            .filter(|(_, node)| node.serves(region) && node.pending(patience, now))
            .count()
    }

    pub(super) fn primary(&self) -> Option<&Node> {
        self.fleet.primary().map(|(_, node)| node)
    }
}
