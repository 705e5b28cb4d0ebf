//! What a node hears of a viewer and says to it, and how its decisions are explained, kept and made again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;

use std::path::PathBuf;

use adaptation::{Decision, Mpc, Rate, Rule};
use axum::{body::Body, http::Request};
use node::{FIRST, TestNode, patient, short};
use reqwest::{StatusCode, header::HeaderMap};
use serde_json::Value;
use spillway::{
    net::Fetcher,
    origin::{
        Origin, Stance, Terms,
        arms::Arms,
        explain::{Explained, KEPT},
        journal, ops,
        viewers::Rules,
        weights::Weights,
    },
    player::{Config, Event, Player},
    store::Store,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

const VIEWER: &str = "00000000000a11ce.paris";

/// A node with these rules, and segments `FIRST` to `FIRST + 11`.
async fn ruled(rules: Rules, terms: Terms) -> (TestNode, node::Feed) {
    let origin = Origin::ruled_by(rules, "node".into(), Store::default(), terms);
    let node = TestNode::of(origin, patient()).await;
    let mut feed = node.feed_listing(short(), 12);
    feed.segments(12);
    (node, feed)
}

fn one(rule: impl Rule + 'static) -> Rules {
    Rules::from(Box::new(rule))
}

/// What a viewer is told who asks for a name of its own.
async fn ask(node: &TestNode, name: &str, headers: &[(&str, &str)]) -> HeaderMap {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let mut request = client
        .build()
        .unwrap()
        .get(format!("{}/live/demo/v/{name}", node.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    assert!(
        answer.status() == StatusCode::OK || answer.status() == StatusCode::TEMPORARY_REDIRECT,
        "{name}: {}",
        answer.status()
    );
    let headers = answer.headers().clone();
    answer.bytes().await.unwrap();
    headers
}

/// Segments `FIRST` to `FIRST + 4` with the same query; returns the last rung.
async fn rung_with(node: &TestNode, viewer: &str, query: &str, headers: &[(&str, &str)]) -> String {
    let mut rung = String::new();
    for number in FIRST..FIRST + 5 {
        let told = ask(node, &format!("{viewer}/{number}.m4s?{query}"), headers).await;
        rung = told["spillway-rung"].to_str().unwrap().to_owned();
    }
    rung
}

/// What an operator is answered.
async fn operator(node: &TestNode, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let app = ops::private(node.origin.clone());
    let answer = app.oneshot(request).await.unwrap();
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX);
    let body = body.await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn json(node: &TestNode, path: &str) -> Value {
    let (status, text) = operator(node, path).await;
    assert_eq!(status, StatusCode::OK, "{path}: {text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn what_a_player_says_of_itself_lowers_its_rung_and_nonsense_changes_nothing() {
    let (node, _feed) = ruled(one(Rate::default()), Terms::default()).await;
    let rung = async |key: u32, query: &str, headers: &[(&str, &str)]| {
        rung_with(&node, &format!("{key:016x}.paris"), query, headers).await
    };
    assert_eq!(rung(1, "", &[]).await, "top", "loopback is fast");
    // It plays no more than 1200 kbit/s.
    assert_eq!(rung(2, "CMCD=bl%3D9000%2Ctb%3D1200", &[]).await, "mid");
    assert_eq!(rung(3, "", &[("CMCD-Object", "ot=v,tb=1200")]).await, "mid");
    assert_eq!(rung(4, "CMCD=rtp%3D300", &[]).await, "low");
    let nonsense = "CMCD=bl%3D%2C%22%2C(%2Ctb%3D-1%2C%FF%2Cmtp%3D(((";
    assert_eq!(
        rung(5, nonsense, &[("CMCD-Status", "bs=maybe,,=")]).await,
        "top"
    );
    // What it measured does not raise what we measured.
    assert_eq!(rung(6, "CMCD=mtp%3D900000%2Ctb%3D1200", &[]).await, "mid");
}

#[tokio::test]
async fn a_word_of_a_player_is_in_no_name_that_others_use() {
    let said = "CMCD=bl%3D2100%2Csu";
    let terms = Terms {
        behind_cdn: true,
        ..Terms::default()
    };
    let (node, _feed) = ruled(one(Rate::default()), terms).await;
    let told = ask(&node, &format!("{VIEWER}/{FIRST}.m4s?{said}"), &[]).await;
    let location = told["location"].to_str().unwrap();
    assert!(
        location.starts_with("../../7/") && !location.contains('?'),
        "{location}"
    );
    node.origin
        .stance
        .store(std::sync::Arc::new(Stance::Draining {
            to: "http://b:1".into(),
        }));
    for name in [
        format!("{VIEWER}/index.m3u8?{said}&_HLS_msn=1012"),
        format!("{VIEWER}/{FIRST}.m4s?r=1&{said}"),
    ] {
        let told = ask(&node, &name, &[]).await;
        let location = told["location"].to_str().unwrap();
        assert!(
            location.starts_with("http://b:1/live/demo/v/") && !location.contains("CMCD"),
            "{location}"
        );
        assert!(location.contains("_HLS_msn=1012") || location.contains("r=1"));
    }
}

#[tokio::test]
async fn a_segment_says_what_its_path_carries_and_how_much_may_be_taken() {
    let (node, _feed) = ruled(one(Rate::default()), Terms::default()).await;
    ask(&node, &format!("{VIEWER}/{FIRST}.m4s"), &[]).await;
    let origin = [("origin", "http://page"), ("spillway-explain", "1")];
    let told = ask(&node, &format!("{VIEWER}/{}.m4s", FIRST + 1), &origin).await;
    let text = |name: &str| told[name].to_str().unwrap().to_owned();
    assert_eq!(text("cmsd-static"), "br=2000,d=800,ot=av,sf=h,st=ll");
    let dynamic = text("cmsd-dynamic");
    assert!(dynamic.starts_with("\"node\";etp="), "{dynamic}");
    assert!(dynamic.contains(";rd="), "{dynamic}");
    // It has one variant, and a player that took this for too much would have none: Shaka does not play then.
    assert!(!dynamic.contains(";mb="), "{dynamic}");
    let decision = text("spillway-decision");
    assert!(
        decision.starts_with("rule=rate, ceiling=2, price=0.000, arm=0"),
        "{decision}"
    );
    let exposed = text("access-control-expose-headers");
    assert!(
        exposed.contains("cmsd-static") && exposed.contains("cmsd-dynamic"),
        "{exposed}"
    );
    let told = ask(&node, &format!("{VIEWER}/{}.m4s", FIRST + 2), &[]).await;
    assert!(!told.contains_key("spillway-decision"), "only for who asks");
}

#[tokio::test]
async fn rungs_are_chosen_by_how_good_they_look_where_that_is_known() {
    let node = TestNode::of(
        Origin::ruled_by(
            one(Mpc::default()),
            "node".into(),
            Store::default(),
            Terms::default(),
        ),
        patient(),
    )
    .await;
    let media = short().scored(&[50.0, 90.0, 100.0]).unwrap();
    let worth = media.hello().ladder.worth();
    let mut feed = node.feed(media);
    feed.segments(6);
    ask(&node, &format!("{VIEWER}/{FIRST}.m4s"), &[]).await;
    let path = format!("/v1/viewers/{VIEWER}/decisions?format=jsonl");
    let (_, line) = operator(&node, &path).await;
    let decision: Decision = serde_json::from_str(&line).unwrap();
    assert_eq!(decision.again().unwrap().rung, decision.rung);
    assert_eq!((worth.len(), decision.quality), (3, worth), "{line}");
    let streams = json(&node, "/v1/streams").await;
    assert_eq!(streams[0]["rungs"][1]["score"], 90.0);
}

#[tokio::test]
async fn what_a_viewer_fetches_twice_it_has_once() {
    let (node, _feed) = ruled(one(Rate::default()), Terms::default()).await;
    let fetch = async |name: &str, range: &str| {
        let request =
            reqwest::Client::new().get(format!("{}/live/demo/v/{VIEWER}/{name}", node.url));
        let request = match range {
            "" => request,
            range => request.header("range", range),
        };
        let body = request.send().await.unwrap().bytes().await.unwrap();
        body.len() as u64
    };
    let level = async |octets: u64| {
        // Octets count once they are known to have arrived.
        loop {
            let shown = json(&node, &format!("/v1/viewers/{VIEWER}")).await;
            let viewer = &shown[0];
            if viewer["octets"].as_u64().unwrap() >= octets {
                return viewer["buffer_ms"].as_u64().unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    const SEGMENT: u64 = 800;
    // Whole segments.
    let name = format!("{FIRST}.m4s");
    let whole = fetch(&name, "").await;
    let mut octets = whole + fetch(&name, "").await;
    assert!(level(octets).await <= SEGMENT);
    // What is left of one, after what came of it.
    octets += fetch(&name, &format!("bytes={}-", whole / 2)).await;
    assert!(level(octets).await <= SEGMENT);
    let next = format!("{}.m4s", FIRST + 1);
    octets += fetch(&next, "bytes=0-9999").await;
    octets += fetch(&next, "bytes=10000-").await;
    octets += fetch(&next, "bytes=5000-").await;
    assert!(level(octets).await <= 2 * SEGMENT);
    // Parts, and the segment that they are of.
    let part = |part: u32| format!("{}.{part}.m4s", FIRST + 2);
    for name in [
        part(0),
        part(0),
        part(1),
        part(0),
        format!("{}.m4s", FIRST + 2),
    ] {
        octets += fetch(&name, "").await;
    }
    let level = level(octets).await;
    assert!(level <= 3 * SEGMENT, "{level}");
}

#[tokio::test]
async fn the_last_decisions_of_a_viewer_can_be_made_again() {
    let (node, _feed) = ruled(one(Mpc::default()), Terms::default()).await;
    for number in FIRST..FIRST + 12 {
        ask(&node, &format!("{VIEWER}/{number}.m4s?CMCD=bl%3D1500"), &[]).await;
        // A retry is no decision.
        ask(&node, &format!("{VIEWER}/{number}.m4s"), &[]).await;
    }
    let path = format!("/v1/viewers/{VIEWER}/decisions");
    let shown = json(&node, &path).await;
    let decisions = shown[0]["decisions"].as_array().unwrap();
    assert_eq!(decisions.len(), 12);
    let (_, lines) = operator(&node, &format!("{path}?format=jsonl")).await;
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 12);
    for (line, number) in lines.iter().zip(FIRST..) {
        let explained: Explained = serde_json::from_str(line).unwrap();
        let decision = &explained.decision;
        assert_eq!(
            (explained.viewer.as_str(), decision.number),
            (VIEWER, number)
        );
        assert_eq!(
            (decision.rule.as_str(), decision.pictures.len()),
            ("mpc", 3)
        );
        // Those behind it are known as well, up to the edge.
        assert_eq!(decision.sizes.len() as u64, FIRST + 12 - number);
        assert!(
            decision.viewer.buffer.is_some() || number == FIRST,
            "{line}"
        );
        let again = decision.again().unwrap();
        assert_eq!(
            (again.rung, again.reason),
            (decision.rung, decision.reason),
            "{line}"
        );
    }
    let (status, _) = operator(&node, "/v1/viewers/0000000000000b0b/decisions").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn decisions_are_kept_of_so_many_viewers_and_of_whoever_is_asked_after() {
    let rules = Rules {
        explained: 1,
        ..one(Rate::default())
    };
    let (node, _feed) = ruled(rules, Terms::default()).await;
    for viewer in ["0000000000000001.paris", "0000000000000002.paris"] {
        ask(&node, &format!("{viewer}/{FIRST}.m4s"), &[]).await;
    }
    let kept = async |key: u32| {
        let shown = json(&node, &format!("/v1/viewers/{key:016x}/decisions")).await;
        let count = shown[0]["decisions"].as_array().unwrap().len();
        (count, shown[0]["note"].is_string())
    };
    assert_eq!(kept(1).await, (1, false));
    assert_eq!(kept(2).await, (0, true));
    let next = FIRST + 1;
    ask(&node, &format!("0000000000000002.paris/{next}.m4s"), &[]).await;
    assert_eq!(kept(2).await, (1, false), "from then on");
    const { assert!(KEPT == 16) };
}

#[tokio::test]
async fn every_decision_is_written_down_and_the_file_does_not_outgrow_its_size() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("adapting-journal");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let (file, old) = (
        folder.join("decisions.jsonl"),
        folder.join("decisions.jsonl.1"),
    );
    let (journal, writer) = journal::open(&file, Some(6_000)).await.unwrap();
    let rules = Rules {
        explained: 0,
        journal: Some(journal),
        ..one(Mpc::default())
    };
    let (node, _feed) = ruled(rules, Terms::default()).await;
    let stop = CancellationToken::new();
    let writing = tokio::spawn(writer.run(stop.clone()));
    for number in FIRST..FIRST + 12 {
        ask(&node, &format!("{VIEWER}/{number}.m4s"), &[]).await;
    }
    stop.cancel();
    writing.await.unwrap();
    assert!(std::fs::metadata(&file).unwrap().len() <= 6_000);
    let text = std::fs::read_to_string(&old).unwrap() + &std::fs::read_to_string(&file).unwrap();
    let mut last = 0;
    for line in text.lines() {
        // Whoever only wants to make it again need not know whose it is.
        let decision: Decision = serde_json::from_str(line).unwrap();
        assert_eq!(decision.again().unwrap().rung, decision.rung);
        last = decision.number;
    }
    assert_eq!(
        last,
        FIRST + 11,
        "what was handed in before the end is written"
    );
    let counts = json(&node, "/v1/viewers").await["decisions"].clone();
    assert_eq!(
        (counts["written"].as_u64(), counts["left_out"].as_u64()),
        (Some(12), Some(0))
    );
}

#[tokio::test]
async fn viewers_are_divided_among_rules_and_each_rules_results_are_summed() {
    let arms = Arms::new(vec![
        (Box::new(Mpc::default()) as Box<dyn Rule>, 1),
        (Box::new(Rate::default()), 1),
    ]);
    let rules = Rules {
        arms: arms.unwrap(),
        ..one(Mpc::default())
    };
    let (node, _feed) = ruled(rules, Terms::default()).await;
    for key in 0..40 {
        for number in FIRST..FIRST + 2 {
            ask(&node, &format!("{key:016x}.paris/{number}.m4s"), &[]).await;
        }
    }
    let of = |key: u64| node.origin.viewers.rules.arms.of(key);
    let second = (0..40).filter(|key| of(*key) == 1).count() as u64;
    assert!((8..=32).contains(&second), "{second} of 40");
    let viewers = json(&node, "/v1/viewers").await;
    for viewer in viewers["viewers"].as_array().unwrap() {
        let key = viewer["viewer"].as_str().unwrap().split('.').next();
        let key = u64::from_str_radix(key.unwrap(), 16).unwrap();
        assert_eq!(viewer["arm"], of(key), "{viewer}");
    }
    let shown = json(&node, "/v1/arms").await;
    assert_eq!(
        (&shown["arms"][0]["rule"], &shown["arms"][1]["rule"]),
        (&"mpc".into(), &"rate".into())
    );
    let viewers = |shown: &Value, arm: usize| shown["arms"][arm]["viewers"].as_u64().unwrap();
    assert_eq!(
        (viewers(&shown, 0), viewers(&shown, 1)),
        (40 - second, second)
    );
    assert!(
        shown["arms"][1]["mean_kbps"].as_u64().unwrap() > 500,
        "{shown}"
    );

    // Who has gone still counts. The last may still be acknowledging its segment.
    let mut late = std::time::Instant::now();
    let gone = async {
        while node.origin.viewers.count() > 0 {
            late += std::time::Duration::from_secs(60);
            node.origin.viewers.expire(late);
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), gone)
        .await
        .unwrap();
    let after = json(&node, "/v1/arms").await;
    assert_eq!(
        (viewers(&after, 0), viewers(&after, 1)),
        (40 - second, second)
    );
    assert_eq!(after["arms"][0]["watching"], 0);
}

#[tokio::test]
async fn a_player_that_adapts_by_itself_is_a_viewer_and_is_told_how_much_it_may_take() {
    let terms = Terms {
        budget: Some(playlists::Bitrate::from_kbps(1000)),
        ..Terms::default()
    };
    let (node, _feed) = ruled(one(Rate::default()), terms).await;
    let get = async |url: String| reqwest::get(url).await.unwrap().text().await.unwrap();
    let base = format!("{}/live/demo", node.url);
    let index = get(format!("{base}/index.m3u8?abr=client")).await;
    let names = index.lines().filter(|line| !line.starts_with('#'));
    let names: Vec<_> = names.filter(|line| !line.is_empty()).collect();
    assert_eq!(names.len(), 3, "{index}");
    // One that most can have comes first, then the dearest.
    assert!(names[0].ends_with("/mid.m3u8"), "{index}");
    let own = names[1].strip_prefix("v/").unwrap();
    let (viewer, rung) = own.split_once('/').unwrap();
    assert_eq!(rung, "top.m3u8", "{index}");
    // The text is that of everybody.
    let list = get(format!("{base}/v/{own}")).await;
    assert_eq!(list, get(format!("{base}/top.m3u8")).await);
    assert!(list.contains("\n7/top/1000.m4s\n"), "{list}");
    for number in FIRST..FIRST + 3 {
        let told = ask(&node, &format!("{viewer}/7/top/{number}.m4s"), &[]).await;
        assert_eq!(told["spillway-rung"], "top", "its own choice");
        assert_eq!(
            told["cache-control"],
            "private, max-age=31536000, immutable"
        );
    }
    // It counts, and once the egress has been shared the most it should take is said.
    let shown = json(&node, &format!("/v1/viewers/{viewer}")).await;
    assert_eq!(
        (&shown[0]["rung"], &shown[0]["arm"]),
        (&2.into(), &Value::Null)
    );
    let name = |number: u64| format!("{viewer}/7/top/{number}.m4s");
    until_told(&node, name, ("cmsd-dynamic", ";mb=1200;")).await;
    assert_eq!(json(&node, "/v1/arms").await["arms"][0]["viewers"], 0);
    // Who hands it on, or caches it, finds the canonical names.
    let index = get(format!("{base}/index.m3u8?abr=client&names=canonical")).await;
    assert!(index.contains("\ntop.m3u8\n"), "{index}");
}

/// Asks on until a header of what is answered says this.
async fn until_told(node: &TestNode, name: impl Fn(u64) -> String, (header, most): (&str, &str)) {
    let told = async {
        for number in FIRST.. {
            let explain = [("spillway-explain", "1")];
            let told = ask(node, &name(number.min(FIRST + 11)), &explain).await;
            if told[header].to_str().unwrap().contains(most) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let told = tokio::time::timeout(std::time::Duration::from_secs(10), told).await;
    assert!(told.is_ok(), "nobody said {most}");
}

#[tokio::test]
async fn who_is_held_down_is_sent_no_faster_than_its_ceiling_needs() {
    let terms = Terms {
        budget: Some(playlists::Bitrate::from_kbps(1000)),
        pace: Some(1.2),
        ..Terms::default()
    };
    let (node, _feed) = ruled(one(Rate::default()), terms).await;
    until_told(
        &node,
        |number| format!("{VIEWER}/{number}.m4s"),
        ("spillway-decision", "ceiling=1,"),
    )
    .await;
    let client = reqwest::Client::new();
    let (start, mut octets) = (std::time::Instant::now(), 0);
    for _ in 0..6 {
        let url = format!("{}/live/demo/v/{VIEWER}/{}.m4s", node.url, FIRST + 11);
        let answer = client.get(url).send().await.unwrap();
        octets += answer.bytes().await.unwrap().len();
    }
    let took = start.elapsed();
    // A fifth of what it takes at 1.2 times 1200 kbit/s, for each answer begins with a burst, and on loopback
    // packets are large; at its speed it were milliseconds.
    let least = octets as f64 * 8.0 / 1_440_000.0 / 5.0;
    assert!(
        octets > 300_000 && took.as_secs_f64() > least,
        "{octets} in {took:?}"
    );
}

#[tokio::test]
async fn viewers_of_a_stream_that_weighs_more_are_held_down_last() {
    let heavy: spillway::store::StreamName = "heavy".parse().unwrap();
    let terms = Terms {
        budget: Some(playlists::Bitrate::from_kbps(3000)),
        weights: Weights {
            streams: [(heavy.clone(), 4.0)].into(),
            ..Weights::default()
        },
        ..Terms::default()
    };
    let (node, _feed) = ruled(one(Rate::default()), terms).await;
    let producer = node.origin.store.create(&heavy).unwrap();
    let mut feed = node::Feed::new(producer, short());
    feed.segments(6);
    for stream in ["demo", "heavy"] {
        for key in 0..2 {
            let name = format!("../../{stream}/v/{key:016x}.paris/{FIRST}.m4s");
            ask(&node, &name, &[]).await;
        }
    }
    let shared = async {
        loop {
            let share = node.origin.share.load();
            let all = (share.ceiling("heavy", 0, 0), share.ceiling("heavy", 0, 1));
            if share.budget.is_some() && share.price() > 0.0 {
                return (
                    all,
                    share.ceiling("demo", 0, 0).min(share.ceiling("demo", 0, 1)),
                );
            }
            drop(share);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let shared = tokio::time::timeout(std::time::Duration::from_secs(10), shared).await;
    let ((one, two), least) = shared.unwrap();
    assert!(
        one >= 1 && two >= 1 && least == 0,
        "{one} {two}, of the others {least}"
    );
}

#[tokio::test]
async fn our_own_client_says_what_its_rungs_were_chosen_from() {
    let (node, _feed) = ruled(one(Mpc::default()), Terms::default()).await;
    let fetcher = Fetcher::new().unwrap().saying("spillway-explain", "1");
    let url = format!("{}/live/demo/index.m3u8", node.url);
    let mut player = Player::new(fetcher, url.parse().unwrap(), Config::default());
    let mut said = Vec::new();
    while said.len() < 3 {
        if let Event::Segment(report) = player.step().await.unwrap() {
            said.push(report.explained.clone().unwrap());
        }
    }
    assert!(
        said[0].starts_with("rule=mpc, ceiling=2, price=0.000, arm=0"),
        "{said:?}"
    );
    assert!(
        said[2].contains("buffer=") && said[2].contains("; path \"node\";etp="),
        "{said:?}"
    );
}
