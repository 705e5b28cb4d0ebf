//! What the balancer does, told as stories in virtual time. The threshold is 3 unless said.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::*;

const STEP: Duration = Duration::from_millis(500);

/// A primary, relays that do as they are told, and viewers. Whoever is told to launch a relay does.
struct World {
    balancer: Balancer,
    config: Config,
    now: Moment,
    steps: u32,
    nodes: BTreeMap<String, Actor>,
    /// Relays are started when asked for.
    obliging: bool,
    said: Vec<Action>,
}

struct Actor {
    report: Report,
    mute: bool,
}

impl World {
    fn new(config: Config) -> Self {
        let now = Duration::ZERO;
        let mut world = Self {
            balancer: Balancer::new(config.clone(), now),
            config,
            now,
            steps: 0,
            nodes: BTreeMap::new(),
            obliging: true,
            said: Vec::new(),
        };
        world.add("primary", Kind::Primary, State::Active, None, false);
        world
    }

    /// Past the first round.
    fn ready(config: Config) -> Self {
        let mut world = Self::new(config);
        world.pass(5);
        world
    }

    fn add(&mut self, name: &str, kind: Kind, state: State, region: Option<&str>, launched: bool) {
        let report = Report {
            region: region.map(Region::new),
            launched,
            ..Report::new(name, 1, kind, state)
        };
        let actor = Actor {
            report,
            mute: false,
        };
        self.nodes.insert(name.into(), actor);
        self.beat(name);
    }

    fn set(&mut self, node: &str, region: &str, viewers: u32) {
        let actor = self.nodes.get_mut(node).unwrap();
        let load = actor.report.regions.entry(Region::new(region)).or_default();
        load.arrivals += u64::from(viewers.saturating_sub(load.viewers));
        load.viewers = viewers;
    }

    fn beat(&mut self, name: &str) {
        let Some(actor) = self.nodes.get_mut(name).filter(|actor| !actor.mute) else {
            return;
        };
        let report = actor.report.clone();
        self.tell(Event::Heartbeat(report));
        let order = self.balancer.order(name);
        let actor = self.nodes.get_mut(name).unwrap();
        let report = &mut actor.report;
        match order {
            Order::Continue => {}
            Order::Activate { region, .. } => {
                report.state = match report.state {
                    State::Standby => State::Filling,
                    _ => State::Active,
                };
                report.region = Some(region);
            }
            Order::Drain { .. } => report.state = State::Draining,
            Order::Retire if report.launched => self.end(name),
            Order::Retire => report.state = State::Standby,
        }
    }

    fn end(&mut self, name: &str) {
        self.nodes.remove(name);
        let (node, why) = (name.into(), "exit status 0".into());
        self.tell(Event::Ended { node, why });
    }

    fn tell(&mut self, event: Event) {
        let _ = self.balancer.handle(event, self.now);
        self.act();
    }

    fn act(&mut self) {
        while let Some(action) = self.balancer.poll() {
            self.said.push(action.clone());
            let Some(node) = action.node else { continue };
            match action.what {
                What::Launch if self.obliging => {
                    self.add(&node, Kind::Relay, State::Standby, None, true);
                    self.tell(Event::Launched { node });
                }
                What::Failed => {
                    self.nodes.remove(&node);
                }
                _ => {}
            }
        }
    }

    /// Half seconds go by; nodes report every two.
    fn pass(&mut self, seconds: u32) {
        for _ in 0..seconds * 2 {
            self.now += STEP;
            self.steps += 1;
            if self.steps.is_multiple_of(4) {
                let names: Vec<_> = self.nodes.keys().cloned().collect();
                names.iter().for_each(|name| self.beat(name));
            }
            self.tell(Event::Tick);
        }
    }

    /// One viewer asks; if sent somewhere, the viewer is there in the next report.
    fn join(&mut self, region: &str) -> Route {
        let region = Region::new(region);
        let route = self.balancer.route(&region, self.now);
        let node = match &route {
            Route::Primary { .. } => "primary".to_owned(),
            Route::Relay { node } => node.clone(),
            Route::Wait => return route,
        };
        self.tell(Event::Joined {
            region: region.clone(),
            node: node.clone(),
        });
        if let Some(actor) = self.nodes.get_mut(&node) {
            let load = actor.report.regions.entry(region).or_default();
            load.viewers += 1;
            load.arrivals += 1;
        }
        route
    }

    fn heard(&self, what: What) -> Vec<&Action> {
        self.said
            .iter()
            .filter(|action| action.what == what)
            .collect()
    }
}

fn threshold_3() -> Config {
    Config {
        threshold: 3,
        ..Config::default()
    }
}

const PRIMARY: Route = Route::Primary { overloaded: false };

fn relay(name: &str) -> Route {
    Route::Relay { node: name.into() }
}

#[test]
fn the_viewer_after_the_threshold_lands_on_a_relay_started_for_it() {
    let mut world = World::ready(threshold_3());
    for _ in 0..3 {
        assert_eq!(world.join("paris"), PRIMARY);
    }
    let launches = world.heard(What::Launch);
    assert_eq!(
        launches[0].reason,
        "3 viewers of paris on the primary reach the threshold of 3"
    );
    assert_eq!(world.join("paris"), Route::Wait);
    world.pass(6);
    assert_eq!(world.join("paris"), relay("relay-paris-1"));
    assert_eq!(world.join("lyon"), PRIMARY);
    assert_eq!(world.heard(What::Launch).len(), 1);
}

