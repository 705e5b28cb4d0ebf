//! One stream of a primary: where it comes from and how it is encoded, as a table of the config file or as flags, and how its
//! segmenter is run then.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use spillway::{
    archive::Reach,
    ingest::{
        desk::{Channel, Second},
        options::{PUBLISH, PublishConfig},
    },
    source::{live::Live, publication::Publication},
};

/// One table [streams.NAME] of the config file; the flags are those of the source on the command line.
#[derive(Clone, Debug, Default, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct StreamConfig {
    #[arg(skip)]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) source: String,
    /// A rung of the ladder, video only, and how good it looks, such as its VMAF; repeat it for each [default:
    /// chosen by the segmenter]
    #[arg(long = "rung", value_name = "WxH@KBPS[:SCORE]")]
    rung: Vec<String>,
    /// x264 preset [default: chosen by the segmenter]
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Threads of the largest rung's encoder, a slice of the picture each; smaller rungs have fewer [default: 1]
    #[arg(long, value_name = "COUNT")]
    threads: Option<u32>,
    /// Sound, in kbit/s of AAC [default: 96]
    #[arg(long, value_name = "KBPS")]
    audio_kbps: Option<u64>,
    /// Publish the main sound alone as well, for who wants no pictures: a variant of `?abr=client`, and `?rung=audio`
    #[arg(long)]
    audio_rung: bool,
    /// Pictures per second [default: the source's, made whole, at most --max-fps]
    #[arg(long, value_name = "RATE")]
    fps: Option<u32>,
    /// Faster sources are halved until they fit; 60 or 50 for sport [default: 30]
    #[arg(long, value_name = "RATE")]
    max_fps: Option<u32>,
    /// Length of segments, as near as whole pictures allow [default: 2]
    #[arg(long, value_name = "SECONDS")]
    segment_seconds: Option<f64>,
    /// Length of parts, as near as segments can be divided; shorter ones make for less latency [default: 0.5]
    #[arg(long, value_name = "SECONDS")]
    part_seconds: Option<f64>,
    /// How many rungs, the cheapest, have a key frame at each part, so that a viewer can come down to them within a
    /// segment [default: 1]
    #[arg(long, value_name = "COUNT")]
    open_rungs: Option<usize>,
    /// Pass the source's own H.264 on, as the `top` rung above those that are encoded, or as the `only` one; its key frames should be
    /// as far apart as segments are long
    #[arg(long, value_name = "top|only")]
    passthrough: Option<String>,
    /// Make a poster about every so many seconds, and small stills for storyboards; or `off` [default: 30]
    #[arg(long, value_name = "SECONDS|off")]
    stills: Option<String>,
    /// Captions in the pictures (CEA-608, CEA-708) and their languages, as in `cc1=en,cc3=es`; `auto` finds out, `none` takes
    /// them out [default: auto]
    #[arg(long, value_name = "LIST|auto|none")]
    captions: Option<String>,
    /// Another input of the same programme, which takes over when the source stalls, fails or ends
    #[arg(long, value_name = "INPUT")]
    backup: Option<String>,
    /// What viewers see while no input gives pictures: an image, a clip, or `black`
    #[arg(long, value_name = "FILE|black")]
    slate: Option<String>,
    /// How long pictures may be overdue before the backup or the slate takes over [default: 3]
    #[arg(long, value_name = "SECONDS")]
    stall_seconds: Option<f64>,
    /// End the stream with its file, instead of playing it over and over
    #[arg(long)]
    once: bool,
    #[arg(skip)]
    pub(crate) dvr: Option<Reach>,
    // What follows is for `publish`, but for the grace; what a stream leaves open is as for all of them.
    #[arg(skip)]
    pub(crate) key: Option<String>,
    #[arg(skip)]
    pub(crate) key_file: Option<PathBuf>,
    #[arg(skip)]
    passphrase: Option<String>,
    #[arg(skip)]
    pub(crate) app: Option<String>,
    #[arg(skip)]
    second_publisher: Option<Second>,
    #[arg(skip)]
    pub(crate) grace_seconds: Option<f64>,
}

impl StreamConfig {
    /// With all that a table may say.
    pub(crate) fn sample() -> Self {
        Self {
            source: PUBLISH.to_owned(),
            ..Self::default()
        }
    }

    /// The stream whose `source` is on the command line, and what is said there of its publisher; `key` is its key, if
    /// the file has none.
    pub(crate) fn of(
        self,
        source: String,
        key: Option<String>,
        publish: &mut PublishConfig,
    ) -> Self {
        Self {
            source,
            key: publish.key.take().or(key),
            key_file: publish.key_file.take(),
            grace_seconds: publish.grace_seconds,
            ..self
        }
    }

    pub(crate) fn is_published(&self) -> bool {
        self.source == PUBLISH
    }

