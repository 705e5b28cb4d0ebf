//! What a stream's source can bring beyond what it publishes: a rung that nobody watched until now.
//!
//! Each object is brought once, however many ask: who asks while it is on its way reads along, from its beginning. It goes on
//! when whoever asked first has gone. What failed is not remembered: the next who asks has it tried again.
//! How it is brought is the source's business, who asks the origin's.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use bytes::{Bytes, BytesMut};
use playlists::{Epoch, ladder::MAX_RUNGS};
use tokio::sync::watch;

use crate::traces::{self, Mark, Span};

/// One object: a part, or a whole segment.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Wanted {
    pub number: u64,
    pub epoch: Epoch,
    pub rung: usize,
    pub part: Option<usize>,
}

impl Wanted {
    /// It is brought, or not.
    fn ends(&self, span: &Span, well: bool) {
        span.counts("spillway.segment", self.number);
        span.counts("spillway.rung_index", self.rung as u64);
        if let Some(part) = self.part {
            span.counts("spillway.part", part as u64);
        }
        if !well {
            // It names the upstream, maybe with a secret of the two.
            span.fails("not_brought", "the log says why");
        }
        span.ends();
    }
}

/// Whoever can bring what is not here.
pub trait Bringer: Send + Sync + fmt::Debug {
    /// Fetches it into `to`. That it is all of it is for this one to make sure; an error says why it is not.
    fn bring(&self, wanted: Wanted, to: Filling) -> Bringing;
}

pub type Bringing = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// What is brought of one stream, and which rungs somebody watches.
#[derive(Debug)]
pub struct Supply {
    bringer: ArcSwapOption<Box<dyn Bringer>>,
    fills: Mutex<Fills>,
    began: Instant,
    /// When each rung was asked for last, in milliseconds since then, plus one.
    asked: [AtomicU64; MAX_RUNGS],
    /// How long it took lately to bring something, in microseconds.
    takes: AtomicU64,
}

#[derive(Debug, Default)]
struct Fills {
    by: HashMap<Wanted, Fill>,
    /// What is here, oldest first, and its octets.
    kept: VecDeque<(Wanted, u64)>,
    octets: u64,
}

/// An object that is here, or on its way.
#[derive(Debug)]
struct Fill {
    state: watch::Receiver<State>,
    /// What it was brought in, if that is traced.
    traced: Option<Mark>,
}

/// How far an object has come.
#[derive(Debug, Default)]
struct State {
    length: Option<u64>,
    chunks: Vec<Bytes>,
    end: Option<Result<(), Arc<str>>>,
}

/// Why something is not brought.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotBrought {
    #[error("this node takes it from nowhere")]
    Nowhere,
    #[error("{MOST_AT_ONCE} others are being fetched")]
    Busy,
    #[error("{0}")]
    Failed(Arc<str>),
}

impl Default for Supply {
    fn default() -> Self {
        Self {
            bringer: ArcSwapOption::empty(),
            fills: Mutex::default(),
            began: Instant::now(),
            asked: Default::default(),
            takes: AtomicU64::new(0),
        }
    }
}

impl Supply {
    /// From now on it is brought by this.
    pub fn by(&self, bringer: impl Bringer + 'static) {
        self.bringer.store(Some(Arc::new(Box::new(bringer))));
    }

    /// Somebody has this rung, or wants it.
    pub fn watched(&self, rung: usize) {
        if let Some(asked) = self.asked.get(rung) {
            let now = self.began.elapsed().as_millis();
            asked.store(u64::try_from(now).unwrap_or(u64::MAX - 1) + 1, Relaxed);
        }
    }

    /// How long ago somebody had this rung; `None` if nobody ever did.
    pub fn unwatched(&self, rung: usize) -> Option<Duration> {
        let asked = self.asked.get(rung)?.load(Relaxed).checked_sub(1)?;
        let ago = self
            .began
            .elapsed()
            .saturating_sub(Duration::from_millis(asked));
        Some(ago)
    }

    /// How long it takes to bring something, as far as is known.
    pub fn takes(&self) -> Duration {
        Duration::from_micros(self.takes.load(Relaxed))
    }

    /// Reads an object, which is fetched if it is neither here nor on its way.
    pub fn bring(self: &Arc<Self>, wanted: Wanted) -> Result<Reader, NotBrought> {
        let asking = traces::current();
        let mut fills = self.fills();
        if let Some(known) = fills.by.get(&wanted) {
            if let (Some(asking), Some(brought)) = (&asking, &known.traced) {
                asking.follows(brought);
            }
            return Ok(Reader::of(known.state.clone()));
        }
        let bringer = self.bringer.load_full().ok_or(NotBrought::Nowhere)?;
        if fills.by.len() - fills.kept.len() >= MOST_AT_ONCE {
            return Err(NotBrought::Busy);
        }
        let (sender, receiver) = watch::channel(State::default());
        let span = asking.and_then(|asking| asking.child("bring"));
        let fill = Fill {
            state: receiver.clone(),
            traced: span.as_ref().map(Span::mark),
        };
        fills.by.insert(wanted, fill);
        drop(fills);
        let supply = Arc::clone(self);
        // A task of its own: whoever asked first may leave.
        let bringing = async move {
            let (since, filling) = (Instant::now(), Filling(Arc::new(sender)));
            let brought = bringer.bring(wanted, filling.clone());
            let result = match tokio::time::timeout(PATIENCE, brought).await {
                Ok(result) => result,
                Err(_) => Err(format!("not here within {PATIENCE:?}")),
            };
            tracing::debug!(?wanted, ?result, took = ?since.elapsed(), "brought");
            if let Some(span) = traces::current() {
                wanted.ends(&span, result.is_ok());
            }
            supply.settled(wanted, &filling, result, since.elapsed());
        };
        tokio::spawn(traces::within(span, bringing));
        Ok(Reader::of(receiver))
    }

