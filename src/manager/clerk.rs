//! The task that owns everything the manager knows: hears messages, time, and what becomes of
//! launches; has the balancer decide; carries it out. While another manager holds the lease it only listens.

mod lookups;
mod overview;
mod relays;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use adaptation::region::{
    self, Action, Ask, Balancer, Event, Moment, Override, Refused, Region, Rehearsal, Route, What,
};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    Config, Routing,
    alerts::Alerts,
    desk::{Join, Joined, Look, Message, Present},
    journal::{self, Journal},
    launcher::Launcher,
    lease::{Legacy, Tenure},
    past::Past,
    report,
    sessions::Sessions,
    view::{self, Decision, Lookup},
};
use crate::control::{Directive, Heartbeat, HeartbeatReply, VERSION};

/// Who sits at the desk.
pub(super) struct Clerk {
    config: Config,
    tenure: Tenure,
    balancer: Balancer,
    launcher: Option<Arc<dyn Launcher>>,
    /// Decides without doing: what would become of it.
    rehearsal: Option<Rehearsal>,
    journal: Option<Journal>,
    /// What operators want, for the manager that decides after this one.
    legacy: Legacy,
    sessions: Sessions,
    /// The last heartbeat of each node, and when it came.
    nodes: BTreeMap<String, (Heartbeat, Moment)>,
    /// Relays launched by this manager and not known to have ended.
    relays: BTreeMap<String, relays::Launched>,
    work: JoinSet<(String, relays::Outcome)>,
    lookups: lookups::Lookups,
    alerts: Alerts,
    past: Past,
    /// Newest first.
    history: VecDeque<Arc<Decision>>,
    decisions: broadcast::Sender<Arc<Decision>>,
    routing: watch::Sender<Arc<Routing>>,
    started: Instant,
}

/// How a clerk speaks to those who do not ask.
pub(super) struct Voices {
    /// To the manager that decides after this one, and from the one before.
    pub(super) legacy: Legacy,
    pub(super) decisions: broadcast::Sender<Arc<Decision>>,
    pub(super) routing: watch::Sender<Arc<Routing>>,
    pub(super) journal: Option<Journal>,
}

impl Clerk {
    pub(super) fn new(
        mut config: Config,
        launcher: Option<Arc<dyn Launcher>>,
        voices: Voices,
        tenure: Tenure,
    ) -> Self {
        // What is only rehearsed needs no means.
        config.balancer.launcher = launcher.is_some() || config.dry_run;
        let started = Instant::now();
        Self {
            balancer: Balancer::new(config.balancer.clone(), Moment::ZERO),
            rehearsal: config.dry_run.then(Rehearsal::default),
            config,
            tenure,
            launcher,
            journal: voices.journal,
            legacy: voices.legacy,
            sessions: Sessions::new(started),
            nodes: BTreeMap::new(),
            relays: BTreeMap::new(),
            work: JoinSet::new(),
            lookups: lookups::Lookups::default(),
            alerts: Alerts::default(),
            past: Past::new(),
            history: VecDeque::new(),
            decisions: voices.decisions,
            routing: voices.routing,
            started,
        }
    }

