//! Breaks for advertisements (SCTE 35) and timed metadata (ID3) of an MPEG-TS: told with the right times, before the part
//! in which they come.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use playlists::{MediaTime, daterange::Value};
use support::{
    clip,
    noted::{self, Note},
    segment,
};

/// The clock's time of a clip's first picture, in ticks: what libav's muxer makes of 0, behind the sound's delay.
const FIRST: u64 = 127_920;

#[test]
fn a_break_and_a_tag_are_told_of_where_they_are() {
    let source = "testsrc2=size=320x180:rate=30:duration=8";
    let tone = "sine=frequency=440:sample_rate=48000:duration=8";
    let plain = clip(
        "marks-plain.ts",
        &[
            "-f",
            "lavfi",
            "-i",
            source,
            "-f",
            "lavfi",
            "-i",
            tone,
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-bf",
            "0",
            "-c:a",
            "aac",
            "-f",
            "mpegts",
        ],
    );
    let begin = noted::splice(7, Some(FIRST + 3 * 90_000), Some(30 * 90_000));
    let end = noted::splice(7, Some(FIRST + 6 * 90_000), None);
    let tag = b"ID3\x04\x00\x00\x00\x00\x00\x00";
    let stream = noted::insert(
        &std::fs::read(plain).unwrap(),
        &[
            Note::Splice(1.0, &begin),
            Note::Splice(1.5, &begin),
            Note::Id3(2.0, tag),
            Note::Splice(4.0, &[0xfc, 0x30, 0x00]),
            Note::Splice(5.0, &end),
        ],
    );
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("marks.ts");
    std::fs::write(&path, stream).unwrap();
    let run = segment(&[path.to_str().unwrap(), "--rung", "320x180@200"]);
    assert!(run.success, "{}", run.stderr);
    let said: Vec<_> = run
        .marks
        .iter()
        .map(|mark| mark.others[0].0.as_str())
        .collect();
    assert_eq!(
        said,
        ["SCTE35-OUT", "X-ID3", "SCTE35-IN"],
        "{:#?}",
        run.marks
    );
    let [out, id3, back] = &run.marks[..] else {
        panic!()
    };
    let origin = run.parts[0].start;
    let near = |time: MediaTime, seconds: f64| ((time - origin).seconds() - seconds).abs() < 0.02;
    assert!(near(out.start, 3.0), "{}", out.start);
    assert_eq!(out.planned, Some(MediaTime::from_seconds(30.0)));
    assert_eq!(out.others[0].1, Value::Octets(begin));
    assert_eq!((&back.id, back.start), (&out.id, out.start));
    assert!(near(back.end.unwrap(), 6.0), "{back:?}");
    // The muxer's clock runs ahead of the pictures by its delay.
    assert!(
        (0.0..3.0).contains(&(id3.start - origin).seconds()),
        "{id3:?}"
    );
    assert_eq!(id3.others[0].1, Value::Octets(tag.to_vec()));
}
