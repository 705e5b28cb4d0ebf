//! What `primary` and `local-server` have in common: their options, their listeners, their
//! reports. Where their media comes from is what sets them apart, and is theirs to say.

mod values;

use std::{
    fmt,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use axum::Extension;
use playlists::Bitrate;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

pub use self::values::{Egress, RuleShares, Weight};
use crate::{
    assets,
    clock::unix_ms,
    control::{ControlConfig, Directive, Encoding, NodeKind},
    net::{self, Fetcher, FrontConfig, Limits, caller::Trusted},
    origin::{
        self, Origin, Terms,
        admission::Overflow,
        announcing, journal, ops,
        profile::Latency,
        reporter::{self, Identity, Line, Standing, Word},
        uploading::{self, Keeper, Way},
        viewers::{EXPLAINED, Rules},
        visits::Sweeper,
    },
    store::Store,
    telemetry::TracesConfig,
    token::keys::Keys,
    traces::Tracer,
    webhook::{Hooks, Pace, WebhookConfig},
};

/// How a node meets its viewers, its operator and its traffic manager.
#[derive(Clone, Debug, Default, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct NodeConfig {
    /// Address for viewers; port 0 takes any, `[::]` takes IPv4 as well [default: `[::]:8080`]
    #[arg(long, env = "SPILLWAY_LISTEN", value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// Address for operators: /ready, /v1/viewers, ... [default: 127.0.0.1, any port]
    #[arg(long, env = "SPILLWAY_PRIVATE_LISTEN", value_name = "IP:PORT")]
    pub private_listen: Option<SocketAddr>,
    /// Where viewers reach this node [default: from the address it listens on]
    #[arg(long, env = "SPILLWAY_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<Url>,
    /// What this node is called; keep it over restarts [default: `primary`, or `relay-HOST-PORT`]
    #[arg(long, env = "SPILLWAY_NAME")]
    pub name: Option<String>,
    /// Base URL of the traffic manager to report to; of each, where several share a lease [default: none]
    #[arg(
        long,
        env = "SPILLWAY_MANAGER",
        value_delimiter = ',',
        value_name = "URL"
    )]
    #[serde(default)]
    pub manager: Vec<Url>,
    /// Egress to share among all viewers, in Mbit/s; `auto` finds out what the link carries, once it is
    /// full [default: unlimited]
    #[arg(long, env = "SPILLWAY_EGRESS_MBPS", value_name = "MBPS|auto")]
    pub egress_mbps: Option<Egress>,
    /// How much each viewer of a stream counts where egress is short, or of a class that playback tokens name; 1 is
    /// usual, and both multiply. May be given several times [default: none]
    #[arg(
        long = "weight",
        env = "SPILLWAY_WEIGHT",
        value_delimiter = ',',
        value_name = "STREAM=WEIGHT|class:CLASS=WEIGHT"
    )]
    #[serde(default)]
    pub weight: Vec<Weight>,
    /// Send no faster than so many times its ceiling's rate to a viewer whom the egress budget holds down,
    /// at least 1.2 [default: as fast as its path allows]
    #[arg(long, env = "SPILLWAY_PACE", value_name = "TIMES")]
    pub pace: Option<f64>,
    /// Break off deliveries that would come too late, to players that then ask again: browsers' [default: true]
    #[arg(long, env = "SPILLWAY_ABANDON", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub abandon: Option<bool>,
    /// Viewers at a time; more are asked to come back later [default: 10000]
    #[arg(long, env = "SPILLWAY_MAX_VIEWERS", value_name = "COUNT")]
    pub max_viewers: Option<usize>,
    /// Viewers come through a CDN: what may be cached gets names of its own, and connections say
    /// nothing of a viewer's path
    #[arg(long, env = "SPILLWAY_BEHIND_CDN", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub behind_cdn: Option<bool>,
    /// Authorities (PEM) to trust beside those of the system, when following an https node or
    /// reporting to an https manager [default: none]
    #[arg(long, env = "SPILLWAY_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Whether playlists tell of parts, where a viewer does not say and its player is not known [default: low]
    #[arg(long, env = "SPILLWAY_LATENCY", value_name = "low|normal")]
    pub latency: Option<Latency>,
    /// Where joins go that this node has no room for: the base URL of a node, or that of a traffic manager with
    /// /watch [default: nowhere; they are asked to come back]
    #[arg(long, env = "SPILLWAY_OVERFLOW_URL", value_name = "URL")]
    pub overflow_url: Option<Url>,
    /// Keys of playback tokens, which are asked for from then on [default: none; everybody may watch]
    #[arg(long, env = "SPILLWAY_TOKEN_KEYS", value_name = "FILE")]
    pub token_keys: Option<PathBuf>,
    /// For how long who joined with a token may play at least [default: 24]
    #[arg(long, env = "SPILLWAY_SESSION_HOURS", value_name = "HOURS")]
    pub session_hours: Option<u32>,
    /// Segments that playlists list [default: 8]
    #[arg(long, env = "SPILLWAY_LISTED_SEGMENTS", value_name = "COUNT")]
    pub listed_segments: Option<usize>,
    /// How rungs are chosen: mpc, rate, bba, bola, robust-mpc, or cycle, which is to try players with; or
    /// several by the share of the viewers that has each, as in mpc=90,rate=10 [default: mpc]
    #[arg(long, env = "SPILLWAY_RULE", value_name = "RULE")]
    pub rule: Option<RuleShares>,
    /// Of how many viewers the last decisions are kept, for /v1/viewers/ID/decisions [default: 256]
    #[arg(long, env = "SPILLWAY_EXPLAINED_VIEWERS", value_name = "COUNT")]
    pub explained_viewers: Option<usize>,
    /// Write each decision with all that it was made from to this file, a line of JSON each; opened anew
    /// on SIGHUP [default: none]
    #[arg(long, env = "SPILLWAY_DECISIONS_LOG", value_name = "FILE")]
    pub decisions_log: Option<PathBuf>,
    /// Size at which that file is moved to FILE.1, in MB [default: however large]
    #[arg(long, env = "SPILLWAY_DECISIONS_LOG_MB", value_name = "MB")]
    pub decisions_log_mb: Option<u64>,
    /// How heartbeats are written; the manager answers alike [default: json]
    #[arg(long, env = "SPILLWAY_CONTROL_ENCODING")]
    pub control_encoding: Option<Encoding>,
    #[command(flatten)]
    pub webhooks: WebhookConfig,
    #[command(flatten)]
    pub traces: TracesConfig,
    #[command(flatten)]
    pub control: ControlConfig,
    #[command(flatten)]
    pub front: FrontConfig,
}

