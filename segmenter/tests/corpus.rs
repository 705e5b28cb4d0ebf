//! A corpus of odd media, made by `ffmpeg`: whatever comes in, what goes out is held to the same rules.
//!
//! A few seconds of each. Ten minutes of each, which takes an hour:
//!
//!     SPILLWAY_CORPUS_SECONDS=600 cargo test -p segmenter --test corpus -- --nocapture

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    clippy::print_stdout,
    reason = "says what it is at, for runs of an hour"
)]

mod support;

#[path = "corpus/clocks.rs"]
mod clocks;
#[path = "corpus/damage.rs"]
mod damage;
#[path = "corpus/pictures.rs"]
mod pictures;
#[path = "corpus/sounds.rs"]
mod sounds;

use support::{Run, clip, judge::check, length, segment};

/// Two rungs are enough to be out of step.
const RUNGS: [&str; 4] = ["--rung", "160x90@150", "--rung", "320x180@400"];
const PICTURE: &str = "testsrc2=size=320x180:rate=25";
const TONE: &str = "sine=frequency=440:sample_rate=48000";
const H264: &str = "-c:v libx264 -preset ultrafast -g 50 -c:a aac";

/// How long each input is.
fn seconds() -> f64 {
    std::env::var("SPILLWAY_CORPUS_SECONDS").map_or(5.0, |text| text.parse().unwrap())
}

/// The input `name`: `picture` and `sound` are filter graphs (no sound: ""), `options` say how they are encoded.
fn odd(name: &str, picture: &str, sound: &str, options: &str) -> String {
    let length = seconds().to_string();
    let mut arguments = Vec::new();
    for graph in [picture, sound]
        .into_iter()
        .filter(|graph| !graph.is_empty())
    {
        arguments.extend(["-f", "lavfi", "-t", &length, "-i", graph]);
    }
    arguments.extend(options.split_whitespace());
    clip(name, &arguments)
}

/// The input's run, which must be as good as any.
fn played(input: &str) -> Run {
    played_with(input, &RUNGS)
}

fn played_with(input: &str, options: &[&str]) -> Run {
    println!("{input}");
    let run = segment(&[&[input], options].concat());
    check(&run);
    run
}

/// It is as large, as fast and as long as that; `tolerance` of its length in seconds.
fn is(run: &Run, size: (u32, u32), fps: f64, seconds: f64, tolerance: f64) {
    let hello = run.hello.as_ref().unwrap();
    let top = hello.ladder.top();
    let input = &hello.input;
    assert_eq!((top.width, top.height), size, "{input}");
    assert!(
        (top.frame_rate - fps).abs() < 1e-9,
        "{input}: {} fps",
        top.frame_rate
    );
    let length = length(run).seconds();
    assert!(
        (length - seconds).abs() < tolerance,
        "{input}: {length} s, not {seconds} s"
    );
}
