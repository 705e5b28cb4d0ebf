//! Managers and nodes on a network that loses, delays, reorders and cuts, in virtual time. All of it follows from a
//! seed: a run that went wrong goes wrong again.

use std::{
    collections::{BTreeMap, BinaryHeap},
    fmt::Write as _,
    time::Duration,
};

use proptest::prelude::*;

use super::*;

const STEP: u64 = 100;
/// Of each property. Five times as many were tried when this was written.
const CASES: u32 = 12;
const MAX_RELAYS: usize = 4;
const REGIONS: [&str; 3] = ["lyon", "paris", "rome"];

/// SplitMix64: small, and good enough to be unfair with.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most.max(1)
    }

    fn percent(&mut self, of: u64) -> bool {
        self.below(100) < of
    }
}

/// How bad the network is.
#[derive(Clone, Copy, Debug)]
struct Weather {
    loss: u64,
    /// Milliseconds.
    delay: u64,
    /// Percent of a chance each second that something is cut, killed or frozen.
    trouble: u64,
}

#[derive(Clone, Debug)]
enum Message {
    Heartbeat(usize, Report),
    Reply {
        node: String,
        manager: usize,
        epoch: u64,
        order: Order,
        instance: u64,
    },
    /// A relay that was launched comes up.
    Born(usize, String, Region),
}

struct Sent {
    due: u64,
    order: u64,
    message: Message,
}

impl PartialEq for Sent {
    fn eq(&self, other: &Self) -> bool {
        (self.due, self.order) == (other.due, other.order)
    }
}
impl Eq for Sent {}
impl PartialOrd for Sent {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Sent {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.due, other.order).cmp(&(self.due, self.order))
    }
}

/// A manager: it decides while it believes that it holds the lease.
struct Manager {
    balancer: Option<Balancer>,
    epoch: u64,
    /// Until then it neither hears nor speaks.
    frozen: u64,
}

struct Node {
    report: Report,
    allegiance: Allegiance,
    /// Where its viewers go.
    drains_to: Option<Option<String>>,
    told: u64,
    /// By manager: until when nothing passes.
    cut: [u64; 2],
}

struct Net {
    random: Random,
    weather: Weather,
    now: u64,
    managers: [Manager; 2],
    /// Who holds the lease.
    holder: Option<usize>,
    epoch: u64,
    nodes: BTreeMap<String, Node>,
    sky: BinaryHeap<Sent>,
    sent: u64,
    /// What each region has of viewers who want to watch.
    wanted: BTreeMap<Region, u32>,
    trace: String,
}

fn config(epoch: u64) -> Config {
    Config {
        threshold: 10,
        relay_viewers: Some(15),
        relays: MAX_RELAYS,
        relays_per_region: 3,
        series: (epoch > 0).then_some(epoch),
        ..Config::default()
    }
}

impl Net {
    fn new(seed: u64, weather: Weather) -> Self {
        let manager = || Manager {
            balancer: None,
            epoch: 0,
            frozen: 0,
        };
        let mut net = Self {
            random: Random(seed),
            weather,
            now: 0,
            managers: [manager(), manager()],
            holder: None,
            epoch: 0,
            nodes: BTreeMap::new(),
            sky: BinaryHeap::new(),
            sent: 0,
            wanted: BTreeMap::new(),
            trace: String::new(),
        };
        net.add(Report::new("primary", 1, Kind::Primary, State::Active));
        net
    }

    fn add(&mut self, report: Report) {
        let node = Node {
            report: report.clone(),
            allegiance: Allegiance::default(),
            drains_to: None,
            told: self.now,
            cut: [0; 2],
        };
        self.nodes.insert(report.node, node);
    }

    fn moment(&self) -> Moment {
        Duration::from_millis(self.now)
    }

    fn send(&mut self, message: Message) {
        if self.random.percent(self.weather.loss) {
            return;
        }
        let due = self.now + 1 + self.random.below(self.weather.delay);
        self.post(due, message);
    }

