//! The players there are, by their names, and how each is run at the far end of a link for one round.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use anyhow::Context as _;
use tokio::time::Instant;

use super::{
    browser,
    seen::{Clock, Seen, Stall, merged},
};
use crate::{
    link::Link,
    player::{Ffmpeg, Vlc},
    program::{Program, is_installed},
};

/// A player, and the one rung that it is to have if the server is not to choose.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Player {
    pub name: String,
    kind: Kind,
    rung: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// hls.js, which adapts by itself, or leaves that to the server; with whole segments, or with parts.
    Browser {
        own: bool,
        whole: bool,
    },
    Vlc,
    Ffmpeg,
}

impl FromStr for Player {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let (player, rung) = match name.split_once('@') {
            Some((player, rung)) => (player, Some(rung.to_owned())),
            None => (name, None),
        };
        let kind = match player {
            "ours" => Kind::Browser {
                own: false,
                whole: true,
            },
            "own" if rung.is_none() => Kind::Browser {
                own: true,
                whole: true,
            },
            "ours-low" => Kind::Browser {
                own: false,
                whole: false,
            },
            "own-low" if rung.is_none() => Kind::Browser {
                own: true,
                whole: false,
            },
            "vlc" => Kind::Vlc,
            "ffmpeg" => Kind::Ffmpeg,
            _ => {
                return Err(format!(
                    "{name:?} is none of ours, own, ours-low, own-low, vlc and ffmpeg; with @RUNG after any that does not adapt by itself"
                ));
            }
        };
        Ok(Self {
            name: name.to_owned(),
            kind,
            rung,
        })
    }
}

/// When a round begins, by both clocks, and how long it lasts.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub start: Instant,
    pub start_ms: i64,
    pub length: Duration,
}

impl Span {
    fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    fn end(&self) -> Instant {
        self.start + self.length
    }
}

impl Player {
    /// Why it cannot be run here.
    pub fn obstacle(&self) -> Option<String> {
        let needed: &[&str] = match self.kind {
            Kind::Browser { .. } => &["node", "chromium"],
            Kind::Vlc => &["vlc"],
            Kind::Ffmpeg => &["ffmpeg"],
        };
        let missing = needed.iter().find(|program| !is_installed(program));
        if let Some(missing) = missing {
            return Some(format!("{missing} is not installed"));
        }
        let libraries = [
            "tests/players/node_modules/hls.js",
            "web/node_modules/hls.js",
        ];
        let is_there = libraries
            .iter()
            .any(|library| root().join(library).exists());
        (matches!(self.kind, Kind::Browser { .. }) && !is_there)
            .then(|| "hls.js is not installed; npm ci in web, or in tests/players".into())
    }

    /// Whether it takes some seconds before it can begin.
    pub fn is_slow_to_start(&self) -> bool {
        matches!(self.kind, Kind::Browser { .. })
    }

    /// Whether it says what it fetches.
    pub fn says_what_it_fetches(&self) -> bool {
        matches!(self.kind, Kind::Browser { .. })
    }

    /// Where it joins, with the name that it has in the primary's log.
    pub fn query(&self, region: &str) -> String {
        let how = match self.kind {
            Kind::Browser { own: true, .. } => "&abr=client",
            Kind::Browser { whole: true, .. } => "&latency=normal",
            // The page asks again so soon where it takes parts.
            Kind::Browser { .. } => "&latency=low&again=0.1",
            Kind::Vlc | Kind::Ffmpeg => "",
        };
        let rung = self
            .rung
            .as_ref()
            .map(|rung| format!("&rung={rung}"))
            .unwrap_or_default();
        format!("?region={region}{how}{rung}")
    }

    /// Plays `url` over `link` for a round. That it fails is something that was seen.
    pub async fn play(&self, link: &Link, url: &str, span: Span) -> Seen {
        let played = match self.kind {
            Kind::Browser { whole, .. } => self.browse(link, url, whole, span).await,
            Kind::Vlc => self.vlc(link, url, span).await,
            Kind::Ffmpeg => self.ffmpeg(link, url, span).await,
        };
        played.unwrap_or_else(|error| Seen {
            failed: Some(format!("{error:#}")),
            ..Seen::default()
        })
    }

