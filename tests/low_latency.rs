//! The live edge over HTTP: parts, blocking reloads, hints that are waited for, deltas, and a
//! segment that is sent while it is made.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use adaptation::{Choice, Reason, Rule, Situation};
use bytes::Bytes;
use node::{FIRST, Feed, TestNode, patient, short};
use playlists::parse::{self, MediaPlaylist};
use reqwest::{Method, Response, StatusCode};
use segmenter::{Synthetic, synthetic};
use spillway::{
    origin::{Origin, Terms, viewers::Rules},
    store::Store,
};
use tokio::{task::JoinHandle, time::timeout};

/// Asks for parts, which is the default.
const ALICE: &str = "00000000000a11ce.paris";
/// Does not.
const BOB: &str = "0000000000000b0b.paris.n";

#[tokio::test]
async fn parts_are_told_to_who_wants_them() {
    let (node, _feed) = node(3, 1).await;
    let alice = list(&node, &format!("v/{ALICE}/index.m3u8")).await;
    let open = alice.segments.last().unwrap();
    assert_eq!((open.number, open.uri.as_deref()), (FIRST + 3, None));
    assert_eq!(open.parts[0].uri, "1003.0.m4s");
    assert_eq!(alice.hint.as_deref(), Some("1003.1.m4s"));
    let bob = text(&node, &format!("v/{BOB}/index.m3u8")).await;
    assert!(!bob.contains("PART") && !bob.contains("HINT"), "{bob}");
    let canonical = text(&node, "low.m3u8").await;
    for report in ["mid", "top"] {
        let report =
            format!("#EXT-X-RENDITION-REPORT:URI=\"{report}.m3u8\",LAST-MSN=1003,LAST-PART=0");
        assert!(canonical.contains(&report), "{canonical}");
    }
}

#[tokio::test]
async fn a_reload_is_held_until_the_part_it_asks_for_is_there() {
    let (node, mut feed) = node(3, 0).await;
    let path = format!("v/{ALICE}/index.m3u8");
    let first = later(&node, format!("{path}?_HLS_msn=1003&_HLS_part=0"));
    // A third part of a segment of two is the first of the next.
    let next = later(&node, format!("{path}?_HLS_msn=1003&_HLS_part=2"));
    settle(&node).await;
    assert!(!first.is_finished(), "answered before there was the part");
    feed.part();
    assert!(reaches(&soon(first).await, 1003, 1));
    feed.part();
    settle(&node).await;
    assert!(!next.is_finished(), "1004 has not begun");
    feed.part();
    assert!(reaches(&soon(next).await, 1004, 1));
}

#[tokio::test]
async fn who_knows_no_parts_is_answered_by_segments() {
    let (node, mut feed) = node(3, 1).await;
    let reload = later(
        &node,
        format!("v/{BOB}/index.m3u8?_HLS_msn=1003&_HLS_part=0"),
    );
    settle(&node).await;
    assert!(!reload.is_finished());
    feed.part();
    let list = String::from_utf8(soon(reload).await.into()).unwrap();
    assert!(list.contains("1003.m4s"), "{list}");
}

#[tokio::test]
async fn what_cannot_be_waited_for_is_refused_at_once() {
    let (node, _feed) = node(3, 1).await;
    for (query, status) in [
        ("_HLS_part=1", StatusCode::BAD_REQUEST),
        ("_HLS_msn=1005", StatusCode::BAD_REQUEST),
        ("_HLS_msn=1003&_HLS_part=50", StatusCode::BAD_REQUEST),
        ("_HLS_msn=soon", StatusCode::BAD_REQUEST),
        ("_HLS_msn=1000&_HLS_part=50", StatusCode::OK),
        ("_HLS_msn=1002", StatusCode::OK),
    ] {
        let answer = ask(&node, Method::GET, &format!("v/{ALICE}/index.m3u8?{query}")).await;
        assert_eq!(answer.status(), status, "{query}");
    }
    for name in ["1005.m4s", "1003.40.m4s", "999.0.m4s", "1003.x.m4s"] {
        let answer = ask(&node, Method::GET, &format!("v/{ALICE}/{name}")).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{name}");
    }
}

