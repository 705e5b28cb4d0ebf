//! Where the viewers of a draining relay go. It is decided when the relay begins to drain, and again only when they cannot be
//! there any more: most players ask the relay for the way as long as they play, so that whoever has gone would go to and fro.

use serde::{Deserialize, Serialize};

use super::{Balancer, Moment, Region, node::Node};

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Refuge {
    Primary,
    Relay(String),
}

impl Balancer {
    /// Sees to it that the viewers of `name`, which drains, have somewhere to go.
    pub(super) fn shelter(&mut self, name: &str, region: &Region, now: Moment) {
        let Some(node) = self.fleet.get(name) else {
            return;
        };
        let known = node.refuge.as_ref();
        if known.is_some_and(|refuge| self.stands(refuge, region, node, now)) {
            return;
        }
        let refuge = self.follows(known, name);
        let refuge = refuge.unwrap_or_else(|| self.refuge(region, name, node));
        self.fleet.alter(name, |node| node.refuge = Some(refuge));
    }

    /// Whether viewers of `node` can be sent on to where they were so far.
    fn stands(&self, refuge: &Refuge, region: &Region, node: &Node, now: Moment) -> bool {
        match refuge {
            Refuge::Primary => self.primary().is_some_and(|primary| !primary.silent),
            Refuge::Relay(to) => self.fleet.get(to).is_some_and(|relay| {
                // Whoever has come there has a place, full or not.
                let room = node.viewers(region) == 0 || self.spare(relay, now) > 0;
                relay.serves(region) && relay.ready() && room
            }),
        }
    }

    /// Who was sent to a relay that now drains itself goes on with its viewers.
    fn follows(&self, refuge: Option<&Refuge>, name: &str) -> Option<Refuge> {
        let Some(Refuge::Relay(to)) = refuge else {
            return None;
        };
        let next = self.fleet.get(to)?.refuge.clone()?;
        (next != Refuge::Relay(name.to_owned())).then_some(next)
    }

    /// To the primary if they fit there (which frees relays for regions that need them), else to another relay, else to
    /// the primary all the same.
    pub(super) fn refuge(&self, region: &Region, name: &str, node: &Node) -> Refuge {
        let silent = self.primary().is_none_or(|node| node.silent);
        let there = self.on_primary(region).saturating_add(node.viewers(region));
        if !silent && there <= self.limit(region) {
            return Refuge::Primary;
        }
        let relay = self.roomiest(region, None, Some(name), self.seen());
        relay.map_or(Refuge::Primary, |relay| Refuge::Relay(relay.to_owned()))
    }
}
