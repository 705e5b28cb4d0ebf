//! Analytics: what nodes tell of their viewers adds up to what they sent, whoever watches how, and none of it is lost on its way.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/kept.rs"]
mod kept;
#[path = "common/node.rs"]
mod node;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use kept::{Kept, told, visit};
use node::{Feed, TestNode, patient};
use playlists::MediaTime;
use segmenter::Synthetic;
use serde_json::Value;
use spillway::{
    analytics::Where,
    clock,
    control::{
        ControlConfig, Encoding,
        visits::{End, Visits},
    },
    manager::{Config, Manager, Means, Members},
    net::{self, Limits, caller::Trusted},
    origin::{
        Stance,
        reporter::Line,
        uploading::{self, Taking, Upload, Way},
        visits::Sweeper,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};
use tokio_util::sync::CancellationToken;

/// A database that is not there yet, called after its test.
fn sqlite(test: &str) -> Where {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("analytics-{test}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    Where::Sqlite(folder.join("viewers.db"))
}

/// Until `holds`, or for too long.
async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    waited.unwrap_or_else(|_| panic!("{what}: not in time"));
}

/// What `node` sent, by what `kept` has of it; both as they are once nothing is under way any more.
async fn account(kept: &Kept, sweeper: &mut Sweeper, end: Option<End>) -> Value {
    for visits in sweeper.sweep(end).await {
        kept.take(&visits).await;
    }
    kept.totals().await
}

/// Whoever is silent for three segments has left, so these are long, and small.
fn slow() -> Synthetic {
    let rungs = [("low", 2), ("mid", 8), ("top", 20)];
    Synthetic::new(&rungs, MediaTime::from_seconds(60.0), 2).unwrap()
}

async fn get(url: &str) -> reqwest::Response {
    let answer = reqwest::get(url).await.unwrap();
    assert!(answer.status().is_success(), "{url}: {}", answer.status());
    answer
}

#[tokio::test]
async fn sqlite_keeps_what_it_is_told_once_and_forgets_it_in_time() {
    kept::story(&sqlite("story")).await;
}

#[tokio::test]
async fn what_viewers_took_adds_up_to_what_the_node_sent() {
    let kept = Kept::open(&sqlite("sums"), 30).await;
    let node = TestNode::start("node", None, patient()).await;
    let mut feed = node.feed(slow());
    feed.segments(4);
    let mut sweeper = Sweeper::new(node.origin.clone(), 1);
    sweeper.wants(true);
    let live = format!("{}/live/demo", node.url);
    let mut taken = 0;
    for path in [
        // Whole segments, parts, MPEG-TS, and a rung that a player chose.
        "v/00000000000000a1.paris/1001.m4s",
        "v/00000000000000a1.paris/1002.m4s",
        "v/00000000000000a2.rome/1003.0.m4s",
        "v/00000000000000a2.rome/1003.1.m4s",
        "v/00000000000000a3.paris/7/top/1002.m4s",
        "v/00000000000000a3.paris/7/low/1003.m4s",
    ] {
        taken += get(&format!("{live}/{path}"))
            .await
            .bytes()
            .await
            .unwrap()
            .len() as u64;
    }
    // A range; and what sends no media.
    let client = reqwest::Client::new();
    let range = client.get(format!("{live}/v/00000000000000a1.paris/1003.m4s"));
    let range = range
        .header("range", "bytes=100-1099")
        .send()
        .await
        .unwrap();
    taken += range.bytes().await.unwrap().len() as u64;
    let head = client.head(format!("{live}/v/00000000000000a1.paris/1003.m4s"));
    head.send().await.unwrap();
    until("all is acknowledged", async || {
        node.origin.viewers.egress.load(Relaxed) >= taken
    })
    .await;
    assert_eq!(node.origin.viewers.egress.load(Relaxed), taken);

    let totals = account(&kept, &mut sweeper, None).await;
    assert_eq!(totals["account"]["sent"], taken, "{totals}");
    assert_eq!(totals["account"]["in_visits"], taken, "{totals}");
    let all = &totals["each"][0];
    assert_eq!(
        (&all["joins"], &all["visits"]),
        (&3.into(), &3.into()),
        "{totals}"
    );

    // Those two took the rungs that they asked for; the rest is as it was chosen.
    let rungs = kept.ask("rungs?from=0&step=3600").await;
    let points = rungs["points"].as_array().unwrap();
    assert!(points.iter().any(|point| point["rung"] == "top"), "{rungs}");
    let octets: u64 = points
        .iter()
        .map(|point| point["octets"].as_u64().unwrap())
        .sum();
    assert_eq!(octets, taken, "{rungs}");
    kept.close().await;
}

/// A segment that does not fit into what a connection swallows.
fn large() -> Synthetic {
    Synthetic::new(&[("only", 2_000)], MediaTime::from_seconds(60.0), 1).unwrap()
}

#[tokio::test]
async fn of_a_delivery_that_breaks_off_counts_what_arrived_while_it_goes_and_after() {
    let kept = Kept::open(&sqlite("broken"), 30).await;
    let node = TestNode::start("node", None, patient()).await;
    let mut feed = node.feed(large());
    feed.segments(3);
    let mut sweeper = Sweeper::new(node.origin.clone(), 1);
    let address = node.url.strip_prefix("http://").unwrap().to_owned();
    let mut reader = TcpStream::connect(&address).await.unwrap();
    let asked = format!(
        "GET /live/demo/v/00000000000000a1.paris/1002.m4s HTTP/1.1\r\nhost: {address}\r\n\r\n"
    );
    reader.write_all(asked.as_bytes()).await.unwrap();
    reader.read_exact(&mut vec![0; 1_000_000]).await.unwrap();
    let sent = || node.origin.viewers.egress.load(Relaxed);
    until("some of it is acknowledged", async || sent() >= 1_000_000).await;

    // It is under way: what the one look saw, so does the other.
    let totals = account(&kept, &mut sweeper, None).await;
    let difference = totals["account"]["difference"].as_f64().unwrap();
    assert!(difference.abs() <= 0.001, "{totals}");
    let before = totals["account"]["sent"].as_u64().unwrap();

    drop(reader);
    until("it is over", async || {
        let reports = node.origin.viewers.look(0xa1, std::time::Instant::now());
        reports.first().is_some_and(|report| report.octets > 0)
    })
    .await;
    let totals = account(&kept, &mut sweeper, Some(End::Stopped)).await;
    let after = totals["account"]["in_visits"].as_u64().unwrap();
    assert!(after >= before, "{totals}");
    let difference = totals["account"]["difference"].as_f64().unwrap();
    assert!(difference.abs() <= 0.001, "{totals}");
    let visits = kept.text("export?from=0").await;
    assert!(visits.trim_end().ends_with("stopped"), "{visits}");
    kept.close().await;
}

#[tokio::test]
async fn a_viewer_that_is_moved_is_one_session_on_two_nodes() {
    let kept = Kept::open(&sqlite("moved"), 30).await;
    let (primary, relay) = (
        TestNode::start("primary", None, patient()).await,
        TestNode::start("relay", None, patient()).await,
    );
    let mut feeds: Vec<Feed> = [&primary, &relay].map(|node| node.feed(slow())).into();
    feeds.iter_mut().for_each(|feed| feed.segments(4));
    let mut sweepers = [&primary, &relay].map(|node| Sweeper::new(node.origin.clone(), 1));
    let viewer = format!("{}/live/demo/v/00000000000000a1.paris", primary.url);
    get(&format!("{viewer}/1001.m4s"))
        .await
        .bytes()
        .await
        .unwrap();
    let to = relay.url.clone();
    primary
        .origin
        .stance
        .store(Arc::new(Stance::Draining { to }));
    let there = get(&format!("{viewer}/1002.m4s")).await;
    assert!(
        there.url().as_str().starts_with(&relay.url),
        "{}",
        there.url()
    );
    there.bytes().await.unwrap();
    until("both have sent", async || {
        let sent = |node: &TestNode| node.origin.viewers.egress.load(Relaxed);
        let looked = |node: &TestNode| node.origin.viewers.look(0xa1, std::time::Instant::now());
        let counted = |node| {
            looked(node)
                .first()
                .is_some_and(|report| report.octets == sent(node))
        };
        [&primary, &relay]
            .iter()
            .all(|node| sent(node) > 0 && counted(node))
    })
    .await;
    for sweeper in &mut sweepers {
        account(&kept, sweeper, None).await;
    }
    let totals = kept.totals().await;
    let all = &totals["each"][0];
    assert_eq!(
        (&all["joins"], &all["visits"]),
        (&1.into(), &2.into()),
        "{totals}"
    );
    assert_eq!(totals["account"]["difference"], 0.0, "{totals}");
    let visits = kept.text("export?from=0&format=jsonl").await;
    let visits: Vec<Value> = visits
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let ended =
        |node: &str| visits.iter().find(|visit| visit["node"] == node).unwrap()["ended"].clone();
    assert_eq!(
        (ended("primary"), ended("relay")),
        ("moved".into(), Value::Null)
    );
    // That it was moved is told once, though it asks on.
    let again = sweepers[0].sweep(None).await;
    assert!(again.iter().all(Visits::is_empty), "{again:?}");
    assert!(
        !visits
            .iter()
            .any(|visit| visit.to_string().contains("00000000000000a1")),
        "{visits:?}"
    );
    kept.close().await;
}

/// A traffic manager with analytics, that hears who knows the secret.
struct Office {
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
    manager: Manager,
}

impl Office {
    async fn open(address: &str, kept: &Kept, control: &ControlConfig) -> Self {
        let stop = CancellationToken::new();
        let means = Means {
            keeper: Some(kept.keeper.clone()),
            ..Means::plain(None)
        };
        let manager = Manager::start(
            Config::new("http://primary.test".into()),
            means,
            stop.clone(),
        );
        let members = Members {
            secret: control.secret().unwrap(),
            ..Members::default()
        };
        let app = manager.public().merge(manager.control(members).unwrap());
        let listener = net::bind(address.parse().unwrap()).await.unwrap();
        let limits = Limits {
            shutdown: Duration::from_millis(300),
            ..Limits::default()
        };
        let serving = tokio::spawn(net::serve(listener, app, limits, stop.clone()));
        Self {
            stop,
            serving,
            manager,
        }
    }

    async fn close(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
        self.manager.ended().await;
    }
}

fn secret(test: &str, text: &str) -> ControlConfig {
    let path: PathBuf =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("analytics-{test}.secret"));
    std::fs::write(&path, text).unwrap();
    ControlConfig {
        control_secret_file: Some(path),
        ..ControlConfig::default()
    }
}

