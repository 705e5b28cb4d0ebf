//! Captions in the pictures (CEA-608 in A/53 user data): in each rung they are what they were in the input, whatever
//! happened to the pictures.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use support::{
    Run,
    captioned::{self, script, units},
    clip, decode, segment,
};

const RUNGS: &[&str] = &[
    "--rung",
    "160x90@100",
    "--rung",
    "320x180@200",
    "--rung",
    "640x360@500",
];

/// A clip of `seconds`, each picture of which says the next pair of the script, over and over.
fn captioned(name: &str, rate: u32, seconds: u32) -> String {
    let source = format!("testsrc2=size=640x360:rate={rate}:duration={seconds}");
    let raw = clip(
        &format!("{name}-plain.h264"),
        &[
            "-f",
            "lavfi",
            "-i",
            &source,
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-bf",
            "0",
            "-x264-params",
            "threads=1:slices=1",
        ],
    );
    let stream = captioned::insert(&std::fs::read(&raw).unwrap());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.h264"));
    std::fs::write(&path, stream).unwrap();
    let rate = rate.to_string();
    let input = path.to_str().unwrap();
    clip(
        &format!("{name}.mp4"),
        &["-r", &rate, "-i", input, "-c", "copy"],
    )
}

/// What each picture of a rung says: its pairs of field 1.
fn said(name: &str, run: &Run, rung: u8) -> Vec<Vec<[u8; 2]>> {
    let mut media = run.init.to_vec();
    let parts = run.parts.iter().filter(|part| part.rung == rung);
    parts.for_each(|part| media.extend_from_slice(&part.media));
    let stream = decode(
        &format!("{name}-{rung}.mp4"),
        &media,
        &["-an", "-c:v", "copy", "-f", "h264", "-"],
    );
    let units = units(&stream);
    let (mut pictures, mut pairs) = (Vec::new(), Vec::new());
    for (place, (at, kind)) in units.iter().enumerate() {
        let end = units
            .get(place + 1)
            .map_or(stream.len(), |(next, _)| next - 3);
        let unit = &stream[*at..end];
        match kind {
            6 => {
                let Some(data) = unit.windows(4).position(|four| four == b"GA94") else {
                    continue;
                };
                let count = usize::from(unit[data + 5] & 31);
                let triplets = unit[data + 7..].chunks_exact(3).take(count);
                pairs.extend(
                    triplets
                        .filter(|one| one[0] & 7 == 4)
                        .map(|one| [one[1], one[2]]),
                );
            }
            1 | 5 => pictures.push(std::mem::take(&mut pairs)),
            _ => {}
        }
    }
    pictures
}

#[test]
fn every_rung_says_what_the_input_said_at_whatever_rate() {
    for (rate, most) in [(30, 1), (60, 2), (10, 1)] {
        let name = format!("captioned-{rate}");
        let clip = captioned(&name, rate, 4);
        let run = segment(&[&[clip.as_str()], RUNGS].concat());
        assert!(run.success, "{}", run.stderr);
        let channels: Vec<_> = run
            .captions
            .iter()
            .flatten()
            .map(|one| one.channel.as_str())
            .collect();
        assert_eq!(channels, ["CC1"], "at {rate}");
        let wanted: Vec<_> = script()
            .into_iter()
            .cycle()
            .take(rate as usize * 4)
            .collect();
        for rung in 0..3 {
            let pictures = said(&name, &run, rung);
            let all: Vec<_> = pictures.concat();
            // What came with the last pictures may have had none to leave with.
            assert!(
                all.len() + 2 >= wanted.len(),
                "{} of {}",
                all.len(),
                wanted.len()
            );
            assert_eq!(all, wanted[..all.len()], "rung {rung} at {rate}");
            assert!(
                pictures.iter().all(|picture| picture.len() <= most),
                "at {rate}"
            );
        }
    }
}

#[test]
fn captions_are_taken_out_or_called_what_the_operator_says() {
    let clip = captioned("captioned-said", 30, 2);
    let run = segment(&[&[clip.as_str(), "--captions", "none"], RUNGS].concat());
    assert_eq!(run.captions, [vec![]]);
    assert!(said("captions-none", &run, 1).concat().is_empty());
    let run = segment(&[&[clip.as_str(), "--captions", "cc1=eng,cc3=es"], RUNGS].concat());
    let channels: Vec<_> = run
        .captions
        .iter()
        .flatten()
        .map(|one| (one.channel.as_str(), one.track.label.as_str()))
        .collect();
    assert_eq!(channels, [("CC1", "en"), ("CC3", "es")]);
}

#[test]
fn an_input_without_captions_is_said_to_have_none() {
    let run = segment(&["test", "--duration", "3", "--rung", "320x180@200"]);
    assert_eq!(run.captions, [vec![]]);
}
