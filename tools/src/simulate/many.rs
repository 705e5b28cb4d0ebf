//! Many viewers on one bottleneck: each for itself, or under the allocator as the origin drives it.

use std::{sync::Arc, time::Instant};

use adaptation::{Allocator, Class, Demand, Limits};
use playlists::Bitrate;
use serde::Serialize;

use super::{
    contender::Contender,
    link::{Connection, Link},
    mind::Mind,
    origin::Tells,
    random::Random,
    stream::Stream,
    trace::Trace,
    viewer::{Habits, Viewer},
    world::World,
};

/// What a crowd has in common.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    pub viewers: usize,
    /// Of the same kind; each is watched by as many.
    pub streams: usize,
    /// Seconds that are measured, after [`WARM_UP`].
    pub seconds: f64,
    /// What all take at the dearest rung, against what the bottleneck carries.
    pub load: f64,
    /// Half of the bottleneck is lost when measuring begins; the budget with it.
    pub halved: bool,
    /// The node's egress budget is shared out.
    pub allocated: bool,
    /// What the bottleneck carries, against the budget.
    pub headroom: f64,
    /// What each viewer's own path carries at least and at most, in bit/s.
    pub paths: (f64, f64),
    pub habits: Habits,
    pub rtt: f64,
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Told {
    /// Mbit/s of each.
    pub bitrate: f64,
    /// Of the viewers' mean utilities, 1 is perfectly even (Jain, Chiu & Hawe 1984).
    pub jain: f64,
    /// Carried, of what could be carried and was wanted.
    pub utilization: f64,
    /// Changes of the rate against the rate, over 20 s, later ones counting more (Jiang, Sekar & Zhang 2012).
    pub instability: f64,
    /// Of each viewer.
    pub switches_a_minute: f64,
    pub stalls: u32,
    /// Of all viewers.
    pub stalls_an_hour: f64,
    /// Per cent.
    pub stalled: f64,
}

/// Where each viewer's account began.
#[derive(Clone, Copy, Default)]
struct Account {
    taken: usize,
    stalls: u32,
    stalled: f64,
}

impl Crowd {
    /// All of them with `contender`.
    pub fn watch(&self, stream: &Stream, contender: &Contender) -> anyhow::Result<Told> {
        let wanted = stream.rates[stream.top()] * self.viewers as f64;
        let egress = wanted / self.load;
        let began = BEGINNING * stream.duration;
        let link = Link::new(&Arc::new(Trace::steady(egress)?), 0.0, began);
        let count = self.streams.max(1);
        let streams: Vec<Stream> = (0..count).map(|nth| stream.beside(nth, count)).collect();
        let mut world = World::new(&streams, link, self.players(&streams, contender, began));
        let mut node = Node::new(self.allocated, egress / self.headroom);
        node.run(&mut world, began, began + WARM_UP);
        let accounts: Vec<Account> = world.viewers.iter().map(Account::of).collect();
        let mut capacity = egress;
        if self.halved {
            capacity = egress / 2.0;
            world.link.replace(&Arc::new(Trace::steady(capacity)?));
            node.resize(capacity / self.headroom);
        }
        let (carried, since) = (world.link.carried, began + WARM_UP);
        node.run(&mut world, since, since + self.seconds);
        let carried = world.link.carried - carried;
        let could = capacity.min(wanted) * self.seconds;
        Ok(self.tell(stream, &world, &accounts, carried / could))
    }

    fn players(&self, streams: &[Stream], contender: &Contender, began: f64) -> Vec<Viewer> {
        let mut random = Random::new(self.seed, self.viewers as u64);
        let epoch = Instant::now();
        let player = |id| {
            let joined = began + JOINING * random.unit();
            let (least, most) = self.paths;
            let path = least * (random.unit() * (most / least).ln()).exp();
            let connection = Connection::new(self.rtt * (0.5 + random.unit()), path, false);
            let nth = id as usize % streams.len();
            let mind = contender.blind(Tells::default(), &streams[nth], joined, epoch);
            let habits = self.habits;
            let mut viewer = Viewer::new(id, mind, connection, habits, &streams[nth], joined);
            viewer.stream = nth;
            viewer
        };
        (0..self.viewers as u64).map(player).collect()
    }

