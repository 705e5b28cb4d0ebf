//! mpv without a screen, asked over its JSON control how far it is.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    process::Command,
};

use super::{CONTROL, Watched, begun, follow};
use crate::program::Program;

#[derive(Debug)]
pub struct Mpv {
    _program: Program,
    control: BufReader<UnixStream>,
    socket: PathBuf,
}

impl Mpv {
    pub async fn play(url: &str) -> anyhow::Result<Self> {
        let name = format!(
            "spillway-mpv-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Relaxed)
        );
        let socket = std::env::temp_dir().join(name);
        let mut command = Command::new("mpv");
        command.args([
            "--no-config",
            "--vo=null",
            "--ao=null",
            "--msg-level=all=warn",
        ]);
        command
            .arg(format!("--input-ipc-server={}", socket.display()))
            .arg(url);
        let program = Program::start("mpv", command)?;
        let start = Instant::now();
        let control = loop {
            match UnixStream::connect(&socket).await {
                Ok(control) => break BufReader::new(control),
                Err(error) if start.elapsed() > CONTROL => {
                    return Err(error)
                        .context(format!("mpv's control; it said {:#?}", program.said()));
                }
                Err(_) => tokio::time::sleep(super::LOOK).await,
            }
        };
        let mut player = Self {
            _program: program,
            control,
            socket,
        };
        begun(async || Ok(player.clock().await?.map(|_| Duration::from_secs(1)))).await?;
        Ok(player)
    }

    pub async fn watch(mut self, span: Duration) -> anyhow::Result<Watched> {
        follow(span, async || {
            self.clock().await?.context("mpv tells no time any more")
        })
        .await
    }

    /// The time of the stream that it shows; it need not begin at nought.
    async fn clock(&mut self) -> anyhow::Result<Option<Duration>> {
        let question = json!({ "command": ["get_property", "playback-time"], "request_id": 7 });
        self.control
            .get_mut()
            .write_all(format!("{question}\n").as_bytes())
            .await?;
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(CONTROL, self.control.read_line(&mut line)).await;
            anyhow::ensure!(read.context("mpv does not answer")?? > 0, "mpv has gone");
            let answer: Value = serde_json::from_str(&line)?;
            if answer["request_id"] == 7 {
                let seconds = answer["data"].as_f64().filter(|seconds| *seconds >= 0.0);
                return Ok(seconds.map(Duration::from_secs_f64));
            }
        }
    }
}

impl Drop for Mpv {
    fn drop(&mut self) {
        // mpv leaves it behind when it is killed.
        let _ = std::fs::remove_file(&self.socket);
    }
}

static NEXT: AtomicU32 = AtomicU32::new(0);
