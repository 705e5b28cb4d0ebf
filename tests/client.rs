//! The headless player against real nodes, and the `client` program from outside.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/client_stream.rs"]
mod client_stream;

use std::{
    process::{Output, Stdio},
    sync::Arc,
    time::Duration,
};

use client_stream::{Manager, Node, STREAM, Stream};
use serde_json::Value;
use spillway::{
    net::Fetcher,
    origin::Stance,
    player::{Config, Event, Player, PlayerError, SegmentReport},
};
use tokio::process::Command;

/// A test that takes longer hangs.
const LONG: Duration = Duration::from_secs(60);

fn player(start: reqwest::Url) -> Player {
    Player::new(Fetcher::new().unwrap(), start, Config::default())
}

/// Plays until an event is as wanted; all events until then.
async fn until(player: &mut Player, mut wanted: impl FnMut(&Event) -> bool) -> Vec<Event> {
    let mut events = Vec::new();
    let play = async {
        loop {
            let event = player.step().await.unwrap();
            let found = wanted(&event);
            events.push(event);
            if found {
                return;
            }
        }
    };
    let in_time = tokio::time::timeout(LONG, play).await;
    assert!(in_time.is_ok(), "it never came to that: {events:#?}");
    events
}

/// Plays so many segments more.
async fn segments(player: &mut Player, mut count: usize) -> Vec<Event> {
    until(player, |event| {
        count -= usize::from(matches!(event, Event::Segment(_)));
        count == 0
    })
    .await
}

fn reports(events: &[Event]) -> Vec<&SegmentReport> {
    let mut reports = Vec::new();
    for event in events {
        if let Event::Segment(report) = event {
            reports.push(&**report);
        }
    }
    reports
}

fn numbers_rise_by_one(events: &[Event]) -> bool {
    reports(events)
        .windows(2)
        .all(|pair| pair[0].number + 1 == pair[1].number)
}

fn faults(events: &[Event]) -> Vec<String> {
    let fault = |event: &Event| {
        if let Event::Fault(fault) = event {
            Some(fault.to_string())
        } else {
            None
        }
    };
    events.iter().filter_map(fault).collect()
}

async fn failure(mut player: Player) -> PlayerError {
    loop {
        if let Err(error) = player.step().await {
            return error;
        }
    }
}

#[tokio::test]
async fn a_live_stream_plays_without_a_stall() {
    let stream = Stream::live();
    let node = Node::start("primary", &stream).await;
    let mut player = player(node.index());
    let events = segments(&mut player, 40).await;
    assert!(matches!(events[0], Event::Joined { .. }), "{events:#?}");
    assert!(numbers_rise_by_one(&events));
    assert_eq!(faults(&events), [""; 0]);
    let reports = reports(&events);
    assert!(
        reports
            .iter()
            .all(|report| report.node == "primary" && report.rung.is_some())
    );
    assert!(reports.iter().all(|report| report.reason.is_some()));
    let last = reports.last().unwrap();
    assert!(
        last.latency.is_some() && last.estimate.is_some(),
        "{last:#?}"
    );
    let summary = player.summary();
    assert_eq!(
        (summary.segments, summary.joins, summary.stalls),
        (40, 1, 0)
    );
    assert_eq!(summary.media, Duration::from_millis(8000));
    assert_eq!(
        summary.rungs.iter().map(|(_, count)| count).sum::<u64>(),
        40
    );
    assert_eq!(summary.nodes, [("primary".to_owned(), 40)]);
}

#[tokio::test]
async fn what_has_ended_is_played_to_its_end() {
    let stream = Stream::ended(6);
    let node = Node::start("primary", &stream).await;
    let mut player = player(node.index());
    let events = until(&mut player, |event| matches!(event, Event::Finished)).await;
    assert_eq!(reports(&events).len(), 6);
    let summary = player.summary();
    assert_eq!(
        (summary.stalls, summary.played),
        (0, Duration::from_millis(1200))
    );
}

#[tokio::test]
async fn a_node_that_drains_hands_its_player_over_without_a_seam() {
    let stream = Stream::live();
    let (one, two) = (
        Node::start("one", &stream).await,
        Node::start("two", &stream).await,
    );
    let mut player = player(one.index());
    segments(&mut player, 20).await;
    one.origin
        .stance
        .store(Arc::new(Stance::Draining { to: two.base() }));
    let mut events = until(&mut player, |event| matches!(event, Event::Moved { .. })).await;
    events.extend(segments(&mut player, 10).await);
    assert!(numbers_rise_by_one(&events));
    assert!(
        reports(&events)
            .iter()
            .rev()
            .take(10)
            .all(|report| report.node == "two")
    );
    let summary = player.summary();
    assert_eq!(
        (summary.joins, summary.retries, summary.faults),
        (1, 0, 0),
        "{events:#?}"
    );
}

