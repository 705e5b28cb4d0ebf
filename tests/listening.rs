//! Sound alone: a variant of the plain ladder, and `?rung=audio` for who wants nothing else, on a node and on its relay.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;

use std::time::Duration;

use node::{FIRST, Feed, TestNode, patient, short};
use playlists::{
    Bitrate, Rendition, Renditions, RungName,
    parse::{self, MediaPlaylist},
    rendition::{Alone, Kind, Track},
};
use reqwest::{StatusCode, Url};
use segmenter::synthetic;
use spillway::{
    net::Fetcher,
    source::upstream::{self, Upstream},
};
use tokio_util::sync::CancellationToken;
use tools::validate::session::{self, Options};

fn sound(name: &str, default: bool, alone: bool) -> Rendition {
    Rendition {
        kind: Kind::Audio,
        name: RungName::try_from(name.to_owned()).unwrap(),
        track: Track::new(Some(name), None, ""),
        default,
        codecs: "mp4a.40.2".into(),
        bandwidth: Bitrate::from_kbps(120),
        alone: alone.then_some(Alone {
            bandwidth: Bitrate::from_kbps(120),
            average: Bitrate::from_kbps(96),
        }),
    }
}

async fn streaming(others: Vec<Rendition>) -> (TestNode, Feed) {
    let node = TestNode::start("node", None, patient()).await;
    let renditions = Renditions {
        others,
        ..Renditions::default()
    };
    let mut feed = node.feed(short().beside(renditions));
    feed.segments(4);
    (node, feed)
}

