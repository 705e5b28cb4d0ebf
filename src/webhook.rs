//! Events for other programs: posted as JSON, signed, and again until they are taken. By the conventions of Standard Webhooks
//! (<https://www.standardwebhooks.com>), so that their libraries verify them.
//!
//! Whoever tells of something never waits: each destination has a bounded queue and a worker (`delivery`), and what finds
//! the queue full is left out and counted. What there is to tell is `origin`'s and `manager`'s to know.

mod delivery;
mod signing;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub use delivery::{Delivery, Pace};
use signing::Secrets;

use crate::{
    clock,
    metrics::Exposition,
    net::{Caller, caller::Trusted},
};

/// Who is told of events.
#[derive(Clone, Debug, Default, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct WebhookConfig {
    /// Post events to this URL, signed; may be given several times [default: none]
    #[arg(
        long,
        env = "SPILLWAY_WEBHOOK",
        value_delimiter = ',',
        value_name = "URL"
    )]
    pub webhook: Vec<Url>,
    /// What they are signed with, a file of `whsec_` and 24 to 64 octets in base64; of two lines, the first is new and the
    /// other still good. SPILLWAY_WEBHOOK_SECRET may say the secret itself
    #[arg(long, env = "SPILLWAY_WEBHOOK_SECRET_FILE", value_name = "FILE")]
    pub webhook_secret_file: Option<PathBuf>,
}

impl WebhookConfig {
    fn secrets(&self) -> anyhow::Result<Secrets> {
        match (&self.webhook_secret_file, std::env::var(SECRET)) {
            (Some(file), _) => {
                let told = || format!("webhook-secret-file {}", file.display());
                let text = std::fs::read_to_string(file).with_context(told)?;
                Secrets::read(&text).with_context(told)
            }
            (None, Ok(text)) => Secrets::read(&text).context(SECRET),
            (None, Err(_)) => anyhow::bail!(
                "webhooks are signed: say with what by --webhook-secret-file (a secret is made by: echo whsec_$(head -c 32 /dev/urandom | base64))"
            ),
        }
    }
}

/// All who are told. Clones are cheap.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    source: Arc<str>,
    destinations: Arc<[Destination]>,
}

#[derive(Debug)]
struct Destination {
    name: String,
    queue: mpsc::Sender<Arc<Message>>,
    counts: Arc<Counts>,
    /// It was said that the queue is full.
    complained: AtomicBool,
}

/// What came of the events.
#[derive(Debug, Default)]
struct Counts {
    delivered: AtomicU64,
    /// Not taken by anybody within the time that events are of interest.
    expired: AtomicU64,
    /// Left out: the queue was full, the destination wants no more, or the program ended.
    dropped: AtomicU64,
    /// Tries that failed.
    failed: AtomicU64,
}

/// An event as it is posted.
#[derive(Debug)]
struct Message {
    id: String,
    kind: &'static str,
    body: Bytes,
    since: Instant,
}

/// What the body says.
#[derive(Serialize)]
struct Event<'a, T> {
    version: u16,
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: String,
    /// Who tells: the name of a node, or the URL of a traffic manager.
    source: &'a str,
    data: &'a T,
}

impl Hooks {
    /// The way in, and for each destination the work, which the caller is to run. `trust` is for TLS.
    pub fn open(
        config: &WebhookConfig,
        source: &str,
        trust: &Trusted,
        pace: Pace,
    ) -> anyhow::Result<(Self, Vec<Delivery>)> {
        if config.webhook.is_empty() {
            return Ok((Self::default(), Vec::new()));
        }
        let secrets = Arc::new(config.secrets()?);
        let count = config.webhook.len();
        ensure!(
            count <= MOST,
            "{count} webhooks are given; {MOST} is the most"
        );
        let (mut names, mut destinations, mut work) = (BTreeSet::new(), Vec::new(), Vec::new());
        for url in &config.webhook {
            let name = named(url, &mut names)?;
            let (queue, waiting) = mpsc::channel(QUEUE);
            let counts = Arc::<Counts>::default();
            destinations.push(Destination {
                name: name.clone(),
                queue,
                counts: counts.clone(),
                complained: AtomicBool::new(false),
            });
            let caller = Caller::new(trust.clone())?;
            let to = (name, url.clone());
            let work_of = Delivery::new(to, (caller, secrets.clone()), (waiting, counts), pace);
            work.push(work_of);
        }
        let hooks = Self {
            source: source.into(),
            destinations: destinations.into(),
        };
        Ok((hooks, work))
    }

