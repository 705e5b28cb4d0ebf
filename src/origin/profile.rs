//! What a viewer asked for when it joined: how its playlist is written, and how far it may climb.
//!
//! A [`Profile`] is told once, in the query of the join or by the player's name, and then rides in
//! the viewer's id, since whatever a viewer fetches lies under it. What a playlist of some profile
//! looks like is `playlists::render`'s business, which rung is chosen within it `adaptation`'s.

use std::{fmt, str::FromStr};

use playlists::{Ladder, RungName, WallTime, rendition::ALONE};
use serde::{Deserialize, Serialize};

/// The wishes of one viewer. Its text is empty if there are none, else short fields that are
/// joined by dots: `n.t.m720`.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Profile {
    pub latency: Latency,
    pub signalling: Signalling,
    pub choosing: Choosing,
    pub container: Container,
    /// Most lines of a picture (`?max=720p`).
    pub ceiling: Option<u16>,
    /// The one rung to be given (`?rung=480p`), of which the node's budget may still say less; or `audio`, which is none.
    pub rung: Option<RungName>,
    pub start: Start,
    /// Tenths of a second of picture that this player loses where the size of the picture changes.
    pub lost: u8,
    /// In how many tenths of a second this player asks again for all of what breaks off on its way; `None` if it would not.
    pub asks_again: Option<u8>,
}

/// Whether playlists tell of parts (RFC 8216bis section 4.4.4.9).
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Latency {
    #[default]
    Low,
    Normal,
}

/// How a change of rung is told.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Signalling {
    /// Not at all: one init section has every rung's parameters.
    #[default]
    Seamless,
    /// By `EXT-X-DISCONTINUITY` and an `EXT-X-MAP` of the rung.
    Tagged,
}

/// When a segment's rung is chosen.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Choosing {
    /// When the segment is asked for, so that the playlist is the same for everybody.
    #[default]
    AtGet,
    /// When the playlist lists it. Always so where switches are tagged.
    AtListing,
}

#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Container {
    #[default]
    Fmp4,
    Ts,
}

/// Where in the stream to begin. Whoever begins anywhere but live sees all there is, and can go
/// back and forth in it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Start {
    #[default]
    Live,
    /// Where what can be watched begins.
    Beginning,
    /// So many seconds ago; with 0 at the edge.
    Back(u32),
    /// At a moment.
    At(WallTime),
}

/// The wishes as the query of a join has them.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Asked {
    latency: Option<String>,
    switch: Option<String>,
    choose: Option<String>,
    format: Option<String>,
    max: Option<String>,
    rung: Option<String>,
    start: Option<String>,
    again: Option<String>,
}

impl Asked {
    /// Whether the container is asked for, and not only what suits the player.
    pub fn names_container(&self) -> bool {
        self.format.is_some()
    }
}

/// What is known of players that do not say what they want: a word of their User-Agent, and what
/// they play best. The first that fits counts; docs/players.md has what was measured.
///
/// Who ignores parts is spared the text of them. AVPlayer is the one that wants switches tagged;
/// with parts nobody has seen it here yet, so it gets them on request. VLC stops for good at a
/// discontinuity of fMP4, as when an encoder is started again, and not at one of MPEG-TS.
/// GStreamer 1.22 takes the media time of fMP4 for how long to wait before the first picture, and
/// ours counts from 2026; that of MPEG-TS it sets right. VLC also throws away 0.9 s of picture where its
/// size changes, in tenths of a second the last column.
const PLAYERS: &[(&str, Latency, Signalling, Container, u8)] = {
    use {Container::*, Latency::*, Signalling::*};
    &[
        ("AppleCoreMedia", Normal, Tagged, Fmp4, 0),
        ("VLC", Normal, Seamless, Ts, 9),
        ("Lavf", Normal, Seamless, Fmp4, 0),
        ("mpv", Normal, Seamless, Fmp4, 0),
        ("GStreamer", Normal, Seamless, Ts, 0),
        ("Kodi", Normal, Seamless, Fmp4, 0),
        ("Roku", Normal, Seamless, Fmp4, 0),
    ]
};

