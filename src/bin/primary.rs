//! `primary`: takes in streams through its segmenters, and serves viewers and relays.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use clap::Parser;
use serde::{Deserialize, Serialize};
use spillway::{
    archive::{Archives, DvrConfig, Reach},
    config,
    control::{NodeKind, NodeState},
    node::{Node, NodeConfig, Role, STOPPING, beside},
    origin::reporter::Standing,
    runtime, shutdown,
    source::live::{self, Live},
    store::{Store, StreamName},
    telemetry,
    token::mint::Mint,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// HLS origin that adapts bitrate on the server: one live input to a ladder, each viewer in the
/// rung its connection can have.
#[derive(Clone, Debug, Default, Parser, Deserialize, Serialize)]
#[command(version, name = "primary", args_conflicts_with_subcommands = true)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    #[command(subcommand)]
    #[serde(skip)]
    command: Option<Command>,
    /// Address for viewers, with port 8080; --listen says both
    ip: Option<IpAddr>,
    /// What to stream: a file (played over and over), a URL, an rtmp:// address to listen on,
    /// `test` for a programme of our own, or `lavfi:GRAPH`
    source: Option<String>,
    /// TOML file with these options by their long names, and tables [streams.NAME] with a `source` each
    #[arg(long, env = "SPILLWAY_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
    #[command(flatten)]
    node: NodeConfig,
    #[command(flatten)]
    dvr: DvrConfig,
    /// Name of the stream in URLs, for the source given on the command line [default: live]
    #[arg(long, env = "SPILLWAY_STREAM", value_name = "NAME")]
    stream: Option<String>,
    #[command(flatten)]
    encoding: Encoding,
    /// The segmenter program [default: beside this one]
    #[arg(long, env = "SPILLWAY_SEGMENTER", value_name = "FILE")]
    segmenter: Option<PathBuf>,
    /// Streams by name
    #[arg(skip)]
    streams: BTreeMap<String, StreamConfig>,
}

/// What else this program does than to serve.
#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Print a playback token, or a new key to sign with
    Token(Mint),
}

/// How a source is read and encoded.
#[derive(Clone, Debug, Default, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Encoding {
    /// A rung of the ladder, video only, and how good it looks, such as its VMAF; repeat it for each [default:
    /// chosen by the segmenter]
    #[arg(long = "rung", value_name = "WxH@KBPS[:SCORE]")]
    rung: Vec<String>,
    /// x264 preset [default: chosen by the segmenter]
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Length of segments, as near as whole pictures allow [default: 2]
    #[arg(long, value_name = "SECONDS")]
    segment_seconds: Option<f64>,
    /// Length of parts, as near as segments can be divided; shorter ones make for less latency [default: 0.5]
    #[arg(long, value_name = "SECONDS")]
    part_seconds: Option<f64>,
    /// How many rungs, the cheapest, have a key frame at each part, so that a viewer can come down to them within a
    /// segment [default: 1]
    #[arg(long, value_name = "COUNT")]
    open_rungs: Option<usize>,
    /// Another input of the same programme, which takes over when the source stalls, fails or ends
    #[arg(long, value_name = "INPUT")]
    backup: Option<String>,
    /// What viewers see while no input gives pictures: an image, a clip, or `black`
    #[arg(long, value_name = "FILE|black")]
    slate: Option<String>,
    /// How long pictures may be overdue before the backup or the slate takes over [default: 3]
    #[arg(long, value_name = "SECONDS")]
    stall_seconds: Option<f64>,
    /// End the stream when its source has ended and does not come back within so long, under a backup or a slate
    /// [default: with --once 10, otherwise it is waited for]
    #[arg(long, value_name = "SECONDS")]
    grace_seconds: Option<f64>,
    /// End the stream with its file, instead of playing it over and over
    #[arg(long)]
    once: bool,
}

