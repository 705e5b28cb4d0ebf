//! A relay: what it takes from upstream and what not, what it does when that fails, and relays of relays.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "relaying/counting.rs"]
mod counting;
#[path = "common/node.rs"]
mod node;
#[path = "relaying/others.rs"]
mod others;

use std::{
    sync::{LazyLock, atomic::Ordering::Relaxed},
    time::Duration,
};

use counting::Counting;
use node::{FIRST, Feed, TestNode, patient, short};
use others::Others;
use playlists::Window;
use reqwest::{Response, StatusCode};
use spillway::{
    net::{Fetcher, Limits},
    source::upstream::{self, Place, Upstream},
    store::Published,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A node that follows others.
struct Relay {
    node: TestNode,
    _stop: DropGuard,
}

/// A node, what counts before it, and a relay of it by way of that. There is a ladder, and the first five segments of it.
async fn followed() -> (TestNode, Counting, Relay, Feed) {
    let primary = TestNode::start("primary", None, patient()).await;
    let front = Counting::before(&primary.url).await;
    let relay = Relay::of("relay", &[&front.url]).await;
    let mut feed = primary.feed(short());
    feed.segments(5);
    (primary, front, relay, feed)
}

impl Relay {
    async fn of(name: &str, places: &[&str]) -> Self {
        let node = TestNode::start(name, None, Limits::default()).await;
        let places = places.iter().map(|place| place.parse::<Place>().unwrap());
        let upstream = Upstream::new(places.collect(), Fetcher::new().unwrap(), 6);
        let stop = CancellationToken::new();
        let store = node.origin.store.clone();
        tokio::spawn(upstream::run(upstream, store, stop.clone()));
        Self {
            node,
            _stop: stop.drop_guard(),
        }
    }

    /// Waits until its stream is as `wanted`.
    async fn until(
        &self,
        what: &str,
        wanted: impl Fn(&Window) -> bool,
    ) -> std::sync::Arc<Published> {
        let there = async {
            loop {
                if let Some(mut stream) = self.node.origin.store.stream("demo")
                    && let Some(window) = stream.wait(&wanted).await
                {
                    return window;
                }
                tokio::task::yield_now().await;
            }
        };
        let there = tokio::time::timeout(Duration::from_secs(40), there).await;
        there.unwrap_or_else(|_| panic!("never {what}"))
    }

    async fn holds(&self, number: u64) -> std::sync::Arc<Published> {
        let complete = |window: &Window| {
            let last = window.last_complete();
            last.is_some_and(|last| last.number() >= number)
        };
        self.until(&format!("at segment {number}"), complete).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}/live/demo/{path}", self.node.url)
    }
}

/// Of one client: another for each request would read the system's certificates each time.
async fn get(url: &str) -> Response {
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(reqwest::Client::new);
    CLIENT.get(url).send().await.unwrap()
}

async fn body(url: &str) -> Vec<u8> {
    let answer = get(url).await;
    assert_eq!(answer.status(), StatusCode::OK, "{url}");
    answer.bytes().await.unwrap().to_vec()
}

