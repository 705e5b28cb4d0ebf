//! One segment in two rungs, and what is read from it and made of it; and the same, damaged.
//!
//! `data/` is 1.6 s of `segmenter test --fps 10 --segment-seconds 1.6 --rung 128x72@40 --rung 256x144@80`.
//! Whether decoders like what is made is asked in `segmenter/tests/transmux.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use media::{
    Coding, Error, Fragment, Init, avc, fragments, init_of_rung,
    remux::{self, Wanted},
    transmux,
};
use proptest::prelude::*;

const INIT: &[u8] = include_bytes!("data/init.mp4");
const LOW: &[u8] = include_bytes!("data/low.m4s");
const HIGH: &[u8] = include_bytes!("data/high.m4s");

#[test]
fn the_shared_init_section_has_every_rungs_parameter_sets() {
    let init = Init::parse(INIT).unwrap();
    let [video, audio] = &init.tracks[..] else {
        panic!("{init:?}")
    };
    assert_eq!(
        (video.id, video.timescale, video.shown),
        (1, 90_000, (256 << 16, 144 << 16))
    );
    assert_eq!(
        (audio.id, audio.timescale, audio.edited),
        (2, 48_000, false)
    );
    let (_, config) = init.video().unwrap();
    let sizes = config.sps.iter().map(|sps| {
        let sps = avc::sps(sps).unwrap();
        (sps.id, sps.width, sps.height)
    });
    assert_eq!(sizes.collect::<Vec<_>>(), [(1, 256, 144), (0, 128, 72)]);
    let Coding::Aac(sound) = &audio.coding else {
        panic!("{audio:?}")
    };
    assert_eq!(
        (sound.object_type, sound.rate, sound.channels),
        (2, 48_000, 2)
    );
}

#[test]
fn a_segments_samples_follow_each_other_in_time_and_in_octets() {
    let init = Init::parse(INIT).unwrap();
    for octets in [LOW, HIGH] {
        let fragments = fragments(octets, &init).unwrap();
        assert_eq!(fragments.len(), 4);
        for track in [1, 2] {
            let runs = fragments.iter().flat_map(|fragment| &fragment.runs);
            let runs: Vec<_> = runs.filter(|run| run.track == track).collect();
            assert!(runs.windows(2).all(|pair| pair[0].end() == pair[1].start));
            let samples = runs.iter().flat_map(|run| &run.samples);
            assert!(
                samples
                    .clone()
                    .all(|sample| sample.offset == 0 && !sample.data.is_empty())
            );
            let keys = samples.filter(|sample| sample.sync).count();
            assert_eq!(keys, if track == 1 { 1 } else { 75 });
        }
        let octets_of = |fragment: &media::Fragment| {
            let samples = fragment.runs.iter().flat_map(|run| &run.samples);
            samples.map(|sample| sample.data.len()).sum::<usize>()
        };
        let all: usize = fragments.iter().map(octets_of).sum();
        assert!(
            (octets.len() * 9 / 10..octets.len()).contains(&all),
            "{all}"
        );
    }
}

#[test]
fn a_rungs_own_init_section_has_its_sets_and_its_size_and_nothing_else_is_different() {
    for (segment, id, width, height) in [(LOW, 0, 128, 72), (HIGH, 1, 256, 144)] {
        let own = Init::parse(&init_of_rung(INIT, segment).unwrap()).unwrap();
        let mut shared = Init::parse(INIT).unwrap();
        let (_, config) = own.video().unwrap();
        let [sps] = &config.sps[..] else {
            panic!("{config:?}")
        };
        assert_eq!(avc::sps(sps).unwrap().id, id);
        assert_eq!(avc::pps_ids(&config.pps[0]).unwrap().1, id);
        let track = &mut shared.tracks[0];
        track.shown = (width << 16, height << 16);
        track.coding = Coding::Avc {
            entry: media::Kind(*b"avc1"),
            width: width as u16,
            height: height as u16,
            config: config.clone(),
        };
        assert_eq!(own, shared);
    }
}

