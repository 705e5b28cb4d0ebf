//! What a node answers: to players, to relays, to those who ask wrongly, and to those who are slow.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;

use std::{sync::Arc, time::Duration};

use node::{FIRST, TestNode, parts, patient, short};
use playlists::{Bitrate, parse};
use reqwest::{Method, Response, StatusCode};
use segmenter::synthetic;
use spillway::{net::Limits, origin::Stance};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const ALICE: &str = "00000000000a11ce.paris";
const BOB: &str = "0000000000000b0b.paris";

#[tokio::test]
async fn every_viewer_reads_the_same_playlist_and_it_names_no_rung() {
    let node = node(4).await;
    let alice = text(&node, &format!("v/{ALICE}/index.m3u8")).await;
    assert_eq!(alice, text(&node, &format!("v/{BOB}/index.m3u8")).await);
    let list = parse::media(&alice).unwrap();
    let names: Vec<_> = list
        .segments
        .iter()
        .filter_map(|segment| segment.uri.clone())
        .collect();
    assert_eq!(names, ["1000.m4s", "1001.m4s", "1002.m4s", "1003.m4s"]);
}

#[tokio::test]
async fn a_join_mints_a_viewer_with_one_variant_in_its_region() {
    let node = node(4).await;
    let text = text(&node, "index.m3u8?region=Paris").await;
    let variants = parse::multivariant(&text).unwrap();
    let [variant] = &variants[..] else {
        panic!("{text}")
    };
    assert!(
        variant.uri.starts_with("v/") && variant.uri.ends_with(".paris/index.m3u8"),
        "{text}"
    );
    assert!(
        variant.bandwidth > Bitrate::from_kbps(2000),
        "the dearest rung's: {text}"
    );
    assert_eq!(
        node.origin.viewers.count(),
        0,
        "who only looks is no viewer"
    );
}

#[tokio::test]
async fn a_player_that_adapts_by_itself_gets_the_whole_ladder() {
    let node = node(4).await;
    let all =
        parse::multivariant(&text(&node, "index.m3u8?abr=client&names=canonical").await).unwrap();
    assert_eq!(all.len(), 3);
    let list = parse::media(&text(&node, &all[1].uri).await).unwrap();
    let uri = list.segments[0].uri.clone().unwrap();
    let media = ok(&node, &uri).await;
    assert_eq!(
        media.headers()["cache-control"],
        "public, max-age=31536000, immutable"
    );
    assert_eq!(
        synthetic::label(&parts(&media.bytes().await.unwrap())[0]),
        Some("top/0/0")
    );
}

#[tokio::test]
async fn what_a_viewer_asks_for_rides_in_its_url_and_bounds_its_rung() {
    let node = node(4).await;
    let listed = text(&node, "index.m3u8?max=800p&latency=normal").await;
    let variant = parse::multivariant(&listed).unwrap().remove(0);
    assert!(
        variant.uri.ends_with(".default.n.m800/index.m3u8"),
        "{listed}"
    );
    let fixed = text(&node, "index.m3u8?rung=top").await;
    let fixed = parse::multivariant(&fixed).unwrap().remove(0);
    let folder = fixed.uri.trim_end_matches("index.m3u8");
    let media = ok(&node, &format!("{folder}1001.m4s")).await;
    let headers = media.headers();
    assert_eq!(
        (&headers["spillway-rung"], &headers["spillway-reason"]),
        (&"top".parse().unwrap(), &"fixed".parse().unwrap())
    );
    let agent = reqwest::Client::builder().user_agent("VLC/3.0.24");
    let url = format!("{}/live/demo/index.m3u8", node.url);
    let vlc = agent.build().unwrap().get(url).send().await.unwrap();
    // MPEG-TS suits it better, which nobody makes of media that is none.
    assert!(
        vlc.text()
            .await
            .unwrap()
            .contains(".default.n.w9/index.m3u8")
    );
    for (query, why) in [
        ("latency=ultra", "none of low, normal"),
        ("max=big", "no number of lines"),
        ("rung=4k", "none of low, mid, top"),
    ] {
        let answer = ask(&node, Method::GET, &format!("index.m3u8?{query}")).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
        let said = answer.text().await.unwrap();
        assert!(
            said.contains(why) && said.lines().count() == 1,
            "{query}: {said}"
        );
    }
}

