//! What all players of a session watch: a primary, and its stream, encoded once or as it goes.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use reqwest::{Client, Url};
use serde::Deserialize;
use tokio::{process::Command, time::Instant};

use super::{report::Rung, sizes::Follower};
use crate::program::Program;

/// What is to be on.
#[derive(Clone, Debug)]
pub struct Programme {
    /// Where `primary`, `segmenter` and `replay` are.
    pub programs: PathBuf,
    /// What a segmenter takes for an input.
    pub source: String,
    /// `WxH@KBPS`.
    pub rungs: Vec<String>,
    /// Encoded as it goes, and not once before.
    pub live: bool,
    pub rule: Option<String>,
    /// The primary's budget, as its `--egress-mbps`.
    pub egress_mbps: Option<String>,
    /// How long a stream is that is encoded once; it is played over and over.
    pub length: Duration,
}

/// A primary that serves, and what is known of its stream.
#[derive(Debug)]
pub struct Stage {
    primary: Program,
    /// Viewers reach it here, at any address of this host.
    pub port: u16,
    pub rungs: Vec<Rung>,
    pub segment_s: f64,
    pub follower: Follower,
}

#[derive(Debug, Deserialize)]
struct Stream {
    segment_s: f64,
    rungs: Vec<Rung>,
}

impl Stage {
    /// Encodes if need be, starts the primary, and waits until its stream can be watched.
    pub async fn start(programme: &Programme) -> anyhow::Result<Self> {
        let program = |name: &str| programme.programs.join(name);
        let mut command = Command::new(program("primary"));
        if programme.live {
            command.arg("--segmenter").arg(program("segmenter"));
            command.args(programme.rungs.iter().flat_map(|rung| ["--rung", rung]));
        } else {
            command.arg("--segmenter").arg(program("replay"));
        }
        // Links come and go, each with an address of its own.
        command.args(["--listen", "0.0.0.0:0", "--private-listen", "127.0.0.1:0"]);
        if let Some(rule) = &programme.rule {
            command.args(["--rule", rule]);
        }
        if let Some(budget) = &programme.egress_mbps {
            command.args(["--egress-mbps", budget]);
        }
        command
            .env("RUST_LOG", "info,spillway=debug")
            .env("NO_COLOR", "1");
        if programme.live {
            command.args(["0.0.0.0", &programme.source]);
        } else {
            let reel = encoded(programme).await?;
            command.arg("0.0.0.0").arg(reel);
        }
        let mut primary = Program::start("primary", command)?;
        let [public, private] = <[String; 2]>::try_from(primary.ready().await?)
            .map_err(|urls| anyhow::anyhow!("the primary says that it is at {urls:?}"))?;
        let public: Url = public.parse()?;
        let port = public.port().context("the primary names no port")?;
        let client = Client::new();
        let base: Url = format!("http://127.0.0.1:{port}/live/live/").parse()?;
        playable(&client, &base, &primary).await?;
        let streams = client
            .get(format!("{private}/v1/streams"))
            .send()
            .await?
            .error_for_status()?;
        let streams: Vec<Stream> = serde_json::from_str(&streams.text().await?)?;
        let stream = streams
            .into_iter()
            .next()
            .context("the primary has no stream")?;
        ensure!(!stream.rungs.is_empty(), "the stream has no rungs");
        let names = stream.rungs.iter().map(|rung| rung.name.clone()).collect();
        Ok(Self {
            primary,
            port,
            rungs: stream.rungs,
            segment_s: stream.segment_s,
            follower: Follower::start(client, base, names),
        })
    }

    /// What the primary and its segmenter have said so far.
    pub fn said(&self) -> Vec<String> {
        self.primary.said()
    }

    /// Ends it as an operator would.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.follower);
        self.primary.stop().await.map(|_| ())
    }
}

/// Waits until the stream can be watched: the primary holds a join until there is enough to start on.
async fn playable(client: &Client, base: &Url, primary: &Program) -> anyhow::Result<()> {
    let (join, deadline) = (
        base.join("index.m3u8?abr=client")?,
        Instant::now() + PLAYABLE,
    );
    loop {
        let answer = client.get(join.clone()).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        let said = primary.said();
        let last = &said[said.len().saturating_sub(10)..];
        ensure!(
            Instant::now() < deadline,
            "there is nothing to watch; the primary said\n{}",
            last.join("\n")
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The file with what the segmenter makes of the programme; kept beside the programs, for the next time.
async fn encoded(programme: &Programme) -> anyhow::Result<PathBuf> {
    let segmenter = programme.programs.join("segmenter");
    let mut arguments: Vec<String> = programme
        .rungs
        .iter()
        .flat_map(|rung| ["--rung".to_owned(), rung.clone()])
        .collect();
    arguments.extend(
        [
            "--preset",
            "ultrafast",
            "--pace",
            "off",
            "--audio-tracks",
            "1",
            "--duration",
        ]
        .map(str::to_owned),
    );
    arguments.push(programme.length.as_secs_f64().to_string());
    arguments.extend(["--".to_owned(), programme.source.clone()]);
    let path = place(&segmenter, &arguments)?;
    if path.is_file() {
        return Ok(path);
    }
    eprintln!(
        "congest: encoding {} once, {:.0} s of it",
        programme.source,
        programme.length.as_secs_f64()
    );
    let folder = path.parent().context("a file has a folder")?;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    // Under its own name only when it is whole.
    let partial = path.with_extension(format!("{}", std::process::id()));
    let to = fs::File::create(&partial).with_context(|| partial.display().to_string())?;
    let mut command = Command::new(&segmenter);
    command
        .args(&arguments)
        .env("RUST_LOG", "warn")
        .kill_on_drop(true);
    let ended = command.stdin(Stdio::null()).stdout(to).status().await;
    let ended = ended.with_context(|| segmenter.display().to_string())?;
    if !ended.success() {
        fs::remove_file(&partial)?;
        anyhow::bail!("segmenter {} ended with {ended}", arguments.join(" "));
    }
    fs::rename(&partial, &path)?;
    Ok(path)
}

/// Another segmenter or other options make another file.
fn place(segmenter: &Path, arguments: &[String]) -> anyhow::Result<PathBuf> {
    let about =
        fs::metadata(segmenter).with_context(|| format!("{} is not built", segmenter.display()))?;
    let mut hasher = DefaultHasher::new();
    (arguments, about.len(), about.modified().ok()).hash(&mut hasher);
    let name = format!("{:016x}.frames", hasher.finish());
    Ok(segmenter.with_file_name("reels").join(name))
}

const PLAYABLE: Duration = Duration::from_secs(40);