    fn post(&mut self, due: u64, message: Message) {
        self.sent += 1;
        let order = self.sent;
        self.sky.push(Sent {
            due,
            order,
            message,
        });
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 1000 / STEP {
            self.now += STEP;
            self.lease();
            while self.sky.peek().is_some_and(|sent| sent.due <= self.now) {
                let message = self.sky.pop().unwrap().message;
                self.deliver(message);
            }
            if self.now.is_multiple_of(500) {
                for manager in 0..2 {
                    self.tell(manager, Event::Tick);
                }
            }
            if self.now.is_multiple_of(2000) {
                self.heartbeats();
            }
            if self.now.is_multiple_of(1000) {
                self.trouble();
                self.people();
            }
            self.check();
        }
    }

    /// Who has the lease keeps it unless it is frozen for long; who gets it begins anew.
    fn lease(&mut self) {
        let alive = |manager: &Manager, now| manager.frozen < now + 6000;
        if self
            .holder
            .is_some_and(|holder| !alive(&self.managers[holder], self.now))
        {
            self.holder = None;
        }
        if self.holder.is_none() {
            let fit = (0..2).find(|&manager| self.managers[manager].frozen <= self.now);
            let Some(next) = fit else { return };
            self.epoch += 1;
            self.holder = Some(next);
            let (epoch, now) = (self.epoch, self.moment());
            let manager = &mut self.managers[next];
            (manager.epoch, manager.balancer) = (epoch, Some(Balancer::new(config(epoch), now)));
        }
        // Who wakes up and has lost it notices within a second; until then it speaks with its old epoch.
        for manager in 0..2 {
            let lost = self.holder != Some(manager);
            let manager = &mut self.managers[manager];
            if lost && manager.frozen + 1000 < self.now && manager.epoch < self.epoch {
                manager.balancer = None;
            }
        }
    }

    fn tell(&mut self, manager: usize, event: Event) {
        let now = self.moment();
        if self.managers[manager].frozen > self.now {
            return;
        }
        let Some(balancer) = &mut self.managers[manager].balancer else {
            return;
        };
        let _ = balancer.handle(event, now);
        let actions: Vec<_> = std::iter::from_fn(|| balancer.poll()).collect();
        for action in actions {
            let _ = writeln!(self.trace, "{} {manager} {action:?}", self.now);
            let node = action.node.unwrap_or_default();
            match action.what {
                What::Activate => self.may_add(manager),
                What::Launch => {
                    self.may_add(manager);
                    let takes = 500 + self.random.below(2000);
                    if self.random.percent(90) {
                        let region = action.region.clone().unwrap_or_default();
                        self.post(self.now + takes, Message::Born(manager, node, region));
                    } else {
                        let why = "no room".into();
                        self.tell(manager, Event::LaunchFailed { node, why });
                    }
                }
                What::Drain => self.may_drain(manager, &node, action.region.as_ref()),
                _ => {}
            }
        }
    }

