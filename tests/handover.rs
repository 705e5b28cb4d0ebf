//! The whole system on this machine, handing over: viewers from a relay to the primary while both serve, and the work of
//! one traffic manager to another.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    clippy::print_stdout,
    reason = "what was seen is for the reader of the log"
)]

mod common;

use std::time::Instant;

use common::{Manager, Primary, SMALL, Viewer, free, system};
use serde_json::Value;
use tools::program::{children, is_running};

fn count(overview: &Value, which: &str) -> u64 {
    let regions = overview["regions"].as_array().into_iter().flatten();
    let mut paris = regions.filter(|region| region["region"] == "paris");
    paris
        .next()
        .and_then(|region| region[which].as_u64())
        .unwrap_or(0)
}

fn said(overview: &Value, action: &str) -> usize {
    let decisions = overview["decisions"].as_array().into_iter().flatten();
    decisions
        .filter(|decision| decision["action"] == action)
        .count()
}

/// Nobody has noticed anything.
async fn undisturbed(viewers: Vec<Viewer>) {
    for viewer in viewers {
        let summary = viewer.summary().await;
        assert_eq!(
            (&summary["stalls"], &summary["faults"], &summary["joins"]),
            (&0.into(), &0.into(), &1.into()),
            "{summary}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn places_that_stay_free_on_the_primary_are_given_to_viewers_of_the_relay() {
    let (_primary, manager) = system(6).await;
    let (mut leaving, mut staying) = (Vec::new(), Vec::new());
    for n in 0..6 {
        let (group, seconds) = match n {
            0..2 => (&mut leaving, 12),
            _ => (&mut staying, 40),
        };
        let mut viewer = Viewer::join(&manager.url, "paris", seconds);
        assert_eq!(viewer.plays().await, "primary");
        group.push(viewer);
    }
    for _ in 0..2 {
        let mut viewer = Viewer::join(&manager.url, "paris", 30);
        assert_eq!(viewer.plays().await, "relay-paris-1");
        staying.push(viewer);
    }
    manager
        .until("with two viewers on the relay", |seen| {
            count(seen, "on_relays") == 2
        })
        .await;
    undisturbed(leaving).await;
    let moved = manager
        .until("with one of them on the primary", |seen| {
            (count(seen, "on_primary"), count(seen, "on_relays")) == (5, 1)
        })
        .await;
    println!("one viewer was sent back {moved:.1?} after two places had become free");
    let overview = manager.overview().await;
    assert_eq!(said(&overview, "drain"), 0, "{overview:#}");
    undisturbed(staying).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_manager_takes_over_when_the_first_is_killed() {
    let (one, two) = (free(), free());
    let reports = format!("http://{one}/,http://{two}/");
    let arguments = [&SMALL[..], &["--manager", &reports]].concat();
    let primary = Primary::start("127.0.0.1", "test", &arguments).await;
    let lease = std::env::temp_dir().join(format!("handover-{}.lease", std::process::id()));
    let shared = format!("file:{}", lease.display());
    let start = async |listen: &str, peer: &str| {
        let peer = format!("http://{peer}");
        let arguments = ["--lease", &shared, "--peer", &peer];
        Manager::with(listen, &primary.url, 1, &arguments).await
    };
    let mut first = start(&one, &two).await;
    first
        .until("ready to decide", |seen| seen["ready"] == true)
        .await;
    let second = start(&two, &one).await;

    let mut there = Viewer::join(&first.url, "paris", 30);
    assert_eq!(there.plays().await, "primary");
    // Whom the second sends to the first.
    let mut relayed = Viewer::join(&second.url, "paris", 30);
    assert_eq!(relayed.plays().await, "relay-paris-1.1");
    let relay = children(first.program.pid().unwrap())[0].0;

    first.program.kill().await.unwrap();
    let killed = Instant::now();
    let decides = second
        .until("in office", |seen| seen["active"] == true)
        .await;
    println!("the second manager decides {decides:.2?} after kill -9 of the first");
    let mut late = Viewer::join(&second.url, "paris", 10);
    assert_eq!(late.plays().await, "relay-paris-1.1");
    println!(
        "a join plays from the relay {:.2?} after the kill",
        killed.elapsed()
    );
    second
        .until("without anything to do", |seen| seen["ready"] == true)
        .await;
    let overview = second.overview().await;
    assert_eq!(
        (said(&overview, "adopt"), said(&overview, "launch")),
        (1, 0),
        "{overview:#}"
    );
    assert_eq!(overview["epoch"], 2);
    undisturbed(vec![there, relayed, late]).await;

    // The relay that the first one started heeds the second.
    second
        .until("without the relay", |seen| {
            seen["nodes"].as_array().is_some_and(|nodes| {
                nodes
                    .iter()
                    .all(|node| node["kind"] == "primary" || node["state"] == "lost")
            })
        })
        .await;
    let gone = async {
        while is_running(relay) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let patience = std::time::Duration::from_secs(20);
    tokio::time::timeout(patience, gone)
        .await
        .expect("a relay ends when it is told to");
    let _ = std::fs::remove_file(lease);
}
