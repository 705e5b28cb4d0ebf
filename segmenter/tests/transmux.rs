//! What `media` makes of real segments, judged by FFmpeg: init sections of single rungs, and MPEG-TS.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use media::{Init, avc, init_of_rung, transmux};
use segmenter::wire::Part;
use support::{Run, segment};

const LADDER: [(&str, u32, u32); 3] = [
    ("320x180@200", 320, 180),
    ("480x270@400", 480, 270),
    ("640x360@700", 640, 360),
];

#[test]
fn rungs_switched_at_random_are_one_unbroken_transport_stream() {
    let run = ladder("8");
    let init = Init::parse(&run.init).unwrap();
    for turn in 0..3 {
        let (mut ts, mut mp4) = (Vec::new(), run.init.to_vec());
        for segment in 0..segments(&run) {
            // Some order in which every switch between rungs comes up sooner or later.
            let rung = ((segment * 2 + segment / 2 + turn) % 3) as u8;
            let parts = parts(&run, rung, segment);
            let octets: Vec<_> = parts.iter().map(|part| &part.media[..]).collect();
            mp4.extend_from_slice(&octets.concat());
            ts.extend_from_slice(&transmux(&init, &octets).unwrap());
        }
        let (ts, mp4) = (
            scratch("switched.ts", &ts),
            scratch("switched-as.mp4", &mp4),
        );
        let pictures = |file: &str| checks(file, "v");
        assert_eq!(pictures(&ts).len(), 240);
        assert!(pictures(&ts) == pictures(&mp4), "the very same pictures");
        assert!(checks(&ts, "a") == checks(&mp4, "a"), "the very same sound");
        assert_eq!(steps(&ts, "v"), [3000]);
        assert_eq!(steps(&ts, "a"), [1920]);
    }
}

#[test]
fn the_clock_goes_round_without_a_word() {
    // 33 bits of 1/90000 s are over after 26.5 hours; the first segment is, too.
    let origin = ((1i64 << 33) - 90_000) * (playlists::MediaTime::PER_SECOND / 90_000);
    let origin = origin.to_string();
    let run = segment(&[
        "test",
        "--duration",
        "6",
        "--rung",
        LADDER[0].0,
        "--origin-time",
        &origin,
    ]);
    let init = Init::parse(&run.init).unwrap();
    let mut ts = Vec::new();
    for segment in 0..segments(&run) {
        let parts = parts(&run, 0, segment);
        let octets: Vec<_> = parts.iter().map(|part| &part.media[..]).collect();
        ts.extend_from_slice(&transmux(&init, &octets).unwrap());
    }
    let ts = scratch("round.ts", &ts);
    quietly("ffmpeg", &["-i", &ts, "-f", "null", "-"]);
    assert_eq!(steps(&ts, "v"), [3000]);
}

#[test]
fn a_rung_plays_with_an_init_section_of_its_own() {
    let run = ladder("3");
    for (rung, (_, width, height)) in LADDER.iter().enumerate() {
        let parts = parts(&run, rung as u8, 0);
        let own = init_of_rung(&run.init, &parts[0].media).unwrap();
        let init = Init::parse(&own).unwrap();
        let (track, config) = init.video().unwrap();
        assert_eq!((config.sps.len(), config.pps.len()), (1, 1));
        assert_eq!(track.shown, (width << 16, height << 16));
        let sps = avc::sps(&config.sps[0]).unwrap();
        assert_eq!((sps.width, sps.height), (*width, *height));
        assert_eq!((sps.profile, sps.level), (config.profile, config.level));
        let octets: Vec<_> = parts.iter().map(|part| &part.media[..]).collect();
        let file = scratch("rung.mp4", &[&own[..], &octets.concat()].concat());
        quietly("ffmpeg", &["-i", &file, "-f", "null", "-"]);
        let size = [
            "-select_streams",
            "v",
            "-show_entries",
            "stream=width,height",
            "-of",
            "csv=p=0",
        ];
        let size = quietly("ffprobe", &[&size[..], &[&file]].concat());
        assert_eq!(
            String::from_utf8(size).unwrap().trim(),
            format!("{width},{height}")
        );
    }
}

fn ladder(seconds: &str) -> Run {
    let [a, b, c] = LADDER.map(|(rung, ..)| rung);
    segment(&[
        "test",
        "--duration",
        seconds,
        "--rung",
        a,
        "--rung",
        b,
        "--rung",
        c,
    ])
}

fn segments(run: &Run) -> u64 {
    run.parts.last().unwrap().segment + 1
}

fn parts(run: &Run, rung: u8, segment: u64) -> Vec<&Part> {
    let mine = |part: &&Part| (part.rung, part.segment) == (rung, segment);
    run.parts.iter().filter(mine).collect()
}

/// A check of each picture, or of each frame of sound, as it is decoded.
fn checks(file: &str, stream: &str) -> Vec<String> {
    let said = quietly(
        "ffmpeg",
        &[
            "-i",
            file,
            "-map",
            &format!("0:{stream}"),
            "-f",
            "framecrc",
            "-",
        ],
    );
    let said = String::from_utf8(said).unwrap();
    let lines = said.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit(',').next().unwrap().to_owned())
        .collect()
}

/// How far apart the packets of a stream are, each distance once.
fn steps(file: &str, stream: &str) -> Vec<i64> {
    let ask = [
        "-select_streams",
        stream,
        "-show_entries",
        "packet=dts,duration",
        "-of",
        "csv=p=0",
    ];
    let said = quietly("ffprobe", &[&ask[..], &[file]].concat());
    let said = String::from_utf8(said).unwrap();
    let times: Vec<i64> = said
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.split(',').next().unwrap().parse().unwrap())
        .collect();
    let mut steps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_unstable();
    steps.dedup();
    steps
}

/// What `program` gives on stdout. It must not say a word.
fn quietly(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(["-v", "warning"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("ffmpeg is installed");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    assert!(output.status.success());
    output.stdout
}

fn scratch(name: &str, octets: &[u8]) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, octets).expect("the scratch folder can be written");
    path.into_os_string()
        .into_string()
        .expect("a readable path")
}
