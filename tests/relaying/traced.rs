//! What is told of a request on its way from a viewer through a relay to the primary, where there is a collector of traces.

use super::{
    FIRST, Relay, TestNode,
    collector::{Collector, Span, Told},
    counting::Counting,
    get, patient, segment, short,
};
use reqwest::StatusCode;
use spillway::origin::Terms;

const SERVER: i32 = 2;
const CLIENT: i32 = 3;

/// What a viewer says of its trace.
const VIEWER: [u8; 8] = [0xb7; 8];

/// Who asks for `url` in the trace of these octets.
async fn ask(url: &str, trace: u8, sampled: bool) {
    let hex = |octet: u8, count: usize| format!("{octet:02x}").repeat(count);
    let parent = format!(
        "00-{}-{}-0{}",
        hex(trace, 16),
        hex(VIEWER[0], VIEWER.len()),
        u8::from(sampled)
    );
    let asking = reqwest::Client::new()
        .get(url)
        .header("traceparent", parent);
    let answer = asking.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{url}");
    answer.bytes().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_one_trace_from_its_viewer_to_the_primary() {
    let collector = Collector::start().await;
    let traced = |program, name, share| Terms {
        tracer: collector.tracer(program, name, share),
        ..Terms::default()
    };
    // The primary traces what others do, the relay everything.
    let primary = TestNode::on("primary", traced("primary", "one", 0.0), patient()).await;
    let front = Counting::before(&primary.url).await;
    let relay = Relay::on("relay", &[&front.url], traced("local-server", "two", 1.0)).await;
    let mut feed = primary.feed(short());
    feed.segments(5);
    relay.holds(FIRST + 4).await;

    // Brought for one, had by another, and by one who is not to be traced.
    let wanted = segment("top", FIRST + 2);
    for (trace, sampled) in [(1, true), (2, true), (3, false)] {
        ask(&relay.url(&wanted), trace, sampled).await;
    }
    // A player that says nothing, by the plainest requests that there are.
    let index = get(&relay.url("index.m3u8")).await.text().await.unwrap();
    let playlist = index.lines().rfind(|line| line.starts_with("v/")).unwrap();
    let viewer = playlist.trim_end_matches("/index.m3u8");
    for name in ["index.m3u8".to_owned(), format!("{}.m4s", FIRST + 3)] {
        let answer = get(&relay.url(&format!("{viewer}/{name}"))).await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer.bytes().await.unwrap();
    }
    for node in [&relay.node, &primary] {
        node.origin.terms.tracer.clone().close().await;
    }

    let told = collector.told();
    let of = |trace: u8| {
        told.iter()
            .filter(move |told| told.span.trace == [trace; 16])
    };
    let only = |trace, node: &str, kind| -> &Told {
        let mut found = of(trace).filter(|told| told.node == node && told.span.kind == kind);
        let first = found.next();
        assert!(found.next().is_none(), "{told:#?}");
        first.unwrap_or_else(|| panic!("no {kind} of {node} in {told:#?}"))
    };
    assert_eq!(of(1).count(), 4, "{told:#?}");
    let served = &only(1, "local-server/two", SERVER).span;
    let brought = &only(1, "local-server/two", 1).span;
    let asked = &only(1, "local-server/two", CLIENT).span;
    let answered = &only(1, "primary/one", SERVER).span;
    assert_eq!(served.parent, VIEWER);
    assert_eq!(brought.parent, served.id);
    assert_eq!(asked.parent, brought.id);
    assert_eq!(answered.parent, asked.id);
    for (span, key, value) in [
        (served, "http.request.method", "GET".to_owned()),
        (served, "url.path", format!("/live/demo/{wanted}")),
        (served, "spillway.stream", "demo".to_owned()),
        (served, "spillway.rung", "top".to_owned()),
        (served, "spillway.segment", (FIRST + 2).to_string()),
        (served, "http.response.status_code", "200".to_owned()),
        (
            asked,
            "url.full",
            format!("{}/live/demo/{wanted}", front.url),
        ),
        (asked, "http.response.status_code", "200".to_owned()),
        (answered, "http.response.status_code", "200".to_owned()),
    ] {
        assert_eq!(span.says(key), value, "{key}");
    }
    let size = "http.response.body.size";
    assert_ne!(served.says(size), "0");
    assert_eq!(served.says(size), answered.says(size));

    // Who has what was brought for another is told so; it was asked for once.
    assert_eq!((of(2).count(), of(3).count()), (1, 0));
    let links = &only(2, "local-server/two", SERVER).span.links;
    assert_eq!(links.len(), 1);
    assert_eq!(
        (&links[0].trace, &links[0].id),
        (&brought.trace, &brought.id)
    );

    // By lot, with what was chosen, and why.
    let like = |name: &str, path: &str| {
        let like =
            |told: &&Told| told.span.name == name && told.span.says("url.path").contains(path);
        let found = told.iter().filter(like).map(|told| &told.span);
        found.collect::<Vec<_>>()
    };
    assert_eq!(like("GET playlist", viewer).len(), 1);
    let chosen = like("GET segment", viewer);
    let [chosen] = chosen[..] else {
        panic!("{chosen:#?}")
    };
    assert!(chosen.parent.is_empty() && !chosen.says("spillway.reason").is_empty());
    // What the relay follows are traces that it began, and the primary goes on with.
    let began = |span: &Span| {
        let parent = |told: &Told| told.span.id == span.parent && told.span.parent.is_empty();
        told.iter().any(parent)
    };
    let mut goes_on = told.iter().filter(|told| told.node == "primary/one");
    assert!(goes_on.any(|told| began(&told.span)), "{told:#?}");
    let failed = |told: &Told| {
        told.span
            .status
            .as_ref()
            .is_some_and(|status| status.code == 2)
    };
    assert!(!told.iter().any(failed), "{told:#?}");
}
