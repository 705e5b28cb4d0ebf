//! Real players, watched from outside: how far each has played, and where it stalled.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::Command,
};

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
        command.args([
            "-nostdin",
            "-hide_banner",
            "-v",
            "warning",
            "-stats_period",
            "0.1",
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

/// VLC without a screen, asked over its remote control how far it is.
#[derive(Debug)]
pub struct Vlc {
    _program: Program,
    control: BufReader<TcpStream>,
}

/// What VLC says of its playing.
#[derive(Clone, Debug, Default)]
pub struct VlcReport {
    /// By VLC's own clock.
    pub played: Duration,
    /// Wall time less what it played. VLC plays at one speed and tells whole seconds, so a second
    /// more or less is how it counts, and anything beyond was a stall.
    pub behind: Duration,
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
        let root = std::fs::metadata("/proc/self")
            .is_ok_and(|us| std::os::unix::fs::MetadataExt::uid(&us) == 0);
        let mut command = Command::new(if root { "runuser" } else { "vlc" });
        if root {
            command.args(["-u", "nobody", "--", "vlc"]);
        }
        command.env("HOME", std::env::temp_dir());
        command.args([
            "--intf=oldrc",
            "--rc-fake-tty",
            &format!("--rc-host=127.0.0.1:{port}"),
            "--no-dbus",
        ]);
        command.args(["--vout=dummy", "--aout=dummy", url]);
        let program = Program::start("vlc", command)?;
        let start = Instant::now();
        let control = loop {
            match TcpStream::connect(("127.0.0.1", port)).await {
                Ok(control) => break BufReader::new(control),
                Err(error) if start.elapsed() > CONTROL => {
                    return Err(error).context(format!(
                        "VLC's remote control; it said {:#?}",
                        program.said()
                    ));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        };
        let mut vlc = Self {
            _program: program,
            control,
        };
        while vlc.time().await?.is_none_or(|time| time == 0) {
            anyhow::ensure!(
                start.elapsed() < BEGUN,
                "VLC does not begin; it said {:#?}",
                vlc._program.said()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(vlc)
    }

    /// Lets it play for `span` of wall time.
    pub async fn watch(mut self, span: Duration) -> anyhow::Result<VlcReport> {
        let from = self.time().await?.context("VLC does not tell the time")?;
        let (start, mut report) = (Instant::now(), VlcReport::default());
        while start.elapsed() < span {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let time = self.time().await?.context("VLC has stopped playing")?;
            report.played = Duration::from_secs(time.saturating_sub(from));
            report.behind = start.elapsed().saturating_sub(report.played);
        }
        for line in self.ask("stats", "end of statistical info").await? {
            let number = || line.rsplit(':').next()?.trim().parse().ok();
            match line
                .trim_start_matches("| ")
                .split(':')
                .next()
                .unwrap_or_default()
                .trim()
            {
                "frames displayed" => report.shown_pictures = number().unwrap_or(0),
                "frames lost" => report.lost_pictures = number().unwrap_or(0),
                "buffers lost" => report.lost_buffers = number().unwrap_or(0),
                _ => {}
            }
        }
        Ok(report)
    }

    /// Seconds played, by its clock.
    async fn time(&mut self) -> anyhow::Result<Option<u64>> {
        self.control.get_mut().write_all(b"get_time\n").await?;
        loop {
            let line = self.line().await?;
            if !line.starts_with("status change") {
                return Ok(line.trim().parse().ok());
            }
        }
    }

    async fn ask(&mut self, what: &str, end: &str) -> anyhow::Result<Vec<String>> {
        self.control
            .get_mut()
            .write_all(format!("{what}\n").as_bytes())
            .await?;
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            if line.contains(end) {
                return Ok(lines);
            }
            lines.push(line);
        }
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let read = tokio::time::timeout(CONTROL, self.control.read_line(&mut line)).await;
        anyhow::ensure!(read.context("VLC does not answer")?? > 0, "VLC has gone");
        Ok(line.trim().to_owned())
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

const CONTROL: Duration = Duration::from_secs(10);
const BEGUN: Duration = Duration::from_secs(30);

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