fn line(manager: &str, control: &ControlConfig) -> Line {
    let manager = manager.parse().unwrap();
    Line::new(manager, control, Encoding::Json, Trusted::default()).unwrap()
}

#[tokio::test]
async fn while_the_manager_is_away_what_there_is_to_tell_waits() {
    let kept = Kept::open(&sqlite("away"), 30).await;
    let control = secret("away", "a secret of this installation");
    let address = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().to_string()
    };
    let manager = format!("http://{address}/");
    let node = TestNode::start("node", None, patient()).await;
    let mut feed = node.feed(slow());
    feed.segments(4);
    let (keeper, wanted) = watch::channel(Some(manager.parse().unwrap()));
    let way = Way::Managers {
        lines: vec![line(&manager, &control)],
        keeper: wanted,
    };
    let (upload, stop) = (Arc::new(Upload::default()), CancellationToken::new());
    let sweeper = Sweeper::new(node.origin.clone(), 1);
    let every = Duration::from_millis(50);
    let uploading = uploading::run(sweeper, way, upload.clone(), every, stop.clone());
    let uploading = tokio::spawn(uploading);
    for key in [0xa1, 0xa2] {
        let path = format!("v/{key:016x}.paris/1001.m4s");
        get(&format!("{}/live/demo/{path}", node.url))
            .await
            .bytes()
            .await
            .unwrap();
    }
    until("some of it waits", async || {
        upload.waiting.load(Relaxed) >= 10
    })
    .await;

    let office = Office::open(&address, &kept, &control).await;
    until("all of it is told", async || {
        upload.taken.load(Relaxed) >= 10
    })
    .await;
    let sent = || node.origin.viewers.egress.load(Relaxed);
    until("it adds up", async || {
        kept.totals().await["account"]["in_visits"] == sent()
    })
    .await;
    assert_eq!(kept.totals().await["each"][0]["joins"], 2);

    // When the node is stopped, that is told at once.
    stop.cancel();
    uploading.await.unwrap();
    let visits = kept.text("export?from=0").await;
    assert_eq!(visits.matches(",stopped\n").count(), 2, "{visits}");
    assert_eq!((upload.lost.load(Relaxed), keeper.receiver_count()), (0, 0));
    office.close().await;
    kept.close().await;
}

