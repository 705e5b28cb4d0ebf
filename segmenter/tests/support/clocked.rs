//! A source with a clock: an MPEG-TS whose pictures say when they were made, in user data (MISB ST 0604).

use std::path::Path;

use super::{captioned::units, clip, scratch};

/// `seconds` of 25 pictures a second that say it was `utc`, in microseconds since 1970, at the first of them.
pub(crate) fn stream(name: &str, seconds: u32, utc: i64) -> Vec<u8> {
    let picture = format!("testsrc2=size=320x180:rate=25:duration={seconds}");
    let plain = clip(
        &format!("{name}-plain.h264"),
        &[
            "-f",
            "lavfi",
            "-i",
            &picture,
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-bf",
            "0",
            "-g",
            "25",
            "-x264-params",
            "slices=1:threads=1",
        ],
    );
    let plain = std::fs::read(plain).expect("what was just made is there");
    let path = scratch(&format!("{name}.h264"));
    std::fs::write(&path, insert(&plain, utc)).expect("the scratch folder can be written");
    let path = path.to_str().expect("a readable path");
    let copied = ["-r", "25", "-i", path, "-c", "copy"];
    let muxed = clip(&format!("{name}.ts"), &copied);
    std::fs::read(Path::new(&muxed)).expect("what was just made is there")
}

fn insert(plain: &[u8], utc: i64) -> Vec<u8> {
    let (mut stream, mut from, mut count) = (Vec::new(), 0, 0);
    for (at, kind) in units(plain) {
        if kind == 1 || kind == 5 {
            // Before the start code of the picture.
            let begin = at - 3 - usize::from(at > 3 && plain[at - 4] == 0);
            stream.extend_from_slice(&plain[from..begin]);
            stream.extend(sei(utc + count * 40_000));
            (from, count) = (begin, count + 1);
        }
    }
    stream.extend_from_slice(&plain[from..]);
    stream
}

fn sei(utc: i64) -> Vec<u8> {
    let mut data = b"MISPmicrosectime\x1f".to_vec();
    for pair in utc.to_be_bytes().chunks(2) {
        data.extend_from_slice(pair);
        data.push(0xff);
    }
    data.pop();
    // The two zeros that a time begins with would be half a start code.
    [&[0, 0, 0, 1, 6, 5, data.len() as u8][..], &data, &[0x80]].concat()
}
