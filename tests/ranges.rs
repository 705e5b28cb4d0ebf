//! Parts of what a node sends, and what a player has already: ranges and preconditions.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/node.rs"]
mod node;

use node::{TestNode, patient, short};
use reqwest::{Response, StatusCode};

const ALICE: &str = "00000000000a11ce.paris";

#[tokio::test]
async fn a_pin_holds_for_a_range() {
    let node = node().await;
    let path = format!("v/{ALICE}/1001.m4s");
    let first = ask(&node, &path, &[("range", "bytes=0-999")]).await;
    assert_eq!(first.status(), StatusCode::PARTIAL_CONTENT);
    let (rung, tag) = (header(&first, "spillway-rung"), header(&first, "etag"));
    let total: u64 = {
        let range = header(&first, "content-range");
        range.strip_prefix("bytes 0-999/").unwrap().parse().unwrap()
    };
    let first = first.bytes().await.unwrap();
    assert_eq!(first.len(), 1000);
    // What is learnt of the path between does not change what this segment is.
    for number in [1000, 1002, 1003] {
        let other = ask(&node, &format!("v/{ALICE}/{number}.m4s"), &[]).await;
        other.bytes().await.unwrap();
    }
    let rest = [("range", "bytes=1000-"), ("if-range", tag.as_str())];
    let rest = ask(&node, &path, &rest).await;
    assert_eq!(rest.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(header(&rest, "spillway-rung"), rung);
    let rest = rest.bytes().await.unwrap();
    let whole = ask(&node, &format!("7/{rung}/1001.m4s"), &[]).await;
    assert_eq!(header(&whole, "etag"), tag, "the same octets, the same tag");
    let whole = whole.bytes().await.unwrap();
    assert_eq!(whole.len() as u64, total);
    assert_eq!(whole, [first, rest].concat());
}

#[tokio::test]
async fn the_end_of_an_object_can_be_asked_for_and_beyond_it_is_nothing() {
    let node = node().await;
    let whole = ask(&node, "7/low/1002.m4s", &[]).await;
    assert_eq!(header(&whole, "accept-ranges"), "bytes");
    let whole = whole.bytes().await.unwrap();
    let end = ask(&node, "7/low/1002.m4s", &[("range", "bytes=-500")]).await;
    assert_eq!(end.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(end.headers()["content-length"], "500");
    assert_eq!(end.bytes().await.unwrap(), &whole[whole.len() - 500..]);
    let beyond = format!("bytes={}-", whole.len());
    let beyond = ask(&node, "7/low/1002.m4s", &[("range", &beyond)]).await;
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(
        header(&beyond, "content-range"),
        format!("bytes */{}", whole.len())
    );
}

#[tokio::test]
async fn who_has_an_object_is_told_so_and_who_has_another_gets_it_whole() {
    let node = node().await;
    for path in ["7/init.mp4", "7/low/1002.m4s", "7/low/1002.1.m4s"] {
        let tag = header(&ask(&node, path, &[]).await, "etag");
        let known = ask(&node, path, &[("if-none-match", &tag)]).await;
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED, "{path}");
        assert_eq!(header(&known, "etag"), tag);
        let other = [("range", "bytes=0-9"), ("if-range", "\"another\"")];
        assert_eq!(ask(&node, path, &other).await.status(), StatusCode::OK);
    }
}

async fn node() -> TestNode {
    let node = TestNode::start("node", None, patient()).await;
    let mut feed = node.feed(short());
    feed.segments(4);
    // The stream goes on for as long as its writer is there.
    tokio::spawn(async move {
        std::future::pending::<()>().await;
        drop(feed);
    });
    node
}

async fn ask(node: &TestNode, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = reqwest::Client::new().get(format!("{}/live/demo/{path}", node.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn header(response: &Response, name: &str) -> String {
    response.headers()[name].to_str().unwrap().to_owned()
}
