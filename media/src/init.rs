//! An init section (`EXT-X-MAP`): the tracks of a presentation and what it takes to read their fragments.

use crate::{
    Error, Kind, aac, avc,
    boxes::{Fields, boxes, maybe, one},
};

/// What an init section says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Init {
    /// In the order in which they are listed.
    pub tracks: Vec<Track>,
}

/// One track of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Track {
    pub id: u32,
    /// Ticks per second.
    pub timescale: u32,
    /// As shown, in 1/65536 pixels; 0 for sound.
    pub shown: (u32, u32),
    /// It has an edit list, which players take in different ways.
    pub edited: bool,
    /// Of samples for which a fragment says nothing: `trex`.
    pub defaults: Defaults,
    pub coding: Coding,
}

/// What holds of a sample unless it is said of it: duration in ticks, octets, flags.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Defaults {
    pub duration: u32,
    pub size: u32,
    pub flags: u32,
}

/// How samples are coded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Coding {
    /// `avc1`, or `avc3` whose parameter sets are in band.
    Avc {
        entry: Kind,
        width: u16,
        height: u16,
        config: avc::Config,
    },
    Aac(aac::Config),
    /// Nothing that is understood here.
    Other(Kind),
}

impl Init {
    pub fn parse(octets: &[u8]) -> Result<Self, Error> {
        let moov = one(octets, b"init", b"moov")?;
        let mut tracks = Vec::new();
        for found in boxes(moov) {
            let found = found?;
            if found.kind.0 == *b"trak" {
                tracks.push(track(found.content)?);
            }
        }
        let mvex = one(moov, b"moov", b"mvex")?;
        for found in boxes(mvex) {
            let found = found?;
            if found.kind.0 == *b"trex" {
                let (id, defaults) = trex(found.content)?;
                let mine = tracks
                    .iter_mut()
                    .filter(|track: &&mut Track| track.id == id);
                mine.for_each(|track| track.defaults = defaults);
            }
        }
        Ok(Self { tracks })
    }

    pub fn track(&self, id: u32) -> Option<&Track> {
        self.tracks.iter().find(|track| track.id == id)
    }

    /// The first track of H.264, and its configuration.
    pub fn video(&self) -> Option<(&Track, &avc::Config)> {
        self.tracks.iter().find_map(|track| match &track.coding {
            Coding::Avc { config, .. } => Some((track, config)),
            _ => None,
        })
    }

    /// The first track of AAC, and its configuration.
    pub fn audio(&self) -> Option<(&Track, &aac::Config)> {
        self.tracks.iter().find_map(|track| match &track.coding {
            Coding::Aac(config) => Some((track, config)),
            _ => None,
        })
    }
}

fn track(trak: &[u8]) -> Result<Track, Error> {
    let (id, shown) = tkhd(one(trak, b"trak", b"tkhd")?)?;
    let mdia = one(trak, b"trak", b"mdia")?;
    let minf = one(mdia, b"mdia", b"minf")?;
    let stbl = one(minf, b"minf", b"stbl")?;
    Ok(Track {
        id,
        timescale: mdhd(one(mdia, b"mdia", b"mdhd")?)?,
        shown,
        edited: maybe(trak, b"edts")?.is_some(),
        defaults: Defaults::default(),
        coding: stsd(one(stbl, b"stbl", b"stsd")?)?,
    })
}

fn tkhd(content: &[u8]) -> Result<(u32, (u32, u32)), Error> {
    let mut fields = Fields::new(b"tkhd", content);
    let (version, _) = fields.full()?;
    fields.take(if version == 1 { 16 } else { 8 }, "its dates")?;
    let id = fields.u32("the id of the track")?;
    fields.take(if version == 1 { 12 } else { 8 }, "its duration")?;
    fields.take(16 + 36, "its layer and matrix")?;
    Ok((id, (fields.u32("the width")?, fields.u32("the height")?)))
}

fn mdhd(content: &[u8]) -> Result<u32, Error> {
    let mut fields = Fields::new(b"mdhd", content);
    let (version, _) = fields.full()?;
    fields.take(if version == 1 { 16 } else { 8 }, "its dates")?;
    match fields.u32("the timescale")? {
        0 => Err(Error::Value {
            of: Kind(*b"mdhd"),
            field: "the timescale",
            found: 0,
            rule: "a second has at least one tick",
        }),
        timescale => Ok(timescale),
    }
}

fn stsd(content: &[u8]) -> Result<Coding, Error> {
    let mut fields = Fields::new(b"stsd", content);
    fields.full()?;
    fields.u32("the number of entries")?;
    let missing = Error::Missing {
        of: Kind(*b"stsd"),
        missing: Kind(*b"avc1"),
    };
    let entry = boxes(fields.rest()).next().ok_or(missing)??;
    match &entry.kind.0 {
        b"avc1" | b"avc3" => {
            let mut fields = Fields::new(&entry.kind.0, entry.content);
            fields.take(VISUAL_SIZE_AT, "its reserved octets")?;
            let (width, height) = (fields.u16("the width")?, fields.u16("the height")?);
            fields.take(VISUAL_HEAD - VISUAL_SIZE_AT - 4, "the fields of a picture")?;
            let config = one(fields.rest(), &entry.kind.0, b"avcC")?;
            Ok(Coding::Avc {
                entry: entry.kind,
                width,
                height,
                config: avc::Config::parse(config)?,
            })
        }
        b"mp4a" => {
            let mut fields = Fields::new(b"mp4a", entry.content);
            fields.take(SOUND_HEAD, "the fields of sound")?;
            let esds = one(fields.rest(), b"mp4a", b"esds")?;
            Ok(Coding::Aac(aac::in_esds(esds)?))
        }
        _ => Ok(Coding::Other(entry.kind)),
    }
}

fn trex(content: &[u8]) -> Result<(u32, Defaults), Error> {
    let mut fields = Fields::new(b"trex", content);
    fields.full()?;
    let id = fields.u32("the id of the track")?;
    fields.u32("the default sample description")?;
    let defaults = Defaults {
        duration: fields.u32("the default duration")?,
        size: fields.u32("the default size")?,
        flags: fields.u32("the default flags")?,
    };
    Ok((id, defaults))
}

/// Octets of a visual sample entry before its boxes, and before its width (ISO/IEC 14496-12 section 12.1.3).
pub(crate) const VISUAL_HEAD: usize = 78;
pub(crate) const VISUAL_SIZE_AT: usize = 24;
/// Octets of an audio sample entry before its boxes (section 12.2.3).
const SOUND_HEAD: usize = 28;