impl NodeConfig {
    /// Whether a node could work so, as far as can be told without listening: certificates and logs are not looked at.
    pub fn would_do(&self) -> anyhow::Result<()> {
        self.listed()?;
        self.terms()?;
        self.rule.clone().unwrap_or_default().arms()?;
        self.control.secret()?;
        self.control.papers()?;
        Ok(())
    }

    /// To each traffic manager.
    fn lines(&self) -> anyhow::Result<Vec<Line>> {
        let line = |manager: &Url| {
            let trust = Trusted {
                authorities: self.ca_file.clone(),
                own: None,
            };
            let encoding = self.control_encoding.unwrap_or_default();
            Line::new(manager.clone(), &self.control, encoding, trust)
        };
        self.manager.iter().map(line).collect()
    }

    fn terms(&self) -> anyhow::Result<Terms> {
        let usual = Terms::default();
        Ok(Terms {
            budget: self.budget()?,
            budget_learnt: self.egress_mbps == Some(Egress::Auto),
            weights: Weight::all(&self.weight)?,
            pace: self.pace()?,
            abandon: self.abandon.unwrap_or(usual.abandon),
            max_viewers: self.max_viewers.unwrap_or(usual.max_viewers),
            latency: self.latency.unwrap_or(usual.latency),
            behind_cdn: self.behind_cdn.unwrap_or(usual.behind_cdn),
            overflow: self.overflow()?,
            keys: self.keys()?.map(Arc::new),
            tracer: usual.tracer,
        })
    }

    fn overflow(&self) -> anyhow::Result<Option<Overflow>> {
        let overflow = self.overflow_url.clone().map(Overflow::new).transpose();
        overflow.map_err(anyhow::Error::msg)
    }

    fn keys(&self) -> anyhow::Result<Option<Keys>> {
        let session = Duration::from_secs(u64::from(self.session_hours.unwrap_or(24)) * 3600);
        let file = self.token_keys.as_deref();
        file.map(|file| Keys::load(file, session)).transpose()
    }

    fn budget(&self) -> anyhow::Result<Option<Bitrate>> {
        let Some(Egress::Mbps(mbps)) = self.egress_mbps else {
            return Ok(None);
        };
        anyhow::ensure!(
            mbps.is_finite() && mbps > 0.0,
            "egress-mbps is {mbps}; it has to be above 0"
        );
        Ok(Some(Bitrate::from_bps((mbps * 1e6) as u64)))
    }

