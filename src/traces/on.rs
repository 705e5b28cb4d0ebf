//! Traces in a program that is built with them: spans of the OpenTelemetry SDK, made for what is traced and nothing else.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator as _,
    trace::{
        Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _,
        TracerProvider as _,
    },
};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider},
};
use reqwest::header::HeaderMap;

/// Makes the spans of one node. Clones are the same; the default traces nothing.
#[derive(Clone, Debug, Default)]
pub struct Tracer(Option<Arc<Maker>>);

struct Maker {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    /// Of 2^64 lots, those that are traced.
    winning: u64,
    drawn: AtomicU64,
}

/// What was drawn for a request before it was routed. It goes with the connection, on which there is one at a time.
#[derive(Debug, Default)]
pub struct Lot(AtomicU8);

/// Something that is traced. It is over when its last clone is dropped, if not before.
#[derive(Clone, Debug)]
pub struct Span(Arc<Traced>);

#[derive(Debug)]
struct Traced {
    maker: Arc<Maker>,
    context: SpanContext,
    span: Mutex<opentelemetry_sdk::trace::Span>,
    failed: AtomicBool,
}

/// A span as others refer to it, be it over or not.
#[derive(Clone, Debug)]
pub struct Mark(SpanContext);

tokio::task_local! {
    static CURRENT: Span;
}

impl Tracer {
    /// Tells `provider`, which keeps all that it is given; of what nobody has decided about, this share is traced.
    pub fn new(provider: SdkTracerProvider, share: f64) -> Self {
        let mut seed = [0; 8];
        // Without randomness the order of lots is the same as that of others, and still fair.
        let _ = getrandom::fill(&mut seed);
        Self(Some(Arc::new(Maker {
            tracer: provider.tracer("spillway"),
            provider,
            winning: (share * 2f64.powi(64)) as u64,
            drawn: AtomicU64::new(u64::from_ne_bytes(seed)),
        })))
    }

    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a request is to be traced that says nothing of it. Two nodes decide apart.
    pub fn draws(&self) -> bool {
        let drawn = |maker: &Arc<Maker>| {
            let number = maker.drawn.fetch_add(1, Relaxed);
            maker.winning > 0 && scattered(number) <= maker.winning
        };
        self.0.as_ref().is_some_and(drawn)
    }

    /// A span for the answer to a request with the headers `asked`, if it is traced.
    pub fn answering(&self, name: &'static str, asked: &HeaderMap, lot: &Lot) -> Option<Span> {
        let maker = self.0.as_ref()?;
        let drawn = lot.take();
        let told = TraceContextPropagator::new()
            .extract_with_context(&Context::new(), &HeaderExtractor(asked));
        let (known, sampled) = {
            let span = told.span();
            let context = span.span_context();
            (context.is_valid(), context.is_sampled())
        };
        let traced = match known {
            true => sampled,
            false => drawn.unwrap_or_else(|| self.draws()),
        };
        traced.then(|| maker.begin(name, SpanKind::Server, &told))
    }

    /// A span for a GET that is about to be made, if it is traced: for something that is, or by lot. Its headers say so.
    pub fn asking(&self, asking: &mut HeaderMap) -> Option<Span> {
        let span = match current() {
            Some(span) => span.inside("GET", SpanKind::Client),
            None if self.draws() => {
                self.0
                    .as_ref()?
                    .begin("GET", SpanKind::Client, &Context::new())
            }
            None => return None,
        };
        TraceContextPropagator::new()
            .inject_context(&span.0.context_of(), &mut HeaderInjector(asking));
        Some(span)
    }

    /// Tells all that is still to be told, as far as there is time.
    pub async fn close(self) {
        let Some(maker) = self.0 else { return };
        let closing = move || maker.provider.shutdown_with_timeout(CLOSING);
        match tokio::task::spawn_blocking(closing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "not all traces were told at the end"),
            Err(error) => tracing::warn!(%error, "traces were not told at the end"),
        }
    }
}

impl Lot {
    /// Decided for the request that is routed next.
    pub fn put(&self, drawn: bool) {
        self.0.store(1 + u8::from(drawn), Relaxed);
    }

    fn take(&self) -> Option<bool> {
        match self.0.swap(0, Relaxed) {
            0 => None,
            drawn => Some(drawn == 2),
        }
    }
}

impl Maker {
    fn begin(self: &Arc<Self>, name: &'static str, kind: SpanKind, parent: &Context) -> Span {
        let builder = SpanBuilder::from_name(name).with_kind(kind);
        let span = self.tracer.build_with_context(builder, parent);
        Span(Arc::new(Traced {
            maker: self.clone(),
            context: span.span_context().clone(),
            span: Mutex::new(span),
            failed: AtomicBool::new(false),
        }))
    }
}

