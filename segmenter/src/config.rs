//! The command line. Its doc comments are `--help`.

use std::{
    num::ParseIntError,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use clap::{Parser, ValueEnum};
use playlists::{Bitrate, Closed, MediaTime};

use crate::{director::Rules, error::Error, ladder::Size, likeness::Likeness};

/// Turns one live input into an aligned ladder of CMAF parts, written as frames to stdout.
///
/// This is Spillway's engine room: the origin starts it and reads its stdout, which carries nothing but frames.
/// What it has to say goes to stderr; RUST_LOG sets how much.
#[derive(Clone, Debug, Parser)]
#[command(name = "segmenter", version)]
pub(crate) struct Config {
    /// What to play: a file, a list of files (.m3u), a URL that libav opens (http, hls, rtsp, srt, udp, ...), a socket at unix:PATH, `lavfi:GRAPH` with its
    /// picture at [out0] and its sound at [out1], or `test` for Spillway's own programme
    pub(crate) input: String,

    /// A rung, at most as large as WxH at KBPS kbit/s of video; give it once for each. SCORE is how good it looks against
    /// the others, such as its VMAF: then that is what viewers' rungs are chosen by, not the rate's logarithm. Rungs
    /// larger than the input are left out. Several of one size are a ladder of rates alone, at whose steps no player loses a
    /// picture [default: 426x240@350 640x360@700 854x480@1300 1280x720@2200, and 1920x1080@4500 with four cores or more; half
    /// as much again where there are 60 pictures per second]
    #[arg(long = "rung", value_name = "WxH@KBPS[:SCORE]")]
    pub(crate) rungs: Vec<RungSpec>,

    /// How hard x264 tries: faster is coarser
    #[arg(long, value_name = "PRESET", default_value = "superfast", value_parser = PRESETS)]
    pub(crate) preset: String,

    /// Threads of the largest rung's encoder, each for a slice of the picture, which costs a little quality; smaller rungs have
    /// as many fewer as they are smaller. One is enough unless one core cannot keep up with one rung
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) threads: u32,

    /// Sound, in kbit/s of AAC
    #[arg(long, value_name = "KBPS", default_value_t = 96, value_parser = clap::value_parser!(u64).range(16..=512))]
    pub(crate) audio_kbps: u64,

    /// Tracks of sound to take of an input with several; the first goes with the pictures, each other becomes a
    /// rendition of its own
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = tracks)]
    pub(crate) audio_tracks: usize,

    /// Publish the main sound alone as well, for who wants no pictures: a variant of the plain ladder, and `?rung=audio`
    #[arg(long)]
    pub(crate) audio_rung: bool,

    /// Segments are as near to this as whole pictures and whole AAC frames allow
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub(crate) segment_seconds: f64,

    /// Parts are as near to this as the segments can be divided
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5)]
    pub(crate) part_seconds: f64,

    /// So many rungs, the cheapest, have a key frame at each part and not only at each segment: when a path breaks down
    /// in the middle of a segment, its viewer can come down to one of these at once
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub(crate) open_rungs: usize,

    /// Passes the input's own H.264 on: as the `top` rung, above those that are encoded; or as the `only` one, with its own sound and
    /// without decoding anything. Segments then begin at its key frames, which should be as far apart as --segment-seconds,
    /// or an even part of it. An input that cannot be passed on has its ladder encoded as without this, or is refused as the `only` one
    #[arg(long, value_name = "AS", value_enum)]
    pub(crate) passthrough: Option<Passthrough>,

    /// Makes a poster in several sizes about every so many seconds, and a small still of each segment for storyboards;
    /// `off` makes neither
    #[arg(long, value_name = "SECONDS|off", default_value = "30")]
    pub(crate) stills: Posters,

    /// Captions in the pictures (CEA-608, CEA-708) and their languages, as in `cc1=en,cc3=es,service1`; `auto` tells of those that
    /// come, `none` takes them out
    #[arg(long, value_name = "LIST|auto|none", default_value = "auto")]
    pub(crate) captions: Captions,

    /// Pictures per second; 90000 must be a multiple of it [default: the input's, made whole, at most --max-fps]
    #[arg(long, value_name = "RATE")]
    pub(crate) fps: Option<u32>,

    /// Faster inputs are halved until they fit: 59.94 becomes 30. Sport is worth 60, or 50, in all rungs alike
    #[arg(long, value_name = "RATE", default_value_t = 30, value_parser = clap::value_parser!(u32).range(10..=60))]
    pub(crate) max_fps: u32,

    /// Starts a file, or a list of files, over when it ends, on an unbroken timeline
    #[arg(long = "loop")]
    pub(crate) looped: bool,

    /// Plays in real time, or as fast as the machine can; `auto` paces whatever has no clock of its own
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Pacing::Auto)]
    pub(crate) pace: Pacing,

    /// Media time of the first picture, in flicks (1/705600000 s): where the run before this one ended
    #[arg(long, value_name = "FLICKS", default_value_t = 10 * MediaTime::PER_SECOND, value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) origin_time: i64,

    /// Ends after so much media [default: with the input]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) duration: Option<f64>,

    /// Ends when a network input says nothing for so long; with --backup or --slate it is opened again
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: u64,

    /// A second input of the same programme, decoded all the time, that takes over when INPUT stalls, fails or ends; a
    /// file is played over and over
    #[arg(long, value_name = "INPUT")]
    pub(crate) backup: Option<String>,

    /// What is shown, with silence, while no input gives pictures: an image, a clip that is played over and over, or
    /// `black`. The programme then goes on without a break, and back to the input by itself
    #[arg(long, value_name = "FILE|black")]
    pub(crate) slate: Option<String>,

    /// How log lines are written, to stderr: for people, or an object of JSON on each line
    #[arg(long, env = "SPILLWAY_LOG_FORMAT", value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,

    /// What a run before said of itself: makes the same kind of stream if it has to begin before INPUT is there
    #[arg(long, value_name = "LIKENESS", hide = true)]
    pub(crate) like: Option<Likeness>,

    /// How long pictures may be overdue before --backup or --slate takes over; until then the last one stands
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    pub(crate) stall_seconds: f64,

    /// How long an input that has ended may take to come back, under --backup or --slate, before the programme is over;
    /// one that stalls or fails is waited for without end
    #[arg(long, value_name = "SECONDS|forever", default_value = "10")]
    pub(crate) grace_seconds: Grace,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// How long something is waited for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Grace {
    Seconds(f64),
    Forever,
}

