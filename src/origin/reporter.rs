//! The node's voice to its traffic managers: a heartbeat in full, again and again, and the
//! directive that comes back with each. What a directive means is for the node to say; how a
//! heartbeat is written, proven and carried is the `line`'s business.
//!
//! All managers hear the same; the one whose lease is the newest is obeyed.

mod line;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use adaptation::region::{Allegiance, Region};
use reqwest::Url;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use line::{Line, LineError};

use super::{Origin, Stance, inquiry};
use crate::control::{
    Answer, Directive, Heartbeat, HeartbeatReply, LONGEST, Load, NodeKind, NodeState, Question,
    VERSION,
};

/// Who reports.
#[derive(Clone, Debug)]
pub struct Identity {
    pub node: String,
    /// Start of this run, Unix milliseconds.
    pub instance: u64,
    pub kind: NodeKind,
    /// Base URL under which viewers reach this node.
    pub url: String,
    pub launched: bool,
}

/// What a node does now, and for whom.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Standing {
    pub state: NodeState,
    pub region: Option<String>,
}

/// What managers say, put together.
#[derive(Debug)]
pub struct Word {
    directives: watch::Sender<Directive>,
    /// Who wants to be told of visits.
    keeper: watch::Sender<Option<Url>>,
    began: Instant,
    /// Whom it is owed to, and when anybody was heard last.
    owed: Mutex<(Allegiance, Instant)>,
}

impl Word {
    pub fn new(directives: watch::Sender<Directive>) -> Self {
        Self {
            directives,
            keeper: watch::Sender::default(),
            began: Instant::now(),
            owed: Mutex::new((Allegiance::default(), Instant::now())),
        }
    }

    /// Whom of the managers to tell of visits, as that changes.
    pub fn keeper(&self) -> watch::Receiver<Option<Url>> {
        self.keeper.subscribe()
    }

    /// Whether what this manager said is obeyed: it decides, and none has said anything with a newer lease.
    fn hear(&self, reply: HeartbeatReply) -> bool {
        let (mine, epoch) = {
            let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
            let mine = !reply.standby && owed.0.owes(reply.epoch, self.began.elapsed());
            if mine || reply.standby {
                owed.1 = Instant::now();
            }
            (mine, owed.0.epoch())
        };
        if mine {
            let said = reply.directive;
            self.directives
                .send_if_modified(|now| std::mem::replace(now, said.clone()) != said);
        } else if !reply.standby {
            tracing::debug!(
                found = reply.epoch,
                known = epoch,
                "the word of a manager whose lease is over"
            );
        }
        mine
    }

    /// For how long no manager has been heard, be it one that only listens.
    fn silence(&self) -> Duration {
        let owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        owed.1.elapsed()
    }
}