#[tokio::test]
async fn who_cannot_show_that_it_is_a_node_is_not_believed() {
    let kept = Kept::open(&sqlite("believed"), 30).await;
    let control = secret("believed", "a secret of this installation");
    let address = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().to_string()
    };
    let office = Office::open(&address, &kept, &control).await;
    let manager = format!("http://{address}/");
    let now = clock::unix_ms();
    let visits = told("node", now, 100, vec![visit(1, now, 10, [100, 0])]);
    for (control, status) in [
        (ControlConfig::default(), "401"),
        (secret("believed-not", "another secret altogether"), "403"),
    ] {
        let error = line(&manager, &control)
            .tell(&visits)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(status), "{error}");
    }
    assert_eq!(kept.totals().await["each"], serde_json::json!([]));
    line(&manager, &control).tell(&visits).await.unwrap();
    assert_eq!(kept.totals().await["each"][0]["octets"], 100);

    // And who may not look, does not see it: there is no token, but this is the same machine.
    get(&format!("{manager}v1/analytics/now")).await;
    let mut other = told("node", now, 100, Vec::new());
    other.version = 99;
    let error = line(&manager, &control).tell(&other).await.unwrap_err();
    assert!(
        error.is_for_good() && error.to_string().contains("version 99"),
        "{error}"
    );
    office.close().await;
    kept.close().await;
}