impl FromStr for Grace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "forever" {
            return Ok(Self::Forever);
        }
        let seconds = text.parse().ok();
        let seconds = seconds.filter(|seconds| (0.0..=1e9).contains(seconds));
        seconds
            .map(Self::Seconds)
            .ok_or_else(|| format!("{text:?} is neither a number of seconds nor `forever`"))
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Pacing {
    Auto,
    On,
    Off,
}

/// Where the input's own H.264 goes, if anywhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Passthrough {
    Top,
    Only,
}

/// How many seconds lie between posters; `None`: there are no stills at all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Posters(pub(crate) Option<f64>);

impl FromStr for Posters {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let seconds = text.parse().ok().filter(|s| (1.0..=3600.0).contains(s));
        let seconds = seconds.ok_or_else(|| format!("{text:?} is neither 1 to 3600 nor `off`"))?;
        Ok(Self(Some(seconds)))
    }
}

/// What is to be done with captions in the pictures.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Captions {
    Auto,
    None,
    Said(Vec<Closed>),
}

impl FromStr for Captions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => return Ok(Self::Auto),
            "none" => return Ok(Self::None),
            _ => {}
        }
        let closed = text.split(',').map(|one| match one.split_once('=') {
            Some((channel, language)) => Closed::new(channel, Some(language)),
            None => Closed::new(one, None),
        });
        closed.collect::<Result<_, _>>().map(Self::Said)
    }
}

/// The largest picture of a rung, and its rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RungSpec {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) kbps: u64,
    /// How good it looks.
    pub(crate) score: Option<f32>,
}

impl RungSpec {
    /// The same with pictures of this size.
    pub(crate) fn of_size(self, Size { width, height }: Size) -> Self {
        Self {
            width,
            height,
            ..self
        }
    }

