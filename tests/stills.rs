//! Posters and storyboards, as pages and players fetch them: from the node that has them, from a relay, and where
//! tokens are asked for.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use node::{FIRST, Feed, TestNode, patient, short};
use playlists::still::{Coding, Still};
use reqwest::{Client, Response, StatusCode, Url};
use spillway::{
    net::Fetcher,
    origin::Terms,
    token::keys::{self, Keys},
};

const TILE: &[u8] = include_bytes!("../media/tests/data/tile.jpg");

fn still(tile: bool, coding: Coding, width: u16, media: &'static [u8]) -> Still {
    Still {
        tile,
        coding,
        width,
        height: width / 16 * 9,
        media: Bytes::from_static(media),
    }
}

/// Publishes `count` segments with tiles; the first has posters as well.
fn show(feed: &mut Feed, count: usize) {
    for place in 0..count {
        feed.part();
        let mut stills = vec![still(true, Coding::Jpeg, 160, TILE)];
        if place == 0 {
            stills.extend([
                still(false, Coding::Jpeg, 320, b"small"),
                still(false, Coding::Jpeg, 1280, b"large"),
                still(false, Coding::Webp, 320, b"webp"),
            ]);
        }
        feed.producer.illustrate(stills).unwrap();
        feed.part();
    }
}

async fn primary() -> (TestNode, Feed) {
    let node = TestNode::on("primary", Terms::default(), patient()).await;
    let mut feed = node.feed(short());
    show(&mut feed, 4);
    (node, feed)
}

/// A relay that has the stream from `primary`, as far as stills are concerned.
async fn relay(primary: &TestNode, terms: Terms, fetcher: Fetcher) -> (TestNode, Feed) {
    let node = TestNode::on("relay", terms, patient()).await;
    node.origin
        .keeper
        .store(Some(Arc::new(primary.url.clone())));
    node.origin.pulled.by(fetcher);
    let mut feed = node.feed(short());
    feed.segments(4);
    (node, feed)
}

async fn get(node: &TestNode, path: &str) -> Response {
    reqwest::get(format!("{}/live/demo/{path}", node.url))
        .await
        .unwrap()
}

