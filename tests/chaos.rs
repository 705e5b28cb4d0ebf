//! Parts that die, freeze, fail, do not hear each other or have a wrong clock, and come back, under viewers: nobody is stuck for
//! good, and in the end there is no relay that nobody wants, nor two where one is wanted.
//!
//! What is left out by default takes long:
//!
//!     CHAOS_ROUNDS=100 cargo test --test chaos -- --ignored --nocapture

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "what viewers saw is what it is for")]

#[path = "chaos/clocks.rs"]
mod clocks;
mod common;
#[path = "chaos/crowd.rs"]
mod crowd;
#[path = "chaos/net.rs"]
mod net;
#[path = "chaos/setting.rs"]
mod setting;
#[path = "chaos/site.rs"]
mod site;

use std::time::Duration;

use clocks::Clocks;
use common::skip;
use crowd::Crowd;
use net::Net;
use setting::Setting;
use site::{Part, Site};

#[tokio::test(flavor = "multi_thread")]
async fn each_part_is_killed_in_turn_and_nobody_is_stuck() {
    let mut site = Site::start(Setting::default()).await;
    let mut crowd = site.crowd().await;
    for part in Part::ALL {
        site.kill(part).await;
        let worst = crowd.plays_on(&format!("kill -9 of {part:?}")).await;
        told(&format!("kill -9 of {part:?}"), worst, &mut crowd);
        site.whole().await;
    }
    site.over(crowd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launcher_that_fails_or_never_gets_ready_harms_nobody() {
    for (what, script) in [
        ("ends at once", "exit 3"),
        ("never gets ready", "exec sleep 600"),
    ] {
        let mut site = Site::start(Setting {
            stub: Some(script),
            ..Setting::default()
        })
        .await;
        let mut crowd = site.crowd().await;
        crowd.plays_on(what).await;
        println!("a relay that {what}: everybody plays from the primary");
        site.over(crowd).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn parts_are_killed_in_pairs() {
    let mut site = Site::start(Setting::default()).await;
    let mut crowd = site.crowd().await;
    for (place, one) in Part::ALL.into_iter().enumerate() {
        for other in Part::ALL.into_iter().skip(place + 1) {
            site.kill_two(one, other).await;
            let what = format!("kill -9 of {one:?} and {other:?}");
            let worst = crowd.plays_on(&what).await;
            told(&what, worst, &mut crowd);
            site.whole().await;
        }
    }
    site.over(crowd).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn parts_freeze_and_thaw() {
    let mut site = Site::start(Setting::default()).await;
    let mut crowd = site.crowd().await;
    for part in Part::ALL {
        for seconds in [1, 12] {
            site.freeze(part, Duration::from_secs(seconds)).await;
            let what = format!("{part:?} frozen for {seconds} s");
            let worst = crowd.plays_on(&what).await;
            told(&what, worst, &mut crowd);
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
    let mut site = Site::start(Setting::default()).await;
    let mut crowd = site.crowd().await;
    for part in Part::ALL {
        for round in 1..=rounds {
            site.kill(part).await;
            // Now and then before all is well again.
            tokio::time::sleep(Duration::from_millis(500)).await;
            // Without a primary there is nothing to watch, and a viewer gives up after half a minute of that.
            if round % AT_A_TIME == 0 {
                crowd
                    .plays_on(&format!("{part:?} killed {round} times"))
                    .await;
            }
        }
        let what = format!("{part:?} killed {rounds} times in a row");
        let worst = crowd.plays_on(&what).await;
        told(&what, worst, &mut crowd);
        site.whole().await;
    }
    site.over(crowd).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes, and root"]
async fn machines_that_do_not_hear_each_other_go_on() {
    let net = match Net::new().await {
        Ok(net) => net,
        Err(why) => {
            let why = format!("{why:#}");
            return skip("machines_that_do_not_hear_each_other_go_on", &why);
        }
    };
    let mut site = Site::start(Setting {
        net: Some(net),
        ..Setting::default()
    })
    .await;
    let mut crowd = site.crowd().await;
    for (one, other) in [
        (Part::Manager, Part::Relay),
        (Part::Relay, Part::Primary),
        (Part::Primary, Part::Manager),
    ] {
        for seconds in [3, 40] {
            site.parted(one, other, Duration::from_secs(seconds)).await;
            let what = format!("{one:?} and {other:?} kept apart for {seconds} s");
            let worst = crowd.plays_on(&what).await;
            site.whole().await;
            told(&what, worst, &mut crowd);
        }
    }
    site.over(crowd).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn a_clock_that_is_set_harms_nobody() {
    let clocks = match Clocks::new(&std::process::id().to_string()) {
        Ok(clocks) => clocks,
        Err(why) => return skip("a_clock_that_is_set_harms_nobody", &why.to_string()),
    };
    let mut site = Site::start(Setting {
        clocks: Some(clocks),
        ..Setting::default()
    })
    .await;
    let mut crowd = site.crowd().await;
    for part in Clocks::OF {
        for hours in [1, 0, -1] {
            site.set_clock(part, hours);
            let what = format!("{part:?} is {hours:+} h off");
            let worst = crowd.plays(6, &what).await;
            site.whole().await;
            told(&what, worst, &mut crowd);
        }
        // What was begun by an earlier clock is to be gone on with by who starts anew.
        site.kill(part).await;
        let what = format!("kill -9 of {part:?} while it is -1 h off");
        let worst = crowd.plays_on(&what).await;
        site.whole().await;
        told(&what, worst, &mut crowd);
        site.set_clock(part, 0);
    }
    site.over(crowd).await;
}

/// Kills in a row, without a pause in which anybody could see anything.
const AT_A_TIME: u32 = 10;

fn told(what: &str, worst: Duration, crowd: &mut Crowd) {
    let noticed = crowd.noticed();
    println!("{what}: the slowest had its next segments after {worst:.1?}; {noticed}");
}
