//! The decider: keeps what nodes reported and what they are meant to do, and says what is to
//! change. Whether a region has too few relays or too many is `balance`'s business; where a join goes is
//! read off in `route`; what time does is in `life`.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    Action, Config, Event, Kind, Load, Moment, Order, Pin, Refused, Region, Report, What,
    area::Area,
    fleet::Fleet,
    node::{Node, Phase},
    viewers,
};

/// Decides which region gets a relay and which relay goes. The primary is never drained.
///
/// Written down and read again it decides on as before.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Balancer {
    pub(super) config: Config,
    pub(super) fleet: Fleet,
    pub(super) areas: BTreeMap<Region, Area>,
    actions: VecDeque<Action>,
    /// Until a full round of heartbeats was heard nothing is decided.
    ready_at: Moment,
    /// Time of the last event.
    seen: Moment,
    /// The primary's egress has been short since then, or since a region was pressed for it.
    pub(super) short_since: Option<Moment>,
    /// How long relays take from the word until they serve, as far as known.
    pub(super) launch_time: Option<Duration>,
    /// Nodes that the operator wants drained.
    pub(super) closed: BTreeSet<String>,
    pub(super) pins: BTreeMap<Region, Pin>,
    /// Runs of nodes that have ended, and when: a heartbeat may be on its way for longer than who sent it lives.
    pub(super) gone: BTreeMap<String, (u64, Moment)>,
}

impl Balancer {
    pub fn new(config: Config, now: Moment) -> Self {
        Self {
            ready_at: now + config.heartbeat * 2,
            seen: now,
            short_since: None,
            launch_time: None,
            config,
            fleet: Fleet::default(),
            areas: BTreeMap::new(),
            actions: VecDeque::new(),
            closed: BTreeSet::new(),
            pins: BTreeMap::new(),
            gone: BTreeMap::new(),
        }
    }

    /// Only a heartbeat and an operator's word can be refused.
    pub fn handle(&mut self, event: Event, now: Moment) -> Result<(), Refused> {
        self.wake(now);
        match event {
            Event::Heartbeat(report) => {
                // Only the regions that it speaks of are looked at: heartbeats are many.
                for region in self.hear(report, now)? {
                    self.balance(&region, now);
                }
                return Ok(());
            }
            Event::Joined { region, node } => {
                let region = self.learn(&region, now);
                self.fleet.expect(&node, &region, 1, now);
                self.crowd(&region, now);
                return Ok(());
            }
            Event::Waiting { region } => {
                let region = self.learn(&region, now);
                if let Some(area) = self.areas.get_mut(&region) {
                    area.waiting = area.waiting.saturating_add(1);
                    area.waited = now;
                }
                self.crowd(&region, now);
                return Ok(());
            }
            Event::Override(wanted) => self.obey(wanted, now)?,
            // It is heard by itself, or the deadline passes.
            Event::Launched { .. } => {}
            Event::LaunchFailed { node, why } => self.launch_failed(&node, &why, now),
            Event::Ended { node, why } => self.ended(&node, &why, now),
            Event::Tick => {
                self.pass(now);
                self.note_trends(now);
                self.press(now);
                self.trim(now);
            }
        }
        let regions: Vec<_> = self.areas.keys().cloned().collect();
        for region in &regions {
            self.balance(region, now);
        }
        Ok(())
    }

    /// The next thing decided.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Time of the last event.
    pub(super) fn seen(&self) -> Moment {
        self.seen
    }

