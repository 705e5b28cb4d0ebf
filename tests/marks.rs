//! What is told of spans (`EXT-X-DATERANGE`): in every playlist of a stream, in updates, and on the relay behind the node.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;

use std::{collections::BTreeSet, time::Duration};

use node::{FIRST, Feed, TestNode, patient, short};
use playlists::{DateRange, MediaTime, WallTime, daterange::Value};
use spillway::{
    net::Fetcher,
    origin::Terms,
    source::upstream::{self, Upstream},
};
use tokio_util::sync::CancellationToken;

const ALICE: &str = "00000000000a11ce.paris";

/// A break of 20 s that begins with the segment that is open, and a note at the same place.
fn ranges(feed: &Feed) -> [DateRange; 2] {
    let open = feed
        .producer
        .window()
        .unwrap()
        .segments()
        .next_back()
        .unwrap();
    let start = WallTime::from_millis(open.head.date_time.millis());
    let range = |id: &str| DateRange {
        id: id.into(),
        class: None,
        start,
        end: None,
        duration: None,
        planned: None,
        others: Vec::new(),
    };
    [
        DateRange {
            planned: Some(MediaTime::from_seconds(20.0)),
            others: vec![("SCTE35-OUT".into(), Value::Octets(vec![0xfc, 0x30]))],
            ..range("break")
        },
        DateRange {
            duration: Some(MediaTime::ZERO),
            ..range("note")
        },
    ]
}

async fn primary() -> (TestNode, Feed) {
    let node = TestNode::on("primary", Terms::default(), patient()).await;
    let mut feed = node.feed_listing(short(), 20);
    feed.segments(4);
    feed.part();
    for range in ranges(&feed) {
        feed.producer.mark(range).unwrap();
    }
    feed.part();
    (node, feed)
}

async fn text(node: &TestNode, path: &str) -> String {
    let answer = reqwest::get(format!("{}/live/demo/{path}", node.url))
        .await
        .unwrap();
    assert!(answer.status().is_success(), "{path}");
    answer.text().await.unwrap()
}

/// The ids of the spans that a playlist tells of.
fn told(text: &str) -> BTreeSet<&str> {
    let tags = text
        .lines()
        .filter_map(|line| line.strip_prefix("#EXT-X-DATERANGE:ID=\""));
    tags.filter_map(|tag| tag.split('"').next()).collect()
}

#[tokio::test]
async fn every_playlist_tells_of_a_break_until_it_is_over() {
    let (node, mut feed) = primary().await;
    let viewer = format!("v/{ALICE}/index.m3u8");
    for path in [viewer.as_str(), "top.m3u8", "low.m3u8"] {
        let text = text(&node, path).await;
        assert_eq!(
            told(&text),
            BTreeSet::from(["break", "note"]),
            "{path}: {text}"
        );
        assert!(text.contains("CAN-SKIP-DATERANGES=YES") && text.contains("SCTE35-OUT=0xFC30"));
    }
    // Its segment leaves the list after 20 more; 20 s are 25 segments.
    feed.segments(21);
    assert_eq!(told(&text(&node, &viewer).await), BTreeSet::from(["break"]));
    // It goes when nothing that is listed lies in it any more.
    feed.segments(24);
    assert!(told(&text(&node, &viewer).await).is_empty());
}

#[tokio::test]
async fn an_update_leaves_out_old_spans_only_for_who_says_so() {
    let (node, mut feed) = primary().await;
    feed.segments(12);
    let viewer = format!("v/{ALICE}/index.m3u8");
    let update = text(&node, &format!("{viewer}?_HLS_skip=YES")).await;
    assert!(update.contains("#EXT-X-SKIP:SKIPPED-SEGMENTS=") && !update.contains("REMOVED"));
    assert_eq!(told(&update), BTreeSet::from(["break", "note"]), "{update}");
    let update = text(&node, &format!("{viewer}?_HLS_skip=v2")).await;
    assert!(
        update.contains(",RECENTLY-REMOVED-DATERANGES=\"\"\n"),
        "{update}"
    );
    assert!(update.contains("#EXT-X-VERSION:10\n") && told(&update).is_empty());
    feed.segments(9);
    let update = text(&node, &format!("{viewer}?_HLS_skip=v2")).await;
    assert!(
        update.contains(",RECENTLY-REMOVED-DATERANGES=\"note\"\n"),
        "{update}"
    );
}

#[tokio::test]
async fn a_relay_tells_of_the_same() {
    let (primary, mut feed) = primary().await;
    // The segment of the break is not among those that the relay begins with.
    feed.segments(10);
    let relay = TestNode::on("relay", Terms::default(), patient()).await;
    let upstream = Upstream::node(primary.url.parse().unwrap(), Fetcher::new().unwrap(), 20);
    let stop = CancellationToken::new();
    tokio::spawn(upstream::run(
        upstream,
        relay.origin.store.clone(),
        stop.clone(),
    ));
    let mut stream = loop {
        match relay.origin.store.stream("demo") {
            Some(stream) => break stream,
            None => tokio::task::yield_now().await,
        }
    };
    let arrived = stream.wait(|window| window.reaches(FIRST + 14, None));
    tokio::time::timeout(Duration::from_secs(20), arrived)
        .await
        .unwrap()
        .unwrap();
    let list = text(&relay, "top.m3u8").await;
    assert!(told(&list).contains("break"), "{list}");
    assert!(list.contains("SCTE35-OUT=0xFC30"));
    // What comes now comes part by part.
    feed.part();
    let [mut range, _] = ranges(&feed);
    range.id = "later".into();
    feed.producer.mark(range).unwrap();
    feed.part();
    let arrived = stream.wait(|window| window.reaches(FIRST + 15, None));
    tokio::time::timeout(Duration::from_secs(20), arrived)
        .await
        .unwrap()
        .unwrap();
    let list = text(&relay, &format!("v/{ALICE}/index.m3u8")).await;
    assert!(told(&list).contains("later"), "{list}");
    stop.cancel();
}