    pub(crate) fn size(self) -> Size {
        Size {
            width: self.width,
            height: self.height,
        }
    }
}

impl std::fmt::Display for RungSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.size(), self.kbps)?;
        self.score.map_or(Ok(()), |score| write!(f, ":{score}"))
    }
}

impl FromStr for RungSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: String| {
            format!("{why}; a rung is written WxH@KBPS or WxH@KBPS:SCORE, such as 640x360@700")
        };
        let (size, kbps) = text.split_once('@').ok_or_else(|| wrong("no '@'".into()))?;
        let (kbps, score) = match kbps.split_once(':') {
            Some((kbps, score)) => (kbps, Some(score)),
            None => (kbps, None),
        };
        let score = score.map(|text| {
            let score = text
                .parse()
                .ok()
                .filter(|score: &f32| score.is_normal() && *score > 0.0);
            score.ok_or_else(|| wrong(format!("score {text:?} is no number above 0")))
        });
        let (width, height) = size.split_once('x').ok_or_else(|| wrong("no 'x'".into()))?;
        let number = |what: &str, text: &str| -> Result<u32, String> {
            text.parse()
                .map_err(|why: ParseIntError| wrong(format!("{what} {text:?}: {why}")))
        };
        let (width, height) = (number("width", width)?, number("height", height)?);
        let kbps = number("rate", kbps.trim_end_matches('k'))?;
        if !(16..=7680).contains(&width) || !(16..=4320).contains(&height) {
            return Err(wrong(format!(
                "{width}x{height} is not between 16x16 and 7680x4320"
            )));
        }
        if !(40..=100_000).contains(&kbps) {
            return Err(wrong(format!("{kbps} kbit/s is not between 40 and 100000")));
        }
        Ok(Self {
            width,
            height,
            kbps: kbps.into(),
            score: score.transpose()?,
        })
    }
}

impl Config {
    /// What the types alone do not rule out.
    pub(crate) fn check(&self) -> Result<(), Error> {
        within("--segment-seconds", self.segment_seconds, 0.2, 20.0)?;
        within(
            "--part-seconds",
            self.part_seconds,
            0.04,
            self.segment_seconds,
        )?;
        within("--duration", self.duration.unwrap_or(1.0), 0.001, 1e9)?;
        within("--stall-seconds", self.stall_seconds, 0.2, 3600.0)?;
        if let Some(fps) = self.fps
            && (!(1..=60).contains(&fps) || !CLOCK.is_multiple_of(fps))
        {
            return Err(Error::Option {
                option: "--fps",
                why: format!("{fps} is not one of 1 to 60 that divide {CLOCK}"),
            });
        }
        if let Some(input) = &self.backup {
            let backup = self.for_backup(input);
            if matches!(backup.source(), Source::File(name) if !Path::new(name).exists()) {
                return Err(Error::Option {
                    option: "--backup",
                    why: format!("{input} is no file, and nothing that can be opened otherwise"),
                });
            }
        }
        self.check_passthrough()?;
        if self.rungs.len() > playlists::ladder::MAX_RUNGS {
            let why = format!(
                "{} rungs; at most {} help anyone",
                self.rungs.len(),
                playlists::ladder::MAX_RUNGS
            );
            return Err(Error::Option {
                option: "--rung",
                why,
            });
        }
        // Pictures are handed down from rung to rung, so they must not grow on the way.
        let mut rungs = self.rungs.clone();
        rungs.sort_by_key(|rung| (rung.kbps, rung.width));
        for pair in rungs.windows(2) {
            let [cheap, dear] = [pair[0], pair[1]];
            if dear.width < cheap.width || dear.height < cheap.height {
                let why = format!(
                    "{dear} is smaller than {cheap}; what costs more must be at least as large"
                );
                return Err(Error::Option {
                    option: "--rung",
                    why,
                });
            }
            if cheap.score.is_some() != dear.score.is_some() || dear.score < cheap.score {
                let why = format!(
                    "{cheap} and {dear}: either all rungs have a score or none, and what costs more must have no less"
                );
                return Err(Error::Option {
                    option: "--rung",
                    why,
                });
            }
        }
        Ok(())
    }

