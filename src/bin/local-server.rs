//! `local-server`: a relay. Follows an upstream node once it is told to, and serves a region's
//! viewers with its own adaptation; waits in standby before, and drains when the peak is over.

use std::{net::IpAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use playlists::Window;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use spillway::{
    config,
    control::{Directive, NodeKind, NodeState},
    node::{Node, NodeConfig, Role, STOPPING},
    origin::{Stance, reporter::Standing},
    runtime, shutdown,
    source::upstream::{self, Place, Upstream},
    store::Store,
    telemetry::{self, LogFormat},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Relay of an HLS origin: pulls each part once and re-streams it to a region's viewers.
#[derive(Clone, Debug, Default, Parser, Deserialize, Serialize)]
#[command(version, name = "local-server")]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// Address for viewers, with port 8080; --listen says both
    ip: Option<IpAddr>,
    /// Address of the traffic manager; --manager says it as a URL
    manager_ip: Option<String>,
    /// Port of the traffic manager
    manager_port: Option<u16>,
    /// TOML file with these options by their long names
    #[arg(long, env = "SPILLWAY_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// Say whether these settings can work, and end
    #[arg(long)]
    #[serde(skip)]
    check: bool,
    #[command(flatten)]
    node: NodeConfig,
    /// Region that this relay is for [default: any]
    #[arg(long, env = "SPILLWAY_REGION")]
    region: Option<String>,
    /// Follow this node from the start, instead of waiting for the traffic manager's word; or the HLS stream of any other
    /// origin, by the URL of its playlist, as NAME=URL if it is not to be called as that file. Give it several times for
    /// places that stand in when those before cannot be reached; a relay that waits for the manager's word has them
    /// behind what it is told
    #[arg(
        long,
        env = "SPILLWAY_UPSTREAM",
        value_name = "URL|NAME=URL",
        value_delimiter = ' '
    )]
    #[serde(default)]
    upstream: Vec<String>,
    /// Wait for the traffic manager's word, and follow --upstream only where what it says cannot be reached
    #[arg(long, env = "SPILLWAY_STANDBY", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    standby: Option<bool>,
    /// When told to stop (SIGTERM), send viewers to the upstream node first and wait so long for them to go
    /// [default: 0; they are left to come back by themselves]
    #[arg(long, env = "SPILLWAY_DRAIN_SECONDS", value_name = "SECONDS")]
    drain_seconds: Option<u32>,
    /// How log lines are written, to stderr [default: text]
    #[arg(long, env = "SPILLWAY_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Started by a traffic manager: ends when it is told to retire, or when it is of no use to anybody
    #[arg(long)]
    #[serde(skip)]
    launched: bool,
}

impl manual::Filed for Config {
    fn sample() -> Self {
        Self::default()
    }
}

fn main() -> ExitCode {
    let mut given = manual::parse_filed::<Config>();
    let (file, launched) = (given.config.take(), std::mem::take(&mut given.launched));
    let check = given.check;
    match config::layered(given, file.as_deref()).and_then(|config| config.checked(launched)) {
        Ok(config) if check => config::told("local-server", config.node.would_do()),
        Ok(config) => run(config),
        Err(error) => config::refuse("local-server", &error),
    }
}

