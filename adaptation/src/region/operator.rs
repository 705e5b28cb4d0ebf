//! What the operator wants otherwise: a node left alone, a region held to so many relays or to one node.
//! It holds until it is taken back, or the manager is started again with nobody to remember it.

use serde::{Deserialize, Serialize};

use super::{Balancer, Config, Moment, Refused, Region, What, balancer::MOST_REGIONS, node::Phase};

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
#[serde(default, deny_unknown_fields)]
pub struct Pin {
    /// No fewer relays and no more.
    pub relays: Option<usize>,
    /// Joins go to this node while it serves, whatever its region.
    pub node: Option<String>,
}

impl Balancer {
    /// What operators want now, beside how this was set up: for a balancer that takes this one's place.
    pub fn overrides(&self, set_up: &Config) -> Vec<Override> {
        let drained = self.closed.iter().cloned();
        let pinned = self.pins.iter().map(|(region, pin)| Override::Pin {
            region: region.clone(),
            pin: pin.clone(),
        });
        let own = |(node, weight): &(&String, &f64)| set_up.weights.get(*node) != Some(*weight);
        let weighed = self.config.weights.iter().filter(own);
        let weighed = weighed.map(|(node, weight)| Override::Weigh {
            node: node.clone(),
            weight: *weight,
        });
        let drained = drained.map(|node| Override::Drain { node });
        drained.chain(pinned).chain(weighed).collect()
    }

    /// Takes over what operators wanted of the one before, of nodes too that are yet to be heard.
    pub fn inherit(&mut self, overrides: Vec<Override>, now: Moment) {
        for wanted in overrides {
            match wanted {
                Override::Drain { node } => _ = self.closed.insert(node),
                Override::Pin { region, pin } if self.pins.len() < MOST_REGIONS => {
                    let region = self.learn(&region, now);
                    self.pins.insert(region, pin);
                }
                Override::Weigh { node, weight } if (0.0..=1000.0).contains(&weight) => {
                    self.config.weights.insert(node, weight);
                }
                Override::Pin { .. }
                | Override::Weigh { .. }
                | Override::Undrain { .. }
                | Override::Unpin { .. } => {}
            }
        }
    }

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