    /// What is made of pictures cannot be had of an input that is not decoded.
    fn check_passthrough(&self) -> Result<(), Error> {
        let refused = |why: &str| Error::Option {
            option: "--passthrough",
            why: why.into(),
        };
        if self.passthrough.is_none() {
            return Ok(());
        }
        if matches!(self.source(), Source::Programme | Source::Graph(_)) {
            return Err(refused("what is made here has no H.264 of its own"));
        }
        if self.fps.is_some() {
            return Err(refused("the rate is the input's own; leave --fps out"));
        }
        if self.passthrough == Some(Passthrough::Only) {
            let needless = [
                ("--rung", !self.rungs.is_empty()),
                ("--backup", self.backup.is_some()),
                ("--slate", self.slate.is_some()),
                ("--audio-rung", self.audio_rung),
            ];
            if let Some((option, _)) = needless.into_iter().find(|(_, said)| *said) {
                let why = format!(
                    "as the `only` rung it goes without {option}, which is made by encoding; `top` goes with it"
                );
                return Err(refused(&why));
            }
        }
        Ok(())
    }

    /// The same for the backup. A recording goes round and round; a feed that ends is opened again.
    pub(crate) fn for_backup(&self, input: &str) -> Self {
        Self {
            input: input.to_owned(),
            looped: Path::new(input).is_file(),
            ..self.clone()
        }
    }

    /// The same for a slate: its pictures as fast as they are asked for.
    pub(crate) fn for_slate(&self, input: String, looped: bool) -> Self {
        Self {
            input,
            looped,
            fps: None,
            ..self.clone()
        }
    }

    /// Who may be on the air when.
    pub(crate) fn rules(&self) -> Rules {
        Rules {
            backup: self.backup.is_some(),
            slate: self.slate.is_some(),
            stall: Duration::from_secs_f64(self.stall_seconds),
            grace: match self.grace_seconds {
                Grace::Seconds(seconds) => Some(Duration::from_secs_f64(seconds)),
                Grace::Forever => None,
            },
        }
    }

    pub(crate) fn source(&self) -> Source<'_> {
        match self.input.strip_prefix("lavfi:") {
            _ if self.input == "test" => Source::Programme,
            Some(graph) => Source::Graph(graph),
            None if self.input.ends_with(".m3u") && !self.input.contains("://") => {
                Source::List(&self.input)
            }
            None if PathBuf::from(&self.input).exists() => Source::File(&self.input),
            None if self.input.contains("://") || self.input.starts_with("unix:") => {
                Source::Url(&self.input)
            }
            None => Source::File(&self.input),
        }
    }

    /// The first picture's media time on both tracks' clocks: rounded up to 1/6000 s, which divides into
    /// ticks of 1/90000 s and 1/48000 s.
    pub(crate) fn origin(&self) -> MediaTime {
        const STEP: i64 = MediaTime::PER_SECOND / 6000;
        let steps = self.origin_time / STEP + i64::from(self.origin_time % STEP != 0);
        MediaTime::from_flicks(steps.saturating_mul(STEP))
    }

    pub(crate) fn segment(&self) -> MediaTime {
        MediaTime::from_seconds(self.segment_seconds)
    }

    pub(crate) fn part(&self) -> MediaTime {
        MediaTime::from_seconds(self.part_seconds)
    }

    pub(crate) fn audio(&self) -> Bitrate {
        Bitrate::from_kbps(self.audio_kbps)
    }
}

