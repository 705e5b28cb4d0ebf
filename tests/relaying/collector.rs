//! A collector of traces: takes what nodes post by OTLP, and reads as much of it as is looked at, by an account of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{Router, extract::State, http::HeaderMap, routing::post};
use bytes::Bytes;
use prost::Message;
use spillway::{net::caller::Trusted, telemetry::TracesConfig, traces::Tracer};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) struct Collector {
    url: String,
    told: Taken,
    _guard: DropGuard,
}

type Taken = Arc<Mutex<Vec<Told>>>;

/// One span, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) node: String,
    pub(crate) span: Span,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let told = Taken::default();
        let app = Router::new()
            .route("/v1/traces", post(take))
            .with_state(told.clone());
        let listener = spillway::net::bind(([127, 0, 0, 1], 0).into())
            .await
            .unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, limits) = (CancellationToken::new(), spillway::net::Limits::default());
        tokio::spawn(spillway::net::serve(listener, app, limits, stop.clone()));
        Self {
            url,
            told,
            _guard: stop.drop_guard(),
        }
    }

    /// What makes the traces of a node.
    pub(crate) fn tracer(&self, program: &str, node: &str, share: f64) -> Tracer {
        let config = TracesConfig {
            traces_endpoint: Some(self.url.parse().unwrap()),
            traces_sample: Some(share),
        };
        config.open(program, node, Trusted::default()).unwrap()
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }
}

async fn take(State(told): State<Taken>, headers: HeaderMap, body: Bytes) {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    for of in Request::decode(body).unwrap().resource_spans {
        let who = texts(&of.resource.unwrap().attributes);
        let node = format!("{}/{}", who["service.name"], who["service.instance.id"]);
        let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
        let spans = spans.map(|span| Told {
            node: node.clone(),
            span,
        });
        told.lock().unwrap().extend(spans);
    }
}

/// Attributes, as text.
pub(crate) fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| {
        let value = pair.value.as_ref().and_then(|any| any.value.as_ref());
        let text = match value {
            Some(Value::Text(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            None => String::new(),
        };
        (pair.key.clone(), text)
    };
    attributes.iter().map(text).collect()
}

impl Span {
    pub(crate) fn says(&self, key: &str) -> String {
        texts(&self.attributes).remove(key).unwrap_or_default()
    }
}

/// `ExportTraceServiceRequest` of opentelemetry-proto 1, and what is in it.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<OfResource>,
}

#[derive(Clone, PartialEq, Message)]
struct OfResource {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<OfScope>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct OfScope {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) trace: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) parent: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(crate) name: String,
    #[prost(int32, tag = "6")]
    pub(crate) kind: i32,
    #[prost(message, repeated, tag = "9")]
    pub(crate) attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "13")]
    pub(crate) links: Vec<Link>,
    #[prost(message, optional, tag = "15")]
    pub(crate) status: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 3")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Link {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) trace: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Status {
    #[prost(int32, tag = "3")]
    pub(crate) code: i32,
}
