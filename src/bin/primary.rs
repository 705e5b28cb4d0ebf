//! `primary`: takes in streams through its segmenters, and serves viewers and relays.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use serde::{Deserialize, Serialize};
use spillway::{
    archive::{Archives, DvrConfig, Reach},
    config,
    control::{NodeKind, NodeState},
    ingest::{
        Folder, Ingest, IngestConfig,
        desk::{Channel, Desk, Second},
        options::{PUBLISH, PublishConfig, Short, is_here},
    },
    node::{Node, NodeConfig, Role, STOPPING, beside},
    origin::reporter::Standing,
    runtime, shutdown,
    source::{
        live::{self, Live},
        publication::Publication,
    },
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
    /// What to stream: a file or a list of files (.m3u), played over and over, a URL, `publish` for what OBS or ffmpeg send here (or, short,
    /// rtmp://IP:PORT/APP/KEY with an address of this machine), `test` for a programme of our own, or `lavfi:GRAPH`
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
    #[command(flatten)]
    ingest: IngestConfig,
    #[command(flatten)]
    publish: PublishConfig,
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
    once: bool,
    #[serde(default)]
    dvr: Option<Reach>,
    // What follows is for `publish`; what a stream leaves open is as for all of them.
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    key_file: Option<PathBuf>,
    #[serde(default)]
    passphrase: Option<String>,
    #[serde(default)]
    app: Option<String>,
    #[serde(default)]
    second_publisher: Option<Second>,
    #[serde(default)]
    grace_seconds: Option<f64>,
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
                    once,
                    dvr: None,
                    key: self.publish.key.take().or_else(|| std::env::var(KEY).ok()),
                    key_file: self.publish.key_file.take(),
                    passphrase: None,
                    app: None,
                    second_publisher: None,
                    grace_seconds: None,
                },
            );
        }
        self.unfold()?;
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
        for (name, stream) in &self.streams {
            let said = stream.publish_options();
            anyhow::ensure!(
                stream.is_published() || said.is_empty(),
                "stream {name} has {}, which is for streams whose source is `{PUBLISH}`",
                said.join(", ")
            );
        }
        Ok(self)
    }

    /// Makes of an rtmp:// address of this machine the stream that is published there.
    fn unfold(&mut self) -> anyhow::Result<()> {
        for (name, stream) in &mut self.streams {
            let Some(short) = Short::of(&stream.source, is_here) else {
                continue;
            };
            let short = short.with_context(|| format!("stream {name}"))?;
            let listen = *self.ingest.rtmp_listen.get_or_insert(short.listen);
            anyhow::ensure!(
                listen == short.listen,
                "stream {name} is to be published at {}, and another at {listen}; one port is for all of them",
                short.listen
            );
            anyhow::ensure!(
                stream.key.is_none() && stream.key_file.is_none() && stream.app.is_none(),
                "stream {name} has a key or an application beside the ones in {}; its source should be `{PUBLISH}`",
                stream.source
            );
            (stream.key, stream.app) = (Some(short.key), Some(short.app));
            stream.source = PUBLISH.to_owned();
        }
        Ok(())
    }
}