/// What INPUT names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Source<'a> {
    Programme,
    Graph(&'a str),
    File(&'a str),
    /// A file that names others.
    List(&'a str),
    Url(&'a str),
}

/// Ticks per second of the video track.
pub(crate) const CLOCK: u32 = 90_000;

const PRESETS: [&str; 6] = [
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
];

fn tracks(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=8) => Ok(count),
        _ => Err("it has to be 1 to 8".into()),
    }
}

fn within(option: &'static str, value: f64, least: f64, most: f64) -> Result<(), Error> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err(Error::Option {
        option,
        why: format!("{value} is not between {least} and {most}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Config::command().debug_assert();
    }

    #[test]
    fn a_rung_is_read_or_says_what_is_wrong() {
        assert_eq!(
            "640x360@700k".parse(),
            Ok(RungSpec {
                width: 640,
                height: 360,
                kbps: 700,
                score: None
            })
        );
        let scored: RungSpec = "640x360@700:82.5".parse().unwrap();
        assert_eq!((scored.kbps, scored.score), (700, Some(82.5)));
        assert_eq!(scored.to_string(), "640x360@700:82.5");
        for (text, says) in [
            ("640x360", "no '@'"),
            ("640@700", "no 'x'"),
            ("ax2@3", "width \"a\""),
            ("8x8@700", "8x8"),
            ("640x360@1", "1 kbit/s"),
            ("640x360@700:", "score \"\""),
            ("640x360@700:NaN", "score \"NaN\""),
            ("640x360@700:-3", "score \"-3\""),
        ] {
            let why = text.parse::<RungSpec>().unwrap_err();
            assert!(why.contains(says) && why.contains("WxH@KBPS"), "{why}");
        }
    }

    #[test]
    fn posters_come_at_some_pace_or_not_at_all() {
        assert_eq!("off".parse(), Ok(Posters(None)));
        assert_eq!("7.5".parse(), Ok(Posters(Some(7.5))));
        for wrong in ["0", "-3", "NaN", "often", ""] {
            assert!(wrong.parse::<Posters>().unwrap_err().contains("`off`"));
        }
    }

    #[test]
    fn captions_are_said_or_found() {
        assert_eq!("auto".parse(), Ok(Captions::Auto));
        assert_eq!("none".parse(), Ok(Captions::None));
        let Ok(Captions::Said(said)) = "cc1=en,service2".parse() else {
            panic!("two are said")
        };
        assert_eq!(said.len(), 2);
        assert!(
            "cc9=en"
                .parse::<Captions>()
                .unwrap_err()
                .contains("CC1 to CC4")
        );
    }

    #[test]
    fn a_dearer_rung_is_not_smaller() {
        let check = |rungs: [&str; 2]| {
            Config::parse_from(["segmenter", "test", "--rung", rungs[0], "--rung", rungs[1]])
                .check()
        };
        assert!(check(["1280x720@2000", "640x360@700"]).is_ok());
        assert!(check(["640x360@700", "640x360@1100"]).is_ok());
        assert!(check(["640x360@700:80", "640x360@1100:80"]).is_ok());
        for wrong in [
            ["640x360@700", "640x360@1100:80"],
            ["640x360@700:81", "640x360@1100:80"],
        ] {
            let why = check(wrong).unwrap_err().to_string();
            assert!(why.contains("must have no less"), "{why}");
        }
        let why = check(["1280x720@700", "640x360@2000"])
            .unwrap_err()
            .to_string();
        assert!(
            why.contains("640x360@2000 is smaller than 1280x720@700"),
            "{why}"
        );
    }

    #[test]
    fn what_is_waited_for_is_a_number_or_for_ever() {
        assert_eq!("0".parse(), Ok(Grace::Seconds(0.0)));
        assert_eq!("forever".parse(), Ok(Grace::Forever));
        for wrong in ["", "-1", "NaN", "soon"] {
            let why = wrong.parse::<Grace>().unwrap_err();
            assert!(why.contains("forever") && why.contains(wrong), "{why}");
        }
        let why = Config::parse_from(["segmenter", "test", "--stall-seconds", "0"]).check();
        assert!(why.unwrap_err().to_string().contains("--stall-seconds"));
    }

    #[test]
    fn a_run_starts_on_a_tick_of_both_tracks() {
        let mut config = Config::parse_from(["segmenter", "test"]);
        assert_eq!(config.origin(), MediaTime::from_seconds(10.0));
        config.origin_time += 1;
        assert_eq!(
            config.origin(),
            MediaTime::from_seconds(10.0) + MediaTime::from_ticks(1, 6000)
        );
        assert_eq!(
            MediaTime::from_ticks(config.origin().to_ticks(CLOCK), CLOCK),
            config.origin()
        );
        assert_eq!(
            MediaTime::from_ticks(config.origin().to_ticks(48_000), 48_000),
            config.origin()
        );
    }
}