#[test]
fn parameter_sets_that_are_not_in_band_are_found_by_what_the_slices_say() {
    let init = Init::parse(INIT).unwrap();
    let (_, config) = init.video().unwrap();
    for (segment, id) in [(LOW, 0), (HIGH, 1)] {
        let first = fragments(segment, &init).unwrap()[0].runs[0].samples[0]
            .data
            .clone();
        let bare = config.units(&segment[first]).map(Result::unwrap);
        let bare = bare.filter(|unit| !matches!(avc::kind(unit), avc::unit::SPS | avc::unit::PPS));
        let bare: Vec<u8> = bare
            .flat_map(|unit| [&(unit.len() as u32).to_be_bytes(), unit].concat())
            .collect();
        let sets = config.sets_of(&bare).unwrap();
        assert_eq!(avc::sps(sets.sps).unwrap().id, id);
        let none = avc::Config {
            sps: Vec::new(),
            pps: Vec::new(),
            ..config.clone()
        };
        let why = none.sets_of(&bare).unwrap_err();
        assert_eq!(why, Error::NoSet { set: "PPS", id });
    }
}

#[test]
fn every_rung_leaves_the_counters_of_a_transport_stream_where_it_found_them() {
    let init = Init::parse(INIT).unwrap();
    let mut shapes = Vec::new();
    for segment in [LOW, HIGH] {
        let ts = transmux(&init, &[segment]).unwrap();
        let mut counters: BTreeMap<u16, u8> = BTreeMap::new();
        let mut clocks = Vec::new();
        for packet in ts.chunks(188) {
            let head: &[u8; 6] = packet.first_chunk().unwrap();
            assert_eq!((packet.len(), head[0]), (188, 0x47));
            let pid = u16::from_be_bytes([head[1] & 0x1f, head[2]]);
            let next = counters.entry(pid).or_default();
            assert_eq!((head[3] & 0x10, head[3] & 15), (0x10, *next), "PID {pid}");
            *next = (*next + 1) % 16;
            if head[3] & 0x20 != 0 && head[4] > 0 && head[5] & 0x10 != 0 {
                assert_eq!(pid, 0x100);
                clocks.push(u32::from_be_bytes(*packet[6..].first_chunk().unwrap()));
            }
        }
        assert!(counters.values().all(|next| *next == 0), "{counters:?}");
        assert_eq!(
            counters.into_keys().collect::<Vec<_>>(),
            [0, 0x100, 0x101, 0x1000]
        );
        assert_eq!(ts[..3], [0x47, 0x40, 0], "the tables come first");
        assert!(
            clocks.windows(2).all(|pair| pair[1] - pair[0] == 4500),
            "in 1/45000 s"
        );
        shapes.push(clocks);
    }
    assert_eq!(shapes[0], shapes[1]);
}

#[test]
fn parts_make_the_same_transport_stream_as_their_segment() {
    let init = Init::parse(INIT).unwrap();
    let starts = media::boxes::boxes(LOW).map(Result::unwrap);
    let starts = starts
        .filter(|found| found.kind.0 == *b"moof")
        .map(|found| found.at);
    let mut ends: Vec<_> = starts.skip(1).chain([LOW.len()]).collect();
    let mut from = 0;
    let parts: Vec<_> = ends
        .drain(..)
        .map(|to| &LOW[std::mem::replace(&mut from, to)..to])
        .collect();
    assert_eq!(parts.len(), 4);
    assert_eq!(transmux(&init, &parts), transmux(&init, &[LOW]));
}

