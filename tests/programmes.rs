//! One programme after the other on the same name, at a node and at the relay behind it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;

use std::time::Duration;

use node::{Feed, TestNode, short};
use playlists::Window;
use reqwest::StatusCode;
use spillway::{
    net::{Fetcher, Limits},
    source::upstream::{self, Upstream},
    store::Store,
};
use tokio_util::sync::CancellationToken;

/// Waits until the stream is there and as `wanted`.
async fn until(store: &Store, what: &str, wanted: impl Fn(&Window) -> bool) {
    let there = async {
        loop {
            if let Some(mut stream) = store.stream("demo")
                && stream.wait(&wanted).await.is_some()
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let there = tokio::time::timeout(Duration::from_secs(30), there);
    there.await.unwrap_or_else(|_| panic!("never {what}"));
}

fn segments(window: &Window) -> usize {
    window.segments().filter(|segment| segment.complete).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_ends_with_a_programme_and_follows_the_next_one() {
    let primary = TestNode::start("primary", None, Limits::default()).await;
    let relay = TestNode::start("relay", None, Limits::default()).await;
    let mut feed = primary.feed(short());
    feed.segments(4);
    let upstream = Upstream::node(primary.url.parse().unwrap(), Fetcher::new().unwrap(), 6);
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let store = relay.origin.store.clone();
    tokio::spawn(upstream::run(upstream, store.clone(), stop));
    until(&store, "followed", |window| segments(window) == 4).await;
    feed.producer.end();
    until(&store, "ended", Window::has_ended).await;

    // What was published is gone with the first part of the next programme, and its end with it.
    let mut producer = feed.producer;
    producer.clear();
    assert!(!producer.has_begun());
    let mut next = Feed::new(producer, short());
    next.segments(3);
    until(&store, "followed again", |window| {
        !window.has_ended() && segments(window) == 3
    })
    .await;
    let playlist = reqwest::get(format!("{}/live/demo/index.m3u8", relay.url)).await;
    assert_eq!(playlist.unwrap().status(), StatusCode::OK);
}