#[tokio::test]
async fn a_pin_holds_for_head_and_for_retries_and_its_bytes_are_the_canonical_ones() {
    let node = node(4).await;
    let path = format!("v/{ALICE}/1001.m4s");
    let head = ask(&node, Method::HEAD, &path).await;
    let rung = head.headers()["spillway-rung"].to_str().unwrap().to_owned();
    assert_eq!(
        rung, "mid",
        "nothing is known of a new viewer, who starts at the second rung"
    );
    // A fast delivery of others must not change what this segment is.
    for number in [1000, 1002, 1003] {
        ok(&node, &format!("v/{ALICE}/{number}.m4s"))
            .await
            .bytes()
            .await
            .unwrap();
    }
    let again = ok(&node, &path).await;
    assert_eq!(again.headers()["spillway-rung"], rung.as_str());
    assert_eq!(again.headers()["cache-control"], "private, no-store");
    assert_eq!(again.headers()["access-control-allow-origin"], "*");
    let canonical = ok(&node, &format!("7/{rung}/1001.m4s"))
        .await
        .bytes()
        .await
        .unwrap();
    assert_eq!(again.bytes().await.unwrap(), canonical);
}

#[tokio::test]
async fn a_segment_is_its_parts() {
    let node = node(4).await;
    let whole = ok(&node, "7/low/1002.m4s").await.bytes().await.unwrap();
    let first = ok(&node, "7/low/1002.0.m4s").await.bytes().await.unwrap();
    let second = ok(&node, "7/low/1002.1.m4s").await.bytes().await.unwrap();
    assert_eq!(whole, [first, second].concat());
}