    fn settled(&self, wanted: Wanted, to: &Filling, result: Result<(), String>, took: Duration) {
        let octets = to.0.borrow().octets();
        let mut fills = self.fills();
        if result.is_ok() {
            let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            let before = self.takes.load(Relaxed);
            let smooth = if before == 0 {
                took
            } else {
                before / 4 * 3 + took / 4
            };
            self.takes.store(smooth.max(1), Relaxed);
            fills.octets += octets;
            fills.kept.push_back((wanted, octets));
            while fills.octets > MOST_OCTETS && fills.kept.len() > 1 {
                fills.forget_oldest();
            }
        } else {
            fills.by.remove(&wanted);
        }
        drop(fills);
        // After it was taken from the table, so that whoever hears of a failure and asks again is not told of it anew.
        to.0.send_modify(|state| state.end = Some(result.map_err(Arc::from)));
    }

    /// Nobody can ask for segments before `number` any more.
    pub(super) fn forget_before(&self, number: u64) {
        let mut fills = self.fills();
        while let Some((oldest, _)) = fills.kept.front()
            && oldest.number < number
        {
            fills.forget_oldest();
        }
    }

    fn fills(&self) -> MutexGuard<'_, Fills> {
        self.fills.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fills {
    fn forget_oldest(&mut self) {
        if let Some((oldest, octets)) = self.kept.pop_front() {
            self.octets -= octets;
            self.by.remove(&oldest);
        }
    }
}

impl State {
    fn octets(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.len() as u64).sum()
    }
}

/// Where an object is put as it comes.
#[derive(Clone, Debug)]
pub struct Filling(Arc<watch::Sender<State>>);

impl Filling {
    /// It will have so many octets.
    pub fn expects(&self, length: u64) {
        self.0.send_modify(|state| state.length = Some(length));
    }

    pub fn push(&self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.0.send_modify(|state| state.chunks.push(chunk));
        }
    }
}

/// Reads an object from its beginning, at whatever pace.
#[derive(Debug)]
pub struct Reader {
    state: watch::Receiver<State>,
    /// Chunks that were read.
    read: usize,
}

impl Reader {
    fn of(state: watch::Receiver<State>) -> Self {
        Self { state, read: 0 }
    }

    /// All of it, if it is here.
    pub fn at_hand(&self) -> Option<Vec<Bytes>> {
        let state = self.state.borrow();
        matches!(state.end, Some(Ok(()))).then(|| state.chunks.clone())
    }

    /// Waits until its length is known, or its end.
    pub async fn length(&mut self) -> Result<u64, NotBrought> {
        let known = |state: &State| state.length.is_some() || state.end.is_some();
        let state = self.state.wait_for(known).await.map_err(|_| dropped())?;
        match (&state.end, state.length) {
            (Some(Err(why)), _) => Err(NotBrought::Failed(why.clone())),
            (None, Some(length)) => Ok(length),
            _ => Ok(state.octets()),
        }
    }

    /// What has come since the last time; empty at its end.
    pub async fn more(&mut self) -> Result<Vec<Bytes>, NotBrought> {
        let read = self.read;
        let news = |state: &State| state.chunks.len() > read || state.end.is_some();
        let state = self.state.wait_for(news).await.map_err(|_| dropped())?;
        let new = state.chunks[read..].to_vec();
        match &state.end {
            Some(Err(why)) if new.is_empty() => Err(NotBrought::Failed(why.clone())),
            _ => {
                self.read = state.chunks.len();
                Ok(new)
            }
        }
    }

    /// All of it.
    pub async fn whole(mut self) -> Result<Bytes, NotBrought> {
        let mut whole = BytesMut::new();
        loop {
            let new = self.more().await?;
            if new.is_empty() {
                return Ok(whole.freeze());
            }
            new.iter().for_each(|chunk| whole.extend_from_slice(chunk));
        }
    }
}

fn dropped() -> NotBrought {
    NotBrought::Failed(Arc::from("who fetched it is gone"))
}

/// For one object. Longer than a player waits, for what comes late serves the next.
const PATIENCE: Duration = Duration::from_secs(20);

/// Objects on their way at a time, of one stream; who asks for another is asked to come back.
const MOST_AT_ONCE: usize = 64;

/// Kept of one stream beyond what is published. Then the oldest goes.
const MOST_OCTETS: u64 = 64 << 20;

#[cfg(test)]
mod stories;
