//! Deliveries that are under way, looked at until they are acknowledged: all of them in one round
//! every so often, and each when another request comes in on its connection or the connection ends.
//!
//! One task and one timer for the node rather than one for each delivery, which was a tenth of what
//! sending a segment took (`benches/nginx.rs`); none at all while nothing is under way. What a look
//! finds is `meter`'s to say.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use adaptation::abandon::Instead;

use super::{abandoning::Abandoning, meter::Meter, seat::Seat, viewers::Viewers};
use crate::net::Observer;

/// What is looked at in rounds.
#[derive(Debug, Default)]
pub(super) struct Rounds(Mutex<Round>);

#[derive(Debug, Default)]
struct Round {
    watched: Vec<Arc<Watched>>,
    /// A task goes round.
    going: bool,
}

/// A delivery to a viewer.
#[derive(Debug)]
struct Watched {
    viewers: Arc<Viewers>,
    seat: Seat,
    /// `None` once it is over.
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    meter: Arc<Meter>,
    /// Acknowledged octets that are in the node's account.
    accounted: u64,
    /// Looks whether it is lost, where it may be broken off.
    abandoning: Option<Abandoning>,
}

/// Looks at a delivery until it is acknowledged in full or its connection is gone; both end, the
/// latter at the latest when the connection has made no progress for its patience.
///
/// Where something can be had `instead`, it is broken off if it is lost.
pub(super) fn watch(
    viewers: &Arc<Viewers>,
    seat: Seat,
    meter: &Arc<Meter>,
    instead: Option<Instead>,
) {
    let watched = Arc::new(Watched {
        viewers: viewers.clone(),
        seat,
        open: Mutex::new(Some(Open {
            meter: meter.clone(),
            accounted: 0,
            abandoning: instead.map(|instead| Abandoning::new(instead, Instant::now())),
        })),
    });
    // Else the octets of the next answer would be taken for this one's.
    let weak = Arc::downgrade(&watched);
    meter.connection().observe(weak);
    let mut round = viewers.rounds.lock();
    round.watched.push(watched);
    if !round.going {
        round.going = true;
        tokio::spawn(go_round(viewers.clone()));
    }
}

async fn go_round(viewers: Arc<Viewers>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let watched = std::mem::take(&mut viewers.rounds.lock().watched);
        let mut still = Vec::with_capacity(watched.len());
        for some in watched.chunks(AT_ONCE) {
            let now = Instant::now();
            still.extend(some.iter().filter(|watched| !watched.look(now)).cloned());
            tokio::task::yield_now().await;
        }
        let mut round = viewers.rounds.lock();
        round.watched.append(&mut still);
        if round.watched.is_empty() {
            // Its storage goes with it.
            *round = Round::default();
            return;
        }
    }
}

impl Rounds {
    fn lock(&self) -> MutexGuard<'_, Round> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// Whether it is over.
    fn look(&self, now: Instant) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Open {
            meter,
            accounted,
            abandoning,
        }) = &mut *open
        else {
            return true;
        };
        let progress = meter.sample(now);
        self.viewers.acknowledged(progress.acked - *accounted);
        self.viewers.strain.note(&progress);
        *accounted = progress.acked;
        if !progress.over {
            if let Some(abandoning) = abandoning {
                let level = || self.viewers.level(&self.seat, now);
                abandoning.look(meter, &progress, level, now);
            }
            return false;
        }
        let ended = open.take();
        drop(open);
        if let Some(Open { meter, .. }) = ended {
            self.viewers.delivered(&self.seat, meter, &progress, now);
        }
        true
    }
}

impl Observer for Watched {
    fn answered(&self) {
        self.look(Instant::now());
    }
}

/// Fine enough to see a change of the link within a part; the time of the last acknowledgement
/// comes from the kernel, so the result is finer than this.
pub(super) const EVERY: Duration = Duration::from_millis(50);

/// Looks between two turns of other tasks: a fraction of a millisecond.
const AT_ONCE: usize = 256;