    /// The last node of a region with viewers is never drained.
    fn may_drain(&self, manager: usize, node: &str, region: Option<&Region>) {
        let balancer = self.managers[manager].balancer.as_ref().unwrap();
        let region = region.unwrap();
        let primary = balancer.primary_name().is_some();
        let others = balancer.fleet.members(region);
        let others = others
            .filter(|(name, other)| *name != node && other.ready())
            .count();
        assert!(
            primary || others > 0,
            "{node} was the last of {region}: {}",
            self.trace
        );
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Heartbeat(manager, report) => {
                let (node, instance) = (report.node.clone(), report.instance);
                if self.managers[manager].frozen > self.now {
                    return;
                }
                self.tell(manager, Event::Heartbeat(report));
                let Manager {
                    balancer: Some(balancer),
                    epoch,
                    ..
                } = &self.managers[manager]
                else {
                    return;
                };
                let (order, epoch) = (balancer.order(&node), *epoch);
                self.send(Message::Reply {
                    node,
                    manager,
                    epoch,
                    order,
                    instance,
                });
            }
            Message::Reply {
                node,
                manager,
                epoch,
                order,
                instance,
            } => {
                let Some(known) = self.nodes.get_mut(&node) else {
                    return;
                };
                if known.cut[manager] > self.now || known.report.instance != instance {
                    return;
                }
                let moment = Duration::from_millis(self.now);
                if known.allegiance.owes(epoch, moment) {
                    known.told = self.now;
                    self.obey(&node, order);
                }
            }
            Message::Born(manager, node, region) => {
                let report = Report {
                    region: Some(region),
                    launched: true,
                    ..Report::new(&node, self.now, Kind::Relay, State::Standby)
                };
                assert!(!self.nodes.contains_key(&node), "{node} is there twice");
                self.add(report);
                self.tell(manager, Event::Launched { node });
            }
        }
    }

    fn obey(&mut self, name: &str, order: Order) {
        let node = self.nodes.get_mut(name).unwrap();
        node.drains_to = None;
        match order {
            Order::Continue => {}
            Order::Activate { region, .. } => {
                node.report.state = match node.report.state {
                    State::Standby => State::Filling,
                    _ => State::Active,
                };
                node.report.region = Some(region);
            }
            Order::Drain { to } => {
                node.report.state = State::Draining;
                node.drains_to = Some(to);
            }
            Order::Retire => self.end(name, "told to"),
        }
    }

    fn end(&mut self, name: &str, why: &str) {
        self.nodes.remove(name);
        let _ = writeln!(self.trace, "{} {name} ended: {why}", self.now);
        // Whoever launched it and still runs sees its process end.
        for manager in 0..2 {
            let (node, why) = (name.to_owned(), why.to_owned());
            self.tell(manager, Event::Ended { node, why });
        }
    }

    fn heartbeats(&mut self) {
        let names: Vec<_> = self.nodes.keys().cloned().collect();
        for name in names {
            let node = &self.nodes[&name];
            // As the reporter does: launched, without anybody to obey, and of no use.
            let idle = node.report.regions.values().all(|load| load.viewers == 0);
            if node.report.launched && idle && self.now - node.told > 60_000 {
                self.end(&name, "forgotten");
                continue;
            }
            let (report, cut) = (node.report.clone(), node.cut);
            for (manager, cut) in cut.into_iter().enumerate() {
                if cut <= self.now {
                    self.send(Message::Heartbeat(manager, report.clone()));
                }
            }
        }
    }

    fn trouble(&mut self) {
        if !self.random.percent(self.weather.trouble) {
            return;
        }
        let span = 1000 + self.random.below(30_000);
        let until = self.now + span;
        let manager = self.random.below(2) as usize;
        let nth = self.random.below(self.nodes.len() as u64) as usize;
        let name = self.nodes.keys().nth(nth).unwrap().clone();
        let _ = write!(self.trace, "{} ", self.now);
        match self.random.below(4) {
            0 => {
                let _ = writeln!(self.trace, "manager {manager} frozen until {until}");
                self.managers[manager].frozen = until;
            }
            1 => {
                // Killed, and started again: it knows nothing.
                let _ = writeln!(self.trace, "manager {manager} killed");
                self.managers[manager].balancer = None;
                if self.holder == Some(manager) {
                    self.holder = None;
                }
            }
            2 => {
                let _ = writeln!(
                    self.trace,
                    "{name} cut from manager {manager} until {until}"
                );
                self.nodes.get_mut(&name).unwrap().cut[manager] = until;
            }
            _ if name != "primary" => self.end(&name, "killed"),
            _ => {}
        }
    }

    /// Viewers join where they are sent, leave as they like, and go where their node sends them.
    fn people(&mut self) {
        for name in REGIONS {
            let region = Region::new(name);
            let wanted = self.wanted.get(&region).copied().unwrap_or(0);
            let here: u32 = self
                .nodes
                .values()
                .map(|node| watching(node, &region))
                .sum();
            for _ in here..wanted.min(here + 3) {
                self.join(&region);
            }
            for _ in wanted.max(here.saturating_sub(2))..here {
                self.leave(&region);
            }
        }
        let names: Vec<_> = self.nodes.keys().cloned().collect();
        for name in names {
            let Some(to) = self.nodes[&name].drains_to.clone() else {
                continue;
            };
            let to = to
                .filter(|to| self.nodes.contains_key(to))
                .unwrap_or("primary".into());
            let node = self.nodes.get_mut(&name).unwrap();
            let gone = std::mem::take(&mut node.report.regions);
            for (region, load) in gone {
                for _ in 0..load.viewers {
                    self.arrive(&to, &region);
                }
            }
        }
    }

    fn join(&mut self, region: &Region) {
        let now = self.moment();
        let holder = self
            .holder
            .filter(|&holder| self.managers[holder].frozen <= self.now);
        let Some(holder) = holder else { return };
        let Some(balancer) = &self.managers[holder].balancer else {
            return;
        };
        let to = match balancer.route(region, now) {
            Route::Wait => return,
            Route::Primary { .. } => "primary".to_owned(),
            Route::Relay { node } => node,
        };
        let (region, node) = (region.clone(), to.clone());
        self.tell(
            holder,
            Event::Joined {
                region: region.clone(),
                node,
            },
        );
        // Who finds nobody there asks again.
        if self
            .nodes
            .get(&to)
            .is_some_and(|node| node.report.state == State::Active)
        {
            self.arrive(&to, &region);
        }
    }

    fn arrive(&mut self, node: &str, region: &Region) {
        let node = self.nodes.get_mut(node).unwrap();
        let load = node.report.regions.entry(region.clone()).or_default();
        load.viewers += 1;
        load.arrivals += 1;
    }

    fn leave(&mut self, region: &Region) {
        let there: Vec<_> = self
            .nodes
            .iter()
            .filter(|(_, node)| watching(node, region) > 0)
            .map(|(name, _)| name.clone())
            .collect();
        if there.is_empty() {
            return;
        }
        let nth = self.random.below(there.len() as u64) as usize;
        let node = self.nodes.get_mut(&there[nth]).unwrap();
        node.report.regions.get_mut(region).unwrap().viewers -= 1;
    }

    fn check(&self) {
        for manager in &self.managers {
            let Some(balancer) = &manager.balancer else {
                continue;
            };
            balancer.fleet.check();
        }
    }

    /// No relay is added beyond the limit. (Some that are found running may be more than there should be.)
    fn may_add(&self, manager: usize) {
        let balancer = self.managers[manager].balancer.as_ref().unwrap();
        let employed = balancer.count(node::Node::employed);
        assert!(employed <= MAX_RELAYS, "{employed} relays: {}", self.trace);
    }

    /// The storm is over: what is true after so long?
    fn settle(&mut self) {
        self.weather = Weather {
            loss: 0,
            delay: 200,
            trouble: 0,
        };
        self.run(900);
        let holder = self.holder.expect("somebody decides");
        let balancer = self.managers[holder].balancer.as_ref().unwrap();
        let known: Vec<_> = balancer
            .standings()
            .map(|(name, ..)| name.to_owned())
            .collect();
        let running: Vec<_> = self.nodes.keys().cloned().collect();
        assert_eq!(known, running, "orphans or ghosts: {}", self.trace);
        assert!(
            running.len() <= MAX_RELAYS + 1,
            "{running:?}: {}",
            self.trace
        );
        for (name, node) in &self.nodes {
            let watched = REGIONS
                .iter()
                .any(|region| watching(node, &Region::new(region)) > 0);
            let serves = node.report.state == State::Active;
            assert!(
                serves || !watched,
                "viewers are stuck on {name}: {}",
                self.trace
            );
        }
        for (region, wanted) in &self.wanted {
            let here: u32 = self.nodes.values().map(|node| watching(node, region)).sum();
            assert_eq!(here, *wanted, "{region} is not all served: {}", self.trace);
        }
    }
}

