//! What would be decided, and when, if something were otherwise: an operator's word, or more viewers. It is found out by
//! going on with a copy of the balancer, whose nodes obey at once and whose viewers go where they are sent.
//!
//! So it knows neither how long a launch takes nor how players behave; what the balancer makes of the numbers is its own.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Action, Balancer, Event, Kind, Load, Moment, Order, Override, Refused, Region, Report, State,
    What,
};

/// What would be otherwise.
#[derive(Clone, Debug, Default)]
pub struct Premise {
    pub overrides: Vec<Override>,
    /// Viewers of a region, on whatever node; of others as many as there are.
    pub viewers: BTreeMap<Region, u32>,
}

/// Nodes that are there, and those that would be.
struct Foresight {
    balancer: Balancer,
    nodes: BTreeMap<String, Report>,
    demand: BTreeMap<Region, u32>,
    foreseen: Vec<(Duration, Action)>,
    began: Moment,
}

impl Balancer {
    /// What it would decide within `span`, and how long from now. `nodes` is what they said last.
    pub fn foresee(
        &self,
        nodes: impl IntoIterator<Item = Report>,
        premise: Premise,
        now: Moment,
        span: Duration,
    ) -> Result<Vec<(Duration, Action)>, Refused> {
        let nodes: BTreeMap<_, _> = nodes
            .into_iter()
            .map(|node| (node.node.clone(), node))
            .collect();
        let mut demand = BTreeMap::<Region, u32>::new();
        for (region, load) in nodes.values().flat_map(|node| &node.regions) {
            let sum = demand.entry(region.clone()).or_default();
            *sum = sum.saturating_add(load.viewers);
        }
        demand.extend(premise.viewers);
        let mut foresight = Foresight {
            balancer: self.clone(),
            nodes,
            demand,
            foreseen: Vec::new(),
            began: now,
        };
        // Not decided in the time that is foreseen.
        while foresight.balancer.poll().is_some() {}
        for wanted in premise.overrides {
            foresight.handle(Event::Override(wanted), now)?;
        }
        let (step, heartbeat) = (self.config.heartbeat / 4, self.config.heartbeat);
        let (mut at, mut beaten) = (Duration::ZERO, None::<Duration>);
        while at <= span && foresight.foreseen.len() < MOST {
            if beaten.is_none_or(|beaten| at.saturating_sub(beaten) >= heartbeat) {
                beaten = Some(at);
                foresight.beat(now + at);
            }
            let _ = foresight.handle(Event::Tick, now + at);
            at += step.max(Duration::from_millis(1));
        }
        Ok(foresight.foreseen)
    }
}

impl Foresight {
    fn handle(&mut self, event: Event, now: Moment) -> Result<(), Refused> {
        self.balancer.handle(event, now)?;
        while let Some(action) = self.balancer.poll() {
            match (&action.what, &action.node) {
                (What::Launch, Some(node)) => {
                    let mut report = Report::new(node, 0, Kind::Relay, State::Standby);
                    (report.region, report.launched) = (action.region.clone(), true);
                    self.nodes.insert(node.clone(), report);
                }
                (What::Failed | What::Gone, Some(node)) => drop(self.nodes.remove(node)),
                _ => {}
            }
            self.foreseen.push((now.saturating_sub(self.began), action));
        }
        Ok(())
    }

    /// All nodes obey, and report.
    fn beat(&mut self, now: Moment) {
        let mut over = Vec::new();
        for (name, node) in &mut self.nodes {
            match self.balancer.order(name) {
                Order::Continue => {}
                Order::Activate { region, .. } => {
                    (node.state, node.region) = (State::Active, Some(region))
                }
                Order::Drain { .. } => node.state = State::Draining,
                Order::Retire if node.launched => over.push(name.clone()),
                Order::Retire => node.state = State::Standby,
            }
        }
        for node in over {
            self.nodes.remove(&node);
            let why = "foreseen".to_owned();
            let _ = self.handle(Event::Ended { node, why }, now);
        }
        self.seat();
        for report in self.nodes.values().cloned().collect::<Vec<_>>() {
            let _ = self.handle(Event::Heartbeat(report), now);
        }
    }