async fn octets(answer: Response) -> Bytes {
    assert_eq!(answer.status(), StatusCode::OK);
    answer.bytes().await.unwrap()
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_poster_is_cached_and_asked_for_by_its_tag() {
    let (node, _feed) = primary().await;
    for (path, kind, wanted) in [
        ("poster.jpg?width=300", "image/jpeg", &b"small"[..]),
        ("poster.jpg", "image/jpeg", b"large"),
        ("poster.jpg?width=4000", "image/jpeg", b"large"),
        ("poster.webp", "image/webp", b"webp"),
    ] {
        let answer = get(&node, path).await;
        assert_eq!(header(&answer, "content-type"), kind);
        assert_eq!(header(&answer, "cache-control"), "public, max-age=5");
        assert_eq!(header(&answer, "access-control-allow-origin"), "*");
        let tag = header(&answer, "etag").to_owned();
        assert_eq!(octets(answer).await, wanted, "{path}");
        let url = format!("{}/live/demo/{path}", node.url);
        let again = Client::new().get(&url).header("if-none-match", tag);
        assert_eq!(
            again.send().await.unwrap().status(),
            StatusCode::NOT_MODIFIED
        );
        let head = Client::new().head(&url).send().await.unwrap();
        assert_eq!(header(&head, "content-length"), wanted.len().to_string());
    }
    let wrong = get(&node, "poster.jpg?width=wide").await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_is_not_there_is_said_in_a_line() {
    let node = TestNode::on("primary", Terms::default(), patient()).await;
    let mut feed = node.feed(short());
    feed.segments(2);
    for path in [
        "poster.jpg",
        "poster.webp",
        "7/storyboard/1000-1001.jpg",
        "7/storyboard/1000.jpg",
        "9/storyboard/1000-1001.jpg",
    ] {
        let answer = get(&node, path).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.text().await.unwrap().lines().count(), 1);
    }
    // A stream without stills has a storyboard without pictures.
    assert_eq!(
        octets(get(&node, "storyboard.vtt").await).await,
        &b"WEBVTT\n"[..]
    );
}

/// Every sprite that a storyboard at `url` names is there, and as high as its tiles.
async fn whole(url: &str) -> Vec<Url> {
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(header(&answer, "content-type"), "text/vtt");
    let text = answer.text().await.unwrap();
    let base: Url = url.parse().unwrap();
    let mut sprites = Vec::new();
    for line in text.lines().filter(|line| line.contains("#xywh=")) {
        let (name, place) = line.split_once("#xywh=").unwrap();
        let place: Vec<u32> = place
            .split(',')
            .map(|number| number.parse().unwrap())
            .collect();
        let sprite = reqwest::get(base.join(name).unwrap()).await.unwrap();
        assert!(header(&sprite, "cache-control").contains("immutable"));
        let media = octets(sprite).await;
        let frame = media
            .windows(2)
            .position(|two| two == [0xff, 0xc0])
            .unwrap();
        let height = u32::from(u16::from_be_bytes([media[frame + 5], media[frame + 6]]));
        assert!(place[1] + place[3] <= height, "{line}: {height}");
        sprites.push(base.join(name).unwrap());
    }
    sprites
}

#[tokio::test]
async fn a_storyboard_names_sprites_that_are_there() {
    let (node, mut feed) = primary().await;
    assert_eq!(
        whole(&format!("{}/live/demo/storyboard.vtt", node.url))
            .await
            .len(),
        4
    );
    show(&mut feed, 9);
    let sprites = whole(&format!(
        "{}/live/demo/storyboard.vtt?from={}",
        node.url,
        FIRST + 2
    ))
    .await;
    assert_eq!(sprites.len(), 11);
    assert!(sprites[0].path().ends_with("/7/storyboard/1000-1009.jpg"));
    assert!(sprites[10].path().ends_with("/7/storyboard/1010-1012.jpg"));
}

#[tokio::test]
async fn a_relay_takes_each_once_from_the_node_that_it_follows() {
    let (primary, feed) = primary().await;
    let (relay, _other) = relay(&primary, Terms::default(), Fetcher::new().unwrap()).await;
    let tag = |answer: &Response| header(answer, "etag").to_owned();
    let (here, there) = (
        get(&relay, "poster.jpg").await,
        get(&primary, "poster.jpg").await,
    );
    assert_eq!(tag(&here), tag(&there), "a cache of both keeps one");
    assert_eq!(octets(here).await, &b"large"[..]);
    assert_eq!(
        whole(&format!("{}/live/demo/storyboard.vtt", relay.url))
            .await
            .len(),
        4
    );
    let missing = get(&relay, "7/storyboard/1000-1005.jpg").await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    // What it has it has, whatever becomes of the other.
    drop(feed);
    primary.stop.cancel();
    primary.serving.await.unwrap();
    let sprite = get(&relay, "7/storyboard/1000-1003.jpg").await;
    assert!(octets(sprite).await.starts_with(&[0xff, 0xd8]));
    let other = get(&relay, "7/storyboard/1001-1003.jpg").await;
    assert_eq!(other.status(), StatusCode::SERVICE_UNAVAILABLE);
}

/// A file of keys that goes with the test.
struct KeyFile(PathBuf);

impl KeyFile {
    fn new() -> Self {
        let path =
            std::env::temp_dir().join(format!("spillway-stills-{}.keys", std::process::id()));
        std::fs::write(&path, keys::new_key("k1").unwrap()).unwrap();
        Self(path)
    }

    fn terms(&self) -> Terms {
        let keys = Keys::load(&self.0, Duration::from_secs(3600)).unwrap();
        Terms {
            keys: Some(Arc::new(keys)),
            ..Terms::default()
        }
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn who_asks_with_a_token_finds_the_sprites_under_one() {
    let file = KeyFile::new();
    let terms = file.terms();
    let keys = terms.keys.clone().unwrap();
    let token = keys.ring().sign("demo", keys::now() + 60);
    let primary = TestNode::on("primary", terms, patient()).await;
    let mut feed = primary.feed(short());
    show(&mut feed, 4);
    let errand = keys.clone();
    let fetcher = Fetcher::new()
        .unwrap()
        .bearing(Arc::new(move || errand.errand()));
    let (relay, _other) = relay(&primary, file.terms(), fetcher).await;
    for node in [&primary, &relay] {
        for path in ["storyboard.vtt", "poster.jpg", "7/storyboard/1000-1003.jpg"] {
            assert_eq!(get(node, path).await.status(), StatusCode::UNAUTHORIZED);
            let given = get(node, &format!("{path}?token={token}")).await;
            assert_eq!(given.status(), StatusCode::OK, "{path}");
        }
        // In the query it is handed out anew; in the path all names inherit it.
        let queried = format!("{}/live/demo/storyboard.vtt?token={token}", node.url);
        let sprites = whole(&queried).await;
        assert_eq!(sprites.len(), 4);
        assert!(sprites[0].path().starts_with("/~k1."));
        assert!(
            !sprites[0].path().contains(&token),
            "one to look with, not one to join with"
        );
        let inherited = format!("{}/~{token}/live/demo/storyboard.vtt", node.url);
        assert_eq!(whole(&inherited).await.len(), 4);
        let join = sprites[0].join("../../index.m3u8").unwrap();
        let join = reqwest::get(join).await.unwrap();
        assert_eq!(join.status(), StatusCode::FORBIDDEN);
    }
}
