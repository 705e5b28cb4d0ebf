//! The decider: keeps what nodes reported and what they are meant to do, and says what is to
//! change. Where a join goes is read off it in `route`.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use super::{
    Action, Config, Event, Kind, Load, Refused, Region, Report, What,
    area::Area,
    node::{Node, Phase},
    viewers,
};

/// Decides which region gets a relay and which relay goes. The primary is never drained.
#[derive(Debug)]
pub struct Balancer {
    pub(super) config: Config,
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) areas: BTreeMap<Region, Area>,
    actions: VecDeque<Action>,
    /// Until a full round of heartbeats was heard nothing is decided.
    ready_at: Instant,
    /// Time of the last event.
    seen: Instant,
    /// The primary's egress has been short since then, or since a region was pressed for it.
    pub(super) short_since: Option<Instant>,
}

impl Balancer {
    pub fn new(config: Config, now: Instant) -> Self {
        let config = Config {
            threshold: config.threshold.max(1),
            ..config
        };
        Self {
            ready_at: now + config.heartbeat * 2,
            seen: now,
            short_since: None,
            config,
            nodes: BTreeMap::new(),
            areas: BTreeMap::new(),
            actions: VecDeque::new(),
        }
    }

    /// Only a heartbeat can be refused.
    pub fn handle(&mut self, event: Event, now: Instant) -> Result<(), Refused> {
        self.wake(now);
        match event {
            Event::Heartbeat(report) => self.hear(report, now)?,
            Event::Joined { region, node } => {
                let region = self.learn(&region, now);
                if let Some(node) = self.nodes.get_mut(&node) {
                    node.expect(region.clone(), now);
                }
                // Joins come in crowds: only their own region is looked at.
                self.balance(&region, now);
                return Ok(());
            }
            // It is heard by itself, or the deadline passes.
            Event::Launched { .. } => {}
            Event::LaunchFailed { node, why } => self.launch_failed(&node, &why, now),
            Event::Ended { node, why } => self.ended(&node, &why, now),
            Event::Tick => {
                self.pass(now);
                self.press(now);
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

    /// A full round of heartbeats was heard.
    pub fn ready(&self, now: Instant) -> bool {
        now >= self.ready_at
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The region as it is counted: itself, or `default` when too many others are known.
    pub fn known(&self, region: &Region) -> Region {
        let fits = self.areas.contains_key(region)
            || self.areas.len() < MOST_REGIONS
            || self.areas.keys().any(|other| self.idle(other));
        if fits {
            region.clone()
        } else {
            Region::default()
        }
    }

    /// Who slept through several heartbeats has not heard them; the nodes are not to blame.
    fn wake(&mut self, now: Instant) {
        let slept = now.saturating_duration_since(self.seen);
        self.seen = now;
        if slept >= self.config.patience() {
            self.ready_at = self.ready_at.max(now + self.config.heartbeat * 2);
            for node in self.nodes.values_mut().filter(|node| !node.silent) {
                node.heard = now;
            }
        }
    }

    fn hear(&mut self, mut report: Report, now: Instant) -> Result<(), Refused> {
        self.admit(&report)?;
        report.region = report.region.map(|region| self.learn(&region, now));
        let mut regions: BTreeMap<Region, Load> = BTreeMap::new();
        for (region, load) in std::mem::take(&mut report.regions) {
            let sum = regions.entry(self.learn(&region, now)).or_default();
            sum.viewers = sum.viewers.saturating_add(load.viewers);
            sum.arrivals = sum.arrivals.saturating_add(load.arrivals);
        }
        report.regions = regions;

        let (name, told) = (report.node.clone(), report.phase());
        let astray = told != Phase::Standby;
        match self.nodes.get_mut(&name) {
            Some(node) if node.is_primary() => {
                let back = node.silent;
                node.update(report, now);
                if back {
                    self.say(
                        What::Adopt,
                        None,
                        &name,
                        "the primary is heard again".into(),
                    );
                }
            }
            // Nobody here told it to stream, but it does.
            Some(node) if node.phase == Phase::Lost || (node.phase == Phase::Standby && astray) => {
                self.adopt(report, told, now);
            }
            Some(node) => {
                node.update(report, now);
                if node.phase == Phase::Retiring && !node.launched() && !astray {
                    node.turn(Phase::Standby, now);
                }
            }
            None => self.adopt(report, told, now),
        }
        Ok(())
    }

    /// Takes a node as it is, in place of whatever was known under its name.
    fn adopt(&mut self, report: Report, phase: Phase, now: Instant) {
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
        self.nodes.insert(name, node);
    }

    fn admit(&mut self, report: &Report) -> Result<(), Refused> {
        if let Some(node) = self.nodes.get(&report.node) {
            let known = node.report.as_ref();
            let younger = known.filter(|known| known.instance > report.instance);
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
        if report.kind == Kind::Primary {
            let first = self.nodes.iter().find(|(_, node)| node.is_primary());
            if let Some((first, node)) = first.map(|(name, node)| (name.clone(), node)) {
                if !node.silent {
                    return Err(Refused::SecondPrimary {
                        first,
                        second: report.node.clone(),
                    });
                }
                self.nodes.remove(&first);
            }
        }
        if self.nodes.len() >= MOST_NODES {
            return Err(Refused::Full { limit: MOST_NODES });
        }
        Ok(())
    }

    /// Looks whether the region has too few relays or too many.
    fn balance(&mut self, region: &Region, now: Instant) {
        // Who does not hear the primary knows too little to change anything.
        if !self.ready(now) || self.primary().is_none_or(|node| node.silent) {
            return;
        }
        let (on_primary, total) = (self.on_primary(region), self.everywhere(region));
        let serving = self.count(|node| node.serves(region) && node.ready());
        let limit = self.limit(region);
        let low = serving > 0 && total <= self.config.low(limit, serving);
        let Some(area) = self.areas.get_mut(region) else {
            return;
        };
        area.low_since = low.then(|| area.low_since.unwrap_or(now));
        let quiet = area.low_since.map(|since| now.duration_since(since));
        if on_primary < limit {
            area.short = false;
        } else if self.roomiest(region, None).is_none() && self.pending(region, now) == 0 {
            self.grow(region, on_primary, serving, now);
        }
        if quiet.is_some_and(|quiet| quiet >= self.config.cooldown) {
            self.shrink(region, total, serving, now);
        }
    }

    /// When the primary's egress stays short, its largest region spills before the threshold.
    fn press(&mut self, now: Instant) {
        let primary = self.primary().filter(|node| !node.silent);
        let report = primary.and_then(|node| node.report.as_ref());
        let price = report.map_or(0.0, |report| report.price);
        if price <= 0.0 || !self.ready(now) {
            self.short_since = None;
            return self.relieve();
        }
        let since = *self.short_since.get_or_insert(now);
        if now.duration_since(since) < self.config.cooldown {
            return;
        }
        // Next time another: what this one has on the primary may not be all that is too much.
        self.short_since = Some(now);
        let open = self.areas.iter().filter(|(_, area)| area.pressed.is_none());
        let largest = open
            .map(|(region, _)| (self.on_primary(region), region.clone()))
            .max();
        let Some((on_primary @ 1.., region)) = largest else {
            return;
        };
        let limit = on_primary.min(self.config.threshold);
        if let Some(area) = self.areas.get_mut(&region) {
            area.pressed = Some(limit);
        }
        self.actions.push_back(Action {
            what: What::Press,
            reason: format!(
                "the primary's egress has been short for {:?} (price {price:.3}); {region} is the \
                 largest part of it and may have no more than {} there",
                self.config.cooldown,
                viewers(limit)
            ),
            region: Some(region),
            node: None,
        });
    }

    /// A region without relays needs no limit of its own once there is egress again. (One with
    /// relays keeps it until they have drained, else its viewers would go to and fro.)
    fn relieve(&mut self) {
        for (region, area) in &mut self.areas {
            let relays = |node: &Node| node.serves(region) || node.drains(region);
            if area.pressed.is_some() && !self.nodes.values().any(relays) {
                area.pressed = None;
            }
        }
    }

    fn grow(&mut self, region: &Region, on_primary: u32, serving: usize, now: Instant) {
        let mut reason = format!(
            "{} of {region} on the primary reach the threshold of {}",
            viewers(on_primary),
            self.limit(region)
        );
        if serving > 0 {
            reason += &format!(", and its relays ({serving}) are full");
        }
        if let Some(name) = self.pick(|node| node.drains(region), |node| u32::MAX - node.total()) {
            self.turn(&name, Phase::Serving(region.clone()), now);
            reason += "; it is still there, draining";
            return self.say(What::Activate, Some(region.clone()), &name, reason);
        }
        if self.areas.get(region).is_some_and(|area| area.held(now)) {
            return;
        }
        let here = self.count(|node| node.serves(region) || node.drains(region));
        let employed = self.count(Node::employed);
        let short = if here >= self.config.relays_per_region {
            format!("the region has its limit of relays ({here})")
        } else if employed >= self.config.relays && self.make_room(region, now) {
            return;
        } else if employed >= self.config.relays {
            format!("the limit of relays in all ({employed}) is reached")
        } else if let Some(name) = self.standby(region) {
            self.turn(&name, Phase::Serving(region.clone()), now);
            reason += "; it was in standby";
            return self.say(What::Activate, Some(region.clone()), &name, reason);
        } else if self.config.launcher {
            return self.launch(region, reason, now);
        } else {
            "no relay is in standby, and none can be launched".into()
        };
        if let Some(area) = self.areas.get_mut(region).filter(|area| !area.short) {
            area.short = true;
            self.actions.push_back(Action {
                what: What::Short,
                region: Some(region.clone()),
                node: None,
                reason: format!("{reason}, but {short}; the primary serves them all"),
            });
        }
    }

    /// A region that needs a relay comes before players that only ask a drained one for the way:
    /// they can be reloaded. Whether a place will be free soon.
    fn make_room(&mut self, region: &Region, now: Instant) -> bool {
        if self.count(|node| node.phase == Phase::Retiring && node.launched()) > 0 {
            return true;
        }
        let points = |node: &Node| matches!(node.phase, Phase::Draining(_)) && node.total() == 0;
        let Some(name) = self.pick(points, Node::moved) else {
            return false;
        };
        let node = self.nodes.get(&name);
        let (home, moved) = node.map_or((None, 0), |node| (node.region().cloned(), node.moved()));
        let reason = format!(
            "its place is needed for {region}; {} still asked it for the way",
            viewers(moved)
        );
        self.retire(&name, home, reason, now);
        true
    }

    fn launch(&mut self, region: &Region, reason: String, now: Instant) {
        let Some(area) = self.areas.get_mut(region) else {
            return;
        };
        let name = loop {
            area.named += 1;
            let name = format!("relay-{region}-{}", area.named);
            if !self.nodes.contains_key(&name) {
                break name;
            }
        };
        let node = Node::launching(region.clone(), now);
        self.nodes.insert(name.clone(), node);
        self.say(What::Launch, Some(region.clone()), &name, reason);
    }

    /// A standby node for the region: one set up for it before one set up for none.
    fn standby(&self, region: &Region) -> Option<String> {
        self.pick(
            |node| {
                node.phase == Phase::Standby && node.region().is_none_or(|theirs| theirs == region)
            },
            |node| u32::from(node.region().is_none()),
        )
    }

    fn shrink(&mut self, region: &Region, total: u32, serving: usize, now: Instant) {
        let emptiest = self.pick(|node| node.serves(region) && node.ready(), Node::total);
        let Some(name) = emptiest else { return };
        self.turn(&name, Phase::Draining(region.clone()), now);
        let low = self.config.low(self.limit(region), serving);
        let cooldown = self.config.cooldown;
        if let Some(area) = self.areas.get_mut(region) {
            if serving == 1 {
                area.pressed = None;
            }
            area.low_since = None;
            area.rests_until = Some(now + cooldown);
            area.proved();
        }
        let reason = format!(
            "{} of {region} in all, not above {low} for {cooldown:?}, need {} relays",
            viewers(total),
            serving - 1
        );
        self.say(What::Drain, Some(region.clone()), &name, reason);
    }

    /// Makes room for a region if it must, and says under which name it is counted.
    pub(super) fn learn(&mut self, region: &Region, now: Instant) -> Region {
        let region = self.known(region);
        if !self.areas.contains_key(&region) {
            if self.areas.len() >= MOST_REGIONS {
                let idle = self.areas.iter().filter(|(other, _)| self.idle(other));
                let oldest = idle.min_by_key(|(_, area)| area.used);
                if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                    self.areas.remove(&oldest);
                }
            }
            self.areas.insert(region.clone(), Area::new(now));
        }
        region
    }

    pub(super) fn idle(&self, region: &Region) -> bool {
        !self
            .nodes
            .values()
            .any(|node| node.viewers(region) > 0 || node.serves(region) || node.drains(region))
    }

    pub(super) fn turn(&mut self, name: &str, phase: Phase, now: Instant) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.turn(phase, now);
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

    fn count(&self, test: impl Fn(&Node) -> bool) -> usize {
        self.nodes.values().filter(|node| test(node)).count()
    }

    fn pick(&self, test: impl Fn(&Node) -> bool, least: impl Fn(&Node) -> u32) -> Option<String> {
        self.nodes
            .iter()
            .filter(|(_, node)| !node.silent && test(node))
            .min_by_key(|(_, node)| least(node))
            .map(|(name, _)| name.clone())
    }
}

/// Clients name regions, so there is a limit to how many are believed.
const MOST_REGIONS: usize = 64;

/// Nodes register by themselves, so there is a limit to how many are kept.
const MOST_NODES: usize = 512;

/// A region without viewers and relays is forgotten after this.
pub(super) const REGION_MEMORY: Duration = Duration::from_secs(600);
