//! Sources that bring a clock: what is told of it, and when.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use playlists::MediaTime;
use support::{
    Run, clocked,
    feed::{Feed, Mood},
    live::Live,
    rtsp::Camera,
    scratch, segment,
};

const RUNG: [&str; 2] = ["--rung", "320x180@200"];
const HOUR: i64 = 3_600_000_000;

/// Microseconds since 1970, as our own clock has it.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_micros() as i64
}

/// What a feed is made of that began at `utc`, after some parts.
fn played(name: &str, utc: i64) -> Run {
    let media = clocked::stream(name, 8, utc);
    let feed = Feed::new(media, 8.0, Mood::Sending);
    let mut live = Live::start(&[&[feed.url.as_str()], &RUNG[..]].concat());
    live.parts(8);
    live.leave()
}

#[test]
fn a_feed_that_says_when_it_was_made_is_believed() {
    let utc = now() - HOUR;
    let run = played("an-hour-ago", utc);
    assert!(!run.clocks.is_empty());
    let origin = run.parts[0].start;
    for clock in &run.clocks {
        let expected = utc / 1000 + (clock.at - origin).to_ticks(1000);
        let off = clock.utc.millis() - expected;
        assert!(off.abs() <= 1, "{clock:?} is {off} ms off");
    }
    // One a second, from the first on.
    let first = run.clocks[0].at - origin;
    assert!(first < MediaTime::from_seconds(0.1), "{first}");
    assert!(run.clocks.len() <= 6, "{:?}", run.clocks);
}

#[test]
fn a_clock_that_was_never_set_is_not() {
    assert_eq!(played("never-set", 946_684_800_000_000).clocks, []);
}

#[test]
fn a_recording_says_when_it_was_made_which_is_not_when_it_is_live() {
    let media = clocked::stream("recorded", 3, now() - HOUR);
    let path = scratch("recorded-clock.ts");
    std::fs::write(&path, media).unwrap();
    let run = segment(&[&[path.to_str().unwrap()], &RUNG[..]].concat());
    assert!(run.success, "{}", run.stderr);
    assert_eq!(run.clocks, []);
}

#[test]
fn a_camera_says_it_by_its_sender_reports() {
    let camera = Camera::ahead_by(-3600);
    let before = now();
    let mut live = Live::start(&[&[camera.url.as_str()], &RUNG[..]].concat());
    live.parts(8);
    let run = live.leave();
    let clock = run.clocks.last().expect("its clock is told");
    // It began when we began, or a little before or after.
    let began = clock.utc.millis() - (clock.at - run.parts[0].start).to_ticks(1000);
    let off = began - (before - HOUR) / 1000;
    assert!(off.abs() < 15_000, "{off} ms off");
    // One clock, so all it says is of one line.
    for other in &run.clocks {
        let expected = began + (other.at - run.parts[0].start).to_ticks(1000);
        assert!((other.utc.millis() - expected).abs() < 60, "{other:?}");
    }
}
