//! How viewers are told of switches: by tags, by names, by nothing; in CMAF and MPEG-TS; and on the way to a cache.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;

use std::{collections::BTreeMap, sync::Arc};

use adaptation::Cycle;
use bytes::Bytes;
use node::{Feed, TestNode, patient, short};
use playlists::{Epoch, Format, Head, Init, MediaTime, Part, Renditions, WallTime, parse};
use reqwest::{Response, StatusCode};
use segmenter::synthetic;
use spillway::{
    origin::{Origin, Stance, Terms},
    store::{Producer, Store},
};

const TAGGED: &str = "00000000000a11ce.paris.n.t";
const LISTED: &str = "0000000000000b0b.paris.n.l";
const TRANSPORT: &str = "00000000000000c5.paris.n.x";

#[tokio::test]
async fn tags_are_where_the_rung_changes_and_stay_where_they_are() {
    let (node, mut feed) = cycling(Terms::default()).await;
    let mut told: BTreeMap<u64, Listed> = BTreeMap::new();
    let mut tags = 0;
    for _ in 0..30 {
        feed.segments(1);
        let text = text(&node, &format!("v/{TAGGED}/index.m3u8")).await;
        for listed in listed(&text) {
            let before = told.entry(listed.number).or_insert_with(|| listed.clone());
            assert_eq!(*before, listed, "told again, it is the same\n{text}");
        }
        tags += text.matches("#EXT-X-DISCONTINUITY\n").count();
    }
    assert!(tags > 30, "{tags} tags in all the playlists");
    let all: Vec<_> = told.values().collect();
    for pair in all.windows(2) {
        let [before, after] = pair else { continue };
        let switches = before.map != after.map;
        assert_eq!(after.tagged, switches, "{before:?} {after:?}");
        assert_eq!(after.timeline, before.timeline + u64::from(switches));
    }
    // What is listed is what is given, whatever the rule would say by now.
    for listed in all.iter().rev().take(5) {
        let answer = ok(&node, &format!("v/{TAGGED}/{}", listed.uri)).await;
        let rung = answer.headers()["spillway-rung"].to_str().unwrap();
        assert_eq!(listed.map, format!("../../7/{rung}/init.mp4"));
    }
}

#[tokio::test]
async fn a_rung_that_is_chosen_when_listed_is_in_the_query_and_nowhere_else() {
    let (node, mut feed) = cycling(Terms::default()).await;
    let mut rungs = BTreeMap::new();
    for _ in 0..12 {
        feed.segments(1);
        let text = text(&node, &format!("v/{LISTED}/index.m3u8")).await;
        assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 0);
        assert_eq!(text.matches("#EXT-X-MAP").count(), 1);
        for listed in listed(&text) {
            let (name, rung) = listed.uri.split_once("?r=").unwrap();
            assert_eq!(name, format!("{}.m4s", listed.number));
            let before = rungs.insert(listed.number, rung.to_owned());
            assert!(before.is_none_or(|before| before == rung));
        }
    }
    assert!(
        rungs
            .values()
            .collect::<std::collections::HashSet<_>>()
            .len()
            > 1
    );
    let names = ["low", "mid", "top"];
    // A viewer that is forgotten in between still gets what its playlist says.
    node.origin
        .viewers
        .expire(std::time::Instant::now() + std::time::Duration::from_secs(60));
    for (number, rung) in rungs.iter().rev().take(4) {
        let answer = ok(&node, &format!("v/{LISTED}/{number}.m4s?r={rung}")).await;
        assert_eq!(
            answer.headers()["spillway-rung"],
            names[rung.parse::<usize>().unwrap()]
        );
    }
}

