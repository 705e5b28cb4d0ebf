//! ffplay without a screen: it prints its master clock several times a second.

use std::time::Duration;

use anyhow::Context as _;
use tokio::process::Command;

use super::{Watched, begun, follow};
use crate::program::Program;

#[derive(Debug)]
pub struct Ffplay(Program);

impl Ffplay {
    pub async fn play(url: &str) -> anyhow::Result<Self> {
        let mut command = Command::new("ffplay");
        command
            .env("SDL_VIDEODRIVER", "dummy")
            .env("SDL_AUDIODRIVER", "dummy");
        command.args(["-hide_banner", "-loglevel", "warning", "-stats", url]);
        let player = Self(Program::start("ffplay", command)?);
        // Its clock is the stream's own, so it never starts at nought; the first line will do.
        begun(async || Ok(player.clock())).await?;
        Ok(player)
    }

    pub async fn watch(self, span: Duration) -> anyhow::Result<Watched> {
        follow(span, async || {
            self.clock().context("ffplay shows no clock any more")
        })
        .await
    }

    /// The newest line such as `  12.34 A-V: -0.01 fd=   0 ...`.
    fn clock(&self) -> Option<Duration> {
        let said = self.0.said();
        let seconds = said.iter().rev().find_map(|line| {
            let (clock, _) = line.trim_start().split_once(" A-V:")?;
            clock.trim().parse::<f64>().ok()
        })?;
        (seconds > 0.0).then(|| Duration::from_secs_f64(seconds))
    }
}
