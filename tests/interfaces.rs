//! What other programs rest on: the descriptions of the interfaces at `/v1/openapi.json`, which hold, and webhooks.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;
#[path = "interfaces/schema.rs"]
mod schema;
#[path = "managing/town.rs"]
#[allow(dead_code, reason = "managing uses the rest")]
mod town;
#[path = "interfaces/webhooks.rs"]
mod webhooks;

use axum::http::Method;
use node::{TestNode, patient, short};
use reqwest::StatusCode;
use schema::Document;
use segmenter::wire::{Alert, Health, InputHealth};
use serde_json::{Value, json};
use spillway::{manager::operator::Operator, net, origin::ops, store::Intake};
use town::{Town, config, primary_report, relay_report};

/// A node with a stream and a viewer of it, and its operator's listener.
async fn watched() -> (TestNode, String) {
    let node = TestNode::start("node", None, patient()).await;
    let mut feed = node.feed(short());
    feed.segments(4);
    feed.producer.report(Intake {
        runs: 2,
        health: Some(troubled()),
    });
    let join = format!("{}/live/demo", node.url);
    for path in [
        format!("{join}/v/{VIEWER}/index.m3u8"),
        format!("{join}/v/{VIEWER}/1001.m4s"),
    ] {
        let answer = reqwest::get(&path).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.bytes().await.unwrap();
    }
    // A stream is gone with its feed.
    std::mem::forget(feed);
    let listener = net::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let private = ops::private(node.origin.clone());
    let stop = node.stop.clone();
    tokio::spawn(net::serve(listener, private, net::Limits::default(), stop));
    (node, url)
}

/// What a segmenter reports that cannot keep up.
fn troubled() -> Health {
    Health {
        backup: Some(InputHealth::default()),
        alerts: vec![Alert::EncoderOverloaded],
        ..Health::default()
    }
}

/// A manager that has a primary, a relay, a region that is pinned, and decisions.
async fn governing() -> Town {
    let town = Town::with(config(), |means| {
        means.operator = Operator::with(TOKEN).unwrap();
    })
    .await;
    let mut report = primary_report();
    report
        .load
        .regions
        .entry("paris".into())
        .or_default()
        .viewers = 4;
    let stop = town.stop.child_token();
    // They end with the town, and it not with them.
    town::Node::start(&town.url, report, stop.child_token());
    town::Node::start(&town.url, relay_report("relay", Some("paris")), stop);
    town.until(|routing| routing.ready).await;
    town
}

#[tokio::test]
async fn what_a_node_answers_is_as_its_description_says() {
    let (_node, url) = watched().await;
    let document = Document::read(&url).await;
    let known = [("viewer", VIEWER)];
    let seen = document.all_get_answers(&url, &known).await;
    assert_eq!(seen["/v1/streams"][0]["rungs"][0]["rung"], "low");
    assert_eq!(seen["/v1/viewers"]["viewers"][0]["viewer"], VIEWER);
    assert_eq!(seen["/v1/viewers/{viewer}"][0]["stream"], "demo");
    let decisions = &seen["/v1/viewers/{viewer}/decisions"];
    assert_eq!(
        decisions[0]["decisions"][0]["viewer"], VIEWER,
        "{decisions}"
    );
    for (path, asked, status) in [
        ("/v1/viewers", "/v1/viewers?after=nonsense", 400),
        ("/v1/viewers", "/v1/viewers?limit=x", 400),
        ("/v1/viewers", "/v1/viewers?limit=0", 400),
        ("/v1/viewers", "/v1/viewers?stream=a/b", 400),
        ("/v1/viewers/{viewer}", "/v1/viewers/nobody", 404),
        ("/v1/viewers/{viewer}", "/v1/viewers/%ff", 400),
        (
            "/v1/viewers/{viewer}/decisions",
            "/v1/viewers/nobody/decisions",
            404,
        ),
        (
            "/v1/viewers/{viewer}/decisions",
            "/v1/viewers/nobody/decisions?format=xml",
            400,
        ),
    ] {
        let answer = reqwest::get(format!("{url}{asked}")).await.unwrap();
        assert_eq!(answer.status(), status, "{asked}");
        let told = document.fits("get", path, answer).await;
        assert!(told["error"].is_string(), "{told}");
    }
}

