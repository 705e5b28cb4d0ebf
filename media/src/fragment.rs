//! Fragments (`moof` and `mdat`): which samples they hold, when each is decoded and shown, and where its octets are.

use std::ops::Range;

use crate::{
    Error, Init, Kind,
    boxes::{Fields, Found, boxes, maybe, one},
    init::Defaults,
};

/// One `moof` and the samples that it describes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fragment {
    /// `mfhd`'s number.
    pub sequence: u32,
    /// In the order of the `traf`.
    pub runs: Vec<Run>,
}

/// One track's samples in a fragment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Run {
    pub track: u32,
    /// When the first is decoded, in the track's ticks (`tfdt`).
    pub start: u64,
    pub samples: Vec<Sample>,
}

impl Run {
    /// When the sample after the last one would be decoded.
    pub fn end(&self) -> u64 {
        self.samples.last().map_or(self.start, |last| {
            last.time.saturating_add(u64::from(last.duration))
        })
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sample {
    /// When it is decoded, in the track's ticks.
    pub time: u64,
    pub duration: u32,
    /// How much later it is shown, in ticks; versions 0 and 1 of `trun` alike are taken to be signed.
    pub offset: i32,
    /// It can be decoded by itself.
    pub sync: bool,
    /// Where it is in the octets that were read.
    pub data: Range<usize>,
}

/// The fragments in `octets`; boxes beside them are passed over.
pub fn fragments(octets: &[u8], init: &Init) -> Result<Vec<Fragment>, Error> {
    let found = boxes(octets).collect::<Result<Vec<_>, _>>()?;
    let of_kind = |kind: &'static [u8; 4]| found.iter().filter(move |found| found.kind.0 == *kind);
    let bodies: Vec<_> = of_kind(b"mdat").map(Found::content_range).collect();
    of_kind(b"moof")
        .map(|moof| fragment(moof, init, &bodies))
        .collect()
}

fn fragment(moof: &Found<'_>, init: &Init, bodies: &[Range<usize>]) -> Result<Fragment, Error> {
    let mut mfhd = Fields::new(b"mfhd", one(moof.content, b"moof", b"mfhd")?);
    mfhd.full()?;
    let mut fragment = Fragment {
        sequence: mfhd.u32("its number")?,
        runs: Vec::new(),
    };
    let mut end = moof.at as u64;
    for found in boxes(moof.content) {
        let found = found?;
        if found.kind.0 == *b"traf" {
            let (run, to) = run(found.content, init, moof.at as u64, end, bodies)?;
            end = to;
            fragment.runs.push(run);
        }
    }
    Ok(fragment)
}

/// A `traf`, and where its data ends: from there on counts the next one that says nothing else.
fn run(
    traf: &[u8],
    init: &Init,
    moof: u64,
    before: u64,
    bodies: &[Range<usize>],
) -> Result<(Run, u64), Error> {
    let (track, flags, defaults) = tfhd(one(traf, b"traf", b"tfhd")?, init)?;
    let base = if flags & BASE_IS_MOOF != 0 {
        moof
    } else {
        before
    };
    let start = tfdt(one(traf, b"traf", b"tfdt")?)?;
    let mut place = Place {
        track,
        time: start,
        base,
        at: base,
        bodies,
        left: bodies.iter().map(ExactSizeIterator::len).sum::<usize>() + SPARE_SAMPLES,
    };
    let mut samples = Vec::new();
    for found in boxes(traf) {
        let found = found?;
        if found.kind.0 == *b"trun" {
            trun(found.content, defaults, &mut place, &mut samples)?;
        }
    }
    let run = Run {
        track,
        start,
        samples,
    };
    Ok((run, place.at))
}

fn tfhd(content: &[u8], init: &Init) -> Result<(u32, u32, Defaults), Error> {
    let mut fields = Fields::new(b"tfhd", content);
    let (_, flags) = fields.full()?;
    let track = fields.u32("the id of the track")?;
    let known = init.track(track).ok_or(Error::UnknownTrack { track })?;
    if flags & 0x1 != 0 {
        return Err(Error::Value {
            of: Kind(*b"tfhd"),
            field: "the base of offsets",
            found: fields.u64("the base of offsets")?,
            rule: "a segment's offsets count from its moof (ISO/IEC 23000-19 section 7.5.16)",
        });
    }
    fields.u32_if(flags & 0x2 != 0, "the sample description")?;
    let duration = fields.u32_if(flags & 0x8 != 0, "the default duration")?;
    let size = fields.u32_if(flags & 0x10 != 0, "the default size")?;
    let sample_flags = fields.u32_if(flags & 0x20 != 0, "the default flags")?;
    let defaults = Defaults {
        duration: duration.unwrap_or(known.defaults.duration),
        size: size.unwrap_or(known.defaults.size),
        flags: sample_flags.unwrap_or(known.defaults.flags),
    };
    Ok((track, flags, defaults))
}

fn tfdt(content: &[u8]) -> Result<u64, Error> {
    let mut fields = Fields::new(b"tfdt", content);
    match fields.full()? {
        (0, _) => fields.u32("the time").map(u64::from),
        _ => fields.u64("the time"),
    }
}

/// Where the next sample of a track is, in time and in octets.
struct Place<'a> {
    track: u32,
    time: u64,
    /// Where offsets count from.
    base: u64,
    at: u64,
    bodies: &'a [Range<usize>],
    /// More samples than this are not believed.
    left: usize,
}

fn trun(
    content: &[u8],
    defaults: Defaults,
    place: &mut Place<'_>,
    samples: &mut Vec<Sample>,
) -> Result<(), Error> {
    let mut fields = Fields::new(b"trun", content);
    let (_, flags) = fields.full()?;
    let count = fields.u32("the number of samples")?;
    if let Some(offset) = fields.u32_if(flags & 0x1 != 0, "the offset of its data")? {
        place.at = place.base.saturating_add_signed(i64::from(offset as i32));
    }
    let first_flags = fields.u32_if(flags & 0x4 != 0, "the flags of the first sample")?;
    for number in 0..count {
        place.left = place.left.checked_sub(1).ok_or(Error::Value {
            of: Kind(*b"trun"),
            field: "the number of samples",
            found: count.into(),
            rule: "there are no more samples than octets of media",
        })?;
        let duration = fields.u32_if(flags & 0x100 != 0, "a sample's duration")?;
        let size = fields.u32_if(flags & 0x200 != 0, "a sample's size")?;
        let own_flags = fields.u32_if(flags & 0x400 != 0, "a sample's flags")?;
        let offset = fields.u32_if(flags & 0x800 != 0, "a sample's offset")?;
        let first_flags = first_flags.filter(|_| number == 0);
        let sample_flags = own_flags.or(first_flags).unwrap_or(defaults.flags);
        let duration = duration.unwrap_or(defaults.duration);
        let data = place.take(size.unwrap_or(defaults.size), samples.len())?;
        samples.push(Sample {
            time: place.time,
            duration,
            offset: offset.unwrap_or(0) as i32,
            sync: sample_flags & NON_SYNC == 0,
            data,
        });
        place.time = place.time.saturating_add(u64::from(duration));
    }
    Ok(())
}

impl Place<'_> {
    /// The next `size` octets, which must be in an `mdat`.
    fn take(&mut self, size: u32, index: usize) -> Result<Range<usize>, Error> {
        let (from, to) = (self.at, self.at.saturating_add(u64::from(size)));
        self.at = to;
        let range = usize::try_from(from)
            .ok()
            .zip(usize::try_from(to).ok())
            .map(|(from, to)| from..to);
        let inside = |range: &Range<usize>| {
            self.bodies
                .iter()
                .any(|body| body.start <= range.start && range.end <= body.end)
        };
        range.filter(inside).ok_or(Error::Astray {
            track: self.track,
            index,
            from,
            to,
        })
    }
}

/// Whether boxes say that media is here; for what is neither an init section nor a segment.
pub fn is_media(octets: &[u8]) -> bool {
    maybe(octets, b"moof").is_ok_and(|moof| moof.is_some())
}

const BASE_IS_MOOF: u32 = 0x02_0000;
/// Of a sample's flags (ISO/IEC 14496-12 section 8.8.3.1).
const NON_SYNC: u32 = 0x1_0000;
/// Samples may be empty, but not without end.
const SPARE_SAMPLES: usize = 1024;
