//! What time and endings do to nodes: deadlines, silence, failed launches, processes that ended.

use std::time::Duration;

use super::{
    Balancer, Config, Moment, Region, State, What,
    balancer::REGION_MEMORY,
    node::{Node, Phase},
    viewers,
};

impl Balancer {
    /// Looks at every node and region for what is due.
    pub(super) fn pass(&mut self, now: Moment) {
        let names = self.fleet.names();
        for name in &names {
            self.attend(name, now);
        }
        self.gone
            .retain(|_, (_, at)| now.saturating_sub(*at) < LATE);
        let regions: Vec<_> = self.areas.keys().cloned().collect();
        for region in regions {
            let idle = self.fleet.idle(&region);
            let Some(area) = self.areas.get_mut(&region) else {
                continue;
            };
            if now.saturating_sub(area.waited) >= WAIT_MEMORY {
                area.waiting = 0;
            }
            if !idle {
                area.used = now;
            } else if now.saturating_sub(area.used) >= REGION_MEMORY {
                self.areas.remove(&region);
            }
        }
    }

    fn attend(&mut self, name: &str, now: Moment) {
        let (patience, ready) = (self.config.patience(), self.ready(now));
        if self.fleet.get(name).is_some_and(Node::waits_for_some) {
            self.fleet
                .alter(name, |node| node.forget_joins(JOIN_PATIENCE, now));
        }
        let Some(node) = self.fleet.get(name) else {
            return;
        };
        let unheard = now.saturating_sub(node.heard);
        let age = now.saturating_sub(node.since);
        let silent = node.report.is_some() && unheard >= patience;
        let reason = format!("not heard for {:.1} s", unheard.as_secs_f64());
        match &node.phase {
            Phase::Primary if silent && !node.silent => {
                self.fleet.alter(name, |node| node.silent = true);
                self.say(What::Lost, None, name, reason);
            }
            Phase::Primary => {}
            Phase::Lost if unheard >= NODE_MEMORY => {
                self.fleet.remove(name);
                self.say(What::Failed, None, name, reason + "; given up");
            }
            Phase::Lost => {}
            Phase::Retiring if silent || unheard >= NODE_MEMORY => {
                self.fleet.remove(name);
                self.say(What::Gone, None, name, reason + ", as it was told");
            }
            Phase::Retiring => {}
            Phase::Serving(region) if silent && self.is_last(name, region, now) => {
                if !node.doubted {
                    let region = region.clone();
                    self.fleet.alter(name, |node| node.doubted = true);
                    let reason =
                        format!("{reason}, but nobody else that serves {region} is either");
                    self.say(What::Doubt, Some(region), name, reason);
                }
            }
            _ if silent => self.lose(name, reason, now),
            Phase::Serving(region) if !node.ready() && age >= self.config.launch_deadline => {
                let region = region.clone();
                self.overdue(name, &region, now);
            }
            Phase::Serving(region) if self.closed.contains(name) => {
                let region = region.clone();
                self.empty(name, &region, now);
            }
            Phase::Draining(region) => {
                let region = region.clone();
                match drained(node, age, &self.config) {
                    Some(reason) => self.retire(name, Some(region), reason, now),
                    None => self.shelter(name, &region, now),
                }
            }
            // Left over from an earlier manager's launch.
            Phase::Standby if ready && node.launched() && age >= self.config.cooldown => {
                let region = node.region().cloned();
                self.retire(
                    name,
                    region,
                    "it was launched, and nobody needs it".into(),
                    now,
                );
            }
            Phase::Serving(_) | Phase::Standby => {}
        }
    }

    pub(super) fn retire(
        &mut self,
        name: &str,
        region: Option<Region>,
        reason: String,
        now: Moment,
    ) {
        self.turn(name, Phase::Retiring, now);
        self.say(What::Retire, region, name, reason);
    }

    /// Nobody else who takes viewers of the region is heard: then it is rather this manager that hears
    /// nobody than that all are gone.
    fn is_last(&self, name: &str, region: &Region, now: Moment) -> bool {
        let patience = self.config.patience();
        let heard = |node: &Node| now.saturating_sub(node.heard) < patience;
        let primary = self.fleet.primary().map(|(_, node)| node);
        let mut others = self.fleet.members(region);
        !primary.is_some_and(heard)
            && !others.any(|(other, node)| other != name && node.ready() && heard(node))
    }

