//! Parts that die, freeze, fail and come back under viewers: nobody is stuck for good, and in the end there is no relay
//! that nobody wants, nor two where one is wanted.
//!
//! What is left out by default takes long:
//!
//!     CHAOS_ROUNDS=100 cargo test --test chaos -- --ignored --nocapture

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "what viewers saw is what it is for")]

mod common;
#[path = "chaos/site.rs"]
mod site;

use std::time::Duration;

use site::{Part, Site};

#[tokio::test(flavor = "multi_thread")]
async fn each_part_is_killed_in_turn_and_nobody_is_stuck() {
    let mut site = Site::start(None).await;
    let mut crowd = site.crowd().await;
    for part in Part::ALL {
        site.kill(part).await;
        let worst = crowd.plays_on(&format!("kill -9 of {part:?}")).await;
        println!("kill -9 of {part:?}: the slowest viewer had its next segments after {worst:.1?}");
        site.whole().await;
    }
    site.over(crowd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launcher_that_fails_or_never_gets_ready_harms_nobody() {
    for (what, script) in [
        ("ends at once", "#!/bin/sh\nexit 3\n"),
        ("never gets ready", "#!/bin/sh\nexec sleep 600\n"),
    ] {
        let mut site = Site::start(Some(script)).await;
        let mut crowd = site.crowd().await;
        crowd.plays_on(what).await;
        println!("a relay that {what}: everybody plays from the primary");
        site.over(crowd).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn parts_are_killed_in_pairs() {
    let mut site = Site::start(None).await;
    let mut crowd = site.crowd().await;
    for (place, one) in Part::ALL.into_iter().enumerate() {
        for other in Part::ALL.into_iter().skip(place + 1) {
            site.kill_two(one, other).await;
            let what = format!("kill -9 of {one:?} and {other:?}");
            let worst = crowd.plays_on(&what).await;
            println!("{what}: the slowest viewer had its next segments after {worst:.1?}");
            site.whole().await;
        }
    }
    site.over(crowd).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn parts_freeze_and_thaw() {
    let mut site = Site::start(None).await;
    let mut crowd = site.crowd().await;
    for part in Part::ALL {
        for seconds in [1, 12] {
            site.freeze(part, Duration::from_secs(seconds)).await;
            let what = format!("{part:?} frozen for {seconds} s");
            let worst = crowd.plays_on(&what).await;
            println!("{what}: the slowest viewer had its next segments {worst:.1?} later");
            site.whole().await;
        }
    }
    site.over(crowd).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes as long as it is told"]
async fn each_part_is_started_again_and_again() {
    let rounds = std::env::var("CHAOS_ROUNDS").ok();
    let rounds: u32 = rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(10);
    let mut site = Site::start(None).await;
    let mut crowd = site.crowd().await;
    for part in Part::ALL {
        for _ in 0..rounds {
            site.kill(part).await;
            // Now and then before all is well again.
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let what = format!("{part:?} killed {rounds} times in a row");
        let worst = crowd.plays_on(&what).await;
        println!("{what}: the slowest viewer had its next segments {worst:.1?} later");
        site.whole().await;
    }
    site.over(crowd).await;
}
