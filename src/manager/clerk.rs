//! The task that owns everything the manager knows: hears messages, time, and what becomes of
//! launches; has the balancer decide; carries it out.

mod overview;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use adaptation::region::{self, Action, Balancer, Event, Refused, Region, Route, What};
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{
    Config, Routing,
    desk::{Join, Joined, Message},
    launcher::{Ended, Launcher, Order},
    report,
    view::{self, Decision},
};
use crate::control::{Directive, Heartbeat, HeartbeatReply, NodeKind, VERSION};

/// Who sits at the desk.
pub(super) struct Clerk {
    config: Config,
    balancer: Balancer,
    launcher: Option<Arc<dyn Launcher>>,
    /// The last heartbeat of each node that the balancer knows.
    nodes: BTreeMap<String, Heartbeat>,
    /// Relays launched by this manager and not known to have ended.
    relays: BTreeMap<String, Launched>,
    work: JoinSet<(String, Outcome)>,
    /// Newest first.
    history: VecDeque<Arc<Decision>>,
    decisions: broadcast::Sender<Arc<Decision>>,
    routing: watch::Sender<Arc<Routing>>,
    started: Instant,
}

struct Launched {
    stop: CancellationToken,
    /// Told to retire; made to end if it is still there then.
    overdue: Option<Instant>,
}

enum Outcome {
    Runs(Ended),
    Failed(String),
    Ended(String),
    /// An earlier manager's, and nowhere to be found.
    Stray,
}

impl Clerk {
    pub(super) fn new(
        config: Config,
        launcher: Option<Arc<dyn Launcher>>,
        decisions: broadcast::Sender<Arc<Decision>>,
        routing: watch::Sender<Arc<Routing>>,
    ) -> Self {
        let balancer = region::Config {
            launcher: launcher.is_some(),
            ..config.balancer.clone()
        };
        Self {
            balancer: Balancer::new(balancer, Instant::now()),
            config,
            launcher,
            nodes: BTreeMap::new(),
            relays: BTreeMap::new(),
            work: JoinSet::new(),
            history: VecDeque::new(),
            decisions,
            routing,
            started: Instant::now(),
        }
    }