#[tokio::test]
async fn what_a_manager_answers_is_as_its_description_says() {
    let town = governing().await;
    let document = Document::read(&town.url).await;
    let http = reqwest::Client::new();
    let say = async |method: &str, path: &str, asked: &str, token: &str, body: Option<Value>| {
        let method_of = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let request = http.request(method_of, format!("{}{asked}", town.url));
        let request = request.header("authorization", token);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = request.send().await.unwrap();
        let status = answer.status();
        (status, document.fits(method, path, answer).await)
    };
    let (drain, weight) = ("/v1/nodes/{node}/drain", "/v1/nodes/{node}/weight");
    let pin = "/v1/regions/{region}/pin";
    let bearer = format!("Bearer {TOKEN}");
    for (method, path, asked, token, body, status) in [
        (
            "put",
            pin,
            "/v1/regions/paris/pin",
            &*bearer,
            Some(json!({"relays": 1})),
            200,
        ),
        (
            "put",
            pin,
            "/v1/regions/paris/pin",
            &bearer,
            Some(json!({"relay": 1})),
            400,
        ),
        (
            "put",
            pin,
            "/v1/regions/paris/pin",
            &bearer,
            Some(json!({"relays": 1, "node": null})),
            400,
        ),
        (
            "put",
            pin,
            "/v1/regions/paris/pin",
            &bearer,
            Some(json!({"relays": 1.5})),
            400,
        ),
        (
            "put",
            pin,
            "/v1/regions/paris/pin",
            &bearer,
            Some(json!({"relays": 1.0})),
            200,
        ),
        (
            "put",
            pin,
            "/v1/regions/paris/pin",
            "",
            Some(json!({"relays": 1})),
            401,
        ),
        (
            "put",
            pin,
            "/v1/regions/p_/pin",
            &bearer,
            Some(json!({"relays": 1})),
            400,
        ),
        ("delete", pin, "/v1/regions/lyon/pin", &bearer, None, 200),
        (
            "put",
            weight,
            "/v1/nodes/relay/weight",
            &bearer,
            Some(json!({"weight": 2})),
            200,
        ),
        ("put", weight, "/v1/nodes/relay/weight", &bearer, None, 400),
        ("get", "/v1/operator", "/v1/operator", &bearer, None, 200),
        ("get", "/v1/operator", "/v1/operator", "", None, 401),
        (
            "post",
            "/v1/foresight",
            "/v1/foresight",
            &bearer,
            Some(json!({"viewers": {"paris": 400}, "overrides": [{"drain": {"node": "relay"}}]})),
            200,
        ),
        (
            "post",
            "/v1/foresight",
            "/v1/foresight",
            &bearer,
            Some(json!({"overrides": [{"fly": {}}]})),
            400,
        ),
        (
            "post",
            "/v1/foresight",
            "/v1/foresight",
            &bearer,
            Some(json!({"overrides": [{"unpin": {"region": "p_"}}]})),
            400,
        ),
        (
            "post",
            "/v1/foresight",
            "/v1/foresight",
            &bearer,
            Some(
                json!({"overrides": [{"pin": {"region": "Paris", "pin": {"node": "relay"}}}], "seconds": 5}),
            ),
            200,
        ),
        (
            "get",
            "/v1/viewers/{viewer}",
            "/v1/viewers/somebody",
            &bearer,
            None,
            400,
        ),
        (
            "get",
            "/v1/nodes/{node}/viewers",
            "/v1/nodes/nobody/viewers",
            &bearer,
            None,
            404,
        ),
        ("get", "/v1/history", "/v1/history?span=24h", "", None, 200),
        ("get", "/v1/history", "/v1/history?span=1y", "", None, 400),
        ("post", drain, "/v1/nodes/relay/drain", &bearer, None, 200),
        (
            "delete",
            drain,
            "/v1/nodes/nobody/drain",
            &bearer,
            None,
            404,
        ),
        ("post", drain, "/v1/nodes/primary/drain", &bearer, None, 409),
    ] {
        let (found, told) = say(method, path, asked, token, body).await;
        assert_eq!(found, status, "{method} {asked}: {told}");
    }
    let seen = document
        .all_get_answers(&town.url, &[("playlist", "demo.m3u8")])
        .await;
    assert!(
        seen["/v1/overview"]["regions"][0]["pinned"].is_object(),
        "{seen:#?}"
    );
    assert!(!seen["/v1/decisions"].as_array().unwrap().is_empty());
    let nodes = seen["/v1/nodes"].as_array().unwrap();
    for node in ["primary", "relay"] {
        assert!(nodes.iter().any(|seen| seen["node"] == node), "{nodes:#?}");
    }
    let answer = town.get("/watch/nothing.m3u8").await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    document.fits("get", "/watch/{playlist}", answer).await;
}

/// Nobody's key in particular.
const VIEWER: &str = "00000000000000aa.paris";

const TOKEN: &str = "a token of sixteen or more";