/// Where the key of the stream on the command line may be, which nobody else can read.
const KEY: &str = "SPILLWAY_PUBLISH_KEY";

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
    let folder = config.streams.values().any(StreamConfig::is_published);
    let folder = folder.then(Folder::new).transpose()?;
    // Before anybody can ask: a player that finds its stream gone for a moment ends for good.
    let (store, mut producers, mut channels) = (Store::default(), Vec::new(), Vec::new());
    for (name, stream) in &config.streams {
        let name: StreamName = name.parse()?;
        let channel = match &folder {
            Some(folder) if stream.is_published() => {
                let socket = folder.socket(channels.len(), name.as_str());
                let publish = stream.publish(&config.publish);
                let channel = Arc::new(publish.channel(name.clone(), socket)?);
                channels.push(channel.clone());
                Some((channel, publish.grace()?))
            }
            _ => None,
        };
        let mut producer = store
            .create(&name)
            .with_context(|| format!("stream {name} is there twice"))?;
        if let Some(archives) = archives.clone() {
            let (name, reach) = (name.clone(), stream.dvr);
            let opening = tokio::task::spawn_blocking(move || archives.open(name.as_str(), reach));
            producer.keep_in(opening.await??, listed);
        }
        producers.push((stream, producer, channel));
    }
    let ingest = match channels.is_empty() {
        true => None,
        false => Some(Ingest::bind(&config.ingest, Desk::new(channels)).await?),
    };
    let node = Node::start(&config.node, role, store, &stop).await?;

    let mut sources = JoinSet::new();
    for (stream, producer, channel) in producers {
        let live = Live {
            keep_ended: config.dvr.keep_ended(),
            ..stream.live(&segmenter, listed, channel)
        };
        sources.spawn(live::run(live, producer, stop.clone()));
    }
    ready(&node, ingest.as_ref());
    let ingest = ingest.map(|ingest| tokio::spawn(ingest.serve(stop.clone())));
    let code = watch(&mut sources, &stop).await;
    stop.cancel();
    if let Some(archives) = archives {
        let closing = tokio::task::spawn_blocking(move || archives.close(STOPPING));
        if !closing.await? {
            tracing::warn!(after = ?STOPPING, "the disk did not take all of the DVR in time");
        }
    }
    let stopped = async {
        node.stopped().await;
        if let Some(ingest) = ingest {
            let _ = ingest.await;
        }
    };
    if tokio::time::timeout(STOPPING, stopped).await.is_err() {
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
fn ready(node: &Node, ingest: Option<&Ingest>) {
    let said = |name, address: Option<SocketAddr>| {
        address.map_or_else(String::new, |address| format!(" {name} {address}"))
    };
    let rtmp = said("rtmp", ingest.and_then(Ingest::rtmp));
    let srt = said("srt", ingest.and_then(Ingest::srt));
    println!(
        "ready {} private http://{}/{rtmp}{srt}",
        node.url, node.private
    );
}

impl StreamConfig {
    fn is_published(&self) -> bool {
        self.source == PUBLISH
    }

    /// How it is published; what it leaves open is as for `all`.
    fn publish(&self, all: &PublishConfig) -> PublishConfig {
        PublishConfig {
            key: self.key.clone(),
            key_file: self.key_file.clone(),
            passphrase: self.passphrase.clone(),
            app: self.app.clone().or_else(|| all.app.clone()),
            second_publisher: self.second_publisher.or(all.second_publisher),
            grace_seconds: self.grace_seconds.or(all.grace_seconds),
        }
    }

    /// What is said of how it is published.
    fn publish_options(&self) -> Vec<&'static str> {
        let said = [
            ("key", self.key.is_some()),
            ("key-file", self.key_file.is_some()),
            ("passphrase", self.passphrase.is_some()),
            ("app", self.app.is_some()),
            ("second-publisher", self.second_publisher.is_some()),
            ("grace-seconds", self.grace_seconds.is_some()),
        ];
        let said = said.into_iter().filter(|(_, said)| *said);
        said.map(|(name, _)| name).collect()
    }

    fn live(
        &self,
        segmenter: &std::path::Path,
        listed: usize,
        channel: Option<(Arc<Channel>, Duration)>,
    ) -> Live {
        let made = self.source == "test" || self.source.starts_with("lavfi:");
        let source = match &channel {
            Some((channel, _)) => format!("unix:{}", channel.socket.display()),
            None => self.source.clone(),
        };
        let (remote, ends) = (
            source.contains("://") || channel.is_some(),
            self.once || made,
        );
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
        if !remote && !ends {
            arguments.push("--loop".to_owned());
        }
        arguments.extend(["--".to_owned(), source]);
        Live {
            program: segmenter.to_owned(),
            arguments,
            listed,
            ends,
            publication: channel.map(|(channel, grace)| Publication {
                on_air: channel.on_air(),
                grace,
            }),
            keep_ended: None,
        }
    }
}
