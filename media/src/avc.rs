//! H.264 as CMAF carries it: NAL units behind their lengths, parameter sets, and the record that
//! holds them in a sample entry (ISO/IEC 14496-15 section 5.3.3.1).

mod sps;

pub use sps::{Sps, pps_ids, sps};

use std::borrow::Cow;

use crate::{Error, bits::Bits, boxes::Fields};

/// Types of NAL units (ITU-T H.264 table 7-1) that matter here.
pub mod unit {
    pub const SLICE: u8 = 1;
    pub const IDR: u8 = 5;
    pub const SPS: u8 = 7;
    pub const PPS: u8 = 8;
    pub const DELIMITER: u8 = 9;
    pub const END_OF_SEQUENCE: u8 = 10;
    pub const END_OF_STREAM: u8 = 11;
    pub const FILLER: u8 = 12;
}

/// The content of an `avcC`: how long lengths are, and parameter sets that are not in band.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    pub profile: u8,
    pub compatibility: u8,
    /// Level times ten.
    pub level: u8,
    /// Octets before each NAL unit that hold its length: 1, 2 or 4.
    pub length_size: usize,
    pub sps: Vec<Vec<u8>>,
    pub pps: Vec<Vec<u8>>,
    /// What high profiles append, as it was.
    pub extension: Vec<u8>,
}

impl Config {
    /// Reads the content of an `avcC`.
    pub fn parse(content: &[u8]) -> Result<Self, Error> {
        let mut fields = Fields::new(b"avcC", content);
        fields.u8("its version")?;
        let profile = fields.u8("the profile")?;
        let compatibility = fields.u8("the profile's constraints")?;
        let level = fields.u8("the level")?;
        let length_size = usize::from(fields.u8("the size of lengths")? & 3) + 1;
        let sps_count = fields.u8("the number of SPS")? & 0x1f;
        let sps = sets(&mut fields, sps_count)?;
        let pps_count = fields.u8("the number of PPS")?;
        let pps = sets(&mut fields, pps_count)?;
        Ok(Self {
            profile,
            compatibility,
            level,
            length_size,
            sps,
            pps,
            extension: fields.rest().to_vec(),
        })
    }

    /// A record of these sets, whole NAL units, before NAL units with lengths of four octets.
    pub fn of(sps: &[u8], pps: &[u8]) -> Result<Self, Error> {
        let said = sps::sps(sps)?;
        let extension = match said.profile {
            100 | 110 | 122 | 144 => {
                let (luma, chroma) = said.deeper;
                vec![
                    0xfc | said.chroma & 3,
                    0xf8 | luma & 7,
                    0xf8 | chroma & 7,
                    0,
                ]
            }
            _ => Vec::new(),
        };
        Ok(Self {
            profile: said.profile,
            compatibility: said.compatibility,
            level: said.level,
            length_size: 4,
            sps: vec![sps.to_vec()],
            pps: vec![pps.to_vec()],
            extension,
        })
    }

    /// The content of an `avcC` that says this.
    pub fn write(&self) -> Vec<u8> {
        let mut content = vec![
            1,
            self.profile,
            self.compatibility,
            self.level,
            0xfc | (self.length_size as u8).wrapping_sub(1) & 3,
        ];
        for (mark, sets) in [(0xe0, &self.sps), (0, &self.pps)] {
            content.push(mark | sets.len() as u8);
            for set in sets {
                // Each was read from behind a length of two octets, in a record or in a sample.
                content.extend_from_slice(&(set.len() as u16).to_be_bytes());
                content.extend_from_slice(set);
            }
        }
        content.extend_from_slice(&self.extension);
        content
    }

