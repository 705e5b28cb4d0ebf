//! The viewers of this node: who has a seat, who is looked up by whom, who has gone.
//!
//! A viewer exists from its first segment on, not from its first playlist, so that whoever only
//! looks costs nothing and counts for nothing; it is gone after three target durations of silence.
//! A viewer is its key: on however many connections it comes, it is one. What is kept of each is
//! `seated`'s, where it is kept `room`'s; what rung a viewer gets is `adaptation`'s business.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use adaptation::{Demand, Level, Pin, Reason, region::Region};
use arc_swap::ArcSwap;
use playlists::{Bitrate, Timeline};

use super::{
    arms::ArmReport,
    explain::{Explained, Places},
    meter::{Meter, Progress},
    room::{Crowd, RUNGS, Room, Seating},
    rounds::Rounds,
    seat::Seat,
    seated::Seated,
    share::Arrivals,
    strain::Strain,
    visits::Leavers,
    wheel::Wheel,
};
pub use super::{
    asking::Ask,
    explain::{EXPLAINED, Rules},
    shown::{Known, ViewerReport},
};
use crate::{control::RegionLoad, store::StreamName};

/// Every viewer of the node.
#[derive(Debug)]
pub struct Viewers {
    /// By stream; looking one up takes no lock.
    rooms: ArcSwap<BTreeMap<StreamName, Arc<Room>>>,
    /// By name; at most [`REGIONS`], and the one for all others.
    regions: Mutex<BTreeMap<Region, Arc<Crowd>>>,
    /// Everybody, at the time when it will have been silent for too long, as was known when it was
    /// looked at last.
    silences: Mutex<Wheel<Arc<Seated>>>,
    /// What is on its way to them.
    pub(super) rounds: Rounds,
    /// How many seats are taken. Beyond `most`, who asks for media gets the cheapest rung and none.
    taken: AtomicUsize,
    most: usize,
    /// Ever seated; ever let in by a join; and of joins, how many were refused and sent on.
    arrivals: AtomicU64,
    joins: AtomicU64,
    refused: AtomicU64,
    sent_on: AtomicU64,
    pub rules: Rules,
    places: Places,
    /// Octets that viewers have acknowledged; and of those, what nobody with a seat has.
    pub egress: AtomicU64,
    pub(super) seatless: AtomicU64,
    pub(super) leavers: Leavers,
    pub strain: Strain,
    /// Held by who decides whether one more viewer is sent away.
    giving: Mutex<()>,
}

impl Viewers {
    pub fn new(rules: impl Into<Rules>, most: usize) -> Self {
        let rules = rules.into();
        Self {
            places: Places::new(rules.explained),
            rules,
            rooms: ArcSwap::default(),
            regions: Mutex::default(),
            silences: Mutex::new(Wheel::new(LOOK_EVERY, Instant::now())),
            rounds: Rounds::default(),
            taken: AtomicUsize::new(0),
            most,
            arrivals: AtomicU64::new(0),
            joins: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            sent_on: AtomicU64::new(0),
            egress: AtomicU64::new(0),
            seatless: AtomicU64::new(0),
            leavers: Leavers::default(),
            strain: Strain::default(),
            giving: Mutex::default(),
        }
    }

    /// The rung of a segment for a viewer, who takes a seat with the first.
    pub fn decide(&self, seat: &Seat, ask: &Ask<'_>, now: Instant) -> (Pin, Known) {
        let known = self.find(seat, now);
        match known.or_else(|| self.seat(seat, &Newcomer::of(ask), now)) {
            Some(seated) => seated.decide(ask, &self.rules, now),
            None => (NO_SEAT, Known::default()),
        }
    }