#[tokio::test]
async fn a_player_whose_node_is_gone_joins_again_and_misses_nothing() {
    let stream = Stream::live();
    let (one, two) = (
        Node::start("one", &stream).await,
        Node::start("two", &stream).await,
    );
    let manager = Manager::start(&one).await;
    let mut player = player(manager.watch(STREAM));
    let mut events = segments(&mut player, 20).await;
    manager.send_to(&two);
    let gone = tokio::spawn(one.stop());
    events.extend(until(&mut player, |event| matches!(event, Event::Moved { .. })).await);
    events.extend(segments(&mut player, 10).await);
    gone.await.unwrap();
    let rejoining =
        |event: &&Event| matches!(event, Event::Rejoining { node, .. } if node == "one");
    assert_eq!(events.iter().filter(rejoining).count(), 1, "{events:#?}");
    assert!(numbers_rise_by_one(&events));
    let summary = player.summary();
    assert_eq!(summary.joins, 2);
    let nodes: Vec<_> = summary
        .nodes
        .iter()
        .map(|(node, _)| node.as_str())
        .collect();
    assert_eq!(nodes, ["one", "two"]);
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_said_by_who_was_asked() {
    let stream = Stream::live();
    let node = Node::start("primary", &stream).await;
    let manager = Manager::start(&node).await;
    let error = failure(player(manager.watch("nope"))).await;
    let PlayerError::NotFound { said, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(said, "the primary has no stream \"nope\"");
    let error = failure(player(node.url.join("/live/nope/index.m3u8").unwrap())).await;
    assert!(
        error
            .to_string()
            .ends_with("no stream \"nope\" on this node"),
        "{error}"
    );
    let error = failure(player(node.url.join("/live").unwrap())).await;
    assert!(matches!(error, PlayerError::NotAPlaylist { .. }), "{error}");
}

async fn client(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SPILLWAY_")) {
        command.env_remove(name);
    }
    tokio::time::timeout(LONG, command.output())
        .await
        .unwrap()
        .unwrap()
}

/// The last line of stderr, and the exit code.
fn told(output: &Output) -> (String, Option<i32>) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    (
        stderr.lines().last().unwrap_or_default().to_owned(),
        output.status.code(),
    )
}

#[tokio::test]
async fn the_program_says_in_one_line_why_it_cannot_play() {
    // A port that was free a moment ago, and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
        .to_string();
    let (line, code) = told(&client(&["127.0.0.1", &port]).await);
    let expected = format!(
        "client: cannot reach the traffic manager at http://127.0.0.1:{port}: Connection refused"
    );
    assert!(line.starts_with(&expected), "{line}");
    assert_eq!(code, Some(1));

    let stream = Stream::live();
    let node = Node::start("primary", &stream).await;
    let url = node.url.join("/live/nope/index.m3u8").unwrap();
    let (line, code) = told(&client(&["--url", url.as_str()]).await);
    let expected = "no stream \"nope\" on this node; there is \"live\" (/live/NAME/index.m3u8)";
    assert!(line.ends_with(expected), "{line}");
    assert_eq!(code, Some(1));
}

#[tokio::test]
async fn wrong_arguments_end_with_2() {
    for arguments in [
        &[][..],
        &["127.0.0.1", "many"],
        &["127.0.0.1", "--seconds", "0"],
        &["127.0.0.1", "--session", "a b"],
        &["no address", "1"],
    ] {
        let output = client(arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[tokio::test]
async fn the_program_prints_an_object_on_each_line_and_a_summary_at_the_end() {
    let stream = Stream::ended(4);
    let node = Node::start("primary", &stream).await;
    let manager = Manager::start(&node).await;
    let port = manager.url.port().unwrap().to_string();
    let output = client(&["127.0.0.1", &port, "--json", "--region", "paris"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let events: Vec<_> = lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    let expected = [
        "joined", "segment", "segment", "started", "segment", "segment", "finished", "summary",
    ];
    assert_eq!(events, expected);
    let summary = lines.last().unwrap();
    assert_eq!(summary["segments"], 4);
    assert_eq!(summary["nodes"], serde_json::json!({ "primary": 4 }));
    assert_eq!(
        (&summary["stalls"], &summary["faults"]),
        (&0.into(), &0.into())
    );
}