fn watching(node: &Node, region: &Region) -> u32 {
    node.report
        .regions
        .get(region)
        .map_or(0, |load| load.viewers)
}

/// A day in little: three regions rise and fall while the weather is bad, and then it clears.
fn day(seed: u64, weather: Weather) -> String {
    let mut net = Net::new(seed, weather);
    for _ in 0..6 {
        for region in REGIONS {
            let wanted = net.random.below(40) as u32;
            net.wanted.insert(Region::new(region), wanted);
        }
        net.run(60);
    }
    net.settle();
    net.trace
}

const STORM: Weather = Weather {
    loss: 20,
    delay: 3000,
    trouble: 10,
};

#[test]
fn a_seed_says_all_that_happens() {
    assert_eq!(day(7, STORM), day(7, STORM));
    assert_ne!(day(7, STORM), day(8, STORM));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn whatever_the_network_does_nobody_is_stuck_and_no_relay_orphaned_or_doubled(
        seed: u64, loss in 0u64..40, delay in 1u64..4000, trouble in 0u64..25,
    ) {
        day(seed, Weather { loss, delay, trouble });
    }
}

/// One region whose number of viewers is noise around `mean`, correlated over `memory` looks.
fn noisy(seed: u64, mean: u32, noise: u32, memory: u32) -> Vec<(u64, What)> {
    let mut random = Random(seed);
    let mut balancer = Balancer::new(Config::default(), Moment::ZERO);
    let (mut said, mut swing) = (Vec::new(), 0.0);
    let mut relays: BTreeMap<String, Report> = BTreeMap::new();
    let paris = Region::new("paris");
    for step in 0..3600 * 2 {
        let now = Duration::from_millis(500 * step);
        let mut events = vec![Event::Tick];
        if step % 4 == 0 {
            let drawn = random.below(2 * u64::from(noise) + 1) as f64 - f64::from(noise);
            let kept = f64::from(memory) / f64::from(memory + 1);
            swing = swing * kept + drawn * (1.0 - kept * kept).sqrt();
            let viewers = (f64::from(mean) + swing).max(0.0) as u32;
            let spread = relays
                .values()
                .filter(|relay| relay.state == State::Active)
                .count() as u32;
            let mut primary = Report::new("primary", 1, Kind::Primary, State::Active);
            let most = balancer.limit(&paris);
            let here = if spread > 0 {
                viewers.min(most)
            } else {
                viewers
            };
            primary.regions.entry(paris.clone()).or_default().viewers = here;
            events.push(Event::Heartbeat(primary));
            for relay in relays.values_mut() {
                let order = balancer.order(&relay.node);
                relay.state = match order {
                    Order::Activate { .. } => State::Active,
                    Order::Drain { .. } => State::Draining,
                    _ => relay.state,
                };
                let share = (viewers - here).checked_div(spread).unwrap_or(0);
                let share = if relay.state == State::Active {
                    share
                } else {
                    0
                };
                relay.regions.entry(paris.clone()).or_default().viewers = share;
                events.push(Event::Heartbeat(relay.clone()));
            }
        }
        for event in events {
            let _ = balancer.handle(event, now);
            while let Some(action) = balancer.poll() {
                said.push((step, action.what));
                let node = action.node.clone().unwrap_or_default();
                match action.what {
                    What::Launch => {
                        let report = Report {
                            region: Some(paris.clone()),
                            launched: true,
                            ..Report::new(&node, 1, Kind::Relay, State::Standby)
                        };
                        relays.insert(node, report);
                    }
                    What::Retire => drop(relays.remove(&node)),
                    _ => {}
                }
            }
        }
    }
    said
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    /// An hour of a steady load with noise: a relay comes or does not, and stays or does not.
    #[test]
    fn noise_starts_no_relays_and_ends_none(
        seed: u64, mean in 1u32..300, noise in 0u32..12, memory in 0u32..6,
    ) {
        let said = noisy(seed, mean, noise, memory);
        let launches = said.iter().filter(|(_, what)| *what == What::Launch).count();
        let drains = said.iter().filter(|(_, what)| *what == What::Drain).count();
        prop_assert!(launches <= 1 && drains <= 1, "mean {mean}, noise {noise}: {said:?}");
    }
}
