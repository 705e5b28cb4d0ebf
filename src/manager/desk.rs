//! The way to the task that owns everything the manager knows (`clerk`): messages and answers.
//!
//! Messages come by a bounded queue. A join that finds it full is answered from the routing
//! snapshot; a heartbeat or an operator waits for a place.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use adaptation::region::{Balancer, Moment, Override, Refused, Region, Report};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    Config, Routing,
    clerk::{Clerk, Voices},
    journal::Journal,
    launcher::Launcher,
    lease::{Legacy, Tenure},
    past::{Span, Told},
    view::{Decision, Lookup, Overview},
};
use crate::control::{Answer, Heartbeat, HeartbeatReply};

/// The way to the task. Clones are cheap.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    messages: mpsc::Sender<Message>,
    routing: watch::Receiver<Arc<Routing>>,
    decisions: broadcast::Sender<Arc<Decision>>,
    join_patience: Duration,
    pub(super) stop: CancellationToken,
}

#[derive(Debug)]
pub(super) enum Message {
    Heartbeat(
        Box<Heartbeat>,
        oneshot::Sender<Result<HeartbeatReply, Refused>>,
    ),
    Join(Join, oneshot::Sender<Joined>),
    Override(Override, oneshot::Sender<Result<(), Refused>>),
    Overview(oneshot::Sender<Overview>),
    Past(Span, oneshot::Sender<Told>),
    Look(Look, oneshot::Sender<Lookup>),
    Answer(Answer),
    Present(oneshot::Sender<Result<Present, Refused>>),
}

/// After whom an operator asks.
#[derive(Clone, Debug)]
pub(super) enum Look {
    /// All nodes that have viewers, after this one.
    Viewer(String),
    /// This node, after some of its viewers.
    Node(String),
}

/// What the manager decides by, taken out to find out what it would decide.
#[derive(Debug)]
pub(super) struct Present {
    pub(super) balancer: Box<Balancer>,
    pub(super) nodes: Vec<Report>,
    pub(super) now: Moment,
}

#[derive(Clone, Debug)]
pub(super) struct Join {
    pub(super) stream: String,
    pub(super) region: Region,
    /// As the viewer calls its session, if it does.
    pub(super) session: Option<String>,
    /// A viewer will follow; otherwise somebody only wants to know.
    pub(super) counts: bool,
    /// May be told to wait for a relay.
    pub(super) patient: bool,
    /// It has not been told to wait before.
    pub(super) first: bool,
}

impl Join {
    pub(super) fn new(stream: String, region: Region, counts: bool) -> Self {
        Self {
            stream,
            region,
            session: None,
            counts,
            patient: true,
            first: true,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Joined {
    To {
        url: String,
        region: Region,
    },
    /// A relay is on its way; ask again when the routing changes.
    Wait,
    /// The primary says that there is no such stream.
    NoStream,
    /// Another manager decides: where it is, if that is known.
    Elsewhere(Option<String>),
}

/// The task is gone: the program is about to end.
#[derive(Debug)]
pub(super) struct Closed;

impl Desk {
    pub(super) fn routing(&self) -> watch::Receiver<Arc<Routing>> {
        self.routing.clone()
    }

    /// A reader that lags misses the oldest.
    pub(super) fn decisions(&self) -> broadcast::Receiver<Arc<Decision>> {
        self.decisions.subscribe()
    }

    pub(super) async fn heartbeat(
        &self,
        heartbeat: Heartbeat,
    ) -> Result<Result<HeartbeatReply, Refused>, Closed> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Heartbeat(Box::new(heartbeat), reply);
        self.messages.send(message).await.map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)
    }

    pub(super) async fn obey(&self, wanted: Override) -> Result<Result<(), Refused>, Closed> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Override(wanted, reply);
        self.messages.send(message).await.map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)
    }

    pub(super) async fn overview(&self) -> Result<Overview, Closed> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Overview(reply);
        self.messages.send(message).await.map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)
    }

    pub(super) async fn past(&self, span: Span) -> Result<Told, Closed> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Past(span, reply);
        self.messages.send(message).await.map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)
    }

    /// `None` if too much is asked already.
    pub(super) async fn look(&self, look: Look) -> Result<Option<Lookup>, Closed> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Look(look, reply);
        self.messages.send(message).await.map_err(|_| Closed)?;
        Ok(answer.await.ok())
    }

    pub(super) async fn note(&self, answer: Answer) -> Result<(), Closed> {
        let message = Message::Answer(answer);
        self.messages.send(message).await.map_err(|_| Closed)
    }

    pub(super) async fn present(&self) -> Result<Result<Present, Refused>, Closed> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Present(reply);
        self.messages.send(message).await.map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)
    }

    /// Where a viewer goes. Waits for a relay that is on its way, but not for long; and is
    /// answered even if nobody is at the desk.
    pub(super) async fn join(&self, mut join: Join) -> Joined {
        let mut routing = self.routing.clone();
        let deadline = tokio::time::Instant::now() + self.join_patience;
        loop {
            routing.borrow_and_update();
            match self.ask(join.clone()).await {
                Some(Joined::Wait) => {}
                Some(joined) => return joined,
                None => {
                    if let Tenure::Standby { active } = &routing.borrow().tenure {
                        return Joined::Elsewhere(active.clone());
                    }
                    let url = routing.borrow().node_for(&join.region).to_owned();
                    let region = join.region;
                    return Joined::To { url, region };
                }
            }
            let changed = tokio::time::timeout_at(deadline, routing.changed()).await;
            join.first = false;
            join.patient = matches!(changed, Ok(Ok(())));
        }
    }

    async fn ask(&self, join: Join) -> Option<Joined> {
        let (reply, answer) = oneshot::channel();
        self.messages.try_send(Message::Join(join, reply)).ok()?;
        answer.await.ok()
    }
}

/// Starts the task. It ends after `stop`, when all relays it launched have ended.
pub(super) fn open(
    config: Config,
    launcher: Option<Arc<dyn Launcher>>,
    journal: Option<Journal>,
    (tenures, legacy): (watch::Receiver<Tenure>, Legacy),
    stop: CancellationToken,
) -> (Desk, JoinHandle<()>) {
    let (messages, inbox) = mpsc::channel(QUEUE);
    let (decisions, _) = broadcast::channel(LAG);
    let (routing_in, routing) = watch::channel(Arc::new(Routing {
        primary: config.primary.clone(),
        ready: false,
        tenure: tenures.borrow().clone(),
        regions: BTreeMap::new(),
    }));
    let desk = Desk {
        messages,
        routing,
        decisions: decisions.clone(),
        join_patience: config.join_patience,
        stop: stop.clone(),
    };
    let voices = Voices {
        legacy,
        decisions,
        routing: routing_in,
        journal,
    };
    let tenure = tenures.borrow().clone();
    let clerk = Clerk::new(config, launcher, voices, tenure);
    (desk, tokio::spawn(clerk.run(inbox, tenures, stop)))
}

/// Messages that wait. Beyond it joins are answered from the snapshot, the rest waits.
const QUEUE: usize = 1024;

/// Decisions that a reader may be behind. One that is further behind misses the oldest.
const LAG: usize = 200;
