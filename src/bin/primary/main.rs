//! `primary`: takes in streams through its segmenters, and serves viewers and relays.

mod keeping;
mod stream;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::Parser;
use serde::{Deserialize, Serialize};
use spillway::{
    analytics::Where,
    archive::{Archives, DvrConfig},
    config,
    control::{NodeKind, NodeState},
    ingest::{
        Folder, Ingest, IngestConfig,
        desk::Desk,
        options::{PUBLISH, PublishConfig, Short, is_here},
    },
    node::{Node, NodeConfig, Role, STOPPING, beside},
    origin::reporter::Standing,
    runtime, shutdown,
    source::live::{self, Live},
    store::{Store, StreamName},
    telemetry::{self, LogFormat},
    token::mint::Mint,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::stream::StreamConfig;

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
    /// Say whether these settings can work, and end
    #[arg(long)]
    #[serde(skip)]
    check: bool,
    #[command(flatten)]
    node: NodeConfig,
    #[command(flatten)]
    dvr: DvrConfig,
    /// Name of the stream in URLs, for the source given on the command line [default: live]
    #[arg(long, env = "SPILLWAY_STREAM", value_name = "NAME")]
    stream: Option<String>,
    #[command(flatten)]
    encoding: StreamConfig,
    #[command(flatten)]
    ingest: IngestConfig,
    #[command(flatten)]
    publish: PublishConfig,
    /// Keep what becomes of viewers here, in sqlite:FILE or postgres://USER:PASSWORD@HOST/DATABASE; /analytics of the private
    /// listener shows it. Without it a traffic manager may keep it [default: nowhere]
    #[arg(
        long,
        env = "SPILLWAY_ANALYTICS",
        value_name = "DATABASE",
        hide_env_values = true
    )]
    analytics: Option<Where>,
    /// For how long visits, and sums by the minute, are kept; sums by the hour are for 800 days [default: 30]
    #[arg(long, env = "SPILLWAY_ANALYTICS_DAYS", value_name = "DAYS")]
    analytics_days: Option<u32>,
    /// How log lines are written, to stderr [default: text]
    #[arg(long, env = "SPILLWAY_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// The segmenter program [default: beside this one]
    #[arg(long, env = "SPILLWAY_SEGMENTER", value_name = "FILE")]
    segmenter: Option<PathBuf>,
    /// Streams by name
    #[arg(skip)]
    streams: BTreeMap<String, StreamConfig>,
}

impl manual::Filed for Config {
    fn sample() -> Self {
        Self {
            streams: [("NAME".to_owned(), StreamConfig::sample())].into(),
            ..Self::default()
        }
    }

    const ONLY_FILED: &[(&str, &str)] = &[
        (
            "key",
            "What the publisher has to know, for a source that is `publish`; `key-file` says it in a file of its own",
        ),
        (
            "passphrase",
            "What SRT has to be encrypted with, 10 to 79 characters [default: the key, for who does not say it in the streamid]",
        ),
    ];
}

/// What else this program does than to serve.
#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Print a playback token, or a new key to sign with
    Token(Mint),
}

fn main() -> ExitCode {
    let mut given = manual::parse_filed::<Config>();
    if let Some(Command::Token(mint)) = given.command.take() {
        return print(mint.line());
    }
    let (file, check) = (given.config.clone(), given.check);
    match config::layered(given, file.as_deref()).and_then(Config::checked) {
        Ok(config) if check => config::told("primary", config.would_do()),
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
    telemetry::init(config.log_format.unwrap_or_default());
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
            let key = std::env::var(KEY).ok().filter(|_| source == PUBLISH);
            let stream = self.encoding.clone().of(source, key, &mut self.publish);
            self.streams.insert(name, stream);
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
            stream.check().with_context(|| format!("stream {name}"))?;
        }
        Ok(self)
    }

    /// Whether all of it can work, as far as can be told without listening.
    fn would_do(&self) -> anyhow::Result<()> {
        for (name, stream) in &self.streams {
            if stream.is_published() {
                let publish = stream.publish(&self.publish);
                publish
                    .would_do()
                    .with_context(|| format!("stream {name}"))?;
            }
        }
        self.node.would_do()
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
    let stop = shutdown::of_server().context("waiting for signals")?;
    let segmenter = beside(config.segmenter.as_ref(), "segmenter")?;
    let listed = config.node.listed()?;
    let archives = config
        .dvr
        .options()?
        .map(|options| Arc::new(Archives::new(options)));
    let own = match &config.analytics {
        Some(place) => Some(keeping::open(place, config.analytics_days, &stop).await?),
        None => None,
    };
    let role = Role {
        kind: NodeKind::Primary,
        launched: false,
        standing: Standing {
            state: NodeState::Active,
            region: None,
        },
        own: own.as_ref().map(|(own, _)| own.clone()),
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
        let mut live = Live {
            keep_ended: config.dvr.keep_ended(),
            ..stream.live(&segmenter, listed, channel)
        };
        if let Some(format) = config.log_format {
            // Its log is a part of ours.
            let format = format!("--log-format={}", format.name());
            live.arguments.insert(0, format);
        }
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
        if let Some((own, keeping)) = own {
            drop(own);
            let _ = keeping.await;
        }
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
