//! What would become of the balancer's decisions if they were carried out: relays that are not there, and nodes
//! that have not been told anything, as they would report.
//!
//! Viewers of a region beyond what the primary takes are reported as if they were on the region's relays.

use std::collections::BTreeMap;

use super::{Action, Balancer, Event, Kind, Moment, Order, Region, Report, State, What};

#[derive(Debug, Default)]
pub struct Rehearsal {
    /// Relays that would have been launched.
    ghosts: BTreeMap<String, Report>,
    beaten: Moment,
}

impl Rehearsal {
    /// A decision that is not carried out.
    pub fn act(&mut self, action: &Action) {
        let Some(node) = &action.node else { return };
        match action.what {
            What::Launch => {
                let ghost = Report {
                    region: action.region.clone(),
                    launched: true,
                    ..Report::new(node, 0, Kind::Relay, State::Standby)
                };
                self.ghosts.insert(node.clone(), ghost);
            }
            What::Failed | What::Gone => drop(self.ghosts.remove(node)),
            _ => {}
        }
    }

    /// What a node would report, had it been told what was decided.
    pub fn hear(&self, mut report: Report, balancer: &Balancer) -> Report {
        if report.kind == Kind::Primary {
            for (region, load) in &mut report.regions {
                if balancer.acting(region) > 0 {
                    load.viewers = load.viewers.min(balancer.limit(region));
                }
            }
            return report;
        }
        let order = balancer.order(&report.node);
        obey(&mut report, &order);
        report
    }

    /// What relays that are not there report, once in a heartbeat. `real` says what is on the primary in truth.
    pub fn beat(
        &mut self,
        balancer: &Balancer,
        real: &BTreeMap<Region, u32>,
        now: Moment,
    ) -> Vec<Event> {
        if now.saturating_sub(self.beaten) < balancer.config().heartbeat {
            return Vec::new();
        }
        self.beaten = now;
        let mut events = Vec::new();
        self.ghosts.retain(|name, ghost| {
            let order = balancer.order(name);
            if order == Order::Retire {
                let (node, why) = (name.clone(), "rehearsed".to_owned());
                events.push(Event::Ended { node, why });
                return false;
            }
            obey(ghost, &order);
            ghost.regions.clear();
            if let (State::Active, Some(region)) = (ghost.state, &ghost.region) {
                let beyond = real.get(region).copied().unwrap_or(0);
                let beyond = beyond.saturating_sub(balancer.limit(region));
                let acting = u32::try_from(balancer.acting(region)).unwrap_or(u32::MAX);
                let load = ghost.regions.entry(region.clone()).or_default();
                load.viewers = beyond.div_ceil(acting.max(1));
            }
            events.push(Event::Heartbeat(ghost.clone()));
            true
        });
        events
    }
}

impl Balancer {
    /// Relays that serve the region now.
    fn acting(&self, region: &Region) -> usize {
        let members = self.fleet.members(region);
        members
            .filter(|(_, node)| node.serves(region) && node.ready())
            .count()
    }
}

fn obey(report: &mut Report, order: &Order) {
    match order {
        Order::Continue => {}
        Order::Activate { region, .. } => {
            report.state = State::Active;
            report.region = Some(region.clone());
        }
        Order::Drain { .. } => report.state = State::Draining,
        Order::Retire => report.state = State::Standby,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::Config, *};

    #[test]
    fn a_peak_is_rehearsed_without_anybody_being_told() {
        let mut balancer = Balancer::new(Config::default(), Moment::ZERO);
        let mut rehearsal = Rehearsal::default();
        let paris = Region::new("paris");
        let mut said = Vec::new();
        for second in 0..240 {
            let now = Duration::from_secs(second);
            let viewers = match second {
                20..120 => 250,
                _ => 20,
            };
            let mut report = Report::new("primary", 1, Kind::Primary, State::Active);
            report.regions.entry(paris.clone()).or_default().viewers = viewers;
            let real = [(paris.clone(), viewers)].into();
            let told = rehearsal.hear(report, &balancer);
            let mut events = rehearsal.beat(&balancer, &real, now);
            events.extend([Event::Heartbeat(told), Event::Tick]);
            for event in events {
                balancer.handle(event, now).unwrap();
                while let Some(action) = balancer.poll() {
                    rehearsal.act(&action);
                    said.push((second, action.what));
                }
            }
            if second == 100 {
                assert_eq!(balancer.counted(&paris), (100, 150));
            }
        }
        let whats: Vec<_> = said.iter().map(|(_, what)| *what).collect();
        assert_eq!(
            whats,
            [What::Launch, What::Drain, What::Retire, What::Gone],
            "{said:?}"
        );
    }
}
