//! Stories of many viewers behind one node's egress, in virtual time: rule, viewers and allocator in
//! one loop. The egress is shared evenly among those who are fetching.

use std::time::{Duration, Instant};

use adaptation::{Allocation, Allocator, Class, Delivery, Demand, Limits, Mpc, Offer, Viewer};
use playlists::{Bitrate, MediaTime};

const LADDER: [u64; 4] = [350, 700, 1300, 2200];
const LENGTH: f64 = 2.0;
const STEP: f64 = 0.01;
const RTT: f64 = 0.02;

#[test]
fn a_full_node_is_used_shared_and_stalls_nobody() {
    for count in [2, 3, 7, 30, 100] {
        let mut node = Node::new(count, 1500 * count);
        node.run(60.0);
        node.forget();
        node.run(240.0);
        let told = node.told();
        assert_eq!(told.stalls, 0, "{count}: {told:?}");
        // Of two, each goes without the step that only one could have; but not of thirty.
        assert!(
            told.utilization >= if count < 10 { 0.85 } else { 0.94 },
            "{count}: {told:?}"
        );
        assert!(told.jain >= 0.95, "{count}: {told:?}");
        assert!(told.switches_a_minute <= 0.5, "{count}: {told:?}");
    }
}

#[test]
fn half_the_egress_is_lost_without_a_stall() {
    for count in [3, 30, 100] {
        let mut node = Node::new(count, 2300 * count);
        node.run(60.0);
        node.forget();
        node.resize(1150 * count);
        node.run(60.0);
        let told = node.told();
        assert_eq!(told.stalls, 0, "{count}: {told:?}");
        assert!(told.utilization >= 0.9, "{count}: {told:?}");
        assert!(told.switches_a_minute <= 2.0, "{count}: {told:?}");
    }
}

#[test]
fn what_slow_paths_leave_goes_to_the_others() {
    let mut node = Node::new(30, 1200 * 30);
    node.players
        .iter_mut()
        .step_by(2)
        .for_each(|player| player.path = 900.0);
    node.run(60.0);
    node.forget();
    node.run(120.0);
    let told = node.told();
    assert_eq!(told.stalls, 0, "{told:?}");
    assert!(told.utilization >= 0.9, "{told:?}");
    let least =
        |players: &mut dyn Iterator<Item = &Player>| players.map(|player| player.octets).min();
    let slow = node
        .players
        .iter()
        .step_by(2)
        .map(|player| player.octets)
        .max();
    assert!(
        slow < least(&mut node.players.iter().skip(1).step_by(2)),
        "{told:?}"
    );
}

/// Virtual time.
fn at(seconds: f64) -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now) + Duration::from_secs_f64(seconds)
}

#[derive(Debug)]
struct Told {
    stalls: usize,
    /// Carried against what the egress could have.
    utilization: f64,
    /// Of the viewers' mean rates; 1 is perfectly even (Jain, Chiu & Hawe 1984).
    jain: f64,
    /// Per viewer.
    switches_a_minute: f64,
}

struct Node {
    allocator: Allocator,
    allocation: Allocation,
    players: Vec<Player>,
    /// In kbit/s.
    egress: u32,
    now: f64,
    since: f64,
    carried: f64,
    could: f64,
}

struct Player {
    viewer: Viewer,
    key: u64,
    /// What its own path carries, in kbit/s.
    path: f64,
    /// How long after its listing a segment is asked for.
    late: f64,
    number: u64,
    fetch: Option<Fetch>,
    level: f64,
    playing: bool,
    stalled: bool,
    stalls: usize,
    switches: u32,
    octets: u64,
}

struct Fetch {
    began: f64,
    octets: u64,
    left: f64,
}

impl Node {
    fn new(count: u32, egress: u32) -> Self {
        let player = |key| Player {
            viewer: Viewer::new(None, at(0.0)),
            key,
            path: 20_000.0,
            late: f64::from(key as u32 * 37 % 100) / 100.0,
            number: 0,
            fetch: None,
            level: 0.0,
            playing: false,
            stalled: false,
            stalls: 0,
            switches: 0,
            octets: 0,
        };
        Self {
            allocator: Allocator::new(Some(Bitrate::from_kbps(egress.into()))),
            allocation: Allocation::default(),
            egress,
            players: (0..u64::from(count)).map(player).collect(),
            now: 4.0 * LENGTH,
            since: 0.0,
            carried: 0.0,
            could: 0.0,
        }
    }

    /// The allocator ticks every half second.
    fn run(&mut self, seconds: f64) {
        for step in 0..(seconds / STEP) as u64 {
            if step % 50 == 0 {
                self.tick();
            }
            self.step();
        }
    }