#[tokio::test]
async fn the_rung_of_an_open_segment_is_listed_with_its_first_part_and_stays() {
    let (node, mut feed) = cycling(Terms::default()).await;
    let viewer = "00000000000a11ce.paris.l";
    for number in 1003..1020 {
        // The segment ends, and then the next one begins.
        feed.part();
        let text = text(&node, &format!("v/{viewer}/index.m3u8")).await;
        let last = text.lines().last().unwrap();
        let first_part = format!("URI=\"{number}.0.m4s?r=");
        let at = text.find(&first_part).unwrap() + first_part.len();
        let rung = text[at..].split('"').next().unwrap().to_owned();
        let hint = format!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{number}.1.m4s?r={rung}\"");
        assert_eq!(last, hint);
        let part = ok(&node, &format!("v/{viewer}/{number}.0.m4s?r={rung}")).await;
        let names = ["low", "mid", "top"];
        let name = names[rung.parse::<usize>().unwrap()];
        assert_eq!(part.headers()["spillway-rung"], name);

        feed.part();
        let text = self::text(&node, &format!("v/{viewer}/index.m3u8")).await;
        assert!(
            text.contains(&format!("\n{number}.m4s?r={rung}\n")),
            "{text}"
        );
        assert!(
            !text.contains("PRELOAD"),
            "nobody knows the next one's rung yet: {text}"
        );
    }
    let tagged = text(&node, "v/0000000000000b0b.paris.t/index.m3u8").await;
    assert!(
        !tagged.contains("EXT-X-PART") && !tagged.contains("CAN-SKIP"),
        "{tagged}"
    );
    let whole = text(&node, &format!("v/{viewer}/index.m3u8")).await;
    let delta = text(&node, &format!("v/{viewer}/index.m3u8?_HLS_skip=YES")).await;
    let (_, skipped) = delta
        .split_once("#EXT-X-SKIP:SKIPPED-SEGMENTS=")
        .unwrap_or(("", "0"));
    let skipped = skipped.lines().next().unwrap().parse::<usize>().unwrap();
    let (whole, delta) = (listed(&whole), listed(&delta));
    for (there, here) in whole[skipped..].iter().zip(&delta) {
        assert_eq!((&there.uri, &there.map), (&here.uri, &here.map));
    }
    assert_eq!(whole.len(), delta.len() + skipped);
}

#[tokio::test]
async fn a_rung_in_the_query_is_nothing_to_who_is_chosen_for_at_the_get() {
    let (node, mut feed) = cycling(Terms::default()).await;
    feed.segments(4);
    let viewer = "00000000000a11ce.paris";
    let plain = ok(&node, &format!("v/{viewer}/1003.m4s")).await;
    let plain = plain.headers()["spillway-rung"].clone();
    for rung in 0..3 {
        let answer = ok(&node, &format!("v/{viewer}/1003.m4s?r={rung}")).await;
        assert_eq!(answer.headers()["spillway-rung"], plain);
    }
}