/// One table [streams.NAME] of the config file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct StreamConfig {
    source: String,
    #[serde(default)]
    rung: Vec<String>,
    #[serde(default)]
    preset: Option<String>,
    #[serde(default)]
    segment_seconds: Option<f64>,
    #[serde(default)]
    part_seconds: Option<f64>,
    #[serde(default)]
    open_rungs: Option<usize>,
    #[serde(default)]
    backup: Option<String>,
    #[serde(default)]
    slate: Option<String>,
    #[serde(default)]
    stall_seconds: Option<f64>,
    #[serde(default)]
    grace_seconds: Option<f64>,
    #[serde(default)]
    once: bool,
    #[serde(default)]
    dvr: Option<Reach>,
}

fn main() -> ExitCode {
    let mut given = Config::parse();
    if let Some(Command::Token(mint)) = given.command.take() {
        return print(mint.line());
    }
    let file = given.config.clone();
    match config::layered(given, file.as_deref()).and_then(Config::checked) {
        Ok(config) => run(config),
        Err(error) => config::refuse("primary", &error),
    }
}

#[expect(
    clippy::print_stdout,
    reason = "what was asked for on the command line"
)]
fn print(line: anyhow::Result<String>) -> ExitCode {
    match line {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => config::refuse("primary token", &error),
    }
}

fn run(config: Config) -> ExitCode {
    telemetry::init();
    let runtime = match runtime::build(None) {
        Ok(runtime) => runtime,
        Err(error) => return config::refuse("primary", &error.into()),
    };
    match runtime.block_on(serve(config)) {
        Ok(code) => code,
        Err(error) => config::refuse("primary", &error),
    }
}

impl Config {
    /// Folds the short forms into the long ones, and refuses what cannot work.
    fn checked(mut self) -> anyhow::Result<Self> {
        if let Some(ip) = self.ip {
            let port = self.node.listen.map_or(8080, |listen| listen.port());
            self.node.listen = Some((ip, port).into());
        }
        if let Some(source) = self.source.take() {
            let name = self.stream.clone().unwrap_or_else(|| "live".into());
            let Encoding {
                rung,
                preset,
                segment_seconds,
                part_seconds,
                open_rungs,
                backup,
                slate,
                stall_seconds,
                grace_seconds,
                once,
            } = self.encoding.clone();
            self.streams.insert(
                name,
                StreamConfig {
                    source,
                    rung,
                    preset,
                    segment_seconds,
                    part_seconds,
                    open_rungs,
                    backup,
                    slate,
                    stall_seconds,
                    grace_seconds,
                    once,
                    dvr: None,
                },
            );
        }
        anyhow::ensure!(
            !self.streams.is_empty(),
            "nothing to stream; give a source (a file, a URL or `test`), or a config file with [streams.NAME] tables"
        );
        let kept = self.dvr.options()?.is_some();
        let deeper = self.streams.iter().find(|(_, stream)| stream.dvr.is_some());
        if let (Some((name, _)), false) = (deeper, kept) {
            anyhow::bail!(
                "stream {name} has a dvr of its own, and no folder for it; say which with --dvr-dir"
            );
        }
        let alone = self.streams.iter().find(|(_, stream)| {
            stream.backup.is_none()
                && stream.slate.is_none()
                && (stream.stall_seconds.is_some() || stream.grace_seconds.is_some())
        });
        if let Some((name, _)) = alone {
            anyhow::bail!(
                "stream {name} has stall-seconds or grace-seconds, and nobody to take over; name a --backup or a --slate"
            );
        }
        Ok(self)
    }
}