#[test]
fn when_viewers_leave_the_relay_drains_and_is_retired() {
    let mut world = World::ready(threshold_3());
    world.set("primary", "paris", 3);
    world.pass(8);
    world.set("relay-paris-1", "paris", 2);
    world.pass(30);
    assert!(world.heard(What::Drain).is_empty(), "5 viewers need it");

    world.set("primary", "paris", 1);
    world.set("relay-paris-1", "paris", 1);
    world.pass(14);
    let drains = world.heard(What::Drain);
    assert_eq!(
        drains[0].reason,
        "2 viewers of paris in all, not above 2 for 10s, need 0 relays"
    );
    assert!(world.heard(What::Retire).is_empty(), "one is still there");
    assert_eq!(
        world.balancer.order("relay-paris-1"),
        Order::Drain { to: None }
    );
    let paris = Region::new("paris");
    assert_eq!(world.balancer.route(&paris, world.now), PRIMARY);

    world.set("relay-paris-1", "paris", 0);
    let relay = world.nodes.get_mut("relay-paris-1").unwrap();
    relay.report.moved = 1;
    world.pass(6);
    assert!(world.heard(What::Retire).is_empty(), "one asks for the way");
    let relay = world.nodes.get_mut("relay-paris-1").unwrap();
    relay.report.moved = 0;
    world.pass(6);
    assert_eq!(world.heard(What::Retire).len(), 1);
    assert_eq!(world.heard(What::Gone)[0].reason, "exit status 0");
    assert!(!world.nodes.contains_key("relay-paris-1"));
    assert!(world.balancer.heard("relay-paris-1").is_none());
}

#[test]
fn a_drained_relay_points_the_way_until_its_place_is_needed() {
    let mut world = World::ready(Config {
        relays: 1,
        ..threshold_3()
    });
    world.set("primary", "paris", 3);
    world.pass(8);
    let relay_1 = world.nodes.get_mut("relay-paris-1").unwrap();
    relay_1.report.moved = 1;
    world.set("primary", "paris", 1);
    world.pass(3600);
    assert_eq!(world.heard(What::Drain).len(), 1);
    assert!(world.heard(What::Retire).is_empty());

    world.set("primary", "lyon", 3);
    world.pass(8);
    assert_eq!(
        world.heard(What::Retire)[0].reason,
        "its place is needed for lyon; 1 viewer still asked it for the way"
    );
    assert_eq!(world.join("lyon"), relay("relay-lyon-1"));
    assert!(world.heard(What::Short).is_empty());
}

#[test]
fn a_crowd_that_joins_at_once_gets_one_relay() {
    let mut world = World::ready(threshold_3());
    let routes: Vec<_> = (0..50).map(|_| world.join("paris")).collect();
    assert_eq!(routes.iter().filter(|&route| *route == PRIMARY).count(), 3);
    assert!(routes[3..].iter().all(|route| *route == Route::Wait));
    assert_eq!(world.heard(What::Launch).len(), 1);
}

#[test]
fn who_waited_long_enough_is_served_by_the_primary_all_the_same() {
    let mut world = World::ready(threshold_3());
    world.set("primary", "paris", 3);
    world.beat("primary");
    let paris = Region::new("paris");
    assert_eq!(world.balancer.route(&paris, world.now), Route::Wait);
    assert_eq!(
        world.balancer.route_now(&paris, world.now),
        Route::Primary { overloaded: true }
    );
}

#[test]
fn joins_that_never_arrive_are_forgotten() {
    let mut world = World::ready(threshold_3());
    let (region, node) = (Region::new("paris"), "primary".to_owned());
    for _ in 0..2 {
        world.tell(Event::Joined {
            region: region.clone(),
            node: node.clone(),
        });
    }
    assert_eq!(world.balancer.on_primary(&region), 2);
    assert_eq!(world.balancer.counted(&region), (0, 0));
    world.pass(11);
    assert_eq!(world.balancer.on_primary(&region), 0);
}

#[test]
fn a_join_that_arrived_is_counted_once() {
    let mut world = World::ready(threshold_3());
    world.join("paris");
    world.join("paris");
    world.beat("primary");
    assert_eq!(world.balancer.on_primary(&Region::new("paris")), 2);
}

#[test]
fn full_relays_get_another_beside_them() {
    let mut world = World::ready(Config {
        relay_viewers: Some(2),
        ..threshold_3()
    });
    world.set("primary", "paris", 3);
    world.pass(8);
    assert_eq!(world.join("paris"), relay("relay-paris-1"));
    assert_eq!(world.join("paris"), relay("relay-paris-1"));
    assert_eq!(world.join("paris"), Route::Wait);
    world.pass(6);
    assert_eq!(world.join("paris"), relay("relay-paris-2"));
    assert!(
        world.heard(What::Launch)[1]
            .reason
            .ends_with("and its relays (1) are full")
    );
}

#[test]
fn relays_of_a_region_drain_one_at_a_time_onto_those_that_stay() {
    let mut world = World::ready(Config {
        relay_viewers: Some(10),
        ..threshold_3()
    });
    world.add("a", Kind::Relay, State::Active, Some("paris"), false);
    world.add("b", Kind::Relay, State::Active, Some("paris"), false);
    world.set("primary", "paris", 3);
    world.set("a", "paris", 4);
    world.set("b", "paris", 2);
    world.pass(14);
    assert_eq!(world.heard(What::Drain).len(), 1);
    let to = Some("a".to_owned());
    assert_eq!(world.balancer.order("b"), Order::Drain { to });
    world.set("b", "paris", 0);
    world.set("a", "paris", 6);
    world.pass(30);
    assert_eq!(
        world.heard(What::Drain).len(),
        1,
        "9 viewers need one relay"
    );
    assert_eq!(world.nodes["b"].report.state, State::Standby);
}

