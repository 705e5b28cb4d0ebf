//! A whole primary whose input dies under a viewer: the slate stands in, and whoever watches notices nothing but the picture.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "../segmenter/tests/support/feed.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
mod feed;

use std::time::Duration;

use common::{Primary, SMALL, json};
use feed::{Feed, Mood};
use serde_json::Value;
use spillway::{
    net::Fetcher,
    player::{Config, Event, Player, SegmentReport},
};

/// Longer than any player's buffer, and than the patience of an input.
const DEAD: Duration = Duration::from_secs(14);

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_hangs_up_and_comes_back_stalls_nobody_and_breaks_no_timeline() {
    let feed = Feed::of("red", 440, Mood::Sending);
    let options = ["--slate", "black", "--stall-seconds", "2"];
    let primary = Primary::start("127.0.0.1", &feed.url, &[&SMALL[..], &options].concat()).await;
    let source = source(&primary, |source| !source["health"].is_null()).await;
    assert_eq!(source["health"]["on_air"], "main", "{source}");
    assert_eq!(source["health"]["alerts"], serde_json::json!([]));

    let start = format!("{}/live/live/index.m3u8", primary.url);
    let mut player = Player::new(
        Fetcher::new().unwrap(),
        start.parse().unwrap(),
        Config::default(),
    );
    let mut reports = play(&mut player, Duration::from_secs(6)).await;
    feed.is(Mood::Gone);
    let (played, dark) = tokio::join!(play(&mut player, DEAD), on_air(&primary, "slate"));
    reports.extend(played);
    let alerts = dark["health"]["alerts"].as_array().unwrap().clone();
    assert!(alerts.contains(&"on-slate".into()), "{dark}");
    feed.is(Mood::Sending);
    let (played, back) = tokio::join!(
        play(&mut player, Duration::from_secs(10)),
        on_air(&primary, "main")
    );
    reports.extend(played);
    assert_eq!(back["runs"], 1, "{back}");

    assert!(reports.len() > 10, "{reports:#?}");
    for pair in reports.windows(2) {
        assert_eq!(pair[0].number + 1, pair[1].number);
    }
    assert!(reports.iter().all(|report| !report.discontinuity));
    let summary = player.summary();
    assert_eq!(summary.stalls, 0, "{:#?}", primary.program.said());
    let said = primary.program.said().join("\n");
    for words in ["alert=\"on-slate\"", "over"] {
        assert!(said.contains(words), "no {words} in {said}");
    }
}

/// Plays for so long; the segments that came.
async fn play(player: &mut Player, span: Duration) -> Vec<SegmentReport> {
    let until = tokio::time::Instant::now() + span;
    let mut reports = Vec::new();
    while let Ok(event) = tokio::time::timeout_at(until, player.step()).await {
        match event.unwrap() {
            Event::Segment(report) => reports.push(*report),
            Event::Fault(fault) => panic!("{fault}"),
            Event::Rejoining { error, .. } => panic!("{error}"),
            _ => {}
        }
    }
    reports
}

async fn on_air(primary: &Primary, who: &str) -> Value {
    source(primary, |source| source["health"]["on_air"] == who).await
}

/// What the operator is told of the one source there is, once it is as `wanted`.
async fn source(primary: &Primary, wanted: impl Fn(&Value) -> bool) -> Value {
    let look = async {
        loop {
            let streams = json(&format!("{}/v1/streams", primary.private)).await;
            let source = streams[0]["source"].clone();
            if wanted(&source) {
                return source;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let looked = tokio::time::timeout(Duration::from_secs(30), look).await;
    looked.unwrap_or_else(|_| panic!("{:#?}", primary.program.said()))
}

/// A clip made by `ffmpeg`; see the segmenter's own tests.
fn clip(name: &str, arguments: &[&str]) -> String {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let made = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-y"])
        .args(arguments)
        .arg(&path)
        .stdin(std::process::Stdio::null())
        .status();
    assert!(made.unwrap().success(), "ffmpeg makes {name}");
    path.into_os_string().into_string().unwrap()
}