    /// Slower, and a viewer would not keep up with its own ceiling.
    fn pace(&self) -> anyhow::Result<Option<f64>> {
        anyhow::ensure!(
            self.pace.is_none_or(|pace| (1.2..=100.0).contains(&pace)),
            "pace is {}; it has to be 1.2 to 100",
            self.pace.unwrap_or_default()
        );
        Ok(self.pace)
    }

    /// By what rules rungs are chosen, and who writes down what they chose.
    async fn rules(&self) -> anyhow::Result<(Rules, Option<journal::Writer>)> {
        let (journal, writer) = match &self.decisions_log {
            Some(path) => {
                let most = self.decisions_log_mb.map(|mb| mb.max(1) * 1_000_000);
                let opened = journal::open(path, most).await;
                let (journal, writer) =
                    opened.with_context(|| format!("cannot write to {}", path.display()))?;
                (Some(journal), Some(writer))
            }
            None => (None, None),
        };
        let rules = Rules {
            arms: self.rule.clone().unwrap_or_default().arms()?,
            explained: self.explained_viewers.unwrap_or(EXPLAINED),
            journal,
        };
        Ok((rules, writer))
    }

    /// Fewer than three segments no player starts on.
    pub fn listed(&self) -> anyhow::Result<usize> {
        let listed = self.listed_segments.unwrap_or(8);
        anyhow::ensure!(
            (3..=1000).contains(&listed),
            "listed-segments is {listed}; it has to be 3 to 1000"
        );
        Ok(listed)
    }
}

/// A node that serves.
#[derive(Debug)]
pub struct Node {
    pub origin: Arc<Origin>,
    /// Where viewers reach it.
    pub url: Url,
    /// Where its operator does.
    pub private: SocketAddr,
    pub fetcher: Fetcher,
    /// What the traffic manager last said.
    pub directives: watch::Receiver<Directive>,
    /// What the node tells the manager that it does.
    pub standing: watch::Sender<Standing>,
    tasks: JoinSet<()>,
    tracer: Tracer,
}

/// Who this node is in its region.
#[derive(Clone, Debug)]
pub struct Role {
    pub kind: NodeKind,
    pub launched: bool,
    pub standing: Standing,
    /// Who keeps what is to be told of viewers, if it is not a traffic manager.
    pub own: Option<Own>,
}

/// A keeper of the node's own.
#[derive(Clone)]
pub struct Own {
    pub keeper: Arc<dyn Keeper>,
    /// What operators find of it, beside what else they do.
    pub routes: OpenApiRouter,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Own");
        shown.field("keeper", &self.keeper).finish_non_exhaustive()
    }
}