#[test]
fn a_relay_that_is_found_again_after_another_took_its_place_is_one_too_many() {
    let mut world = World::ready(threshold_3());
    world.set("primary", "paris", 3);
    world.pass(8);
    world.set("relay-paris-1", "paris", 2);
    world.pass(4);
    world.nodes.get_mut("relay-paris-1").unwrap().mute = true;
    world.pass(14);
    assert_eq!(world.heard(What::Launch).len(), 2);
    world.nodes.get_mut("relay-paris-1").unwrap().mute = false;
    world.pass(20);
    let drained = world.heard(What::Drain);
    assert_eq!(
        drained[0].node.as_deref(),
        Some("relay-paris-2"),
        "the emptiest"
    );
    assert_eq!(
        drained[0].reason,
        "1 relays have room enough for 5 viewers of paris"
    );
    world.pass(30);
    assert_eq!(world.heard(What::Drain).len(), 1);
    assert_eq!(
        world.nodes.keys().collect::<Vec<_>>(),
        ["primary", "relay-paris-1"]
    );
}

#[test]
fn a_relay_that_gets_nothing_new_while_the_primary_does_keeps_nobody_until_it_does_again() {
    let mut world = World::ready(threshold_3());
    world.set("primary", "paris", 3);
    world.pass(8);
    world.set("relay-paris-1", "paris", 2);
    let trouble = |world: &mut World, node: &str, ill: bool| {
        let report = &mut world.nodes.get_mut(node).unwrap().report;
        report.trouble = ill.then(|| "stream live has had nothing new for 7 s".into());
    };
    let serves = |keep| Order::Activate {
        region: Region::new("paris"),
        keep,
    };
    // The source stands still, and comes back, of which one hears before the other: nobody is better off elsewhere.
    for (ill, first, second) in [
        (true, "relay-paris-1", "primary"),
        (false, "primary", "relay-paris-1"),
    ] {
        trouble(&mut world, first, ill);
        world.beat(first);
        world.pass(1);
        trouble(&mut world, second, ill);
        for _ in 0..20 {
            world.pass(1);
            assert_eq!(world.balancer.order("relay-paris-1"), serves(None));
        }
    }
    trouble(&mut world, "relay-paris-1", true);
    world.pass(8);
    assert_eq!(world.balancer.order("relay-paris-1"), serves(Some(0)));
    // They are beyond the threshold on the primary then; one relay is there all the same.
    world.set("relay-paris-1", "paris", 0);
    world.set("primary", "paris", 5);
    world.pass(60);
    assert_eq!(world.balancer.order("relay-paris-1"), serves(Some(0)));
    trouble(&mut world, "relay-paris-1", false);
    world.pass(8);
    assert_eq!(world.balancer.order("relay-paris-1"), serves(None));
    assert_eq!(world.join("paris"), relay("relay-paris-1"));
    assert_eq!(world.heard(What::Launch).len(), 1);
    assert!(world.heard(What::Drain).is_empty());
}

#[test]
fn whoever_was_sent_on_by_a_draining_relay_stays_there_as_long_as_that_serves() {
    let mut world = World::ready(threshold_3());
    for relay in ["a", "b", "c"] {
        world.add(relay, Kind::Relay, State::Active, Some("paris"), false);
    }
    world.set("primary", "paris", 3);
    for (relay, viewers) in [("a", 4), ("b", 2), ("c", 5)] {
        world.set(relay, "paris", viewers);
    }
    world.pass(4);
    let drain = |node: &str| Event::Override(Override::Drain { node: node.into() });
    let to = |relay: &str| Order::Drain {
        to: Some(relay.to_owned()),
    };
    world.tell(drain("a"));
    world.pass(1);
    assert_eq!(world.balancer.order("a"), to("b"));
    // They have gone, and ask for the way: that the primary could take nobody else in their place is no reason.
    world.nodes.get_mut("a").unwrap().report.moved = 4;
    world.set("a", "paris", 0);
    world.set("b", "paris", 6);
    world.pass(6);
    assert_eq!(world.balancer.order("a"), to("b"));
    // Where they are is drained as well: they go on together.
    world.tell(drain("b"));
    world.pass(2);
    assert_eq!(world.balancer.order("b"), to("c"));
    assert_eq!(world.balancer.order("a"), to("c"));
}

#[test]
fn a_standby_of_the_region_is_preferred_and_none_of_another_is_taken() {
    let mut world = World::ready(threshold_3());
    world.add("any", Kind::Relay, State::Standby, None, false);
    world.add("lyonnais", Kind::Relay, State::Standby, Some("lyon"), false);
    world.add(
        "parisian",
        Kind::Relay,
        State::Standby,
        Some("paris"),
        false,
    );
    world.set("primary", "paris", 3);
    world.pass(8);
    assert_eq!(world.join("paris"), relay("parisian"));
    world.nodes.get_mut("parisian").unwrap().mute = true;
    world.pass(14);
    assert_eq!(world.join("paris"), relay("any"));
    assert!(world.heard(What::Launch).is_empty());
    assert_eq!(world.nodes["lyonnais"].report.state, State::Standby);
}

