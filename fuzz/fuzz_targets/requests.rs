//! A node's public face, by request: the first line is the target, the others are headers. Whatever is asked, the
//! answer is one that HTTP allows, and the body is as long as it says.

#![no_main]

use std::{cell::OnceCell, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderName, HeaderValue, Request, StatusCode},
};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use playlists::{Epoch, Format, Head, Init, MediaTime, Part, Renditions, WallTime};
use segmenter::{Synthetic, wire::Frame};
use spillway::{
    net::{Client, Connection, Peer, socket::Stream},
    origin::{self, Origin, Terms},
    store::{Producer, Store},
};
use tower::ServiceExt as _;

fuzz_target!(|text: &str| {
    NODE.with(|node| node.get_or_init(Node::start).ask(text));
});

thread_local! {
    static NODE: OnceCell<Node> = const { OnceCell::new() };
}

struct Node {
    runtime: tokio::runtime::Runtime,
    app: Router,
    connection: Arc<Connection>,
    address: SocketAddr,
    _stream: Stream,
    _producer: Producer,
}

impl Node {
    fn start() -> Self {
        // Where nobody is served, time passes at once: a reload that waits, waits no real time.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let (stream, address) = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                .await
                .expect("a port");
            let address = listener.local_addr().expect("its address");
            let stream = tokio::net::TcpStream::connect(address)
                .await
                .expect("a connection");
            let peer = Peer {
                address,
                direct: true,
                local: true,
            };
            (Stream::new(stream, peer, Duration::from_secs(10)), address)
        });
        let store = Store::default();
        let producer = publish(&store);
        let origin = Origin::new("fuzzed".into(), store, Terms::default());
        Self {
            app: origin::public(origin).into_router(),
            connection: stream.connection().clone(),
            address,
            _stream: stream,
            _producer: producer,
            runtime,
        }
    }

    fn ask(&self, text: &str) {
        let mut lines = text.split('\n');
        let target = lines.next().unwrap_or_default();
        let Ok(mut request) = Request::get(target).body(Body::empty()) else {
            return;
        };
        if !target.starts_with('/') {
            return;
        }
        for line in lines.take(16) {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let name = HeaderName::try_from(name.trim());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value.trim())) {
                request.headers_mut().append(name, value);
            }
        }
        let client = Client {
            address: self.address.ip(),
        };
        request.extensions_mut().insert(self.connection.clone());
        request.extensions_mut().insert(client);
        let app = self.app.clone();
        self.runtime.block_on(async {
            let answer = app
                .oneshot(request)
                .await
                .unwrap_or_else(|never| match never {});
            let status = answer.status();
            let known = !status.is_server_error() || status == StatusCode::SERVICE_UNAVAILABLE;
            assert!(known, "{status} for {target:?}");
            let headers = answer.headers().clone();
            let said = headers
                .get("content-length")
                .and_then(|said| said.to_str().ok()?.parse::<usize>().ok());
            // A segment that is still being made is waited for, and given up if nothing comes of it.
            let Ok(body) = answer.into_body().collect().await else {
                return;
            };
            let body = body.to_bytes();
            if let Some(said) = said {
                assert_eq!(body.len(), said, "Content-Length of {target:?}");
            }
            if status == StatusCode::PARTIAL_CONTENT {
                ranged(&headers, &body);
            }
        });
    }
}

/// `Content-Range` is of what came.
fn ranged(headers: &axum::http::HeaderMap, body: &Bytes) {
    let said = headers
        .get("content-range")
        .and_then(|said| said.to_str().ok())
        .expect("Content-Range");
    let said = said.strip_prefix("bytes ").expect("octets");
    let (range, length) = said.split_once('/').expect("a length");
    let (first, last) = range.split_once('-').expect("a range");
    let number = |text: &str| text.parse::<usize>().expect("a number");
    assert!(number(last) < number(length), "{said}");
    assert_eq!(number(last) + 1 - number(first), body.len(), "{said}");
}

/// Six segments and an open one, in three rungs, of few octets.
fn publish(store: &Store) -> Producer {
    let part = MediaTime::from_ticks(1, 2);
    let media =
        Synthetic::new(&[("240p", 1), ("480p", 2), ("720p", 3)], part, 2).expect("three rungs");
    let mut producer = store
        .create(&"demo".parse().expect("a name"))
        .expect("the first");
    let hello = media.hello().clone();
    producer.begin(Format {
        ladder: hello.ladder.clone(),
        renditions: Renditions::default(),
        segment: hello.segment,
        part: hello.part,
        listed: 6,
    });
    let init = Arc::new(Init {
        epoch: Epoch(7),
        media: Bytes::from_static(b"\0\0\0\x08moov"),
        renditions: Vec::new(),
    });
    let mut shares = Vec::new();
    for frame in media.segments(8) {
        let Frame::Part(share) = frame else { continue };
        shares.push(share);
        if shares.len() < 3 {
            continue;
        }
        let lead = shares[0].clone();
        if lead.segment == 7 && lead.index == 1 {
            break;
        }
        if lead.index == 0 {
            let head = Head {
                number: 1000 + lead.segment,
                epoch: Epoch(7),
                init: init.clone(),
                discontinuity: false,
                timeline: 1,
                date_time: WallTime::from_millis(1_790_000_000_000),
            };
            producer.open(head).expect("it follows");
        }
        let open = Part::open_in(shares.iter().map(|share| share.independent));
        let media = shares.drain(..).map(|share| share.media).collect();
        let part = Part {
            duration: lead.duration,
            open,
            media,
            renditions: Vec::new(),
        };
        producer.push(part, lead.last).expect("it fits");
    }
    producer
}
