//! Just enough of ISO/IEC 14496-12 and -15 to check what the muxer wrote, independent of the muxer.

use std::ops::Range;

/// Fields of the one init segment.
#[derive(Debug, Default)]
pub(crate) struct Init {
    pub(crate) timescales: Vec<u32>,
    pub(crate) size: (u16, u16),
    pub(crate) sets: ParameterSets,
    pub(crate) has_edit_list: bool,
}

/// Sequence and picture parameter sets, whole NAL units.
#[derive(Debug, Default)]
pub(crate) struct ParameterSets {
    pub(crate) sps: Vec<Vec<u8>>,
    pub(crate) pps: Vec<Vec<u8>>,
}

#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) id: u32,
    pub(crate) tfdt: u64,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) duration: u32,
    pub(crate) sync: bool,
    pub(crate) offset: i32,
    pub(crate) data: Vec<u8>,
}

/// The boxes in `media`, by type.
pub(crate) fn boxes(media: &[u8]) -> Vec<([u8; 4], &[u8])> {
    spans(media)
        .into_iter()
        .map(|(kind, span)| (kind, &media[span]))
        .collect()
}

pub(crate) fn init(media: &[u8]) -> Init {
    let mut init = Init::default();
    let moov = one(media, b"moov");
    for (_, trak) in boxes(moov).into_iter().filter(|(kind, _)| kind == b"trak") {
        init.has_edit_list |= boxes(trak).iter().any(|(kind, _)| kind == b"edts");
        let mdia = one(trak, b"mdia");
        init.timescales.push(u32_at(one(mdia, b"mdhd"), 12));
        let entries = &one(one(one(mdia, b"minf"), b"stbl"), b"stsd")[8..];
        for (kind, entry) in boxes(entries) {
            if &kind != b"avc1" {
                assert_eq!(&kind, b"mp4a");
                continue;
            }
            init.size = (u16_at(entry, 24), u16_at(entry, 26));
            init.sets = avcc(one(&entry[78..], b"avcC"));
        }
    }
    init
}

/// The tracks of a fragment, which must be one `moof` and one `mdat` and nothing else.
pub(crate) fn fragment(media: &[u8]) -> Vec<Track> {
    let kinds: Vec<_> = spans(media).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [*b"moof", *b"mdat"]);
    let moof = one(media, b"moof");
    let trafs = boxes(moof).into_iter().filter(|(kind, _)| kind == b"traf");
    trafs.map(|(_, traf)| track(traf, media)).collect()
}

/// The NAL units of a sample, by type.
pub(crate) fn nal_units(mut sample: &[u8]) -> Vec<(u8, &[u8])> {
    let mut units = Vec::new();
    while !sample.is_empty() {
        let length = u32_at(sample, 0) as usize;
        units.push((sample[4] & 0x1f, &sample[4..4 + length]));
        sample = &sample[4 + length..];
    }
    units
}

fn track(traf: &[u8], media: &[u8]) -> Track {
    let tfhd = one(traf, b"tfhd");
    let flags = u32_at(tfhd, 0) & 0x00ff_ffff;
    assert_eq!(
        flags & 0x1,
        0,
        "offsets count from the moof, so that a part can be moved"
    );
    let mut at = 8;
    let mut optional = |bit: u32| -> Option<u32> {
        (flags & bit != 0).then(|| {
            at += 4;
            u32_at(tfhd, at - 4)
        })
    };
    let (_, duration, size, sample_flags) =
        (optional(0x2), optional(0x8), optional(0x10), optional(0x20));
    let tfdt = one(traf, b"tfdt");
    assert_eq!(tfdt[0], 1, "a tfdt of 64 bit");
    let tfdt = u64::from(u32_at(tfdt, 4)) << 32 | u64::from(u32_at(tfdt, 8));
    let samples = samples(one(traf, b"trun"), (duration, size, sample_flags), media);
    Track {
        id: u32_at(tfhd, 4),
        tfdt,
        samples,
    }
}

fn samples(
    trun: &[u8],
    defaults: (Option<u32>, Option<u32>, Option<u32>),
    media: &[u8],
) -> Vec<Sample> {
    let flags = u32_at(trun, 0) & 0x00ff_ffff;
    let count = u32_at(trun, 4);
    let mut at = 8;
    let mut next = |present: bool| -> Option<u32> {
        present.then(|| {
            at += 4;
            u32_at(trun, at - 4)
        })
    };
    let mut start = next(flags & 0x1 != 0).expect("a data offset") as usize;
    let first_flags = next(flags & 0x4 != 0);
    (0..count)
        .map(|number| {
            let duration = next(flags & 0x100 != 0).or(defaults.0).expect("a duration");
            let size = next(flags & 0x200 != 0).or(defaults.1).expect("a size") as usize;
            let own = next(flags & 0x400 != 0);
            let offset = next(flags & 0x800 != 0).unwrap_or(0) as i32;
            let first = if number == 0 { first_flags } else { None };
            let flags = own.or(first).or(defaults.2).expect("flags");
            let data = media[start..start + size].to_vec();
            start += size;
            Sample {
                duration,
                sync: flags & 0x0001_0000 == 0,
                offset,
                data,
            }
        })
        .collect()
}

fn avcc(record: &[u8]) -> ParameterSets {
    let mut sets = ParameterSets::default();
    let mut at = 5;
    let mut take = |mask: u8| {
        let count = record[at] & mask;
        at += 1;
        let units = (0..count).map(|_| {
            let length = usize::from(u16_at(record, at));
            at += 2 + length;
            record[at - length..at].to_vec()
        });
        units.collect::<Vec<_>>()
    };
    sets.sps = take(0x1f);
    sets.pps = take(0xff);
    sets
}

fn spans(media: &[u8]) -> Vec<([u8; 4], Range<usize>)> {
    let mut spans = Vec::new();
    let mut at = 0;
    while at < media.len() {
        let length = u32_at(media, at) as usize;
        assert!(
            length >= 8 && at + length <= media.len(),
            "a box of {length} octets at {at}"
        );
        spans.push((
            *media[at + 4..].first_chunk().expect("a type"),
            at + 8..at + length,
        ));
        at += length;
    }
    spans
}

fn one<'a>(media: &'a [u8], kind: &[u8; 4]) -> &'a [u8] {
    let mut found = boxes(media).into_iter().filter(|(found, _)| found == kind);
    let (_, content) = found
        .next()
        .unwrap_or_else(|| panic!("no {}", String::from_utf8_lossy(kind)));
    assert!(
        found.next().is_none(),
        "two of {}",
        String::from_utf8_lossy(kind)
    );
    content
}

fn u16_at(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(*octets[at..].first_chunk().expect("two octets"))
}

fn u32_at(octets: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(*octets[at..].first_chunk().expect("four octets"))
}