#[test]
fn load_that_comes_back_during_a_drain_keeps_the_relay() {
    let mut world = World::ready(threshold_3());
    world.set("primary", "paris", 3);
    world.pass(8);
    world.set("primary", "paris", 1);
    world.set("relay-paris-1", "paris", 1);
    world.pass(14);
    assert_eq!(world.heard(What::Drain).len(), 1);
    world.set("primary", "paris", 4);
    world.pass(6);
    let back = world.heard(What::Activate);
    assert_eq!(back[0].node.as_deref(), Some("relay-paris-1"));
    assert_eq!(world.join("paris"), relay("relay-paris-1"));
    assert_eq!(world.heard(What::Launch).len(), 1);
}

#[test]
fn a_lost_relay_is_replaced_without_a_rest() {
    let mut world = World::ready(threshold_3());
    world.set("primary", "paris", 3);
    world.pass(90);
    world.nodes.get_mut("relay-paris-1").unwrap().mute = true;
    world.pass(9);
    assert_eq!(world.heard(What::Lost).len(), 1);
    assert_eq!(world.heard(What::Launch).len(), 2);
    world.pass(6);
    assert_eq!(world.join("paris"), relay("relay-paris-2"));
    world.pass(300);
    assert_eq!(
        world.heard(What::Failed).len(),
        1,
        "its process is to be ended"
    );
}

#[test]
fn a_relay_that_crashes_is_replaced_ever_more_slowly() {
    let mut world = World::ready(threshold_3());
    world.set("primary", "paris", 3);
    for _ in 0..120 {
        world.pass(1);
        let relay = world
            .nodes
            .keys()
            .find(|name| name.starts_with("relay"))
            .cloned();
        if let Some(relay) = relay {
            world.end(&relay);
        }
    }
    let launches = world.heard(What::Launch).len();
    assert!(
        (4..=8).contains(&launches),
        "{launches} launches in two minutes"
    );
}

#[test]
fn failed_launches_back_off_and_joins_do_not_wait_for_them() {
    let mut world = World::ready(threshold_3());
    world.obliging = false;
    world.set("primary", "paris", 3);
    world.beat("primary");
    let node = world.heard(What::Launch)[0].node.clone().unwrap();
    let why = "no such program".to_owned();
    world.tell(Event::LaunchFailed { node, why });
    assert_eq!(
        world.heard(What::Failed)[0].reason,
        "no such program; the next attempt is in 1s"
    );
    assert_eq!(world.join("paris"), Route::Primary { overloaded: true });
    world.pass(2);
    assert_eq!(world.heard(What::Launch).len(), 2);
}

#[test]
fn a_launch_that_never_serves_is_given_up_at_its_deadline() {
    let mut world = World::ready(threshold_3());
    world.obliging = false;
    world.set("primary", "paris", 3);
    world.pass(29);
    assert!(world.heard(What::Failed).is_empty());
    world.pass(5);
    assert_eq!(world.heard(What::Failed).len(), 1);
}

#[test]
fn a_new_manager_decides_nothing_before_a_full_round_and_adopts_what_runs() {
    let mut world = World::new(threshold_3());
    world.set("primary", "paris", 5);
    world.beat("primary");
    world.pass(2);
    assert!(world.said.is_empty());
    world.add(
        "relay-paris-7",
        Kind::Relay,
        State::Active,
        Some("paris"),
        true,
    );
    world.pass(30);
    assert_eq!(world.heard(What::Adopt).len(), 1);
    assert!(world.heard(What::Launch).is_empty());
    assert_eq!(world.join("paris"), relay("relay-paris-7"));
    world.set("primary", "paris", 0);
    world.set("relay-paris-7", "paris", 0);
    world.pass(20);
    assert!(!world.nodes.contains_key("relay-paris-7"));
}

#[test]
fn a_relay_launched_by_an_earlier_manager_for_nobody_is_retired() {
    let mut world = World::ready(threshold_3());
    world.add(
        "relay-paris-7",
        Kind::Relay,
        State::Standby,
        Some("paris"),
        true,
    );
    world.add("idle", Kind::Relay, State::Standby, Some("paris"), false);
    world.pass(14);
    assert!(!world.nodes.contains_key("relay-paris-7"));
    assert!(world.nodes.contains_key("idle"));
}

#[test]
fn an_older_run_of_a_node_is_refused() {
    let mut world = World::ready(threshold_3());
    let mut report = world.nodes["primary"].report.clone();
    report.instance = 0;
    let refused = world.balancer.handle(Event::Heartbeat(report), world.now);
    assert_eq!(refused, Err(Refused::Older { known: 1, found: 0 }));
}

#[test]
fn a_node_whose_clock_was_set_back_is_taken_again_once_the_run_before_is_not_heard() {
    let mut world = World::ready(threshold_3());
    world.nodes.get_mut("primary").unwrap().report.instance = 0;
    world.pass(4);
    world.set("primary", "paris", 3);
    assert_eq!(
        world.join("paris"),
        Route::Primary { overloaded: false },
        "it is refused so far"
    );
    world.pass(8);
    world.set("primary", "paris", 3);
    world.pass(4);
    assert_eq!(world.join("paris"), relay("relay-paris-1"));
}

#[test]
fn a_second_primary_is_refused_while_the_first_is_alive() {
    let mut world = World::ready(threshold_3());
    let mut report = world.nodes["primary"].report.clone();
    report.node = "other".into();
    let event = Event::Heartbeat(report);
    assert!(world.balancer.handle(event.clone(), world.now).is_err());
    world.nodes.get_mut("primary").unwrap().mute = true;
    world.pass(8);
    assert_eq!(world.balancer.handle(event, world.now), Ok(()));
    assert_eq!(world.balancer.primary_name(), Some("other"));
}