    /// What a viewer is to be told of the `segments` that its playlist lists, oldest first, by number and
    /// whether the stream breaks there: what it was told, and for those that are new a rung that is
    /// chosen now, as `ask` says of the newest. It takes a seat with its first playlist, and counts from
    /// its second or its first segment on.
    ///
    /// `told` is what another node told a viewer that is new here. Whoever finds no seat is told of the
    /// cheapest rung, always.
    pub fn list(
        &self,
        seat: &Seat,
        segments: &[(u64, bool)],
        ask: &Ask<'_>,
        told: Option<Timeline>,
        now: Instant,
    ) -> Timeline {
        let known = self.find(seat, now);
        match known.or_else(|| self.seat(seat, &Newcomer::of(ask), now)) {
            Some(seated) => seated.list(segments, ask, told, &self.rules, now),
            None => Timeline::default(),
        }
    }

    /// A viewer takes sound alone, for which there is nothing to choose; it `begins` a segment. It takes a seat with the first.
    pub(super) fn listen(&self, seat: &Seat, newcomer: &Newcomer, begins: bool, now: Instant) {
        let known = self.find(seat, now);
        if let Some(seated) = known.or_else(|| self.seat(seat, newcomer, now)) {
            seated.listens(begins);
        }
    }

    /// Notes a sign of life. Says nothing of who never took a seat.
    pub fn touch(&self, seat: &Seat, now: Instant) {
        if let Some(room) = self.rooms.load().get(seat.stream.as_str()) {
            room.touch(seat.viewer.key, now);
        }
    }

    /// Notes that a viewer was sent elsewhere; returns what is known of its path.
    pub fn moved(&self, seat: &Seat, now: Instant) -> Option<Bitrate> {
        self.find(seat, now)?.moved()
    }

    /// Sends a viewer away if it was before, or if there are more than `keep`; what is known of its path then.
    pub(super) fn given(
        &self,
        seat: &Seat,
        keep: Option<u32>,
        now: Instant,
    ) -> Option<Option<Bitrate>> {
        let seated = self.find(seat, now)?;
        if seated.is_moved() {
            return Some(seated.moved());
        }
        let keep = keep?;
        // One after another, so that no more go than should.
        let _giving = self.giving.lock().unwrap_or_else(PoisonError::into_inner);
        // Where nobody is kept there may be nothing to watch.
        let goes = keep == 0 || (self.watching() > keep && seated.is_watching());
        goes.then(|| seated.moved())
    }

    /// Nobody was sent away, and nobody is to be.
    pub(super) fn keeps_all(&self, keep: Option<u32>) -> bool {
        let rooms = self.rooms.load();
        rooms.values().all(|room| room.moved.load(Relaxed) == 0)
            && keep.is_none_or(|keep| keep > 0 && self.watching() <= keep)
    }

    fn watching(&self) -> u32 {
        let rooms = self.rooms.load();
        rooms.values().map(|room| room.watching.load(Relaxed)).sum()
    }

    /// What a viewer was told whose rungs are chosen when they are listed.
    pub fn told(&self, seat: &Seat, now: Instant) -> Option<Timeline> {
        self.find(seat, now)?.told()
    }

    /// What a viewer has ahead, by our account.
    pub(super) fn level(&self, seat: &Seat, now: Instant) -> Option<Level> {
        self.find(seat, now)?.level(now)
    }

    /// A delivery begins.
    pub fn delivering(&self, seat: &Seat, meter: &Arc<Meter>) {
        if let Some(seated) = self.find(seat, Instant::now()) {
            seated.delivering(meter);
        }
    }

    /// A delivery is over.
    pub fn delivered(&self, seat: &Seat, meter: Arc<Meter>, progress: &Progress, now: Instant) {
        match self.find(seat, now) {
            Some(seated) => seated.delivered(meter, progress, now),
            None => _ = self.seatless.fetch_add(progress.acked, Relaxed),
        }
    }

    /// Adds what viewers have acknowledged to the node's account.
    pub fn acknowledged(&self, octets: u64) {
        self.egress.fetch_add(octets, Relaxed);
    }