    /// A full round of heartbeats was heard.
    pub fn ready(&self, now: Moment) -> bool {
        now >= self.ready_at
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The region as it is counted: itself, or `default` when too many others are known.
    pub fn known(&self, region: &Region) -> Region {
        let fits = self.areas.contains_key(region)
            || self.areas.len() < MOST_REGIONS
            || self.areas.keys().any(|other| self.fleet.idle(other));
        if fits {
            region.clone()
        } else {
            Region::default()
        }
    }

    /// Joins come in crowds: only their own region is looked at, and not again before the next report
    /// or tick if there was no relay to be had.
    fn crowd(&mut self, region: &Region, now: Moment) {
        if !self.areas.get(region).is_some_and(|area| area.short) {
            self.balance(region, now);
        }
    }

    /// Who slept through several heartbeats has not heard them; the nodes are not to blame.
    fn wake(&mut self, now: Moment) {
        let slept = now.saturating_sub(self.seen);
        self.seen = self.seen.max(now);
        if slept >= self.config.patience() {
            self.ready_at = self.ready_at.max(now + self.config.heartbeat * 2);
            self.fleet.each(|node| {
                if !node.silent {
                    node.heard = now;
                }
            });
        }
    }

    /// The regions that it speaks of are returned.
    fn hear(&mut self, mut report: Report, now: Moment) -> Result<BTreeSet<Region>, Refused> {
        self.admit(&report)?;
        report.region = report.region.map(|region| self.learn(&region, now));
        let mut regions: BTreeMap<Region, Load> = BTreeMap::new();
        for (region, load) in std::mem::take(&mut report.regions) {
            let sum = regions.entry(self.learn(&region, now)).or_default();
            sum.viewers = sum.viewers.saturating_add(load.viewers);
            sum.arrivals = sum.arrivals.saturating_add(load.arrivals);
        }
        let mut touched: BTreeSet<_> = regions.keys().chain(&report.region).cloned().collect();
        report.regions = regions;

        let (name, told) = (report.node.clone(), report.phase());
        let astray = told != Phase::Standby;
        let known = self.fleet.get(&name).map(|node| (&node.phase, node.silent));
        match known {
            Some((Phase::Primary, back)) => {
                self.fleet.alter(&name, |node| node.update(report, now));
                if back {
                    let reason = "the primary is heard again".into();
                    self.say(What::Adopt, None, &name, reason);
                }
            }
            // Nobody here told it to stream, but it does.
            Some((Phase::Lost, _)) => self.adopt(report, told, now),
            Some((Phase::Standby, _)) if astray => self.adopt(report, told, now),
            Some(_) => self.update(&name, report, astray, now),
            None => self.adopt(report, told, now),
        }
        self.note_price(&name, now);
        touched.extend(self.fleet.get(&name).and_then(Node::region).cloned());
        Ok(touched)
    }

    fn update(&mut self, name: &str, report: Report, astray: bool, now: Moment) {
        self.expect_moved(name, &report, now);
        let came = self.fleet.alter(name, |node| {
            let (asked, was_ready) = (node.since, node.ready());
            node.update(report, now);
            if node.phase == Phase::Retiring && !node.launched() && !astray {
                node.turn(Phase::Standby, now);
            }
            let region = node.region().cloned();
            (node.ready() && !was_ready).then(|| (region, now.saturating_sub(asked)))
        });
        if let Some((region, took)) = came.flatten() {
            self.launch_time = Some(match self.launch_time {
                // The slower ones are what has to be reckoned with.
                Some(known) => took.max((known * 7 + took * 3) / 10),
                None => took,
            });
            let area = region.and_then(|region| self.areas.get_mut(&region));
            area.into_iter().for_each(|area| area.waiting = 0);
        }
    }

    /// Viewers that a relay has just sent to the primary are on their way there.
    fn expect_moved(&mut self, name: &str, report: &Report, now: Moment) {
        let Some(node) = self.fleet.get(name) else {
            return;
        };
        let known = node.report.as_ref();
        let same = known.filter(|known| known.instance == report.instance);
        let gone = same.map_or(0, |known| report.moved.saturating_sub(known.moved));
        let Some(region) = node.region().cloned().filter(|_| gone > 0) else {
            return;
        };
        let home = match self.order(name) {
            Order::Drain { to: None } => true,
            Order::Activate { keep, .. } => keep.is_some(),
            _ => false,
        };
        let primary = self.fleet.primary().map(|(name, _)| name.to_owned());
        if let Some(primary) = primary.filter(|_| home) {
            self.fleet.expect(&primary, &region, gone, now);
        }
    }

    /// Takes a node as it is, in place of whatever was known under its name.
    fn adopt(&mut self, report: Report, phase: Phase, now: Moment) {
        let (name, state) = (report.node.clone(), report.state);
        let node = Node::heard(report, phase, now);
        if let Phase::Serving(region) | Phase::Draining(region) = &node.phase {
            let region = self.learn(&region.clone(), now);
            let reason = format!(
                "it reports {} with {}",
                format!("{state:?}").to_lowercase(),
                viewers(node.total())
            );
            self.say(What::Adopt, Some(region), &name, reason);
        }
        self.fleet.insert(name, node);
    }

    fn admit(&mut self, report: &Report) -> Result<(), Refused> {
        if let Some(node) = self.fleet.get(&report.node) {
            let known = node.report.as_ref();
            // Of a machine whose clock was set back the next run looks older: it is taken once the other is not heard.
            let speaks = self.seen.saturating_sub(node.heard) < self.config.patience();
            let younger = known.filter(|known| speaks && known.instance > report.instance);
            if let Some(known) = younger {
                return Err(Refused::Older {
                    known: known.instance,
                    found: report.instance,
                });
            }
            if node.is_primary() != (report.kind == Kind::Primary) {
                return Err(Refused::Kind {
                    node: report.node.clone(),
                });
            }
            return Ok(());
        }
        let gone = self.gone.get(&report.node);
        if let Some((known, _)) = gone.filter(|(run, _)| *run >= report.instance) {
            return Err(Refused::Older {
                known: *known,
                found: report.instance,
            });
        }
        if report.kind == Kind::Primary
            && let Some((first, node)) = self.fleet.primary()
        {
            let first = first.to_owned();
            if !node.silent {
                return Err(Refused::SecondPrimary {
                    first,
                    second: report.node.clone(),
                });
            }
            self.fleet.remove(&first);
        }
        if self.fleet.len() >= MOST_NODES {
            return Err(Refused::Full { limit: MOST_NODES });
        }
        Ok(())
    }

    /// A node's egress is short while its price is above what is usual.
    fn note_price(&mut self, name: &str, now: Moment) {
        let most = self.config.price;
        self.fleet.alter(name, |node| {
            let price = node.report.as_ref().map_or(0.0, |report| report.price);
            node.short_since = (price > most).then(|| node.short_since.unwrap_or(now));
        });
    }

    fn note_trends(&mut self, now: Moment) {
        let regions: Vec<_> = self.areas.keys().cloned().collect();
        for region in regions {
            let (viewers, limit) = (self.fleet.viewers(&region), self.limit(&region));
            if let Some(area) = self.areas.get_mut(&region) {
                let demand = viewers.saturating_add(area.waiting);
                area.trend.note(demand, limit, now);
            }
        }
    }

    /// Makes room for a region if it must, and says under which name it is counted.
    pub(super) fn learn(&mut self, region: &Region, now: Moment) -> Region {
        let region = self.known(region);
        if !self.areas.contains_key(&region) {
            if self.areas.len() >= MOST_REGIONS {
                let idle = self
                    .areas
                    .iter()
                    .filter(|(other, _)| self.fleet.idle(other));
                let oldest = idle.min_by_key(|(_, area)| area.used);
                if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                    self.areas.remove(&oldest);
                }
            }
            self.areas.insert(region.clone(), Area::new(now));
        }
        region
    }

    pub(super) fn turn(&mut self, name: &str, phase: Phase, now: Moment) {
        let drains = match &phase {
            Phase::Draining(region) => Some(region.clone()),
            _ => None,
        };
        self.fleet.alter(name, |node| node.turn(phase, now));
        if let Some(region) = drains {
            self.shelter(name, &region, now);
        }
    }

    pub(super) fn say(&mut self, what: What, region: Option<Region>, node: &str, reason: String) {
        self.actions.push_back(Action {
            what,
            region,
            node: Some(node.into()),
            reason,
        });
    }

    pub(super) fn remark(&mut self, what: What, region: &Region, reason: String) {
        self.actions.push_back(Action {
            what,
            region: Some(region.clone()),
            node: None,
            reason,
        });
    }
}

/// Clients name regions, so there is a limit to how many are believed.
pub(super) const MOST_REGIONS: usize = 256;

/// Nodes register by themselves, so there is a limit to how many are kept.
const MOST_NODES: usize = 4096;

/// A region without viewers and relays is forgotten after this.
pub(super) const REGION_MEMORY: Duration = Duration::from_secs(600);