    /// The NAL units of a sample.
    pub fn units<'a>(&self, sample: &'a [u8]) -> Units<'a> {
        Units {
            rest: sample,
            length_size: self.length_size,
        }
    }

    /// The parameter sets that the first slice of `sample` is decoded with: those in band, else those of this record.
    pub fn sets_of<'a>(&'a self, sample: &'a [u8]) -> Result<Sets<'a>, Error> {
        let (mut sps_there, mut pps_there) = (Vec::new(), Vec::new());
        for unit in self.units(sample) {
            let unit = unit?;
            match kind(unit) {
                unit::SPS => sps_there.push(unit),
                unit::PPS => pps_there.push(unit),
                unit::SLICE | unit::IDR => {
                    let used = slice_pps(unit)?;
                    let pps_there = pps_there.into_iter().rev();
                    let pps = pps_there.chain(self.pps.iter().map(Vec::as_slice));
                    let pps = by_id(pps, used, |pps| Ok(pps_ids(pps)?.0)).ok_or(Error::NoSet {
                        set: "PPS",
                        id: used,
                    })?;
                    let id = pps_ids(pps)?.1;
                    let sps_there = sps_there.into_iter().rev();
                    let sps = sps_there.chain(self.sps.iter().map(Vec::as_slice));
                    let sps = by_id(sps, id, |set| Ok(sps::sps(set)?.id))
                        .ok_or(Error::NoSet { set: "SPS", id })?;
                    return Ok(Sets { sps, pps });
                }
                _ => {}
            }
        }
        Err(Error::NoKeyFrame)
    }
}

/// One SPS and one PPS that refers to it; whole NAL units.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sets<'a> {
    pub sps: &'a [u8],
    pub pps: &'a [u8],
}

/// The type of a NAL unit; 0, which is unspecified, for one without any octet.
pub fn kind(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |head| head & 0x1f)
}

/// NAL units behind lengths.
#[derive(Clone, Debug)]
pub struct Units<'a> {
    rest: &'a [u8],
    length_size: usize,
}

impl<'a> Iterator for Units<'a> {
    type Item = Result<&'a [u8], Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let left = self.rest.len();
        let rest = std::mem::take(&mut self.rest);
        let Some((length, rest)) = rest.split_at_checked(self.length_size) else {
            return Some(Err(Error::Unit { length: 0, left }));
        };
        let length = length
            .iter()
            .fold(0u64, |length, octet| length << 8 | u64::from(*octet));
        let split = usize::try_from(length)
            .ok()
            .and_then(|length| rest.split_at_checked(length));
        let Some((unit, rest)) = split else {
            return Some(Err(Error::Unit { length, left }));
        };
        self.rest = rest;
        Some(Ok(unit))
    }
}

/// NAL units behind start codes (ITU-T H.264 annex B), without the zeros that may follow each.
pub fn annex_b(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(stream);
    std::iter::from_fn(move || {
        let here = rest?;
        let end = here.windows(3).position(|three| three == [0, 0, 1]);
        rest = end.and_then(|end| here.get(end + 3..));
        let unit = &here[..end.unwrap_or(here.len())];
        // A unit's own last octet is never zero.
        let used = unit.iter().rposition(|octet| *octet != 0);
        Some(&unit[..used.map_or(0, |last| last + 1)])
    })
    .filter(|unit| !unit.is_empty())
}

fn after_start_code(stream: &[u8]) -> Option<&[u8]> {
    let at = stream.windows(3).position(|three| three == [0, 0, 1])?;
    stream.get(at + 3..)
}

/// The RFC 6381 name of H.264 with this SPS.
pub fn codec_name(sps: &[u8]) -> Cow<'static, str> {
    match sps {
        [_, profile, constraints, level, ..] => {
            format!("avc1.{profile:02X}{constraints:02X}{level:02X}").into()
        }
        _ => "avc1".into(),
    }
}

/// Which PPS a slice uses (ITU-T H.264 section 7.3.3).
fn slice_pps(slice: &[u8]) -> Result<u32, Error> {
    let mut bits = Bits::new("a slice", slice.get(1..).unwrap_or_default());
    bits.ue("its first macroblock")?;
    bits.ue("its type")?;
    bits.ue("the id of its PPS")
}

fn by_id<'a>(
    sets: impl Iterator<Item = &'a [u8]>,
    id: u32,
    id_of: impl Fn(&[u8]) -> Result<u32, Error>,
) -> Option<&'a [u8]> {
    sets.into_iter().find(|set| id_of(set) == Ok(id))
}

fn sets(fields: &mut Fields<'_>, count: u8) -> Result<Vec<Vec<u8>>, Error> {
    (0..count)
        .map(|_| {
            let length = fields.u16("the length of a parameter set")?;
            Ok(fields.take(length.into(), "a parameter set")?.to_vec())
        })
        .collect()
}