    /// Nobody is to be told of anything.
    pub fn is_empty(&self) -> bool {
        self.destinations.is_empty()
    }

    /// Tells everybody, without waiting for anybody.
    pub fn tell(&self, kind: &'static str, data: &impl Serialize) {
        if self.is_empty() {
            return;
        }
        match self.message(kind, data) {
            Ok(message) => {
                let message = Arc::new(message);
                let all = self.destinations.iter();
                all.for_each(|destination| destination.take(message.clone()));
            }
            Err(error) => tracing::error!(kind, "an event cannot be written: {error:#}"),
        }
    }

    /// So many events have happened that nobody can be told of any more.
    pub fn missed(&self, count: u64) {
        for destination in &*self.destinations {
            destination.counts.dropped.fetch_add(count, Relaxed);
        }
    }

    fn message(&self, kind: &'static str, data: &impl Serialize) -> anyhow::Result<Message> {
        let id = format!("evt_{:016x}{:016x}", getrandom::u64()?, getrandom::u64()?);
        let event = Event {
            version: VERSION,
            id: &id,
            kind,
            timestamp: clock::wall().to_string(),
            source: &self.source,
            data,
        };
        let body = serde_json::to_vec(&event)?.into();
        Ok(Message {
            id,
            kind,
            body,
            since: Instant::now(),
        })
    }

    /// What came of the events, for Prometheus.
    pub fn expose(&self, page: &mut Exposition) {
        if self.is_empty() {
            return;
        }
        let mut events = page.counter(
            "spillway_webhook_events_total",
            "Events, by destination and what came of them.",
        );
        for Destination { name, counts, .. } in &*self.destinations {
            for (result, count) in [
                ("delivered", &counts.delivered),
                ("expired", &counts.expired),
                ("dropped", &counts.dropped),
            ] {
                let labels = [("destination", &**name), ("result", result)];
                events.sample(&labels, count.load(Relaxed) as f64);
            }
        }
        let mut failed = page.counter(
            "spillway_webhook_failures_total",
            "Tries to deliver an event that failed.",
        );
        for Destination { name, counts, .. } in &*self.destinations {
            let count = counts.failed.load(Relaxed);
            failed.sample(&[("destination", name)], count as f64);
        }
        let mut waiting = page.gauge("spillway_webhook_queue", "Events that wait.");
        for Destination { name, queue, .. } in &*self.destinations {
            let count = queue.max_capacity() - queue.capacity();
            waiting.sample(&[("destination", name)], count as f64);
        }
    }
}

impl Destination {
    fn take(&self, message: Arc<Message>) {
        let kind = message.kind;
        if self.queue.try_send(message).is_ok() {
            self.complained.store(false, Relaxed);
            return;
        }
        self.counts.dropped.fetch_add(1, Relaxed);
        // Said once, until there is room again.
        if !self.complained.swap(true, Relaxed) {
            tracing::warn!(
                destination = self.name,
                kind,
                "{QUEUE} events wait for this webhook; what comes now is left out"
            );
        }
    }
}

/// What a destination is called in logs and metrics: where it is, without what may be secret in its path.
fn named(url: &Url, taken: &mut BTreeSet<String>) -> anyhow::Result<String> {
    let is_web = matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
    ensure!(is_web, "webhook {url} is neither http nor https");
    let place = url.origin().ascii_serialization();
    let mut names = (1..).map(|nth| match nth {
        1 => place.clone(),
        nth => format!("{place}#{nth}"),
    });
    Ok(names
        .find(|name| taken.insert(name.clone()))
        .unwrap_or(place))
}

/// Raised when what an event says changes so that who reads it would misread it.
const VERSION: u16 = 1;

/// Destinations at most.
const MOST: usize = 8;

/// Events that wait for a destination; some megabytes at most.
const QUEUE: usize = 1024;

/// In the environment, as flags can be seen by everybody on a machine.
const SECRET: &str = "SPILLWAY_WEBHOOK_SECRET";
