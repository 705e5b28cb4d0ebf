//! What is told of this node's viewers for analytics: all that are here, looked at every so often, and those who went in between.
//!
//! Nothing of it lies in the way of a request. What a visit is made of is `seated`'s and `account`'s; where it goes, and what
//! becomes of it when nobody takes it, is `uploading`'s and `outbox`'s.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use super::{Origin, seated::Seated};
use crate::{
    clock::unix_ms,
    control::{
        VERSION,
        visits::{AT_ONCE, End, Visit, Visits},
    },
    store::StreamName,
};

/// Who went since it was looked at last; nobody while it is not wanted.
#[derive(Debug, Default)]
pub(super) struct Leavers {
    wanted: AtomicBool,
    went: Mutex<Vec<Arc<Seated>>>,
    /// Who found no room, and is in no visit's end.
    pub lost: AtomicU64,
}

impl Leavers {
    pub(super) fn note(&self, seated: &Arc<Seated>) {
        if !self.wanted.load(Relaxed) {
            return;
        }
        let mut went = self.lock();
        match went.len() < LEAVERS {
            true => went.push(seated.clone()),
            false => _ = self.lost.fetch_add(1, Relaxed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Seated>>> {
        self.went.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at the viewers.
#[derive(Debug)]
pub struct Sweeper {
    origin: Arc<Origin>,
    instance: u64,
    /// One moment by two clocks, so that a visit began at the same time whenever it is asked, whatever the one does.
    zero: (Instant, u64),
    /// What streams' rungs are called; a visit may be told after its stream has gone.
    ladders: BTreeMap<StreamName, Vec<String>>,
}

impl Sweeper {
    /// `instance` is the start of this run of the node.
    pub fn new(origin: Arc<Origin>, instance: u64) -> Self {
        Self {
            origin,
            instance,
            zero: (Instant::now(), unix_ms()),
            ladders: BTreeMap::new(),
        }
    }

    /// From now on whoever goes is remembered until the next look, or is not any more.
    pub fn wants(&self, wanted: bool) {
        let leavers = &self.origin.viewers.leavers;
        leavers.wanted.store(wanted, Relaxed);
        if !wanted {
            *leavers.lock() = Vec::new();
        }
    }

    /// All that is to be told now, in messages; at least one, which has the node's own sums. `end` is why all
    /// visits are over, if they are.
    pub async fn sweep(&mut self, end: Option<End>) -> Vec<Visits> {
        let viewers = self.origin.viewers.clone();
        let over = self.learn_ladders();
        let went = std::mem::take(&mut *viewers.leavers.lock());
        // Whoever goes meanwhile is told of next time, and what it was sent counts from now on.
        let mut pages = Pages::new(Visits {
            version: VERSION,
            node: self.origin.node.clone(),
            instance: self.instance,
            at_ms: unix_ms(),
            sent: viewers.egress.load(Relaxed),
            seatless: viewers.seatless.load(Relaxed),
            streams: BTreeMap::new(),
        });
        for some in went.chunks(AT_ONCE) {
            for seated in some {
                let stream = &seated.room.stream;
                let ended = over.get(stream).is_none_or(|over| *over);
                let end = if ended { End::Over } else { End::Left };
                self.tell(&mut pages, seated, Some(end));
            }
            tokio::task::yield_now().await;
        }
        for some in viewers.seated() {
            for seated in &some {
                self.tell(&mut pages, seated, end);
            }
            tokio::task::yield_now().await;
        }
        let all = pages.all();
        let told = |name: &StreamName| {
            all.iter()
                .any(|page| page.streams.contains_key(name.as_str()))
        };
        self.ladders
            .retain(|name, _| over.contains_key(name) || told(name));
        all
    }

    fn tell(&self, pages: &mut Pages, seated: &Seated, end: Option<End>) {
        if let Some(visit) = seated.visit(self.began(seated.since), end) {
            let stream = &seated.room.stream;
            pages.put(stream, self.ladders.get(stream), visit);
        }
    }

    fn began(&self, since: Instant) -> u64 {
        let (zero, unix) = self.zero;
        let millis = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(0);
        match since.checked_duration_since(zero) {
            Some(after) => unix.saturating_add(millis(after)),
            None => unix.saturating_sub(millis(zero.saturating_duration_since(since))),
        }
    }

    /// Which streams there are, and whether each has ended.
    fn learn_ladders(&mut self) -> BTreeMap<StreamName, bool> {
        let mut over = BTreeMap::new();
        for (name, stream) in self.origin.store.streams() {
            let Some(window) = stream.now() else { continue };
            let rungs = window.format().ladder.rungs().iter();
            let names = rungs.map(|rung| rung.name.to_string()).collect();
            self.ladders.insert(name.clone(), names);
            over.insert(name, window.has_ended());
        }
        over
    }
}

/// Messages that are being filled.
struct Pages {
    empty: Visits,
    full: Vec<Visits>,
    open: Visits,
    held: usize,
}

impl Pages {
    fn new(empty: Visits) -> Self {
        Self {
            full: Vec::new(),
            open: empty.clone(),
            held: 0,
            empty,
        }
    }

    fn put(&mut self, stream: &StreamName, ladder: Option<&Vec<String>>, visit: Visit) {
        if self.held == AT_ONCE {
            let full = std::mem::replace(&mut self.open, self.empty.clone());
            self.full.push(full);
            self.held = 0;
        }
        let streams = &mut self.open.streams;
        let of = match streams.get_mut(stream.as_str()) {
            Some(of) => of,
            None => {
                let of = streams.entry(stream.to_string()).or_default();
                of.rungs = ladder.cloned().unwrap_or_default();
                of
            }
        };
        of.visits.push(visit);
        self.held += 1;
    }

    fn all(mut self) -> Vec<Visits> {
        self.full.push(self.open);
        self.full
    }
}

/// Who went between two looks. A crowd that goes at once is that of a stream that ends.
const LEAVERS: usize = 20_000;