#[tokio::test]
async fn a_source_that_is_late_is_no_error() {
    let (node, _feed) = node(3, 1).await;
    let query = "_HLS_msn=1003&_HLS_part=1";
    let answer = later(&node, format!("v/{ALICE}/index.m3u8?{query}"));
    // Three target durations of a second each.
    assert!(reaches(&soon(answer).await, 1003, 1));
    let part = ask(&node, Method::GET, &format!("v/{ALICE}/1003.1.m4s")).await;
    assert_eq!(part.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(part.headers()["retry-after"], "1");
}

#[tokio::test]
async fn a_part_that_is_hinted_at_is_waited_for() {
    let (node, mut feed) = node(3, 0).await;
    let part = later(&node, format!("v/{ALICE}/1003.0.m4s"));
    let canonical = later(&node, "7/top/1003.0.m4s".into());
    settle(&node).await;
    assert!(!part.is_finished() && !canonical.is_finished());
    feed.part();
    assert_eq!(label(&soon(part).await), Some("mid/3/0".into()));
    assert_eq!(label(&soon(canonical).await), Some("top/3/0".into()));
}

#[tokio::test]
async fn a_hint_that_comes_to_nothing_is_worth_asking_again() {
    let (node, mut feed) = node(3, 1).await;
    let url = format!("{}/live/demo/v/{ALICE}/1003.1.m4s", node.url);
    let part = tokio::spawn(async move { reqwest::get(url).await.unwrap().status() });
    settle(&node).await;
    // The encoder died.
    feed.producer.close();
    let status = timeout(PATIENCE, part).await.unwrap().unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn all_of_a_segment_is_of_the_rung_of_whatever_came_first() {
    let (node, mut feed) = node(4, 1).await;
    let rung = async |method: Method, name: &str| {
        let answer = ask(&node, method, &format!("v/{ALICE}/{name}")).await;
        assert!(answer.status().is_success(), "{name}");
        answer.headers()["spillway-rung"]
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(rung(Method::GET, "1004.0.m4s").await, "mid");
    // What is delivered meanwhile tells of a path that would carry more.
    for number in 1000..1004 {
        let answer = ask(&node, Method::GET, &format!("v/{ALICE}/{number}.m4s")).await;
        answer.bytes().await.unwrap();
    }
    feed.part();
    for (method, name) in [
        (Method::HEAD, "1004.1.m4s"),
        (Method::GET, "1004.1.m4s"),
        (Method::GET, "1004.m4s"),
        (Method::HEAD, "1004.m4s"),
        (Method::GET, "1004.0.m4s"),
    ] {
        assert_eq!(rung(method.clone(), name).await, "mid", "{method} {name}");
    }
    let range = reqwest::Client::new()
        .get(format!("{}/live/demo/v/{ALICE}/1004.1.m4s", node.url))
        .header("range", "bytes=4-99")
        .send()
        .await
        .unwrap();
    assert_eq!(range.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(range.headers()["spillway-rung"], "mid");
    let whole = ask(&node, Method::GET, "7/mid/1004.1.m4s").await;
    assert_eq!(
        range.bytes().await.unwrap(),
        whole.bytes().await.unwrap()[4..100]
    );
}

/// Wants the rungs of a list, one after the other.
#[derive(Debug)]
struct Wants(Mutex<VecDeque<usize>>);

impl Rule for Wants {
    fn name(&self) -> &'static str {
        "wants"
    }

    fn choose(&self, situation: &Situation<'_>) -> Choice {
        let next = self.0.lock().unwrap().pop_front();
        situation.within(next.expect("one more decision"), Reason::Steady)
    }
}

#[tokio::test]
async fn at_any_part_a_viewer_can_come_down_to_the_cheapest_rung_and_to_no_other() {
    let wants = Wants(Mutex::new([2, 1, 0, 2, 2].into()));
    let rules = Rules::from(Box::new(wants));
    let origin = Origin::ruled_by(rules, "node".into(), Store::default(), Terms::default());
    let node = TestNode::of(origin, patient()).await;
    let mut feed = node.feed(Synthetic::usual());
    feed.segments(4);
    let part = async |method: Method, name: &str| {
        let answer = ask(&node, method, &format!("v/{ALICE}/{name}.m4s")).await;
        let rung = answer.headers()["spillway-rung"]
            .to_str()
            .unwrap()
            .to_owned();
        (rung, label(&answer.bytes().await.unwrap()))
    };
    let mut had = Vec::new();
    for (index, expected) in [(0, "720p"), (1, "720p"), (2, "240p"), (3, "240p")] {
        let name = format!("1003.{index}");
        let (rung, said) = part(Method::GET, &name).await;
        // The second wanted the middle rung, which does not begin there; the fourth the top one.
        assert_eq!(rung, expected, "{name}");
        assert_eq!(said, Some(format!("{expected}/3/{index}")));
        had.push((name, rung));
    }
    // Whoever asks again gets the same: of the parts, and of all of it the rung that it began with.
    had.push(("1003".into(), "720p".into()));
    for (name, rung) in &had {
        for method in [Method::HEAD, Method::GET] {
            assert_eq!(part(method.clone(), name).await.0, *rung, "{method} {name}");
        }
    }
    assert_eq!(
        part(Method::GET, "1002.0").await.0,
        "720p",
        "a segment begins in any"
    );

    // Nobody can count on the cheapest whose rung is chosen only then.
    let alice = list(&node, &format!("v/{ALICE}/index.m3u8")).await;
    let independent = |list: &MediaPlaylist| -> Vec<bool> {
        let last = list.segments.last().unwrap();
        last.parts.iter().map(|part| part.independent).collect()
    };
    assert_eq!(independent(&alice), [true, false, false, false]);
    for (rung, all) in [("240p", true), ("480p", false), ("720p", false)] {
        let list = list(&node, &format!("{rung}.m3u8")).await;
        assert_eq!(independent(&list), [true, all, all, all], "{rung}");
    }
}

#[tokio::test]
async fn an_open_segment_is_sent_as_it_is_made() {
    let (node, mut feed) = node(3, 1).await;
    for path in [format!("v/{ALICE}/1003.m4s"), "7/mid/1003.m4s".into()] {
        let head = ask(&node, Method::HEAD, &path).await;
        assert_eq!(head.status(), StatusCode::OK, "{path}");
    }
    let mut answer = ask(&node, Method::GET, &format!("v/{ALICE}/1003.m4s")).await;
    assert_eq!(answer.headers()["cache-control"], "private, no-store");
    // All of the first part is here before there is a second.
    let part = ask(&node, Method::GET, "7/mid/1003.0.m4s").await;
    let part = part.bytes().await.unwrap();
    let mut first = Vec::new();
    while first.len() < part.len() {
        let chunk = timeout(PATIENCE, answer.chunk()).await.unwrap().unwrap();
        first.extend(chunk.unwrap());
    }
    assert_eq!(first, part);
    feed.part();
    let rest = timeout(PATIENCE, answer.bytes()).await.unwrap().unwrap();
    assert_eq!(label(&rest), Some("mid/3/1".into()));
    let delivered = async {
        // Both parts are measured, each for itself.
        while node
            .origin
            .viewers
            .egress
            .load(std::sync::atomic::Ordering::Relaxed)
            == 0
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, delivered).await.unwrap();
}

#[tokio::test]
async fn a_segment_that_is_given_up_breaks_off() {
    let (node, mut feed) = node(3, 1).await;
    let mut answer = ask(&node, Method::GET, "7/mid/1003.m4s").await;
    timeout(PATIENCE, answer.chunk()).await.unwrap().unwrap();
    feed.producer.abandon();
    feed.producer.end();
    let rest = timeout(PATIENCE, answer.bytes()).await.unwrap();
    assert!(rest.is_err(), "half a segment must not pass for a whole");
}

#[tokio::test]
async fn a_delta_leaves_out_what_is_known() {
    let node = TestNode::start("node", None, patient()).await;
    let mut feed = node.feed_listing(short(), 20);
    feed.segments(12);
    feed.part();
    for (query, skipped) in [
        ("", 0),
        ("?_HLS_skip=NO", 0),
        // 12 segments of 0.8 s and a part of 0.4 s; the Skip Boundary is 6 s.
        ("?_HLS_skip=YES", 4),
        ("?_HLS_skip=v2", 4),
        ("?_HLS_msn=1012&_HLS_part=0&_HLS_skip=YES", 4),
    ] {
        let list = list(&node, &format!("v/{ALICE}/index.m3u8{query}")).await;
        assert_eq!(list.skipped, skipped, "{query}");
        assert_eq!(list.segments[0].number, FIRST + skipped, "{query}");
        assert!(list.segments[0].map.is_some(), "{query}");
    }
}

const PATIENCE: Duration = Duration::from_secs(8);

/// A node with `segments` segments, and `parts` parts of the next.
async fn node(segments: usize, parts: usize) -> (TestNode, Feed) {
    let node = TestNode::start("node", None, patient()).await;
    let mut feed = node.feed(short());
    feed.segments(segments);
    for _ in 0..parts {
        feed.part();
    }
    (node, feed)
}

/// The node has all requests that were sent before: one that was sent after them is answered.
async fn settle(node: &TestNode) {
    for _ in 0..3 {
        text(node, "low.m3u8").await;
    }
}

/// A request whose answer is waited for elsewhere.
fn later(node: &TestNode, path: String) -> JoinHandle<Bytes> {
    let url = format!("{}/live/demo/{path}", node.url);
    tokio::spawn(async move {
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.bytes().await.unwrap()
    })
}

async fn soon(answer: JoinHandle<Bytes>) -> Bytes {
    timeout(PATIENCE, answer).await.unwrap().unwrap()
}

/// Whether the open or last segment is `number` and has `parts` parts.
fn reaches(text: &[u8], number: u64, parts: usize) -> bool {
    let list = parse::media(str::from_utf8(text).unwrap()).unwrap();
    let last = list.segments.last().unwrap();
    (last.number, last.parts.len()) == (number, parts)
}

/// What a synthetic part says it is.
fn label(part: &[u8]) -> Option<String> {
    synthetic::label(part).map(str::to_owned)
}

async fn ask(node: &TestNode, method: Method, path: &str) -> Response {
    let url = format!("{}/live/demo/{path}", node.url);
    reqwest::Client::new()
        .request(method, url)
        .send()
        .await
        .unwrap()
}

async fn text(node: &TestNode, path: &str) -> String {
    let answer = ask(node, Method::GET, path).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    answer.text().await.unwrap()
}

async fn list(node: &TestNode, path: &str) -> MediaPlaylist {
    parse::media(&text(node, path).await).unwrap()
}