async fn get(url: &str) -> (StatusCode, String) {
    let answer = reqwest::get(url).await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

async fn text(url: &str) -> String {
    let (status, text) = get(url).await;
    assert_eq!(status, StatusCode::OK, "{url}: {text}");
    text
}

/// Joins for sound alone: the one variant there is, and its playlist.
async fn listening(node: &TestNode) -> (String, MediaPlaylist) {
    let join = format!("{}/live/demo/index.m3u8?rung=audio", node.url);
    let joined = text(&join).await;
    let variants = parse::multivariant(&joined).unwrap();
    assert!(variants.len() == 1 && variants[0].is_sound(), "{joined}");
    assert_eq!(parse::alternatives(&joined).unwrap(), [], "{joined}");
    let base: Url = join.parse().unwrap();
    let list = base.join(&variants[0].uri).unwrap().to_string();
    let read = parse::media(&text(&list).await).unwrap();
    (list, read)
}

async fn hears(node: &TestNode, name: &str) {
    let (list, read) = listening(node).await;
    let base: Url = list.parse().unwrap();
    let segment = read
        .segments
        .iter()
        .find(|one| one.number == FIRST + 2)
        .unwrap();
    let media = base.join(segment.uri.as_deref().unwrap()).unwrap();
    // Under its own name, so that it is known who listens.
    assert!(media.path().contains("/v/"), "{media}");
    let map = base.join(segment.map.as_deref().unwrap()).unwrap();
    let init = reqwest::get(map).await.unwrap().bytes().await.unwrap();
    assert!(init.starts_with(b"\0\0\0\x10ftyp"));
    let octets = reqwest::get(media).await.unwrap().bytes().await.unwrap();
    let label = format!("{name}/2/0");
    assert_eq!(synthetic::label(&node::parts(&octets)[0]), Some(&*label));
}

#[tokio::test]
async fn who_wants_no_pictures_gets_the_main_sound_and_counts() {
    let (node, _feed) = streaming(vec![sound("audio", false, true)]).await;
    hears(&node, "audio").await;
    hears(&node, "audio").await;
    let census = node.origin.viewers.census();
    assert_eq!(census.streams.get("demo"), Some(&2));
    // They ask for no share of the egress.
    let rates = [("demo".parse().unwrap(), vec![Bitrate::from_kbps(400); 3])].into();
    let demand = node.origin.viewers.demand(&rates, 1);
    assert!(demand.values().flatten().all(Vec::is_empty), "{demand:?}");
}

#[tokio::test]
async fn the_plain_ladder_ends_with_it_and_nobody_else_hears_of_it() {
    let (node, _feed) = streaming(vec![sound("audio", false, true)]).await;
    let join = format!("{}/live/demo/index.m3u8", node.url);
    let ladder = text(&format!("{join}?abr=client")).await;
    let variants = parse::multivariant(&ladder).unwrap();
    let sounds: Vec<_> = variants.iter().map(parse::Variant::is_sound).collect();
    assert_eq!(sounds, [false, false, false, true], "{ladder}");
    assert!(!ladder.contains("EXT-X-MEDIA:"), "{ladder}");
    let one = text(&join).await;
    assert!(
        !one.contains("audio.m3u8") && !one.contains("EXT-X-MEDIA:"),
        "{one}"
    );
}

#[tokio::test]
async fn of_several_sounds_it_is_the_main_one() {
    let others = vec![
        sound("audio-1-de", true, true),
        sound("audio-2-en", false, false),
    ];
    let (node, _feed) = streaming(others).await;
    hears(&node, "audio-1-de").await;
    let ladder = text(&format!("{}/live/demo/index.m3u8?abr=client", node.url)).await;
    let last = parse::multivariant(&ladder).unwrap().pop().unwrap();
    assert!(
        last.is_sound() && last.uri.ends_with("audio-1-de.m3u8"),
        "{ladder}"
    );
    assert_eq!(parse::alternatives(&ladder).unwrap().len(), 2);
}

#[tokio::test]
async fn a_relay_has_it_too() {
    let (primary, _feed) = streaming(vec![sound("audio", false, true)]).await;
    let relay = TestNode::start("relay", None, patient()).await;
    let upstream = Upstream::node(primary.url.parse().unwrap(), Fetcher::new().unwrap(), 6);
    let stop = CancellationToken::new();
    let store = relay.origin.store.clone();
    tokio::spawn(upstream::run(upstream, store, stop.clone()));
    let arrived = async {
        loop {
            if let Some(mut stream) = relay.origin.store.stream("demo") {
                break stream.wait(|window| window.reaches(FIRST + 3, None)).await;
            }
            tokio::task::yield_now().await;
        }
    };
    let arrived = tokio::time::timeout(Duration::from_secs(20), arrived);
    arrived.await.expect("the relay follows").unwrap();
    hears(&relay, "audio").await;
    let ladder = |node: &TestNode| {
        format!(
            "{}/live/demo/index.m3u8?abr=client&names=canonical",
            node.url
        )
    };
    assert_eq!(text(&ladder(&relay)).await, text(&ladder(&primary)).await);
    stop.cancel();
}

#[tokio::test]
async fn what_cannot_be_is_said() {
    let (silent, _feed) = streaming(Vec::new()).await;
    let (node, _other) = streaming(vec![sound("audio", false, true)]).await;
    for (node, query, why) in [
        (&silent, "rung=audio", "--audio-rung"),
        (&node, "rung=audio&format=ts", "MPEG-TS"),
        (&node, "rung=audio&start=begin", "live only"),
        (&node, "rung=video", "none of"),
    ] {
        let (status, said) = get(&format!("{}/live/demo/index.m3u8?{query}", node.url)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        assert!(said.contains(why) && said.lines().count() == 1, "{said}");
    }
}

#[tokio::test]
async fn it_breaks_no_rule() {
    let (node, feed) = streaming(vec![sound("audio", false, true)]).await;
    let feeding = feed.live();
    for query in ["rung=audio", "abr=client"] {
        let options = Options {
            url: format!("{}/live/demo/index.m3u8?{query}", node.url)
                .parse()
                .unwrap(),
            span: Duration::from_secs(4),
            media: false,
            headers: Vec::new(),
        };
        let report = session::run(&options).await.unwrap();
        assert_eq!(report.breaches, 0, "{report}");
    }
    feeding.abort();
}
