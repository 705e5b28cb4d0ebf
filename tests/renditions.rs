//! Sound in other languages and subtitles, from a node and from the relay behind it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;

use std::time::Duration;

use node::{FIRST, Feed, TestNode, short};
use playlists::{
    Bitrate, Closed, Rendition, Renditions,
    parse::{self, MediaPlaylist},
    rendition::{Kind, Track},
};
use reqwest::{StatusCode, Url};
use segmenter::synthetic;
use spillway::{
    net::{Fetcher, Limits},
    source::upstream::{self, Upstream},
};
use tokio_util::sync::CancellationToken;

/// English in the rungs, German beside them, and French subtitles.
fn renditions() -> Renditions {
    let track = |language: &str| Track {
        label: language.to_uppercase(),
        language: Some(language.into()),
    };
    let rendition = |kind: Kind, index, language| Rendition {
        kind,
        name: kind.name(index, Some(language)).unwrap(),
        track: track(language),
        default: false,
        codecs: "mp4a.40.2".into(),
        bandwidth: Bitrate::from_kbps(64),
        alone: None,
    };
    Renditions {
        main: track("en"),
        others: vec![
            rendition(Kind::Audio, 1, "de"),
            rendition(Kind::Subtitles, 0, "fr"),
        ],
        closed: None,
    }
}

async fn primary() -> (TestNode, Feed) {
    let node = TestNode::start("primary", None, Limits::default()).await;
    let mut feed = node.feed(short().beside(renditions()));
    feed.segments(4);
    (node, feed)
}

/// A relay that follows `primary`, once it has as much of the stream.
async fn relay(primary: &TestNode, edge: u64) -> (TestNode, CancellationToken) {
    let node = TestNode::start("relay", None, Limits::default()).await;
    let upstream = Upstream::node(primary.url.parse().unwrap(), Fetcher::new().unwrap(), 6);
    let stop = CancellationToken::new();
    let (store, stopping) = (node.origin.store.clone(), stop.clone());
    tokio::spawn(upstream::run(upstream, store, stopping));
    let arrived = async {
        loop {
            if let Some(mut stream) = node.origin.store.stream("demo") {
                let here = |window: &playlists::Window| {
                    window
                        .last_complete()
                        .is_some_and(|last| last.number() >= edge)
                };
                break stream.wait(here).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), arrived)
        .await
        .expect("the relay follows");
    (node, stop)
}

async fn get(base: &Url, reference: &str) -> (StatusCode, String, bytes::Bytes) {
    let answer = reqwest::get(base.join(reference).unwrap()).await.unwrap();
    let kind = answer.headers().get("content-type");
    let kind = kind.map_or(String::new(), |kind| kind.to_str().unwrap().to_owned());
    (answer.status(), kind, answer.bytes().await.unwrap())
}

async fn listed(base: &Url, reference: &str) -> (Url, String, MediaPlaylist) {
    let (status, _, text) = get(base, reference).await;
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert_eq!(status, StatusCode::OK, "{text}");
    let list = parse::media(&text).unwrap();
    (base.join(reference).unwrap(), text, list)
}

/// Joins at `node`, and takes everything that the renditions list.
async fn a_viewer_gets_both(node: &TestNode) {
    let join: Url = format!("{}/live/demo/index.m3u8", node.url)
        .parse()
        .unwrap();
    let (_, _, text) = get(&join, "").await;
    let text = String::from_utf8(text.to_vec()).unwrap();
    let alternatives = parse::alternatives(&text).unwrap();
    let [main, german, french] = &alternatives[..] else {
        panic!("{text}")
    };
    assert_eq!((main.uri.as_ref(), main.track.label.as_str()), (None, "EN"));
    assert_eq!(german.track.language.as_deref(), Some("de"));
    assert_eq!(french.kind, Kind::Subtitles);

    let (base, text, list) = listed(&join, german.uri.as_deref().unwrap()).await;
    assert!(text.contains("#EXT-X-PART:"), "{text}");
    let segment = list.segments.iter().find(|one| one.number == FIRST + 2);
    let segment = segment.unwrap();
    let (status, kind, init) = get(&base, segment.map.as_deref().unwrap()).await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "audio/mp4"));
    assert!(init.starts_with(b"\0\0\0\x10ftyp"));
    let (status, kind, media) = get(&base, segment.uri.as_deref().unwrap()).await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "audio/mp4"));
    assert_eq!(
        synthetic::label(&node::parts(&media)[0]),
        Some("audio-2-de/2/0")
    );
    let last = list.segments.iter().rev().find(|one| !one.parts.is_empty());
    let part = last.unwrap().parts.last().unwrap();
    let (status, _, media) = get(&base, &part.uri).await;
    assert_eq!(status, StatusCode::OK);
    let label = synthetic::label(&media).unwrap();
    assert!(label.starts_with("audio-2-de/"), "{label}");

    let (base, text, list) = listed(&join, french.uri.as_deref().unwrap()).await;
    assert!(!text.contains("#EXT-X-MAP"), "{text}");
    let segment = list.segments.iter().find(|one| one.number == FIRST + 2);
    let (status, kind, text) = get(&base, segment.unwrap().uri.as_deref().unwrap()).await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "text/vtt"));
    assert_eq!(&text[..], b"WEBVTT\n\nNOTE 2\n");
}