impl Profile {
    /// What `asked` says, and where it says nothing, what suits the player called `agent`, and
    /// the `latency` that the node gives to all others. An error is one line for whoever asked.
    pub fn of(asked: &Asked, agent: &str, latency: Latency) -> Result<Self, String> {
        let known = PLAYERS.iter().find(|(name, ..)| agent.contains(name));
        let others = (latency, Signalling::Seamless, Container::Fmp4, 0);
        let (usual, signalling, container, lost) =
            known.map_or(others, |known| (known.1, known.2, known.3, known.4));
        // Parts are for fMP4: who asks for them by name gets it.
        let container = match asked.latency.as_deref() {
            Some("low") => Container::Fmp4,
            _ => container,
        };
        let container = choice(&asked.format, "format", FORMATS, container)?;
        // A player that is served MPEG-TS chose it for what it cannot do.
        let usual = match container {
            Container::Ts => Latency::Normal,
            Container::Fmp4 => usual,
        };
        let signalling = choice(&asked.switch, "switch", SWITCHES, signalling)?;
        let listed = match signalling {
            Signalling::Tagged => Choosing::AtListing,
            Signalling::Seamless => Choosing::AtGet,
        };
        let choosing = choice(&asked.choose, "choose", CHOICES, listed)?;
        if (signalling, choosing) == (Signalling::Tagged, Choosing::AtGet) {
            return Err("choose=get cannot be with switch=tagged, whose playlist says which rung a segment is of; leave one out".into());
        }
        // Players in browsers load a segment in one piece, and begin anew where that fails.
        let in_browser = known.is_none() && agent.contains("Mozilla/");
        let usual_again = in_browser.then_some(HLS_JS_ASKS_AGAIN);
        Ok(Self {
            latency: choice(&asked.latency, "latency", LATENCIES, usual)?,
            signalling,
            choosing,
            container,
            ceiling: asked.max.as_deref().map(lines).transpose()?,
            rung: asked.rung.as_deref().map(rung).transpose()?,
            start: asked.start.as_deref().map_or(Ok(Start::Live), start)?,
            lost,
            asks_again: asked.again.as_deref().map_or(Ok(usual_again), again)?,
        })
    }

    /// Whether its playlists tell of parts. MPEG-TS has none; and of parts with a discontinuity before
    /// them hls.js 1.7 makes a `levelParsingError`, and ends the viewing.
    pub fn lists_parts(&self) -> bool {
        (self.latency, self.signalling, self.container)
            == (Latency::Low, Signalling::Seamless, Container::Fmp4)
    }

    /// Whether everything that can be watched is listed, and not only what is live.
    pub fn goes_back(&self) -> bool {
        self.start != Start::Live
    }

    /// Whether it wants the main sound alone.
    pub fn listens(&self) -> bool {
        self.rung
            .as_ref()
            .is_some_and(|name| name.as_str() == ALONE)
    }

    /// Whether this is what every viewer gets who asks for nothing.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// The dearest rung of `ladder` that this viewer wants: the one that it named, else the
    /// dearest of no more lines than it said, else the cheapest there is.
    pub fn most(&self, ladder: &Ladder) -> usize {
        let rungs = ladder.rungs();
        if let Some(fixed) = self.fixed(ladder) {
            return fixed;
        }
        let Some(lines) = self.ceiling else {
            return rungs.len() - 1;
        };
        let fits = rungs.iter().rposition(|rung| rung.height <= lines.into());
        fits.unwrap_or(0)
    }

    /// The rung that was named, if `ladder` has it; one that a stream no longer has is no wish.
    pub fn fixed(&self, ladder: &Ladder) -> Option<usize> {
        self.rung
            .as_ref()
            .and_then(|name| ladder.index(name.as_str()))
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = Vec::new();
        let mut field = |there: bool, text: String| fields.extend(there.then_some(text));
        field(self.latency == Latency::Normal, "n".into());
        match (self.signalling, self.choosing) {
            (Signalling::Tagged, _) => field(true, "t".into()),
            (Signalling::Seamless, choosing) => field(choosing == Choosing::AtListing, "l".into()),
        }
        field(self.container == Container::Ts, "x".into());
        if let Some(lines) = self.ceiling {
            field(true, format!("m{lines}"));
        }
        match self.start {
            Start::Live => {}
            Start::Beginning => field(true, "o".into()),
            Start::Back(seconds) => field(true, format!("b{seconds}")),
            Start::At(time) => field(true, format!("a{}", time.millis())),
        }
        field(self.lost > 0, format!("w{}", self.lost));
        match self.asks_again {
            None => {}
            Some(HLS_JS_ASKS_AGAIN) => field(true, "g".into()),
            Some(tenths) => field(true, format!("g{tenths}")),
        }
        if let Some(rung) = &self.rung {
            field(true, format!("r{rung}"));
        }
        f.write_str(&fields.join("."))
    }
}

