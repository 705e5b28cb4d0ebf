//! Who watches one stream at this node, and who comes from one region: the table of seats, and sums
//! that are kept as viewers come and go, so that nobody has to be counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64},
    },
    time::Instant,
};

use dashmap::{DashMap, Entry};

use super::{
    ledger::{Ledger, Line, Written},
    seated::Seated,
};
use crate::store::StreamName;

/// One stream's viewers.
#[derive(Debug)]
pub(super) struct Room {
    pub stream: StreamName,
    seats: DashMap<u64, Arc<Seated>>,
    ledger: Ledger,
    pub watching: AtomicU32,
    pub moved: AtomicU32,
    /// How often each rung was chosen here, cheapest first; the last is of all above.
    pub decided: [AtomicU64; RUNGS],
}

/// More than any ladder has.
pub(super) const RUNGS: usize = 16;

/// A region's viewers, over all streams.
#[derive(Debug)]
pub(super) struct Crowd {
    pub name: adaptation::region::Region,
    pub viewers: AtomicU32,
    /// Ever seated.
    pub arrivals: AtomicU64,
}

/// What came of the wish for a seat.
pub(super) enum Seating {
    /// It had one.
    Found(Arc<Seated>),
    New(Arc<Seated>),
    /// The stream has gone from the node, and the room with it.
    Closed,
}

impl Room {
    pub(super) fn new(stream: StreamName) -> Self {
        Self {
            stream,
            seats: DashMap::new(),
            ledger: Ledger::default(),
            watching: AtomicU32::new(0),
            moved: AtomicU32::new(0),
            decided: Default::default(),
        }
    }

    /// The viewer `key`, which is seen with that: who looks one up has it for as long as a silence may last.
    pub(super) fn find(&self, key: u64, now: Instant) -> Option<Arc<Seated>> {
        let seated = self.seats.get(&key)?;
        seated.touch(now);
        Some(seated.clone())
    }

    /// Notes a sign of life of the viewer `key`, if it has a seat.
    pub(super) fn touch(&self, key: u64, now: Instant) {
        if let Some(seated) = self.seats.get(&key) {
            seated.touch(now);
        }
    }

    /// The viewer `key`, without being seen.
    pub(super) fn look(&self, key: u64) -> Option<Arc<Seated>> {
        self.seats.get(&key).map(|seated| seated.clone())
    }

    /// A seat for the viewer `key`, whose class has this place among the weights.
    pub(super) fn seat(
        &self,
        (key, place): (u64, u8),
        seated: impl FnOnce(Line) -> Seated,
        now: Instant,
    ) -> Seating {
        match self.seats.entry(key) {
            Entry::Occupied(found) => {
                found.get().touch(now);
                Seating::Found(found.get().clone())
            }
            Entry::Vacant(vacant) => match self.ledger.open(key, place) {
                Some(line) => Seating::New(vacant.insert(Arc::new(seated(line))).clone()),
                None => Seating::Closed,
            },
        }
    }

    /// Takes a viewer's seat away, unless it was seen just now.
    pub(super) fn unseat(&self, seated: &Seated, now: Instant) -> bool {
        let silent = |_: &u64, seated: &Arc<Seated>| seated.stays_until(now).is_none();
        let gone = self.seats.remove_if(&seated.id.key, silent).is_some();
        if gone {
            seated.leave();
            self.ledger.give_back(&seated.line);
        }
        gone
    }

    /// Closes an empty room for good.
    pub(super) fn close(&self) -> bool {
        self.ledger.close()
    }

    /// Everybody in a lasting order, from the place `first` on.
    pub(super) fn lines(&self, first: u32) -> impl Iterator<Item = Written> + use<> {
        self.ledger.lines(first)
    }
}

impl Crowd {
    pub(super) fn new(name: adaptation::region::Region) -> Self {
        Self {
            name,
            viewers: AtomicU32::new(0),
            arrivals: AtomicU64::new(0),
        }
    }
}
