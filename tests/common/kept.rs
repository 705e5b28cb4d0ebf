//! What a keeper of analytics is held to, whichever database it has.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body, http::Request};
use serde_json::Value;
use spillway::{
    analytics::{self, Export, Form, Keeper, Retention, What, Where},
    clock::unix_ms,
    control::{
        VERSION,
        visits::{End, OfStream, Session, Visit, Visits},
    },
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// A keeper, and what operators see of it. Ended by its test.
pub(crate) struct Kept {
    pub(crate) keeper: Keeper,
    routes: Router,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Kept {
    pub(crate) async fn open(place: &Where, days: u32) -> Self {
        let retention = Retention {
            days,
            ..Retention::default()
        };
        let stop = CancellationToken::new();
        let (keeper, task) = Keeper::open(place, retention, stop.clone()).await.unwrap();
        let routes = analytics::router(keeper.clone(), Arc::new(|_, _| Ok(()))).into();
        Self {
            keeper,
            routes,
            task,
            stop,
        }
    }

    pub(crate) async fn close(self) {
        let Self {
            keeper,
            routes,
            task,
            stop,
        } = self;
        drop((keeper, routes));
        // It ends when nobody has it any more; if somebody has, a little later.
        stop.cancel();
        task.await.unwrap();
    }

    pub(crate) async fn take(&self, visits: &Visits) {
        self.keeper.take(Arc::new(visits.clone())).await.unwrap();
    }

    pub(crate) async fn text(&self, path: &str) -> String {
        let request = Request::get(format!("/v1/analytics/{path}"));
        let request = request.body(Body::empty()).unwrap();
        let answer = self.routes.clone().oneshot(request).await.unwrap();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 24)
            .await
            .unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    pub(crate) async fn ask(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await).unwrap()
    }

    /// Sums over all that is kept of the last days.
    pub(crate) async fn totals(&self) -> Value {
        let from = unix_ms() / 1000 - 86_400 * 60;
        self.ask(&format!("totals?from={from}")).await
    }
}

/// One viewer at a node, who came `ago` seconds before `at_ms` and has watched since, in two rungs.
pub(crate) fn visit(key: u64, at_ms: u64, ago: u64, octets: [u64; 2]) -> Visit {
    Visit {
        session: Session::of("demo", key),
        region: "paris".into(),
        began_ms: at_ms - ago * 1000,
        watched_ms: ago * 1000,
        stalls: 1,
        stalled_ms: 500,
        octets: octets.to_vec(),
        ..Visit::default()
    }
}

pub(crate) fn told(node: &str, at_ms: u64, sent: u64, visits: Vec<Visit>) -> Visits {
    let rungs = vec!["low".to_owned(), "top".to_owned()];
    Visits {
        version: VERSION,
        node: node.into(),
        instance: 1,
        at_ms,
        sent,
        seatless: 0,
        streams: [("demo".to_owned(), OfStream { rungs, visits })].into(),
    }
}

/// The whole of it, in a database of its own.
pub(crate) async fn story(place: &Where) {
    let kept = Kept::open(place, 30).await;
    let now = unix_ms();
    let (before, at) = (now - 20_000, now - 10_000);

    // Said once, twice, and once more from before.
    let first = told(
        "primary",
        before,
        3_000,
        vec![visit(1, before, 60, [1_000, 2_000])],
    );
    let second = told(
        "primary",
        at,
        4_500,
        vec![visit(1, at, 70, [1_000, 3_000]), visit(2, at, 5, [500, 0])],
    );
    for visits in [&first, &second, &second, &first] {
        kept.take(visits).await;
    }
    let totals = kept.totals().await;
    let all = &totals["each"][0];
    for (name, value) in [
        ("joins", 2),
        ("visits", 2),
        ("watched_s", 75),
        ("stalls", 2),
        ("octets", 4_500),
    ] {
        assert_eq!(all[name], value, "{name} in {totals}");
    }
    assert_eq!(totals["account"]["sent"], 4_500);
    assert_eq!(totals["account"]["difference"], 0.0);

    // One of them goes on at a relay, and the other leaves.
    let moved = Visit {
        end: Some(End::Moved),
        ..visit(1, at, 70, [1_000, 3_000])
    };
    let left = Visit {
        end: Some(End::Left),
        ..visit(2, at, 5, [500, 0])
    };
    kept.take(&told("primary", at + 1, 4_500, vec![moved, left]))
        .await;
    kept.take(&told("relay", now, 700, vec![visit(1, now, 9, [0, 700])]))
        .await;
    let totals = kept.totals().await;
    assert_eq!(totals["each"][0]["joins"], 2, "{totals}");
    assert_eq!(totals["each"][0]["visits"], 3, "{totals}");
    assert_eq!(totals["account"]["sent"], 5_200);
    assert_eq!(totals["account"]["in_visits"], 5_200);

    // Who watches now, and what of.
    let watching = kept.ask("now").await;
    assert_eq!(watching["viewers"], 1, "{watching}");
    assert_eq!(watching["watching"][0]["node"], "relay");

    // By node, and of one.
    let from = now / 1000 - 7200;
    let by_node = kept.ask(&format!("totals?from={from}&by=node")).await;
    let octets: Vec<_> = by_node["each"]
        .as_array()
        .unwrap()
        .iter()
        .map(|each| (&each["of"], &each["octets"]))
        .collect();
    assert_eq!(
        serde_json::to_value(octets).unwrap(),
        serde_json::json!([["primary", 4_500], ["relay", 700]])
    );
    let relay = kept
        .ask(&format!(
            "totals?from={from}&node=relay&stream=demo&region=paris"
        ))
        .await;
    assert_eq!(relay["each"][0]["octets"], 700, "{relay}");

    // By the minute and by the hour it is the same, and so it is by rung.
    for step in [60, 3600] {
        let series = kept
            .ask(&format!("series?from={from}&step={step}&by=stream"))
            .await;
        let sum = |name: &str| -> i64 {
            let points = series["points"].as_array().unwrap().iter();
            points.map(|point| point[name].as_i64().unwrap()).sum()
        };
        assert_eq!((sum("octets"), sum("visits")), (5_200, 3), "{series}");
        let rungs = kept.ask(&format!("rungs?from={from}&step={step}")).await;
        let of = |rung: &str| -> i64 {
            let points = rungs["points"].as_array().unwrap().iter();
            let those = points.filter(|point| point["rung"] == rung);
            those.map(|point| point["octets"].as_i64().unwrap()).sum()
        };
        assert_eq!((of("low"), of("top")), (1_500, 3_700), "{rungs}");
    }

    exported(&kept, from).await;
    wrong(&kept).await;
    kept.close().await;
    direct(place, from).await;
    retained(place).await;
}

async fn exported(kept: &Kept, from: u64) {
    let csv = kept.text(&format!("export?from={from}")).await;
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines.len(), 4, "{csv}");
    assert!(
        lines[0].starts_with("session,stream,region,node,began_ms,"),
        "{csv}"
    );
    let session = Session::of("demo", 1).to_string();
    let moved = lines
        .iter()
        .find(|line| line.contains("primary") && line.contains(&session));
    assert!(
        moved
            .unwrap()
            .ends_with("\"{\"\"low\"\":1000,\"\"top\"\":3000}\",moved"),
        "{csv}"
    );
    let jsonl = kept.text(&format!("export?from={from}&format=jsonl")).await;
    let visits: Vec<Value> = jsonl
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let octets: i64 = visits
        .iter()
        .map(|visit| visit["octets"].as_i64().unwrap())
        .sum();
    assert_eq!((visits.len(), octets), (3, 5_200), "{jsonl}");
    for (what, lines) in [("minutes", 2), ("hours", 2), ("rungs", 3)] {
        let text = kept.text(&format!("export?from={from}&what={what}")).await;
        assert!(text.lines().count() > lines, "{what}: {text}");
    }
}