impl FromStr for Profile {
    type Err = &'static str;

    /// Only what [`Display`](fmt::Display) writes, so that a viewer has one name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: &str =
            "a viewer id ends with fields such as n.t.m720 in the order that a join gives them";
        let mut profile = Self::default();
        if text.is_empty() {
            // Nearly everybody.
            return Ok(profile);
        }
        for field in text.split('.').filter(|field| !field.is_empty()) {
            let (kind, value) = field.split_at_checked(1).ok_or(SHAPE)?;
            match (kind, value) {
                ("n", "") => profile.latency = Latency::Normal,
                ("t", "") => {
                    profile.signalling = Signalling::Tagged;
                    profile.choosing = Choosing::AtListing;
                }
                ("l", "") => profile.choosing = Choosing::AtListing,
                ("x", "") => profile.container = Container::Ts,
                ("m", lines) => profile.ceiling = Some(lines.parse().map_err(|_| SHAPE)?),
                ("o", "") => profile.start = Start::Beginning,
                ("b", seconds) => {
                    profile.start = Start::Back(seconds.parse().map_err(|_| SHAPE)?);
                }
                ("a", millis) => {
                    let millis = millis.parse().map_err(|_| SHAPE)?;
                    profile.start = Start::At(WallTime::from_millis(millis));
                }
                ("g", "") => profile.asks_again = Some(HLS_JS_ASKS_AGAIN),
                ("g", tenths) => profile.asks_again = Some(tenths.parse().map_err(|_| SHAPE)?),
                ("w", tenths) => profile.lost = tenths.parse().map_err(|_| SHAPE)?,
                ("r", name) => {
                    let name = RungName::try_from(name.to_owned());
                    profile.rung = Some(name.map_err(|_| SHAPE)?);
                }
                _ => return Err(SHAPE),
            }
        }
        if profile.to_string() == text {
            Ok(profile)
        } else {
            Err(SHAPE)
        }
    }
}

/// As hls.js does unless its `fragLoadPolicy` says otherwise, in tenths of a second; others are no sooner.
const HLS_JS_ASKS_AGAIN: u8 = 10;
/// Who waits for longer is not helped by a delivery that is broken off.
const ASKS_AGAIN_AT_MOST: f64 = 10.0;

/// The values of one key, as they are written.
type Values<T> = &'static [(&'static str, T)];

const LATENCIES: Values<Latency> = &[("low", Latency::Low), ("normal", Latency::Normal)];
const SWITCHES: Values<Signalling> = &[
    ("seamless", Signalling::Seamless),
    ("tagged", Signalling::Tagged),
];
const CHOICES: Values<Choosing> = &[("get", Choosing::AtGet), ("list", Choosing::AtListing)];
const FORMATS: Values<Container> = &[("fmp4", Container::Fmp4), ("ts", Container::Ts)];

fn choice<T: Copy>(
    given: &Option<String>,
    key: &str,
    values: Values<T>,
    usual: T,
) -> Result<T, String> {
    let Some(given) = given.as_deref() else {
        return Ok(usual);
    };
    let found = values.iter().find(|(name, _)| *name == given);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = values.iter().map(|(name, _)| *name).collect();
        format!("{key}={given:?} is none of {}", names.join(", "))
    })
}

fn lines(text: &str) -> Result<u16, String> {
    let number = text.strip_suffix('p').unwrap_or(text).parse();
    number
        .ok()
        .filter(|lines| *lines > 0)
        .ok_or_else(|| format!("max={text:?} is no number of lines, such as 720p"))
}