    fn tell(
        &self,
        stream: &Stream,
        world: &World<'_>,
        accounts: &[Account],
        utilization: f64,
    ) -> Told {
        let rates: Vec<Vec<f64>> = world
            .viewers
            .iter()
            .zip(accounts)
            .map(|(viewer, account)| {
                let taken = viewer.taken.iter().skip(account.taken);
                taken.map(|taken| stream.rates[taken.rung] / 1e6).collect()
            })
            .collect();
        let each = |of: &dyn Fn(&[f64]) -> f64| -> Vec<f64> {
            rates.iter().map(|rates| of(rates)).collect()
        };
        let utility = each(&|rates| {
            mean(
                rates
                    .iter()
                    .map(|mbps| (mbps / (stream.rates[0] / 1e6)).ln()),
            )
        });
        let changes =
            |rates: &[f64]| rates.windows(2).filter(|pair| pair[0] != pair[1]).count() as f64;
        let stalls: u32 = world
            .viewers
            .iter()
            .zip(accounts)
            .map(|(viewer, account)| viewer.playback.stalls - account.stalls)
            .sum();
        let stalled: f64 = world
            .viewers
            .iter()
            .zip(accounts)
            .map(|(viewer, account)| viewer.playback.stalled - account.stalled)
            .sum();
        let watched = self.viewers as f64 * self.seconds;
        Told {
            bitrate: mean(each(&|rates| mean(rates.iter().copied())).into_iter()),
            jain: jain(&utility),
            utilization,
            instability: mean(each(&|rates| instability(rates, stream.duration)).into_iter()),
            switches_a_minute: each(&changes).iter().sum::<f64>() * 60.0 / watched,
            stalls,
            stalls_an_hour: f64::from(stalls) * 3600.0 / watched,
            stalled: 100.0 * stalled / watched,
        }
    }
}

impl Account {
    fn of(viewer: &Viewer) -> Self {
        Self {
            taken: viewer.taken.len(),
            stalls: viewer.playback.stalls,
            stalled: viewer.playback.stalled,
        }
    }
}

/// The origin's sharing, as its `share` module does it: every half second, with a turn of a minute.
struct Node {
    allocator: Option<Allocator>,
}

impl Node {
    fn new(allocated: bool, egress: f64) -> Self {
        let budget = Bitrate::from_bps(egress as u64);
        Self {
            allocator: allocated.then(|| Allocator::new(Some(budget))),
        }
    }

    fn resize(&mut self, egress: f64) {
        if let Some(allocator) = &mut self.allocator {
            allocator.budget = Some(Bitrate::from_bps(egress as u64));
        }
    }

    fn run(&mut self, world: &mut World<'_>, from: f64, to: f64) {
        let mut now = from;
        while now < to {
            self.share(world, now);
            now = (now + TICK).min(to);
            world.run(now);
        }
    }

    fn share(&mut self, world: &mut World<'_>, now: f64) {
        let Some(allocator) = &mut self.allocator else {
            return;
        };
        let class = |stream: &Stream| Class {
            rates: stream.bitrates(),
            worth: Vec::new(),
            weight: 1.0,
            viewers: Vec::new(),
        };
        let mut classes: Vec<Class> = world.streams.iter().map(class).collect();
        for viewer in world
            .viewers
            .iter_mut()
            .filter(|viewer| viewer.joined <= now)
        {
            if let Mind::Origin(origin) = &mut viewer.mind {
                origin.hear(now);
                let class = &mut classes[viewer.stream];
                class.viewers.push(Demand {
                    key: viewer.id,
                    cap: origin.viewer.own_cap(&class.rates),
                });
            }
        }
        let allocation = allocator.allocate(&classes, (now / TURN) as u64);
        for viewer in &mut world.viewers {
            let ceiling = allocation.ceiling(viewer.stream, viewer.id);
            if let Mind::Origin(origin) = &mut viewer.mind {
                origin.limits = Limits {
                    ceiling,
                    price: allocation.price as f32,
                    ..Limits::NONE
                };
            }
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}

/// 1 where all have the same, 1/n where one has it all.
pub fn jain(values: &[f64]) -> f64 {
    let (sum, squares) = values.iter().fold((0.0, 0.0), |(sum, squares), value| {
        (sum + value, squares + value * value)
    });
    if squares > 0.0 {
        sum * sum / (values.len() as f64 * squares)
    } else {
        1.0
    }
}

/// FESTIVE's, the mean over time.
fn instability(rates: &[f64], duration: f64) -> f64 {
    let span = (20.0 / duration) as usize;
    let windows = rates.windows(span + 1).map(|window| {
        let (mut changes, mut sum) = (0.0, 0.0);
        for (weight, pair) in window.windows(2).enumerate() {
            changes += (pair[1] - pair[0]).abs() * (weight + 1) as f64;
            sum += pair[1] * (weight + 1) as f64;
        }
        changes / sum
    });
    mean(windows)
}

/// Seconds until all have settled.
pub const WARM_UP: f64 = 60.0;

/// All have joined after so many seconds.
const JOINING: f64 = 20.0;

/// Segments that are there when the first viewer joins.
const BEGINNING: f64 = 20.0;

/// The origin's, in seconds.
const TICK: f64 = 0.5;
const TURN: f64 = 60.0;
