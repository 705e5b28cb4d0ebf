//! Writes CMAF (ISO/IEC 14496-12, 23000-19): an init section for H.264 whose parameter sets are in band and for AAC, and
//! fragments. Where samples come from is somebody else's business.

use crate::{Kind, aac, avc, boxes, ts::TICKS};

/// The tracks' ids, in the order in which they are listed.
pub(crate) const PICTURES: u32 = 1;
pub(crate) const SOUND: u32 = 2;

/// What an init section says of pictures.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Pictures {
    /// Of the largest that come.
    pub(crate) size: (u16, u16),
    pub(crate) config: avc::Config,
}

/// An init section of the tracks that there are. Times of pictures are those of MPEG-TS; of sound they are in samples.
pub(crate) fn init(pictures: Option<&Pictures>, sound: Option<&aac::Config>) -> Vec<u8> {
    let mut moov = full(
        b"mvhd",
        0,
        0,
        &[
            &[0; 8],
            &TICKS.to_be_bytes(),
            &[0; 4],
            &[0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            MATRIX,
            &[0; 24],
            &(SOUND + 1).to_be_bytes(),
        ],
    );
    let mut trex = Vec::new();
    if let Some(pictures) = pictures {
        let (entry, (width, height)) = (picture_entry(pictures), pictures.size);
        let head = full(b"vmhd", 0, 1, &[&[0; 8]]);
        moov.extend(track(
            PICTURES,
            (width, height),
            TICKS,
            (b"vide", head),
            &entry,
        ));
        trex.extend(defaults(PICTURES));
    }
    if let Some(sound) = sound {
        let head = full(b"smhd", 0, 0, &[&[0; 4]]);
        moov.extend(track(
            SOUND,
            (0, 0),
            sound.rate,
            (b"soun", head),
            &sound_entry(sound),
        ));
        trex.extend(defaults(SOUND));
    }
    moov.extend(plain(b"mvex", &[&trex]));
    let mut init = plain(b"ftyp", &[b"iso6\0\0\0\0iso6cmfc"]);
    init.extend(plain(b"moov", &[&moov]));
    init
}

fn track(
    id: u32,
    (width, height): (u16, u16),
    timescale: u32,
    (handler, head): (&[u8; 4], Vec<u8>),
    entry: &[u8],
) -> Vec<u8> {
    let loud: &[u8] = if handler == b"soun" {
        &[1, 0, 0, 0]
    } else {
        &[0; 4]
    };
    let tkhd = full(
        b"tkhd",
        0,
        7,
        &[
            &[0; 8],
            &id.to_be_bytes(),
            &[0; 20],
            loud,
            MATRIX,
            &(u32::from(width) << 16).to_be_bytes(),
            &(u32::from(height) << 16).to_be_bytes(),
        ],
    );
    let mdhd = full(
        b"mdhd",
        0,
        0,
        &[
            &[0; 8],
            &timescale.to_be_bytes(),
            &[0; 4],
            // Of an undetermined language.
            &[0x55, 0xc4, 0, 0],
        ],
    );
    let hdlr = full(b"hdlr", 0, 0, &[&[0; 4], handler, &[0; 13]]);
    let here = full(b"url ", 0, 1, &[]);
    let dref = full(b"dref", 0, 0, &[&1u32.to_be_bytes(), &here]);
    let dinf = plain(b"dinf", &[&dref]);
    let stbl = plain(
        b"stbl",
        &[
            &full(b"stsd", 0, 0, &[&1u32.to_be_bytes(), entry]),
            &full(b"stts", 0, 0, &[&[0; 4]]),
            &full(b"stsc", 0, 0, &[&[0; 4]]),
            &full(b"stsz", 0, 0, &[&[0; 8]]),
            &full(b"stco", 0, 0, &[&[0; 4]]),
        ],
    );
    let minf = plain(b"minf", &[&head, &dinf, &stbl]);
    let mdia = plain(b"mdia", &[&mdhd, &hdlr, &minf]);
    plain(b"trak", &[&tkhd, &mdia])
}

fn defaults(id: u32) -> Vec<u8> {
    full(
        b"trex",
        0,
        0,
        &[&id.to_be_bytes(), &1u32.to_be_bytes(), &[0; 12]],
    )
}

fn picture_entry(pictures: &Pictures) -> Vec<u8> {
    let (width, height) = pictures.size;
    plain(
        b"avc3",
        &[
            &[0, 0, 0, 0, 0, 0, 0, 1],
            &[0; 16],
            &width.to_be_bytes(),
            &height.to_be_bytes(),
            // 72 dots per inch, as everybody says; a frame a sample; no name; 24 bits.
            &[0, 0x48, 0, 0, 0, 0x48, 0, 0, 0, 0, 0, 0, 0, 1],
            &[0; 32],
            &[0, 0x18, 0xff, 0xff],
            &plain(b"avcC", &[&pictures.config.write()]),
        ],
    )
}

fn sound_entry(sound: &aac::Config) -> Vec<u8> {
    let config = sound.write();
    // Descriptors, one in the other (ISO/IEC 14496-1 section 7.2.6): a stream, its decoder, what that needs; and that all is as usual.
    let decoder = [
        &[0x40, 0x15][..],
        &[0; 11],
        &[5, config.len() as u8],
        &config,
    ]
    .concat();
    let stream = [&[0, 0, 0, 4, decoder.len() as u8][..], &decoder, &[6, 1, 2]].concat();
    let esds = full(b"esds", 0, 0, &[&[3, stream.len() as u8], &stream]);
    // 16 bits can say the rate where it matters; the descriptor always does.
    let rate = u16::try_from(sound.rate).unwrap_or(0);
    plain(
        b"mp4a",
        &[
            &[0, 0, 0, 0, 0, 0, 0, 1],
            &[0; 8],
            &u16::from(sound.channels).to_be_bytes(),
            &[0, 16, 0, 0, 0, 0],
            &rate.to_be_bytes(),
            &[0, 0],
            &esds,
        ],
    )
}

/// One sample of a fragment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample<'a> {
    pub(crate) duration: u32,
    /// How much later than decoded it is shown.
    pub(crate) offset: u32,
    pub(crate) sync: bool,
    pub(crate) octets: &'a [u8],
}