/// `0.1`, in seconds, to the tenth; or `never`.
fn again(text: &str) -> Result<Option<u8>, String> {
    if text == "never" {
        return Ok(None);
    }
    let seconds = text.parse().ok();
    let seconds = seconds.filter(|seconds: &f64| (0.0..=ASKS_AGAIN_AT_MOST).contains(seconds));
    seconds
        .map(|seconds| Some((seconds * 10.0).round() as u8))
        .ok_or_else(|| {
            format!("again={text:?} is neither \"never\" nor 0 to {ASKS_AGAIN_AT_MOST} seconds")
        })
}

fn rung(text: &str) -> Result<RungName, String> {
    RungName::try_from(text.to_owned()).map_err(|error| error.to_string())
}

/// `live`, `begin` (or `0`), `edge`, `-600` (seconds ago), `1790000000` (seconds since 1970) or RFC 3339.
fn start(text: &str) -> Result<Start, String> {
    match text {
        "live" => return Ok(Start::Live),
        "begin" | "0" => return Ok(Start::Beginning),
        "edge" => return Ok(Start::Back(0)),
        _ => {}
    }
    let number = |digits: &str| {
        let all = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        all.then(|| digits.parse::<u32>().ok()).flatten()
    };
    let ago = text.strip_prefix('-').and_then(number).map(Start::Back);
    let since = number(text).map(|seconds| WallTime::from_millis(i64::from(seconds) * 1000));
    // A plus in a query is a space, and there is no other in a time.
    let written = || text.replace(' ', "+").parse().ok();
    ago.or_else(|| since.or_else(written).map(Start::At))
        .ok_or_else(|| {
            format!(
                "start={text:?} is neither \"live\", \"begin\" nor \"edge\", nor seconds ago (-600), nor a time (2026-11-21T20:15:00Z, or seconds since 1970)"
            )
        })
}

