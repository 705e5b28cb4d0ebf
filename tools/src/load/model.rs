//! Players as they behave, as far as a server notices: what they call themselves, when they begin, how much they hold,
//! how they ask for playlists and over how many connections. From what they were seen to do (docs/players.md). Pure.

use std::{fmt, str::FromStr, time::Duration};

use spillway::player::{Config, StartRule};

/// One kind of player.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Model {
    kind: Kind,
    /// It plays by parts (Low-Latency HLS).
    parts: bool,
    /// It follows content steering.
    steers: bool,
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Kind {
    Hls,
    Vlc,
    Ffmpeg,
}

impl Model {
    pub const HLS: Self = Self::of(Kind::Hls);
    pub const VLC: Self = Self::of(Kind::Vlc);
    pub const FFMPEG: Self = Self::of(Kind::Ffmpeg);

    const fn of(kind: Kind) -> Self {
        Self {
            kind,
            parts: false,
            steers: false,
        }
    }

    pub fn name(self) -> &'static str {
        match self.kind {
            Kind::Hls => "hls.js",
            Kind::Vlc => "vlc",
            Kind::Ffmpeg => "ffmpeg",
        }
    }

    /// `User-Agent`: nodes know players by it.
    pub fn agent(self) -> &'static str {
        match self.kind {
            Kind::Hls => {
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
            }
            Kind::Vlc => "VLC/3.0.24 LibVLC/3.0.24",
            Kind::Ffmpeg => "Lavf/61.7.100",
        }
    }

    /// What the join asks for beyond what suits the player anyway.
    pub fn query(self) -> &'static str {
        match (self.kind, self.parts, self.steers) {
            (Kind::Hls, false, false) => "latency=normal",
            (Kind::Hls, false, true) => "latency=normal&steering=1",
            (Kind::Hls, true, false) => "latency=low",
            (Kind::Hls, true, true) => "latency=low&steering=1",
            (Kind::Vlc | Kind::Ffmpeg, ..) => "",
        }
    }

    pub fn config(self) -> Config {
        let (segments, max_buffer, blocks) = match self.kind {
            Kind::Hls => (1, 30, true),
            // It fetches a segment ahead of what it plays, and reloads by the clock.
            Kind::Vlc => (2, 8, false),
            // It reads on for as long as there is something, and reloads by the clock.
            Kind::Ffmpeg => (1, 30, false),
        };
        Config {
            start: StartRule {
                segments,
                buffered: Duration::from_secs(6),
            },
            max_buffer: Duration::from_secs(max_buffer),
            blocks_reload: blocks,
            parts: self.parts,
            steers: self.steers,
            ..Config::default()
        }
    }

    /// Whether playlists come over another connection than media.
    pub fn divides(self) -> bool {
        self.kind != Kind::Ffmpeg
    }

    /// Whether it speaks HTTP/2 over TLS.
    pub fn modern(self) -> bool {
        self.kind == Kind::Hls
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = if self.parts { "+parts" } else { "" };
        let steers = if self.steers { "+steering" } else { "" };
        write!(f, "{}{parts}{steers}", self.name())
    }
}

impl FromStr for Model {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, manners) = text.split_once('+').unwrap_or((text, ""));
        let named = [Self::HLS, Self::VLC, Self::FFMPEG];
        let named = named.into_iter().find(|model| model.name() == name);
        let mut model = named.ok_or_else(|| {
            format!("{name:?} is no player here; there are hls.js, vlc and ffmpeg")
        })?;
        for manner in manners.split('+').filter(|manner| !manner.is_empty()) {
            match manner {
                _ if model.kind != Kind::Hls => {
                    return Err(format!(
                        "{name} knows neither parts nor steering; hls.js does"
                    ));
                }
                "parts" => model.parts = true,
                "steering" => model.steers = true,
                other => {
                    return Err(format!(
                        "{other:?} in {text:?} is neither parts nor steering"
                    ));
                }
            }
        }
        Ok(model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_player_is_named_with_its_manners() {
        for text in [
            "hls.js",
            "hls.js+parts",
            "hls.js+steering",
            "hls.js+parts+steering",
            "vlc",
            "ffmpeg",
        ] {
            assert_eq!(
                text.parse::<Model>().map(|model| model.to_string()),
                Ok(text.to_owned())
            );
        }
        for (text, why) in [
            ("quicktime", "no player here"),
            ("vlc+parts", "vlc knows neither"),
            ("hls.js+drm", "neither parts nor steering"),
        ] {
            let error = text.parse::<Model>().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
