//! The traffic manager over HTTP, with nodes and a launcher that only pretend.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap is an assertion, in its helpers too"
)]

#[path = "managing/town.rs"]
mod town;

use std::{
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use spillway::manager::launcher::{Launcher as _, Order, ProcessLauncher};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use town::{Node, PRIMARY, Town, Works, config, primary_report, relay_report};

const PARIS: &str = "/watch/demo.m3u8?region=paris";

fn at(node: &str) -> String {
    format!("{node}/live/demo/index.m3u8?region=paris")
}

#[tokio::test]
async fn a_playback_token_is_passed_on_to_the_node() {
    let town = Town::new(config()).await;
    let _primary = town.primary().await;
    let to = town
        .location("/watch/demo.m3u8?token=k1.1.demo.00&region=paris")
        .await;
    assert_eq!(
        to,
        format!("{PRIMARY}/live/demo/index.m3u8?token=k1.1.demo.00&region=paris")
    );
}

#[tokio::test]
async fn the_fourth_viewer_lands_on_a_relay_and_the_relay_goes_when_viewers_do() {
    let town = Town::new(config()).await;
    let primary = town.primary().await;
    let mut events = town.events().await;
    for viewers in 1..=3 {
        assert_eq!(town.location(PARIS).await, at(PRIMARY));
        primary.set("paris", viewers);
    }
    // This one waits until the relay serves.
    assert_eq!(town.location(PARIS).await, at("http://relay-paris-1.test"));
    let launch = events.decision("launch").await;
    assert_eq!(launch["node"], "relay-paris-1");
    assert_eq!(
        launch["reason"],
        "3 viewers of paris on the primary reach the threshold of 3"
    );
    let orders = town.launcher.orders.lock().unwrap().clone();
    assert_eq!(orders.len(), 1);
    assert_eq!(orders[0].upstream, PRIMARY);

    let relay = town.launcher.relay("relay-paris-1");
    relay.set("paris", 1);
    let full = |overview: &serde_json::Value| overview["regions"][0]["viewers"] == 4;
    let overview = events.next("overview", full).await;
    let paris = &overview["regions"][0];
    assert_eq!(paris["state"], "spilling");
    assert_eq!(
        (&paris["on_primary"], &paris["on_relays"], &paris["relays"]),
        (&3.into(), &1.into(), &1.into())
    );

    primary.set("paris", 1);
    let drain = events.decision("drain").await;
    assert_eq!(drain["node"], "relay-paris-1");
    assert_eq!(town.location(PARIS).await, at(PRIMARY));
    relay.set("paris", 0);
    events.decision("retire").await;
    events.decision("gone").await;
    assert_eq!(town.launcher.running(), 0);
    let nodes = town.json("/v1/nodes").await;
    assert_eq!(nodes.as_array().unwrap().len(), 1, "{nodes}");
}

#[tokio::test]
async fn who_joins_in_a_crowd_is_not_all_sent_to_the_primary() {
    let town = Town::new(config()).await;
    let _primary = town.primary().await;
    let joins = (0..12).map(|_| town.location(PARIS));
    let places = futures_util::future::join_all(joins).await;
    let on_primary = places.iter().filter(|place| place.starts_with(PRIMARY));
    assert_eq!(on_primary.count(), 3, "{places:?}");
}

#[tokio::test]
async fn a_failed_launch_is_said_and_the_primary_serves_on() {
    let town = Town::new(config()).await;
    *town.launcher.works.lock().unwrap() = Works::Badly;
    let primary = town.primary().await;
    let mut events = town.events().await;
    primary.set("paris", 3);
    let failed = events.decision("failed").await;
    let reason = failed["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("no room at the inn; the next attempt is in "),
        "{reason}"
    );
    assert_eq!(town.location(PARIS).await, at(PRIMARY));
}

#[tokio::test]
async fn who_waits_too_long_for_a_relay_is_served_by_the_primary() {
    let mut config = config();
    config.join_patience = Duration::from_millis(100);
    let town = Town::new(config).await;
    *town.launcher.works.lock().unwrap() = Works::Never;
    let primary = town.primary().await;
    let mut events = town.events().await;
    primary.set("paris", 3);
    events.decision("launch").await;
    assert_eq!(town.location(PARIS).await, at(PRIMARY));
}

#[tokio::test]
async fn a_standby_node_serves_before_anything_is_launched() {
    let town = Town::new(config()).await;
    let primary = town.primary().await;
    let mut report = relay_report("spare", None);
    report.launched = false;
    let _spare = Node::start(&town.url, report, CancellationToken::new());
    town.events()
        .await
        .next("overview", |all| {
            all["nodes"].as_array().unwrap().len() == 2
        })
        .await;
    primary.set("paris", 3);
    town.until(|routing| routing.node_for(&region("paris")) == "http://spare.test")
        .await;
    assert_eq!(town.location(PARIS).await, at("http://spare.test"));
    assert!(town.launcher.orders.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_lost_relay_is_replaced() {
    let town = Town::new(config()).await;
    let primary = town.primary().await;
    let mut events = town.events().await;
    primary.set("paris", 3);
    town.until(|routing| routing.node_for(&region("paris")) != PRIMARY)
        .await;
    town.launcher.relay("relay-paris-1").end();
    let lost = events.decision("lost").await;
    assert_eq!(lost["reason"], "exit status: 0");
    assert_eq!(events.decision("launch").await["node"], "relay-paris-2");
}

#[tokio::test]
async fn a_manager_that_comes_back_adopts_what_runs() {
    let old = Town::new(config()).await;
    let primary = old.primary().await;
    primary.set("paris", 3);
    old.until(|routing| routing.node_for(&region("paris")) != PRIMARY)
        .await;
    let relay = old.launcher.relay("relay-paris-1");
    // Killed: it tells nobody.
    old.served.abort();

    let new = Town::new(config()).await;
    let mut events = new.events().await;
    for node in [&primary, &*relay] {
        node.manager.send_replace(new.url.clone());
    }
    assert_eq!(events.decision("adopt").await["node"], "relay-paris-1");
    new.until(|routing| routing.ready).await;
    assert_eq!(new.location(PARIS).await, at("http://relay-paris-1.test"));
    assert!(new.launcher.orders.lock().unwrap().is_empty());
    relay.set("paris", 1);
    primary.set("paris", 0);
    events.decision("drain").await;
    relay.set("paris", 0);
    events.decision("retire").await;
    // Nobody but its own heartbeats tells it.
    relay.gone().await;
}

#[tokio::test]
async fn a_manager_that_stops_ends_what_it_launched_and_holds_no_reader() {
    let town = Town::new(config()).await;
    let primary = town.primary().await;
    primary.set("paris", 3);
    town.until(|routing| routing.node_for(&region("paris")) != PRIMARY)
        .await;
    let events = town.events().await;
    assert_eq!(town.launcher.running(), 1);
    town.stop.cancel();
    events.drain().await;
    town.manager.ended().await;
    assert_eq!(town.launcher.running(), 0);
    town.served.await.unwrap();
}

#[tokio::test]
async fn with_nobody_at_the_desk_joins_follow_the_last_routing() {
    let town = Town::new(config()).await;
    let primary = town.primary().await;
    primary.set("paris", 3);
    town.until(|routing| routing.node_for(&region("paris")) != PRIMARY)
        .await;
    let router = town.manager.public();
    town.stop.cancel();
    town.manager.ended().await;
    let join = axum::http::Request::get(PARIS)
        .body(axum::body::Body::empty())
        .unwrap();
    let answer = router.oneshot(join).await.unwrap();
    assert_eq!(
        answer.headers()["location"],
        at("http://relay-paris-1.test")
    );
}

#[tokio::test]
async fn before_anybody_is_heard_joins_go_where_the_operator_said() {
    let town = Town::new(config()).await;
    assert_eq!(town.location(PARIS).await, at(PRIMARY));
    assert_eq!(town.get("/ready").await.status(), 503);
    assert_eq!(town.get("/health").await.status(), 200);
    town.until(|routing| routing.ready).await;
    assert_eq!(town.get("/ready").await.status(), 200);
}

#[tokio::test]
async fn a_join_keeps_the_query_and_lets_browsers_follow() {
    let town = Town::new(config()).await;
    let path = "/watch/demo.m3u8?max=720&region=Paris&abr=client";
    let answer = town.get(path).await;
    assert_eq!(
        answer.headers()["location"],
        format!("{PRIMARY}/live/demo/index.m3u8?max=720&abr=client&region=paris")
    );
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    let strange = town.location("/watch/demo.m3u8?region=%2e%2e").await;
    assert!(strange.ends_with("?region=default"), "{strange}");
}

#[tokio::test]
async fn asking_with_head_counts_nobody() {
    let town = Town::new(config()).await;
    let _primary = town.primary().await;
    for _ in 0..9 {
        assert_eq!(town.head(PARIS).await.headers()["location"], at(PRIMARY));
    }
    assert!(town.launcher.orders.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_stream_that_the_primary_does_not_have_is_not_found() {
    let town = Town::new(config()).await;
    let _primary = town.primary().await;
    for path in [
        "/watch/other.m3u8",
        "/watch/..%2f.m3u8",
        "/watch/demo",
        "/nothing",
    ] {
        let answer = town.get(path).await;
        assert_eq!(answer.status(), 404, "{path}");
        let text = answer.text().await.unwrap();
        assert!(
            text.starts_with("{\"error\":") && !text.contains('\n'),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_heartbeat_that_cannot_be_is_refused_with_a_reason() {
    let town = Town::new(config()).await;
    let json = |change: &dyn Fn(&mut spillway::control::Heartbeat)| {
        let mut report = primary_report();
        change(&mut report);
        serde_json::to_string(&report).unwrap()
    };
    assert_eq!(town.post(json(&|_| {})).await.0, 200);
    for (body, status, told) in [
        ("{".to_owned(), 400, "cannot be read"),
        (json(&|report| report.version = 2), 400, "is of version 2"),
        (
            json(&|report| report.node = "a/b".into()),
            400,
            "no name for a node",
        ),
        (
            json(&|report| report.url = "here".into()),
            400,
            "must start with http://",
        ),
        (
            json(&|report| report.instance = 999),
            409,
            "instance 999 is older than 1000",
        ),
        (
            json(&|report| report.node = "b".into()),
            409,
            "primary is the primary and alive",
        ),
    ] {
        let (found, text) = town.post(body).await;
        assert_eq!(found, status, "{text}");
        assert!(text.contains(told), "{text}");
    }
}

#[tokio::test]
async fn the_overview_has_the_shape_that_the_page_expects() {
    let town = Town::new(config()).await;
    let primary = town.primary().await;
    primary.set("paris", 1);
    let mut events = town.events().await;
    let one = |all: &serde_json::Value| all["regions"][0]["viewers"] == 1;
    let all = events.next("overview", one).await;
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    let expected = [
        "active",
        "alerts",
        "controls",
        "decisions",
        "dry_run",
        "epoch",
        "nodes",
        "ready",
        "regions",
        "software",
        "threshold",
        "uptime_s",
    ];
    assert_eq!(sorted(keys(&all)), expected);
    let expected = [
        "egress_bps",
        "on_primary",
        "on_relays",
        "pinned",
        "price",
        "region",
        "relays",
        "rise",
        "state",
        "threshold",
        "viewers",
    ];
    assert_eq!(sorted(keys(&all["regions"][0])), expected);
    let node = &all["nodes"][0];
    let expected = [
        "budget_bps",
        "closed",
        "egress_bps",
        "heard_ms",
        "kind",
        "launched",
        "moved",
        "node",
        "price",
        "region",
        "software",
        "state",
        "streams",
        "trouble",
        "uptime_s",
        "url",
        "viewers",
        "weight",
    ];
    assert_eq!(sorted(keys(node)), expected);
    assert_eq!(
        (&node["kind"], &node["state"]),
        (&"primary".into(), &"active".into())
    );
    assert_eq!(all["regions"][0]["egress_bps"], 100_000);
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

fn region(name: &str) -> adaptation::region::Region {
    adaptation::region::Region::new(name)
}

fn processes() -> ProcessLauncher {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/managing/relay.sh");
    let here = Ipv4Addr::LOCALHOST.into();
    let mut launcher = ProcessLauncher::new(script, "http://127.0.0.1:9".into(), here);
    launcher.ends_within = Duration::from_millis(200);
    launcher
}

fn order(region: &str) -> Order {
    Order {
        node: format!("relay-{region}-1"),
        region: region.into(),
        upstream: PRIMARY.into(),
    }
}

#[tokio::test]
async fn a_process_is_ready_when_it_says_so_and_ends_when_it_is_told() {
    for (region, end) in [
        ("well", "signal: 15 (SIGTERM)"),
        ("deaf", "signal: 9 (SIGKILL)"),
    ] {
        let stop = CancellationToken::new();
        let ended = processes()
            .launch(order(region), stop.clone())
            .await
            .unwrap();
        stop.cancel();
        assert_eq!(ended.await, end);
    }
}

#[tokio::test]
async fn a_process_that_ends_by_itself_is_noticed() {
    let stop = CancellationToken::new();
    let ended = processes().launch(order("brief"), stop).await.unwrap();
    assert_eq!(ended.await, "exit status: 4");
}

#[tokio::test]
async fn a_process_whose_manager_was_killed_is_found_and_seen_to_its_end() {
    for (region, heeds) in [("well", true), ("deaf", false)] {
        let order = Order {
            node: format!("relay-orphan-{region}"),
            ..order(region)
        };
        // The manager dies: nobody attends the process any more.
        let stop = CancellationToken::new();
        let ended = processes().launch(order.clone(), stop).await.unwrap();
        drop(ended);
        let next = processes();
        let elsewhere = ProcessLauncher {
            manager: "http://127.0.0.1:10".into(),
            ..next.clone()
        };
        let stop = CancellationToken::new();
        let adopted = elsewhere.adopt(order.node.clone(), stop.clone()).await;
        assert!(adopted.is_none(), "it is another manager's");
        let adopted = next.adopt(order.node.clone(), stop.clone()).await;
        let ended = tokio::spawn(adopted.unwrap());
        stop.cancel();
        assert_eq!(ended.await.unwrap(), "its process ended");
        let gone = next.adopt(order.node, CancellationToken::new()).await;
        assert!(gone.is_none(), "heeds SIGTERM: {heeds}");
    }
}

#[tokio::test]
async fn a_process_that_is_never_ready_is_ended_and_the_reason_told() {
    let mut launcher = processes();
    launcher.ready_within = Duration::from_millis(300);
    for (region, told) in [
        ("mute", "was not ready within 300ms (signal: 15 (SIGTERM))"),
        (
            "broken",
            "closed its stdout before it was ready (exit status: 3)",
        ),
    ] {
        let launched = launcher
            .launch(order(region), CancellationToken::new())
            .await;
        let error = launched.err().unwrap().to_string();
        assert!(error.ends_with(told), "{error}");
    }
    launcher.program = "/nowhere/local-server".into();
    let launched = launcher
        .launch(order("well"), CancellationToken::new())
        .await;
    let error = format!("{:#}", launched.err().unwrap());
    assert!(
        error.starts_with("cannot start /nowhere/local-server: "),
        "{error}"
    );
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_traffic-manager"));
    command
        .args(["--launcher", "none"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn refusal(arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = program(arguments).output().unwrap();
    let text = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(2), "{text}");
    text
}

fn file(text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("wrong.toml");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_start_that_cannot_work_is_refused_in_one_line() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let told = refusal(&["http://localhost:1", "3", "--listen", &address]);
    assert_eq!(
        told.lines().last().unwrap(),
        format!(
            "traffic-manager: {address} is in use by another program; stop it or choose another \
             port (0 takes any)"
        )
    );
    let told = refusal(&["rtmp://localhost", "3"]);
    assert!(
        told.contains("must start with http://") && told.lines().count() == 1,
        "{told}"
    );
    let wrong = file("threshold = 3\nlisten-at = '0.0.0.0:1'\n");
    let told = refusal(&["http://localhost:1", "--config", wrong.to_str().unwrap()]);
    assert!(told.contains("wrong.toml:2: `listen-at = "), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn the_program_says_where_it_listens_and_ends_when_told() {
    let mut child = program(&["http://localhost:1", "3", "--listen", "127.0.0.1:0"])
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    assert!(line.starts_with("ready http://127.0.0.1:"), "{line}");
    let told = Command::new("kill")
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(told.success());
    assert!(child.wait().unwrap().success());
}
