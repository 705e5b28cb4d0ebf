//! Real players, watched from outside: how far each has played, and where it stalled.

mod ffmpeg;
mod ffplay;
mod mpv;
mod vlc;

use std::time::{Duration, Instant};

pub use self::{
    ffmpeg::{Ffmpeg, Playback},
    ffplay::Ffplay,
    mpv::Mpv,
    vlc::{Vlc, VlcStatistics},
};

/// How far a player with a clock of its own has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watched {
    /// By the player's clock.
    pub played: Duration,
    /// Wall time less that. A player has one speed, so whatever it is behind, it stood still.
    pub behind: Duration,
}

/// Looks at a player's clock for `span` of wall time.
async fn follow(
    span: Duration,
    mut clock: impl AsyncFnMut() -> anyhow::Result<Duration>,
) -> anyhow::Result<Watched> {
    let (from, start) = (clock().await?, Instant::now());
    let mut watched = Watched::default();
    while start.elapsed() < span {
        tokio::time::sleep(LOOK).await;
        watched.played = clock().await?.saturating_sub(from);
        watched.behind = start.elapsed().saturating_sub(watched.played);
    }
    Ok(watched)
}

/// Waits until the clock of a player runs.
async fn begun(
    mut clock: impl AsyncFnMut() -> anyhow::Result<Option<Duration>>,
) -> anyhow::Result<()> {
    let start = Instant::now();
    while clock()
        .await?
        .is_none_or(|time| time < Duration::from_secs(1))
    {
        anyhow::ensure!(
            start.elapsed() < BEGUN,
            "it does not begin within {BEGUN:?}"
        );
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Whether this is root, as whom some players refuse to run, and others should not.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|us| std::os::unix::fs::MetadataExt::uid(&us) == 0)
}

const LOOK: Duration = Duration::from_millis(100);
const BEGUN: Duration = Duration::from_secs(30);

/// For a player to open its remote control, and to answer it.
const CONTROL: Duration = Duration::from_secs(10);