#[cfg(test)]
mod tests {
    use playlists::{Bitrate, Rung};
    use proptest::prelude::*;

    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> Asked {
        let value = |key| {
            let found = pairs.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| (*value).to_owned())
        };
        Asked {
            latency: value("latency"),
            switch: value("switch"),
            choose: value("choose"),
            format: value("format"),
            max: value("max"),
            rung: value("rung"),
            start: value("start"),
            again: value("again"),
        }
    }

    fn of(pairs: &[(&str, &str)], agent: &str) -> Result<Profile, String> {
        Profile::of(&asked(pairs), agent, Latency::Low)
    }

    const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0";

    #[test]
    fn whoever_asks_for_nothing_has_no_profile() {
        let plain = of(&[], "curl/8.1").unwrap();
        assert!(plain.is_plain());
        assert_eq!(plain.to_string(), "");
    }

    #[test]
    fn players_are_known_by_name_and_the_query_knows_better() {
        for (agent, text) in [
            ("VLC/3.0.24 LibVLC/3.0.24", "n.x.w9"),
            ("Lavf/59.27.100", "n"),
            ("GStreamer souphttpsrc 1.22", "n.x"),
            ("AppleCoreMedia/1.0.0.21A329 (iPhone)", "n.t"),
            (BROWSER, "g"),
        ] {
            assert_eq!(of(&[], agent).unwrap().to_string(), text, "{agent}");
        }
        let wished = [("latency", "low"), ("switch", "seamless")];
        assert!(of(&wished, "AppleCoreMedia/1.0").unwrap().is_plain());
        assert_eq!(of(&wished, "VLC/3.0.24").unwrap().to_string(), "w9");
        let fmp4 = of(&[("format", "fmp4")], "VLC/3.0.24").unwrap();
        assert_eq!(fmp4.to_string(), "n.w9");
        assert_eq!(of(&[("again", "never")], BROWSER).unwrap().to_string(), "");
        let node = Profile::of(&asked(&[]), BROWSER, Latency::Normal).unwrap();
        assert_eq!(node.to_string(), "n.g");
    }

    #[test]
    fn every_wish_has_its_field() {
        for (pairs, text) in [
            (&[("latency", "normal")][..], "n"),
            (&[("switch", "tagged")], "t"),
            (&[("choose", "list")], "l"),
            (&[("format", "ts")], "n.x"),
            (&[("max", "720p")], "m720"),
            (&[("max", "720")], "m720"),
            (&[("start", "-600")], "b600"),
            (&[("start", "1790000000")], "a1790000000000"),
            (&[("start", "2026-09-21T16:13:20+02:00")], "a1790000000000"),
            (&[("start", "2026-09-21T16:13:20 02:00")], "a1790000000000"),
            (&[("start", "begin")], "o"),
            (&[("start", "0")], "o"),
            (&[("start", "edge")], "b0"),
            (&[("rung", "480p"), ("max", "1080p")], "m1080.r480p"),
            (&[("again", "1")], "g"),
            (&[("again", "0.1")], "g1"),
            (&[("again", "0")], "g0"),
            (&[("again", "never")], ""),
        ] {
            assert_eq!(of(pairs, "").unwrap().to_string(), text, "{pairs:?}");
        }
    }

    #[test]
    fn a_wish_that_is_not_understood_is_told_so() {
        for (pairs, why) in [
            (&[("latency", "ultra")][..], "none of low, normal"),
            (&[("switch", "")], "none of seamless, tagged"),
            (&[("format", "webm")], "none of fmp4, ts"),
            (&[("max", "hd")], "no number of lines"),
            (&[("max", "0p")], "no number of lines"),
            (&[("rung", "../up")], "letters, digits"),
            (&[("start", "soon")], "seconds ago"),
            (&[("again", "60")], "0 to 10 seconds"),
            (&[("again", "NaN")], "never"),
            (&[("switch", "tagged"), ("choose", "get")], "leave one out"),
        ] {
            let said = of(pairs, "").unwrap_err();
            assert!(said.contains(why) && said.lines().count() == 1, "{said}");
        }
    }

    #[test]
    fn a_viewer_has_one_name_only() {
        for text in [
            "t.n", "n.n", "n.", ".n", "q", "m", "m+7", "m007", "t.l", "r", "é", "g10", "g300",
        ] {
            assert!(text.parse::<Profile>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_most_a_viewer_gets_is_what_it_wants_and_never_nothing() {
        let rung = |name: &str, height, kbps| Rung {
            name: RungName::try_from(name.to_owned()).unwrap(),
            width: height * 2,
            height,
            bandwidth: Bitrate::from_kbps(kbps),
            average: Bitrate::from_kbps(kbps),
            codecs: String::new(),
            frame_rate: 30.0,
            score: None,
        };
        let rungs = vec![
            rung("a", 360, 700),
            rung("b", 720, 2000),
            rung("c", 720, 3000),
            rung("d", 1080, 5000),
        ];
        let ladder = Ladder::new(rungs).unwrap();
        for (text, most, fixed) in [
            ("", 3, None),
            ("m720", 2, None),
            ("m240", 0, None),
            ("m720.rd", 3, Some(3)),
            ("rgone", 3, None),
        ] {
            let profile: Profile = text.parse().unwrap();
            let found = (profile.most(&ladder), profile.fixed(&ladder));
            assert_eq!(found, (most, fixed), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            low: bool, how in 0..3u8, ts: bool, lines in prop::option::of(1..4320u16),
            rung in prop::option::of("[a-zA-Z0-9_-]{1,32}"), start in 0..4u8, when: u32, lost: u8,
            asks_again: Option<u8>,
        ) {
            let profile = Profile {
                latency: if low { Latency::Low } else { Latency::Normal },
                signalling: if how == 2 { Signalling::Tagged } else { Signalling::Seamless },
                choosing: if how == 0 { Choosing::AtGet } else { Choosing::AtListing },
                container: if ts { Container::Ts } else { Container::Fmp4 },
                ceiling: lines,
                rung: rung.map(|name| RungName::try_from(name).unwrap()),
                start: match start {
                    0 => Start::Live,
                    1 => Start::Back(when),
                    2 => Start::Beginning,
                    _ => Start::At(WallTime::from_millis(i64::from(when))),
                },
                lost,
                asks_again,
            };
            let text = profile.to_string();
            prop_assert!(text.len() < 80, "{}", text);
            prop_assert_eq!(text.parse::<Profile>(), Ok(profile));
        }

        #[test]
        fn no_text_is_more_than_an_error(text: String) {
            let _ = text.parse::<Profile>();
        }
    }
}