#[test]
fn while_the_primary_is_silent_nothing_is_changed_and_relays_go_on() {
    let mut world = World::ready(threshold_3());
    world.set("primary", "paris", 3);
    world.pass(8);
    world.nodes.get_mut("primary").unwrap().mute = true;
    world.pass(60);
    assert!(world.heard(What::Drain).is_empty());
    assert_eq!(world.join("paris"), relay("relay-paris-1"));
    assert_eq!(world.join("lyon"), Route::Primary { overloaded: true });
}

#[test]
fn a_manager_that_slept_does_not_blame_the_nodes() {
    let mut world = World::ready(threshold_3());
    world.set("primary", "paris", 3);
    world.pass(8);
    world.now += Duration::from_secs(60);
    world.tell(Event::Tick);
    world.pass(10);
    assert!(world.heard(What::Lost).is_empty());
}

#[test]
fn without_a_launcher_the_shortage_is_said_once() {
    let mut world = World::ready(Config {
        launcher: false,
        ..threshold_3()
    });
    world.set("primary", "paris", 9);
    world.pass(60);
    let short = world.heard(What::Short);
    assert_eq!(short.len(), 1);
    assert_eq!(
        short[0].reason,
        "9 viewers of paris on the primary reach the threshold of 3, but no relay is in standby, \
         and none can be launched; the primary serves them all"
    );
}

#[test]
fn made_up_regions_share_one_and_do_not_crowd_out_real_ones() {
    let mut world = World::ready(threshold_3());
    for n in 0..700 {
        world.join(&format!("r{n}"));
    }
    assert!(world.balancer.regions().count() <= 257);
    let stray = Region::new("stray");
    assert_eq!(world.balancer.known(&stray), Region::default());
    let actor = world.nodes.get_mut("primary").unwrap();
    actor.report.regions.clear();
    world.pass(12);
    assert_eq!(world.balancer.known(&stray), stray);
    world.pass(620);
    assert_eq!(world.balancer.regions().count(), 0);
}

#[test]
fn a_threshold_of_one_drains_only_an_empty_region() {
    let mut world = World::ready(Config {
        threshold: 1,
        ..Config::default()
    });
    world.join("paris");
    world.pass(40);
    assert!(world.heard(What::Drain).is_empty());
    world.set("primary", "paris", 0);
    world.pass(14);
    assert_eq!(world.heard(What::Drain).len(), 1);
}

fn set_price(world: &mut World, price: f64) {
    world.nodes.get_mut("primary").unwrap().report.price = price;
}

#[test]
fn an_egress_that_stays_short_spills_the_largest_region_before_the_threshold() {
    let mut world = World::ready(Config::default());
    world.set("primary", "paris", 20);
    world.set("primary", "lyon", 7);
    set_price(&mut world, 0.5);
    world.pass(8);
    set_price(&mut world, 0.0);
    world.pass(8);
    assert!(world.said.is_empty(), "it did not stay short");

    set_price(&mut world, 0.5);
    world.pass(14);
    set_price(&mut world, 0.0);
    world.pass(6);
    assert_eq!(
        world.heard(What::Press)[0].reason,
        "the primary's egress has been short for 10s (price 0.500); paris is the largest part of \
         it and may have no more than 20 viewers there"
    );
    assert_eq!(world.join("paris"), relay("relay-paris-1"));
    assert_eq!(world.join("lyon"), PRIMARY);
    world.pass(60);
    assert!(world.heard(What::Drain).is_empty(), "21 viewers need it");

    world.set("primary", "paris", 13);
    world.pass(14);
    assert_eq!(world.heard(What::Drain).len(), 1);
    assert_eq!(world.balancer.limit(&Region::new("paris")), 100);
}

#[test]
fn one_region_after_another_is_pressed_while_the_egress_is_short() {
    let mut world = World::ready(Config {
        launcher: false,
        ..Config::default()
    });
    world.set("primary", "paris", 20);
    world.set("primary", "lyon", 7);
    set_price(&mut world, 0.5);
    world.pass(60);
    assert_eq!(world.heard(What::Press).len(), 2);
    assert_eq!(world.join("lyon"), Route::Primary { overloaded: true });
    set_price(&mut world, 0.0);
    world.pass(4);
    assert_eq!(world.join("lyon"), PRIMARY);
}

#[test]
fn a_rising_region_gets_its_relay_before_the_threshold_is_crossed() {
    let mut world = World::ready(Config::default());
    for viewers in (0..60).step_by(2) {
        world.set("primary", "paris", viewers);
        world.pass(1);
    }
    assert!(world.said.is_empty(), "nothing is near: {:?}", world.said);
    let mut viewers = 60;
    while world.heard(What::Launch).is_empty() {
        viewers += 3;
        world.set("primary", "paris", viewers);
        world.pass(1);
        assert!(viewers < 100, "it was not seen to come");
    }
    let reason = &world.heard(What::Launch)[0].reason;
    assert!(reason.contains("more each second"), "{reason}");
    assert!(
        viewers > 85,
        "{viewers}: a relay takes seconds, not minutes"
    );
    world.pass(6);
    world.set("primary", "paris", 100);
    world.pass(2);
    assert_eq!(world.join("paris"), relay("relay-paris-1"));
}

#[test]
fn a_flash_crowd_gets_as_many_relays_as_it_will_fill() {
    let mut world = World::ready(Config {
        relay_viewers: Some(50),
        ..Config::default()
    });
    for _ in 0..100 {
        world.join("paris");
    }
    for _ in 0..120 {
        let region = Region::new("paris");
        assert_eq!(world.balancer.route(&region, world.now), Route::Wait);
        world.tell(Event::Waiting { region });
    }
    assert_eq!(
        world.heard(What::Launch).len(),
        3,
        "120 wait, and 50 fit one"
    );
}

