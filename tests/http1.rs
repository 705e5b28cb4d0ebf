//! HTTP/1.1 as it stands on the wire: what is answered by ourselves, what is left to hyper, and that nobody can
//! tell one from the other.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;

use std::{collections::BTreeMap, time::Duration};

use node::{TestNode, patient, short};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const VIEWER: &str = "/live/demo/v/00000000000a11ce.paris";

#[tokio::test]
async fn what_we_answer_is_what_hyper_would_have_answered() {
    let node = node().await;
    let files = [
        "index.m3u8",
        "1001.m4s",
        "1001.0.m4s",
        "1001.9.m4s",
        "1001.ts",
        "1.m4s",
        "nonsense",
    ];
    let viewers = [
        VIEWER.to_owned(),
        format!("{VIEWER}.n"),
        format!("{VIEWER}.x"),
        "/live/none/v/x".to_owned(),
    ];
    let paths = viewers
        .iter()
        .flat_map(|viewer| files.map(|file| format!("{viewer}/{file}")));
    let others = [
        "/live".to_owned(),
        format!("{VIEWER}/index.m3u8?_HLS_skip=YES"),
        format!("{VIEWER}/%31001.m4s"),
    ];
    for path in paths.chain(others) {
        for method in ["GET", "HEAD", "OPTIONS"] {
            same(&node, method, &path, "").await;
        }
    }
    // What the router is passed by for, and what it must not be passed by for.
    for line in [
        "Accept-Encoding: gzip",
        "Accept-Encoding: gzip;q=0",
        "Origin: http://example.org",
        "Range: bytes=5-9",
        "range: bytes=-1",
        "If-None-Match: *",
        "If-Range: \"x\"\r\nRange: bytes=5-9",
        "CMCD-Request: bl=2000",
        "Authorization: Bearer x",
    ] {
        for file in ["index.m3u8", "1002.m4s"] {
            same(
                &node,
                "GET",
                &format!("{VIEWER}/{file}"),
                &format!("{line}\r\n"),
            )
            .await;
        }
    }
}

/// Both ways bring the same answer to this request.
async fn same(node: &TestNode, method: &str, path: &str, lines: &str) {
    let mut ours = Client::to(node).await;
    ours.say(&format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n"
    ))
    .await;
    // A request that has a body, if an empty one, is not ours.
    let mut hyper = Client::to(node).await;
    hyper
        .say(&format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: 0\r\n\r\n"
        ))
        .await;
    let (mut ours, mut other) = (ours.answer(method).await, hyper.answer(method).await);
    // Between the two a second may have passed, and the first delivery have been measured.
    for of_now in ["date", "spillway-estimate", "cmsd-dynamic"] {
        ours.headers.remove(of_now);
        other.headers.remove(of_now);
    }
    assert_eq!(ours, other, "{method} {path} {lines}");
}

#[tokio::test]
async fn requests_that_come_together_are_answered_in_order() {
    let node = node().await;
    let mut client = Client::to(&node).await;
    let get = |number: u32| format!("GET {VIEWER}/{number}.m4s HTTP/1.1\r\nHost: x\r\n\r\n");
    client
        .say(&(get(1000) + &get(1001) + &get(1002)[..30]))
        .await;
    let first = client.answer("GET").await;
    let second = client.answer("GET").await;
    assert_ne!(first.body, second.body);
    client.say(&get(1002)[30..]).await;
    assert_eq!(client.answer("GET").await.status, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn a_request_of_another_kind_is_answered_on_the_same_connection_and_so_is_what_follows() {
    let node = node().await;
    let mut client = Client::to(&node).await;
    let get = format!("GET {VIEWER}/index.m3u8 HTTP/1.1\r\nHost: x\r\n\r\n");
    client.say(&get).await;
    let before = client.answer("GET").await;
    client
        .say("POST /live HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
        .await;
    assert_eq!(
        client.answer("POST").await.status,
        "HTTP/1.1 405 Method Not Allowed"
    );
    client.say(&get).await;
    assert_eq!(client.answer("GET").await.body, before.body);
}

#[tokio::test]
async fn a_connection_closes_when_it_is_asked_to_and_stays_otherwise() {
    let node = node().await;
    for (version, option, closes) in [
        ("1.1", "keep-alive", false),
        ("1.1", "close", true),
        ("1.0", "close", true),
    ] {
        let mut client = Client::to(&node).await;
        client
            .say(&format!(
                "GET /live HTTP/{version}\r\nHost: x\r\nConnection: {option}\r\n\r\n"
            ))
            .await;
        assert!(client.answer("GET").await.status.ends_with(" 200 OK"));
        let mut rest = [0];
        let more = timeout(Duration::from_millis(300), client.stream.read(&mut rest)).await;
        assert_eq!(
            more.is_ok_and(|more| more.unwrap() == 0),
            closes,
            "HTTP/{version} {option}"
        );
    }
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let node = node().await;
    let mut client = Client::to(&node).await;
    client
        .say("\x16\x03\x01 this is something else\r\n\r\n")
        .await;
    assert_eq!(
        client.answer("GET").await.status,
        "HTTP/1.1 400 Bad Request"
    );
}

async fn node() -> TestNode {
    let node = TestNode::start("wire", None, patient()).await;
    let mut feed = node.feed(short());
    feed.segments(4);
    // The stream goes on for as long as the test.
    Box::leak(Box::new(feed));
    node
}

struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

#[derive(Debug, PartialEq)]
struct Answer {
    status: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Client {
    async fn to(node: &TestNode) -> Self {
        let address = node.url.strip_prefix("http://").unwrap();
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            unread: Vec::new(),
        }
    }

    async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    async fn answer(&mut self, method: &str) -> Answer {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            self.read().await;
        };
        let head: Vec<u8> = self.unread.drain(..end).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().to_owned();
        let mut headers = BTreeMap::<String, String>::new();
        for (name, value) in lines.map(|line| line.split_once(": ").unwrap()) {
            let line = headers.entry(name.to_owned()).or_default();
            line.push_str(if line.is_empty() { "" } else { ", " });
            line.push_str(value);
        }
        let length = headers
            .get("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let length = if method == "HEAD" { 0 } else { length };
        while self.unread.len() < length {
            self.read().await;
        }
        let body = self.unread.drain(..length).collect();
        Answer {
            status,
            headers,
            body,
        }
    }

    async fn read(&mut self) {
        let read = self.stream.read_buf(&mut self.unread);
        let octets = timeout(Duration::from_secs(10), read)
            .await
            .unwrap()
            .unwrap();
        assert!(
            octets > 0,
            "closed after {:?}",
            String::from_utf8_lossy(&self.unread)
        );
    }
}
