//! VLC without a screen, asked over its remote control how far it is.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::Command,
};

use super::{CONTROL, Watched, begun, follow, is_root};
use crate::program::Program;

#[derive(Debug)]
pub struct Vlc {
    _program: Program,
    control: BufReader<TcpStream>,
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
    /// Plays `url`; as nobody, if this is root, as whom VLC refuses to run.
    pub async fn play(url: &str) -> anyhow::Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port();
        let mut command = Command::new(if is_root() { "runuser" } else { "vlc" });
        if is_root() {
            command.args(["-u", "nobody", "--", "vlc"]);
        }
        command.env("HOME", std::env::temp_dir());
        command.args([
            "--intf=oldrc",
            "--rc-fake-tty",
            &format!("--rc-host=127.0.0.1:{port}"),
        ]);
        command.args(["--no-dbus", "--vout=dummy", "--aout=dummy", url]);
        let program = Program::start("vlc", command)?;
        let start = Instant::now();
        let control = loop {
            match TcpStream::connect(("127.0.0.1", port)).await {
                Ok(control) => break BufReader::new(control),
                Err(error) if start.elapsed() > CONTROL => {
                    return Err(error)
                        .context(format!("VLC's control; it said {:#?}", program.said()));
                }
                Err(_) => tokio::time::sleep(super::LOOK).await,
            }
        };
        let mut player = Self {
            _program: program,
            control,
        };
        begun(async || player.clock().await).await?;
        Ok(player)
    }

    /// Its clock tells whole seconds: a second more or less is how it counts.
    pub async fn watch(mut self, span: Duration) -> anyhow::Result<(Watched, VlcStatistics)> {
        let watched = follow(span, async || {
            self.clock().await?.context("VLC has stopped playing")
        })
        .await?;
        Ok((watched, self.statistics().await?))
    }

    async fn clock(&mut self) -> anyhow::Result<Option<Duration>> {
        self.ask("get_time").await?;
        loop {
            let line = self.line().await?;
            if !line.starts_with("status change") {
                return Ok(line.trim().parse().ok().map(Duration::from_secs));
            }
        }
    }

    async fn statistics(&mut self) -> anyhow::Result<VlcStatistics> {
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