#[test]
fn a_threshold_of_egress_spills_before_the_one_of_viewers() {
    let mut world = World::ready(Config {
        threshold_egress: Some(Bitrate::from_kbps(20_000)),
        ..Config::default()
    });
    let primary = world.nodes.get_mut("primary").unwrap();
    primary.report.egress = Bitrate::from_kbps(8_000);
    world.set("primary", "paris", 4);
    world.pass(4);
    let paris = Region::new("paris");
    assert_eq!(world.balancer.limit(&paris), 10, "2 Mbit/s each");
    for _ in 0..6 {
        assert_eq!(world.join("paris"), PRIMARY);
    }
    assert_eq!(world.join("paris"), Route::Wait);
    assert_eq!(world.heard(What::Launch).len(), 1);
}

#[test]
fn a_region_may_have_terms_of_its_own() {
    let own = Terms {
        threshold: Some(2),
        relays: Some(0),
        ..Terms::default()
    };
    let mut world = World::ready(Config {
        regions: [(Region::new("paris"), own)].into(),
        ..Config::default()
    });
    world.set("primary", "paris", 2);
    world.set("primary", "lyon", 2);
    world.pass(3);
    let short = world.heard(What::Short);
    assert_eq!(short.len(), 1);
    assert!(
        short[0].reason.contains("its limit of relays (0)"),
        "{}",
        short[0].reason
    );
}

/// Two relays of Paris, whose primary is full.
fn two_relays(config: Config) -> World {
    let mut world = World::ready(config);
    for name in ["a", "b"] {
        world.add(name, Kind::Relay, State::Active, Some("paris"), false);
    }
    world.set("primary", "paris", 3);
    world.set("a", "paris", 10);
    world.set("b", "paris", 10);
    world.pass(4);
    world
}

fn asks<'a>(region: &'a Region, stream: Option<&'a str>, before: Option<&'a str>) -> Ask<'a> {
    Ask {
        region,
        stream,
        before,
    }
}

#[test]
fn who_comes_back_goes_where_it_was_and_a_stream_where_it_is() {
    let mut world = two_relays(threshold_3());
    let paris = Region::new("paris");
    world.set("b", "paris", 12);
    let streams = [("demo".to_owned(), 12)].into();
    world.nodes.get_mut("b").unwrap().report.streams = streams;
    world.pass(2);
    let route = |ask: Ask<'_>| world.balancer.route(ask, world.now);
    assert_eq!(route(asks(&paris, None, None)), relay("a"), "the emptier");
    assert_eq!(
        route(asks(&paris, Some("demo"), None)),
        relay("b"),
        "it has it"
    );
    assert_eq!(route(asks(&paris, None, Some("b"))), relay("b"));
    assert_eq!(route(asks(&paris, None, Some("gone"))), relay("a"));
}

#[test]
fn a_heavier_relay_takes_more_and_one_that_is_ill_nobody() {
    let mut world = two_relays(Config {
        weights: [("b".to_owned(), 3.0)].into(),
        ..threshold_3()
    });
    let paris = Region::new("paris");
    world.set("b", "paris", 20);
    world.pass(2);
    assert_eq!(world.balancer.route(&paris, world.now), relay("b"));
    let b = world.nodes.get_mut("b").unwrap();
    b.report.trouble = Some("its upstream is lost".into());
    world.pass(2);
    assert_eq!(world.balancer.route(&paris, world.now), relay("a"));
    world.nodes.get_mut("a").unwrap().report.trouble = Some("so is this one's".into());
    world.pass(2);
    assert_eq!(
        world.balancer.route(&paris, world.now),
        relay("b"),
        "better than none"
    );
}

#[test]
fn what_a_relay_can_take_is_told_by_its_seats_its_budget_and_its_price() {
    let mut world = two_relays(threshold_3());
    let paris = Region::new("paris");
    world.nodes.get_mut("a").unwrap().report.seats = Some(10);
    let b = &mut world.nodes.get_mut("b").unwrap().report;
    (b.egress, b.budget) = (Bitrate::from_kbps(20_000), Some(Bitrate::from_kbps(22_000)));
    world.pass(2);
    assert_eq!(world.join("paris"), relay("b"), "22 Mbit/s are 11 viewers");
    assert_eq!(world.join("paris"), Route::Wait);
    assert_eq!(world.heard(What::Launch).len(), 1);

    let mut world = two_relays(threshold_3());
    for name in ["a", "b"] {
        world.nodes.get_mut(name).unwrap().report.price = 0.4;
    }
    world.pass(8);
    assert!(world.heard(What::Launch).is_empty());
    world.pass(8);
    assert_eq!(
        world.heard(What::Launch).len(),
        1,
        "both are short for long"
    );
    assert_ne!(world.balancer.route(&paris, world.now), relay("a"));
}

#[test]
fn the_operator_drains_a_node_once_its_viewers_have_somewhere_to_go() {
    let mut world = World::ready(threshold_3());
    world.set("primary", "paris", 3);
    world.pass(8);
    world.set("relay-paris-1", "paris", 5);
    world.pass(2);
    let node = "relay-paris-1".to_owned();
    world.tell(Event::Override(Override::Drain { node: node.clone() }));
    assert!(
        world.heard(What::Drain).is_empty(),
        "it is the last of its region"
    );
    assert_eq!(world.join("paris"), Route::Wait, "it takes nobody new");
    world.pass(6);
    assert_eq!(world.heard(What::Launch).len(), 2);
    assert_eq!(
        world.heard(What::Drain)[0].reason,
        "the operator wants it empty, and its 5 viewers have somewhere to go"
    );
    let to = Some("relay-paris-2".to_owned());
    assert_eq!(world.balancer.order(&node), Order::Drain { to });

    world.tell(Event::Override(Override::Undrain { node: node.clone() }));
    assert!(matches!(
        world.balancer.order(&node),
        Order::Activate { .. }
    ));
}

