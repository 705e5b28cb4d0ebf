//! Who is counted, who is told of, who is let in: a node's viewers, seen from outside.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;

use std::time::Duration;

use node::{FIRST, TestNode, patient, short};
use playlists::{Bitrate, parse};
use reqwest::{Client, Response, StatusCode, redirect::Policy};
use serde_json::Value;
use spillway::{
    net,
    origin::{Terms, admission::Overflow, ops},
};
use tokio::time::{Instant, timeout};

/// What an operator sees.
async fn operator(node: &TestNode) -> String {
    let listener = net::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let private = ops::private(node.origin.clone());
    tokio::spawn(net::serve(listener, private, patient(), node.stop.clone()));
    url
}

async fn json(url: &str) -> Value {
    reqwest::get(url).await.unwrap().json().await.unwrap()
}

/// Joins, and plays `segments` segments, each over another connection.
async fn watch(url: &str, segments: u64) {
    let join: reqwest::Url = format!("{url}/live/demo/index.m3u8?region=paris")
        .parse()
        .unwrap();
    let text = reqwest::get(join.clone())
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let list = join
        .join(&parse::multivariant(&text).unwrap()[0].uri)
        .unwrap();
    for number in FIRST..FIRST + segments {
        // A client keeps its connections to itself.
        reqwest::get(list.clone())
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let segment = list.join(&format!("{number}.m4s")).unwrap();
        reqwest::get(segment).await.unwrap().bytes().await.unwrap();
    }
}

async fn join(node: &TestNode, query: &str) -> Response {
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    let url = format!("{}/live/demo/index.m3u8{query}", node.url);
    client.get(url).send().await.unwrap()
}

#[tokio::test]
async fn as_many_as_watch_are_reported_and_none_once_they_are_silent() {
    let node = TestNode::start("node", None, patient()).await;
    let mut feed = node.feed(short());
    feed.segments(4);
    let operator = operator(&node).await;
    let viewers: Vec<_> = (0..25)
        .map(|_| {
            let url = node.url.clone();
            tokio::spawn(async move { watch(&url, 3).await })
        })
        .collect();
    for viewer in viewers {
        viewer.await.unwrap();
    }
    let (seen, streams) = (
        json(&format!("{operator}/v1/viewers")).await,
        json(&format!("{operator}/v1/streams")).await,
    );
    assert_eq!(seen["watching"], 25);
    assert_eq!(seen["viewers"].as_array().unwrap().len(), 25);
    assert_eq!(streams[0]["viewers"], 25);
    let all = seen["viewers"].as_array().unwrap();
    let taken = all.iter().all(|viewer| viewer["segments"] == 3);
    assert!(taken, "{seen:#}");
    // Three target durations of a second each, and until the next look.
    let silent = Instant::now();
    while json(&format!("{operator}/v1/viewers")).await["watching"] != 0 {
        assert!(silent.elapsed() < Duration::from_secs(30), "they stay");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        json(&format!("{operator}/v1/streams")).await[0]["viewers"],
        0
    );
    assert_eq!(node.origin.viewers.count(), 0);
}

#[tokio::test]
async fn viewers_are_told_of_in_pages_and_one_by_one() {
    let node = TestNode::start("node", None, patient()).await;
    let mut feed = node.feed(short());
    feed.segments(4);
    let operator = operator(&node).await;
    for key in 0..7 {
        // Ids that this node never saw: they take a seat without a word.
        let url = format!("{}/live/demo/v/{key:016x}.paris/1001.m4s", node.url);
        assert_eq!(reqwest::get(url).await.unwrap().status(), StatusCode::OK);
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = json(&format!("{operator}/v1/viewers?stream=demo&limit=3{after}")).await;
        let viewers = page["viewers"].as_array().unwrap();
        assert!(viewers.len() <= 3);
        seen.extend(
            viewers
                .iter()
                .map(|viewer| viewer["viewer"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    seen.sort_unstable();
    let all: Vec<_> = (0..7).map(|key| format!("{key:016x}.paris")).collect();
    assert_eq!(seen, all);
    let one = json(&format!("{operator}/v1/viewers/{}", all[5])).await;
    assert_eq!(one[0]["viewer"], all[5].as_str());
    for (path, status) in [
        ("/v1/viewers?after=nonsense", StatusCode::BAD_REQUEST),
        ("/v1/viewers/00000000000000ff.paris", StatusCode::NOT_FOUND),
        ("/v1/viewers/nonsense", StatusCode::NOT_FOUND),
    ] {
        let answer = reqwest::get(format!("{operator}{path}")).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
}

#[tokio::test]
async fn a_full_node_sends_joins_on_or_asks_them_to_come_back_and_refuses_no_segment() {
    let terms = |overflow: Option<&str>| Terms {
        max_viewers: 1,
        overflow: overflow.map(|url| Overflow::new(url.parse().unwrap()).unwrap()),
        ..Terms::default()
    };
    for overflow in [None, Some("http://b.test:1")] {
        let node = TestNode::on("node", terms(overflow), patient()).await;
        let mut feed = node.feed(short());
        feed.segments(4);
        watch(&node.url, 1).await;
        let answer = join(&node, "?region=rome").await;
        match overflow {
            None => {
                assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
                assert_eq!(answer.headers()["retry-after"], "5");
                assert!(answer.text().await.unwrap().contains("has its 1 viewers"));
            }
            Some(_) => {
                assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
                let to = "http://b.test:1/live/demo/index.m3u8?region=rome&full=1";
                assert_eq!(answer.headers()["location"], to);
            }
        }
        // Whom another full node sent here is not sent on.
        let again = join(&node, "?full=1").await;
        assert_eq!(again.status(), StatusCode::SERVICE_UNAVAILABLE);
        // Who has a playlist gets what it lists, in the cheapest rung.
        let url = format!("{}/live/demo/v/00000000000000ff.rome/1002.m4s", node.url);
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["spillway-rung"], "low");
    }
}

#[tokio::test]
async fn there_is_room_while_the_cheapest_rung_for_everybody_fits_the_egress() {
    // 97 % of it are handed out: room for four at the cheapest rung of about 200 kbit/s.
    let node = TestNode::start("node", Some(Bitrate::from_kbps(1000)), patient()).await;
    let mut feed = node.feed(short());
    feed.segments(4);
    // Once what is there has been shared out.
    let shared = async {
        while node.origin.share.load().at.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), shared).await.unwrap();
    let cheapest = node
        .origin
        .store
        .stream("demo")
        .unwrap()
        .now()
        .unwrap()
        .rates()[0];
    let room = 970 / cheapest.kbps();
    assert!((3..=5).contains(&room), "{cheapest:?}");
    // They are expected before they come.
    for _ in 0..room {
        assert_eq!(join(&node, "").await.status(), StatusCode::OK);
    }
    let answer = join(&node, "").await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("1000 kbit/s are full")
    );
    assert_eq!(node.origin.viewers.turned(), (1, 0));
    // Whoever adapts by itself takes as much; a node or a cache, which takes it once for many, is let in.
    let answer = join(&node, "?abr=client").await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let answer = join(&node, "?abr=client&names=canonical").await;
    assert_eq!(answer.status(), StatusCode::OK);
}
