//! Players as they behave, as far as a server notices: what they call themselves, when they begin, how much they hold,
//! how they ask for playlists and over how many connections. From what they were seen to do (docs/players.md). Pure.

use std::{str::FromStr, time::Duration};

use spillway::player::{Config, StartRule};

/// One kind of player.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Model {
    Hls,
    Vlc,
    Ffmpeg,
}

impl Model {
    pub const ALL: [Self; 3] = [Self::Hls, Self::Vlc, Self::Ffmpeg];

    pub fn name(self) -> &'static str {
        match self {
            Self::Hls => "hls.js",
            Self::Vlc => "vlc",
            Self::Ffmpeg => "ffmpeg",
        }
    }

    /// `User-Agent`: nodes know players by it.
    pub fn agent(self) -> &'static str {
        match self {
            Self::Hls => {
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
            }
            Self::Vlc => "VLC/3.0.24 LibVLC/3.0.24",
            Self::Ffmpeg => "Lavf/61.7.100",
        }
    }

    /// What the join asks for beyond what suits the player anyway: segments are what is played here.
    pub fn query(self) -> &'static str {
        match self {
            Self::Hls => "latency=normal",
            Self::Vlc | Self::Ffmpeg => "",
        }
    }

    pub fn config(self) -> Config {
        let (segments, max_buffer, blocks) = match self {
            Self::Hls => (1, 30, true),
            // It fetches a segment ahead of what it plays, and reloads by the clock.
            Self::Vlc => (2, 8, false),
            // It reads on for as long as there is something, and reloads by the clock.
            Self::Ffmpeg => (1, 30, false),
        };
        Config {
            start: StartRule {
                segments,
                buffered: Duration::from_secs(6),
            },
            max_buffer: Duration::from_secs(max_buffer),
            blocks_reload: blocks,
            ..Config::default()
        }
    }

    /// Whether playlists come over another connection than media.
    pub fn divides(self) -> bool {
        !matches!(self, Self::Ffmpeg)
    }
}

impl FromStr for Model {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|model| model.name() == text);
        named.ok_or_else(|| format!("{text:?} is no player here; there are hls.js, vlc and ffmpeg"))
    }
}
