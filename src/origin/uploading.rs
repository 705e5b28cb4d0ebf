//! Visits on their way to who keeps them: a sweep every so often, a bounded outbox, and one message at a time until it is taken.
//!
//! Who keeps them is the manager that says so in its answers to heartbeats, or somebody in this process. While nobody wants them,
//! nobody looks at the viewers.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use reqwest::Url;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{outbox::Outbox, reporter::Line, visits::Sweeper};
use crate::control::visits::{End, Visits};

/// Somebody in this process who keeps visits.
pub trait Keeper: fmt::Debug + Send + Sync {
    /// Taken for good, or in one line why not.
    fn take(&self, visits: Arc<Visits>) -> Taking<'_>;
}

pub type Taking<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// Who is told.
#[derive(Debug)]
pub enum Way {
    Here(Arc<dyn Keeper>),
    /// Of these managers the one that wants it.
    Managers {
        lines: Vec<Line>,
        keeper: watch::Receiver<Option<Url>>,
    },
}

/// How it goes, for metrics.
#[derive(Debug, Default)]
pub struct Upload {
    /// Visits taken; that wait; whose end was given up, since nobody took it.
    pub taken: AtomicU64,
    pub waiting: AtomicU64,
    pub lost: AtomicU64,
}

/// Why a message was not taken.
#[derive(Debug)]
struct Untaken {
    why: String,
    /// Nor will it be.
    for_good: bool,
}

/// Sweeps and tells until `stop`, and then once more; of a node that has no manager nobody ever wants to hear.
pub async fn run(
    mut sweeper: Sweeper,
    mut way: Way,
    upload: Arc<Upload>,
    every: Duration,
    stop: CancellationToken,
) {
    if let Way::Managers { lines, .. } = &way
        && lines.is_empty()
    {
        return;
    }
    let mut outbox = Outbox::new(MOST);
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut trouble = Trouble::default();
    sweeper.wants(way.is_wanted());
    loop {
        let waits = outbox.next().is_some();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = ticks.tick() => {
                if way.is_wanted() {
                    sweep(&mut sweeper, &mut outbox, &upload, None).await;
                }
            }
            () = way.changed() => {
                let wanted = way.is_wanted();
                sweeper.wants(wanted);
                if !wanted {
                    outbox.clear();
                }
                trouble.again = Instant::now();
            }
            () = sleep_until(trouble.again), if waits => {
                // The next sweep waits for as long as this takes, which has an end. What is cut off is told again.
                tokio::select! {
                    () = tell(&mut way, &mut outbox, &upload, &mut trouble) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
        upload.waiting.store(outbox.held() as u64, Relaxed);
    }
    if way.is_wanted() {
        sweep(&mut sweeper, &mut outbox, &upload, Some(End::Stopped)).await;
        trouble = Trouble::default();
        let rest = async {
            while outbox.next().is_some() && trouble.pause.is_zero() {
                tell(&mut way, &mut outbox, &upload, &mut trouble).await;
            }
        };
        if timeout(LAST_WORDS, rest).await.is_err() || outbox.held() > 0 {
            let visits = outbox.held();
            tracing::warn!(
                visits,
                "nobody took the last of what there was to tell of viewers"
            );
        }
    }
    sweeper.wants(false);
}

async fn sweep(sweeper: &mut Sweeper, outbox: &mut Outbox, upload: &Upload, end: Option<End>) {
    for visits in sweeper.sweep(end).await {
        let lost = outbox.push(visits);
        if lost > 0 && upload.lost.fetch_add(lost, Relaxed) == 0 {
            tracing::warn!(
                most = MOST,
                "so many visits wait for who keeps them; the oldest are given up from now on (spillway_visits_lost_total)"
            );
        }
    }
}

async fn tell(way: &mut Way, outbox: &mut Outbox, upload: &Upload, trouble: &mut Trouble) {
    let Some(visits) = outbox.next().cloned() else {
        return;
    };
    let count = visits.len() as u64;
    match way.take(&visits).await {
        Ok(()) => {
            upload.taken.fetch_add(count, Relaxed);
            outbox.done(&visits);
            trouble.is_over();
        }
        Err(Untaken {
            why,
            for_good: true,
        }) => {
            tracing::error!(why, visits = count, "visits are not taken, and given up");
            upload.lost.fetch_add(count, Relaxed);
            outbox.done(&visits);
        }
        Err(Untaken { why, .. }) => trouble.is(&why),
    }
}

impl Way {
    fn is_wanted(&self) -> bool {
        match self {
            Self::Here(_) => true,
            Self::Managers { keeper, .. } => keeper.borrow().is_some(),
        }
    }

    /// Waits until somebody else wants to be told, or nobody.
    async fn changed(&mut self) {
        let ended = match self {
            Self::Here(_) => true,
            Self::Managers { keeper, .. } => keeper.changed().await.is_err(),
        };
        if ended {
            std::future::pending::<()>().await;
        }
    }

    async fn take(&mut self, visits: &Arc<Visits>) -> Result<(), Untaken> {
        match self {
            Self::Here(keeper) => keeper.take(visits.clone()).await.map_err(|why| Untaken {
                why,
                for_good: false,
            }),
            Self::Managers { lines, keeper } => {
                let wanted = keeper.borrow().clone();
                let line = lines
                    .iter_mut()
                    .find(|line| Some(line.manager()) == wanted.as_ref());
                let Some(line) = line else {
                    let why = "no manager wants it any more".to_owned();
                    return Err(Untaken {
                        why,
                        for_good: false,
                    });
                };
                line.tell(visits).await.map_err(|error| Untaken {
                    for_good: error.is_for_good(),
                    why: error.to_string(),
                })
            }
        }
    }
}

/// What keeps messages from being taken, and when to try again.
#[derive(Debug)]
struct Trouble {
    pause: Duration,
    again: Instant,
}

impl Default for Trouble {
    fn default() -> Self {
        Self {
            pause: Duration::ZERO,
            again: Instant::now(),
        }
    }
}

impl Trouble {
    fn is(&mut self, why: &str) {
        let first = self.pause.is_zero();
        self.pause = (self.pause * 2).clamp(SHORTEST, LONGEST);
        self.again = Instant::now() + self.pause;
        if first {
            tracing::warn!(
                why,
                "nobody takes what there is to tell of viewers; it waits"
            );
        } else {
            tracing::debug!(why, again = ?self.pause, "visits wait");
        }
    }

    fn is_over(&mut self) {
        if !self.pause.is_zero() {
            tracing::info!("what there is to tell of viewers is taken again");
        }
        self.pause = Duration::ZERO;
        self.again = Instant::now();
    }
}

/// How often everybody is looked at: what a node that is killed leaves untold.
pub const EVERY: Duration = Duration::from_secs(10);

/// Visits that wait, at most: some 40 MB. Ten thousand viewers are so many in three minutes, a hundred in five hours; after that
/// what happened when is told less finely.
const MOST: usize = 200_000;

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(15);

/// For telling, when the node is stopped.
const LAST_WORDS: Duration = Duration::from_secs(3);