async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    let stop = shutdown::on_signal().context("waiting for signals")?;
    let segmenter = beside(config.segmenter.as_ref(), "segmenter")?;
    let listed = config.node.listed()?;
    let archives = config
        .dvr
        .options()?
        .map(|options| Arc::new(Archives::new(options)));
    let role = Role {
        kind: NodeKind::Primary,
        launched: false,
        standing: Standing {
            state: NodeState::Active,
            region: None,
        },
    };
    // Before anybody can ask: a player that finds its stream gone for a moment ends for good.
    let (store, mut producers) = (Store::default(), Vec::new());
    for (name, stream) in &config.streams {
        let name: StreamName = name.parse()?;
        let mut producer = store
            .create(&name)
            .with_context(|| format!("stream {name} is there twice"))?;
        if let Some(archives) = archives.clone() {
            let (name, reach) = (name.clone(), stream.dvr);
            let opening = tokio::task::spawn_blocking(move || archives.open(name.as_str(), reach));
            producer.keep_in(opening.await??, listed);
        }
        producers.push((stream, producer));
    }
    let node = Node::start(&config.node, role, store, &stop).await?;

    let mut sources = JoinSet::new();
    for (stream, producer) in producers {
        let live = Live {
            keep_ended: config.dvr.keep_ended(),
            ..stream.live(&segmenter, listed)
        };
        sources.spawn(live::run(live, producer, stop.clone()));
    }
    ready(&node);
    let code = watch(&mut sources, &stop).await;
    stop.cancel();
    if let Some(archives) = archives {
        let closing = tokio::task::spawn_blocking(move || archives.close(STOPPING));
        if !closing.await? {
            tracing::warn!(after = ?STOPPING, "the disk did not take all of the DVR in time");
        }
    }
    if tokio::time::timeout(STOPPING, node.stopped())
        .await
        .is_err()
    {
        tracing::warn!(after = ?STOPPING, "some tasks did not stop in time");
    }
    Ok(code)
}

/// Waits for the word to stop, or until no stream is left.
async fn watch(
    sources: &mut JoinSet<Result<(), live::Ended>>,
    stop: &CancellationToken,
) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    while let Some(ended) = sources.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "a stream is over");
                code = ExitCode::FAILURE;
            }
            Err(error) => {
                tracing::error!(%error, "a source failed");
                code = ExitCode::FAILURE;
            }
        }
    }
    if !stop.is_cancelled() {
        tracing::error!("no stream is left; stopping");
    }
    code
}

#[expect(
    clippy::print_stdout,
    reason = "the one line for scripts that wait for this program"
)]
fn ready(node: &Node) {
    println!("ready {} private http://{}/", node.url, node.private);
}

impl StreamConfig {
    fn live(&self, segmenter: &std::path::Path, listed: usize) -> Live {
        let (listens, remote) = (
            self.source.starts_with("rtmp://"),
            self.source.contains("://"),
        );
        let made = self.source == "test" || self.source.starts_with("lavfi:");
        let ends = self.once || made || self.grace_seconds.is_some();
        let mut arguments = Vec::new();
        for rung in &self.rung {
            arguments.extend(["--rung".to_owned(), rung.clone()]);
        }
        let lengths = [
            ("--segment-seconds", self.segment_seconds),
            ("--part-seconds", self.part_seconds),
        ];
        for (flag, seconds) in lengths {
            if let Some(seconds) = seconds {
                arguments.extend([flag.to_owned(), seconds.to_string()]);
            }
        }
        if let Some(open) = self.open_rungs {
            arguments.extend(["--open-rungs".to_owned(), open.to_string()]);
        }
        if let Some(preset) = &self.preset {
            arguments.extend(["--preset".to_owned(), preset.clone()]);
        }
        arguments.extend(self.stand_in(ends));
        if listens {
            arguments.push("--listen".to_owned());
        }
        if !remote && !ends {
            arguments.push("--loop".to_owned());
        }
        arguments.extend(["--".to_owned(), self.source.clone()]);
        Live {
            program: segmenter.to_owned(),
            arguments,
            listed,
            ends,
            listens,
            keep_ended: None,
        }
    }

    /// Who else may be on the air, and when. A source that is opened again whenever it ends is waited for as long as it takes.
    fn stand_in(&self, ends: bool) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut give = |flag: &str, value: Option<String>| {
            if let Some(value) = value {
                arguments.push(format!("{flag}={value}"));
            }
        };
        give("--backup", self.backup.clone());
        give("--slate", self.slate.clone());
        let seconds = |seconds: Option<f64>| seconds.map(|seconds| seconds.to_string());
        give("--stall-seconds", seconds(self.stall_seconds));
        let grace = seconds(self.grace_seconds);
        give(
            "--grace-seconds",
            grace.or((!ends).then(|| "forever".to_owned())),
        );
        arguments
    }
}