    fn overdue(&mut self, name: &str, region: &Region, now: Moment) {
        self.turn(name, Phase::Retiring, now);
        let wait = self.set_back(region, now);
        let reason = format!(
            "it does not serve {:?} after it was told to; the next attempt is in {wait:?}",
            self.config.launch_deadline
        );
        self.say(What::Failed, Some(region.clone()), name, reason);
    }

    pub(super) fn launch_failed(&mut self, name: &str, why: &str, now: Moment) {
        let Some(node) = self.fleet.get(name) else {
            return;
        };
        // Overdue launches are accounted for already.
        let region = match &node.phase {
            Phase::Serving(region) => Some(region.clone()),
            _ => None,
        };
        self.fleet.remove(name);
        if let Some(region) = region {
            let wait = self.set_back(&region, now);
            let reason = format!("{why}; the next attempt is in {wait:?}");
            self.say(What::Failed, Some(region), name, reason);
        }
    }

    pub(super) fn ended(&mut self, name: &str, why: &str, now: Moment) {
        let Some(node) = self.fleet.get(name) else {
            return;
        };
        // Names of relays that are launched do not come back.
        self.closed.remove(name);
        if let Some(report) = &node.report {
            self.gone.insert(name.to_owned(), (report.instance, now));
        }
        match &node.phase {
            Phase::Retiring => self.say(What::Gone, None, name, why.into()),
            Phase::Serving(_) if node.report.is_none() => {
                return self.launch_failed(name, why, now);
            }
            Phase::Serving(_) | Phase::Draining(_) => self.lose(name, why.into(), now),
            Phase::Primary | Phase::Standby | Phase::Lost => {}
        }
        self.fleet.remove(name);
    }

    /// The node is not there any more. Its region needs no rest before another takes its place,
    /// unless relays go faster than they come.
    fn lose(&mut self, name: &str, why: String, now: Moment) {
        let lost = self.fleet.alter(name, |node| {
            let active = node.active_since.take();
            node.silent = true;
            (std::mem::replace(&mut node.phase, Phase::Lost), active)
        });
        let Some((phase, active)) = lost else { return };
        let proved = active.is_some_and(|since| now.saturating_sub(since) >= PROVED_AFTER);
        let region = match phase {
            Phase::Serving(region) => {
                let area = self.areas.get_mut(&region);
                if let Some(area) = area {
                    area.rests_until = None;
                    if proved {
                        area.proved();
                    } else {
                        area.set_back(now);
                    }
                }
                Some(region)
            }
            Phase::Draining(region) => Some(region),
            _ => None,
        };
        self.say(What::Lost, region, name, why);
    }

    fn set_back(&mut self, region: &Region, now: Moment) -> Duration {
        let area = self.areas.get_mut(region);
        area.map_or(Duration::ZERO, |area| area.set_back(now))
    }
}

/// Why a draining node may stop, if it may.
fn drained(node: &Node, age: Duration, config: &Config) -> Option<String> {
    let (left, moved) = (node.total(), node.moved());
    let told = matches!(node.state(), Some(State::Draining | State::Standby));
    let after = format!("{:.1} s after the word to drain", age.as_secs_f64());
    if told && left == 0 && moved == 0 {
        Some(format!("its last viewer is gone {after}"))
    } else if left > 0 && age >= config.drain_deadline {
        Some(format!("{} still there {after}", viewers(left)))
    } else if age >= config.moved_deadline {
        Some(format!(
            "{} still ask it for the way {after}",
            viewers(moved)
        ))
    } else {
        None
    }
}

/// A viewer who was sent to a node and has not taken a segment by then is not coming.
const JOIN_PATIENCE: Duration = Duration::from_secs(10);

/// No heartbeat is on its way for so long.
const LATE: Duration = Duration::from_secs(60);

/// Whoever waits for a relay has been served elsewhere by then, or has gone.
const WAIT_MEMORY: Duration = Duration::from_secs(5);

/// A lost node is shown, and taken back if it is heard, for this long.
const NODE_MEMORY: Duration = Duration::from_secs(300);

/// A relay that served this long and then went away was not a failed attempt.
const PROVED_AFTER: Duration = Duration::from_secs(60);