#[test]
fn what_lacks_something_says_what() {
    let init = Init::parse(INIT).unwrap();
    for (error, says) in [
        (
            Init::parse(b"\0\0\0\x10ftypcmfc\0\0\0\0\0\0\0\x08moov").unwrap_err(),
            "moov has no box mvex",
        ),
        (Init::parse(LOW).unwrap_err(), "init has no box moov"),
        (transmux(&init, &[]).unwrap_err(), "no picture"),
        (transmux(&init, &[INIT]).unwrap_err(), "no picture"),
        (transmux(&init, &[&LOW[..900]]).unwrap_err(), "mdat"),
        (
            init_of_rung(INIT, b"\0\0\0\x08moof").unwrap_err(),
            "moof has no box mfhd",
        ),
    ] {
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn a_lost_segment_is_tables_and_nothing_else() {
    let ts = media::transmux_nothing(&Init::parse(INIT).unwrap());
    assert_eq!(ts.len(), 2 * 16 * 188);
    let whole = transmux(&Init::parse(INIT).unwrap(), &[LOW]).unwrap();
    assert_eq!(ts[..376], whole[..376], "the same as in any segment");
}

/// All that is asked of octets from somewhere.
fn try_all(init: &[u8], segment: &[u8]) {
    let _ = init_of_rung(init, segment);
    let Ok(init) = Init::parse(init) else { return };
    let _ = fragments(segment, &init);
    if let Ok(ts) = transmux(&init, &[segment, segment]) {
        assert_eq!(ts.len() % (16 * 188), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damage_is_an_error_or_other_media_but_no_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 1..6),
        init_is_hit: bool, high: bool,
    ) {
        let (mut init, mut segment) = (INIT.to_vec(), if high { HIGH } else { LOW }.to_vec());
        for (at, flip) in flips {
            // What is said in boxes is at the beginning, and what is sound matters to nobody.
            let hit = if init_is_hit { &mut init } else { &mut segment };
            let length = hit.len().min(1500);
            hit[at.index(length)] ^= flip;
        }
        try_all(&init, &segment);
    }

    #[test]
    fn what_breaks_off_is_an_error_or_less_media_but_no_panic(at: prop::sample::Index, init_is_hit: bool) {
        if init_is_hit {
            try_all(&INIT[..at.index(INIT.len())], LOW);
        } else {
            try_all(INIT, &LOW[..at.index(LOW.len())]);
        }
    }

    #[test]
    fn a_damaged_multiplex_is_less_media_but_no_panic(
        hits in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..40),
        lost in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let init = Init::parse(INIT).unwrap();
        let mut octets = transmux(&init, &[HIGH]).unwrap();
        let programme = remux::programme(&octets).unwrap();
        for (at, flip) in hits {
            let length = octets.len();
            octets[at.index(length)] ^= flip;
        }
        for at in lost {
            let at = at.index(octets.len());
            octets.drain(at..(at + 100).min(octets.len()));
        }
        let _ = remux::programme(&octets);
        let wanted = Wanted { programme: &programme, near: 0, length: 144_000, lead: None };
        if let Ok(made) = remux::remux(&octets, &wanted) {
            let init = Init::parse(&remux::init(&programme).unwrap()).unwrap();
            let read = fragments(&made.media, &init).unwrap();
            let runs = || read.iter().flat_map(|fragment| &fragment.runs);
            let first = runs().find(|run| run.track == 1).unwrap();
            prop_assert!(first.samples[0].sync);
            for track in [1, 2] {
                let runs: Vec<_> = runs().filter(|run| run.track == track).collect();
                prop_assert!(runs.windows(2).all(|two| two[0].end() == two[1].start));
            }
        }
    }

    #[test]
    fn garbage_is_no_panic(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        try_all(&octets, &octets);
        try_all(INIT, &octets);
        let _ = (avc::sps(&octets), avc::pps_ids(&octets), media::aac::Config::parse(&octets));
        let _ = remux::programme(&octets);
    }
}

/// A track's samples: when each is decoded, how long it lasts, whether it is a key frame, and its NAL units or its frame.
fn samples(octets: &[u8], read: &[Fragment], track: u32) -> Vec<(u64, u32, bool, Vec<Vec<u8>>)> {
    let runs = read.iter().flat_map(|fragment| &fragment.runs);
    let samples = runs
        .filter(|run| run.track == track)
        .flat_map(|run| &run.samples);
    let four = avc::Config::parse(&[1, 66, 0, 10, 0xff, 0xe0, 0]).unwrap();
    let units = |data: &[u8]| match track {
        1 => four
            .units(data)
            .map(|unit| unit.unwrap().to_vec())
            .collect(),
        _ => vec![data.to_vec()],
    };
    let each = samples.map(|sample| {
        let units = units(&octets[sample.data.clone()]);
        (sample.time, sample.duration, sample.sync, units)
    });
    each.collect()
}

#[test]
fn what_goes_through_mpeg_ts_comes_out_as_it_was_with_its_parameter_sets() {
    let shared = Init::parse(INIT).unwrap();
    for segment in [LOW, HIGH] {
        let octets = transmux(&shared, &[segment]).unwrap();
        let programme = remux::programme(&octets).unwrap();
        assert!(programme.complete && programme.begins_with_key);
        let before = fragments(segment, &shared).unwrap();
        let start = before[0].runs[0].start;
        let wanted = Wanted {
            programme: &programme,
            near: start + 1_000_000,
            length: 144_000,
            lead: None,
        };
        let made = remux::remux(&octets, &wanted).unwrap();
        assert_eq!((made.begins, made.step, made.damaged), (start, 9000, 0));
        let init = Init::parse(&remux::init(&programme).unwrap()).unwrap();
        assert_eq!(init.audio().unwrap().1, shared.audio().unwrap().1);
        let after = fragments(&made.media, &init).unwrap();
        assert_eq!(after.len(), 4, "one for each half second");
        let of_kind = |unit: &Vec<u8>, kinds: &[u8]| kinds.contains(&avc::kind(unit));
        let (mut old, mut new) = (
            samples(segment, &before, 1),
            samples(&made.media, &after, 1),
        );
        let sets = [avc::unit::SPS, avc::unit::PPS];
        let mut in_band = new[0].3.iter().filter(|unit| of_kind(unit, &sets));
        let height = avc::sps(in_band.next().unwrap()).unwrap().height;
        assert_eq!(height, if segment == LOW { 72 } else { 144 });
        assert_eq!(
            in_band.map(|unit| avc::kind(unit)).collect::<Vec<_>>(),
            [avc::unit::PPS]
        );
        for picture in old.iter_mut().chain(&mut new) {
            picture.3.retain(|unit| !of_kind(unit, &sets));
        }
        assert_eq!(old, new);
        assert_eq!(
            samples(segment, &before, 2),
            samples(&made.media, &after, 2)
        );
    }
}

#[test]
fn times_of_33_bits_are_those_that_are_nearest_to_what_is_expected() {
    let shared = Init::parse(INIT).unwrap();
    let octets = transmux(&shared, &[LOW]).unwrap();
    let programme = remux::programme(&octets).unwrap();
    let begins = |near| {
        let wanted = Wanted {
            programme: &programme,
            near,
            length: 0,
            lead: None,
        };
        remux::remux(&octets, &wanted).unwrap().begins
    };
    let wrap = 1 << 33;
    let once = begins(0) % wrap;
    for near in [
        5 * wrap + once,
        5 * wrap + once + wrap / 3,
        5 * wrap + once - wrap / 3,
    ] {
        assert_eq!(begins(near), 5 * wrap + once);
    }
}

#[test]
fn a_segment_is_taken_from_its_first_key_frame_on_or_not_at_all() {
    let shared = Init::parse(INIT).unwrap();
    let octets = transmux(&shared, &[LOW]).unwrap();
    let programme = remux::programme(&octets).unwrap();
    let wanted = Wanted {
        programme: &programme,
        near: 0,
        length: 0,
        lead: None,
    };
    // The packet with the beginning of the only key frame; then one in the middle of another picture.
    let pictures: Vec<_> = (0..octets.len() / 188)
        .filter(|at| octets[at * 188 + 1] & 0x1f == 1 && octets[at * 188 + 2] == 0)
        .collect();
    let without = |at: usize| [&octets[..at * 188], &octets[at * 188 + 188..]].concat();
    let nothing = remux::remux(&without(pictures[0]), &wanted);
    assert_eq!(nothing.unwrap_err(), Error::NoKeyFrame);
    let less = remux::remux(&without(*pictures.last().unwrap()), &wanted).unwrap();
    let init = Init::parse(&remux::init(&programme).unwrap()).unwrap();
    let read = fragments(&less.media, &init).unwrap();
    assert!(less.damaged > 0 || samples(&less.media, &read, 1).len() == 16);
}

#[test]
fn what_cannot_be_made_cmaf_of_is_said() {
    let shared = Init::parse(INIT).unwrap();
    let octets = transmux(&shared, &[LOW]).unwrap();
    let says = |change: fn(&mut [u8])| {
        let mut octets = octets.clone();
        octets.chunks_mut(188).for_each(change);
        remux::programme(&octets).unwrap_err().to_string()
    };
    // The first stream of the table is that of the pictures.
    let hevc = says(|packet| {
        if packet[1] & 0x1f == 0x10 {
            packet[17] = 0x24;
        }
    });
    assert!(hevc.starts_with("there is pictures in HEVC;"), "{hevc}");
    let scrambled = says(|packet| {
        if packet[1] & 0x1f == 1 {
            packet[3] |= 0x80;
        }
    });
    assert!(
        scrambled.starts_with("there is scrambled packets;"),
        "{scrambled}"
    );
    let none = says(|packet| packet[1] |= 0x1f);
    assert!(none.contains("no tables"), "{none}");
}

/// What ffmpeg makes of a ladder is a rung with an init section of its own each: here from ours.
#[test]
fn rungs_with_an_init_section_each_can_follow_one_another_under_one() {
    let own: Vec<_> = [LOW, HIGH]
        .map(|segment| init_of_rung(INIT, segment).unwrap())
        .into();
    assert_ne!(own[0], own[1]);
    let shared = media::init_in_band(&own[0], (256, 144)).unwrap();
    let read = Init::parse(&shared).unwrap();
    let (video, _) = read.video().unwrap();
    let Coding::Avc {
        entry,
        width,
        height,
        ..
    } = &video.coding
    else {
        panic!("{video:?}")
    };
    assert_eq!(
        (entry.to_string(), *width, *height),
        ("avc3".to_owned(), 256, 144)
    );
    for (own, segment) in own.iter().zip([LOW, HIGH]) {
        let init = Init::parse(own).unwrap();
        let changed = media::in_band(&init, segment).unwrap();
        let (before, after) = (
            fragments(segment, &init).unwrap(),
            fragments(&changed, &read).unwrap(),
        );
        let (_, config) = init.video().unwrap();
        let mut first = true;
        for (before, after) in before.iter().zip(&after) {
            for (before, after) in before.runs.iter().zip(&after.runs) {
                assert_eq!((before.track, before.start), (after.track, after.start));
                for (old, new) in before.samples.iter().zip(&after.samples) {
                    assert_eq!(
                        (old.time, old.duration, old.sync),
                        (new.time, new.duration, new.sync)
                    );
                    let (old, new) = (&segment[old.data.clone()], &changed[new.data.clone()]);
                    if before.track == 1 && std::mem::take(&mut first) {
                        assert!(new.ends_with(old) && new.len() > old.len());
                        // Decoded by what is in band, whatever the record says.
                        let none = avc::Config {
                            sps: vec![],
                            pps: vec![],
                            ..config.clone()
                        };
                        let sets = none.sets_of(new).unwrap();
                        assert_eq!(
                            (sets.sps, sets.pps),
                            (&config.sps[0][..], &config.pps[0][..])
                        );
                    } else {
                        assert_eq!(old, new);
                    }
                }
            }
        }
        assert_eq!(
            media::in_band(&init, &changed).unwrap(),
            changed,
            "once is enough"
        );
    }
}