/// Takes everything, and tells how much at a time.
#[derive(Debug, Default)]
struct Counting(std::sync::Mutex<Vec<(u64, usize)>>);

impl uploading::Keeper for Counting {
    fn take(&self, visits: Arc<Visits>) -> Taking<'_> {
        self.0.lock().unwrap().push((visits.sent, visits.len()));
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test]
async fn a_node_that_is_killed_leaves_no_more_than_one_sweep_untold() {
    let node = TestNode::start("node", None, patient()).await;
    let mut feed = node.feed(slow());
    feed.segments(4);
    let keeper = Arc::new(Counting::default());
    let sweeper = Sweeper::new(node.origin.clone(), 1);
    let every = Duration::from_millis(50);
    let stop = CancellationToken::new();
    let way = Way::Here(keeper.clone());
    let uploading = uploading::run(sweeper, way, Arc::default(), every, stop.clone());
    let uploading = tokio::spawn(uploading);
    let url = format!("{}/live/demo/v/00000000000000a1.paris/1001.m4s", node.url);
    let octets = get(&url).await.bytes().await.unwrap().len() as u64;
    let last = || keeper.0.lock().unwrap().last().copied();
    until("what was sent is told by the next sweep", async || {
        last() == Some((octets, 1))
    })
    .await;
    uploading.abort();
    assert!(uploading.await.unwrap_err().is_cancelled());
    assert_eq!(last(), Some((octets, 1)));
}
