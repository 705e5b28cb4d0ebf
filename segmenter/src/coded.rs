//! A source's own H.264 as it is passed on: its parameter sets, which the init section has to have, and its pictures as the muxer
//! takes them, each key frame with the sets that it is decoded by.
//!
//! Pure: octets in, octets out. What comes may come from anybody.

use media::{
    aac,
    avc::{self, Config, Sps, unit},
};
use segmenter::cutter::AAC_FRAME;

/// What a packet of the source is to be for the muxer: NAL units behind lengths of four octets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Made {
    /// An IDR picture, which can be decoded by the sets that were there when the source was opened.
    pub(crate) key: bool,
    /// `None`: it is that already.
    pub(crate) octets: Option<Vec<u8>>,
}

/// What the source's pictures are decoded by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sets {
    sps: Vec<Vec<u8>>,
    pps: Vec<Vec<u8>>,
    /// How NAL units are told from one another: by lengths of so many octets, or by start codes.
    lengths: Option<Config>,
}

impl Sets {
    /// Reads what a container says of its H.264: an `avcC`, or SPS and PPS behind start codes.
    pub(crate) fn read(said: &[u8]) -> Result<Self, String> {
        let sets = if said.first() == Some(&1) {
            let config = Config::parse(said).map_err(|why| why.to_string())?;
            Self {
                sps: config.sps.clone(),
                pps: config.pps.clone(),
                lengths: Some(config),
            }
        } else {
            let of = |kind| avc::annex_b(said).filter(move |unit| avc::kind(unit) == kind);
            Self {
                sps: of(unit::SPS).map(<[u8]>::to_vec).collect(),
                pps: of(unit::PPS).map(<[u8]>::to_vec).collect(),
                lengths: None,
            }
        };
        if sets.sps.is_empty() || sets.pps.is_empty() {
            return Err("its container does not say the parameter sets".into());
        }
        for set in &sets.sps {
            avc::sps(set).map_err(|why| why.to_string())?;
        }
        for set in &sets.pps {
            avc::pps_ids(set).map_err(|why| why.to_string())?;
        }
        Ok(sets)
    }

    /// All of them, each behind a start code.
    pub(crate) fn octets(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        for set in self.sps.iter().chain(&self.pps) {
            put(&mut octets, set);
        }
        octets
    }

    /// What the muxer is told of them (`avcC`).
    pub(crate) fn record(&self) -> Vec<u8> {
        let first = self.first();
        let profile = first.map_or(0, |sps| sps.profile);
        // What is passed on has 8 bits and 4:2:0 (ISO/IEC 14496-15 section 5.3.3.1.2).
        let extension = match profile {
            66 | 77 | 88 => Vec::new(),
            _ => vec![0xfd, 0xf8, 0xf8, 0],
        };
        let config = Config {
            profile,
            compatibility: first.map_or(0, |sps| sps.compatibility),
            level: first.map_or(0, |sps| sps.level),
            length_size: LENGTH,
            sps: self.sps.clone(),
            pps: self.pps.clone(),
            extension,
        };
        config.write()
    }

    /// Numbers that are taken, of SPS and PPS alike.
    pub(crate) fn ids(&self) -> Vec<u32> {
        let sps = self.sps.iter().filter_map(|set| avc::sps(set).ok());
        let pps = self.pps.iter().filter_map(|set| avc::pps_ids(set).ok());
        sps.map(|sps| sps.id).chain(pps.map(|ids| ids.0)).collect()
    }

    /// The first SPS, read.
    pub(crate) fn first(&self) -> Option<Sps> {
        avc::sps(self.sps.first()?).ok()
    }

