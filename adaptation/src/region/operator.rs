//! What the operator wants otherwise: a node left alone, a region held to so many relays or to one node.
//! It holds until it is taken back, or the manager is started again.

use serde::{Deserialize, Serialize};

use super::{Balancer, Moment, Refused, Region, What, balancer::MOST_REGIONS, node::Phase};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Override {
    /// The node takes nobody new, and drains once its viewers have somewhere to go.
    Drain {
        node: String,
    },
    /// It may be put to use again.
    Undrain {
        node: String,
    },
    Pin {
        region: Region,
        pin: Pin,
    },
    Unpin {
        region: Region,
    },
    /// What the node takes beside others; 0 is nobody new.
    Weigh {
        node: String,
        weight: f64,
    },
}

/// What a region is held to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Pin {
    /// No fewer relays and no more.
    pub relays: Option<usize>,
    /// Joins go to this node while it serves, whatever its region.
    pub node: Option<String>,
}

impl Balancer {
    pub(super) fn obey(&mut self, wanted: Override, now: Moment) -> Result<(), Refused> {
        match wanted {
            Override::Drain { node } => self.close(node),
            Override::Undrain { node } => self.open(&node, now),
            Override::Pin { region, pin } => self.hold(&region, pin, now),
            Override::Unpin { region } => {
                if self.pins.remove(&region).is_some() {
                    self.remark(What::Override, &region, "it is pinned no more".into());
                }
                Ok(())
            }
            Override::Weigh { node, weight } => {
                self.is_known(&node)?;
                if !(0.0..=1000.0).contains(&weight) {
                    let why = format!("a weight of {weight} is not possible; it is 0 to 1000");
                    return Err(Refused::Wrong { why });
                }
                self.say(
                    What::Override,
                    None,
                    &node,
                    format!("its weight is {weight}"),
                );
                self.config.weights.insert(node, weight);
                Ok(())
            }
        }
    }

    fn close(&mut self, node: String) -> Result<(), Refused> {
        if self.is_known(&node)?.is_primary() {
            return Err(Refused::Primary { node });
        }
        if self.closed.insert(node.clone()) {
            let reason = "the operator wants it drained; it takes nobody new".into();
            self.say(What::Override, None, &node, reason);
        }
        Ok(())
    }

    fn open(&mut self, node: &str, now: Moment) -> Result<(), Refused> {
        if !self.closed.remove(node) {
            self.is_known(node)?;
            return Ok(());
        }
        self.say(What::Override, None, node, "it may be used again".into());
        let phase = self.fleet.get(node).map(|known| known.phase.clone());
        if let Some(Phase::Draining(region)) = phase {
            self.turn(node, Phase::Serving(region.clone()), now);
            let reason = "it was draining by the operator's word only".into();
            self.say(What::Activate, Some(region), node, reason);
        }
        Ok(())
    }

    fn hold(&mut self, region: &Region, pin: Pin, now: Moment) -> Result<(), Refused> {
        if pin == Pin::default() {
            let why = "a pin says how many `relays`, or which `node`".to_owned();
            return Err(Refused::Wrong { why });
        }
        if let Some(node) = &pin.node {
            self.is_known(node)?;
        }
        if self.pins.len() >= MOST_REGIONS {
            let why = format!("{MOST_REGIONS} regions are pinned, which is the limit");
            return Err(Refused::Wrong { why });
        }
        let region = self.learn(region, now);
        let relays = pin.relays.map(|relays| format!("{relays} relays"));
        let node = pin.node.as_ref().map(|node| format!("the node {node}"));
        let to: Vec<_> = relays.into_iter().chain(node).collect();
        self.remark(
            What::Override,
            &region,
            format!("it is pinned to {}", to.join(" and ")),
        );
        self.pins.insert(region, pin);
        Ok(())
    }

    fn is_known(&self, node: &str) -> Result<&super::node::Node, Refused> {
        let unknown = || Refused::Unknown { node: node.into() };
        self.fleet.get(node).ok_or_else(unknown)
    }
}