async fn wrong(kept: &Kept) {
    for (path, told) in [
        ("series?step=61", "whole number of minutes"),
        ("series?from=tomorrow", "is no time"),
        ("totals?by=viewer", "unknown variant"),
        ("export?what=viewers", "unknown variant"),
    ] {
        let answer = kept.text(path).await;
        assert!(answer.contains(told), "{path}: {answer}");
    }
    let named = told("no\nnode", unix_ms(), 0, Vec::new());
    let error = kept.keeper.take(Arc::new(named)).await.unwrap_err();
    assert!(error.to_string().contains("is no name"), "{error}");
}

/// As `traffic-manager analytics export` does it.
async fn direct(place: &Where, from: u64) {
    let mut all = String::new();
    let export = Export::new(What::Visits, Form::Jsonl, from as i64, i64::MAX / 2000);
    export
        .run(place, |text| {
            all.push_str(text);
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(all.lines().count(), 3, "{all}");
}

/// What is old is forgotten, and not counted again.
async fn retained(place: &Where) {
    let old = unix_ms() - 50 * 86_400_000;
    let long_ago = told("primary", old, 6_000, vec![visit(9, old, 60, [400, 400])]);
    let kept = Kept::open(place, 60).await;
    kept.take(&long_ago).await;
    let since = format!("from={}", old / 1000 - 7200);
    let lines = async |kept: &Kept, what: &str| {
        kept.text(&format!("export?{since}&what={what}"))
            .await
            .lines()
            .count()
    };
    assert_eq!(lines(&kept, "visits").await, 5);
    let minutes = lines(&kept, "minutes").await;
    kept.close().await;

    let kept = Kept::open(place, 30).await;
    let forgotten = async {
        while lines(&kept, "visits").await != 4 || lines(&kept, "minutes").await >= minutes {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), forgotten)
        .await
        .unwrap();
    let hours = kept.text(&format!("export?{since}&what=hours")).await;
    kept.take(&long_ago).await;
    assert_eq!(lines(&kept, "visits").await, 4);
    assert_eq!(
        kept.text(&format!("export?{since}&what=hours")).await,
        hours
    );
    kept.close().await;
}
