//! The input's own H.264, passed on: not an octet of a picture is changed, and any rung follows any other.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{fmt::Write as _, fs};

use media::Init;
use playlists::MediaTime;
use support::{Run, boxes, clip, decode, length, scratch, segment};

/// 9 s with a key frame each two, and pictures that are decoded in another order than they are shown.
/// Each test has its own: they may run at once.
fn reordered(name: &str) -> String {
    h264(name, "30", &["-g", "60", "-bf", "3"])
}

fn h264(name: &str, rate: &str, encoding: &[&str]) -> String {
    let nine = ["-t", "9"];
    long(name, rate, &[encoding, &nine[..]].concat())
}

fn long(name: &str, rate: &str, encoding: &[&str]) -> String {
    let pictures = format!("testsrc2=size=640x360:rate={rate}");
    let made = ["-f", "lavfi", "-i", &pictures, "-f", "lavfi", "-i", "sine"];
    let coding = [
        "-c:v", "libx264", "-preset", "veryfast", "-b:v", "2M", "-c:a", "aac",
    ];
    clip(name, &[&made[..], &coding, encoding].concat())
}

/// A line for each picture that `ffmpeg` decodes of `media`: what it looks like, in every pixel.
fn pictures(name: &str, media: &[u8]) -> Vec<String> {
    let each = decode(
        name,
        media,
        &[
            "-map",
            "0:v",
            "-fps_mode",
            "passthrough",
            "-f",
            "framemd5",
            "-",
        ],
    );
    let text = String::from_utf8(each).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let last = |line: &str| {
        line.rsplit(',')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    lines.map(last).collect()
}

/// Decode times go on within a segment, and each begins with a picture that is shown when it is decoded.
fn check_times(run: &Run, rung: u8) {
    let mut end = None;
    for part in run.parts.iter().filter(|part| part.rung == rung) {
        let track = &boxes::fragment(&part.media)[0];
        let start = part.start.to_ticks(90_000);
        if part.index == 0 {
            assert!(track.samples[0].sync && part.independent);
            assert_eq!(track.tfdt as i64, start);
            assert_eq!(track.samples[0].offset, 0);
        }
        if let Some(end) = end {
            assert_eq!(
                track.tfdt, end,
                "segment {} part {}",
                part.segment, part.index
            );
        }
        for sample in &track.samples {
            assert!(sample.offset >= 0, "decoded after it is shown");
            assert!(sample.duration > 0);
        }
        let long: u64 = track
            .samples
            .iter()
            .map(|sample| u64::from(sample.duration))
            .sum();
        // A part is as long as is said of it, but for pictures that are decoded ahead; a segment is so to the tick.
        let said = part.duration.to_ticks(90_000);
        assert!(
            (long as i64 - said).abs() <= 2 * 90_000 / 24,
            "{long} of {said}"
        );
        if part.last {
            assert_eq!((track.tfdt + long) as i64, start + said);
        }
        end = Some(track.tfdt + long);
    }
}

fn top(run: &Run) -> u8 {
    let rungs = run.hello.as_ref().unwrap().ladder.rungs();
    assert_eq!(rungs[rungs.len() - 1].name.as_str(), "source");
    rungs.len() as u8 - 1
}

/// First picture and length in pictures of each segment.
fn segments(run: &Run, fps: i64) -> Vec<i64> {
    let parts = run.parts.iter().filter(|part| part.rung == 0);
    let mut lengths: Vec<MediaTime> = Vec::new();
    for part in parts {
        lengths.resize(part.segment as usize + 1, MediaTime::ZERO);
        lengths[part.segment as usize] += part.duration;
    }
    let pictures = |length: &MediaTime| (length.seconds() * fps as f64).round() as i64;
    lengths.iter().map(pictures).collect()
}

#[test]
fn the_top_rung_is_the_input_itself() {
    let input = reordered("pass-ordered-top.mp4");
    let run = segment(&[
        "--passthrough",
        "top",
        "--rung",
        "320x180@300",
        "--rung",
        "640x360@900",
        &input,
    ]);
    assert!(run.success, "{}", run.stderr);
    let top = top(&run);
    assert_eq!(top, 2);
    check_times(&run, top);
    assert_eq!(segments(&run, 30), [60, 60, 60, 60, 30]);
    assert!((length(&run).seconds() - 9.0).abs() < 0.01);

    let own = pictures("pass-own", &fs::read(&input).unwrap());
    assert_eq!(pictures("pass-top", &run.file(top)), own);

    // Rung after rung, segment by segment.
    let mut mixed = run.init.to_vec();
    let wanted = |segment: u64| [top, 0, 1, top, 1][segment as usize];
    let parts = run
        .parts
        .iter()
        .filter(|part| part.rung == wanted(part.segment));
    parts.for_each(|part| mixed.extend_from_slice(&part.media));
    let seen = pictures("pass-mixed", &mixed);
    assert_eq!(seen.len(), own.len());
    let same = seen.iter().zip(&own).map(|(seen, own)| seen == own);
    let same: Vec<bool> = same.collect();
    assert!(same[..60].iter().all(|same| *same) && same[180..240].iter().all(|same| *same));
    assert!(!same[60..180].iter().any(|same| *same));

    // And as MPEG-TS, where times must be in order, too.
    let init = Init::parse(&run.init).unwrap();
    let mut ts = Vec::new();
    for segment in 0..5 {
        let parts = run.parts.iter();
        let parts = parts.filter(|part| part.segment == segment && part.rung == wanted(segment));
        let parts: Vec<&[u8]> = parts.map(|part| &part.media[..]).collect();
        ts.extend(media::transmux(&init, &parts).unwrap());
    }
    assert_eq!(pictures("pass-mixed.ts", &ts), seen);
}

#[test]
fn alone_it_goes_with_its_own_sound_and_short_parts() {
    let input = reordered("pass-ordered-alone.mp4");
    let run = segment(&["--passthrough", "only", "--part-seconds", "0.2", &input]);
    assert!(run.success, "{}", run.stderr);
    let hello = run.hello.as_ref().unwrap();
    assert_eq!((top(&run), hello.part), (0, MediaTime::from_ticks(6, 30)));
    check_times(&run, 0);
    assert_eq!(segments(&run, 30), [60, 60, 60, 60, 30]);
    let own = fs::read(&input).unwrap();
    assert_eq!(
        pictures("pass-alone", &run.file(0)),
        pictures("pass-alone-own", &own)
    );
    let sound = |name: &str, media: &[u8]| {
        decode(
            name,
            media,
            &["-map", "0:a", "-c", "copy", "-f", "adts", "-"],
        )
    };
    // What primes the decoder is heard before the first picture, and left out.
    let (heard, own) = (
        sound("pass-sound", &run.file(0)),
        sound("pass-sound-own", &own),
    );
    assert!(own.ends_with(&heard) && own.len() - heard.len() < 1000);
    let codecs = &hello.ladder.rungs()[0].codecs;
    assert!(
        codecs.starts_with("avc1.64") && codecs.ends_with(",mp4a.40.2"),
        "{codecs}"
    );
}

#[test]
fn sound_of_another_kind_is_encoded_and_none_is_silence() {
    let other = h264("pass-mp3.ts", "25", &["-g", "50", "-c:a", "mp3"]);
    let none = clip("pass-mute.ts", &["-i", &other, "-an", "-c:v", "copy"]);
    for input in [other, none] {
        let run = segment(&["--passthrough", "only", &input]);
        assert!(run.success, "{}", run.stderr);
        let init = boxes::init(&run.init);
        assert_eq!(init.timescales, [90_000, 48_000]);
        let frames = run
            .parts
            .iter()
            .map(|part| boxes::fragment(&part.media)[1].samples.len());
        let seconds = frames.sum::<usize>() as f64 * 1024.0 / 48_000.0;
        assert!(
            (8.5..9.1).contains(&seconds),
            "{input}: {seconds} s of sound"
        );
    }
}

#[test]
fn segments_begin_where_the_input_has_its_key_frames() {
    // Made 30: a picture in a thousand is seen twice, and the key frames go with it. FLV has whole milliseconds.
    let film = ["-g", "48", "-bf", "2", "-t", "40"];
    let film = long("pass-29.flv", "30000/1001", &film);
    let run = segment(&["--passthrough", "top", "--rung", "320x180@300", &film]);
    check_times(&run, top(&run));
    let lengths = segments(&run, 30);
    assert!(
        lengths[..24]
            .iter()
            .all(|length| (48..=49).contains(length)),
        "{lengths:?}"
    );
    assert_eq!(
        lengths[..24].iter().filter(|length| **length == 49).count(),
        1
    );

    let short = h264("pass-short.mp4", "25", &["-g", "12"]);
    let run = segment(&["--passthrough", "top", "--rung", "320x180@300", &short]);
    check_times(&run, top(&run));
    assert_eq!(segments(&run, 25)[..4], [48; 4]);
}

#[test]
fn of_key_frames_too_far_apart_nothing_is_passed_on_and_somebody_is_told() {
    let sparse = h264("pass-sparse.mp4", "25", &["-g", "100"]);
    let run = segment(&["--passthrough", "top", "--rung", "320x180@300", &sparse]);
    assert!(run.success, "{}", run.stderr);
    assert!(run.stderr.contains("too far apart"), "{}", run.stderr);
    // The next cheaper one stands in for it: every segment can be begun, and has all its pictures.
    let top = top(&run);
    let of = |rung: u8, segment: u64| {
        let parts = run
            .parts
            .iter()
            .filter(move |part| part.rung == rung && part.segment == segment);
        parts.map(|part| part.media.clone()).collect::<Vec<_>>()
    };
    let last = run.parts.last().unwrap().segment;
    let stood_in = (0..=last).filter(|segment| of(top, *segment) == of(0, *segment));
    assert!(stood_in.count() as u64 >= last - 1, "{}", run.stderr);
    // What the first segment refers to may be shown after it: that there would be no key frame was not known then.
    assert!((225..229).contains(&pictures("pass-sparse", &run.file(top)).len()));

    let run = segment(&["--passthrough", "only", &sparse]);
    assert!(run.stderr.contains("too far apart"), "{}", run.stderr);
    let lost = run
        .parts
        .iter()
        .filter(|part| part.index == 0 && !part.independent);
    assert!(lost.count() > 0);
    assert_eq!(pictures("pass-sparse-alone", &run.file(0)).len(), 225);
}

#[test]
fn what_cannot_be_passed_on_is_encoded_or_refused_and_it_is_said_why() {
    let pictures = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=320x180:rate=25:duration=3",
    ];
    let cases = [
        ("pass-no-mpeg4.mp4", &["-c:v", "mpeg4"][..], "not H.264"),
        (
            "pass-no-444.mp4",
            &["-c:v", "libx264", "-pix_fmt", "yuv444p"],
            "4:2:0",
        ),
        (
            "pass-no-fields.mp4",
            &[
                "-c:v",
                "libx264",
                "-flags",
                "+ildct+ilme",
                "-x264-params",
                "interlaced=1",
            ],
            "interlaced",
        ),
        (
            "pass-no-square.mp4",
            &["-c:v", "libx264", "-vf", "setsar=4/3"],
            "not square",
        ),
    ];
    for (name, coding, why) in cases {
        let input = clip(
            name,
            &[&pictures[..], &["-pix_fmt", "yuv420p"], coding].concat(),
        );
        let run = segment(&["--passthrough", "top", "--rung", "160x90@100", &input]);
        assert!(run.success, "{}", run.stderr);
        assert!(run.stderr.contains(why), "{name}: {}", run.stderr);
        assert_eq!(run.hello.unwrap().ladder.rungs().len(), 1);
        let run = segment(&["--passthrough", "only", &input]);
        let end = run.end.unwrap();
        let error = end.error.unwrap();
        assert!(
            !run.success && end.fatal && error.contains(why) && error.contains(&input),
            "{error}"
        );
    }
    for (options, why) in [
        (&["--passthrough", "top", "test"][..], "no H.264 of its own"),
        (
            &["--passthrough", "only", "--slate", "black", "x.mp4"],
            "--slate",
        ),
        (
            &["--passthrough", "only", "--rung", "320x180@300", "x.mp4"],
            "--rung",
        ),
        (&["--passthrough", "top", "--fps", "25", "x.mp4"], "--fps"),
    ] {
        let error = segment(options).end.unwrap().error.unwrap();
        assert!(
            error.contains("--passthrough") && error.contains(why),
            "{error}"
        );
    }
}

#[test]
fn a_list_goes_from_one_clip_to_the_next() {
    let input = reordered("pass-ordered-list.mp4");
    let mut list = String::new();
    for _ in 0..3 {
        writeln!(list, "{input}").unwrap();
    }
    let path = scratch("pass-list.m3u");
    fs::write(&path, list).unwrap();
    let path = path.to_str().unwrap();
    let own = pictures("pass-list-own", &fs::read(&input).unwrap());
    for (mode, least) in [("top", 0.7), ("only", 1.0)] {
        let run = segment(&["--passthrough", mode, path]);
        assert!(run.success, "{}", run.stderr);
        check_times(&run, top(&run));
        let seen = pictures(&format!("pass-list-{mode}"), &run.file(top(&run)));
        assert!((808..=812).contains(&seen.len()), "{mode}: {}", seen.len());
        // Where a clip begins in the middle of a segment another rung stands in until the next key frame.
        let same = seen.iter().filter(|seen| own.contains(seen)).count();
        assert!(same as f64 >= least * 810.0, "{mode}: {same} of 810");
    }
}