    /// A packet as the muxer takes it. Sets that nobody was told of make its picture no key frame that anybody can begin with.
    pub(crate) fn made(&self, packet: &[u8]) -> Result<Made, String> {
        let (mut units, mut known, mut idr, mut left_out) = (Vec::new(), true, false, false);
        self.each(packet, |unit| {
            let kind = avc::kind(unit);
            match kind {
                unit::SPS => known &= self.sps.iter().any(|set| set == unit),
                unit::PPS => known &= self.pps.iter().any(|set| set == unit),
                // Filler is bits that were paid for by whoever sent them, and by nobody else.
                unit::DELIMITER | unit::FILLER | 0 => {}
                _ => {
                    idr |= kind == unit::IDR;
                    units.push(unit);
                    return;
                }
            }
            left_out = true;
        })?;
        if units.is_empty() {
            return Err("there is no picture in it".into());
        }
        let key = idr && known;
        let lengths = self.lengths.as_ref().map(|config| config.length_size);
        if !key && !left_out && lengths == Some(LENGTH) {
            return Ok(Made { key, octets: None });
        }
        let sets = self.sps.iter().chain(&self.pps).map(Vec::as_slice);
        let mut octets = Vec::with_capacity(packet.len() + 256);
        for unit in sets.filter(|_| key).chain(units) {
            octets.extend_from_slice(&(unit.len() as u32).to_be_bytes());
            octets.extend_from_slice(unit);
        }
        Ok(Made {
            key,
            octets: Some(octets),
        })
    }

    fn each<'a>(&'a self, packet: &'a [u8], mut take: impl FnMut(&'a [u8])) -> Result<(), String> {
        match &self.lengths {
            Some(config) => {
                for unit in config.units(packet) {
                    take(unit.map_err(|why| why.to_string())?);
                }
            }
            None => avc::annex_b(packet).for_each(take),
        }
        Ok(())
    }
}

/// How the source's AAC is decoded, as the container or the first frame says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Voice {
    /// An `AudioSpecificConfig`.
    pub(crate) said: Vec<u8>,
    pub(crate) object_type: u8,
    pub(crate) rate: u32,
    /// Samples of a frame, at that rate.
    pub(crate) frame: u32,
}

impl Voice {
    /// `said` by the container; if it is silent, AAC-LC of this `rate` and so many `channels`, with a head before each frame (ADTS).
    pub(crate) fn read(said: &[u8], rate: u32, channels: u16) -> Result<Self, String> {
        let said = match said {
            [] => plain(rate, channels).ok_or_else(|| {
                format!("AAC of {channels} channels at {rate} Hz is said nowhere to be what it is")
            })?,
            said => said.to_vec(),
        };
        let config = aac::Config::parse(&said).map_err(|why| why.to_string())?;
        if config.rate == 0 {
            return Err("it has no rate".into());
        }
        Ok(Self {
            said,
            object_type: config.object_type,
            rate: config.rate,
            frame: AAC_FRAME,
        })
    }

    /// A packet without the head that it may have.
    pub(crate) fn frame<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        match packet {
            // Syncword and layer (ISO/IEC 13818-7 section 6.2); two more octets where there is a checksum.
            [0xff, second, ..] if second & 0xf6 == 0xf0 => {
                let head = aac::ADTS_HEAD + if second & 1 == 0 { 2 } else { 0 };
                packet.get(head..).unwrap_or_default()
            }
            packet => packet,
        }
    }
}

/// The `AudioSpecificConfig` of AAC-LC.
fn plain(rate: u32, channels: u16) -> Option<Vec<u8>> {
    let channels = u8::try_from(channels).ok()?;
    let config = aac::Config::lc(rate, channels).filter(|_| (1..=6).contains(&channels))?;
    Some(config.write().to_vec())
}

fn put(octets: &mut Vec<u8>, unit: &[u8]) {
    octets.extend_from_slice(&[0, 0, 0, 1]);
    octets.extend_from_slice(unit);
}

