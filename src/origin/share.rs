//! The node's egress, shared: every half second the demand of all viewers goes to the allocator,
//! and its ceilings hold until the next time.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use adaptation::{Allocation, Allocator, Class};
use arc_swap::ArcSwap;
use playlists::Bitrate;
use tokio_util::sync::CancellationToken;

use super::viewers::Viewers;
use crate::store::{Store, StreamName};

/// What holds for the node's viewers now.
#[derive(Debug, Default)]
pub struct Share {
    allocation: Allocation,
    /// Where each stream stands in the allocation.
    classes: BTreeMap<StreamName, usize>,
    /// Octets acknowledged by viewers, as a rate over the last seconds.
    pub egress: Bitrate,
    /// When a budget was last shared out; `None` if there is none.
    pub at: Option<Instant>,
}

impl Share {
    /// The highest rung that the budget allows this viewer.
    pub fn ceiling(&self, stream: &str, viewer: u64) -> usize {
        self.classes
            .get(stream)
            .map_or(usize::MAX, |class| self.allocation.ceiling(*class, viewer))
    }

    /// Utility per Mbit/s that one more bit would buy; 0 when nobody is held down.
    pub fn price(&self) -> f64 {
        self.allocation.price
    }
}

/// Shares out the egress until `stop`; also where the silent are forgotten.
pub async fn run(
    store: Store,
    viewers: Arc<Viewers>,
    mut allocator: Allocator,
    share: Arc<ArcSwap<Share>>,
    stop: CancellationToken,
) {
    let started = Instant::now();
    let (mut meter, mut overloaded) = (Rate::default(), false);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        let now = Instant::now();
        viewers.expire(now);
        viewers.forget(|stream| store.stream(stream).is_some());
        let egress = meter.push(viewers.egress.load(Relaxed), now);
        let turn = now.duration_since(started).as_secs() / TURN.as_secs();
        let at = allocator.budget.map(|_| now);
        let next = Share {
            at,
            ..share_out(&store, &viewers, &mut allocator, turn, egress)
        };
        if next.allocation.overload != overloaded {
            overloaded = next.allocation.overload;
            let (viewers, budget) = (viewers.count(), allocator.budget);
            if overloaded {
                tracing::warn!(
                    viewers,
                    ?budget,
                    "even the cheapest rung for everybody is above the egress budget"
                );
            } else {
                tracing::info!(viewers, ?budget, "the egress budget suffices again");
            }
        }
        share.store(Arc::new(next));
    }
}

fn share_out(
    store: &Store,
    viewers: &Viewers,
    allocator: &mut Allocator,
    turn: u64,
    egress: Bitrate,
) -> Share {
    let streams = store.streams();
    let rates: BTreeMap<_, _> = streams
        .into_iter()
        .filter_map(|(name, stream)| Some((name, stream.now()?.rates())))
        .collect();
    // Where there is enough for everybody nobody has to be asked.
    let mut demand = match allocator.budget {
        Some(_) => viewers.demand(&rates),
        None => BTreeMap::new(),
    };
    let (mut classes, mut places) = (Vec::new(), BTreeMap::new());
    for (name, rates) in rates {
        let viewers = demand.remove(&name).unwrap_or_default();
        places.insert(name, classes.len());
        classes.push(Class {
            rates,
            weight: 1.0,
            viewers,
        });
    }
    Share {
        allocation: allocator.allocate(&classes, turn),
        classes: places,
        egress,
        at: None,
    }
}

/// A counter's rate over the last [`Rate::SPAN`].
#[derive(Debug, Default)]
struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    const SPAN: Duration = Duration::from_secs(5);

    fn push(&mut self, octets: u64, now: Instant) -> Bitrate {
        self.0.push_back((now, octets));
        while self.0.len() > 2
            && self
                .0
                .get(1)
                .is_some_and(|(at, _)| now.duration_since(*at) >= Self::SPAN)
        {
            self.0.pop_front();
        }
        let (since, before) = self.0[0];
        match now.duration_since(since) {
            Duration::ZERO => Bitrate::ZERO,
            span => Bitrate::of(octets - before, span),
        }
    }
}

const TICK: Duration = Duration::from_millis(500);

/// How long a viewer keeps a rung that not all can have before it is another's turn.
const TURN: Duration = Duration::from_secs(60);
