//! Metrics: what a node and the traffic manager say to Prometheus, that it can be read, and how much of it there is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "who skips a check says so")]

#[path = "common/node.rs"]
mod node;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    process::{Command, Stdio},
};

use axum::http::header::CONTENT_TYPE;
use node::{TestNode, patient, short};
use playlists::MediaTime;
use segmenter::{
    Synthetic,
    wire::{Alert, Health, InputHealth, InputState},
};
use spillway::{net, origin::ops, store::Intake};
use tools::program::is_installed;

/// The operator's side of `node`.
async fn private(node: &TestNode) -> String {
    let listener = net::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    let private = ops::private(node.origin.clone());
    let stop = node.stop.clone();
    tokio::spawn(net::serve(listener, private, net::Limits::default(), stop));
    url
}

/// The page at `url`, by series; each metric has its help and its type before its samples.
async fn scraped(url: &str) -> BTreeMap<String, f64> {
    let answer = reqwest::get(url).await.unwrap();
    let kind = answer.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let text = answer.text().await.unwrap();
    checked(&text);
    let (mut told, mut series) = (BTreeSet::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# TYPE ") {
            assert!(
                told.insert(comment.split(' ').next().unwrap()),
                "{line} again"
            );
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let metric = name.split('{').next().unwrap();
            assert!(told.contains(metric), "{line} before its type");
            let value = value.parse().unwrap();
            assert_eq!(series.insert(name.to_owned(), value), None, "{line} again");
        }
    }
    series
}

/// By Prometheus' own tool, where there is one.
fn checked(text: &str) {
    if !is_installed("promtool") {
        eprintln!(
            "SKIPPED: promtool is not installed (Debian: prometheus); the page is only read by us"
        );
        return;
    }
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let said = promtool.wait_with_output().unwrap();
    let complaints = [said.stdout, said.stderr].concat();
    let complaints = String::from_utf8_lossy(&complaints);
    assert!(
        said.status.success() && complaints.is_empty(),
        "{complaints}"
    );
}

fn health() -> Health {
    Health {
        speed: 1.0,
        fps: 30.0,
        lag_ms: 250,
        dropped: 7,
        main: InputHealth {
            state: InputState::Live,
            fps: 25.0,
            kbps: 800.0,
            keyframe_s: Some(2.0),
            opened: 3,
        },
        backup: Some(InputHealth::default()),
        rungs_dropped: 1,
        alerts: vec![Alert::EncoderOverloaded],
        ..Health::default()
    }
}

#[tokio::test]
async fn what_a_node_does_is_told() {
    let node = TestNode::start("node", None, patient()).await;
    let mut feed = node.feed(short());
    feed.segments(4);
    feed.producer.report(Intake {
        runs: 2,
        health: Some(health()),
    });
    let url = private(&node).await;
    let join = format!("{}/live/demo", node.url);
    for path in [
        "index.m3u8",
        "v/00000000000000aa.paris/index.m3u8",
        "v/00000000000000aa.paris/1001.m4s",
        "v/00000000000000aa.paris/1002.m4s",
        "v/00000000000000aa.paris/1003.0.m4s",
        "v/00000000000000aa.paris/17.m4s",
    ] {
        let answer = reqwest::get(format!("{join}/{path}")).await.unwrap();
        answer.bytes().await.unwrap();
    }
    let series = scraped(&url).await;
    for (name, value) in [
        ("spillway_viewers{stream=\"demo\"}", 1.0),
        ("spillway_region_viewers{region=\"paris\"}", 1.0),
        ("spillway_joins_total{result=\"let_in\"}", 1.0),
        ("spillway_requests_total{kind=\"join\",status=\"2xx\"}", 1.0),
        (
            "spillway_requests_total{kind=\"playlist\",status=\"2xx\"}",
            1.0,
        ),
        (
            "spillway_requests_total{kind=\"segment\",status=\"2xx\"}",
            2.0,
        ),
        (
            "spillway_requests_total{kind=\"segment\",status=\"4xx\"}",
            1.0,
        ),
        ("spillway_requests_total{kind=\"part\",status=\"2xx\"}", 1.0),
        ("spillway_last_segment{stream=\"demo\"}", 1003.0),
        ("spillway_segmenter_runs_total{stream=\"demo\"}", 2.0),
        ("spillway_encoder_lag_seconds{stream=\"demo\"}", 0.25),
        ("spillway_frames_dropped_total{stream=\"demo\"}", 7.0),
        ("spillway_rungs_dropped{stream=\"demo\"}", 1.0),
        ("spillway_on_air{stream=\"demo\",source=\"main\"}", 1.0),
        ("spillway_on_air{stream=\"demo\",source=\"slate\"}", 0.0),
        (
            "spillway_input_bytes_per_second{stream=\"demo\",input=\"main\"}",
            100_000.0,
        ),
        ("spillway_input_live{stream=\"demo\",input=\"backup\"}", 0.0),
        (
            "spillway_input_opened_total{stream=\"demo\",input=\"main\"}",
            3.0,
        ),
        (
            "spillway_alert{stream=\"demo\",alert=\"encoder-overloaded\"}",
            1.0,
        ),
        ("spillway_alert{stream=\"demo\",alert=\"on-slate\"}", 0.0),
    ] {
        assert_eq!(series.get(name), Some(&value), "{name} in {series:#?}");
    }
    let decided = series
        .iter()
        .filter(|(name, _)| name.starts_with("spillway_decisions_total"));
    let decided: f64 = decided.map(|(_, count)| count).sum();
    assert!(decided >= 3.0, "{series:#?}");
}

/// Ten thousand viewers, who say that they are in a thousand regions.
#[tokio::test]
async fn ten_thousand_viewers_are_no_more_series_than_one() {
    use spillway::origin::{Origin, Terms};
    let origin = Origin::new(
        "node".into(),
        spillway::store::Store::default(),
        Terms::default(),
    );
    let node = TestNode::of(origin, patient()).await;
    // Who is silent for three segments has gone, so these are long, and small.
    let rungs = [("low", 1), ("mid", 2), ("top", 3)];
    let media = Synthetic::new(&rungs, MediaTime::from_seconds(60.0), 1);
    let mut feed = node.feed(media.unwrap());
    feed.segments(4);
    feed.producer.report(Intake {
        runs: 1,
        health: Some(health()),
    });
    let url = private(&node).await;
    let client = reqwest::Client::new();
    for viewer in 0..10_000_u64 {
        let region = viewer % 1000;
        let path = format!("v/{viewer:016x}.region-{region}/1002.m4s");
        let got = client
            .get(format!("{}/live/demo/{path}", node.url))
            .send()
            .await
            .unwrap();
        got.bytes().await.unwrap();
    }
    let series = scraped(&url).await;
    assert_eq!(series["spillway_viewers{stream=\"demo\"}"], 10_000.0);
    let regions = series
        .iter()
        .filter(|(name, _)| name.starts_with("spillway_region_viewers"));
    assert_eq!(regions.map(|(_, count)| count).sum::<f64>(), 10_000.0);
    assert!(series.len() < 500, "{} series", series.len());
}
