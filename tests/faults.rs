//! What goes wrong must not make a player stop: never an error for a segment that a playlist lists, nor for a
//! playlist because its source is late, nor for a viewer that nobody knows. What real players make of faults
//! is measured by `tools/players --faults`; this holds the answers on which that rests.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;

use std::time::{Duration, Instant};

use node::{FIRST, Feed, TestNode, patient, short};
use playlists::parse;
use reqwest::{Method, Response, StatusCode};

const ALICE: &str = "00000000000a11ce.paris";

/// What `node::Feed` lists.
const LISTED: usize = 6;

#[tokio::test]
async fn a_segment_that_was_listed_is_there_for_as_long_as_the_playlist_was_and_the_segment_is() {
    let (node, mut feed) = on_air().await;
    let seen = listed(&node).await;
    assert_eq!(seen.len(), LISTED);
    // Its duration and the playlist's, as RFC 8216bis section 6.2.2 wants it.
    for _ in 0..=LISTED {
        for name in &seen {
            let answer = ask(&node, Method::GET, &format!("v/{ALICE}/{name}")).await;
            assert_eq!(answer.status(), StatusCode::OK, "{name}");
        }
        feed.segments(1);
    }
}

#[tokio::test]
async fn a_source_that_stands_still_leaves_its_window_and_whoever_waits_gets_it() {
    let (node, feed) = on_air().await;
    let path = format!("v/{ALICE}/index.m3u8");
    let before = ok(&node, &path).await.text().await.unwrap();
    let asked = Instant::now();
    let next = FIRST + feed.producer.window().unwrap().segments().count() as u64;
    let waited = ok(&node, &format!("{path}?_HLS_msn={next}")).await;
    assert_eq!(waited.text().await.unwrap(), before);
    let (took, bound) = (asked.elapsed(), Duration::from_secs(10));
    assert!(took < bound, "held for {took:?}, which is no answer");
    assert_eq!(ok(&node, &path).await.text().await.unwrap(), before);
    for name in listed(&node).await {
        ok(&node, &format!("v/{ALICE}/{name}")).await;
    }
}

#[tokio::test]
async fn a_viewer_that_nobody_knows_is_as_good_as_any_and_so_is_one_that_was_forgotten() {
    let (node, _feed) = on_air().await;
    let name = listed(&node).await.pop().unwrap();
    for stranger in ["ffffffffffffffff.rome", "0000000000000001.default"] {
        ok(&node, &format!("v/{stranger}/index.m3u8")).await;
        let answer = ok(&node, &format!("v/{stranger}/{name}")).await;
        answer.bytes().await.unwrap();
    }
    assert_eq!(node.origin.viewers.count(), 2);
    // Its delivery is looked at until it is acknowledged; nobody goes before.
    let mut later = Instant::now() + Duration::from_secs(60);
    let forgotten = async {
        while node.origin.viewers.count() > 0 {
            node.origin.viewers.expire(later);
            later += Duration::from_millis(500);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), forgotten)
        .await
        .unwrap();
    ok(&node, &format!("v/ffffffffffffffff.rome/{name}")).await;
}

#[tokio::test]
async fn a_delivery_that_was_cut_off_is_repeated_octet_for_octet_whole_or_in_ranges() {
    let (node, mut feed) = on_air().await;
    let path = format!("v/{ALICE}/{}", listed(&node).await[0]);
    let mut cut = ok(&node, &path).await;
    let begun = cut.chunk().await.unwrap().unwrap();
    drop(cut);
    // What is learnt meanwhile must not change what the segment is.
    feed.segments(1);
    let whole = ok(&node, &path).await.bytes().await.unwrap();
    assert!(whole.starts_with(&begun));
    let url = format!("{}/live/demo/{path}", node.url);
    let range = format!("bytes={}-", begun.len());
    let rest = reqwest::Client::new()
        .get(url)
        .header("range", range)
        .send()
        .await
        .unwrap();
    let expected = if begun.len() < whole.len() {
        assert_eq!(rest.status(), StatusCode::PARTIAL_CONTENT);
        &whole[begun.len()..]
    } else {
        assert_eq!(rest.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        &whole[..0]
    };
    assert_eq!(rest.bytes().await.unwrap(), expected);
    let head = ask(&node, Method::HEAD, &path).await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(
        head.headers()["content-length"],
        whole.len().to_string().as_str()
    );
}

/// A node whose playlists are as long as they get.
async fn on_air() -> (TestNode, Feed) {
    let node = TestNode::start("node", None, patient()).await;
    let mut feed = node.feed(short());
    feed.segments(LISTED + 2);
    (node, feed)
}

async fn listed(node: &TestNode) -> Vec<String> {
    let text = ok(node, &format!("v/{ALICE}/index.m3u8"))
        .await
        .text()
        .await
        .unwrap();
    let list = parse::media(&text).unwrap();
    list.segments
        .into_iter()
        .filter_map(|segment| segment.uri)
        .collect()
}

async fn ask(node: &TestNode, method: Method, path: &str) -> Response {
    let url = format!("{}/live/demo/{path}", node.url);
    reqwest::Client::new()
        .request(method, url)
        .send()
        .await
        .unwrap()
}

async fn ok(node: &TestNode, path: &str) -> Response {
    let answer = ask(node, Method::GET, path).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    answer
}