#[test]
fn what_the_operator_wants_is_wanted_of_the_next_balancer_too() {
    let (set_up, now) = (threshold_3(), Moment::ZERO);
    let paris = Region::new("paris");
    let wanted = vec![
        Override::Drain {
            node: "relay-paris-1".to_owned(),
        },
        Override::Pin {
            region: paris.clone(),
            pin: Pin {
                relays: Some(2),
                node: None,
            },
        },
        Override::Weigh {
            node: "relay-paris-2".to_owned(),
            weight: 0.5,
        },
    ];
    let mut next = Balancer::new(set_up.clone(), now);
    next.inherit(wanted.clone(), now);
    assert!(next.is_closed("relay-paris-1"), "nobody has heard it yet");
    assert_eq!(next.pin(&paris).and_then(|pin| pin.relays), Some(2));
    assert_eq!(next.overrides(&set_up), wanted);
    assert!(
        Balancer::new(set_up.clone(), now)
            .overrides(&set_up)
            .is_empty()
    );
}

#[test]
fn the_operator_pins_a_region_to_relays_or_to_a_node() {
    let mut world = World::ready(threshold_3());
    let (paris, pin) = (Region::new("paris"), |relays, node: Option<&str>| Pin {
        relays,
        node: node.map(str::to_owned),
    });
    let pin_to = |pin| {
        let region = Region::new("paris");
        Event::Override(Override::Pin { region, pin })
    };
    world.tell(pin_to(pin(Some(2), None)));
    world.pass(6);
    assert_eq!(world.heard(What::Launch).len(), 2);
    world.pass(60);
    assert!(
        world.heard(What::Drain).is_empty(),
        "nobody is there, and they stay"
    );
    world.tell(pin_to(pin(Some(1), Some("relay-paris-2"))));
    assert_eq!(
        world.balancer.route(&paris, world.now),
        relay("relay-paris-2")
    );
    world.pass(20);
    assert_eq!(world.heard(What::Drain).len(), 1);
    // Who watches on the primary is to go there too, while it is well.
    let there = |world: &World| -> Vec<(String, String)> {
        let there = world.balancer.elsewhere();
        there
            .map(|(region, node)| (region.to_string(), node))
            .collect()
    };
    let second = [("paris".to_owned(), "relay-paris-2".to_owned())];
    assert_eq!(there(&world), second);
    let report = &mut world.nodes.get_mut("relay-paris-2").unwrap().report;
    report.trouble = Some("stream live has had nothing new for 7 s".into());
    world.pass(4);
    assert_eq!(there(&world), []);
    let report = &mut world.nodes.get_mut("relay-paris-2").unwrap().report;
    report.trouble = None;
    world.pass(4);
    assert_eq!(there(&world), second);
    world.tell(pin_to(pin(None, Some("relay-paris-2"))));
    world.pass(60);
    assert_eq!(
        there(&world),
        second,
        "it stays, though nobody is there yet"
    );
    world.tell(pin_to(pin(Some(1), Some("primary"))));
    assert_eq!(there(&world), []);
    world.tell(Event::Override(Override::Unpin { region: paris }));
    world.pass(30);
    assert_eq!(world.heard(What::Drain).len(), 2);
}

#[test]
fn what_the_operator_cannot_have_is_refused() {
    let mut world = World::ready(threshold_3());
    let mut wants = |wanted| {
        let refused = world.balancer.handle(Event::Override(wanted), world.now);
        refused.unwrap_err().to_string()
    };
    let node = "primary".to_owned();
    assert!(wants(Override::Drain { node }).contains("is never drained"));
    let node = "nobody".to_owned();
    assert!(wants(Override::Undrain { node }).contains("no node is called nobody"));
    let (region, pin) = (Region::new("paris"), Pin::default());
    assert!(wants(Override::Pin { region, pin }).contains("how many `relays`"));
}

#[test]
fn a_place_that_stays_free_on_the_primary_is_given_to_a_viewer_of_the_relay() {
    let mut world = World::ready(Config {
        threshold: 10,
        ..Config::default()
    });
    world.set("primary", "paris", 10);
    world.pass(8);
    world.set("relay-paris-1", "paris", 6);
    world.pass(4);
    world.set("primary", "paris", 6);
    world.pass(6);
    let keep = |world: &World| match world.balancer.order("relay-paris-1") {
        Order::Activate { keep, .. } => keep,
        other => panic!("{other:?}"),
    };
    assert_eq!(keep(&world), None, "somebody may join and take it");
    world.pass(8);
    assert_eq!(keep(&world), Some(3), "and one place stays free");

    // They go, and count where they are going before they are seen there.
    let relay = &mut world.nodes.get_mut("relay-paris-1").unwrap().report;
    relay.moved = 3;
    world.set("relay-paris-1", "paris", 3);
    world.beat("relay-paris-1");
    assert_eq!(world.balancer.on_primary(&Region::new("paris")), 9);
    assert_eq!(keep(&world), None);
    world.set("primary", "paris", 9);
    world.pass(4);
    assert_eq!(world.balancer.on_primary(&Region::new("paris")), 9);
    assert!(world.heard(What::Drain).is_empty());
}

