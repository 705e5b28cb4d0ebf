//! Webhooks, whole: what happens at a node and at a manager reaches a receiver that takes it, and one that does not.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use spillway::{
    manager::operator::Operator,
    metrics::Exposition,
    net::caller::Trusted,
    store::Intake,
    webhook::{Hooks, Pace, WebhookConfig},
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    node::{TestNode, patient, short},
    town::{Town, config, primary_report},
};

const OCTETS: [u8; 32] = *b"thirty-two octets, which is good";

/// Answers with each of `answers` in turn, and 204 when there are no more; what it was sent comes out of `taken`.
struct Receiver {
    url: String,
    taken: mpsc::UnboundedReceiver<Posted>,
}

/// One try, whose signature is right.
#[derive(Debug)]
struct Posted {
    id: String,
    event: Value,
}

type Answers = Arc<Mutex<Vec<Answer>>>;

#[derive(Clone, Copy)]
enum Answer {
    Status(u16),
    /// Never.
    None,
}

impl Receiver {
    async fn new(answers: &[Answer]) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), answers)
    }

    fn on(listener: TcpListener, answers: &[Answer]) -> Self {
        let url = format!("http://{}/secret-path", listener.local_addr().unwrap());
        let (sender, taken) = mpsc::unbounded_channel();
        let answers: Answers = Arc::new(Mutex::new(answers.iter().rev().copied().collect()));
        let routes = Router::new().route("/secret-path", post(take));
        let routes = routes.with_state((sender, answers));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, taken }
    }

    async fn next(&mut self) -> Posted {
        let next = tokio::time::timeout(Duration::from_secs(20), self.taken.recv());
        next.await.expect("an event is posted").unwrap()
    }

    /// The kinds of the next events, up to `last`.
    async fn until(&mut self, last: &str) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let posted = tokio::time::timeout(Duration::from_secs(20), self.taken.recv()).await;
            let posted = posted.unwrap_or_else(|_| panic!("no {last} after {all:#?}"));
            let posted = posted.unwrap();
            let done = posted.event["type"] == last;
            all.push(posted.event);
            if done {
                return all;
            }
        }
    }
}

async fn take(
    State((sender, answers)): State<(mpsc::UnboundedSender<Posted>, Answers)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let (id, seconds) = (text("webhook-id"), text("webhook-timestamp"));
    // As the documentation says that it is verified.
    let mut mac = Hmac::<Sha256>::new_from_slice(&OCTETS).unwrap();
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(&body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let signatures = text("webhook-signature");
    assert!(
        signatures.split(' ').any(|one| one == expected),
        "{signatures}"
    );
    let event: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&event["id"], &event["version"]), (&json!(id), &json!(1)));
    let _ = sender.send(Posted { id, event });
    let answer = answers.lock().unwrap().pop();
    match answer.unwrap_or(Answer::Status(204)) {
        Answer::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Answer::None => std::future::pending().await,
    }
}

/// Told to `urls`, until the token is cancelled.
fn hooks(urls: &[&str], pace: Pace) -> (Hooks, CancellationToken) {
    let secrets = tempfile(&format!("whsec_{}\n", STANDARD.encode(OCTETS)));
    let config = WebhookConfig {
        webhook: urls.iter().map(|url| url.parse().unwrap()).collect(),
        webhook_secret_file: Some(secrets.clone()),
    };
    let opened = Hooks::open(&config, "here", &Trusted::default(), pace);
    std::fs::remove_file(secrets).unwrap();
    let (hooks, work) = opened.unwrap();
    let stop = CancellationToken::new();
    for delivery in work {
        tokio::spawn(delivery.run(stop.clone()));
    }
    (hooks, stop)
}

