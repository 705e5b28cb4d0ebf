//! A segment of MPEG-TS as a CMAF segment, by itself: so that any segment of any rung can be made when somebody asks for it.
//!
//! Pictures keep their octets, behind lengths instead of start codes and with their parameter sets in band; frames of AAC lose their heads.
//! Each segment's first picture is decoded when it is shown (`order`), and each segment ends where its last picture does: so the segments of
//! rungs whose pictures are shown at the same times follow one another, however deep each encoder reorders. Where sound is cut depends on that depth
//! in a multiplex; so of sound each rung's segment is given the stretch that the leading rung's has, and what it lacks of that is taken from there.

mod pictures;
mod sound;

use std::ops::Range;

pub use self::sound::Sound;
use crate::{
    Error, Kind, aac, avc,
    compose::{self, PICTURES, Run, SOUND, Sample},
    ts::{TICKS, demux::demux, read, ticks},
};

/// How a segment is coded, as far as its own octets say it; of a segment of which only the beginning is there, too.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Programme {
    /// What its first key frame is decoded with; `None` if there is none.
    pub pictures: Option<avc::Config>,
    pub sound: Option<aac::Config>,
    /// There are pictures, by its tables.
    pub has_pictures: bool,
    /// All that the tables tell of is known.
    pub complete: bool,
    /// It begins with a picture that can be decoded by itself.
    pub begins_with_key: bool,
}

impl Programme {
    /// Of its pictures.
    pub fn size(&self) -> Option<(u32, u32)> {
        let sps = avc::sps(self.pictures.as_ref()?.sps.first()?).ok()?;
        Some((sps.width, sps.height))
    }
}

/// Looks at a segment of MPEG-TS, or at the beginning of one.
pub fn programme(octets: &[u8]) -> Result<Programme, Error> {
    let multiplex = demux(octets)?;
    let (pictures, begins_with_key) = pictures::config(&multiplex.pictures)?;
    let sound = multiplex.sound.iter().find_map(sound::config).transpose()?;
    Ok(Programme {
        has_pictures: multiplex.has_pictures,
        complete: pictures.is_some() >= multiplex.has_pictures
            && sound.is_some() >= multiplex.has_sound,
        pictures,
        sound,
        begins_with_key,
    })
}

/// The init section for segments of rungs that are like these, of which the pictures of the first are the largest.
pub fn init(largest: &Programme) -> Result<Vec<u8>, Error> {
    let side = |side: u32| {
        u16::try_from(side).map_err(|_| Error::Value {
            of: Kind(*b"avc3"),
            field: "a side of the picture",
            found: side.into(),
            rule: "a sample entry has 16 bits for it",
        })
    };
    let pictures = match (&largest.pictures, largest.size()) {
        (Some(config), Some((width, height))) => Some(compose::Pictures {
            size: (side(width)?, side(height)?),
            config: config.clone(),
        }),
        _ => None,
    };
    Ok(compose::init(pictures.as_ref(), largest.sound.as_ref()))
}

/// What a segment has become.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Remuxed {
    pub media: Vec<u8>,
    /// The sound that is in it.
    pub sound: Sound,
    /// When its first picture is shown, or its first sound is heard if it has none, in 1/90000 s.
    pub begins: u64,
    /// How long a usual picture is shown, in the same.
    pub step: u64,
    /// So many packets of it could not be read, and were left out.
    pub damaged: usize,
}

/// What is known of a segment beforehand.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// How it is coded.
    pub programme: &'a Programme,
    /// About when it begins, in 1/90000 s: of the times that its 33 bits can mean, the nearest is taken.
    pub near: u64,
    /// How long it is said to be, in the same.
    pub length: u64,
    /// The sound of the same segment in the rung that leads; `None` for that rung itself.
    pub lead: Option<&'a Sound>,
}

