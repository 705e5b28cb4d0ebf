//! What the octets of a segment say of themselves: tracks, times, formats. Fragmented MP4 is read by `media`,
//! MPEG-TS by `ts`. Whether it is what the playlist says is `tracks`' business.

use media::{
    Coding, Error, Init, Run, avc,
    avc::unit,
    ts::read::{PACKET, SYNC},
};

use super::ts;

/// One segment, or one part of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    pub tracks: Vec<Track>,
    /// Of MPEG-TS: what is to be said of its packets.
    pub packets: Option<ts::Packets>,
}

/// One track of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Track {
    pub id: u32,
    pub sort: Sort,
    /// Ticks per second.
    pub rate: u32,
    /// When its first sample is decoded, in ticks.
    pub start: i64,
    /// When the sample after its last would be. Of MPEG-TS a guess, from the samples before.
    pub end: i64,
    /// A usual sample, in ticks.
    pub sample: i64,
    /// How much later than it is decoded a sample is shown at most, in ticks: where pictures are reordered.
    pub ahead: i64,
    /// Its first sample can be decoded by itself; unknown if the format is.
    pub key: Option<bool>,
    /// As in CODECS; empty if it is not known.
    pub codec: String,
    /// Width and height.
    pub size: Option<(u32, u32)>,
    /// Why its first picture cannot be decoded for want of parameter sets.
    pub lacks: Option<String>,
    /// Times are those of 33 bits, which begin anew every 26.5 hours.
    pub wraps: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Sort {
    Video,
    Sound,
    #[default]
    Other,
}

impl Track {
    /// Seconds from its first sample to the end of its last.
    pub fn duration(&self) -> f64 {
        self.span(self.start, self.end)
    }

    /// Seconds from one time to another.
    pub fn span(&self, from: i64, to: i64) -> f64 {
        let mut ticks = to.saturating_sub(from);
        if self.wraps {
            ticks = (ticks + ts::WRAP / 2).rem_euclid(ts::WRAP) - ts::WRAP / 2;
        }
        ticks as f64 / f64::from(self.rate.max(1))
    }
}

/// Why it cannot be said what is in it.
#[derive(Clone, Debug, PartialEq)]
pub enum Unread {
    /// It is broken.
    Broken(String),
    /// It is in order, as far as that can be told; it is only not looked into.
    Unknown(String),
    /// Fragmented MP4 without an init section.
    NoMap,
}

/// What a segment is packed in (section 3.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Container {
    Mp4,
    Ts,
    PackedAudio,
    WebVtt,
}

/// By its first octets.
pub fn container(octets: &[u8]) -> Option<Container> {
    let boxes: [&[u8]; 7] = [
        b"styp", b"moof", b"sidx", b"moov", b"ftyp", b"emsg", b"prft",
    ];
    if octets.get(4..8).is_some_and(|kind| boxes.contains(&kind)) {
        return Some(Container::Mp4);
    }
    if octets.first() == Some(&SYNC) && octets.get(PACKET).is_none_or(|octet| *octet == SYNC) {
        return Some(Container::Ts);
    }
    if octets.starts_with(b"WEBVTT") || octets.starts_with(b"\xef\xbb\xbfWEBVTT") {
        return Some(Container::WebVtt);
    }
    let framed =
        octets.first() == Some(&0xff) && octets.get(1).is_some_and(|octet| octet & 0xe0 == 0xe0);
    let ac3 = octets.starts_with(&[0x0b, 0x77]);
    (octets.starts_with(b"ID3") || framed || ac3).then_some(Container::PackedAudio)
}