#[tokio::test]
async fn a_viewer_gets_other_sound_and_subtitles() {
    let (node, _feed) = primary().await;
    a_viewer_gets_both(&node).await;
}

#[tokio::test]
async fn a_relay_has_them_too() {
    let (primary, mut feed) = primary().await;
    let (relay, stop) = relay(&primary, FIRST + 3).await;
    // What comes from now on comes part by part.
    feed.segments(2);
    feed.part();
    let mut stream = relay.origin.store.stream("demo").unwrap();
    let here = stream.wait(|window| window.reaches(FIRST + 6, Some(0)));
    let here = tokio::time::timeout(Duration::from_secs(20), here);
    here.await.expect("the relay keeps up").unwrap();
    a_viewer_gets_both(&relay).await;
    stop.cancel();
}

/// What a join says of captions in the pictures.
async fn closed(node: &TestNode, query: &str) -> Option<Vec<Closed>> {
    let join = format!("{}/live/demo/index.m3u8{query}", node.url);
    let text = reqwest::get(join).await.unwrap().text().await.unwrap();
    parse::closed(&text).unwrap()
}

#[tokio::test]
async fn captions_are_told_of_as_soon_as_they_are_known_and_on_relays() {
    let (primary, mut feed) = primary().await;
    assert_eq!(closed(&primary, "").await, None);
    feed.producer.declare(Vec::new());
    feed.segments(1);
    assert_eq!(closed(&primary, "").await, Some(Vec::new()));
    let captions = vec![Closed::new("CC1", None).unwrap()];
    feed.producer.declare(captions.clone());
    feed.segments(1);
    // They are in the pictures, so that who cannot have renditions has them too.
    for query in ["", "?switch=tagged", "?abr=client"] {
        assert_eq!(
            closed(&primary, query).await.as_ref(),
            Some(&captions),
            "{query}"
        );
    }
    let (relay, stop) = relay(&primary, FIRST + 5).await;
    assert_eq!(closed(&relay, "").await, Some(captions.clone()));
    // Another run of the encoder knows nothing yet, and is of the same format all the same.
    let mut format = feed.producer.window().unwrap().format().as_ref().clone();
    format.renditions.closed = None;
    feed.producer.begin(format);
    assert!(feed.producer.window().unwrap().segment(FIRST).is_some());
    feed.segments(1);
    assert_eq!(closed(&primary, "").await, Some(captions));
    stop.cancel();
}

#[tokio::test]
async fn a_rendition_that_is_not_there_is_said_so() {
    let (node, _feed) = primary().await;
    let base: Url = format!("{}/live/demo/", node.url).parse().unwrap();
    for reference in [
        "audio-9-xx.m3u8",
        "7/audio-2-de/999.m4s",
        "7/audio-2-de/1001.vtt",
        "7/subtitles-1-fr/1001.m4s",
        "7/subtitles-1-fr/init.mp4",
        "8/audio-2-de/1001.m4s",
    ] {
        let (status, _, said) = get(&base, reference).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{reference}");
        let said = String::from_utf8(said.to_vec()).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
