//! AAC: what its configuration says (ISO/IEC 14496-3 section 1.6.2.1), and frames with a head of
//! their own (ADTS, ISO/IEC 13818-7 section 6.2). Reads and writes both.

use crate::{
    Error,
    bits::Bits,
    boxes::{Fields, Kind},
};

/// An `AudioSpecificConfig`, as far as it is needed to play plain AAC.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Config {
    /// Of the core: 2 is AAC-LC.
    pub object_type: u8,
    /// Index of the sampling frequency; 15 says that it is not in the table.
    pub frequency_index: u8,
    /// Samples per second.
    pub rate: u32,
    /// Channel configuration; 0 says that it is described elsewhere.
    pub channels: u8,
}

impl Config {
    /// Reads an `AudioSpecificConfig`.
    pub fn parse(octets: &[u8]) -> Result<Self, Error> {
        let mut bits = Bits::plain("an AudioSpecificConfig", octets);
        let mut object_type = object_type(&mut bits)?;
        let (frequency_index, rate) = frequency(&mut bits)?;
        let channels = bits.bits(4, "the channels")? as u8;
        if matches!(object_type, SBR | PS) {
            // What follows extends a core that plays by itself.
            frequency(&mut bits)?;
            object_type = self::object_type(&mut bits)?;
        }
        Ok(Self {
            object_type,
            frequency_index,
            rate,
            channels,
        })
    }

    /// AAC-LC of this many samples per second, if the table has that.
    pub fn lc(rate: u32, channels: u8) -> Option<Self> {
        let index = FREQUENCIES.iter().position(|known| *known == rate)?;
        Some(Self {
            object_type: 2,
            frequency_index: index as u8,
            rate,
            channels,
        })
    }

    /// As an `AudioSpecificConfig`, of what a head can say.
    pub fn write(&self) -> [u8; 2] {
        [
            self.object_type << 3 | self.frequency_index >> 1,
            self.frequency_index << 7 | self.channels << 3,
        ]
    }

    /// The head of a frame of `length` octets.
    pub fn adts(&self, length: usize) -> Result<[u8; ADTS_HEAD], Error> {
        let not = |what: String| Error::NotForTs { what };
        let whole = length + ADTS_HEAD;
        if !(1..=4).contains(&self.object_type) {
            return Err(not(format!("audio object type {}", self.object_type)));
        }
        if self.frequency_index > 12 {
            return Err(not(format!("AAC of {} samples per second", self.rate)));
        }
        if !(1..=7).contains(&self.channels) {
            return Err(not(format!(
                "AAC of channel configuration {}",
                self.channels
            )));
        }
        if whole >= 1 << 13 {
            return Err(not(format!("an AAC frame of {length} octets")));
        }
        let profile = self.object_type - 1;
        Ok([
            0xff,
            // MPEG-4, no CRC.
            0xf1,
            profile << 6 | self.frequency_index << 2 | self.channels >> 2,
            self.channels << 6 | (whole >> 11) as u8,
            (whole >> 3) as u8,
            (whole << 5) as u8 | 0x1f,
            0xfc,
        ])
    }
}

/// Octets before each frame.
pub const ADTS_HEAD: usize = 7;

/// A frame with a head of its own, as that describes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Framed<'a> {
    pub config: Config,
    /// Octets of head and frame.
    pub whole: usize,
    /// What is behind the head; shorter than it should be where the octets end before the frame.
    pub frame: &'a [u8],
    /// More than one block of 1024 samples are in it.
    pub blocks: bool,
}

/// The frame that `octets` begin with; `None` if they do not begin with the head of one.
pub fn framed(octets: &[u8]) -> Option<Framed<'_>> {
    let [0xff, second, third, fourth, fifth, sixth, seventh, ..] = octets else {
        return None;
    };
    let frequency_index = third >> 2 & 0xf;
    let rate = *FREQUENCIES.get(usize::from(frequency_index))?;
    let head = if second & 1 == 1 {
        ADTS_HEAD
    } else {
        ADTS_HEAD + 2
    };
    let whole = usize::from(fourth & 3) << 11 | usize::from(*fifth) << 3 | usize::from(sixth >> 5);
    (second & 0xf6 == 0xf0 && whole >= head).then(|| Framed {
        config: Config {
            object_type: (third >> 6) + 1,
            frequency_index,
            rate,
            channels: (third & 1) << 2 | fourth >> 6,
        },
        whole,
        frame: octets
            .get(head..whole.min(octets.len()))
            .unwrap_or_default(),
        blocks: seventh & 3 != 0,
    })
}

