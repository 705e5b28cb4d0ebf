//! Whole programs on a link that is narrowed under a player that cannot adapt. Needs root, for a
//! network namespace, and an encoder's worth of CPU.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use common::{Primary, skip};
use serde_json::Value;
use tools::{link::Link, player::Ffmpeg, program::is_installed};

/// One look at the one viewer there is.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    /// Segments decided so far, and the rung of the last.
    segments: u64,
    rung: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_that_cannot_adapt_keeps_playing_while_the_link_falls_to_a_sixth() {
    let name = "a_player_that_cannot_adapt_keeps_playing_while_the_link_falls_to_a_sixth";
    if let Some(obstacle) = Link::obstacle().await {
        return skip(name, &obstacle);
    }
    if !is_installed("ffmpeg") {
        return skip(name, "ffmpeg is not installed");
    }
    let link = Link::new(6000).await.unwrap();
    let primary = Primary::start(&link.host(), "test", &[]).await;
    let rungs = common::json(&format!("{}/v1/streams", primary.private)).await[0]["rungs"].clone();
    let kbps = |rung: u64| rungs[rung as usize]["measured_kbps"].as_u64().unwrap();
    let top = rungs.as_array().unwrap().len() as u64 - 1;
    assert!(
        kbps(top) > 1000,
        "the test needs a rung above the narrow link: {rungs}"
    );

    let url = format!("{}/live/live/index.m3u8", primary.url);
    let mut player = Ffmpeg::play(link.command("ffmpeg"), &url).unwrap();
    let watching = tokio::spawn(async move {
        let playback = player.watch(Duration::from_secs(75)).await;
        player.stop().await.unwrap();
        playback
    });

    // A player that has just begun holds a segment or two, however wide the link; this is about one
    // that plays as far behind live as it does for good.
    let settled = |look: Look| look.rung == top && look.segments >= SETTLED;
    let wide = until(&primary, Duration::from_secs(40), settled)
        .await
        .unwrap();
    link.set(1000).await.unwrap();
    let dropped = Instant::now();
    let narrow = until(&primary, Duration::from_secs(20), |look| {
        kbps(look.rung) < 1000
    })
    .await
    .unwrap();
    let late = narrow.segments - wide.segments;
    until(
        &primary,
        Duration::from_secs(20).saturating_sub(dropped.elapsed()),
        |_| false,
    )
    .await;
    link.set(6000).await.unwrap();
    let widened = Instant::now();
    let back = until(&primary, Duration::from_secs(30), |look| look.rung == top).await;
    let back = back.expect("back on the top rung").at - widened;

    let playback = watching.await.unwrap().unwrap();
    println!(
        "rungs {:?} kbit/s; low rung at segment {late} after the drop; top rung {back:.1?} after the rise; \
         began after {:.1?}, played {:.1?}, stalls {:.1?}; {:?}",
        (0..=top).map(kbps).collect::<Vec<_>>(),
        playback.began.unwrap(),
        playback.media,
        playback.stalls,
        playback.complaints,
    );
    // The first segment chosen after the drop may have been chosen before it was felt.
    assert!(
        late <= 2,
        "a rung that fits came {late} segments after the drop"
    );
    assert!(
        back <= Duration::from_secs(20),
        "back on the top rung only after {back:?}"
    );
    assert!(
        playback.stalls.len() <= 1 && playback.stalled() <= Duration::from_secs(1),
        "{:?}",
        playback.stalls
    );
    assert!(
        playback.media > Duration::from_secs(65),
        "played only {:?}",
        playback.media
    );
    // It reads the init section anew with each reload, and warns that it skips it; that is all it may say.
    let broken = |line: &&String| !line.contains("duplicated MOOV") && !line.contains("repeated");
    assert_eq!(playback.complaints.iter().find(broken), None);
}

/// What a viewer is believed to have ahead decides what it gets, so one that was wrongly believed to have nothing stayed
/// in the cheapest rung for good, and left its share of the link to the others.
#[tokio::test(flavor = "multi_thread")]
async fn viewers_behind_one_link_get_about_as_much_of_it() {
    let name = "viewers_behind_one_link_get_about_as_much_of_it";
    if let Some(obstacle) = Link::obstacle().await {
        return skip(name, &obstacle);
    }
    if !is_installed("ffmpeg") {
        return skip(name, "ffmpeg is not installed");
    }
    // Less than half of what they would take.
    let link = Link::new(5000).await.unwrap();
    let primary = Primary::start(&link.host(), "test", &[]).await;
    let url = format!("{}/live/live/index.m3u8", primary.url);
    let players = (0..VIEWERS).map(|_| {
        let mut player = Ffmpeg::play(link.command("ffmpeg"), &url).unwrap();
        tokio::spawn(async move {
            let playback = player.watch(Duration::from_secs(60)).await;
            player.stop().await.unwrap();
            playback.unwrap()
        })
    });
    let players: Vec<_> = players.collect();
    let before = all_have(&primary, SETTLED).await;
    let after = all_have(&primary, SETTLED + 14).await;
    let got: Vec<_> = after
        .iter()
        .map(|(viewer, octets)| (octets - before[viewer]) as f64)
        .collect();
    let sum: f64 = got.iter().sum();
    let jain =
        sum * sum / (got.len() as f64 * got.iter().map(|octets| octets * octets).sum::<f64>());
    let mut stalled = Duration::ZERO;
    for player in players {
        stalled += player.await.unwrap().stalled();
    }
    println!(
        "Jain's index of octets {jain:.3}; stalls of all together {stalled:.1?}; octets {got:?}"
    );
    assert!(jain >= 0.85, "{got:?}");
    assert!(stalled <= Duration::from_secs(3), "{stalled:?}");
}

const VIEWERS: usize = 6;

/// What each viewer has taken, once all of them have had so many segments.
async fn all_have(primary: &Primary, segments: u64) -> BTreeMap<String, u64> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let viewers = primary.viewers().await;
        let number = |viewer: &Value, key: &str| viewer[key].as_u64().unwrap();
        let have = |viewer: &Value| number(viewer, "segments") >= segments;
        if viewers.len() == VIEWERS && viewers.iter().all(have) {
            let each = viewers.iter().map(|viewer| {
                let name = viewer["viewer"].as_str().unwrap().to_owned();
                (name, number(viewer, "octets"))
            });
            return each.collect();
        }
        assert!(
            Instant::now() < deadline,
            "{segments} segments each: {viewers:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Segments after which a player has found its distance to live.
const SETTLED: u64 = 8;

/// Looks at the one viewer until it is as `wanted`.
async fn until(
    primary: &Primary,
    patience: Duration,
    wanted: impl Fn(Look) -> bool,
) -> Option<Look> {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if let Some(viewer) = primary.viewers().await.first() {
            let number = |key: &str| viewer[key].as_u64();
            let look = Look {
                at: Instant::now(),
                segments: number("segments")?,
                rung: number("rung")?,
            };
            if wanted(look) {
                return Some(look);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    None
}