/// One track's samples in a fragment.
#[derive(Clone, Debug)]
pub(crate) struct Run<'a> {
    pub(crate) track: u32,
    pub(crate) start: u64,
    pub(crate) samples: Vec<Sample<'a>>,
}

/// A `moof` and its `mdat`.
pub(crate) fn fragment(sequence: u32, runs: &[Run<'_>], to: &mut Vec<u8>) {
    // Once to know how long it is, once to say where data begins.
    let head = moof(sequence, runs, 0);
    let head = moof(sequence, runs, head.len() as u32 + BOX_HEAD);
    to.extend_from_slice(&head);
    let samples = || runs.iter().flat_map(|run| &run.samples);
    let length: usize = samples().map(|sample| sample.octets.len()).sum();
    // What was read was no longer than that.
    let length = u32::try_from(length).unwrap_or(0).saturating_add(BOX_HEAD);
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(b"mdat");
    samples().for_each(|sample| to.extend_from_slice(sample.octets));
}

fn moof(sequence: u32, runs: &[Run<'_>], mut data: u32) -> Vec<u8> {
    let mut moof = full(b"mfhd", 0, 0, &[&sequence.to_be_bytes()]);
    for run in runs {
        // Offsets count from the moof.
        let tfhd = full(b"tfhd", 0, 0x02_0000, &[&run.track.to_be_bytes()]);
        let tfdt = full(b"tfdt", 1, 0, &[&run.start.to_be_bytes()]);
        let mut rows = Vec::with_capacity(run.samples.len() * 16);
        let from = data;
        for sample in &run.samples {
            let flags: u32 = if sample.sync {
                0x0200_0000
            } else {
                0x0101_0000
            };
            let length = sample.octets.len() as u32;
            for value in [sample.duration, length, flags, sample.offset] {
                rows.extend_from_slice(&value.to_be_bytes());
            }
            data = data.saturating_add(length);
        }
        let count = run.samples.len() as u32;
        let trun = full(
            b"trun",
            0,
            0xf01,
            &[&count.to_be_bytes(), &from.to_be_bytes(), &rows],
        );
        moof.extend(plain(b"traf", &[&tfhd, &tfdt, &trun]));
    }
    plain(b"moof", &[&moof])
}

fn plain(kind: &[u8; 4], content: &[&[u8]]) -> Vec<u8> {
    let mut whole = Vec::new();
    boxes::write(Kind(*kind), &content.concat(), &mut whole);
    whole
}

/// A box with a version and flags.
fn full(kind: &[u8; 4], version: u8, flags: u32, content: &[&[u8]]) -> Vec<u8> {
    let head = (u32::from(version) << 24 | flags).to_be_bytes();
    plain(kind, &[&head, &content.concat()])
}

const BOX_HEAD: u32 = 8;
/// Nothing is turned or moved.
const MATRIX: &[u8] = &[
    0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0x40, 0, 0, 0,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Coding, Init, fragments};

    fn sound() -> aac::Config {
        aac::Config::parse(&[0x11, 0x90]).expect("a config")
    }

    fn pictures() -> Pictures {
        Pictures {
            size: (1280, 720),
            config: avc::Config {
                profile: 100,
                compatibility: 0,
                level: 31,
                length_size: 4,
                sps: vec![vec![0x67, 100, 0, 31]],
                pps: vec![vec![0x68, 1]],
                extension: vec![0xfd, 0xf8, 0xf8, 0],
            },
        }
    }

    #[test]
    fn an_init_section_reads_as_it_was_written() {
        let (pictures, sound) = (pictures(), sound());
        let init = Init::parse(&init(Some(&pictures), Some(&sound))).expect("an init section");
        let [video, audio] = &init.tracks[..] else {
            panic!("{init:?}")
        };
        assert_eq!((video.id, video.timescale), (PICTURES, TICKS));
        assert_eq!(video.shown, (1280 << 16, 720 << 16));
        let coding = Coding::Avc {
            entry: Kind(*b"avc3"),
            width: 1280,
            height: 720,
            config: pictures.config,
        };
        assert_eq!((&video.coding, video.edited), (&coding, false));
        assert_eq!((audio.id, audio.timescale), (SOUND, 48_000));
        assert_eq!(audio.coding, Coding::Aac(sound));
    }

    #[test]
    fn a_fragment_reads_as_it_was_written() {
        let init = Init::parse(&init(Some(&pictures()), Some(&sound()))).expect("an init section");
        let sample = |octets, offset, sync| Sample {
            duration: 3000,
            offset,
            sync,
            octets,
        };
        let runs = [
            Run {
                track: PICTURES,
                start: 1 << 40,
                samples: vec![sample(b"key", 0, true), sample(b"other", 6000, false)],
            },
            Run {
                track: SOUND,
                start: 7,
                samples: vec![sample(b"sound", 0, true)],
            },
        ];
        let mut octets = b"\0\0\0\x08free".to_vec();
        fragment(9, &runs, &mut octets);
        let [read] = &fragments(&octets, &init).expect("a fragment")[..] else {
            panic!("one")
        };
        assert_eq!(read.sequence, 9);
        for (read, run) in read.runs.iter().zip(&runs) {
            assert_eq!((read.track, read.start), (run.track, run.start));
            for (read, sample) in read.samples.iter().zip(&run.samples) {
                assert_eq!(&octets[read.data.clone()], sample.octets);
                assert_eq!(
                    (read.offset as u32, read.sync),
                    (sample.offset, sample.sync)
                );
            }
        }
    }
}
