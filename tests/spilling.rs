//! The whole system on this machine: a region's peak goes to a relay that was started for it, and
//! what the death of each part costs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use common::{Manager, Primary, Viewer, json, skip, system, system_with};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
};
use tools::{
    player::Ffmpeg,
    program::{Program, children, is_installed, is_running, signal},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_viewer_after_the_threshold_lands_on_a_relay_that_is_gone_after_the_peak() {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("spilling-after-the-peak");
    let _ = std::fs::remove_dir_all(&kept);
    std::fs::create_dir_all(&kept).unwrap();
    let kept = format!("sqlite:{}", kept.join("viewers.db").display());
    let (primary, manager) = system_with(3, &["--analytics", &kept]).await;
    let mut crowd = Vec::new();
    for _ in 0..3 {
        let mut viewer = Viewer::join(&manager.url, "paris", 20);
        assert_eq!(viewer.plays().await, "primary");
        crowd.push(viewer);
    }
    // Somebody in another region is nobody's peak.
    let mut other = Viewer::join(&manager.url, "rome", 20);
    assert_eq!(other.plays().await, "primary");

    let joined = Instant::now();
    let mut fourth = Viewer::join(&manager.url, "paris", 16);
    assert_eq!(fourth.plays().await, "relay-paris-1");
    println!(
        "the fourth viewer played from the relay {:.2?} after it joined",
        joined.elapsed()
    );
    let relay = relays(&manager)[0];
    let (taken, length) = leave_in_mid_segment(&manager, "relay-paris-1", "oslo").await;

    for viewer in crowd.into_iter().chain([other, fourth]) {
        let summary = viewer.summary().await;
        assert_eq!(
            (&summary["stalls"], &summary["faults"], &summary["joins"]),
            (&0.into(), &0.into(), &1.into()),
            "{summary}"
        );
    }
    let gone = manager
        .until("without its relay", |seen| {
            seen["nodes"]
                .as_array()
                .is_some_and(|nodes| nodes.len() == 1)
        })
        .await;
    println!("its relay was gone {gone:.1?} after the last viewer");
    assert!(!is_running(relay), "the relay's process is still there");

    let mut sent: BTreeMap<String, u32> = BTreeMap::new();
    for line in primary
        .program
        .said()
        .iter()
        .filter(|line| line.contains("canonical object"))
    {
        *sent
            .entry(
                line.split("canonical object")
                    .nth(1)
                    .unwrap_or_default()
                    .to_owned(),
            )
            .or_default() += 1;
    }
    println!("the relay pulled {} objects", sent.len());
    assert!(sent.len() > 20, "{sent:?}");
    assert_eq!(
        sent.iter().find(|(_, times)| **times > 1),
        None,
        "an object was pulled twice"
    );
    let reasons = reasons(&manager.overview().await);
    for action in ["launch", "drain", "retire"] {
        assert!(
            reasons.iter().any(|reason| reason.starts_with(action)),
            "no {action} in {reasons:#?}"
        );
    }
    adds_up(primary, &manager, "relay-paris-1").await;
    let oslo = totals(&manager, "region=oslo").await;
    let octets = oslo["each"][0]["octets"].as_u64().unwrap();
    assert!(
        (taken..length).contains(&octets),
        "{taken} of {length}: {oslo}"
    );
}

/// Somebody of `region` takes the beginning of a segment from `node`, and is gone; tells how much of it, and how long it is.
async fn leave_in_mid_segment(manager: &Manager, node: &str, region: &str) -> (u64, u64) {
    let overview = manager.overview().await;
    let node = nodes(&overview).find(|seen| seen["node"] == node).unwrap();
    let url = node["url"].as_str().unwrap();
    let viewer = format!("/live/live/v/00000000000000c1.{region}");
    let playlist = reqwest::get(format!("{url}{viewer}/index.m3u8")).await;
    let playlist = playlist.unwrap().text().await.unwrap();
    let newest = playlist.lines().rfind(|line| line.ends_with(".m4s"));
    let newest = newest.unwrap_or_else(|| panic!("no segment in {playlist}"));

    // The rest of the segment does not fit into what the kernel takes for it.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    let address = url.strip_prefix("http://").unwrap();
    let mut line = socket.connect(address.parse().unwrap()).await.unwrap();
    let asked = format!("GET {viewer}/{newest} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    line.write_all(asked.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let head = loop {
        assert!(line.read_buf(&mut answer).await.unwrap() > 0);
        if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n")
            && answer.len() > end + 4
        {
            break end + 4;
        }
    };
    let said = String::from_utf8_lossy(&answer[..head]).to_lowercase();
    let length = said
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length.unwrap_or_else(|| panic!("{said}"));
    ((answer.len() - head) as u64, length.parse().unwrap())
}

/// What viewers took is what nodes have sent, once all have told it: a relay that has ended, and the primary, which is ended for that.
async fn adds_up(mut primary: Primary, manager: &Manager, relay: &str) {
    let metrics = reqwest::get(format!("{}/metrics", primary.private)).await;
    let metrics = metrics.unwrap().text().await.unwrap();
    let sent = metrics
        .lines()
        .find_map(|line| line.strip_prefix("spillway_sent_bytes_total "));
    let sent: f64 = sent.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap();
    primary.program.stop().await.unwrap();
    for node in ["primary", relay] {
        let account = totals(manager, &format!("node={node}")).await["account"].clone();
        assert!(is_met(&account), "{node}: {account}");
        if node == "primary" {
            assert_eq!(account["sent"].as_f64(), Some(sent), "{account}");
        }
    }
    let all = totals(manager, "").await;
    assert!(is_met(&all["account"]), "{all}");
}

fn is_met(account: &Value) -> bool {
    let difference = account["difference"].as_f64();
    difference.is_some_and(|difference| difference.abs() <= 0.001)
}

async fn totals(manager: &Manager, of: &str) -> Value {
    json(&format!("{}/v1/analytics/totals?{of}", manager.url)).await
}

/// A relay that waits for the manager's word, once it is heard.
async fn spare(manager: &Manager, arguments: &[&str]) -> Program {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_local-server"));
    command
        .args(arguments)
        .args(["--listen", "127.0.0.1:0", "--name", "spare"])
        .env("RUST_LOG", "info");
    let mut spare = Program::start("local-server", command).unwrap();
    spare.ready().await.unwrap();
    waits(manager, "heard of the spare").await;
    spare
}

async fn waits(manager: &Manager, what: &str) {
    let waits = |seen: &Value| state(seen, "spare") == Some("standby".into());
    manager.until(what, waits).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_relay_is_put_to_use_and_goes_back_to_waiting() {
    let (_primary, manager) = system(1).await;
    let (ip, port) = manager
        .url
        .trim_start_matches("http://")
        .split_once(':')
        .unwrap();
    let mut spare = spare(&manager, &["127.0.0.1", ip, port]).await;
    let mut first = Viewer::join(&manager.url, "paris", 8);
    assert_eq!(first.plays().await, "primary");
    let mut second = Viewer::join(&manager.url, "paris", 8);
    assert_eq!(second.plays().await, "spare");
    for viewer in [first, second] {
        assert_eq!(viewer.summary().await["stalls"], 0);
    }
    waits(&manager, "waiting again").await;
    assert!(spare.stop().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_told_to_stop_sends_its_viewers_on_first() {
    let (_primary, manager) = system(1).await;
    let arguments = ["--manager", &manager.url, "--drain-seconds", "60"];
    let mut spare = spare(&manager, &arguments).await;
    let mut first = Viewer::join(&manager.url, "paris", 30);
    assert_eq!(first.plays().await, "primary");
    let mut second = Viewer::join(&manager.url, "paris", 20);
    assert_eq!(second.plays().await, "spare");
    // As a cluster does that wants its machine back.
    signal(spare.pid().unwrap(), "TERM");
    let moved = second.program.says(Duration::from_secs(30), |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["event"] == "segment" && event["node"] == "primary").then_some(())
    });
    moved.await.unwrap();
    for viewer in [second, first] {
        let summary = viewer.summary().await;
        assert_eq!(
            (&summary["stalls"], &summary["joins"]),
            (&0.into(), &1.into()),
            "{summary}"
        );
    }
    assert!(spare.stop().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_player_on_a_draining_relay_plays_on_from_the_primary() {
    let name = "a_real_player_on_a_draining_relay_plays_on_from_the_primary";
    if !is_installed("ffmpeg") {
        return skip(name, "ffmpeg is not installed");
    }
    let (primary, manager) = system(2).await;
    let mut leaving = Vec::new();
    for _ in 0..2 {
        let mut viewer = Viewer::join(&manager.url, "paris", 10);
        assert_eq!(viewer.plays().await, "primary");
        leaving.push(viewer);
    }
    let url = format!("{}/watch/live.m3u8?region=paris", manager.url);
    let mut player = Ffmpeg::play(tokio::process::Command::new("ffmpeg"), &url).unwrap();
    manager
        .until("with a viewer on a relay", |seen| {
            on_relays(seen, "paris") == 1
        })
        .await;
    let relay = relays(&manager)[0];
    let watching = tokio::spawn(async move {
        let playback = player.watch(Duration::from_secs(40)).await.unwrap();
        player.stop().await.unwrap();
        playback
    });
    for viewer in leaving {
        viewer.summary().await;
    }
    manager
        .until("with its relay draining", |seen| {
            state(seen, "relay-paris-1") == Some("draining".into())
        })
        .await;
    manager
        .until("with the viewer on the primary", |seen| {
            on_relays(seen, "paris") == 0
        })
        .await;
    let moved = primary.viewers().await;
    assert_eq!(
        moved
            .iter()
            .filter(|viewer| viewer["region"] == "paris")
            .count(),
        1,
        "{moved:#?}"
    );

    let playback = watching.await.unwrap();
    println!(
        "{name}: played {:.1?}, stalls {:?}",
        playback.media, playback.stalls
    );
    assert_eq!(playback.stalls, []);
    assert!(
        playback.media >= Duration::from_secs(40),
        "{:?}",
        playback.media
    );
    manager
        .until("without the relay", |seen| {
            state(seen, "relay-paris-1").is_none()
        })
        .await;
    assert!(!is_running(relay), "the relay's process is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_segmenter_costs_a_discontinuity() {
    let (primary, manager) = system(10).await;
    let mut viewer = Viewer::join(&manager.url, "paris", 25);
    viewer.plays().await;
    let segmenter = children(primary.program.pid().unwrap())[0].0;
    signal(segmenter, "KILL");
    let killed = Instant::now();
    let discontinuity = viewer.program.says(Duration::from_secs(30), |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["discontinuity"] == true).then_some(event)
    });
    let event = discontinuity.await.unwrap();
    println!(
        "a new segment {:.1?} after kill -9 of the segmenter",
        killed.elapsed()
    );
    let summary = viewer.summary().await;
    println!("its viewer: {summary}");
    assert_eq!(
        (&summary["joins"], &summary["discontinuities"]),
        (&1.into(), &1.into()),
        "{summary} {event}"
    );
    assert!(summary["stalled"].as_f64().unwrap() < 3.0, "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_relay_is_replaced_and_nobody_elsewhere_notices() {
    let (_primary, manager) = system(1).await;
    let mut there = Viewer::join(&manager.url, "paris", 25);
    assert_eq!(there.plays().await, "primary");
    let mut relayed = Viewer::join(&manager.url, "paris", 25);
    assert_eq!(relayed.plays().await, "relay-paris-1");
    signal(relays(&manager)[0], "KILL");
    let killed = Instant::now();
    let mut late = Viewer::join(&manager.url, "paris", 10);
    let node = late.plays().await;
    println!(
        "a join plays from {node} {:.2?} after kill -9 of the relay",
        killed.elapsed()
    );
    let whole = manager
        .until("with another relay", |seen| active_relays(seen) == 1)
        .await;
    println!("there is another relay {whole:.2?} later");
    let relayed = relayed.summary().await;
    println!("its viewer: {relayed}");
    assert!(
        relayed["joins"].as_u64().unwrap() >= 2,
        "it joined again: {relayed}"
    );
    assert!(relayed["stalled"].as_f64().unwrap() < 5.0, "{relayed}");
    let there = there.summary().await;
    assert_eq!(
        (&there["stalls"], &there["joins"]),
        (&0.into(), &1.into()),
        "the primary's viewer: {there}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_manager_costs_joins_until_it_is_back_and_its_relays_are_adopted() {
    let (primary, mut manager) = system(1).await;
    let mut there = Viewer::join(&manager.url, "paris", 25);
    assert_eq!(there.plays().await, "primary");
    let mut relayed = Viewer::join(&manager.url, "paris", 25);
    assert_eq!(relayed.plays().await, "relay-paris-1");
    let relay = relays(&manager)[0];

    manager.program.kill().await.unwrap();
    let (killed, listen) = (
        Instant::now(),
        manager.url.trim_start_matches("http://").to_owned(),
    );
    let manager = Manager::start(&listen, &primary.url, 1).await;
    let mut late = Viewer::join(&manager.url, "rome", 5);
    late.plays().await;
    println!(
        "a join plays {:.2?} after kill -9 of the manager",
        killed.elapsed()
    );
    let adopted = manager
        .until("with the relay it did not start", |seen| {
            active_relays(seen) == 1
        })
        .await;
    println!("its relay was adopted {adopted:.2?} later");
    assert!(is_running(relay));
    for viewer in [there, relayed] {
        let summary = viewer.summary().await;
        assert_eq!(
            (&summary["stalls"], &summary["joins"]),
            (&0.into(), &1.into()),
            "{summary}"
        );
    }
    manager
        .until("without the relay it adopted", |seen| {
            active_relays(seen) == 0
        })
        .await;
    let gone = tokio::time::timeout(Duration::from_secs(20), async {
        while is_running(relay) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    gone.await
        .expect("an adopted relay ends when it is told to");
}

/// The processes that the manager launched.
fn relays(manager: &Manager) -> Vec<u32> {
    children(manager.program.pid().unwrap())
        .into_iter()
        .map(|(pid, _)| pid)
        .collect()
}

fn nodes(overview: &Value) -> impl Iterator<Item = &Value> {
    overview["nodes"].as_array().into_iter().flatten()
}

fn state(overview: &Value, node: &str) -> Option<String> {
    nodes(overview).find(|seen| seen["node"] == node)?["state"]
        .as_str()
        .map(str::to_owned)
}

fn on_relays(overview: &Value, region: &str) -> u64 {
    let regions = overview["regions"].as_array().into_iter().flatten();
    let mut region = regions.filter(|seen| seen["region"] == region);
    region
        .next()
        .and_then(|seen| seen["on_relays"].as_u64())
        .unwrap_or(0)
}

fn active_relays(overview: &Value) -> usize {
    nodes(overview)
        .filter(|node| node["kind"] == "relay" && node["state"] == "active")
        .count()
}

fn reasons(overview: &Value) -> Vec<String> {
    let text = |decision: &Value| {
        format!(
            "{} {}",
            decision["action"].as_str().unwrap_or_default(),
            decision["reason"]
        )
    };
    overview["decisions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(text)
        .collect()
}