    /// Viewers are on the primary up to its limit where there is a relay, the rest on the region's relays.
    fn seat(&mut self) {
        for node in self.nodes.values_mut() {
            node.moved = 0;
            for load in node.regions.values_mut() {
                load.viewers = 0;
            }
        }
        for (region, &all) in &self.demand {
            let serves = |node: &Report| {
                node.kind == Kind::Relay
                    && node.state == State::Active
                    && node.region.as_ref() == Some(region)
            };
            let relays = self.nodes.values().filter(|node| serves(node)).count();
            let relays = u32::try_from(relays).unwrap_or(u32::MAX);
            let on_primary = match relays {
                0 => all,
                _ => all.min(self.balancer.limit(region).saturating_sub(1)),
            };
            let each = (all - on_primary).div_ceil(relays.max(1));
            let mut rest = all - on_primary;
            for node in self.nodes.values_mut() {
                let viewers = match node.kind {
                    Kind::Primary => on_primary,
                    Kind::Relay if serves(node) => each.min(rest),
                    Kind::Relay => continue,
                };
                if node.kind == Kind::Relay {
                    rest -= viewers;
                }
                let load = node
                    .regions
                    .entry(region.clone())
                    .or_insert_with(Load::default);
                load.viewers = viewers;
            }
        }
    }
}

/// Who foresees more than so many decisions has seen enough.
const MOST: usize = 200;

#[cfg(test)]
mod tests {
    use super::{super::Config, *};

    fn steady(viewers: u32) -> (Balancer, Vec<Report>, Moment) {
        let mut balancer = Balancer::new(Config::default(), Moment::ZERO);
        let mut primary = Report::new("primary", 1, Kind::Primary, State::Active);
        primary
            .regions
            .entry(Region::new("paris"))
            .or_default()
            .viewers = viewers;
        let mut relay = Report::new("standing-by", 1, Kind::Relay, State::Standby);
        relay.region = Some(Region::new("rome"));
        let nodes = vec![primary, relay];
        let mut now = Moment::ZERO;
        for second in 0..20 {
            now = Duration::from_secs(second);
            for node in &nodes {
                balancer
                    .handle(Event::Heartbeat(node.clone()), now)
                    .unwrap();
            }
            balancer.handle(Event::Tick, now).unwrap();
        }
        (balancer, nodes, now)
    }

    fn foreseen(premise: Premise, viewers: u32) -> Vec<String> {
        let (balancer, nodes, now) = steady(viewers);
        let foreseen = balancer
            .foresee(nodes, premise, now, Duration::from_secs(60))
            .unwrap();
        foreseen
            .into_iter()
            .map(|(_, action)| {
                format!("{} {}", action.what.name(), action.node.unwrap_or_default())
            })
            .collect()
    }

    #[test]
    fn where_nothing_changes_nothing_is_foreseen() {
        assert!(foreseen(Premise::default(), 20).is_empty());
    }

    #[test]
    fn a_crowd_is_foreseen_to_get_relays_and_the_balancer_itself_decides_nothing() {
        let viewers = [(Region::new("paris"), 250)].into();
        let seen = foreseen(
            Premise {
                viewers,
                ..Premise::default()
            },
            20,
        );
        assert_eq!(seen, ["launch relay-paris-1"]);
        let (mut balancer, nodes, now) = steady(20);
        let viewers = [(Region::new("paris"), 250)].into();
        let premise = Premise {
            viewers,
            ..Premise::default()
        };
        balancer
            .foresee(nodes, premise, now, Duration::from_secs(60))
            .unwrap();
        assert!(balancer.poll().is_none());
        assert_eq!(balancer.relays(&Region::new("paris")), 0);
    }

    #[test]
    fn an_operators_word_is_foreseen_or_refused_as_it_would_be() {
        let drain = |node: &str| Premise {
            overrides: vec![Override::Drain { node: node.into() }],
            ..Premise::default()
        };
        assert_eq!(foreseen(drain("standing-by"), 20), ["override standing-by"]);
        let (balancer, nodes, now) = steady(20);
        let refused = balancer.foresee(nodes, drain("nobody"), now, Duration::from_secs(1));
        assert_eq!(
            refused.unwrap_err(),
            Refused::Unknown {
                node: "nobody".into()
            }
        );
    }
}
