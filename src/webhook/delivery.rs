//! One destination's work: events in order, each again until it is taken or of no interest any more.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use reqwest::{StatusCode, Url, header::RETRY_AFTER};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Counts, Message, signing::Secrets};
use crate::{clock::since_1970, net::Caller};

/// How long is waited for what.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// For an answer.
    pub patience: Duration,
    /// After the first failure; twice as long after each further one.
    pub pause: Duration,
    pub longest_pause: Duration,
    /// From when an event happened until nobody is told of it any more.
    pub deadline: Duration,
    /// When the program ends, for what waits.
    pub parting: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(10),
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            deadline: Duration::from_secs(3600),
            parting: Duration::from_secs(3),
        }
    }
}

/// Work that is to be [run](Delivery::run).
#[derive(Debug)]
pub struct Delivery {
    name: String,
    url: Url,
    caller: Caller,
    secrets: Arc<Secrets>,
    waiting: mpsc::Receiver<Arc<Message>>,
    counts: Arc<Counts>,
    pace: Pace,
    /// The same failure is said once.
    failing: bool,
}

/// Why an event was not taken.
enum Fault {
    /// Nobody wants any events there any more.
    Gone,
    /// To be tried again, not before `again` if that was said.
    Failed {
        why: String,
        again: Option<Duration>,
    },
}

impl Delivery {
    pub(super) fn new(
        (name, url): (String, Url),
        (caller, secrets): (Caller, Arc<Secrets>),
        (waiting, counts): (mpsc::Receiver<Arc<Message>>, Arc<Counts>),
        pace: Pace,
    ) -> Self {
        Self {
            name,
            url,
            caller,
            secrets,
            waiting,
            counts,
            pace,
            failing: false,
        }
    }

    /// Until `stop`, and then for a moment, in which each event that waits is tried once more.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut held = None;
        loop {
            let message = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                message = self.waiting.recv() => match message {
                    Some(message) => message,
                    None => return,
                },
            };
            let taken = tokio::select! {
                taken = self.deliver(&message) => taken,
                () = stop.cancelled() => {
                    held = Some(message);
                    break;
                }
            };
            if !taken {
                return self.decline(&stop).await;
            }
        }
        let parting = timeout(self.pace.parting, self.part(&mut held)).await;
        self.waiting.close();
        let left = self.waiting.len() + usize::from(held.is_some());
        if parting.is_err() || left > 0 {
            self.counts.dropped.fetch_add(left as u64, Relaxed);
            tracing::warn!(
                destination = self.name,
                left,
                "events are left that nobody took"
            );
        }
    }

    /// Each once; the first that fails is the last that is tried. What is not taken stays in `held` or in the queue.
    async fn part(&mut self, held: &mut Option<Arc<Message>>) {
        loop {
            if held.is_none() {
                // What is told because of the end comes a little later than the end.
                let last = timeout(LAST_WORDS, self.waiting.recv()).await;
                *held = last.ok().flatten();
            }
            let Some(message) = held.clone() else { return };
            if self.attempt(&message).await.is_err() {
                return;
            }
            self.counts.delivered.fetch_add(1, Relaxed);
            *held = None;
        }
    }

    /// Until it is taken, or too late. `false` if nothing is wanted there any more.
    async fn deliver(&mut self, message: &Message) -> bool {
        let mut pause = self.pace.pause;
        if message.since.elapsed() > self.pace.deadline {
            self.expire(message);
            return true;
        }
        loop {
            let fault = match self.attempt(message).await {
                Ok(()) => {
                    self.counts.delivered.fetch_add(1, Relaxed);
                    if std::mem::take(&mut self.failing) {
                        tracing::info!(destination = self.name, "the webhook takes events again");
                    }
                    return true;
                }
                Err(fault) => fault,
            };
            self.counts.failed.fetch_add(1, Relaxed);
            let Fault::Failed { why, again } = fault else {
                return false;
            };
            if !std::mem::replace(&mut self.failing, true) {
                let (destination, kind) = (&self.name, message.kind);
                tracing::warn!(
                    destination,
                    kind,
                    why,
                    "the webhook does not take events; trying again"
                );
            }
            let wait = again.unwrap_or_else(|| jittered(pause));
            let wait = wait.min(self.pace.longest_pause);
            if message.since.elapsed() + wait > self.pace.deadline {
                self.expire(message);
                return true;
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(self.pace.longest_pause);
        }
    }

    fn expire(&self, message: &Message) {
        self.counts.expired.fetch_add(1, Relaxed);
        let (destination, id, kind) = (&self.name, &message.id, message.kind);
        tracing::warn!(
            destination,
            id,
            kind,
            "nobody took this event in time; it is left out"
        );
    }

    /// Signed anew at each try: who takes it may insist on the time being now.
    async fn attempt(&self, message: &Message) -> Result<(), Fault> {
        let seconds = since_1970().as_secs();
        let signature = self.secrets.sign(&message.id, seconds, &message.body);
        let seconds = seconds.to_string();
        let headers = [
            ("content-type", "application/json"),
            ("webhook-id", &*message.id),
            ("webhook-timestamp", &*seconds),
            ("webhook-signature", &*signature),
        ];
        let body = message.body.to_vec();
        let posted = self
            .caller
            .post(&self.url, &headers, body, self.pace.patience);
        let failed = |why, again| Err(Fault::Failed { why, again });
        match posted.await {
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) if answer.status == StatusCode::GONE => Err(Fault::Gone),
            Ok(answer) => {
                let again = answer.headers.get(RETRY_AFTER);
                let again = again.and_then(|value| value.to_str().ok()?.parse().ok());
                failed(answer.status.to_string(), again.map(Duration::from_secs))
            }
            Err(error) => failed(without_path(&error.to_string(), &self.url), None),
        }
    }

    /// It answered 410, by which Standard Webhooks says: no more of this.
    async fn decline(mut self, stop: &CancellationToken) {
        tracing::error!(
            destination = self.name,
            "the webhook is gone, by its own word; it is sent nothing more until this program is started again"
        );
        self.counts.dropped.fetch_add(1, Relaxed);
        loop {
            tokio::select! {
                Some(_) = self.waiting.recv() => self.counts.dropped.fetch_add(1, Relaxed),
                () = stop.cancelled() => return,
            };
        }
    }
}

/// Paths of webhooks are often secrets.
fn without_path(text: &str, url: &Url) -> String {
    let place = url.origin().ascii_serialization();
    text.replace(url.as_str(), &place)
}

const LAST_WORDS: Duration = Duration::from_millis(100);

/// Half of it at least, so that those who failed together do not come back together.
fn jittered(pause: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX);
    pause / 2 + (pause / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}