impl Node {
    /// Binds, and serves what is or comes to be in `store` until `stop`; reports if there is a manager.
    pub async fn start(
        config: &NodeConfig,
        role: Role,
        store: Store,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let mut front = config.front.open().await?;
        front.server.fronted = config.behind_cdn.unwrap_or(false);
        let listener = match config.listen {
            Some(address) => net::bind(address).await?,
            None => net::bind_all(PORT).await?,
        };
        let private = net::bind(config.private_listen.unwrap_or(PRIVATE)).await?;
        let (address, private_address) = (listener.local_addr()?, private.local_addr()?);
        let url = match &config.public_url {
            Some(url) => url.clone(),
            None => front.url(address, reached(address, config.manager.first()))?,
        };
        let name = config
            .name
            .clone()
            .unwrap_or_else(|| default_name(role.kind, &url));
        let lines = config.lines()?;
        let (directive_sender, directives) = watch::channel(Directive::Continue);
        let word = Arc::new(Word::new(directive_sender));
        let (way, routes) = match role.own {
            Some(own) => (Way::Here(own.keeper), own.routes),
            None => {
                let way = Way::Managers {
                    // Of its own: who tells of visits counts its messages by itself, and may take longer.
                    lines: config.lines()?,
                    keeper: word.keeper(),
                };
                (way, OpenApiRouter::new())
            }
        };
        let trust = Trusted {
            authorities: config.ca_file.clone(),
            own: None,
        };
        let (hooks, deliveries) = Hooks::open(&config.webhooks, &name, &trust, Pace::default())?;
        let (rules, journal) = config.rules().await?;
        let tracer = config.traces.open(program(role.kind), &name, trust)?;
        let terms = Terms {
            tracer: tracer.clone(),
            ..config.terms()?
        };
        let origin = Origin::ruled_by(rules, name, store, terms);
        // It is set once, here.
        let _ = origin
            .address
            .set(url.as_str().trim_end_matches('/').to_owned());
        let mut fetcher = Fetcher::trusting(config.ca_file.as_deref())?.traced(tracer.clone());
        let (standing, standings) = watch::channel(role.standing);

        let operators = ops::private_with(origin.clone(), routes).layer(Extension(hooks.clone()));
        let mut tasks = JoinSet::new();
        let public = origin::public(origin.clone()).merge(assets::player());
        let (here, end) = (url.clone(), stop.clone());
        tasks.spawn(async move { front.serve(listener, public, &here, end).await });
        tasks.spawn(net::serve(
            private,
            operators,
            Limits::default(),
            stop.clone(),
        ));
        tasks.spawn(origin.clone().run(stop.clone()));
        for delivery in deliveries {
            tasks.spawn(delivery.run(stop.clone()));
        }
        tasks.spawn(announcing::run(origin.clone(), hooks, stop.clone()));
        if let Some(journal) = journal {
            tasks.spawn(journal.run(stop.clone()));
        }
        if let Some(keys) = &origin.terms.keys {
            tasks.spawn(keys.clone().follow(stop.clone()));
            let keys = keys.clone();
            fetcher = fetcher.bearing(Arc::new(move || keys.errand()));
        }
        origin.pulled.by(fetcher.clone());
        let instance = unix_ms();
        for line in lines {
            let identity = Identity {
                node: origin.node.clone(),
                instance,
                kind: role.kind,
                url: url.as_str().trim_end_matches('/').to_owned(),
                launched: role.launched,
            };
            let (origin, stop) = (origin.clone(), stop.clone());
            let (standings, word) = (standings.clone(), word.clone());
            tasks.spawn(reporter::run(identity, origin, line, standings, word, stop));
        }
        tasks.spawn(uploading::run(
            Sweeper::new(origin.clone(), instance),
            way,
            origin.upload.clone(),
            uploading::EVERY,
            stop.clone(),
        ));
        tracing::info!(node = %origin.node, %url, private = %private_address, "serving");
        Ok(Self {
            origin,
            url,
            private: private_address,
            fetcher,
            directives,
            standing,
            tasks,
            tracer,
        })
    }

    /// Waits until everything has stopped; the caller has cancelled `stop`.
    pub async fn stopped(mut self) {
        while self.tasks.join_next().await.is_some() {}
        self.tracer.close().await;
    }
}

/// What a node of this kind runs as.
fn program(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Primary => "primary",
        NodeKind::Relay => "local-server",
    }
}

/// Relays are many, and each has a name of its own by where it is.
fn default_name(kind: NodeKind, url: &Url) -> String {
    match kind {
        NodeKind::Primary => "primary".to_owned(),
        NodeKind::Relay => {
            let (host, port) = (
                url.host_str().unwrap_or("?"),
                url.port_or_known_default().unwrap_or(0),
            );
            format!("relay-{host}-{port}")
        }
    }
}

/// Where others find what listens on `address`: on this very address, or on the one from which
/// the manager is reached if it is all of them.
fn reached(address: SocketAddr, manager: Option<&Url>) -> IpAddr {
    match manager {
        _ if !address.ip().is_unspecified() => address.ip(),
        Some(manager) => toward(manager).unwrap_or(IpAddr::from([127, 0, 0, 1])),
        None => IpAddr::from([127, 0, 0, 1]),
    }
}

/// The local address of the route to `url`. Connecting a datagram socket sends nothing.
fn toward(url: &Url) -> Option<IpAddr> {
    let target = url.socket_addrs(|| None).ok()?.into_iter().next()?;
    let any: SocketAddr = if target.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(target).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// A program that stands beside this one, or where it says.
pub fn beside(given: Option<&PathBuf>, name: &str) -> anyhow::Result<PathBuf> {
    let path = match given {
        Some(path) => path.clone(),
        None => std::env::current_exe()
            .context("where this program is")?
            .with_file_name(name),
    };
    anyhow::ensure!(
        path.is_file(),
        "the {name} program is not at {}; say where with --{name}",
        path.display()
    );
    Ok(path)
}

/// How long what is still open has after the word to stop.
pub const STOPPING: Duration = Duration::from_secs(8);

const PORT: u16 = 8080;
const PRIVATE: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