impl Traced {
    fn context_of(&self) -> Context {
        Context::new().with_remote_span_context(self.context.clone())
    }

    fn span(&self) -> MutexGuard<'_, opentelemetry_sdk::trace::Span> {
        self.span.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Span {
    fn inside(&self, name: &'static str, kind: SpanKind) -> Self {
        self.0.maker.begin(name, kind, &self.0.context_of())
    }

    /// Something that is done for this one, here.
    pub fn child(&self, name: &'static str) -> Option<Self> {
        Some(self.inside(name, SpanKind::Internal))
    }

    pub fn mark(&self) -> Mark {
        Mark(self.0.context.clone())
    }

    /// This one has something of `other`, which was not done for it.
    pub fn follows(&self, other: &Mark) {
        self.0.span().add_link(other.0.clone(), Vec::new());
    }

    pub fn says(&self, key: &'static str, text: impl Into<String>) {
        self.0.span().set_attribute(KeyValue::new(key, text.into()));
    }

    pub fn counts(&self, key: &'static str, number: u64) {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.0.span().set_attribute(KeyValue::new(key, number));
    }

    /// It failed, in a way of few; what is said first stays.
    pub fn fails(&self, kind: &str, why: &str) {
        if !self.0.failed.swap(true, Relaxed) {
            self.says("error.type", kind);
            self.0.span().set_status(Status::error(why.to_owned()));
        }
    }

    /// It is over, whoever still has it.
    pub fn ends(&self) {
        self.0.span().end();
    }

    /// Does `work` for this one.
    pub async fn within<F: Future>(&self, work: F) -> F::Output {
        CURRENT.scope(self.clone(), work).await
    }

    /// The same of what does not wait.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), work)
    }
}

impl fmt::Debug for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Maker");
        shown
            .field("winning", &self.winning)
            .finish_non_exhaustive()
    }
}

/// What is done now is done for this one.
pub fn current() -> Option<Span> {
    CURRENT.try_with(Clone::clone).ok()
}

/// `work`, done for `span`.
pub async fn within<F: Future>(span: Option<Span>, work: F) -> F::Output {
    match span {
        Some(span) => span.within(work).await,
        None => work.await,
    }
}

/// A number as random as its bits can be made: the last step of SplitMix64.
fn scattered(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// For what is still to be told at the end. Shorter than what a program has to stop in.
const CLOSING: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    fn tracer(share: f64) -> Tracer {
        Tracer::new(SdkTracerProvider::builder().build(), share)
    }

    fn with(traceparent: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", traceparent.parse().expect("a value"));
        headers
    }

    const TRACED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const LEFT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    #[test]
    fn lots_are_drawn_as_often_as_was_said() {
        for (share, least, most) in [(0.0, 0, 0), (0.01, 800, 1_200), (1.0, 100_000, 100_000)] {
            let tracer = tracer(share);
            let drawn = (0..100_000).filter(|_| tracer.draws()).count();
            assert!((least..=most).contains(&drawn), "{share}: {drawn}");
        }
        assert!(!Tracer::default().draws());
    }

    #[test]
    fn who_asks_decides_and_else_the_lot() {
        let (never, always) = (tracer(0.0), tracer(1.0));
        let answering = |tracer: &Tracer, headers: &HeaderMap, lot: &Lot| {
            tracer.answering("GET", headers, lot).is_some()
        };
        let lot = Lot::default();
        assert!(answering(&never, &with(TRACED), &lot));
        assert!(!answering(&always, &with(LEFT), &lot));
        assert!(answering(&always, &with("nonsense"), &lot));
        assert!(!answering(&never, &HeaderMap::new(), &lot));
        lot.put(true);
        assert!(answering(&never, &HeaderMap::new(), &lot));
        assert!(
            !answering(&never, &HeaderMap::new(), &lot),
            "a lot is for one request"
        );
        lot.put(false);
        assert!(!answering(&always, &HeaderMap::new(), &lot));
        assert!(!answering(&Tracer::default(), &with(TRACED), &lot));
    }

    #[test]
    fn what_is_asked_for_a_request_is_of_its_trace() {
        let tracer = tracer(0.0);
        let mut headers = HeaderMap::new();
        assert!(tracer.asking(&mut headers).is_none() && headers.is_empty());
        let span = tracer.answering("GET", &with(TRACED), &Lot::default());
        let span = span.expect("traced");
        // Whoever makes it need not know of traces.
        let made = span.enter(|| Tracer::default().asking(&mut headers));
        let made = made.expect("traced");
        let said = headers["traceparent"].to_str().expect("text").to_owned();
        let expected = format!(
            "00-0af7651916cd43dd8448eb211c80319c-{}-01",
            made.0.context.span_id()
        );
        assert_eq!(said, expected);
        assert!(current().is_none());
    }
}