fn tempfile(text: &str) -> std::path::PathBuf {
    let name = format!("spillway-webhook-{:016x}", getrandom::u64().unwrap());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// As fast as a test wants it.
fn quick() -> Pace {
    Pace {
        patience: Duration::from_secs(5),
        pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(40),
        ..Pace::default()
    }
}

fn metrics(hooks: &Hooks) -> String {
    let mut page = Exposition::default();
    hooks.expose(&mut page);
    page.to_string()
}

/// Waits until the metrics have this line.
async fn counted(hooks: &Hooks, line: &str) {
    let wait = async {
        while !metrics(hooks).lines().any(|one| one.ends_with(line)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(20), wait).await;
    assert!(done.is_ok(), "no {line} in {}", metrics(hooks));
}

#[tokio::test]
async fn what_was_not_taken_is_posted_again_under_the_same_id_before_what_came_after_it() {
    use Answer::Status;
    let mut receiver = Receiver::new(&[Status(500), Status(302), Status(404), Status(204)]).await;
    let (hooks, _stop) = hooks(&[&receiver.url], quick());
    hooks.tell("first", &json!({}));
    hooks.tell("second", &json!({ "n": 2 }));
    let first = receiver.next().await;
    for _ in 0..3 {
        let again = receiver.next().await;
        assert_eq!(
            (again.id, again.event),
            (first.id.clone(), first.event.clone())
        );
    }
    let second = receiver.next().await;
    assert_ne!(second.id, first.id);
    assert_eq!(
        (&second.event["type"], &second.event["data"]["n"]),
        (&json!("second"), &json!(2))
    );
    assert_eq!(second.event["source"], "here");
    counted(&hooks, "result=\"delivered\"} 2").await;
    assert!(metrics(&hooks).contains("} 3\n"), "{}", metrics(&hooks));
    assert!(!metrics(&hooks).contains("secret-path"));
}

#[tokio::test]
async fn a_destination_that_does_not_answer_holds_up_nobody_but_itself() {
    let mut slow = Receiver::new(&[Answer::None]).await;
    let mut well = Receiver::new(&[]).await;
    let pace = Pace {
        patience: Duration::from_millis(300),
        ..quick()
    };
    let (hooks, _stop) = hooks(&[&slow.url, &well.url], pace);
    hooks.tell("one", &json!({}));
    hooks.tell("two", &json!({}));
    assert_eq!(well.next().await.event["type"], "one");
    assert_eq!(well.next().await.event["type"], "two");
    // The first try was without an answer, and given up.
    for kind in ["one", "one", "two"] {
        assert_eq!(slow.next().await.event["type"], kind);
    }
}

#[tokio::test]
async fn a_destination_that_is_down_has_a_bounded_queue_and_what_is_too_old_is_left_out() {
    // Nobody listens there, until somebody does.
    let place = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = place.local_addr().unwrap();
    drop(place);
    let url = format!("http://{address}/secret-path");
    let pace = Pace {
        pause: Duration::from_millis(100),
        longest_pause: Duration::from_millis(100),
        deadline: Duration::from_secs(1),
        ..quick()
    };
    let (hooks, _stop) = hooks(&[&url], pace);
    for n in 0..1100 {
        hooks.tell("many", &json!({ "n": n }));
    }
    // Nothing ran in between: the queue has 1024, and the worker none.
    assert!(
        metrics(&hooks).contains("result=\"dropped\"} 76\n"),
        "{}",
        metrics(&hooks)
    );
    let expired = "result=\"expired\"} 1024";
    counted(&hooks, expired).await;
    let listener = TcpListener::bind(address).await.unwrap();
    let mut receiver = Receiver::on(listener, &[]);
    hooks.tell("again", &json!({}));
    assert_eq!(receiver.next().await.event["type"], "again");
    counted(&hooks, "result=\"delivered\"} 1").await;
}

#[tokio::test]
async fn who_says_gone_is_sent_nothing_more() {
    let mut receiver = Receiver::new(&[Answer::Status(410)]).await;
    let (hooks, _stop) = hooks(&[&receiver.url], quick());
    hooks.tell("one", &json!({}));
    hooks.tell("two", &json!({}));
    assert_eq!(receiver.next().await.event["type"], "one");
    counted(&hooks, "result=\"dropped\"} 2").await;
    assert!(receiver.taken.try_recv().is_err());
}

#[tokio::test]
async fn what_waits_when_the_program_ends_is_tried_once_more() {
    let mut receiver = Receiver::new(&[Answer::Status(503)]).await;
    let pace = Pace {
        pause: Duration::from_secs(600),
        longest_pause: Duration::from_secs(600),
        ..Pace::default()
    };
    let (hooks, stop) = hooks(&[&receiver.url], pace);
    hooks.tell("one", &json!({}));
    hooks.tell("two", &json!({}));
    assert_eq!(receiver.next().await.event["type"], "one");
    stop.cancel();
    assert_eq!(receiver.next().await.event["type"], "one");
    assert_eq!(receiver.next().await.event["type"], "two");
}

#[tokio::test]
async fn a_stream_that_begins_has_trouble_and_ends_is_told_of() {
    let mut receiver = Receiver::new(&[]).await;
    let (hooks, stop) = hooks(&[&receiver.url], quick());
    let node = TestNode::start("node", None, patient()).await;
    let run = spillway::origin::announcing::run(node.origin.clone(), hooks, stop.clone());
    tokio::spawn(run);
    let mut feed = node.feed(short());
    feed.segments(4);
    let began = receiver.until("stream.began").await;
    assert_eq!(began[0]["data"], json!({ "stream": "demo" }));
    feed.producer.report(Intake {
        runs: 1,
        health: Some(crate::troubled()),
    });
    let alert = receiver.until("stream.alert.on").await;
    let expected = json!({ "stream": "demo", "alert": "encoder-overloaded" });
    assert_eq!(alert.last().unwrap()["data"], expected);
    drop(feed);
    receiver.until("stream.ended").await;
}

#[tokio::test]
async fn a_relay_that_is_launched_and_a_region_that_is_pinned_are_told_of() {
    let mut receiver = Receiver::new(&[]).await;
    let (hooks, _stop) = hooks(&[&receiver.url], quick());
    let town = Town::with(config(), |means| {
        means.hooks = hooks;
        means.operator = Operator::with(crate::TOKEN).unwrap();
    })
    .await;
    let mut report = primary_report();
    let load = report.load.regions.entry("paris".into()).or_default();
    (load.viewers, load.arrivals) = (4, 4);
    crate::town::Node::start(&town.url, report, town.stop.child_token());
    let told = receiver.until("node.launched").await;
    let launched = &told.last().unwrap()["data"];
    assert_eq!(launched["region"], "paris");
    assert_eq!(launched["node"], "relay-paris-1");
    let pin = reqwest::Client::new().put(format!("{}/v1/regions/paris/pin", town.url));
    let pin = pin.bearer_auth(crate::TOKEN).json(&json!({"relays": 1}));
    assert_eq!(pin.send().await.unwrap().status(), 200);
    let told = receiver.until("region.override").await;
    assert_eq!(told.last().unwrap()["data"]["region"], "paris");
    let page = town.get("/metrics").await.text().await.unwrap();
    assert!(
        page.contains("spillway_webhook_queue{destination=\"http://127.0.0.1:"),
        "{page}"
    );
}