/// Reads a segment or a part; `init` is its `EXT-X-MAP`, if it has one.
pub fn read(octets: &[u8], init: Option<&Init>) -> Result<Content, Unread> {
    match container(octets) {
        Some(Container::Mp4) => fragmented(octets, init.ok_or(Unread::NoMap)?),
        Some(Container::Ts) => ts::read(octets),
        Some(Container::PackedAudio) => Err(Unread::Unknown("packed audio".into())),
        Some(Container::WebVtt) => Err(Unread::Unknown("WebVTT".into())),
        None => {
            let head: Vec<_> = octets
                .iter()
                .take(8)
                .map(|octet| format!("{octet:02x}"))
                .collect();
            Err(Unread::Broken(format!(
                "{} octets that begin with {}",
                octets.len(),
                head.join(" ")
            )))
        }
    }
}

/// Reads an init section.
pub fn read_init(octets: &[u8]) -> Result<Init, Unread> {
    Init::parse(octets).map_err(unread)
}

fn fragmented(octets: &[u8], init: &Init) -> Result<Content, Unread> {
    let fragments = media::fragments(octets, init).map_err(unread)?;
    if fragments.is_empty() {
        return Err(Unread::Broken("no moof".into()));
    }
    let mut content = Content::default();
    for run in fragments.iter().flat_map(|fragment| &fragment.runs) {
        let Some(first) = run.samples.first() else {
            continue;
        };
        let (start, end) = (ticks(run.start), ticks(run.end()));
        if let Some(track) = content
            .tracks
            .iter_mut()
            .find(|track| track.id == run.track)
        {
            let hole = track.span(track.end, start).abs() > track.span(0, track.sample) / 2.0;
            if hole {
                let found = format!(
                    "track {} goes on at {start} inside the segment, after {}",
                    run.track, track.end
                );
                return Err(Unread::Broken(found));
            }
            track.end = end;
            continue;
        }
        let Some(known) = init.track(run.track) else {
            continue;
        };
        let mut track = Track {
            id: run.track,
            rate: known.timescale,
            start,
            end,
            sample: usual(run),
            ahead: run
                .samples
                .iter()
                .map(|sample| sample.offset.into())
                .max()
                .unwrap_or(0),
            ..Track::default()
        };
        describe(
            &mut track,
            known,
            octets.get(first.data.clone()).unwrap_or_default(),
            first.sync,
        );
        content.tracks.push(track);
    }
    Ok(content)
}

/// How long most samples are: of pictures that are reordered the first ones may be decoded close behind one another.
fn usual(run: &Run) -> i64 {
    let mut lengths: Vec<_> = run.samples.iter().map(|sample| sample.duration).collect();
    lengths.sort_unstable();
    lengths.get(lengths.len() / 2).copied().unwrap_or(0).into()
}

/// What the track's format and first sample say.
fn describe(track: &mut Track, known: &media::Track, sample: &[u8], sync: bool) {
    match &known.coding {
        Coding::Avc { config, .. } => {
            track.sort = Sort::Video;
            let idr = config
                .units(sample)
                .any(|one| one.is_ok_and(|one| avc::kind(one) == unit::IDR));
            track.key = Some(sync && idr);
            match config.sets_of(sample) {
                Ok(sets) => {
                    track.codec = avc::codec_name(sets.sps).into_owned();
                    track.size = avc::sps(sets.sps).ok().map(|sps| (sps.width, sps.height));
                }
                Err(error) => track.lacks = Some(error.to_string()),
            }
        }
        Coding::Aac(config) => {
            track.sort = Sort::Sound;
            track.codec = format!("mp4a.40.{}", config.object_type);
        }
        // Its times are looked at all the same.
        Coding::Other(_) => {}
    }
}

/// What is broken, and what is only not understood here.
fn unread(error: Error) -> Unread {
    match &error {
        Error::Size { .. }
        | Error::Head { .. }
        | Error::Short { .. }
        | Error::Missing { .. }
        | Error::Astray { .. } => Unread::Broken(error.to_string()),
        Error::UnknownTrack { .. } | Error::Unit { .. } => Unread::Broken(error.to_string()),
        _ => Unread::Unknown(error.to_string()),
    }
}

fn ticks(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}
