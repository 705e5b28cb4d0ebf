//! The node's egress, shared: every half second the demand of all viewers goes to the allocator,
//! and its ceilings hold until the next time. Where the budget is to be learnt, it is looked at here what
//! there is to learn from, twice as often.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use adaptation::{Allocation, Allocator, Class, Saturation};
use arc_swap::ArcSwap;
use playlists::Bitrate;
use tokio_util::sync::CancellationToken;

use super::{Terms, strain::Lookout, viewers::Viewers};
use crate::store::{Store, StreamName};

/// What holds for the node's viewers now.
#[derive(Debug, Default)]
pub struct Share {
    allocation: Allocation,
    /// Where in the allocation each stream's viewers begin, one class after another.
    classes: BTreeMap<StreamName, usize>,
    /// Octets acknowledged by viewers, as a rate over the last seconds.
    pub egress: Bitrate,
    /// When a budget was last shared out; `None` if there is none.
    pub at: Option<Instant>,
    /// How many viewers there were then, and what they took if each had the cheapest rung.
    pub counted: usize,
    pub floor: Bitrate,
    /// The budget, given or learnt; `None` if there is none.
    pub budget: Option<Bitrate>,
    /// What of the budget is handed out; `None` until it was first shared, or if there is none.
    pub room: Option<Bitrate>,
    /// As of some seconds ago, to tell who has joined and not come yet.
    pub before: Arrivals,
}

/// Of viewers, ever.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrivals {
    pub joins: u64,
    pub arrivals: u64,
}

impl Share {
    /// The highest rung that the budget allows this viewer, whose class has this place among the weights.
    pub fn ceiling(&self, stream: &str, place: u8, viewer: u64) -> usize {
        self.classes.get(stream).map_or(usize::MAX, |first| {
            self.allocation.ceiling(first + usize::from(place), viewer)
        })
    }

    /// Not even the cheapest rung for everybody fits.
    pub fn is_overloaded(&self) -> bool {
        self.allocation.overload
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
    terms: &Terms,
    share: Arc<ArcSwap<Share>>,
    stop: CancellationToken,
) {
    let mut allocator = Allocator::new(terms.budget);
    let mut learnt = terms.budget_learnt.then(Learnt::new);
    let started = Instant::now();
    let (mut meter, mut overloaded) = (Rate::default(), false);
    let (mut past, mut doors) = (Past::default(), Doors::default());
    let mut tick = tokio::time::interval(if learnt.is_some() { TICK / 2 } else { TICK });
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
        if let Some(learnt) = &mut learnt {
            allocator.budget = learnt.look(&viewers, now);
        }
        let at = allocator.budget.map(|_| now);
        doors.look(&viewers, now);
        let next = Share {
            at,
            budget: allocator.budget,
            room: allocator.budget.map(|budget| budget.scale(allocator.eta)),
            before: past.push(viewers.tally(), now),
            ..share_out((&store, &viewers, terms), &mut allocator, turn, egress)
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
    (store, viewers, terms): (&Store, &Viewers, &Terms),
    allocator: &mut Allocator,
    turn: u64,
    egress: Bitrate,
) -> Share {
    let streams = store.streams();
    let now = streams
        .into_iter()
        .filter_map(|(name, stream)| Some((name, stream.now()?)));
    let (mut rates, mut worth) = (BTreeMap::new(), BTreeMap::new());
    for (name, window) in now {
        worth.insert(name.clone(), window.format().ladder.worth());
        rates.insert(name, window.rates());
    }
    let counted = viewers.count();
    let watching = viewers.census().streams;
    let floor = rates.iter().map(|(name, rates)| {
        let viewers = watching.get(name.as_str()).copied().unwrap_or(0);
        let cheapest = rates.first().map_or(0, |rate| rate.bps());
        cheapest.saturating_mul(viewers.into())
    });
    let floor = Bitrate::from_bps(floor.sum());
    // Where there is enough for everybody nobody has to be asked.
    let mut demand = match allocator.budget {
        Some(_) => viewers.demand(&rates, terms.weights.places()),
        None => BTreeMap::new(),
    };
    let (mut classes, mut places) = (Vec::new(), BTreeMap::new());
    for (name, rates) in rates {
        let mut demand = demand.remove(&name).unwrap_or_default().into_iter();
        let worth = worth.remove(&name).unwrap_or_default();
        let first = classes.len();
        classes.extend(terms.weights.of(&name).map(|weight| Class {
            rates: rates.clone(),
            worth: worth.clone(),
            weight,
            viewers: demand.next().unwrap_or_default(),
        }));
        places.insert(name, first);
    }
    Share {
        allocation: allocator.allocate(&classes, turn),
        classes: places,
        egress,
        counted,
        floor,
        ..Share::default()
    }
}

/// A budget that is learnt, and what it is learnt from.
#[derive(Debug)]
struct Learnt {
    saturation: Saturation,
    lookout: Option<Lookout>,
}

impl Learnt {
    fn new() -> Self {
        Self {
            saturation: Saturation::new(),
            lookout: None,
        }
    }

    fn look(&mut self, viewers: &Viewers, now: Instant) -> Option<Bitrate> {
        let served = viewers.egress.load(Relaxed);
        let Some(lookout) = &mut self.lookout else {
            self.lookout = Some(Lookout::new(served, now));
            return None;
        };
        let (sight, before) = (
            lookout.look(&viewers.strain, served, now),
            self.saturation.budget(),
        );
        let budget = self.saturation.see(sight, now);
        match (before, budget) {
            (None, Some(budget)) => {
                tracing::warn!(%budget, ?sight, "what this node sends is all that its link carries; that is shared out now");
            }
            (Some(before), None) => {
                tracing::info!(%before, ?sight, "sharing out less did not help; it is not this node's link");
            }
            _ => tracing::trace!(?sight, ?budget, "egress looked at"),
        }
        budget
    }
}

/// Joins and arrivals of the last seconds.
#[derive(Debug, Default)]
struct Past(VecDeque<(Instant, Arrivals)>);

impl Past {
    /// Notes those until now; returns those of [`EXPECTED`] ago.
    fn push(&mut self, tally: Arrivals, now: Instant) -> Arrivals {
        self.0.push_back((now, tally));
        let old = |(at, _): &(Instant, Arrivals)| now.duration_since(*at) >= EXPECTED;
        while self.0.get(1).is_some_and(old) {
            self.0.pop_front();
        }
        self.0[0].1
    }
}

/// Says when joins begin to be turned away, and when that ends.
#[derive(Debug, Default)]
struct Doors {
    turned_away: u64,
    shut: Option<Instant>,
}

impl Doors {
    fn look(&mut self, viewers: &Viewers, now: Instant) {
        let (refused, sent_on) = viewers.turned();
        let turned_away = refused + sent_on;
        if turned_away > self.turned_away {
            if self.shut.is_none() {
                tracing::warn!(
                    viewers = viewers.count(),
                    refused,
                    sent_on,
                    "this node is full; joins are turned away"
                );
            }
            self.shut = Some(now);
        } else if self
            .shut
            .is_some_and(|last| now.duration_since(last) >= EXPECTED)
        {
            self.shut = None;
            tracing::info!(
                viewers = viewers.count(),
                refused,
                sent_on,
                "nobody is turned away any more"
            );
        }
        self.turned_away = turned_away;
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

/// Whoever has joined and not taken a segment after so long is not expected any more.
const EXPECTED: Duration = Duration::from_secs(10);

/// How long a viewer keeps a rung that not all can have before it is another's turn.
const TURN: Duration = Duration::from_secs(60);