/// Reports until `stop`: every interval, and at once when `standing` changes. While the manager is
/// away the last directive holds.
pub async fn run(
    identity: Identity,
    origin: Arc<Origin>,
    mut line: Line,
    mut standing: watch::Receiver<Standing>,
    word: Arc<Word>,
    stop: CancellationToken,
) {
    let (mut interval, mut fault, mut obeyed) = (INTERVAL, None::<LineError>, true);
    let mut pulse = Pulse::default();
    loop {
        let standing_now = standing.borrow_and_update().clone();
        let trouble = pulse.trouble(&origin, &standing_now);
        let heartbeat = identity.heartbeat(&origin, standing_now, trouble);
        let reply = tokio::select! {
            reply = line.report(&heartbeat) => reply,
            () = stop.cancelled() => return,
        };
        match reply {
            Ok(mut reply) => {
                if fault.take().is_some() {
                    tracing::info!(manager = %line.manager(), "the traffic manager answers again");
                }
                interval = Duration::from_millis(reply.interval_ms.clamp(100, 60_000));
                let (standby, visits) = (reply.standby, reply.visits);
                identity.answer(&origin, &mut line, &reply.questions).await;
                let elsewhere = std::mem::take(&mut reply.elsewhere);
                let now = word.hear(reply);
                if now && identity.kind == NodeKind::Primary {
                    send(&origin, elsewhere);
                }
                if now {
                    let keeper = visits.then(|| line.manager().clone());
                    word.keeper.send_if_modified(|known| {
                        std::mem::replace(known, keeper.clone()) != keeper
                    });
                }
                if std::mem::replace(&mut obeyed, now) && !now && !standby {
                    tracing::warn!(manager = %line.manager(), "another traffic manager has taken over; this one is not obeyed");
                }
            }
            // The same is said once.
            Err(error) if fault.as_ref().is_none_or(|fault| !error.is_like(fault)) => {
                if error.is_refusal() {
                    tracing::error!(%error, "the traffic manager does not take this node; going on as before");
                } else {
                    tracing::warn!(%error, "the traffic manager does not answer; going on as before");
                }
                fault = Some(error);
            }
            Err(_) => {}
        }
        if identity.kind == NodeKind::Primary && word.silence() > DOUBTFUL {
            // Nobody would say so if there were nobody there any more.
            send(&origin, BTreeMap::new());
        }
        let abandoned =
            identity.launched && word.silence() > ABANDONED && origin.viewers.count() == 0;
        if abandoned {
            tracing::info!(since = ?ABANDONED, "nobody watches, and the traffic manager that started this node is gone");
            word.directives.send_replace(Directive::Retire);
        }
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            changed = standing.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}

impl Identity {
    /// A manager asks again for what it did not hear, so that nothing is said twice here.
    async fn answer(&self, origin: &Origin, line: &mut Line, questions: &[Question]) {
        for Question { number, viewer } in questions.iter().take(QUESTIONS) {
            let found = inquiry::answer(origin, viewer.as_deref());
            let found = found.map(|found| found.to_string());
            let answer = Answer {
                version: VERSION,
                node: self.node.clone(),
                number: *number,
                // Of a ladder of very many rungs.
                found: found.filter(|found| found.len() <= LONGEST / 2),
            };
            if let Err(error) = line.answer(&answer).await {
                tracing::debug!(%error, number, "an answer that was not taken");
                return;
            }
        }
    }

    fn heartbeat(&self, origin: &Origin, standing: Standing, trouble: Option<String>) -> Heartbeat {
        let (census, share) = (origin.viewers.census(), origin.share.load());
        Heartbeat {
            version: VERSION,
            node: self.node.clone(),
            instance: self.instance,
            kind: self.kind,
            state: standing.state,
            url: self.url.clone(),
            region: standing.region,
            launched: self.launched,
            software: env!("CARGO_PKG_VERSION").to_owned(),
            load: Load {
                streams: origin
                    .store
                    .streams()
                    .into_iter()
                    .map(|(name, _)| {
                        let viewers = census.streams.get(name.as_str()).copied().unwrap_or(0);
                        (name.to_string(), viewers)
                    })
                    .collect(),
                regions: census.regions,
                moved: census.moved,
                egress: share.egress,
                budget: share.budget.or(origin.terms.budget),
                price: share.price(),
                seats: u32::try_from(origin.terms.max_viewers).ok(),
                trouble,
                alerts: alerts(origin),
            },
        }
    }
}

/// Viewers of these regions are to go on elsewhere, from now on.
fn send(origin: &Origin, regions: BTreeMap<String, String>) {
    let to: BTreeMap<_, _> = regions
        .into_iter()
        .map(|(region, to)| (Region::new(&region), to))
        .collect();
    let stance = match to.is_empty() {
        true => Stance::Serving,
        false => Stance::Sending { to },
    };
    if **origin.stance.load() != stance {
        match &stance {
            Stance::Sending { to } => tracing::info!(?to, "told to send regions elsewhere"),
            _ => tracing::info!("told to keep all viewers"),
        }
        origin.stance.store(Arc::new(stance));
    }
}

/// What holds, by stream.
fn alerts(origin: &Origin) -> BTreeMap<String, Vec<String>> {
    let streams = origin.store.streams().into_iter();
    let streams = streams.filter_map(|(name, stream)| {
        let intake = stream.intake();
        let alerts = &intake.health.as_ref()?.alerts;
        let names: Vec<_> = alerts.iter().map(|alert| alert.name().to_owned()).collect();
        (!names.is_empty()).then(|| (name.to_string(), names))
    });
    streams.collect()
}

/// Whether there is anything new to watch here.
#[derive(Debug, Default)]
struct Pulse(BTreeMap<String, ((u64, usize), Instant)>);

impl Pulse {
    /// What is the matter with a node that serves: a stream that has had nothing new for long, and has not ended.
    fn trouble(&mut self, origin: &Origin, standing: &Standing) -> Option<String> {
        let streams = origin.store.streams();
        self.0
            .retain(|name, _| streams.iter().any(|(there, _)| there.as_str() == name));
        let mut trouble = None;
        for (name, stream) in streams {
            let Some(window) = stream.now() else { continue };
            let newest = window.segments().next_back();
            let edge = newest.map_or((0, 0), |newest| (newest.number(), newest.parts.len()));
            let now = Instant::now();
            let (seen, since) = self.0.entry(name.to_string()).or_insert((edge, now));
            if *seen != edge {
                (*seen, *since) = (edge, now);
            }
            let patience = window.format().patience();
            let silent = now.saturating_duration_since(*since);
            if silent > patience && !window.has_ended() && standing.state == NodeState::Active {
                trouble = Some(format!(
                    "stream {name} has had nothing new for {:.0} s",
                    silent.as_secs_f64()
                ));
            }
        }
        trouble
    }
}

/// Until the manager says otherwise.
const INTERVAL: Duration = Duration::from_secs(1);

/// That are answered between two heartbeats.
const QUESTIONS: usize = 16;

/// After so long without its manager, a primary sends nobody anywhere.
const DOUBTFUL: Duration = Duration::from_secs(10);

/// After so long without its manager, a node that was launched is nobody's, unless it has viewers.
const ABANDONED: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_with_the_newest_lease_is_obeyed_and_one_in_standby_is_not() {
        let (sender, said) = watch::channel(Directive::Continue);
        let word = Word::new(sender);
        let hear = |directive, epoch, standby| {
            word.hear(HeartbeatReply {
                version: VERSION,
                directive,
                interval_ms: 1000,
                epoch,
                standby,
                visits: false,
                elsewhere: BTreeMap::new(),
                questions: Vec::new(),
            })
        };
        assert!(hear(Directive::Retire, 2, false));
        assert!(!hear(Directive::Continue, 1, false), "it was frozen");
        assert!(!hear(Directive::Continue, 0, true));
        assert_eq!(*said.borrow(), Directive::Retire);
        assert!(hear(Directive::Continue, 3, false));
        assert_eq!(*said.borrow(), Directive::Continue);
    }
}
