//! Traces on their way to a collector: a bounded queue, batches that have a deadline, by the HTTP client of this program.
//!
//! No request waits for it. What finds the queue full is left out, and what the collector does not take within the
//! deadline is given up; both are said in the log when it begins, not each time.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context as _;
use axum::http::{Request, Response};
use bytes::Bytes;
use opentelemetry::KeyValue;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData,
        SpanExporter as Exporter,
    },
};
use reqwest::Url;
use tokio::runtime::Handle;

use crate::{
    net::{Caller, FetchError, caller::Trusted},
    traces::Tracer,
};

/// What makes the traces of the node `who` (its program, its name) and posts them to `endpoint`.
pub(super) fn tracer(
    endpoint: Url,
    share: f64,
    who: (&str, &str),
    trust: Trusted,
) -> anyhow::Result<Tracer> {
    let post = Arc::new(Post {
        caller: Arc::new(Caller::new(trust)?),
        runtime: Handle::try_current().context("traces need a runtime")?,
        wrong: Mutex::default(),
    });
    let built = SpanExporter::builder()
        .with_http()
        .with_shared_http_client(post.clone())
        .with_endpoint(endpoint.as_str())
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(DEADLINE)
        .build();
    let endpoint = shown(endpoint);
    let exporter = built.with_context(|| format!("traces-endpoint {endpoint}"))?;
    let told = Told {
        exporter,
        endpoint: endpoint.clone(),
        post,
        failing: AtomicBool::new(false),
        lost: AtomicU64::new(0),
    };
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(MOST)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(EVERY)
        .build();
    let (program, node) = who;
    let resource = Resource::builder()
        .with_service_name(program.to_owned())
        .with_attributes([
            KeyValue::new("service.namespace", "spillway"),
            KeyValue::new("service.instance.id", node.to_owned()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .build();
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        // What is not to be kept is not begun.
        .with_sampler(Sampler::AlwaysOn)
        .with_span_processor(
            BatchSpanProcessor::builder(told)
                .with_batch_config(batches)
                .build(),
        )
        .build();
    tracing::info!(%endpoint, share, "traces are told");
    Ok(Tracer::new(provider, share))
}

/// As much of it as may be in a log.
fn shown(mut endpoint: Url) -> Url {
    // Both fail for what has neither.
    let _ = (endpoint.set_username(""), endpoint.set_password(None));
    endpoint.set_query(None);
    endpoint
}

/// The exporter's way out. It has a thread of its own, and our client a runtime.
#[derive(Debug)]
struct Post {
    caller: Arc<Caller>,
    runtime: Handle,
    /// What went wrong the last time, which the exporter does not say.
    wrong: Mutex<Option<String>>,
}

type Answering<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Post {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> Answering<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        let caller = self.caller.clone();
        let sent = async move { caller.post_written(request, DEADLINE).await };
        let sent = self.runtime.spawn(sent);
        Box::pin(async move {
            let answer = match sent.await {
                Ok(Ok(answer)) => answer,
                // Its URL may have a password.
                Ok(Err(FetchError::Transport { why, .. })) => {
                    self.went_wrong(why.clone());
                    return Err(why.into());
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(error) => return Err(error.into()),
            };
            if !answer.status.is_success() {
                self.went_wrong(format!("it answered {}", answer.status));
            }
            let mut response = Response::new(answer.body);
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            Ok(response)
        })
    }
}

impl Post {
    fn went_wrong(&self, why: String) {
        *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    fn wrong(&self) -> Option<String> {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.take()
    }
}

/// The exporter, and what is said of how it goes.
#[derive(Debug)]
struct Told {
    exporter: SpanExporter,
    endpoint: Url,
    post: Arc<Post>,
    failing: AtomicBool,
    lost: AtomicU64,
}

impl Exporter for Told {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let endpoint = &self.endpoint;
        match self.exporter.export(batch).await {
            Ok(()) => {
                if self.failing.swap(false, Relaxed) {
                    let lost = self.lost.swap(0, Relaxed);
                    tracing::info!(%endpoint, lost, "traces are taken again");
                }
            }
            Err(error) => {
                self.lost.fetch_add(spans, Relaxed);
                if !self.failing.swap(true, Relaxed) {
                    let why = self.post.wrong().unwrap_or_else(|| error.to_string());
                    tracing::warn!(%endpoint, why, "traces are not taken, and are lost until they are");
                }
            }
        }
        // It is said; the SDK would say it each time.
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Spans that wait to be posted; what comes then is left out.
const MOST: usize = 4096;

/// Spans at a time, and how often, if there are fewer.
const BATCH: usize = 512;
const EVERY: Duration = Duration::from_secs(5);

/// For one batch, with all that is tried.
const DEADLINE: Duration = Duration::from_secs(5);