    async fn browse(
        &self,
        link: &Link,
        url: &str,
        whole: bool,
        span: Span,
    ) -> anyhow::Result<Seen> {
        let folder = Folder::new(&format!("{}-{}", self.name, span.start_ms))?;
        let mut command = link.command("node");
        command
            .arg(root().join("tests/players/adapting.mjs"))
            .arg(url);
        command.args(["--at", &span.start_ms.to_string()]);
        command.args(["--seconds", &span.length.as_secs_f64().to_string()]);
        command.arg("--folder").arg(&folder.0);
        if whole {
            command.arg("--whole");
        }
        let mut program = Program::start("adapting.mjs", command)?;
        let patience = span.end().saturating_duration_since(Instant::now()) + PATIENCE;
        let ended = program.ended(patience).await;
        if ended.is_err() {
            // It ends its browser.
            let _ = program.stop().await;
        }
        let said = program.said_in_full().await;
        let mut seen = browser::seen(&said);
        if let (Some(failed), Some(last)) = (
            &mut seen.failed,
            said.iter().rfind(|line| !line.starts_with('{')),
        ) {
            *failed = format!("{failed}: {last}");
        }
        Ok(seen)
    }

    async fn vlc(&self, link: &Link, url: &str, span: Span) -> anyhow::Result<Seen> {
        tokio::time::sleep_until(span.start).await;
        let mut vlc = Vlc::start(|program| link.command(program), url).await?;
        let (mut positions, mut seen) = (Vec::new(), Seen::default());
        while Instant::now() < span.end() {
            tokio::time::sleep(LOOK).await;
            // Its clock may run before there is a picture.
            if seen.began.is_none()
                && vlc
                    .statistics()
                    .await
                    .is_ok_and(|all| all.shown_pictures > 0)
            {
                seen.began = Some(span.now());
            }
            match vlc.clock().await {
                Ok(Some(position)) if !position.is_zero() => {
                    positions.push((span.now(), position.as_secs_f64()))
                }
                Ok(_) => {}
                Err(error) => {
                    seen.failed = Some(format!("{error:#}"));
                    break;
                }
            }
        }
        if let Some((_, position)) = positions.last().copied() {
            positions.push((span.length.as_secs_f64().max(span.now()), position));
        }
        (seen.stalls, seen.skipped) = WHOLE_SECONDS.stalls(&positions, &[]);
        if seen.failed.is_none() {
            let statistics = vlc.statistics().await?;
            let shown = statistics.shown_pictures + statistics.lost_pictures;
            seen.dropped = Some((statistics.lost_pictures, shown));
        }
        Ok(seen)
    }

    async fn ffmpeg(&self, link: &Link, url: &str, span: Span) -> anyhow::Result<Seen> {
        tokio::time::sleep_until(span.start).await;
        let mut ffmpeg = Ffmpeg::play(link.command("ffmpeg"), url)?;
        let playback = ffmpeg.watch(span.length).await?;
        ffmpeg.stop().await?;
        let mut seen = Seen {
            began: playback.began.map(|began| began.as_secs_f64()),
            ..Seen::default()
        };
        let mut gaps = playback.stalls.clone();
        if let Some(began) = playback.began {
            // All that was there has been played, and nothing came after it.
            let (dry, end) = (began + playback.stalled() + playback.media, span.length);
            if dry + LOOK * 2 < end {
                gaps.push((dry, end - dry));
            }
        }
        // ffmpeg shows each picture of a segment that trickles in, which is one long wait.
        let stall = |(at, length): (Duration, Duration)| {
            Stall::new(at.as_secs_f64(), length.as_secs_f64(), None)
        };
        seen.stalls = merged(gaps.into_iter().map(stall), APART);
        seen.troubles = playback.complaints;
        Ok(seen)
    }
}

/// A folder that goes with its owner.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> anyhow::Result<Self> {
        let path =
            std::env::temp_dir().join(format!("spillway-congest-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it is in the folder for what may be lost.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The checkout that this was built from, with what players need.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

const LOOK: Duration = Duration::from_millis(100);
/// For a browser to end.
const PATIENCE: Duration = Duration::from_secs(25);
/// What plays for less between two stalls, in seconds, makes one of them.
const APART: f64 = 1.0;
/// The clock of VLC counts them.
const WHOLE_SECONDS: Clock = Clock {
    step: 1.0,
    blur: 0.7,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_player_is_read_and_joins_as_it_is_called() {
        let query = |name: &str| name.parse::<Player>().map(|player| player.query("lab-0"));
        assert_eq!(query("ours").unwrap(), "?region=lab-0&latency=normal");
        assert_eq!(query("own").unwrap(), "?region=lab-0&abr=client");
        assert_eq!(query("ffmpeg@360p").unwrap(), "?region=lab-0&rung=360p");
        assert!(query("own@360p").unwrap_err().contains("own@360p"));
        assert!(query("mpv").unwrap_err().contains("vlc and ffmpeg"));
    }
}