    fn resize(&mut self, egress: u32) {
        self.egress = egress;
        self.allocator.budget = Some(Bitrate::from_kbps(egress.into()));
    }

    fn tick(&mut self) {
        let rates = LADDER.map(Bitrate::from_kbps).to_vec();
        let demand = |player: &Player| Demand {
            key: player.key,
            cap: player.viewer.own_cap(&rates),
        };
        let viewers = self.players.iter().map(demand).collect();
        let turn = (self.now / 60.0) as u64;
        self.allocation = self.allocator.allocate(
            &[Class {
                rates: rates.clone(),
                weight: 1.0,
                viewers,
            }],
            turn,
        );
    }

    fn step(&mut self) {
        self.now += STEP;
        let bits = f64::from(self.egress) * 1000.0 * STEP;
        self.could += bits;
        let (now, allocation) = (self.now, &self.allocation);
        self.players
            .iter_mut()
            .for_each(|player| player.ask(now, allocation));
        let share = self.share(bits);
        for player in &mut self.players {
            self.carried += player.receive(now, share);
        }
    }

    /// What each may take who fetches: evenly, and what slow paths leave goes to the others.
    fn share(&self, bits: f64) -> f64 {
        let busy = self.players.iter().filter(|player| player.fetch.is_some());
        let mut paths: Vec<f64> = busy.map(|player| player.path * 1000.0 * STEP).collect();
        paths.sort_by(f64::total_cmp);
        let (mut left, mut count) = (bits, paths.len());
        for path in paths {
            if path * count as f64 >= left {
                return left / count as f64;
            }
            (left, count) = (left - path, count - 1);
        }
        f64::INFINITY
    }

    /// Begins the account anew.
    fn forget(&mut self) {
        (self.since, self.carried, self.could) = (self.now, 0.0, 0.0);
        for player in &mut self.players {
            (player.stalls, player.octets, player.switches) = (0, 0, player.viewer.switches());
        }
    }

    fn told(&self) -> Told {
        let count = self.players.len() as f64;
        let minutes = (self.now - self.since) / 60.0;
        let rates: Vec<f64> = self
            .players
            .iter()
            .map(|player| player.octets as f64)
            .collect();
        let sum: f64 = rates.iter().sum();
        let switches: u32 = self
            .players
            .iter()
            .map(|player| player.viewer.switches() - player.switches)
            .sum();
        Told {
            stalls: self.players.iter().map(|player| player.stalls).sum(),
            utilization: self.carried / self.could,
            jain: sum * sum / (count * rates.iter().map(|rate| rate * rate).sum::<f64>()),
            switches_a_minute: f64::from(switches) / count / minutes,
        }
    }
}

impl Player {
    fn ask(&mut self, now: f64, allocation: &Allocation) {
        self.number = self.number.max(1);
        let listed = (self.number + 1) as f64 * LENGTH + self.late;
        if self.fetch.is_some() || now < listed {
            return;
        }
        let duration = MediaTime::from_seconds(LENGTH);
        let sizes = LADDER.map(|kbps| Bitrate::from_kbps(kbps).octets_in(duration.duration()));
        let offer = Offer::new(self.number, &sizes, duration);
        let limits = Limits {
            ceiling: allocation.ceiling(0, self.key),
            price: allocation.price as f32,
        };
        let rule = Mpc::default();
        let pin = self.viewer.decide(&offer, limits, None, &rule, at(now)).pin;
        let octets = sizes[pin.rung];
        self.fetch = Some(Fetch {
            began: now,
            octets,
            left: octets as f64 * 8.0,
        });
    }

    /// Plays for a step and takes up to `bits`; returns what it took.
    fn receive(&mut self, now: f64, bits: f64) -> f64 {
        if self.playing {
            self.level -= STEP;
            let dry = self.level <= 0.0;
            self.stalls += usize::from(dry && !self.stalled);
            (self.stalled, self.level) = (dry, self.level.max(0.0));
        }
        let Some(fetch) = &mut self.fetch else {
            return 0.0;
        };
        let took = bits.min(self.path * 1000.0 * STEP).min(fetch.left);
        fetch.left -= took;
        if fetch.left <= 0.0 {
            let delivery = Delivery {
                number: self.number,
                octets: fetch.octets,
                media: MediaTime::from_seconds(LENGTH),
                elapsed: Duration::from_secs_f64(now - fetch.began + STEP + RTT),
                min_rtt: Duration::from_secs_f64(RTT),
                capacity: None,
                receiver_limited: 0.0,
                complete: true,
            };
            self.viewer.delivered(&delivery, at(now));
            self.octets += fetch.octets;
            self.level += LENGTH;
            self.playing |= self.level >= 2.9 * LENGTH;
            self.number += 1;
            self.fetch = None;
        }
        took
    }
}
