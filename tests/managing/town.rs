//! A manager on a free port, nodes that report and obey, and a launcher that starts such nodes.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use playlists::Bitrate;
use spillway::{
    control::{Directive, Heartbeat, HeartbeatReply, Load, NodeKind, NodeState, VERSION},
    manager::{
        Config, Manager, Means, Members, Routing,
        launcher::{Ended, Later, Launcher, Order},
    },
    net,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) const PRIMARY: &str = "http://primary.test:8080";

pub(crate) struct Town {
    pub(crate) url: String,
    pub(crate) manager: Manager,
    pub(crate) launcher: Arc<Nursery>,
    pub(crate) stop: CancellationToken,
    pub(crate) served: tokio::task::JoinHandle<()>,
    http: reqwest::Client,
}

pub(crate) fn config() -> Config {
    let mut config = Config::new(PRIMARY.into());
    config.balancer.threshold = 3;
    // Nodes report more often than they have to: a slow machine is not to look like a loss.
    config.balancer.heartbeat = Duration::from_millis(200);
    config.balancer.cooldown = Duration::from_millis(300);
    config.join_patience = Duration::from_secs(20);
    config
}

impl Town {
    pub(crate) async fn new(config: Config) -> Self {
        Self::with(config, |_| {}).await
    }

    /// With other means than the plain ones.
    pub(crate) async fn with(config: Config, change: impl FnOnce(&mut Means)) -> Self {
        let listener = net::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let launcher = Arc::new(Nursery {
            manager: url.clone(),
            works: Mutex::new(Works::Well),
            orders: Mutex::default(),
            relays: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let mut means = Means::plain(Some(launcher.clone()));
        change(&mut means);
        let manager = Manager::start(config, means, stop.clone());
        let served = net::serve(
            listener,
            manager
                .public()
                .merge(manager.control(Members::default()).unwrap()),
            net::Limits::default(),
            stop.clone(),
        );
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            url,
            manager,
            launcher,
            stop,
            served: tokio::spawn(served),
            http,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        let request = self.http.get(format!("{}{path}", self.url));
        request.send().await.unwrap()
    }

    pub(crate) async fn head(&self, path: &str) -> reqwest::Response {
        let request = self.http.head(format!("{}{path}", self.url));
        request.send().await.unwrap()
    }

    pub(crate) async fn json(&self, path: &str) -> serde_json::Value {
        self.get(path).await.json().await.unwrap()
    }

    /// Where `path` is redirected to.
    pub(crate) async fn location(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), 307, "{path}");
        answer.headers()["location"].to_str().unwrap().to_owned()
    }

