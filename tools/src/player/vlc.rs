//! VLC without a screen, asked over its remote control how far it is.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    process::Command,
};

use super::{CONTROL, Watched, begun, follow, is_root};
use crate::program::Program;

#[derive(Debug)]
pub struct Vlc {
    _program: Program,
    control: BufReader<UnixStream>,
    socket: PathBuf,
}

/// What VLC counts while it plays.
#[derive(Clone, Copy, Debug, Default)]
pub struct VlcStatistics {
    pub shown_pictures: u64,
    pub lost_pictures: u64,
    /// Of sound.
    pub lost_buffers: u64,
}

impl Vlc {
    /// Plays `url`, and waits until it does.
    pub async fn play(url: &str) -> anyhow::Result<Self> {
        let mut player = Self::start(|program| Command::new(program), url).await?;
        begun(async || player.clock().await).await?;
        Ok(player)
    }

    /// Starts it on `url` with what `run` makes of a program's name; as nobody, if this is root, as whom VLC refuses to run.
    pub async fn start(run: impl FnOnce(&str) -> Command, url: &str) -> anyhow::Result<Self> {
        let name = format!(
            "spillway-vlc-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Relaxed)
        );
        // Not a port: it may be asked from outside its network namespace.
        let socket = std::env::temp_dir().join(name);
        let mut command = if is_root() {
            // Becomes VLC, which is killed with it; `runuser` would stay its parent and leave it behind.
            let mut command = run("setpriv");
            command.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]);
            command.arg("vlc");
            command
        } else {
            run("vlc")
        };
        command.env("HOME", std::env::temp_dir());
        command.args(["--intf=oldrc", "--rc-fake-tty", "--rc-unix"]);
        command.arg(&socket);
        command.args(["--no-dbus", "--vout=dummy", "--aout=dummy", url]);
        let program = Program::start("vlc", command)?;
        let start = Instant::now();
        let control = loop {
            match UnixStream::connect(&socket).await {
                Ok(control) => break BufReader::new(control),
                Err(error) if start.elapsed() > CONTROL => {
                    return Err(error)
                        .context(format!("VLC's control; it said {:#?}", program.said()));
                }
                Err(_) => tokio::time::sleep(super::LOOK).await,
            }
        };
        Ok(Self {
            _program: program,
            control,
            socket,
        })
    }

    /// Its clock tells whole seconds: a second more or less is how it counts.
    pub async fn watch(mut self, span: Duration) -> anyhow::Result<(Watched, VlcStatistics)> {
        let watched = follow(span, async || {
            self.clock().await?.context("VLC has stopped playing")
        })
        .await?;
        Ok((watched, self.statistics().await?))
    }

    /// How far it is, in whole seconds; nothing before it plays.
    pub async fn clock(&mut self) -> anyhow::Result<Option<Duration>> {
        self.ask("get_time").await?;
        loop {
            let line = self.line().await?;
            if !line.starts_with("status change") {
                return Ok(line.trim().parse().ok().map(Duration::from_secs));
            }
        }
    }

    pub async fn statistics(&mut self) -> anyhow::Result<VlcStatistics> {
        self.ask("stats").await?;
        let mut statistics = VlcStatistics::default();
        loop {
            let line = self.line().await?;
            if line.contains("end of statistical info") {
                return Ok(statistics);
            }
            let (what, number) = line
                .trim_start_matches("| ")
                .split_once(':')
                .unwrap_or_default();
            let number = || number.trim().parse().unwrap_or(0);
            match what.trim() {
                "frames displayed" => statistics.shown_pictures = number(),
                "frames lost" => statistics.lost_pictures = number(),
                "buffers lost" => statistics.lost_buffers = number(),
                _ => {}
            }
        }
    }

    async fn ask(&mut self, what: &str) -> anyhow::Result<()> {
        Ok(self
            .control
            .get_mut()
            .write_all(format!("{what}\n").as_bytes())
            .await?)
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let read = tokio::time::timeout(CONTROL, self.control.read_line(&mut line)).await;
        anyhow::ensure!(read.context("VLC does not answer")?? > 0, "VLC has gone");
        Ok(line.trim().to_owned())
    }
}

impl Drop for Vlc {
    fn drop(&mut self) {
        // VLC leaves it behind when it is killed.
        let _ = std::fs::remove_file(&self.socket);
    }
}

static NEXT: AtomicU32 = AtomicU32::new(0);