#[tokio::test]
async fn a_node_that_drains_hands_over_what_it_told() {
    let (node, mut feed) = cycling(Terms::default()).await;
    let (other, mut other_feed) = cycling(Terms::default()).await;
    let path = format!("v/{TAGGED}/index.m3u8");
    for _ in 0..17 {
        feed.segments(1);
        other_feed.segments(1);
        text(&node, &path).await;
    }
    let here = text(&node, &path).await;
    node.origin.stance.store(Arc::new(Stance::Draining {
        to: other.url.clone(),
    }));
    // Followed, the redirect leads to the other node, which never saw this viewer.
    let there = text(&node, &path).await;
    let strip = |text: &str| {
        let lines = text
            .lines()
            .filter(|line| !line.starts_with("#EXT-X-PROGRAM-DATE-TIME"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(strip(&here), strip(&there));
    assert_eq!(other.origin.viewers.count(), 1);
    // It goes on from there, and what it was told first is what counts.
    other_feed.segments(3);
    let (before, after) = (listed(&there), listed(&text(&node, &path).await));
    for listed in after
        .iter()
        .filter(|after| before.iter().any(|before| before.number == after.number))
    {
        assert!(before.contains(listed), "{listed:?}");
    }
}

#[tokio::test]
async fn transport_streams_are_for_viewers_and_for_players_that_adapt_themselves() {
    let (node, _feed) = filmed(Terms::default()).await;
    let joined = text(&node, "index.m3u8?format=ts").await;
    let variants = parse::multivariant(&joined).unwrap();
    assert!(variants[0].uri.ends_with(".n.x/index.m3u8"), "{joined}");
    // Which VLC is given unasked: it survives an encoder's restart in this alone.
    let vlc = reqwest::Client::builder().user_agent("VLC/3.0.24 LibVLC/3.0.24");
    let url = format!("{}/live/demo/index.m3u8", node.url);
    let unasked = vlc.build().unwrap().get(url).send().await.unwrap();
    assert!(unasked.text().await.unwrap().contains(".n.x.w9/index.m3u8"));
    let list = text(&node, &format!("v/{TRANSPORT}/index.m3u8")).await;
    assert!(!list.contains("EXT-X-MAP"), "{list}");
    assert!(list.contains("\n1003.ts\n"), "{list}");
    let mine = ok(&node, &format!("v/{TRANSPORT}/1003.ts")).await;
    assert_eq!(mine.headers()["content-type"], "video/mp2t");
    assert_eq!(mine.headers()["cache-control"], "private, no-store");
    let rung = mine.headers()["spillway-rung"].to_str().unwrap().to_owned();
    let canonical = ok(&node, &format!("7/{rung}/1003.ts")).await;
    assert_eq!(
        canonical.headers()["cache-control"],
        "public, max-age=31536000, immutable"
    );
    let canonical = canonical.bytes().await.unwrap();
    assert_eq!(canonical, mine.bytes().await.unwrap());
    assert_eq!((canonical[0], canonical.len() % (188 * 16)), (0x47, 0));

    let all =
        parse::multivariant(&text(&node, "index.m3u8?abr=client&names=canonical&format=ts").await)
            .unwrap();
    assert_eq!(all[0].uri, "high.m3u8?format=ts");
    let list = text(&node, &all[0].uri).await;
    assert!(
        list.contains("\n7/high/1003.ts\n") && !list.contains("EXT-X-MAP"),
        "{list}"
    );

    let tagged = text(&node, &format!("v/{TAGGED}.x/index.m3u8")).await;
    assert!(
        tagged.contains("\n1003.ts?r=") && !tagged.contains("EXT-X-MAP"),
        "{tagged}"
    );
}

#[tokio::test]
async fn a_rung_has_an_init_section_of_its_own() {
    let (node, _feed) = filmed(Terms::default()).await;
    let mut inits = Vec::new();
    for rung in ["low", "high"] {
        let init = ok(&node, &format!("7/{rung}/init.mp4")).await;
        assert_eq!(init.headers()["content-type"], "video/mp4");
        inits.push(init.bytes().await.unwrap());
        let init = media::Init::parse(inits.last().unwrap()).unwrap();
        assert_eq!(init.video().unwrap().1.sps.len(), 1);
    }
    assert_ne!(inits[0], inits[1]);
    let nobody = ask(&node, "8/low/init.mp4").await;
    assert_eq!(nobody.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_cannot_be_made_of_a_stream_is_said_at_the_join_or_done_without() {
    let (node, mut feed) = cycling(Terms::default()).await;
    feed.segments(4);
    let refused = ask(&node, "index.m3u8?format=ts").await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let why = refused.text().await.unwrap();
    assert!(
        why.contains("cannot be given as MPEG-TS") && why.contains("leave out format=ts"),
        "{why}"
    );
    // The shared one will do.
    let shared = ok(&node, "7/init.mp4").await.bytes().await.unwrap();
    assert_eq!(
        ok(&node, "7/low/init.mp4").await.bytes().await.unwrap(),
        shared
    );
}

#[tokio::test]
async fn behind_a_cache_a_viewer_is_sent_to_what_everybody_shares() {
    let terms = Terms {
        behind_cdn: true,
        ..Terms::default()
    };
    let (node, mut feed) = cycling(terms).await;
    feed.segments(4);
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let viewer = format!("{}/live/demo/v/00000000000a11ce.paris/1002.m4s", node.url);
    let answer = client.build().unwrap().get(&viewer).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(answer.headers()["cache-control"], "private, no-store");
    let rung = answer.headers()["spillway-rung"].to_str().unwrap();
    assert_eq!(
        answer.headers()["location"],
        format!("../../7/{rung}/1002.m4s")
    );
    let media = reqwest::get(&viewer).await.unwrap();
    assert_eq!(
        media.headers()["cache-control"],
        "public, max-age=31536000, immutable"
    );
    let media = media.bytes().await.unwrap();
    let first = &media[..u32::from_be_bytes(*media.first_chunk().unwrap()) as usize];
    assert_eq!(synthetic::label(first), Some(&*format!("{rung}/2/0")));
    // Where the playlist says the rung, nobody needs to be sent anywhere.
    let list = text(&node, &format!("v/{LISTED}/index.m3u8")).await;
    for listed in listed(&list) {
        let canonical = ok(&node, &format!("v/{LISTED}/{}", listed.uri)).await;
        assert_eq!(
            canonical.headers()["cache-control"],
            "public, max-age=31536000, immutable"
        );
        assert!(listed.uri.starts_with("../../7/"), "{}", listed.uri);
    }
}

#[tokio::test]
async fn avplayer_is_told_of_switches_unless_it_asks_otherwise() {
    let (node, mut feed) = cycling(Terms::default()).await;
    feed.segments(4);
    let url = format!("{}/live/demo/index.m3u8", node.url);
    let request = reqwest::Client::new().get(url).header(
        "user-agent",
        "AppleCoreMedia/1.0.0.21A329 (iPhone; U; CPU OS 17_0 like Mac OS X)",
    );
    let text = request.send().await.unwrap().text().await.unwrap();
    let variants = parse::multivariant(&text).unwrap();
    assert!(variants[0].uri.ends_with(".n.t/index.m3u8"), "{text}");
}

/// A segment as a playlist tells of it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Listed {
    number: u64,
    uri: String,
    map: String,
    tagged: bool,
    /// Its discontinuity sequence number.
    timeline: u64,
}

fn listed(text: &str) -> Vec<Listed> {
    let (mut number, mut timeline) = (0, 0);
    let (mut tagged, mut map) = (false, String::new());
    let mut all = Vec::new();
    for line in text.lines() {
        if let Some(first) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
            number = first.parse().unwrap();
        } else if let Some(first) = line.strip_prefix("#EXT-X-DISCONTINUITY-SEQUENCE:") {
            timeline = first.parse().unwrap();
        } else if let Some(uri) = line.strip_prefix("#EXT-X-MAP:URI=") {
            map = uri.trim_matches('"').to_owned();
        } else if line == "#EXT-X-DISCONTINUITY" {
            tagged = true;
            timeline += 1;
        } else if !line.is_empty() && !line.starts_with('#') {
            all.push(Listed {
                number,
                uri: line.to_owned(),
                map: map.clone(),
                tagged: std::mem::take(&mut tagged),
                timeline,
            });
            number += 1;
        }
    }
    all
}

/// A node whose rule goes round the rungs, and three segments of synthetic media.
async fn cycling(terms: Terms) -> (TestNode, Feed) {
    let origin = Origin::ruled_by(Box::new(Cycle), "node".into(), Store::default(), terms);
    let node = TestNode::of(origin, patient()).await;
    let mut feed = node.feed(short());
    feed.segments(3);
    (node, feed)
}

/// Real media: the same 1.6 s over and over.
struct Film {
    producer: Producer,
    init: Arc<Init>,
    next: u64,
}

impl Film {
    fn head(&mut self) -> Head {
        self.next += 1;
        Head {
            number: self.next - 1,
            epoch: Epoch(7),
            init: self.init.clone(),
            discontinuity: false,
            timeline: 1,
            date_time: WallTime::from_millis(self.next as i64 * 1600),
        }
    }

    fn segment(&mut self) {
        let head = self.head();
        self.producer.open(head).unwrap();
        let media = [
            &include_bytes!("../media/tests/data/low.m4s")[..],
            include_bytes!("../media/tests/data/high.m4s"),
        ];
        let part = Part {
            duration: MediaTime::from_ticks(16, 10),
            open: 2,
            media: media.map(Bytes::from_static).to_vec(),
            renditions: Vec::new(),
        };
        self.producer.push(part, true).unwrap();
    }
}

async fn filmed(terms: Terms) -> (TestNode, Film) {
    let origin = Origin::new("node".into(), Store::default(), terms);
    let node = TestNode::of(origin, patient()).await;
    let mut producer = node.origin.store.create(&"demo".parse().unwrap()).unwrap();
    let shape = segmenter::Synthetic::new(
        &[("low", 145), ("high", 185)],
        MediaTime::from_ticks(16, 10),
        1,
    )
    .unwrap();
    producer.begin(Format {
        ladder: shape.hello().ladder.clone(),
        renditions: Renditions::default(),
        segment: MediaTime::from_ticks(16, 10),
        part: MediaTime::from_ticks(16, 10),
        listed: 6,
    });
    let init = Arc::new(Init {
        epoch: Epoch(7),
        media: Bytes::from_static(include_bytes!("../media/tests/data/init.mp4")),
        renditions: Vec::new(),
    });
    let mut film = Film {
        producer,
        init,
        next: 1000,
    };
    (0..4).for_each(|_| film.segment());
    (node, film)
}

async fn ask(node: &TestNode, path: &str) -> Response {
    reqwest::get(format!("{}/live/demo/{path}", node.url))
        .await
        .unwrap()
}

async fn ok(node: &TestNode, path: &str) -> Response {
    let answer = ask(node, path).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    answer
}

async fn text(node: &TestNode, path: &str) -> String {
    ok(node, path).await.text().await.unwrap()
}
