//! FFmpeg as a player that cannot adapt, and what its viewer would see.

use std::time::{Duration, Instant};

use tokio::process::Command;

use crate::program::Program;

/// FFmpeg as a player that cannot adapt: decodes all it can get of one media playlist, and says
/// how far it is. It has no clock, so the playing is [`Playback`]'s.
#[derive(Debug)]
pub struct Ffmpeg {
    program: Program,
    started: Instant,
}

impl Ffmpeg {
    /// Plays `url` with `command`, which runs ffmpeg somewhere.
    pub fn play(mut command: Command, url: &str) -> anyhow::Result<Self> {
        // It tells between two packets only, and a wait for the next segment is one long packet: so it
        // has to tell each time, or it is taken to have nothing when it has three segments.
        command.args([
            "-nostdin",
            "-hide_banner",
            "-v",
            "warning",
            "-stats_period",
            "0.001",
            "-progress",
            "pipe:1",
        ]);
        command.args(["-i", url, "-map", "0:v", "-map", "0:a", "-f", "null", "-"]);
        Ok(Self {
            program: Program::start("ffmpeg", command)?,
            started: Instant::now(),
        })
    }

    /// Lets it play for `span` of wall time, then says what its viewer would have seen.
    pub async fn watch(&mut self, span: Duration) -> anyhow::Result<Playback> {
        let (mut playback, end) = (Playback::default(), self.started + span);
        let mut seen = 0;
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let said = self.program.said();
            let now = self.started.elapsed();
            for line in &said[seen..] {
                match line.strip_prefix("out_time_us=").map(str::parse::<u64>) {
                    Some(Ok(micros)) => playback.decoded(Duration::from_micros(micros), now),
                    Some(Err(_)) => {} // N/A before the first frame
                    None if line.contains('=') => {}
                    None => playback.complaints.push(line.clone()),
                }
            }
            seen = said.len();
        }
        anyhow::ensure!(self.program.pid().is_some(), "ffmpeg ended before its time");
        Ok(playback)
    }

    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.program.stop().await.map(|_| ())
    }
}

/// What a viewer sees of media that is decoded as it comes: it plays from the first picture on,
/// and stalls whenever it has played all there is.
#[derive(Clone, Debug, Default)]
pub struct Playback {
    /// Media decoded.
    pub media: Duration,
    /// Wall time of the first picture, since the start.
    pub began: Option<Duration>,
    /// When each stall began, and how long it took.
    pub stalls: Vec<(Duration, Duration)>,
    /// What the player complained of.
    pub complaints: Vec<String>,
}

impl Playback {
    /// Media up to `media` is there at `now`.
    fn decoded(&mut self, media: Duration, now: Duration) {
        if media <= self.media {
            return;
        }
        match self.began {
            None => self.began = Some(now),
            Some(began) => {
                // When the last picture that was there had been shown.
                let dry = began + self.stalled() + self.media;
                if now > dry + TOLERANCE {
                    self.stalls.push((dry, now - dry));
                }
            }
        }
        self.media = media;
    }

    pub fn stalled(&self) -> Duration {
        self.stalls.iter().map(|(_, length)| *length).sum()
    }
}

/// Below this a gap is how often the player says how far it is.
const TOLERANCE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_played_all_there_is_stalls_until_there_is_more() {
        let second = Duration::from_secs;
        let mut playback = Playback::default();
        playback.decoded(second(4), second(1));
        playback.decoded(second(6), second(4));
        assert!(playback.stalls.is_empty());
        playback.decoded(second(8), second(9));
        assert_eq!(playback.stalls, [(second(7), second(2))]);
        playback.decoded(second(10), second(10));
        assert_eq!(playback.stalled(), second(2));
    }
}
