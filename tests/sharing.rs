//! Many viewers behind one egress budget: nobody stalls, rungs shrink, and the sum stays under it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use node::{TestNode, patient, short};
use playlists::Bitrate;
use spillway::{
    net::Fetcher,
    origin::{Terms, weights::Weights},
    player::{Config, Player, Summary},
    token::{
        Token,
        keys::{self, Keys},
    },
};
use tokio::task::JoinHandle;

const VIEWERS: usize = 8;

/// Half of what all of them would take at 2000 kbit/s each.
const BUDGET: Bitrate = Bitrate::from_kbps(8000);

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_under_a_budget_stalls_nobody_and_keeps_to_it() {
    let node = TestNode::start("node", Some(BUDGET), patient()).await;
    let mut feed = node.feed(short());
    feed.segments(4);
    let live = feed.live();
    let crowd: Vec<_> = (0..VIEWERS)
        .map(|_| watch(&node, Duration::from_secs(24)))
        .collect();

    // Buffers fill at first, which is a burst above the media's own rate.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut worst = Bitrate::ZERO;
    for _ in 0..3 {
        let (before, start) = (node.origin.viewers.egress.load(Relaxed), Instant::now());
        tokio::time::sleep(Duration::from_secs(5)).await;
        let egress = Bitrate::of(
            node.origin.viewers.egress.load(Relaxed) - before,
            start.elapsed(),
        );
        worst = worst.max(egress);
    }
    let summaries = ended(crowd).await;
    live.abort();

    let rungs: Vec<_> = summaries
        .iter()
        .map(|summary| (summary.rate(), summary.rungs.clone()))
        .collect();
    println!("egress at most {worst} of {BUDGET} over 5 s; viewers had {rungs:#?}");
    for summary in &summaries {
        assert_eq!((summary.stalls, summary.faults), (0, 0), "{summary:?}");
        assert!(summary.segments > 20, "{summary:?}");
    }
    assert!(worst <= BUDGET, "{worst} is above the budget of {BUDGET}");
    // Shared, not starved: most of it is used, and everybody has more than the cheapest rung.
    assert!(
        worst >= BUDGET.scale(0.6),
        "{worst} leaves too much of {BUDGET} unused"
    );
    assert!(
        node.origin.share.load().price() > 0.0,
        "somebody is held down, and that has a price"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leavers_free_goes_to_those_who_stay() {
    let node = TestNode::start("node", Some(Bitrate::from_kbps(2500)), patient()).await;
    let mut feed = node.feed(short());
    feed.segments(4);
    let live = feed.live();
    let stays = watch(&node, Duration::from_secs(22));
    let leaves: Vec<_> = (0..3)
        .map(|_| watch(&node, Duration::from_secs(8)))
        .collect();
    ended(leaves).await;
    let stayed = ended(vec![stays]).await.remove(0);
    live.abort();
    println!("{:?}", stayed.rungs);
    let tops = stayed
        .rungs
        .iter()
        .find(|(rung, _)| rung == "top")
        .map_or(0, |(_, count)| *count);
    assert!(
        tops >= 6,
        "the last viewer has the budget for itself: {stayed:?}"
    );
    assert!(
        tops < stayed.segments - 6,
        "it had not while it shared it: {stayed:?}"
    );
    assert_eq!(stayed.stalls, 0, "{stayed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_of_a_class_that_counts_more_is_held_down_last() {
    let file = std::env::temp_dir().join(format!("spillway-sharing-{}", std::process::id()));
    std::fs::write(&file, keys::new_key("k1").unwrap()).unwrap();
    let keys = Arc::new(Keys::load(&file, Duration::from_secs(3600)).unwrap());
    std::fs::remove_file(&file).unwrap();
    let terms = Terms {
        budget: Some(BUDGET),
        keys: Some(keys.clone()),
        weights: Weights {
            classes: [("premium".to_owned(), 4.0)].into(),
            ..Weights::default()
        },
        ..Terms::default()
    };
    let node = TestNode::on("node", terms, patient()).await;
    let mut feed = node.feed(short());
    feed.segments(4);
    let live = feed.live();
    let of = |class: Option<&str>| {
        let token = keys.ring().sign_all(&Token {
            scope: "demo",
            class,
            expires: keys::now() + 60,
        });
        let query = format!("?token={token}");
        let watch = |_| watch_with(&node, &query, Duration::from_secs(14));
        (0..VIEWERS / 2).map(watch).collect::<Vec<_>>()
    };
    let (premium, others) = (of(Some("premium")), of(Some("unheard-of")));
    let seen = async {
        loop {
            let page = node.origin.viewers.page(None, None, 100, Instant::now());
            if page.viewers.len() == VIEWERS {
                return page.viewers;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let seen = tokio::time::timeout(Duration::from_secs(10), seen).await;
    let of_place = |place| {
        let seen = seen.iter().flatten();
        seen.filter(|viewer| viewer.place == place).count()
    };
    assert_eq!((of_place(0), of_place(1)), (VIEWERS / 2, VIEWERS / 2));
    let (premium, others) = (ended(premium).await, ended(others).await);
    live.abort();
    let rates = |all: &[Summary]| all.iter().map(Summary::rate).collect::<Vec<_>>();
    let (more, less) = (rates(&premium), rates(&others));
    println!("of a class that counts fourfold: {more:?}; of none: {less:?}");
    // A step to the middle rung is worth more to them than any is to the others, and all of them can have it.
    assert!(more.iter().min() > less.iter().max());
    for summary in premium.iter().chain(&others) {
        assert_eq!((summary.stalls, summary.faults), (0, 0), "{summary:?}");
    }
}

/// A player of the node's stream for `span`.
fn watch(node: &TestNode, span: Duration) -> JoinHandle<Summary> {
    watch_with(node, "", span)
}

/// The same who joins with this query.
fn watch_with(node: &TestNode, query: &str, span: Duration) -> JoinHandle<Summary> {
    let url = format!("{}/live/demo/index.m3u8{query}", node.url)
        .parse()
        .unwrap();
    tokio::spawn(async move {
        let mut player = Player::new(Fetcher::new().unwrap(), url, Config::default());
        let end = tokio::time::Instant::now() + span;
        while let Ok(event) = tokio::time::timeout_at(end, player.step()).await {
            event.unwrap();
        }
        player.summary()
    })
}

async fn ended(viewers: Vec<JoinHandle<Summary>>) -> Vec<Summary> {
    let mut summaries = Vec::new();
    for viewer in viewers {
        summaries.push(viewer.await.unwrap());
    }
    summaries
}
