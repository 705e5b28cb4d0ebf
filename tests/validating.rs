//! The validator against whole servers: a node of ours, of which there is nothing to say, and one that breaks rules.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use node::{TestNode, patient, short};
use tools::validate::{
    report::Report,
    session::{self, Options},
};

async fn validate(url: &str, seconds: u64, media: bool) -> Report {
    let options = Options {
        url: url.parse().unwrap(),
        span: Duration::from_secs(seconds),
        media,
        headers: Vec::new(),
    };
    session::run(&options).await.unwrap()
}

#[tokio::test]
async fn a_node_of_ours_breaks_no_rule() {
    let node = TestNode::start("node", None, patient()).await;
    let mut feed = node.feed(short());
    feed.segments(8);
    let feeding = feed.live();
    for query in ["", "?abr=client"] {
        // Synthetic media is none that could be looked into.
        let url = format!("{}/live/demo/index.m3u8{query}", node.url);
        let report = validate(&url, 4, false).await;
        assert_eq!(report.breaches, 0, "{report}");
        assert!(
            report.playlists.iter().all(|playlist| playlist.reloads > 2),
            "{report}"
        );
    }
    feeding.abort();
}

#[tokio::test]
async fn a_server_that_breaks_rules_is_found_out() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/live.m3u8", listener.local_addr().unwrap());
    let app = Router::new()
        .route("/live.m3u8", get(broken))
        .route("/{segment}", get(async || StatusCode::NOT_FOUND))
        .with_state(Arc::default());
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    let report = validate(&url, 3, true).await;
    serving.abort();
    let rules: Vec<_> = report
        .findings
        .iter()
        .map(|broken| broken.rule.id)
        .collect();
    for rule in [
        "segment-changed",
        "sequence-backwards",
        "target-duration",
        "unreachable",
        "cors",
        "caching",
    ] {
        assert!(rules.contains(&rule), "no {rule} in {report}");
    }
    assert_eq!(report.exit_code(), 1);
}

/// Counts backwards, gives its segments other names each time, and has none of them.
async fn broken(State(asked): State<Arc<AtomicU64>>) -> impl IntoResponse {
    let times = asked.fetch_add(1, Ordering::Relaxed);
    let first = if times < 3 { 10 } else { 5 };
    let segments: String = (0..4)
        .map(|place| format!("#EXTINF:1.9,\n{}-{times}.ts\n", first + place))
        .collect();
    format!(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{first}\n{segments}"
    )
}

#[tokio::test]
async fn where_there_is_nothing_it_says_so() {
    let node = TestNode::start("node", None, patient()).await;
    let options = Options {
        url: format!("{}/live/nobody/index.m3u8", node.url)
            .parse()
            .unwrap(),
        span: Duration::from_secs(2),
        media: true,
        headers: Vec::new(),
    };
    let error = session::run(&options).await.unwrap_err().to_string();
    assert!(error.contains("404"), "{error}");
}