    /// Takes away the seats of those who have been silent for too long. Costs as many looks as there
    /// are viewers whose time would have come since, had they not been seen in between.
    pub fn expire(&self, now: Instant) {
        let due = self.silences().turn(now);
        let mut stay = Vec::new();
        for seated in due {
            match seated.stays_until(now) {
                Some(until) => stay.push((seated, until)),
                None if seated.room.unseat(&seated, now) => {
                    self.taken.fetch_sub(1, Relaxed);
                    if let Some(arm) = seated.arm {
                        self.rules.arms.fold(arm, &seated.tally());
                    }
                    self.leavers.note(&seated);
                    tracing::debug!(viewer = %seated.id, stream = %seated.room.stream, "viewer gone");
                }
                // It was seen just now.
                None => stay.push((seated, now)),
            }
        }
        let mut silences = self.silences();
        for (seated, until) in stay {
            silences.set(seated, until);
        }
    }

    /// Forgets the rooms of streams that are not `there` any more, once nobody is left in them.
    pub fn forget(&self, there: impl Fn(&str) -> bool) {
        let rooms = self.rooms.load();
        let over = |room: &Arc<Room>| !there(room.stream.as_str()) && room.close();
        let over: Vec<_> = rooms.values().filter(|room| over(room)).cloned().collect();
        for room in over {
            self.drop_room(&room);
        }
    }

    /// The demand of each stream's viewers: what their own paths would allow, given its rungs' rates. By the
    /// places of their classes, of which there are so many.
    pub fn demand(
        &self,
        rates: &BTreeMap<StreamName, Vec<Bitrate>>,
        places: usize,
    ) -> BTreeMap<StreamName, Vec<Vec<Demand>>> {
        let rooms = self.rooms.load();
        let demand = |(name, rates): (&StreamName, &Vec<Bitrate>)| {
            let mut demand = vec![Vec::new(); places];
            if let (Some(room), Some(usual)) = (rooms.get(name), demand.first_mut()) {
                usual.reserve(room.watching.load(Relaxed) as usize);
                for line in room.lines(0) {
                    if let (Some(wish), Some(alike)) = (line.wish, demand.get_mut(line.place)) {
                        let (key, cap) = (line.key, wish.cap(rates));
                        alike.push(Demand { key, cap });
                    }
                }
            }
            (name.clone(), demand)
        };
        rates.iter().map(demand).collect()
    }

    /// Seats taken.
    pub fn count(&self) -> usize {
        self.taken.load(Relaxed)
    }

    /// Viewers ever seated.
    pub fn arrivals(&self) -> u64 {
        self.arrivals.load(Relaxed)
    }

    /// Joins ever that there was room for.
    pub fn joins(&self) -> u64 {
        self.joins.load(Relaxed)
    }

    /// There was room for a join.
    pub fn joined(&self) {
        self.joins.fetch_add(1, Relaxed);
    }

    /// There was none; it was sent to another node, or refused.
    pub fn turned_away(&self, sent_on: bool) {
        let turned = if sent_on {
            &self.sent_on
        } else {
            &self.refused
        };
        turned.fetch_add(1, Relaxed);
    }

    /// Joins ever refused, and sent on.
    pub fn turned(&self) -> (u64, u64) {
        (self.refused.load(Relaxed), self.sent_on.load(Relaxed))
    }

    pub(super) fn tally(&self) -> Arrivals {
        Arrivals {
            joins: self.joins(),
            arrivals: self.arrivals(),
        }
    }

    /// How often each rung of a stream was chosen, cheapest first; `None` if nobody has watched it.
    pub(super) fn decided(&self, stream: &StreamName) -> Option<[u64; RUNGS]> {
        let rooms = self.rooms.load();
        let decided = &rooms.get(stream)?.decided;
        Some(std::array::from_fn(|rung| decided[rung].load(Relaxed)))
    }