/// A segment by its canonical name; the epoch is that of the feed.
fn segment(rung: &str, number: u64) -> String {
    format!("7/{rung}/{number}.m4s")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_takes_the_rungs_that_somebody_watches_and_no_others() {
    let (primary, front, relay, mut feed) = followed().await;
    let window = relay.holds(FIRST + 4).await;
    assert!(window.segments().all(|segment| !segment.lacks(0)));
    assert!(
        window
            .segments()
            .all(|segment| segment.lacks(1) && segment.lacks(2))
    );
    assert_eq!(
        front.media("/mid/") + front.media("/top/"),
        0,
        "nobody watches those"
    );

    // Reckoned from what is here, and from what the ladder says.
    let sizes = window.segment(FIRST + 3).unwrap().sizes().to_vec();
    assert_eq!((sizes[1] / sizes[0], sizes[2] / sizes[0]), (4, 10));

    // One who watches has the segment brought, and what comes behind it is followed.
    let own = body(&format!(
        "{}/live/demo/{}",
        primary.url,
        segment("mid", FIRST + 3)
    ))
    .await;
    assert_eq!(body(&relay.url(&segment("mid", FIRST + 3))).await, own);
    assert_eq!(body(&relay.url(&segment("mid", FIRST + 3))).await, own);
    // The one at the edge may have been begun before.
    feed.segments(3);
    let window = relay.holds(FIRST + 7).await;
    assert!(!window.segment(FIRST + 7).unwrap().lacks(1));
    assert!(window.segment(FIRST + 7).unwrap().lacks(2));
    for number in FIRST + 3..=FIRST + 7 {
        body(&relay.url(&segment("mid", number))).await;
    }
    assert_eq!(front.media("/top/"), 0);
    assert_eq!(front.most(), 1, "{:?}", front.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_misses_at_once_are_one_request() {
    let (primary, front, relay, _feed) = followed().await;
    relay.holds(FIRST + 4).await;
    let path = segment("top", FIRST + 2);
    front.hold("/top/");
    let url = relay.url(&path);
    let asked: Vec<_> = (0..500)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { body(&url).await })
        })
        .collect();
    front.asked("/top/").await;
    front.release();
    let own = body(&format!("{}/live/demo/{path}", primary.url)).await;
    for answer in asked {
        assert_eq!(answer.await.unwrap(), own);
    }
    assert_eq!(front.media(&path), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_off_upstream_is_neither_kept_nor_taken_for_all() {
    let (primary, front, relay, _feed) = followed().await;
    relay.holds(FIRST + 4).await;
    let path = segment("top", FIRST + 2);
    front.breaks.store(1, Relaxed);
    let answer = get(&relay.url(&path)).await;
    // Who has its head already sees it break off; nobody is told that it was all.
    let broken = answer.status() != StatusCode::OK || answer.bytes().await.is_err();
    assert!(broken);
    let own = body(&format!("{}/live/demo/{path}", primary.url)).await;
    assert_eq!(body(&relay.url(&path)).await, own);
    assert_eq!(front.media(&path), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_of_a_relay_has_the_same_to_the_octet() {
    let primary = TestNode::start("primary", None, patient()).await;
    let one = Relay::of("one", &[&primary.url]).await;
    let front = Counting::before(&one.node.url).await;
    let two = Relay::of("two", &[&front.url]).await;
    let mut feed = primary.feed(short());
    feed.segments(5);
    two.holds(FIRST + 4).await;
    // Part by part, and a segment that neither of them has.
    while feed.producer.window().unwrap().open_segment().is_none() {
        feed.part();
    }
    let open = |window: &Window| {
        window
            .open_segment()
            .is_some_and(|open| open.number() == FIRST + 5)
    };
    two.until("at an open segment", open).await;
    for path in [
        "7/init.mp4".to_owned(),
        segment("low", FIRST + 4),
        segment("top", FIRST + 3),
        format!("7/low/{}.0.m4s", FIRST + 5),
        format!("7/mid/{}.0.m4s", FIRST + 5),
    ] {
        let own = body(&format!("{}/live/demo/{path}", primary.url)).await;
        assert_eq!(body(&two.url(&path)).await, own, "{path}");
    }
    assert_eq!(front.most(), 1, "{:?}", front.seen());
    // A segment has the same number, times and parts, by either.
    let lists = async |url: String| String::from_utf8(body(&url).await).unwrap();
    let last = |text: String| {
        text.lines()
            .rfind(|line| line.starts_with("#EXT-X-PART:"))
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        last(lists(two.url("low.m3u8")).await),
        last(lists(one.url("low.m3u8")).await)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_upstream_stands_in_and_the_first_is_gone_back_to() {
    let primary = TestNode::start("primary", None, patient()).await;
    let near = Counting::before(&primary.url).await;
    let relay = Relay::of("relay", &[&near.url, &primary.url]).await;
    let mut feed = primary.feed(short());
    feed.segments(5);
    relay.holds(FIRST + 4).await;
    let before = near.seen().len();
    assert!(before > 0);

    near.cut();
    feed.segments(2);
    relay.holds(FIRST + 6).await;
    let window = relay
        .node
        .origin
        .store
        .stream("demo")
        .unwrap()
        .now()
        .unwrap();
    assert!(
        window
            .segments()
            .any(|segment| segment.number() == FIRST + 1),
        "what was there stays"
    );
    let cut = near.seen().len();

    near.mend();
    let live = feed.live();
    let again = async {
        while near.seen().len() < cut + 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let again = tokio::time::timeout(Duration::from_secs(30), again).await;
    again.expect("the preferred one is followed again");
    live.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_says_nothing_any_more_is_left() {
    let primary = TestNode::start("primary", None, patient()).await;
    let near = Counting::before(&primary.url).await;
    let relay = Relay::of("relay", &[&near.url, &primary.url]).await;
    let mut feed = primary.feed(short());
    feed.segments(5);
    relay.holds(FIRST + 4).await;
    // As a process that was stopped: connections stay, and nothing comes.
    near.freeze();
    feed.segments(2);
    relay.holds(FIRST + 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_upstream_a_relay_serves_what_it_has() {
    let (_primary, front, relay, _feed) = followed().await;
    relay.holds(FIRST + 4).await;
    front.cut();
    // A viewer whose rung is not here gets one that is.
    let index = get(&relay.url("index.m3u8")).await.text().await.unwrap();
    let viewer = index.lines().rfind(|line| line.starts_with("v/")).unwrap();
    let viewer = viewer.trim_end_matches("/index.m3u8");
    let answer = get(&relay.url(&format!("{viewer}/{}.m4s", FIRST + 2))).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["spillway-rung"], "low");
    assert!(!answer.bytes().await.unwrap().is_empty());
    // By its canonical name it is asked for again.
    let answer = get(&relay.url(&segment("top", FIRST + 2))).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("has to be fetched first")
    );
    front.mend();
    body(&relay.url(&segment("top", FIRST + 2))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_another_origin_is_served_in_any_rung() {
    let origin = Others::start().await;
    let relay = Relay::of(
        "relay",
        &[&format!("demo={}/master.m3u8?key=1", origin.url)],
    )
    .await;
    let window = relay.holds(3002).await;
    let ladder = &window.format().ladder;
    let rungs = ladder.rungs().iter();
    let rungs: Vec<_> = rungs
        .map(|rung| (rung.name.as_str(), &*rung.codecs))
        .collect();
    assert_eq!(
        rungs,
        [
            ("72p", "avc3.42C00A,mp4a.40.2"),
            ("144p", "avc3.42C00B,mp4a.40.2")
        ]
    );
    // Its own numbers, discontinuities and lengths.
    let segment = window.segment(3002).unwrap();
    assert_eq!(segment.duration().to_string(), "1.60000");
    assert_eq!(
        (segment.head.discontinuity, segment.head.timeline),
        (true, 8)
    );
    let init = media::Init::parse(&segment.head.init.media).unwrap();
    let epoch = segment.head.epoch.0;
    assert!(
        window
            .segments()
            .all(|segment| segment.head.epoch.0 == epoch)
    );

    // Both rungs can be read with the one init section; the dearer is brought, by the number that it has there.
    for rung in ["72p", "144p"] {
        let octets = body(&relay.url(&format!("{epoch}/{rung}/3001.m4s"))).await;
        let fragments = media::fragments(&octets, &init).unwrap();
        let first = &fragments[0].runs[0].samples[0];
        let (_, config) = init.video().unwrap();
        let none = media::avc::Config {
            sps: vec![],
            pps: vec![],
            ..config.clone()
        };
        let picture = &octets[first.data.clone()];
        let sps = media::avc::sps(none.sets_of(picture).unwrap().sps).unwrap();
        assert_eq!(format!("{}p", sps.height), rung);
    }
    assert_eq!(origin.count("high/seg-13.m4s"), 1);
    origin.publish();
    relay.holds(3003).await;
    let list = String::from_utf8(body(&relay.url("72p.m3u8")).await).unwrap();
    assert!(!list.contains("#EXT-X-PART"), "{list}");
    assert_eq!(origin.most(), 1, "{:?}", origin.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_relay_cannot_take_is_refused_with_a_reason() {
    for (list, reason) in [
        (
            "encrypted.m3u8",
            "EXT-X-KEY (encrypted media) is not supported",
        ),
        ("ranges.m3u8", "EXT-X-BYTERANGE is not supported"),
        ("transport.m3u8", "its segments are MPEG-TS"),
        (
            "hevc.m3u8",
            "codec \"hvc1.1.6.L93.B0\"; a relay takes H.264 with AAC",
        ),
    ] {
        let origin = Others::start().await;
        let place = format!("demo={}/{list}", origin.url).parse().unwrap();
        let upstream = Upstream::new(vec![place], Fetcher::new().unwrap(), 6);
        let why = upstream::try_once(&upstream).await.unwrap_err();
        assert!(why.contains(reason), "{list}: {why}");
    }
}
