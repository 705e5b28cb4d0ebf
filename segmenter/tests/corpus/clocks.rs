//! Timestamps that wrap, jump, go back or begin below zero.

use super::{H264, PICTURE, RUNGS, TONE, is, odd, pictures::joined, played, played_with, seconds};
use crate::support::scratch;

#[test]
fn a_clock_that_wraps() {
    // 2^33 ticks of 1/90000 s are 95443.7 s.
    let options = format!("{H264} -output_ts_offset 95441");
    let run = played(&odd("wrap.ts", PICTURE, TONE, &options));
    is(&run, (320, 180), 25.0, seconds(), 0.15);
    // And one that has wrapped by the time it is seen for the second time.
    let again = joined(
        "wraps.ts",
        &[
            odd("wrap1.ts", PICTURE, TONE, &options),
            odd("wrap2.ts", PICTURE, TONE, &options),
        ],
    );
    is(&played(&again), (320, 180), 25.0, 2.0 * seconds(), 0.3);
}

#[test]
fn a_clock_that_jumps() {
    let at = |name: &str, offset: &str| {
        odd(
            name,
            PICTURE,
            TONE,
            &format!("{H264} -output_ts_offset {offset}"),
        )
    };
    for (name, first, second) in [
        ("ahead", "10", "5000"),
        ("back", "5000", "10"),
        ("little-back", "10", "12"),
    ] {
        let parts = [
            at(&format!("{name}1.ts"), first),
            at(&format!("{name}2.ts"), second),
        ];
        let run = played(&joined(&format!("{name}.ts"), &parts));
        is(&run, (320, 180), 25.0, 2.0 * seconds(), 0.3);
    }
}

/// Eight segments are begun in one go, and none of them is cut before sound comes.
#[test]
fn a_gap_of_many_segments() {
    let at = |name: &str, offset: f64| {
        let options = format!("{H264} -output_ts_offset {offset}");
        odd(name, PICTURE, TONE, &options)
    };
    let parts = [at("gap1.ts", 10.0), at("gap2.ts", 10.0 + seconds() + 8.0)];
    let joined = joined("gap.ts", &parts);
    let run = played_with(&joined, &[&RUNGS[..], &["--segment-seconds", "1"]].concat());
    is(&run, (320, 180), 25.0, 2.0 * seconds() + 8.0, 0.3);
}

#[test]
fn below_zero() {
    let bframes = "-c:v libx264 -preset veryfast -bf 3 -c:a aac";
    for (name, options) in [
        (
            "negative.mkv",
            format!("{bframes} -avoid_negative_ts disabled -output_ts_offset -1"),
        ),
        (
            "negative.mp4",
            format!("{bframes} -use_editlist 1 -movflags +negative_cts_offsets"),
        ),
    ] {
        let run = played(&odd(name, PICTURE, TONE, &options));
        is(&run, (320, 180), 25.0, seconds(), 0.25);
    }
}

#[test]
fn a_key_frame_that_comes_late() {
    let whole = std::fs::read(odd("whole.ts", PICTURE, TONE, H264)).unwrap();
    // From the middle of the first group of pictures, which is two seconds long.
    let from = (whole.len() as f64 / seconds()) as usize / 188 * 188;
    let path = scratch("midway.ts");
    std::fs::write(&path, &whole[from..]).unwrap();
    let run = played(path.to_str().unwrap());
    let length = crate::support::length(&run).seconds();
    assert!(length > seconds() - 2.3 && length < seconds(), "{length} s");
}