/// Octets of a length.
const LENGTH: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// 1280x720, of x264.
    const SPS: &[u8] = &[
        0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03,
        0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19, 0x60,
    ];
    const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];
    const IDR: &[u8] = &[0x65, 0x88, 0x84, 1];
    const SLICE: &[u8] = &[0x41, 0x9a, 2];

    fn behind_codes(units: &[&[u8]]) -> Vec<u8> {
        let mut octets = Vec::new();
        units.iter().for_each(|unit| put(&mut octets, unit));
        octets
    }

    fn behind_lengths(units: &[&[u8]]) -> Vec<u8> {
        let each = units.iter().flat_map(|unit| {
            let length = (unit.len() as u32).to_be_bytes();
            length.into_iter().chain(unit.iter().copied())
        });
        each.collect()
    }

    fn avcc() -> Vec<u8> {
        let mut said = vec![1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, SPS.len() as u8];
        said.extend_from_slice(SPS);
        said.extend_from_slice(&[1, 0, PPS.len() as u8]);
        said.extend_from_slice(PPS);
        said
    }

    #[test]
    fn both_ways_of_writing_come_to_the_same() {
        let sets = [behind_codes(&[SPS, PPS]), avcc()].map(|said| Sets::read(&said).unwrap());
        let written = [
            behind_codes as fn(&[&[u8]]) -> Vec<u8>,
            behind_lengths as fn(&[&[u8]]) -> Vec<u8>,
        ];
        for (sets, write) in sets.iter().zip(written) {
            assert_eq!(sets.octets(), behind_codes(&[SPS, PPS]));
            assert_eq!(sets.ids(), [0, 0]);
            assert_eq!(Sets::read(&sets.record()).unwrap().octets(), sets.octets());
            let sps = sets.first().unwrap();
            assert_eq!((sps.width, sps.height, sps.frames_only), (1280, 720, true));
            for packet in [&[&[9, 0xf0], IDR][..], &[SPS, PPS, IDR]] {
                let key = sets.made(&write(packet)).unwrap();
                let wanted = Some(behind_lengths(&[SPS, PPS, IDR]));
                assert_eq!((key.key, key.octets), (true, wanted));
            }
            let other = sets.made(&write(&[SLICE, &[12, 0xff, 0x80]])).unwrap();
            assert_eq!(
                (other.key, other.octets),
                (false, Some(behind_lengths(&[SLICE])))
            );
        }
    }

    #[test]
    fn what_is_as_it_has_to_be_is_not_copied() {
        let sets = Sets::read(&avcc()).unwrap();
        let made = sets.made(&behind_lengths(&[SLICE, SLICE])).unwrap();
        assert_eq!((made.key, made.octets), (false, None));
    }

    #[test]
    fn nobody_begins_with_sets_that_nobody_was_told_of() {
        let sets = Sets::read(&avcc()).unwrap();
        let packet = behind_lengths(&[SPS, &[0x68, 0xeb, 0xe3], IDR]);
        assert!(!sets.made(&packet).unwrap().key);
    }

    #[test]
    fn sound_is_told_of_by_its_container_or_by_what_is_known_of_it() {
        let said = Voice::read(&[0x11, 0x90], 0, 0).unwrap();
        let plain = Voice::read(&[], 48_000, 2).unwrap();
        assert_eq!(said, plain);
        assert_eq!((plain.object_type, plain.rate), (2, 48_000));
        assert!(Voice::read(&[], 47_000, 2).is_err());
        assert!(Voice::read(&[], 48_000, 0).is_err());
        assert!(Voice::read(&[0x17], 48_000, 2).is_err());
    }

    #[test]
    fn a_frame_goes_without_its_head() {
        let voice = Voice::read(&[0x11, 0x90], 0, 0).unwrap();
        let head = [0xff, 0xf1, 0x4c, 0x80, 1, 0x3f, 0xfc];
        assert_eq!(voice.frame(&[&head[..], &[0x21, 7]].concat()), [0x21, 7]);
        assert_eq!(voice.frame(&[0x21, 7]), [0x21, 7]);
        assert!(voice.frame(&head[..3]).is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for said in [&[][..], &[1, 2, 3], &behind_codes(&[PPS]), &[0, 0, 1, 0x67]] {
            assert!(Sets::read(said).is_err(), "{said:?}");
        }
        let sets = Sets::read(&avcc()).unwrap();
        let read = |packet: &[u8]| sets.made(packet).map(|_| ());
        assert!(read(&[0, 0, 0, 9, 0x65]).is_err());
        assert!(read(&[]).is_err());
        assert!(read(&behind_lengths(&[SPS])).is_err());
    }
}
