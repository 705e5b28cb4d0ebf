//! A relay: what it takes from upstream and what not, what it does when that fails, and relays of relays.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(feature = "otel")]
#[path = "relaying/collector.rs"]
mod collector;
#[path = "relaying/counting.rs"]
mod counting;
#[path = "relaying/multiplexed.rs"]
mod multiplexed;
#[path = "common/node.rs"]
mod node;
#[path = "relaying/others.rs"]
mod others;
#[cfg(feature = "otel")]
#[path = "relaying/traced.rs"]
mod traced;

use std::{
    sync::{LazyLock, atomic::Ordering::Relaxed},
    time::Duration,
};

use counting::Counting;
use multiplexed::Multiplexed;
use node::{FIRST, Feed, TestNode, patient, short};
use others::Others;
use playlists::Window;
use reqwest::{Response, StatusCode};
use spillway::{
    net::{Fetcher, Limits},
    origin::Terms,
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
        Self::on(name, places, Terms::default()).await
    }

    /// One on these terms.
    async fn on(name: &str, places: &[&str], terms: Terms) -> Self {
        let fetcher = Fetcher::new().unwrap().traced(terms.tracer.clone());
        let node = TestNode::on(name, terms, Limits::default()).await;
        let places = places.iter().map(|place| place.parse::<Place>().unwrap());
        let upstream = Upstream::new(places.collect(), fetcher, 6);
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

/// What upstream is asked for depends on what is watched, and not on how many watch it: the hit rate of 200 is that of one.
#[tokio::test(flavor = "multi_thread")]
async fn each_object_is_taken_once_for_one_viewer_and_for_two_hundred() {
    for viewers in [1, 200] {
        let (_primary, front, relay, mut feed) = followed().await;
        for number in FIRST + 5..FIRST + 9 {
            feed.segments(1);
            relay.holds(number).await;
            let urls = ["low", "mid", "top"].map(|rung| relay.url(&segment(rung, number)));
            let asked = (0..viewers).flat_map(|_| urls.clone());
            let asked: Vec<_> = asked
                .map(|url| tokio::spawn(async move { body(&url).await.len() }))
                .collect();
            for answer in asked {
                assert!(answer.await.unwrap() > 0);
            }
        }
        let seen = front.seen();
        assert!(
            seen.values().all(|times| *times == 1),
            "{viewers}: {seen:?}"
        );
        for rung in ["/low/", "/mid/", "/top/"] {
            assert!(front.media(rung) >= 4, "{viewers}: {seen:?}");
        }
    }
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
        (
            "bare.m3u8",
            "it is neither MPEG-TS, nor is there an EXT-X-MAP",
        ),
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

/// Of each track where it goes on that is not where it ended, in ticks.
fn breaks(parts: &[Vec<u8>], init: &media::Init) -> Vec<(u32, i64)> {
    let mut ends = std::collections::BTreeMap::new();
    let mut breaks = Vec::new();
    for octets in parts {
        let fragments = media::fragments(octets, init).unwrap();
        for run in fragments.iter().flat_map(|fragment| &fragment.runs) {
            if let Some(end) = ends.insert(run.track, run.end()) {
                breaks.push((run.track, run.start as i64 - end as i64));
            }
        }
    }
    breaks.retain(|(_, ticks)| *ticks != 0);
    breaks
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_of_mpeg_ts_is_served_in_any_rung_after_any_other() {
    let name = "an_origin_of_mpeg_ts_is_served_in_any_rung_after_any_other";
    let Some(origin) = Multiplexed::start("any", "").await else {
        return println!("skipped: {name}: ffmpeg is not installed");
    };
    let relay = Relay::of("relay", &[&format!("demo={}/master.m3u8", origin.url)]).await;
    relay.holds(3).await;
    origin.publish();
    let window = relay.holds(4).await;
    let ladder = &window.format().ladder;
    let rungs = ladder.rungs().iter().map(|rung| rung.name.as_str());
    assert_eq!(rungs.collect::<Vec<_>>(), ["72p", "144p"]);
    let segment = window.segment(2).unwrap();
    assert_eq!(segment.duration().to_string(), "1.00000");
    let init = media::Init::parse(&segment.head.init.media).unwrap();
    let (video, sound) = (init.video().unwrap().0, init.audio().unwrap().0);
    assert_eq!((video.timescale, sound.timescale), (90_000, 44_100));
    assert_eq!(video.shown, (256 << 16, 144 << 16));

    let epoch = segment.head.epoch.0;
    let mut mixed = Vec::new();
    for number in 0..5 {
        let rung = ["72p", "144p"][number % 2];
        let octets = body(&relay.url(&format!("{epoch}/{rung}/{number}.m4s"))).await;
        let first = &media::fragments(&octets, &init).unwrap()[0].runs[0];
        assert!(first.track == 1 && first.samples[0].sync && first.samples[0].offset == 0);
        let picture = &octets[first.samples[0].data.clone()];
        let sets = init.video().unwrap().1.sets_of(picture).unwrap();
        let height = media::avc::sps(sets.sps).unwrap().height;
        assert_eq!(format!("{height}p"), rung);
        mixed.push(octets);
    }
    // Pictures go on to the tick; sound does but for how its times are rounded.
    let breaks = breaks(&mixed, &init);
    let rounded = |(track, ticks): &(u32, i64)| *track == 2 && ticks.abs() <= 1;
    assert!(breaks.iter().all(rounded), "{breaks:?}");

    // Each once; of the dearer rung, one was looked at beforehand.
    let seen = origin.seen();
    assert!(seen.values().sum::<u32>() <= 5 + 2 + 1, "{seen:?}");
    let cheapest = seen.iter().filter(|(path, _)| path.starts_with("1/"));
    assert!(
        cheapest.into_iter().all(|(_, times)| *times == 1),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_of_mpeg_ts_that_cannot_be_played_is_a_gap() {
    let name = "a_segment_of_mpeg_ts_that_cannot_be_played_is_a_gap";
    let Some(origin) = Multiplexed::start("gap", "1/seg4.ts").await else {
        return println!("skipped: {name}: ffmpeg is not installed");
    };
    let relay = Relay::of("relay", &[&format!("demo={}/master.m3u8", origin.url)]).await;
    relay.holds(3).await;
    origin.publish();
    origin.publish();
    let window = relay.holds(5).await;
    let gaps: Vec<_> = window
        .segments()
        .map(|one| (one.number(), one.gap))
        .collect();
    let expected = (0..6).map(|number| (number, number == 4));
    assert_eq!(gaps, expected.collect::<Vec<_>>());
    let list = String::from_utf8(body(&relay.url("72p.m3u8")).await).unwrap();
    assert_eq!(list.matches("#EXT-X-GAP").count(), 1, "{list}");
}