/// The `AudioSpecificConfig` in an `esds` (ISO/IEC 14496-1 section 7.2.6).
pub(crate) fn in_esds(content: &[u8]) -> Result<Config, Error> {
    let mut fields = Fields::new(b"esds", content);
    fields.full()?;
    descriptor(&mut fields, 3)?;
    fields.u16("the id of the stream")?;
    let flags = fields.u8("flags of the stream")?;
    if flags & 0x80 != 0 {
        fields.u16("the stream that it depends on")?;
    }
    if flags & 0x40 != 0 {
        let length = fields.u8("the length of a URL")?;
        fields.take(length.into(), "a URL")?;
    }
    if flags & 0x20 != 0 {
        fields.u16("the stream of its clock")?;
    }
    descriptor(&mut fields, 4)?;
    let object = fields.u8("the type of the object")?;
    if object != MPEG4_AUDIO {
        return Err(Error::Value {
            of: Kind(*b"esds"),
            field: "the type of the object",
            found: object.into(),
            rule: "MPEG-4 audio is 64",
        });
    }
    fields.take(12, "the decoder's buffer and rates")?;
    let length = descriptor(&mut fields, 5)?;
    Config::parse(fields.take(length, "the AudioSpecificConfig")?)
}

/// The head of a descriptor that must have this tag; its length.
fn descriptor(fields: &mut Fields<'_>, tag: u8) -> Result<usize, Error> {
    let found = fields.u8("the tag of a descriptor")?;
    if found != tag {
        return Err(Error::Value {
            of: Kind(*b"esds"),
            field: "the tag of a descriptor",
            found: found.into(),
            rule: "descriptors are 3, 4 and 5, one in the other",
        });
    }
    let mut length = 0;
    for _ in 0..4 {
        let octet = fields.u8("the length of a descriptor")?;
        length = length << 7 | usize::from(octet & 0x7f);
        if octet & 0x80 == 0 {
            break;
        }
    }
    Ok(length)
}

fn object_type(bits: &mut Bits<'_>) -> Result<u8, Error> {
    match bits.bits(5, "the object type")? as u8 {
        31 => Ok(32 + bits.bits(6, "the rest of the object type")? as u8),
        short => Ok(short),
    }
}

fn frequency(bits: &mut Bits<'_>) -> Result<(u8, u32), Error> {
    let index = bits.bits(4, "the index of the sampling frequency")? as u8;
    let rate = match FREQUENCIES.get(usize::from(index)) {
        Some(rate) => *rate,
        None => bits.bits(24, "the sampling frequency")?,
    };
    Ok((index, rate))
}

const FREQUENCIES: &[u32] = &[
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];
const MPEG4_AUDIO: u8 = 0x40;
const SBR: u8 = 5;
const PS: u8 = 29;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stereo_at_48_khz_has_the_head_that_everybody_knows() {
        let config = Config::parse(&[0x11, 0x90]).expect("a config");
        assert_eq!(
            (config.object_type, config.rate, config.channels),
            (2, 48_000, 2)
        );
        let head = config.adts(0x173).expect("a head");
        assert_eq!(head, [0xff, 0xf1, 0x4c, 0x80, 0x2f, 0x5f, 0xfc]);
        assert!(config.adts(8185).is_err());
        assert_eq!(config.write(), [0x11, 0x90]);
        let read = framed(&head).expect("a frame");
        assert_eq!((read.config, read.whole), (config, 0x17a));
        assert!(read.frame.is_empty() && !read.blocks);
    }

    #[test]
    fn the_core_of_he_aac_is_what_a_head_can_say() {
        // SBR over AAC-LC: 24 kHz, stereo, 48 kHz.
        let config = Config::parse(&[0x2b, 0x11, 0x88, 0x00]).expect("a config");
        assert_eq!((config.object_type, config.rate), (2, 24_000));
    }
}