/// Makes CMAF of a segment of MPEG-TS, for an [init section](init) of what is `wanted`.
pub fn remux(octets: &[u8], wanted: &Wanted<'_>) -> Result<Remuxed, Error> {
    let multiplex = demux(octets)?;
    let programme = wanted.programme;
    let stamped = multiplex.pictures.iter().chain(&multiplex.sound);
    let first = stamped.filter_map(|pes| pes.stamps.shown).next();
    let clock = Clock::new(first.ok_or(Error::NoKeyFrame)?, wanted.near);
    let pictures = match programme.pictures {
        Some(_) => Some(pictures::of(&multiplex.pictures, &clock, wanted.length)?),
        None => None,
    };
    let sound = match &programme.sound {
        Some(known) => sound::of(&multiplex.sound, &clock, known)?,
        None => Sound::default(),
    };
    let sound = match wanted.lead.filter(|_| programme.sound.is_some()) {
        Some(lead) => sound.in_place_of(lead),
        None => sound,
    };
    let rate = programme.sound.map_or(TICKS, |sound| sound.rate);
    let heard = sound.frames.first().map(|frame| ticks(frame.start, rate));
    let begins = pictures.as_ref().map(|pictures| pictures.begins).or(heard);
    let begins = begins.ok_or(Error::NoKeyFrame)?;
    let step = pictures.as_ref().map_or(0, |pictures| pictures.step);
    Ok(Remuxed {
        media: write(pictures.as_ref(), &sound, rate, begins),
        begins,
        step,
        damaged: multiplex.damaged + sound.damaged,
        sound,
    })
}

/// One sample, and when it is decoded in ticks of its track.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Coded {
    start: u64,
    duration: u32,
    offset: u32,
    sync: bool,
    data: Range<usize>,
}

/// Fragments of about half a second each, so that who plays while they come has pictures and sound together.
fn write(pictures: Option<&pictures::Pictures>, sound: &Sound, rate: u32, begins: u64) -> Vec<u8> {
    let none = (&[][..], &[][..]);
    let (mut frames, shown) = pictures.map_or(none, |own| (&own.frames[..], &own.data[..]));
    let mut heard = &sound.frames[..];
    let mut media = Vec::with_capacity(shown.len() + sound.data.len() + 64 * 1024);
    let mut until = begins.saturating_add(FRAGMENT);
    while !frames.is_empty() || !heard.is_empty() {
        let first = split(&mut frames, |frame| frame.start < until);
        // What is heard after the last picture goes with it.
        let ends = frames.is_empty() && pictures.is_some();
        let with = split(&mut heard, |frame| ends || ticks(frame.start, rate) < until);
        let runs = [(PICTURES, first, shown), (SOUND, with, &sound.data[..])];
        let runs = runs.into_iter().filter_map(|(track, samples, octets)| {
            let start = samples.first()?.start;
            let samples = samples.iter().map(|sample| Sample {
                duration: sample.duration,
                offset: sample.offset,
                sync: sample.sync,
                octets: octets.get(sample.data.clone()).unwrap_or_default(),
            });
            Some(Run {
                track,
                start,
                samples: samples.collect(),
            })
        });
        let runs: Vec<_> = runs.collect();
        let next = [
            frames.first().map(|frame| frame.start),
            heard.first().map(|frame| ticks(frame.start, rate)),
        ];
        // Over a hole at once.
        let next = next.into_iter().flatten().min().unwrap_or(until);
        if !runs.is_empty() {
            // Higher from one to the next, in the next segment too.
            compose::fragment((until / (FRAGMENT / 2)) as u32, &runs, &mut media);
        }
        until = until.saturating_add(FRAGMENT).max(next.saturating_add(1));
    }
    media
}

/// Those at the beginning of `rest` for which it holds; they are taken away.
fn split<'a>(rest: &mut &'a [Coded], holds: impl Fn(&Coded) -> bool) -> &'a [Coded] {
    let count = rest
        .iter()
        .position(|one| !holds(one))
        .unwrap_or(rest.len());
    let (taken, left) = rest.split_at(count);
    *rest = left;
    taken
}

/// From the times of MPEG-TS, which have 33 bits, to those of a track.
#[derive(Clone, Copy, Debug)]
struct Clock {
    first: u64,
    /// The same, not wrapped.
    start: i64,
}

impl Clock {
    fn new(first: u64, near: u64) -> Self {
        let near = i64::try_from(near).unwrap_or(i64::MAX / 2);
        let start = near.saturating_add(read::span(near as u64 % read::WRAP, first));
        // There is nothing before the beginning of time.
        let start = if start < 0 {
            start + read::WRAP as i64
        } else {
            start
        };
        Self { first, start }
    }

    /// `None` of a time that cannot be of this segment.
    fn time(&self, stamp: Option<u64>) -> Option<i64> {
        let off = read::span(self.first, stamp?);
        let time = self.start.saturating_add(off);
        (off.abs() < FAR && time >= 0).then_some(time)
    }
}

/// No segment is as long: what is so far from its beginning is damage.
const FAR: i64 = 120 * TICKS as i64;
const FRAGMENT: u64 = TICKS as u64 / 2;