    /// Who is watching, by region and by stream, and how many are only still asking.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for (name, region) in &*self.regions() {
            let load = RegionLoad {
                viewers: region.viewers.load(Relaxed),
                arrivals: region.arrivals.load(Relaxed),
            };
            census.regions.insert(name.to_string(), load);
        }
        for (name, room) in &**self.rooms.load() {
            let watching = room.watching.load(Relaxed);
            if watching > 0 {
                census.streams.insert(name.to_string(), watching);
            }
            census.moved += room.moved.load(Relaxed);
        }
        census
    }

    /// What is known of up to `limit` viewers after the `after`-th, in a lasting order; of those of
    /// one stream, or of all.
    pub fn page(
        &self,
        stream: Option<&str>,
        after: Option<&Mark>,
        limit: usize,
        now: Instant,
    ) -> Page {
        let mut page = Page::default();
        for (name, room) in &**self.rooms.load() {
            let wanted = stream.is_none_or(|stream| stream == name.as_str());
            let passed = after.is_some_and(|after| after.stream > *name);
            if !wanted || passed {
                continue;
            }
            let after = after.filter(|after| after.stream == *name);
            for line in room.lines(after.map_or(0, |after| after.line.saturating_add(1))) {
                if page.viewers.len() >= limit {
                    return page;
                }
                if let Some(seated) = room.look(line.key) {
                    page.viewers.push(seated.report(now));
                    page.last = Some(Mark {
                        stream: name.clone(),
                        line: line.index,
                    });
                }
            }
        }
        page.last = None;
        page
    }

    /// What is known of the viewer `key`, for each stream that it watches.
    pub fn look(&self, key: u64, now: Instant) -> Vec<ViewerReport> {
        let rooms = self.rooms.load();
        let seated = rooms.values().filter_map(|room| room.look(key));
        seated.map(|seated| seated.report(now)).collect()
    }

    /// Everybody who has a seat, some at a time: whoever goes through all of them lets others have a turn in between.
    pub(super) fn seated(&self) -> impl Iterator<Item = Vec<Arc<Seated>>> + use<> {
        let rooms: Vec<_> = self.rooms.load().values().cloned().collect();
        rooms.into_iter().flat_map(|room| {
            let mut lines = room.lines(0).peekable();
            std::iter::from_fn(move || {
                lines.peek()?;
                let some = lines.by_ref().take(SOME);
                Some(some.filter_map(|line| room.look(line.key)).collect())
            })
        })
    }

    /// The last decisions for the viewer `key`, oldest first, for each stream that it watches; `None` of
    /// one whose decisions were not kept. They are from now on, if there is room.
    pub fn explain(&self, key: u64) -> Vec<(StreamName, Option<Vec<Explained>>)> {
        let rooms = self.rooms.load();
        let seated = rooms.values().filter_map(|room| room.look(key));
        let explained = seated.map(|seated| {
            let stream = seated.room.stream.clone();
            (stream, seated.explained(|| self.places.ring_asked_for()))
        });
        explained.collect()
    }

    /// What came of each rule so far.
    pub fn arms(&self) -> Vec<ArmReport> {
        let rooms = self.rooms.load();
        let all = rooms.values().flat_map(|room| {
            let seated = |line: super::ledger::Written| room.look(line.key);
            room.lines(0).filter_map(seated)
        });
        let live = all.filter_map(|seated| Some((seated.arm?, seated.tally())));
        self.rules.arms.report(live)
    }

    fn find(&self, seat: &Seat, now: Instant) -> Option<Arc<Seated>> {
        let rooms = self.rooms.load();
        rooms.get(seat.stream.as_str())?.find(seat.viewer.key, now)
    }

    /// A seat for who has none; `None` if there is none left.
    fn seat(&self, seat: &Seat, newcomer: &Newcomer, now: Instant) -> Option<Arc<Seated>> {
        if self.taken.fetch_add(1, Relaxed) >= self.most {
            self.taken.fetch_sub(1, Relaxed);
            return None;
        }
        loop {
            let room = self.room(&seat.stream);
            let new = |line| {
                let (id, region) = (seat.viewer.clone(), self.arrive(&seat.viewer.region));
                let arm = newcomer.ruled.then(|| self.rules.arms.of(id.key));
                let ring = self.places.ring();
                Seated::new(id, (room.clone(), line), region, (arm, ring), newcomer, now)
            };
            match room.seat((seat.viewer.key, newcomer.place), new, now) {
                Seating::New(seated) => {
                    self.silences().set(seated.clone(), now + newcomer.patience);
                    return Some(seated);
                }
                Seating::Found(seated) => {
                    self.taken.fetch_sub(1, Relaxed);
                    return Some(seated);
                }
                // Its stream is back already.
                Seating::Closed => self.drop_room(&room),
            }
        }
    }

    fn room(&self, stream: &StreamName) -> Arc<Room> {
        if let Some(room) = self.rooms.load().get(stream) {
            return room.clone();
        }
        let new = Arc::new(Room::new(stream.clone()));
        let before = self.rooms.rcu(|rooms| {
            let mut rooms = BTreeMap::clone(rooms);
            rooms.entry(stream.clone()).or_insert_with(|| new.clone());
            rooms
        });
        before.get(stream).cloned().unwrap_or(new)
    }

    fn drop_room(&self, gone: &Arc<Room>) {
        self.rooms.rcu(|rooms| {
            let mut rooms = BTreeMap::clone(rooms);
            rooms.retain(|_, room| !Arc::ptr_eq(room, gone));
            rooms
        });
    }

    /// Counts an arrival. Regions are what clients call them: when there are too many, the rest is one.
    fn arrive(&self, name: &Region) -> Arc<Crowd> {
        self.arrivals.fetch_add(1, Relaxed);
        let mut regions = self.regions();
        let known = regions.contains_key(name) || regions.len() < REGIONS;
        let name = if known {
            name.clone()
        } else {
            Region::default()
        };
        let region = regions
            .entry(name.clone())
            .or_insert_with(|| Arc::new(Crowd::new(name)));
        region.arrivals.fetch_add(1, Relaxed);
        region.clone()
    }

    fn regions(&self) -> MutexGuard<'_, BTreeMap<Region, Arc<Crowd>>> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn silences(&self) -> MutexGuard<'_, Wheel<Arc<Seated>>> {
        self.silences.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be known of a viewer that takes a seat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newcomer {
    /// Its rungs are ours to choose.
    pub ruled: bool,
    pub place: u8,
    pub patience: Duration,
    /// What another node knew of its path.
    pub known: Option<Bitrate>,
    pub ceiling: usize,
}

impl Newcomer {
    fn of(ask: &Ask<'_>) -> Self {
        Self {
            ruled: ask.taken.is_none() && !ask.fixed,
            place: ask.place,
            patience: ask.patience,
            known: ask.known,
            ceiling: ask.ceiling,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Census {
    pub regions: BTreeMap<String, RegionLoad>,
    pub streams: BTreeMap<String, u32>,
    /// Sent elsewhere, but still asking here for the way.
    pub moved: u32,
}

/// Some of the viewers.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub viewers: Vec<ViewerReport>,
    /// Where the next page begins; `None` after the last.
    pub last: Option<Mark>,
}

/// A viewer's place among all, as a page names its last: `{stream}.{line}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mark {
    stream: StreamName,
    line: u32,
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.stream, self.line)
    }
}

impl std::str::FromStr for Mark {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once('.').and_then(|(stream, line)| {
            Some(Self {
                stream: stream.parse().ok()?,
                line: line.parse().ok()?,
            })
        });
        parsed.ok_or("after is the \"next\" of another page")
    }
}

/// What is sent to whom there is no seat for: a listed segment is never refused.
const NO_SEAT: Pin = Pin {
    rung: 0,
    reason: Reason::Ceiling,
    fresh: false,
};

/// More regions than an operator could look at.
const REGIONS: usize = 64;

/// Looks between two turns of others: a fraction of a millisecond.
const SOME: usize = 256;

/// How late the end of a silence may be noticed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod stories;