    pub(crate) async fn post(&self, body: impl Into<reqwest::Body>) -> (u16, String) {
        let request = self
            .http
            .post(format!("{}/v1/heartbeat", self.url))
            .header("content-type", "application/json")
            .body(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    pub(crate) async fn until(&self, test: impl FnMut(&Arc<Routing>) -> bool) -> Arc<Routing> {
        let mut routing = self.manager.routing();
        let seen = routing.wait_for(test).await.unwrap();
        seen.clone()
    }

    pub(crate) async fn primary(&self) -> Node {
        let node = Node::start(&self.url, primary_report(), CancellationToken::new());
        self.until(|routing| routing.ready).await;
        node
    }

    pub(crate) async fn events(&self) -> Events {
        Events {
            answer: self.get("/v1/events").await,
            text: String::new(),
        }
    }
}

pub(crate) fn primary_report() -> Heartbeat {
    let mut report = relay_report("primary", None);
    report.kind = NodeKind::Primary;
    report.state = NodeState::Active;
    report.url = PRIMARY.into();
    report.launched = false;
    report.load.streams.insert("demo".into(), 0);
    report
}

pub(crate) fn relay_report(name: &str, region: Option<&str>) -> Heartbeat {
    Heartbeat {
        version: VERSION,
        node: name.into(),
        instance: 1_000,
        kind: NodeKind::Relay,
        state: NodeState::Standby,
        url: format!("http://{name}.test"),
        region: region.map(Into::into),
        launched: true,
        software: "0.1.0".into(),
        load: Load {
            egress: Bitrate::from_kbps(100),
            ..Load::default()
        },
    }
}

/// A node that reports and does as it is told. Ends with its handle, unless it is let go.
pub(crate) struct Node {
    report: watch::Sender<Heartbeat>,
    pub(crate) manager: watch::Sender<String>,
    stop: CancellationToken,
}

impl Node {
    pub(crate) fn start(manager: &str, report: Heartbeat, stop: CancellationToken) -> Self {
        let (report, reader) = watch::channel(report);
        let (manager, told) = watch::channel(manager.to_owned());
        let node = Self {
            report: report.clone(),
            manager,
            stop: stop.clone(),
        };
        tokio::spawn(async move {
            tokio::select! {
                () = live(report, reader, told) => {}
                () = stop.cancelled() => {}
            }
            stop.cancel();
        });
        node
    }

    pub(crate) fn set(&self, region: &str, viewers: u32) {
        self.report.send_modify(|report| {
            let load = report.load.regions.entry(region.into()).or_default();
            load.arrivals += u64::from(viewers.saturating_sub(load.viewers));
            load.viewers = viewers;
        });
    }

    pub(crate) fn end(&self) {
        self.stop.cancel();
    }

    pub(crate) async fn gone(&self) {
        self.stop.cancelled().await;
    }
}

async fn live(
    report: watch::Sender<Heartbeat>,
    mut changes: watch::Receiver<Heartbeat>,
    manager: watch::Receiver<String>,
) {
    let http = reqwest::Client::new();
    loop {
        let now = changes.borrow_and_update().clone();
        let url = format!("{}/v1/heartbeat", *manager.borrow());
        let answer = http.post(url).json(&now).send().await;
        if let Ok(answer) = answer.and_then(reqwest::Response::error_for_status) {
            let reply: HeartbeatReply = answer.json().await.unwrap();
            if obey(&report, reply.directive) {
                return;
            }
        }
        let _ = tokio::time::timeout(Duration::from_millis(40), changes.changed()).await;
    }
}

/// Whether the node is to end.
fn obey(report: &watch::Sender<Heartbeat>, directive: Directive) -> bool {
    let now = report.borrow().state;
    let (state, region) = match directive {
        Directive::Continue => return false,
        Directive::Activate { region, .. } if now == NodeState::Standby => {
            (NodeState::Filling, Some(region))
        }
        Directive::Activate { region, .. } => (NodeState::Active, Some(region)),
        Directive::Drain { .. } => (NodeState::Draining, None),
        Directive::Retire if report.borrow().launched => return true,
        Directive::Retire => (NodeState::Standby, None),
    };
    report.send_if_modified(|report| {
        let changed = report.state != state;
        report.state = state;
        report.region = region.or(report.region.take());
        changed
    });
    false
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Works {
    Well,
    /// Every launch fails.
    Badly,
    /// No launch comes to an end.
    Never,
}

/// Starts nodes as relays.
pub(crate) struct Nursery {
    manager: String,
    pub(crate) works: Mutex<Works>,
    pub(crate) orders: Mutex<Vec<Order>>,
    relays: Mutex<BTreeMap<String, Arc<Node>>>,
}

impl Nursery {
    pub(crate) fn relay(&self, name: &str) -> Arc<Node> {
        self.relays.lock().unwrap()[name].clone()
    }

    pub(crate) fn running(&self) -> usize {
        let relays = self.relays.lock().unwrap();
        relays
            .values()
            .filter(|node| !node.stop.is_cancelled())
            .count()
    }
}

impl std::fmt::Debug for Nursery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nursery").finish_non_exhaustive()
    }
}

impl Launcher for Nursery {
    fn launch(&self, order: Order, stop: CancellationToken) -> Later<anyhow::Result<Ended>> {
        self.orders.lock().unwrap().push(order.clone());
        match *self.works.lock().unwrap() {
            Works::Badly => Box::pin(async { anyhow::bail!("no room at the inn") }),
            Works::Never => Box::pin(async move {
                stop.cancelled().await;
                anyhow::bail!("stopped")
            }),
            Works::Well => {
                let report = relay_report(&order.node, Some(&order.region));
                // Its own: a manager that is killed does not take it along.
                let gone = CancellationToken::new();
                let node = Node::start(&self.manager, report, gone.clone());
                self.relays
                    .lock()
                    .unwrap()
                    .insert(order.node, Arc::new(node));
                let ended: Ended = Box::pin(async move {
                    tokio::select! {
                        () = gone.cancelled() => "exit status: 0".into(),
                        () = stop.cancelled() => {
                            gone.cancel();
                            "signal: 15".into()
                        }
                    }
                });
                Box::pin(async move { Ok(ended) })
            }
        }
    }
}

/// A reader of `/v1/events`.
pub(crate) struct Events {
    answer: reqwest::Response,
    text: String,
}

impl Events {
    /// The next event called `name` for which `test` holds.
    pub(crate) async fn next(
        &mut self,
        name: &str,
        test: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let found = event
                    .strip_prefix(&format!("event: {name}\ndata: "))
                    .map(|data| serde_json::from_str(data).unwrap())
                    .filter(&test);
                self.text = rest.to_owned();
                if let Some(found) = found {
                    return found;
                }
            }
            let chunk = self.answer.chunk().await.unwrap();
            let chunk = chunk.expect("the manager goes on");
            self.text += std::str::from_utf8(&chunk).unwrap();
        }
    }

    pub(crate) async fn decision(&mut self, action: &str) -> serde_json::Value {
        self.next("decision", |decision| decision["action"] == action)
            .await
    }

    /// Reads until the manager closes.
    pub(crate) async fn drain(mut self) {
        while let Ok(Some(_)) = self.answer.chunk().await {}
    }
}