fn run(config: Config) -> ExitCode {
    telemetry::init(config.log_format.unwrap_or_default());
    let runtime = match runtime::build(None) {
        Ok(runtime) => runtime,
        Err(error) => return config::refuse("local-server", &error.into()),
    };
    match runtime.block_on(serve(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => config::refuse("local-server", &error),
    }
}

impl Config {
    fn checked(mut self, launched: bool) -> anyhow::Result<Self> {
        self.launched = launched;
        if let Some(ip) = self.ip {
            let port = self.node.listen.map_or(8080, |listen| listen.port());
            self.node.listen = Some((ip, port).into());
        }
        if let Some(ip) = &self.manager_ip {
            let url = format!("http://{ip}:{}/", self.manager_port.unwrap_or(9000));
            let url = url.parse().with_context(|| format!("{url} is not a URL"))?;
            self.node.manager = vec![url];
        }
        anyhow::ensure!(
            !self.node.manager.is_empty() || !self.upstream.is_empty() && !self.waits(),
            "nothing to do; give a traffic manager to wait for, or an --upstream to follow"
        );
        self.places()?;
        Ok(self)
    }

    /// Whether it does nothing before it is told.
    fn waits(&self) -> bool {
        self.upstream.is_empty() || self.standby.unwrap_or(false)
    }

    fn places(&self) -> anyhow::Result<Vec<Place>> {
        let read = |text: &String| {
            text.parse::<Place>()
                .with_context(|| format!("upstream {text}"))
        };
        self.upstream.iter().map(read).collect()
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let (leave, stop) = (shutdown::of_server()?, CancellationToken::new());
    let state = if config.waits() {
        NodeState::Standby
    } else {
        NodeState::Filling
    };
    let standing = Standing {
        state,
        region: config.region.clone(),
    };
    let role = Role {
        kind: NodeKind::Relay,
        launched: config.launched,
        standing,
        own: None,
    };
    let node = Node::start(&config.node, role, Store::default(), &stop).await?;
    let mut relay = Relay {
        places: config.places()?,
        node: &node,
        home: config.region.clone(),
        listed: config.node.listed()?,
        streaming: None,
        leave,
        stop: stop.clone(),
    };
    ready(&node);
    if !config.waits() {
        let places = relay.places.clone();
        relay.stream_from(places).await;
    }
    relay.obey(config.launched).await;
    let drain = Duration::from_secs(config.drain_seconds.unwrap_or(0).into());
    relay.leave(drain).await;
    relay.standby().await;
    stop.cancel();
    if tokio::time::timeout(STOPPING, node.stopped())
        .await
        .is_err()
    {
        tracing::warn!(after = ?STOPPING, "some tasks did not stop in time");
    }
    Ok(())
}

/// What a relay does with the directives it is given.
struct Relay<'a> {
    node: &'a Node,
    /// Where streams are to be had, beside where it is told.
    places: Vec<Place>,
    /// The region it was set up for; in standby it is for this one again.
    home: Option<String>,
    listed: usize,
    streaming: Option<Streaming>,
    /// The word to stop, before anything does.
    leave: CancellationToken,
    stop: CancellationToken,
}

struct Streaming {
    places: Vec<Place>,
    tasks: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

impl Relay<'_> {
    /// Follows the manager's word until this relay is to end.
    async fn obey(&mut self, launched: bool) {
        let mut directives = self.node.directives.clone();
        // Whom it was told to stream for, and from where: how many viewers it keeps is said anew all the time.
        let mut role = None;
        loop {
            let directive = directives.borrow_and_update().clone();
            match directive {
                Directive::Continue => {}
                Directive::Activate {
                    upstream,
                    region,
                    home,
                    keep,
                } => match upstream.parse::<Url>() {
                    Ok(upstream) => {
                        let now = Some((upstream.clone(), region.clone()));
                        if std::mem::replace(&mut role, now.clone()) != now {
                            tracing::info!(%upstream, region, "told to stream");
                        } else {
                            tracing::debug!(%upstream, region, home, keep, "told to stream on");
                        }
                        let told = Place::Node(upstream);
                        let others = self.places.iter().filter(|place| **place != told);
                        let places = [told.clone()].into_iter().chain(others.cloned());
                        self.stream_from(places.collect()).await;
                        self.serve(region, home, keep);
                    }
                    Err(error) => {
                        tracing::error!(upstream, %error, "told to stream from what is not a URL")
                    }
                },
                Directive::Drain { to } => {
                    tracing::info!(to, "told to drain");
                    role = None;
                    self.node
                        .origin
                        .stance
                        .store(Arc::new(Stance::Draining { to }));
                    self.stand(NodeState::Draining);
                }
                Directive::Retire if launched => {
                    tracing::info!("told to retire; ending");
                    return;
                }
                Directive::Retire => {
                    tracing::info!("told to retire; standing by");
                    role = None;
                    self.standby().await;
                }
            }
            tokio::select! {
                changed = directives.changed() => if changed.is_err() {
                    // No manager: nobody will say anything, and the relay streams on.
                    self.leave.cancelled().await;
                    return;
                },
                () = self.leave.cancelled() => return,
            }
        }
    }

    /// Sends viewers away and waits until they have gone, if they do within the time and the manager does not want it
    /// gone before. The manager hears of it, and sends nobody any more.
    async fn leave(&self, within: Duration) {
        let origin = &self.node.origin;
        let to = away(&origin.stance.load(), origin.keeper.load().as_deref());
        // Most players who were sent on ask here for the way as long as they play.
        let left = || (origin.viewers.count(), origin.viewers.census().moved);
        let Some(to) = to.filter(|_| left() != (0, 0) && !within.is_zero()) else {
            return;
        };
        let to = to.trim_end_matches('/').to_owned();
        let (viewers, moved) = left();
        tracing::info!(viewers, moved, to, ?within, "leaving; sending viewers on");
        origin.stance.store(Arc::new(Stance::Draining { to }));
        self.stand(NodeState::Draining);
        let gone = async {
            while left() != (0, 0) && *self.node.directives.borrow() != Directive::Retire {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        if tokio::time::timeout(within, gone).await.is_err() {
            let (left, moved) = left();
            tracing::warn!(left, moved, ?within, "not all viewers went in time");
        }
    }

    /// Takes viewers again, or for the first time; with `keep`, those beyond so many go home.
    fn serve(&self, region: String, home: Option<String>, keep: Option<u32>) {
        let stance = match home {
            Some(to) => Stance::Giving { to, keep },
            None => Stance::Serving,
        };
        self.node.origin.stance.store(Arc::new(stance));
        self.node.standing.send_if_modified(|standing| {
            let state = match standing.state {
                NodeState::Draining => NodeState::Active,
                state => state,
            };
            let now = Standing {
                state,
                region: Some(region),
            };
            std::mem::replace(standing, now.clone()) != now
        });
    }

    fn stand(&self, state: NodeState) {
        self.node
            .standing
            .send_modify(|standing| standing.state = state);
    }

    /// Follows the first of `places` that can be had, if it does not do so already.
    async fn stream_from(&mut self, places: Vec<Place>) {
        if self
            .streaming
            .as_ref()
            .is_some_and(|streaming| streaming.places == places)
        {
            return;
        }
        self.standby().await;
        self.stand(NodeState::Filling);
        let stop = self.stop.child_token();
        let source = Upstream::new(places.clone(), self.node.fetcher.clone(), self.listed);
        let keep = tokio::spawn(keep(
            source.following.subscribe(),
            self.node.origin.clone(),
            stop.clone(),
        ));
        let follow = tokio::spawn(upstream::run(
            source,
            self.node.origin.store.clone(),
            stop.clone(),
        ));
        let announce = tokio::spawn(announce(
            self.node.origin.store.clone(),
            self.node.standing.clone(),
            stop.clone(),
        ));
        self.streaming = Some(Streaming {
            places,
            tasks: vec![follow, announce, keep],
            stop,
        });
    }

    /// Stops streaming; costs the upstream nothing from then on.
    async fn standby(&mut self) {
        if let Some(streaming) = self.streaming.take() {
            streaming.stop.cancel();
            for task in streaming.tasks {
                // Cancelled tasks end at their next wait; one that failed has said so.
                let _ = task.await;
            }
        }
        self.node.origin.stance.store(Arc::new(Stance::Serving));
        let region = self.home.clone();
        self.node.standing.send_replace(Standing {
            state: NodeState::Standby,
            region,
        });
    }
}

/// Where viewers go whose relay ends: as the manager said, if it drains; else to the node that it follows. One that follows none, be it that none can
/// be reached, or that its streams are of another origin, has where the manager would have it give viewers back to.
fn away(stance: &Stance, followed: Option<&String>) -> Option<String> {
    let told = stance.elsewhere();
    match stance {
        Stance::Draining { to } => Some(to.clone()),
        _ => followed.map(String::as_str).or(told).map(str::to_owned),
    }
}

/// Whoever asks for what is not live is sent to the node that is followed now.
async fn keep(
    mut following: tokio::sync::watch::Receiver<Option<Url>>,
    origin: Arc<spillway::origin::Origin>,
    stop: CancellationToken,
) {
    loop {
        let keeper = following.borrow_and_update().clone();
        origin
            .keeper
            .store(keeper.map(|url| Arc::new(url.to_string())));
        tokio::select! {
            changed = following.changed() => if changed.is_err() {
                return;
            },
            () = stop.cancelled() => return,
        }
    }
}

/// Says so once there is a stream that a viewer can start on.
async fn announce(
    store: spillway::store::Store,
    standing: tokio::sync::watch::Sender<Standing>,
    stop: CancellationToken,
) {
    let playable = async {
        loop {
            for (_, mut stream) in store.streams() {
                if stream.wait(Window::is_playable).await.is_some() {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = playable => {
            standing.send_if_modified(|standing| {
                let filled = standing.state == NodeState::Filling;
                if filled {
                    standing.state = NodeState::Active;
                }
                filled
            });
        }
        () = stop.cancelled() => {}
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(100);

#[expect(
    clippy::print_stdout,
    reason = "the one line for scripts that wait for this program"
)]
fn ready(node: &Node) {
    println!("ready {} private http://{}/", node.url, node.private);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn viewers_of_a_relay_that_ends_have_somewhere_to_go_even_if_it_follows_no_node() {
        let (home, other, followed) = ("http://home/", "http://other/", "http://node/".to_owned());
        let giving = Stance::Giving {
            to: home.to_owned(),
            keep: None,
        };
        let draining = Stance::Draining {
            to: other.to_owned(),
        };
        assert_eq!(away(&Stance::Serving, None), None);
        assert_eq!(away(&giving, None).as_deref(), Some(home));
        assert_eq!(away(&giving, Some(&followed)), Some(followed.clone()));
        assert_eq!(away(&draining, Some(&followed)).as_deref(), Some(other));
    }
}
