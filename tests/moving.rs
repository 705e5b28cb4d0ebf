//! Viewers who are sent elsewhere one by one: since there is room again, by a redirect or by content steering.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;

use std::sync::Arc;

use adaptation::region::Region;
use node::{TestNode, patient, short};
use playlists::parse;
use reqwest::{Client, Response, redirect::Policy};
use serde_json::Value;
use spillway::origin::Stance;

const ALICE: &str = "00000000000a11ce.paris";
const BOB: &str = "0000000000000b0b.paris";
const TAGGED: &str = "000000000000face.paris.n.t";
const HOME: &str = "http://primary.test:8080";

async fn node() -> (TestNode, node::Feed) {
    let node = TestNode::start("relay", None, patient()).await;
    node.origin.address.set(node.url.clone()).unwrap();
    let mut feed = node.feed(short());
    feed.segments(6);
    (node, feed)
}

async fn get(node: &TestNode, path: &str) -> Response {
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    let url = format!("{}/live/demo/{path}", node.url);
    client.get(url).send().await.unwrap()
}

async fn watch(node: &TestNode, viewer: &str, number: u64) -> u16 {
    let answer = get(node, &format!("v/{viewer}/{number}.m4s")).await;
    let status = answer.status().as_u16();
    answer.bytes().await.unwrap();
    status
}

fn give(node: &TestNode, keep: Option<u32>) {
    let to = HOME.to_owned();
    node.origin
        .stance
        .store(Arc::new(Stance::Giving { to, keep }));
}

/// Watching here, and sent away.
fn census(node: &TestNode) -> (u32, u32) {
    let census = node.origin.viewers.census();
    (census.regions["paris"].viewers, census.moved)
}

#[tokio::test]
async fn whoever_is_beyond_what_may_stay_is_sent_back_and_is_not_taken_again() {
    let (node, _feed) = node().await;
    for viewer in [ALICE, BOB] {
        assert_eq!(watch(&node, viewer, 1001).await, 200);
    }
    give(&node, None);
    assert_eq!(
        get(&node, &format!("v/{ALICE}/index.m3u8")).await.status(),
        200
    );
    give(&node, Some(1));
    let sent = get(&node, &format!("v/{ALICE}/index.m3u8?_HLS_skip=YES")).await;
    assert_eq!(sent.status(), 307);
    let to = sent.headers()["location"].to_str().unwrap().to_owned();
    assert!(
        to.starts_with(&format!("{HOME}/live/demo/v/{ALICE}/index.m3u8?")),
        "{to}"
    );
    assert_eq!(census(&node), (1, 1));
    // One may stay, and stays.
    for path in ["index.m3u8", "1002.m4s"] {
        assert_eq!(get(&node, &format!("v/{BOB}/{path}")).await.status(), 200);
    }
    // All may stay: who is elsewhere goes on there, whatever it asks for.
    give(&node, None);
    for path in ["index.m3u8", "1002.m4s", "1002.0.m4s"] {
        assert_eq!(
            get(&node, &format!("v/{ALICE}/{path}")).await.status(),
            307,
            "{path}"
        );
    }
    assert_eq!(
        get(&node, "index.m3u8").await.status(),
        200,
        "joins are for the manager to send"
    );
    // There is nowhere else any more.
    node.origin.stance.store(Arc::new(Stance::Serving));
    assert_eq!(watch(&node, ALICE, 1003).await, 200);
    assert_eq!(census(&node), (2, 0));
}

/// On a primary.
#[tokio::test]
async fn viewers_of_a_region_that_is_wanted_elsewhere_go_there_and_who_is_sent_back_stays() {
    const OTHER: &str = "0000000000000b0b.lyon";
    const NEW: &str = "0000000000000111.paris";
    let (node, _feed) = node().await;
    for viewer in [ALICE, OTHER] {
        assert_eq!(watch(&node, viewer, 1001).await, 200);
    }
    let to = [(Region::new("paris"), HOME.to_owned())].into();
    let stance = Stance::Sending { to };
    node.origin.stance.store(Arc::new(stance));
    for path in ["index.m3u8", "1002.m4s", "1002.0.m4s"] {
        let sent = get(&node, &format!("v/{ALICE}/{path}")).await;
        assert_eq!(sent.status(), 307, "{path}");
        let to = sent.headers()["location"].to_str().unwrap();
        let there = format!("{HOME}/live/demo/v/{ALICE}/{path}?");
        assert!(to.starts_with(&there) && to.contains("seen="), "{to}");
        assert_eq!(
            get(&node, &format!("v/{OTHER}/{path}")).await.status(),
            200,
            "{path}"
        );
    }
    assert_eq!(census(&node), (0, 1));
    // The relay drains, of which the primary has not heard yet: nobody is sent to and fro, whatever is known of it.
    for mark in ["seen=900", "sent=1"] {
        for path in ["index.m3u8", "1003.m4s"] {
            let back = get(&node, &format!("v/{ALICE}/{path}?{mark}")).await;
            assert_eq!(back.status(), 200, "{path} {mark}");
        }
    }
    // Of whom nothing is known, that is told.
    let sent = get(&node, &format!("v/{NEW}/index.m3u8?_HLS_skip=YES")).await;
    assert_eq!(
        sent.headers()["location"],
        format!("{HOME}/live/demo/v/{NEW}/index.m3u8?_HLS_skip=YES&sent=1")
    );
    node.origin.stance.store(Arc::new(Stance::Serving));
    assert_eq!(watch(&node, ALICE, 1004).await, 200);
    assert_eq!(census(&node), (1, 0));
}

