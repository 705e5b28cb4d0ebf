//! What the traffic manager's decisions rest on, and who may make them: regions by network and GeoIP, sessions, the
//! operator's word, a rehearsal, the log and its replay, several managers with one lease.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap is an assertion, in its helpers too"
)]
#![allow(dead_code, reason = "the town is shared with others")]

#[path = "managing/mmdb.rs"]
mod mmdb;
#[path = "managing/town.rs"]
mod town;

use std::{
    io::BufReader,
    path::{Path, PathBuf},
    sync::Arc,
};

use adaptation::region::Region;
use serde_json::{Value, json};
use spillway::{
    control::{Directive, NodeKind, NodeState},
    manager::{
        Means, journal,
        lease::{self, FileLease, Tenure},
        operator::Operator,
        places::{Geo, Places, Rules, Table},
        replay::{self, replay},
    },
    node::{self, NodeConfig, Role},
    origin::reporter::Standing,
    store::Store,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use town::{Events, PRIMARY, Town, config};

const PARIS: &str = "/watch/demo.m3u8?region=paris";
const TOKEN: &str = "a-token-of-some-length";

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn at(node: &str, region: &str) -> String {
    format!("{node}/live/demo/index.m3u8?region={region}")
}

#[tokio::test]
async fn the_region_of_who_declares_none_is_told_by_its_network() {
    let mut table = Table::default();
    table.insert("127.0.0.0/8".parse().unwrap(), Region::new("home"));
    let places = Arc::new(Places {
        table,
        ..Places::default()
    });
    let town = Town::with(config(), |means| means.places = places).await;
    assert_eq!(town.location("/watch/demo.m3u8").await, at(PRIMARY, "home"));
    assert_eq!(town.location(PARIS).await, at(PRIMARY, "paris"));
}

#[tokio::test]
async fn a_geoip_database_says_it_and_is_read_again_when_it_changes() {
    let path = file("geo.mmdb");
    let networks = |local: &str| {
        mmdb::write(
            &path,
            &[
                ("127.0.0.0/8", local, "EU"),
                ("192.0.2.0/24", "JP", "AS"),
                ("198.51.100.0/25", "US", "NA"),
            ],
        );
    };
    networks("FR");
    let mut rules = Rules::default();
    for (place, region) in [
        ("FR", "paris"),
        ("continent:EU", "frankfurt"),
        ("jp", "tokyo"),
    ] {
        rules.add(place, Region::new(region)).unwrap();
    }
    let with = |rules| Places {
        geo: Some(Geo::open(&path, rules).unwrap()),
        default: Region::new("elsewhere"),
        ..Places::default()
    };
    let (bare, places) = (with(Rules::default()), Arc::new(with(rules)));
    for (from, named, country) in [
        ("127.0.0.1", "paris", "fr"),
        ("::ffff:192.0.2.7", "tokyo", "jp"),
        ("198.51.100.1", "elsewhere", "us"),
        ("198.51.100.200", "elsewhere", "elsewhere"),
        ("2001:db8::1", "elsewhere", "elsewhere"),
    ] {
        let client = Some(from.parse().unwrap());
        assert_eq!(places.region("", client).as_str(), named, "{from}");
        assert_eq!(bare.region("", client).as_str(), country, "{from}");
    }

    let town = Town::with(config(), |means| means.places = places.clone()).await;
    assert_eq!(
        town.location("/watch/demo.m3u8").await,
        at(PRIMARY, "paris")
    );
    networks("DE");
    places.refresh().await;
    assert_eq!(
        town.location("/watch/demo.m3u8").await,
        at(PRIMARY, "frankfurt")
    );
    std::fs::write(&path, "half of a database").unwrap();
    places.refresh().await;
    assert_eq!(
        town.location("/watch/demo.m3u8").await,
        at(PRIMARY, "frankfurt")
    );
    let error = format!("{:#}", Geo::open(&path, Rules::default()).unwrap_err());
    assert!(error.contains("geo.mmdb"), "{error}");
}

#[tokio::test]
async fn a_session_that_comes_back_goes_where_it_was() {
    let mut config = config();
    config.balancer.move_back = false;
    let town = Town::new(config).await;
    let primary = town.primary().await;
    primary.set("paris", 3);
    let paris = Region::new("paris");
    town.until(|routing| routing.node_for(&paris) != PRIMARY)
        .await;
    let mine = format!("{PARIS}&session=mine");
    let relay = "http://relay-paris-1.test";
    assert_eq!(town.location(&mine).await, at(relay, "paris"));
    town.launcher.relay("relay-paris-1").set("paris", 1);
    primary.set("paris", 2);
    town.until(|routing| routing.node_for(&paris) == PRIMARY)
        .await;
    assert_eq!(town.location(&mine).await, at(relay, "paris"));
    assert_eq!(
        town.location(&format!("{PARIS}&session=other")).await,
        at(PRIMARY, "paris")
    );
}

/// Asks as an operator.
async fn say(town: &Town, method: &str, path: &str, body: Option<Value>) -> (u16, String) {
    let method = method.parse().unwrap();
    let mut request = reqwest::Client::new()
        .request(method, format!("{}{path}", town.url))
        .bearer_auth(TOKEN);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn an_operator_drains_a_node_and_pins_a_region() {
    let operator = Operator::with(TOKEN).unwrap();
    let town = Town::with(config(), |means| means.operator = operator).await;
    let primary = town.primary().await;
    primary.set("paris", 1);
    let mut events = town.events().await;

    let pin = Some(json!({ "relays": 1 }));
    assert_eq!(say(&town, "PUT", "/v1/regions/paris/pin", pin).await.0, 200);
    assert_eq!(
        events.decision("override").await["reason"],
        "it is pinned to 1 relays"
    );
    assert_eq!(events.decision("launch").await["node"], "relay-paris-1");
    let active = |node: &Value| node["node"] == "relay-paris-1" && node["state"] == "active";
    let all = events
        .next("overview", |all| {
            all["nodes"].as_array().unwrap().iter().any(active)
        })
        .await;
    assert_eq!(all["regions"][0]["pinned"]["relays"], 1);

    let pin = Some(json!({ "relays": 1, "node": "relay-paris-1" }));
    assert_eq!(say(&town, "PUT", "/v1/regions/paris/pin", pin).await.0, 200);
    assert_eq!(
        town.location(PARIS).await,
        at("http://relay-paris-1.test", "paris")
    );
    assert_eq!(
        say(&town, "POST", "/v1/nodes/relay-paris-1/drain", None)
            .await
            .0,
        200
    );
    let drain = events.decision("drain").await;
    assert!(
        drain["reason"]
            .as_str()
            .unwrap()
            .starts_with("the operator wants it empty")
    );
    assert_eq!(town.location(PARIS).await, at(PRIMARY, "paris"));

    assert_eq!(
        say(&town, "DELETE", "/v1/regions/paris/pin", None).await.0,
        200
    );

    let weight = || Some(json!({ "weight": 2 }));
    for (method, path, body, status, told) in [
        (
            "POST",
            "/v1/nodes/primary/drain",
            None,
            409,
            "is never drained",
        ),
        (
            "POST",
            "/v1/nodes/nobody/drain",
            None,
            404,
            "no node is called nobody",
        ),
        (
            "PUT",
            "/v1/regions/paris/pin",
            Some(json!({})),
            400,
            "how many `relays`",
        ),
        (
            "PUT",
            "/v1/regions/paris/pin",
            Some(json!({ "relay": 1 })),
            400,
            "unknown field",
        ),
        (
            "PUT",
            "/v1/regions/p_/pin",
            Some(json!({ "relays": 1 })),
            400,
            "is no region",
        ),
        ("PUT", "/v1/nodes/primary/weight", weight(), 200, "done"),
    ] {
        let (found, text) = say(&town, method, path, body).await;
        assert_eq!(found, status, "{path}: {text}");
        assert!(text.contains(told), "{text}");
    }
}

#[tokio::test]
async fn an_operator_asks_what_would_happen_and_nothing_does() {
    let operator = Operator::with(TOKEN).unwrap();
    let town = Town::with(config(), |means| means.operator = operator).await;
    let primary = town.primary().await;
    primary.set("paris", 1);
    town.until(|routing| !routing.regions.is_empty()).await;
    let foresee = async |body| {
        let (status, told) = say(&town, "POST", "/v1/foresight", Some(body)).await;
        (status, serde_json::from_str::<Value>(&told).unwrap())
    };
    let (status, told) = foresee(json!({ "viewers": { "paris": 9 } })).await;
    assert_eq!(status, 200, "{told}");
    let first = &told["foreseen"][0];
    assert_eq!(first["decision"]["action"], "launch", "{told}");
    assert_eq!(first["decision"]["node"], "relay-paris-1");
    let pin = json!({ "pin": { "region": "rome", "pin": { "relays": 2 } } });
    let (_, told) = foresee(json!({ "overrides": [pin] })).await;
    let launches = told["foreseen"].as_array().unwrap().iter();
    let launches = launches.filter(|seen| seen["decision"]["action"] == "launch");
    assert_eq!(launches.count(), 2, "{told}");
    let drain = json!({ "drain": { "node": "nobody" } });
    let (status, told) = foresee(json!({ "overrides": [drain] })).await;
    assert_eq!(
        (status, &told["error"]),
        (
            404,
            &json!("no node is called nobody; /v1/nodes lists them")
        )
    );
    assert!(town.launcher.orders.lock().unwrap().is_empty());
    assert_eq!(town.json("/v1/overview").await["decisions"], json!([]));
}

#[tokio::test]
async fn a_viewer_is_looked_up_by_way_of_the_heartbeats() {
    let (operator, stop) = (Operator::with(TOKEN).unwrap(), CancellationToken::new());
    let town = Town::with(config(), |means| means.operator = operator).await;
    let missing = "/v1/viewers/00000000000a11ce.paris";
    let (status, told) = say(&town, "GET", missing, None).await;
    assert_eq!(status, 404, "{told}");
    let (status, told) = say(&town, "GET", "/v1/viewers/alice", None).await;
    assert!(
        status == 400 && told.contains("16 hexadecimal digits"),
        "{told}"
    );
    let (status, told) = say(&town, "GET", "/v1/nodes/nobody/viewers", None).await;
    assert_eq!(status, 404, "{told}");

    let node = real(NodeKind::Primary, "primary", &[&town], &stop).await;
    town.until(|routing| routing.ready).await;
    let (status, told) = say(&town, "GET", "/v1/nodes/primary/viewers", None).await;
    assert_eq!(status, 200, "{told}");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["silent"], json!([]), "{told}");
    assert_eq!(told["found"][0]["node"], "primary");
    assert_eq!(told["found"][0]["told"]["viewers"], json!([]));
    stop.cancel();
    node.stopped().await;
}

#[tokio::test]
async fn what_was_is_there_for_charts() {
    let town = Town::new(config()).await;
    let primary = town.primary().await;
    primary.set("paris", 2);
    let mut events = town.events().await;
    let first = events.next("overview", |_| true).await;
    assert!(first["decisions"].is_array(), "{first}");
    let two = |all: &Value| all["regions"][0]["viewers"] == 2 && all["decisions"].is_null();
    events.next("overview", two).await;
    for (span, step) in [("15m", 2.0), ("24h", 60.0)] {
        // Noted every two seconds, by the manager's own clock.
        let past = loop {
            let past = town.json(&format!("/v1/history?span={span}")).await;
            if past["regions"]["paris"]["viewers"]
                .as_array()
                .is_some_and(|all| all.contains(&json!(2)))
            {
                break past;
            }
            events.next("overview", |_| true).await;
        };
        assert_eq!(past["interval_s"], step);
        assert!(past["nodes"]["primary"]["egress_bps"].is_array(), "{past}");
    }
    let answer = town.get("/v1/history?span=1y").await;
    assert_eq!(answer.status(), 400);
}

#[tokio::test]
async fn who_is_no_operator_changes_nothing() {
    let drain = "/v1/nodes/primary/drain";
    let town = Town::new(config()).await;
    let (status, told) = say(&town, "POST", drain, None).await;
    assert_eq!(status, 403);
    assert!(told.contains("--operator-token-file"), "{told}");

    let operator = Operator::with("quite another token").unwrap();
    let town = Town::with(config(), |means| means.operator = operator).await;
    assert_eq!(say(&town, "POST", drain, None).await.0, 401);
    assert!(Operator::with("short").is_err());
}

#[tokio::test]
async fn a_rehearsal_decides_and_does_nothing() {
    let mut config = config();
    config.dry_run = true;
    let town = Town::new(config).await;
    let primary = town.primary().await;
    let mut events = town.events().await;
    primary.set("paris", 5);
    assert_eq!(events.decision("launch").await["node"], "relay-paris-1");
    let spilling = |all: &Value| all["regions"][0]["state"] == "spilling";
    let all = events.next("overview", spilling).await;
    assert_eq!(all["dry_run"], true);
    assert_eq!(town.location(PARIS).await, at(PRIMARY, "paris"));
    primary.set("paris", 0);
    events.decision("drain").await;
    events.decision("gone").await;
    assert!(town.launcher.orders.lock().unwrap().is_empty());
}

#[tokio::test]
async fn decisions_are_written_down_and_made_again_from_what_is_written() {
    let path = file("decisions.jsonl");
    let _ = std::fs::remove_file(&path);
    let (journal, writer) = journal::open(&path, None).await.unwrap();
    let written = tokio::spawn(writer.run());
    let town = Town::with(config(), |means| means.journal = Some(journal)).await;
    let primary = town.primary().await;
    let mut events = town.events().await;
    for viewers in 1..=3 {
        assert_eq!(town.location(PARIS).await, at(PRIMARY, "paris"));
        primary.set("paris", viewers);
    }
    town.location(PARIS).await;
    town.launcher.relay("relay-paris-1").set("paris", 1);
    primary.set("paris", 0);
    events.decision("drain").await;
    town.launcher.relay("relay-paris-1").set("paris", 0);
    events.decision("gone").await;
    town.stop.cancel();
    town.manager.ended().await;
    written.await.unwrap();

    let text = std::fs::read_to_string(&path).unwrap();
    let mut made = Vec::new();
    let again = replay(text.as_bytes(), |_, action| made.push(action.what.name())).unwrap();
    assert_eq!(
        (again.differing, again.sections),
        (0, 1),
        "{:?}",
        again.differences
    );
    assert!(again.joins >= 4 && again.events > 10, "{again:?}");
    assert_eq!(made, ["launch", "drain", "retire", "gone"]);

    let other = text.replace(
        "\"launch\",\"region\":\"paris\"",
        "\"launch\",\"region\":\"rome\"",
    );
    assert_ne!(other, text);
    let again = replay(other.as_bytes(), |_, _| {}).unwrap();
    assert_eq!(again.differing, 1);
    // A line that was cut off ends what can be made again, and no more.
    let half = &text[..text.len() - 20];
    assert_eq!(
        replay(BufReader::new(half.as_bytes()), |_, _| {})
            .unwrap()
            .differing,
        0
    );
    assert!(replay("{}".as_bytes(), |_, _| {}).is_err());
}

#[tokio::test]
async fn a_log_that_is_full_begins_anew_and_can_be_replayed_from_there() {
    let (path, old) = (file("small.jsonl"), file("small.jsonl.1"));
    for file in [&path, &old] {
        let _ = std::fs::remove_file(file);
    }
    let (journal, writer) = journal::open(&path, Some(20_000)).await.unwrap();
    let written = tokio::spawn(writer.run());
    let town = Town::with(config(), |means| means.journal = Some(journal)).await;
    let _primary = town.primary().await;
    while !old.exists() {
        town.location(PARIS).await;
    }
    town.until(|routing| routing.ready).await;
    // A file that was just moved to begins with what is left of a section; the next one follows.
    let begun = |text: String| text.len() < 10_000 && text.contains("\"state\"");
    while !std::fs::read_to_string(&path).is_ok_and(begun) {
        town.location(PARIS).await;
    }
    town.stop.cancel();
    town.manager.ended().await;
    written.await.unwrap();
    // By the time that it stopped it may have been moved away once more.
    for path in [&path, &old] {
        let again = replay(replay::open(path).unwrap(), |_, _| {});
        assert_eq!(again.unwrap().differing, 0);
    }

    // One that ends before its next section begins goes on with what was moved away.
    let text = std::fs::read_to_string(&path).unwrap();
    let lines = text.lines().take_while(|line| !line.contains("\"state\""));
    let rest: String = lines.map(|line| format!("{line}\n")).collect();
    assert!(!rest.is_empty(), "it begins in the middle of a section");
    std::fs::write(&path, &rest).unwrap();
    let both = replay(replay::open(&path).unwrap(), |_, _| {}).unwrap();
    let before = replay(replay::open(&old).unwrap(), |_, _| {}).unwrap();
    let (all, part) = (both.events + both.joins, before.events + before.joins);
    assert_eq!((both.differing, all), (0, part + rest.lines().count()));
    std::fs::remove_file(&old).unwrap();
    let alone = replay(replay::open(&path).unwrap(), |_, _| {});
    let why = alone.unwrap_err().to_string();
    assert!(why.contains("a section that began before it"), "{why}");
}

/// A manager that shares a lease; its tenure, and the end of its pursuit.
async fn leased(path: &Path) -> (Town, CancellationToken, tokio::task::JoinHandle<()>) {
    let (tenures, tenure) = watch::channel(Tenure::Standby { active: None });
    let legacy = lease::Legacy::default();
    let mut config = config();
    config.leased = true;
    let operator = Operator::with(TOKEN).unwrap();
    let town = Town::with(config, |means: &mut Means| {
        (means.tenure, means.operator, means.legacy) = (tenure, operator, legacy.clone());
    })
    .await;
    let lease = Arc::new(FileLease::new(path.to_owned(), town.url.clone()));
    let stop = town.stop.clone();
    let pursuit = tokio::spawn(lease::pursue(lease, tenures, legacy, stop.clone()));
    (town, stop, pursuit)
}

async fn real(
    kind: NodeKind,
    name: &str,
    managers: &[&Town],
    stop: &CancellationToken,
) -> node::Node {
    let local = Some(([127, 0, 0, 1], 0).into());
    let config = NodeConfig {
        listen: local,
        private_listen: local,
        name: Some(name.into()),
        manager: managers
            .iter()
            .map(|town| town.url.parse().unwrap())
            .collect(),
        ..NodeConfig::default()
    };
    let state = match kind {
        NodeKind::Primary => NodeState::Active,
        NodeKind::Relay => NodeState::Standby,
    };
    let role = Role {
        kind,
        launched: false,
        standing: Standing {
            state,
            region: None,
        },
        own: None,
    };
    node::Node::start(&config, role, Store::default(), stop)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_second_manager_takes_over_with_what_it_has_heard() {
    let path = file("lease");
    let _ = std::fs::remove_file(&path);
    let (first, stop_first, pursuit) = leased(&path).await;
    first
        .until(|routing| routing.tenure == Tenure::Active { epoch: 1 })
        .await;
    let (second, ..) = leased(&path).await;
    let active = Some(first.url.clone());
    second
        .until(|routing| {
            routing.tenure
                == Tenure::Standby {
                    active: active.clone(),
                }
        })
        .await;

    let stop = CancellationToken::new();
    let primary = real(NodeKind::Primary, "primary", &[&first, &second], &stop).await;
    let relay = real(NodeKind::Relay, "relay", &[&first, &second], &stop).await;
    first.until(|routing| routing.ready).await;
    assert_eq!(second.get("/ready").await.status(), 503);
    let there = format!("{}{PARIS}", first.url);
    assert_eq!(second.location(PARIS).await, there);
    let (status, told) = say(&second, "POST", "/v1/nodes/relay/drain", None).await;
    assert_eq!(status, 400, "{told}");
    assert!(told.contains("this manager is in standby"), "{told}");

    let mut directives = relay.directives.clone();
    say(
        &first,
        "PUT",
        "/v1/regions/paris/pin",
        Some(json!({ "relays": 1 })),
    )
    .await;
    let told = directives
        .wait_for(|said| matches!(said, Directive::Activate { .. }))
        .await;
    assert!(told.is_ok());
    drop(told);
    let region = Some("paris".to_owned());
    relay.standing.send_replace(Standing {
        state: NodeState::Active,
        region,
    });
    let mut events: Events = second.events().await;

    // The first one ends, and says nothing to anybody.
    stop_first.cancel();
    pursuit.await.unwrap();
    second
        .until(|routing| routing.tenure == Tenure::Active { epoch: 2 })
        .await;
    assert_eq!(events.decision("adopt").await["node"], "relay");
    second.until(|routing| routing.ready).await;
    let url = primary.url.as_str().trim_end_matches('/');
    assert_eq!(second.location(PARIS).await, at(url, "paris"));
    // What was pinned with the first one is pinned with this one, until the operator says otherwise.
    let pinned = |all: &Value| all["regions"][0]["pinned"]["relays"] == 1;
    events.next("overview", pinned).await;
    let (status, told) = say(&second, "DELETE", "/v1/regions/paris/pin", None).await;
    assert_eq!(status, 200, "{told}");
    let told = directives
        .wait_for(|said| matches!(said, Directive::Drain { .. }))
        .await;
    assert!(told.is_ok());
    drop(told);
    stop.cancel();
    primary.stopped().await;
    relay.stopped().await;
}

#[tokio::test]
async fn while_nobody_decides_joins_are_asked_to_come_back() {
    let (_tenures, tenure) = watch::channel(Tenure::Standby { active: None });
    let town = Town::with(config(), |means| means.tenure = tenure).await;
    let answer = town.get(PARIS).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
}