    /// What the types alone do not rule out.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            !self.source.is_empty(),
            "it has no source; a file, a URL, `publish` or `test`"
        );
        let said = self.publish_options();
        anyhow::ensure!(
            self.is_published() || said.is_empty(),
            "it has {}, which is for streams whose source is `{PUBLISH}`",
            said.join(", ")
        );
        anyhow::ensure!(
            self.has_stand_in() || self.stall_seconds.is_none(),
            "it has stall-seconds, and nobody to take over; name a --backup or a --slate"
        );
        anyhow::ensure!(
            self.has_stand_in() || self.is_published() || self.grace_seconds.is_none(),
            "it has grace-seconds, and neither a publisher nor anybody to take over meanwhile; name a --backup or a --slate"
        );
        Ok(())
    }

    /// How it is published; what it leaves open is as for `all`.
    pub(crate) fn publish(&self, all: &PublishConfig) -> PublishConfig {
        PublishConfig {
            key: self.key.clone(),
            key_file: self.key_file.clone(),
            passphrase: self.passphrase.clone(),
            app: self.app.clone().or_else(|| all.app.clone()),
            second_publisher: self.second_publisher.or(all.second_publisher),
            grace_seconds: self.grace_seconds.or(all.grace_seconds),
        }
    }

    /// How its segmenter is run; for one that is published, `channel` is where its publisher comes in, and for how long
    /// one who has gone is waited for.
    pub(crate) fn live(
        &self,
        segmenter: &Path,
        listed: usize,
        channel: Option<(Arc<Channel>, Duration)>,
    ) -> Live {
        let made = self.source == "test" || self.source.starts_with("lavfi:");
        let published = channel.is_some();
        let (source, remote) = match &channel {
            Some((channel, _)) => (format!("unix:{}", channel.socket.display()), true),
            None => (self.source.clone(), self.source.contains("://")),
        };
        let grace = channel.as_ref().map(|(_, grace)| grace.as_secs_f64());
        let grace = grace.or(self.grace_seconds);
        let ends = self.once || made || (self.has_stand_in() && grace.is_some());
        let mut arguments = self.encoding();
        if self.has_stand_in() {
            // A source that is opened again whenever it ends is waited for as long as it takes.
            let grace = grace.map(|seconds| seconds.to_string());
            let grace = grace.or((!ends).then(|| "forever".to_owned()));
            arguments.extend(grace.map(|grace| format!("--grace-seconds={grace}")));
        }
        if !remote && !ends {
            arguments.push("--loop".to_owned());
        }
        arguments.extend(["--".to_owned(), source]);
        Live {
            program: segmenter.to_owned(),
            arguments,
            listed,
            ends: ends && !published,
            publication: channel.map(|(channel, grace)| Publication {
                on_air: channel.on_air(),
                grace: (!self.has_stand_in()).then_some(grace),
            }),
            keep_ended: None,
        }
    }

    fn has_stand_in(&self) -> bool {
        self.backup.is_some() || self.slate.is_some()
    }

    /// What the segmenter is told as it is, each in one piece, since a value may begin with a dash.
    fn encoding(&self) -> Vec<String> {
        fn said(value: &Option<impl ToString>) -> Option<String> {
            value.as_ref().map(ToString::to_string)
        }
        let options = [
            ("segment-seconds", said(&self.segment_seconds)),
            ("part-seconds", said(&self.part_seconds)),
            ("open-rungs", said(&self.open_rungs)),
            ("threads", said(&self.threads)),
            ("audio-kbps", said(&self.audio_kbps)),
            ("fps", said(&self.fps)),
            ("max-fps", said(&self.max_fps)),
            ("passthrough", said(&self.passthrough)),
            ("stills", said(&self.stills)),
            ("captions", said(&self.captions)),
            ("preset", said(&self.preset)),
            ("backup", said(&self.backup)),
            ("slate", said(&self.slate)),
            ("stall-seconds", said(&self.stall_seconds)),
        ];
        let rungs = self.rung.iter().map(|rung| format!("--rung={rung}"));
        let options = options.into_iter();
        let options = options.filter_map(|(name, value)| Some(format!("--{name}={}", value?)));
        let audio_rung = self.audio_rung.then(|| "--audio-rung".to_owned());
        rungs.chain(options).chain(audio_rung).collect()
    }

    /// What is said of how it is published.
    fn publish_options(&self) -> Vec<&'static str> {
        let said = [
            ("key", self.key.is_some()),
            ("key-file", self.key_file.is_some()),
            ("passphrase", self.passphrase.is_some()),
            ("app", self.app.is_some()),
            ("second-publisher", self.second_publisher.is_some()),
        ];
        let said = said.into_iter().filter(|(_, said)| *said);
        said.map(|(name, _)| name).collect()
    }
}