    /// Until `stop`, and then until all relays launched here have ended.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Message>, stop: CancellationToken) {
        // Four looks per heartbeat: silence and deadlines are noticed soon enough.
        let period = (self.config.balancer.heartbeat / 4).max(Duration::from_millis(10));
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(message) = inbox.recv() => self.answer(message),
                Some(done) = self.work.join_next() => self.done(done),
                _ = ticks.tick() => self.tick(),
                () = stop.cancelled() => break,
            }
        }
        // Handlers find the queue closed and fall back to the snapshot.
        drop(inbox);
        self.end_relays().await;
    }

    fn answer(&mut self, message: Message) {
        // Who asked may have gone away meanwhile; then nobody needs the answer.
        match message {
            Message::Heartbeat(heartbeat, reply) => {
                let _ = reply.send(self.hear(*heartbeat));
            }
            Message::Join(join, reply) => {
                let _ = reply.send(self.join(&join));
            }
            Message::Overview(reply) => {
                let _ = reply.send(self.overview());
            }
        }
    }

    fn hear(&mut self, heartbeat: Heartbeat) -> Result<HeartbeatReply, Refused> {
        let event = Event::Heartbeat(report::of(&heartbeat));
        self.balancer.handle(event, Instant::now())?;
        let name = heartbeat.node.clone();
        if let Some(old) = self.nodes.insert(name.clone(), heartbeat) {
            let new = &self.nodes[&name];
            if (old.state, old.instance) != (new.state, new.instance) {
                tracing::info!(node = name, state = ?new.state, url = new.url, "node reports a new state");
            }
        } else {
            let new = &self.nodes[&name];
            tracing::info!(node = name, kind = ?new.kind, state = ?new.state, url = new.url, "node heard");
            if new.launched {
                self.adopt(name.clone());
            }
        }
        self.act();
        self.publish();
        Ok(HeartbeatReply {
            version: VERSION,
            directive: self.directive(&name),
            interval_ms: u64::try_from(self.config.balancer.heartbeat.as_millis())
                .unwrap_or(u64::MAX),
        })
    }

    fn directive(&self, node: &str) -> Directive {
        match self.balancer.order(node) {
            region::Order::Continue => Directive::Continue,
            region::Order::Activate { region } => Directive::Activate {
                upstream: self.primary_url().to_owned(),
                region: region.to_string(),
            },
            region::Order::Drain { to } => Directive::Drain {
                to: self.url(to.as_deref()).to_owned(),
            },
            region::Order::Retire => Directive::Retire,
        }
    }

    fn join(&mut self, join: &Join) -> Joined {
        let now = Instant::now();
        let primary = self.balancer.primary_name();
        let heard = primary.and_then(|name| self.nodes.get(name));
        let streams = heard.map(|heartbeat| &heartbeat.load.streams);
        if streams.is_some_and(|known| !known.is_empty() && !known.contains_key(&join.stream)) {
            return Joined::NoStream;
        }
        let region = self.balancer.known(&join.region);
        let route = if join.patient {
            self.balancer.route(&region, now)
        } else {
            self.balancer.route_now(&region, now)
        };
        let node = match &route {
            Route::Wait => return Joined::Wait,
            Route::Primary { .. } => primary.map(str::to_owned),
            Route::Relay { node } => Some(node.clone()),
        };
        let url = self.url(node.as_deref()).to_owned();
        tracing::debug!(stream = join.stream, %region, ?route, url, "join");
        if let Some(node) = node.filter(|_| join.counts) {
            let region = region.clone();
            self.tell(Event::Joined { region, node });
        }
        Joined::To { url, region }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        for relay in self.relays.values_mut() {
            if relay.overdue.is_some_and(|at| now >= at) {
                relay.overdue = None;
                relay.stop.cancel();
            }
        }
        let _ = self.balancer.handle(Event::Tick, now);
        self.nodes
            .retain(|name, _| self.balancer.heard(name).is_some());
        self.act();
        self.publish();
    }

    fn done(&mut self, done: Result<(String, Outcome), JoinError>) {
        let (node, outcome) = match done {
            Ok(done) => done,
            Err(error) => return tracing::error!(%error, "a launcher failed"),
        };
        match outcome {
            Outcome::Runs(ended) => {
                let name = node.clone();
                let work = async move { (name, Outcome::Ended(ended.await)) };
                self.work.spawn(work);
                self.tell(Event::Launched { node });
            }
            Outcome::Failed(why) => {
                self.relays.remove(&node);
                self.tell(Event::LaunchFailed { node, why });
            }
            Outcome::Ended(why) => {
                self.relays.remove(&node);
                self.tell(Event::Ended { node, why });
            }
            Outcome::Stray => drop(self.relays.remove(&node)),
        }
        self.publish();
    }

    fn tell(&mut self, event: Event) {
        let _ = self.balancer.handle(event, Instant::now());
        if self.act() {
            self.publish();
        }
    }

    /// Carries out what was decided; whether anything was.
    fn act(&mut self) -> bool {
        let mut acted = false;
        while let Some(action) = self.balancer.poll() {
            acted = true;
            self.record(&action);
            let Some(node) = action.node else { continue };
            match action.what {
                What::Launch => self.launch(node, action.region.unwrap_or_default()),
                What::Retire => {
                    let at = Instant::now() + self.config.retire_deadline;
                    if let Some(relay) = self.relays.get_mut(&node) {
                        relay.overdue = Some(at);
                    }
                }
                What::Failed | What::Gone => {
                    if let Some(relay) = self.relays.get(&node) {
                        relay.stop.cancel();
                    }
                }
                What::Activate
                | What::Adopt
                | What::Drain
                | What::Lost
                | What::Press
                | What::Short => {}
            }
        }
        acted
    }

    fn launch(&mut self, node: String, region: Region) {
        let Some(launcher) = &self.launcher else {
            return;
        };
        let stop = CancellationToken::new();
        let order = Order {
            node: node.clone(),
            region: region.to_string(),
            upstream: self.primary_url().to_owned(),
        };
        let launch = launcher.launch(order, stop.clone());
        let relay = Launched {
            stop,
            overdue: None,
        };
        self.relays.insert(node.clone(), relay);
        self.work.spawn(async move {
            match launch.await {
                Ok(ended) => (node, Outcome::Runs(ended)),
                Err(error) => (node, Outcome::Failed(format!("{error:#}"))),
            }
        });
    }

    /// A relay that an earlier manager launched is ended and seen to its end as those launched here.
    fn adopt(&mut self, node: String) {
        let Some(launcher) = &self.launcher else {
            return;
        };
        if self.relays.contains_key(&node) {
            return;
        }
        let stop = CancellationToken::new();
        let adopted = launcher.adopt(node.clone(), stop.clone());
        let relay = Launched {
            stop,
            overdue: None,
        };
        self.relays.insert(node.clone(), relay);
        self.work.spawn(async move {
            match adopted.await {
                Some(ended) => (node, Outcome::Ended(ended.await)),
                None => (node, Outcome::Stray),
            }
        });
    }

    fn record(&mut self, action: &Action) {
        let (node, region) = (action.node.as_deref(), action.region.as_ref());
        let (region, what) = (region.map(Region::as_str), action.what.name());
        match action.what {
            What::Lost | What::Failed | What::Short | What::Press => {
                tracing::warn!(region, node, reason = action.reason, "{what}");
            }
            _ => tracing::info!(region, node, reason = action.reason, "{what}"),
        }
        let decision = Arc::new(Decision {
            at: view::utc(SystemTime::now()),
            region: region.map(Into::into),
            node: action.node.clone(),
            action: what,
            reason: action.reason.clone(),
        });
        self.history.truncate(HISTORY - 1);
        self.history.push_front(decision.clone());
        // Nobody may be listening.
        let _ = self.decisions.send(decision);
    }

    /// Shows readers where joins go, if that has changed.
    fn publish(&mut self) {
        let now = Instant::now();
        let regions = self.balancer.regions().map(|region| {
            let route = self.balancer.route(region, now);
            let node = match &route {
                Route::Relay { node } => Some(node.as_str()),
                Route::Primary { .. } | Route::Wait => None,
            };
            let url = self.url(node).to_owned();
            (region.clone(), (route, url))
        });
        let routing = Routing {
            primary: self.primary_url().to_owned(),
            ready: self.balancer.ready(now),
            regions: regions.collect(),
        };
        self.routing.send_if_modified(|old| {
            let changed = **old != routing;
            if changed {
                *old = Arc::new(routing);
            }
            changed
        });
    }

    /// Base URL of a node; of the primary if it is not known.
    fn url(&self, node: Option<&str>) -> &str {
        let known = node.and_then(|node| self.nodes.get(node));
        known.map_or_else(|| self.primary_url(), |heartbeat| &heartbeat.url)
    }

    /// As the primary says itself, also when it is silent; before, as the operator said.
    fn primary_url(&self) -> &str {
        self.nodes
            .values()
            .find(|heartbeat| heartbeat.kind == NodeKind::Primary)
            .map_or(&self.config.primary, |heartbeat| &heartbeat.url)
    }

    async fn end_relays(mut self) {
        if self.relays.is_empty() {
            return;
        }
        if self
            .launcher
            .as_ref()
            .is_some_and(|launcher| launcher.outlives())
        {
            return tracing::info!(
                relays = self.relays.len(),
                "leaving the relays that run to the next manager"
            );
        }
        tracing::info!(
            relays = self.relays.len(),
            "ending the relays that were launched here"
        );
        for relay in self.relays.values() {
            relay.stop.cancel();
        }
        while let Some(done) = self.work.join_next().await {
            match done {
                // Stopped between the two: its end is still to come.
                Ok((node, Outcome::Runs(ended))) => {
                    self.work
                        .spawn(async move { (node, Outcome::Ended(ended.await)) });
                }
                Ok((node, Outcome::Ended(why) | Outcome::Failed(why))) => {
                    tracing::info!(node, why, "relay ended");
                }
                Ok((_, Outcome::Stray)) => {}
                Err(error) => tracing::error!(%error, "a launcher failed"),
            }
        }
    }
}

/// Decisions kept for operators.
const HISTORY: usize = 200;