    /// Until `stop`, and then until all relays launched here have ended.
    pub(super) async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Message>,
        mut tenures: watch::Receiver<Tenure>,
        stop: CancellationToken,
    ) {
        // Four looks per heartbeat: silence and deadlines are noticed soon enough.
        let period = (self.config.balancer.heartbeat / 4).max(Duration::from_millis(10));
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut steps = Past::steps(self.started);
        loop {
            tokio::select! {
                Some(message) = inbox.recv() => self.answer(message),
                Some(done) = self.work.join_next() => self.done(done),
                _ = ticks.tick() => self.tick(),
                _ = steps.tick() => self.remember(),
                Ok(()) = tenures.changed() => {
                    let tenure = tenures.borrow_and_update().clone();
                    self.take_office(tenure);
                }
                () = stop.cancelled() => break,
            }
        }
        // Handlers find the queue closed and fall back to the snapshot.
        drop(inbox);
        let outlives = |launcher: &Arc<dyn Launcher>| launcher.outlives();
        if self.config.leased || self.launcher.as_ref().is_some_and(outlives) {
            // Whoever decides next finds them running, and adopts them.
            return self.leave_relays();
        }
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
            Message::Override(wanted, reply) => {
                let _ = reply.send(self.obey(wanted));
            }
            Message::Overview(reply) => {
                let _ = reply.send(self.overview());
            }
            Message::Past(span, reply) => {
                let _ = reply.send(self.past.tell(span));
            }
            Message::Look(look, reply) => self.look(look, reply),
            Message::Answer(answer) => self.lookups.note(answer, Instant::now()),
            Message::Present(reply) => {
                let _ = reply.send(self.present());
            }
        }
    }

    /// Whole microseconds, which is what is written down.
    fn now(&self) -> Moment {
        let micros = self.started.elapsed().as_micros();
        Moment::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// How long operators wait for a node to say something: three heartbeats, and not less than [`PATIENCE`].
    fn patience(&self) -> Duration {
        (self.config.balancer.heartbeat * 3).max(PATIENCE)
    }

    /// Begins to decide, or ceases to. What nodes said lately is known; what another manager decided is not,
    /// and is seen from what they do.
    fn take_office(&mut self, tenure: Tenure) {
        let begins = tenure.is_active() && tenure != self.tenure;
        self.tenure = tenure;
        if begins {
            let now = self.now();
            if let Tenure::Active { epoch: epoch @ 1.. } = self.tenure {
                self.config.balancer.series = Some(epoch);
            }
            self.balancer = Balancer::new(self.config.balancer.clone(), now);
            self.inherit(now);
            if let Some(journal) = &self.journal {
                journal.begin();
            }
            let patience = self.config.balancer.heartbeat * 3;
            let known = self.nodes.values();
            let fresh = known.filter(|(_, heard)| now.saturating_sub(*heard) < patience);
            let reports: Vec<_> = fresh.map(|(heartbeat, _)| report::of(heartbeat)).collect();
            for report in reports {
                let _ = self.handle(Event::Heartbeat(report));
            }
            let launched = self.nodes.values().filter(|(node, _)| node.launched);
            let launched: Vec<_> = launched.map(|(node, _)| node.node.clone()).collect();
            launched.into_iter().for_each(|node| self.adopt(node));
        }
        self.publish();
    }

    /// What operators wanted of the manager before is wanted of this one.
    fn inherit(&mut self, now: Moment) {
        let left = self.legacy.now();
        if left.is_empty() {
            return;
        }
        match serde_json::from_str::<Vec<Override>>(&left) {
            Ok(overrides) => {
                tracing::info!(
                    ?overrides,
                    "operators want this of the manager that decides"
                );
                self.balancer.inherit(overrides, now);
            }
            Err(error) => {
                tracing::warn!(%error, "what operators wanted of the manager before cannot be read; it is to be said again");
            }
        }
    }

    fn hear(&mut self, heartbeat: Heartbeat) -> Result<HeartbeatReply, Refused> {
        let now = self.now();
        let name = heartbeat.node.clone();
        let mut acted = false;
        if self.tenure.is_active() {
            let mut report = report::of(&heartbeat);
            if let Some(rehearsal) = &self.rehearsal {
                report = rehearsal.hear(report, &self.balancer);
            }
            acted = self.handle(Event::Heartbeat(report))?;
        }
        let news = match self.nodes.get(&name) {
            Some((old, _))
                if (old.state, old.instance) == (heartbeat.state, heartbeat.instance) =>
            {
                false
            }
            Some(_) => {
                tracing::info!(node = name, state = ?heartbeat.state, url = heartbeat.url, "node reports a new state");
                true
            }
            None => {
                tracing::info!(node = name, kind = ?heartbeat.kind, state = ?heartbeat.state, url = heartbeat.url, "node heard");
                true
            }
        };
        let launched = heartbeat.launched;
        let known = self.nodes.insert(name.clone(), (heartbeat, now));
        if known.is_none() && launched && self.tenure.is_active() {
            self.adopt(name.clone());
        }
        // Heartbeats are many, and say little new about where joins go.
        if acted || news {
            self.publish();
        }
        let (epoch, standby) = match self.tenure {
            Tenure::Active { epoch } => (epoch, self.config.dry_run),
            Tenure::Standby { .. } => (0, true),
        };
        let interval = self.config.balancer.heartbeat.as_millis();
        Ok(HeartbeatReply {
            version: VERSION,
            directive: match standby {
                true => Directive::Continue,
                false => self.directive(&name),
            },
            interval_ms: u64::try_from(interval).unwrap_or(u64::MAX),
            epoch,
            standby,
            // It is known to who hears it.
            visits: false,
            elsewhere: match standby || Some(&*name) != self.balancer.primary_name() {
                true => BTreeMap::new(),
                false => self.elsewhere(),
            },
            questions: self.lookups.questions(&name),
        })
    }

    /// Without an answer if too much is asked already.
    fn look(&mut self, look: Look, reply: oneshot::Sender<Lookup>) {
        let (viewer, nodes) = match look {
            Look::Viewer(id) => {
                let has = |(name, (heartbeat, _)): (&String, &(Heartbeat, Moment))| {
                    let load = &heartbeat.load;
                    (load.viewers() > 0 || load.moved > 0).then(|| name.clone())
                };
                (Some(id), self.nodes.iter().filter_map(has).collect())
            }
            Look::Node(node) => {
                let known = self.nodes.contains_key(&node);
                (None, BTreeSet::from_iter(known.then_some(node)))
            }
        };
        let now = Instant::now();
        let deadline = now + self.patience();
        let _ = self.lookups.ask(viewer, nodes, reply, now, deadline);
    }

    fn present(&self) -> Result<Present, Refused> {
        self.must_decide()?;
        Ok(Present {
            balancer: Box::new(self.balancer.clone()),
            nodes: self
                .nodes
                .values()
                .map(|(heartbeat, _)| report::of(heartbeat))
                .collect(),
            now: self.now(),
        })
    }

    fn must_decide(&self) -> Result<(), Refused> {
        if let Tenure::Standby { active } = &self.tenure {
            let who = active.as_deref().unwrap_or("another one");
            let why = format!("this manager is in standby; {who} decides");
            return Err(Refused::Wrong { why });
        }
        Ok(())
    }

    fn directive(&self, node: &str) -> Directive {
        let primary = self.balancer.primary_name();
        match self.balancer.order(node) {
            region::Order::Continue => Directive::Continue,
            region::Order::Activate { region, keep } => Directive::Activate {
                upstream: self.primary_url().to_owned(),
                region: region.to_string(),
                home: primary.map(|primary| self.url(Some(primary)).to_owned()),
                keep,
            },
            region::Order::Drain { to } => Directive::Drain {
                to: self.url(to.as_deref()).to_owned(),
            },
            region::Order::Retire => Directive::Retire,
        }
    }

    /// Regions whose viewers the primary is to send to a relay.
    fn elsewhere(&self) -> BTreeMap<String, String> {
        let there = self.balancer.elsewhere();
        there
            .map(|(region, node)| (region.to_string(), self.url(Some(&node)).to_owned()))
            .collect()
    }

    fn join(&mut self, join: &Join) -> Joined {
        if let Tenure::Standby { active } = &self.tenure {
            return Joined::Elsewhere(active.clone());
        }
        let now = self.now();
        let primary = self.balancer.primary_name();
        let heard = primary.and_then(|name| self.nodes.get(name));
        let streams = heard.map(|(heartbeat, _)| &heartbeat.load.streams);
        if streams.is_some_and(|known| !known.is_empty() && !known.contains_key(&join.stream)) {
            return Joined::NoStream;
        }
        let region = self.balancer.known(&join.region);
        let session = join.session.as_deref();
        let before = session.and_then(|session| self.sessions.node(session));
        let ask = Ask {
            region: &region,
            stream: Some(&join.stream),
            before,
        };
        // In a rehearsal no relay is on its way that anybody could wait for.
        let patient = join.patient && self.rehearsal.is_none();
        let route = match patient {
            true => self.balancer.route(ask, now),
            false => self.balancer.route_now(ask, now),
        };
        self.log_join(ask, patient, &route, now);
        let node = match &route {
            Route::Wait => {
                if join.counts && join.first {
                    self.tell(Event::Waiting { region });
                }
                return Joined::Wait;
            }
            Route::Primary { .. } => primary.map(str::to_owned),
            Route::Relay { node } => Some(node.clone()),
        };
        let url = self.url(node.as_deref()).to_owned();
        tracing::debug!(stream = join.stream, %region, ?route, url, "join");
        if let Some(node) = node.filter(|_| join.counts) {
            if let Some(session) = session {
                self.sessions.sent(session, &node, Instant::now());
            }
            let region = region.clone();
            self.tell(Event::Joined { region, node });
        }
        Joined::To { url, region }
    }

    fn log_join(&self, ask: Ask<'_>, patient: bool, route: &Route, now: Moment) {
        let Some(journal) = &self.journal else { return };
        let join = journal::Join {
            region: ask.region.clone(),
            stream: ask.stream.map(str::to_owned),
            before: ask.before.map(str::to_owned),
            patient,
        };
        journal.prepare(&self.balancer, now);
        journal.join(&join, route, now);
    }

    fn obey(&mut self, wanted: Override) -> Result<(), Refused> {
        self.must_decide()?;
        let done = self.handle(Event::Override(wanted));
        if done.is_ok() {
            let overrides = self.balancer.overrides(&self.config.balancer);
            // What it is made of can always be written.
            let text = serde_json::to_string(&overrides).unwrap_or_default();
            self.legacy.leave(text);
        }
        self.publish();
        done.map(drop)
    }

    fn tick(&mut self) {
        let now = self.now();
        self.end_overdue();
        self.lookups.settle(Instant::now());
        if self.tenure.is_active() {
            if let Some(rehearsal) = &mut self.rehearsal {
                let known = self.balancer.primary_node();
                let known = known.and_then(|name| self.nodes.get(name));
                let regions = known.map(|(heartbeat, _)| report::of(heartbeat).regions);
                let viewers = regions.unwrap_or_default().into_iter();
                let real = viewers
                    .map(|(region, load)| (region, load.viewers))
                    .collect();
                let events = rehearsal.beat(&self.balancer, &real, now);
                for event in events {
                    let _ = self.handle(event);
                }
            }
            let _ = self.handle(Event::Tick);
            self.nodes
                .retain(|name, _| self.balancer.heard(name).is_some());
        } else {
            let heard = |at: Moment| now.saturating_sub(at) < FORGOTTEN;
            self.nodes.retain(|_, (_, at)| heard(*at));
        }
        self.publish();
    }

    fn remember(&mut self) {
        let (overview, now) = (self.overview(), self.now());
        self.past.note(&overview, now);
    }

    fn tell(&mut self, event: Event) {
        if self.handle(event).is_ok_and(|acted| acted) {
            self.publish();
        }
    }

    /// Has the balancer decide, writes down what, and carries it out; whether there was anything.
    fn handle(&mut self, event: Event) -> Result<bool, Refused> {
        // A relay that was launched here may end while another manager decides.
        if !self.tenure.is_active() {
            return Ok(false);
        }
        let now = self.now();
        let log = self.journal.as_ref();
        let logged = log.map(|log| {
            log.prepare(&self.balancer, now);
            event.clone()
        });
        let done = self.balancer.handle(event, now);
        let decided: Vec<_> = std::iter::from_fn(|| self.balancer.poll()).collect();
        if let Some((log, event)) = log.zip(logged) {
            log.event(&event, &decided, now);
        }
        let acted = !decided.is_empty();
        decided.into_iter().for_each(|action| self.act(action));
        done.map(|()| acted)
    }

    fn act(&mut self, action: Action) {
        self.record(&action);
        if let Some(rehearsal) = &mut self.rehearsal {
            return rehearsal.act(&action);
        }
        let Some(node) = action.node else { return };
        match action.what {
            What::Launch => self.launch(node, action.region.unwrap_or_default()),
            What::Retire => self.expect_end(&node),
            What::Failed | What::Gone => self.end(&node),
            What::Activate
            | What::Adopt
            | What::Doubt
            | What::Drain
            | What::Lost
            | What::Override
            | What::Press
            | What::Short => {}
        }
    }

    fn record(&mut self, action: &Action) {
        let (node, region) = (action.node.as_deref(), action.region.as_ref());
        let (region, what) = (region.map(Region::as_str), action.what.name());
        match action.what {
            What::Doubt | What::Lost | What::Failed | What::Short | What::Press => {
                tracing::warn!(region, node, reason = action.reason, "{what}");
            }
            _ => tracing::info!(region, node, reason = action.reason, "{what}"),
        }
        let decision = Arc::new(Decision {
            at: view::utc(SystemTime::now()),
            region: region.map(Into::into),
            node: action.node.clone(),
            action: what.into(),
            reason: action.reason.clone(),
        });
        self.history.truncate(HISTORY - 1);
        self.history.push_front(decision.clone());
        // Nobody may be listening.
        let _ = self.decisions.send(decision);
    }

    /// Shows readers where joins go, if that has changed.
    fn publish(&mut self) {
        let now = self.now();
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
            ready: self.tenure.is_active() && self.balancer.ready(now),
            tenure: self.tenure.clone(),
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
        known.map_or_else(|| self.primary_url(), |(heartbeat, _)| &heartbeat.url)
    }

    /// As the primary says itself, also when it is silent; before, as the operator said.
    fn primary_url(&self) -> &str {
        let known = self.balancer.primary_node();
        let known = known.and_then(|name| self.nodes.get(name));
        known.map_or(&self.config.primary, |(heartbeat, _)| &heartbeat.url)
    }
}

/// Three heartbeats of the usual length.
const PATIENCE: Duration = Duration::from_secs(6);

/// Decisions kept for operators.
const HISTORY: usize = 200;

/// While in standby: what was not heard for so long is not there.
const FORGOTTEN: Duration = Duration::from_secs(300);