#[tokio::test]
async fn a_blocking_reload_is_answered_by_the_publish_it_waits_for() {
    let node = TestNode::start("node", None, patient()).await;
    let mut feed = node.feed(short());
    feed.segments(3);
    feed.part();
    let path = format!("v/{ALICE}/index.m3u8?_HLS_msn={}", FIRST + 3);
    let url = format!("{}/live/demo/{path}", node.url);
    let waiting =
        tokio::spawn(async move { reqwest::get(url).await.unwrap().text().await.unwrap() });
    // The node has the request once a second one, sent after it, is answered.
    text(&node, &format!("v/{ALICE}/index.m3u8")).await;
    assert!(
        !waiting.is_finished(),
        "answered before there was what it asks for"
    );
    feed.part();
    let list = parse::media(
        &timeout(Duration::from_secs(5), waiting)
            .await
            .unwrap()
            .unwrap(),
    )
    .unwrap();
    assert_eq!(list.segments.last().unwrap().number, FIRST + 3);

    let far = ask(
        &node,
        Method::GET,
        &format!("v/{ALICE}/index.m3u8?_HLS_msn={}", FIRST + 30),
    )
    .await;
    assert_eq!(far.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_join_that_comes_before_the_media_is_answered_by_it() {
    let node = TestNode::start("node", None, patient()).await;
    let mut feed = node.feed(short());
    let url = format!("{}/live/demo/index.m3u8", node.url);
    let join = tokio::spawn(async move { reqwest::get(url).await.unwrap().status() });
    feed.segments(2);
    tokio::task::yield_now().await;
    assert!(!join.is_finished());
    feed.segments(1);
    assert_eq!(
        timeout(Duration::from_secs(5), join)
            .await
            .unwrap()
            .unwrap(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn what_is_not_there_is_said_in_one_line() {
    let node = node(4).await;
    for (path, why) in [
        ("/live/nope/index.m3u8", "no stream \"nope\""),
        ("/live/d%C3%A9mo/index.m3u8", "letters, digits"),
        ("/live/demo/nope.m3u8", "no rung \"nope\""),
        ("/live/demo/v/alice/1000.m4s", "16 hexadecimal digits"),
        (
            "/live/demo/v/00000000000a11ce.paris.zz/index.m3u8",
            "fields such as n.t.m720",
        ),
        (
            "/live/demo/v/00000000000a11ce.paris/999.m4s",
            "there are 1000 to 1003",
        ),
        ("/live/demo/v/00000000000a11ce.paris/x.m4s", "not a segment"),
        ("/live/demo/8/low/1000.m4s", "not of epoch 8"),
        ("/live/demo/8/init.mp4", "no epoch 8"),
        ("/live/demo/7/low/1000.9.m4s", "no part 9"),
    ] {
        let answer = reqwest::get(format!("{}{path}", node.url)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        let said = answer.text().await.unwrap();
        assert!(
            said.contains(why) && said.lines().count() == 1,
            "{path}: {said}"
        );
    }
    assert_eq!(
        node.origin.viewers.count(),
        0,
        "asking wrongly leaves nothing behind"
    );
}

#[tokio::test]
async fn a_viewer_counts_from_its_first_segment_and_not_three_target_durations_after_its_last() {
    let node = node(4).await;
    text(&node, &format!("v/{ALICE}/index.m3u8")).await;
    assert_eq!(node.origin.viewers.count(), 0);
    ok(&node, &format!("v/{ALICE}/1002.m4s"))
        .await
        .bytes()
        .await
        .unwrap();
    ok(&node, &format!("v/{ALICE}/1003.m4s"))
        .await
        .bytes()
        .await
        .unwrap();
    let census = node.origin.viewers.census();
    assert_eq!(
        (
            census.regions["paris"].viewers,
            census.regions["paris"].arrivals
        ),
        (1, 1)
    );
    // Its deliveries are looked at until they are acknowledged; nobody goes before.
    let mut later = std::time::Instant::now() + Duration::from_secs(4);
    let gone = async {
        while node.origin.viewers.count() > 0 {
            node.origin.viewers.expire(later);
            later += Duration::from_millis(500);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), gone)
        .await
        .expect("it is gone");
    assert_eq!(node.origin.viewers.census().regions["paris"].viewers, 0);
}

#[tokio::test]
async fn a_draining_node_sends_viewers_on_and_relays_get_their_media() {
    let node = node(4).await;
    ok(&node, &format!("v/{ALICE}/1001.m4s"))
        .await
        .bytes()
        .await
        .unwrap();
    node.origin.stance.store(Arc::new(Stance::Draining {
        to: "http://other:1".into(),
    }));
    for path in [
        "index.m3u8",
        &format!("v/{ALICE}/index.m3u8"),
        &format!("v/{ALICE}/1002.m4s"),
    ] {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let answer = client
            .get(format!("{}/live/demo/{path}", node.url))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT, "{path}");
        let target = answer.headers()["location"].to_str().unwrap();
        assert!(
            target.starts_with(&format!("http://other:1/live/demo/{path}")),
            "{target}"
        );
    }
    let census = node.origin.viewers.census();
    assert_eq!(
        (census.moved, census.regions["paris"].viewers),
        (1, 0),
        "it is watching elsewhere"
    );
    ok(&node, "7/low/1000.m4s").await;
}

#[tokio::test]
async fn garbage_is_refused_and_harms_nobody() {
    let limits = Limits {
        head: Duration::from_secs(1),
        ..patient()
    };
    let node = TestNode::start("node", None, limits).await;
    let mut feed = node.feed(short());
    feed.segments(4);
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        &[b'A'; 100_000],
    ] {
        let mut stream = TcpStream::connect(node.url.trim_start_matches("http://"))
            .await
            .unwrap();
        let _ = stream.write_all(garbage).await;
        let mut answer = Vec::new();
        let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer))
            .await
            .expect("it hangs up");
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{:?}",
            String::from_utf8_lossy(&answer)
        );
    }
    text(&node, &format!("v/{ALICE}/index.m3u8")).await;
}

#[tokio::test]
async fn who_never_finishes_asking_is_hung_up_on() {
    let limits = Limits {
        head: Duration::from_millis(200),
        ..patient()
    };
    let node = TestNode::start("node", None, limits).await;
    let mut stream = TcpStream::connect(node.url.trim_start_matches("http://"))
        .await
        .unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow:")
        .await
        .unwrap();
    let mut answer = Vec::new();
    timeout(Duration::from_secs(5), stream.read_to_end(&mut answer))
        .await
        .expect("it hangs up")
        .unwrap();
}

#[tokio::test]
async fn who_stops_reading_is_hung_up_on() {
    let limits = Limits {
        stalled_write: Duration::from_millis(300),
        ..patient()
    };
    let node = TestNode::start("node", None, limits).await;
    // Far more than the kernel will buffer for somebody who does not read.
    let part = playlists::MediaTime::from_ticks(2, 1);
    let mut feed = node.feed(segmenter::Synthetic::new(&[("huge", 200_000)], part, 1).unwrap());
    feed.segments(3);
    let mut stream = TcpStream::connect(node.url.trim_start_matches("http://"))
        .await
        .unwrap();
    let request = format!("GET /live/demo/v/{BOB}/1001.m4s HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    // The delivery is over, and its measurement with it, without one octet read.
    let over = async {
        while node
            .origin
            .viewers
            .egress
            .load(std::sync::atomic::Ordering::Relaxed)
            == 0
            || Arc::strong_count(&node.origin.viewers) > 2
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), over)
        .await
        .expect("the delivery ends");
}

#[tokio::test]
async fn shutting_down_takes_no_longer_than_it_may() {
    let node = node(4).await;
    let blocked = format!(
        "{}/live/demo/v/{ALICE}/index.m3u8?_HLS_msn={}",
        node.url,
        FIRST + 5
    );
    let waiting = tokio::spawn(reqwest::get(blocked));
    text(&node, &format!("v/{BOB}/index.m3u8")).await;
    node.stop.cancel();
    timeout(Duration::from_secs(5), node.serving)
        .await
        .expect("it stops")
        .unwrap();
    // Answered or cut off, but not left alone.
    let _ = timeout(Duration::from_secs(5), waiting)
        .await
        .expect("whoever waited knows");
}

/// A node with `segments` segments of a stream, and no more to come.
async fn node(segments: usize) -> TestNode {
    let node = TestNode::start("node", None, patient()).await;
    let mut feed = node.feed(short());
    feed.segments(segments);
    // Its end would take the stream with it.
    std::mem::forget(feed);
    node
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

async fn text(node: &TestNode, path: &str) -> String {
    ok(node, path).await.text().await.unwrap()
}