#[test]
fn a_manager_that_hears_nobody_marks_nobody_down() {
    let mut world = World::ready(threshold_3());
    world.set("primary", "paris", 3);
    world.pass(8);
    let all = |world: &mut World, mute| world.nodes.values_mut().for_each(|node| node.mute = mute);
    all(&mut world, true);
    world.pass(60);
    assert_eq!(world.heard(What::Doubt).len(), 1);
    let lost: Vec<_> = world.heard(What::Lost);
    assert_eq!(
        lost.len(),
        1,
        "the primary, to which joins go all the same: {lost:?}"
    );
    assert_eq!(world.join("paris"), relay("relay-paris-1"));
    all(&mut world, false);
    world.pass(10);
    assert_eq!(world.heard(What::Lost).len(), 1);
    assert_eq!(world.heard(What::Launch).len(), 1);
}

#[test]
fn what_is_written_down_decides_on_as_before() {
    let mut world = two_relays(threshold_3());
    let text = serde_json::to_string(&world.balancer).unwrap();
    let mut other: Balancer = serde_json::from_str(&text).unwrap();
    for step in 0..60 {
        world.now += STEP;
        let event = match step {
            5 => {
                let mut report = world.nodes["a"].report.clone();
                report.regions.clear();
                Event::Heartbeat(report)
            }
            _ => Event::Tick,
        };
        other.handle(event.clone(), world.now).unwrap();
        world.balancer.handle(event, world.now).unwrap();
        while let Some(action) = world.balancer.poll() {
            assert_eq!(other.poll(), Some(action));
        }
        assert_eq!(other.poll(), None);
    }
    assert_eq!(
        serde_json::to_string(&other).unwrap(),
        serde_json::to_string(&world.balancer).unwrap()
    );
}

#[derive(Clone, Debug)]
enum Deed {
    Pass(u32),
    Join(u8),
    Set(u8, u8, u32),
    Mute(u8),
    End(u8),
    Oblige(bool),
    Price(bool),
    Standby,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        4 => (1u32..15).prop_map(Deed::Pass),
        6 => (0u8..4).prop_map(Deed::Join),
        4 => (0u8..8, 0u8..4, 0u32..12).prop_map(|(node, region, n)| Deed::Set(node, region, n)),
        1 => (0u8..8).prop_map(Deed::Mute),
        1 => (0u8..8).prop_map(Deed::End),
        1 => any::<bool>().prop_map(Deed::Oblige),
        1 => any::<bool>().prop_map(Deed::Price),
        1 => Just(Deed::Standby),
    ];
    prop::collection::vec(deed, 1..80)
}

impl World {
    fn nth(&self, n: u8) -> Option<String> {
        let n = usize::from(n) % self.nodes.len().max(1);
        self.nodes.keys().nth(n).cloned()
    }

    fn act_out(&mut self, deed: Deed) {
        let region = |n: u8| format!("r{n}");
        match deed {
            Deed::Pass(seconds) => self.pass(seconds),
            Deed::Join(n) => drop(self.join(&region(n))),
            Deed::Set(node, n, viewers) => {
                if let Some(node) = self.nth(node) {
                    self.set(&node, &region(n), viewers);
                }
            }
            Deed::Mute(node) => {
                if let Some(node) = self.nth(node).filter(|node| node != "primary") {
                    let actor = self.nodes.get_mut(&node).unwrap();
                    actor.mute = !actor.mute;
                }
            }
            Deed::End(node) => {
                if let Some(node) = self.nth(node).filter(|node| node != "primary") {
                    self.end(&node);
                }
            }
            Deed::Oblige(obliging) => self.obliging = obliging,
            Deed::Price(short) => set_price(self, if short { 0.5 } else { 0.0 }),
            Deed::Standby => {
                let name = format!("standby-{}", self.steps);
                self.add(&name, Kind::Relay, State::Standby, None, false);
            }
        }
    }

    fn check(&self) {
        let count = |test: &dyn Fn(&node::Node) -> bool| {
            self.balancer
                .fleet
                .values()
                .filter(|node| test(node))
                .count()
        };
        self.balancer.fleet.check();
        let launching = count(&|node| node.standing() == Standing::Launching);
        assert!(launching <= self.config.relays, "{launching} launches");
        for region in self.balancer.regions() {
            let pending = self.balancer.pending(region, self.now);
            assert!(pending <= self.config.relays_per_region);
        }
        assert_eq!(self.balancer.order("primary"), Order::Continue);
        let about_primary = self
            .said
            .iter()
            .filter(|action| action.node.as_deref() == Some("primary"));
        for action in about_primary {
            assert!(
                matches!(action.what, What::Adopt | What::Lost),
                "{action:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_happens_limits_hold_and_every_launch_comes_to_something(deeds in deeds()) {
        let config = Config { relays: 3, relays_per_region: 2, relay_viewers: Some(4), ..threshold_3() };
        let mut world = World::ready(config);
        for deed in deeds {
            world.act_out(deed);
            world.check();
        }
        let asked: Vec<_> = world.heard(What::Launch).iter().filter_map(|action| action.node.clone()).collect();
        world.pass(40);
        for name in asked {
            let standing = world.balancer.standings().find(|(node, ..)| *node == name);
            let open = standing.is_some_and(|(_, _, standing)| standing == Standing::Launching)
                && !world.heard(What::Failed).iter().any(|action| action.node.as_ref() == Some(&name));
            prop_assert!(!open, "{name} is neither up nor given up");
        }
    }
}