#[tokio::test]
async fn a_player_that_honours_steering_is_told_two_pathways_and_others_one() {
    let (node, _feed) = node().await;
    node.origin.keeper.store(Some(Arc::new(HOME.to_owned())));
    let text = |query: &'static str, agent: &'static str| {
        let url = format!("{}/live/demo/index.m3u8{query}", node.url);
        async move {
            let client = Client::builder().user_agent(agent).build().unwrap();
            client.get(url).send().await.unwrap().text().await.unwrap()
        }
    };
    let plain = text("", "Mozilla/5.0").await;
    assert!(
        !plain.contains("STEERING") && !plain.contains("PATHWAY"),
        "{plain}"
    );
    let apple = text("", "AppleCoreMedia/1.0").await;
    assert!(
        apple.contains("#EXT-X-CONTENT-STEERING:SERVER-URI=\"v/"),
        "{apple}"
    );

    let steered = text("?steering=1", "Mozilla/5.0").await;
    let here = node.url.trim_start_matches("http://").replace(':', "-");
    let tag = format!("/steering.json\",PATHWAY-ID=\"{here}\"");
    assert!(steered.contains(&tag), "{steered}");
    assert!(
        steered.contains("PATHWAY-ID=\"primary.test-8080\""),
        "{steered}"
    );
    let variants = parse::multivariant(&steered).unwrap();
    assert_eq!(variants.len(), 2);
    assert!(variants[0].uri.starts_with("v/"));
    assert_eq!(
        variants[1].uri,
        format!("{HOME}/live/demo/{}", variants[0].uri)
    );
    assert_eq!(
        get(&node, "index.m3u8?steering=perhaps").await.status(),
        400
    );
}

async fn manifest(node: &TestNode, viewer: &str, query: &str) -> Value {
    let answer = get(node, &format!("v/{viewer}/steering.json{query}")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.headers()["cache-control"], "private, no-store");
    answer.json().await.unwrap()
}

#[tokio::test]
async fn a_steered_viewer_is_told_to_stay_and_then_where_to_go_with_what_is_known_of_it() {
    let (node, _feed) = node().await;
    let here = node.url.trim_start_matches("http://").replace(':', "-");
    node.origin.keeper.store(Some(Arc::new(HOME.to_owned())));
    watch(&node, ALICE, 1001).await;
    let stays = manifest(&node, ALICE, "?_HLS_pathway=cdn-7").await;
    assert_eq!((&stays["VERSION"], &stays["TTL"]), (&1.into(), &10.into()));
    assert_eq!(
        stays["PATHWAY-PRIORITY"],
        serde_json::json!([format!("{here}.moved"), here, "primary.test-8080", "cdn-7"])
    );
    assert!(stays.get("RELOAD-URI").is_none());

    // It was told which rungs it would get, which goes along.
    let listed = get(&node, &format!("v/{TAGGED}/index.m3u8")).await;
    assert_eq!(listed.status(), 200);
    node.origin
        .stance
        .store(Arc::new(Stance::Draining { to: HOME.into() }));
    let goes = manifest(&node, TAGGED, "").await;
    assert_eq!(
        goes["RELOAD-URI"],
        format!("{HOME}/live/demo/v/{TAGGED}/steering.json")
    );
    assert_eq!(goes["PATHWAY-PRIORITY"][0], "primary.test-8080.moved");
    assert_eq!(goes["PATHWAY-PRIORITY"][1], "primary.test-8080");
    let clone = &goes["PATHWAY-CLONES"][0];
    assert_eq!(
        (&clone["BASE-ID"], &clone["ID"]),
        (
            &"primary.test-8080".into(),
            &"primary.test-8080.moved".into()
        )
    );
    let told = clone["URI-REPLACEMENT"]["PARAMS"]["told"].as_str();
    assert!(told.is_some_and(|told| !told.is_empty()), "{clone}");

    // To a node that nobody was told of: by its host, if that is all that differs.
    let to = "http://other.test:8080".to_owned();
    node.origin.stance.store(Arc::new(Stance::Draining { to }));
    let goes = manifest(&node, ALICE, "").await;
    assert!(
        goes.get("PATHWAY-CLONES").is_none(),
        "its port is another: {goes}"
    );
    let port = node.url.rsplit(':').next().unwrap();
    let to = format!("http://other.test:{port}");
    node.origin.stance.store(Arc::new(Stance::Draining { to }));
    let goes = manifest(&node, ALICE, "").await;
    assert_eq!(goes["PATHWAY-CLONES"][0]["BASE-ID"], here);
    assert_eq!(
        goes["PATHWAY-CLONES"][0]["URI-REPLACEMENT"]["HOST"],
        "other.test"
    );
}
