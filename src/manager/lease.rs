//! Which of several managers decides: the one that holds the lease. The others only listen.
//!
//! A lease has an epoch, which grows each time that it changes hands. Nodes obey the newest epoch that they
//! have heard, so that a holder who does not know yet that it is none any more does no harm.

mod file;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
mod postgres;

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use file::FileLease;
#[cfg(feature = "kubernetes")]
pub use kubernetes::KubernetesLease;
pub use postgres::PostgresLease;

/// Where a lease is to be had. One holder at a time.
pub trait Lease: fmt::Debug + Send + Sync + 'static {
    /// Tries once to get it, without waiting for who holds it.
    fn seek(&self) -> Later<anyhow::Result<Sought>>;
}

pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What came of an attempt.
#[derive(Debug)]
pub enum Sought {
    Held(Box<dyn Hold>),
    /// Somebody else has it.
    Taken(Option<Holder>),
}

/// A lease that is held, and given back when this is dropped.
pub trait Hold: fmt::Debug + Send {
    fn epoch(&self) -> u64;

    /// What the holder before has left.
    fn left(&self) -> &str;

    /// Leaves this for the next holder, instead of what was left before. At most [`MOST_LEFT`] octets.
    fn leave<'a>(&'a mut self, text: &'a str) -> Checked<'a, anyhow::Result<()>>;

    /// Whether it is still held. Asked again and again; an error is as good as no.
    fn check(&mut self) -> Checked<'_, anyhow::Result<()>>;

    /// Gives it back, for the next to have at once. Where the holder's end does that, nothing is to be done.
    fn release(self: Box<Self>) -> Later<()> {
        Box::pin(async {})
    }
}

pub type Checked<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What one holder of a lease leaves to the next, as text: what nobody else could tell it. Clones are of one.
#[derive(Clone, Debug)]
pub struct Legacy(Arc<watch::Sender<String>>);

impl Default for Legacy {
    fn default() -> Self {
        Self(Arc::new(watch::channel(String::new()).0))
    }
}

impl Legacy {
    pub fn now(&self) -> String {
        self.0.borrow().clone()
    }

    /// From now on it is that.
    pub fn leave(&self, text: String) {
        if text.len() > MOST_LEFT {
            let octets = text.len();
            tracing::warn!(
                octets,
                most = MOST_LEFT,
                "operators want more than a lease can keep; the next manager will not know of the last of it"
            );
            return;
        }
        self.0
            .send_if_modified(|left| std::mem::replace(left, text.clone()) != text);
    }
}

/// Who holds a lease, as it says itself.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Holder {
    pub epoch: u64,
    /// Base URL under which viewers and nodes reach it.
    pub url: String,
}

/// Whether this manager decides.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Tenure {
    Active { epoch: u64 },
    Standby { active: Option<String> },
}

impl Tenure {
    /// Of a manager that is the only one.
    pub const SOLE: Self = Self::Active { epoch: 0 };

    pub fn is_active(&self) -> bool {
        matches!(self, Self::Active { .. })
    }
}

/// Seeks the lease and holds it, over and over, until `stop`. Before this manager decides, `legacy` is what the one before it
/// left; from then on it is what this one leaves.
pub async fn pursue(
    lease: Arc<dyn Lease>,
    tenure: watch::Sender<Tenure>,
    legacy: Legacy,
    stop: CancellationToken,
) {
    let mut failed = false;
    loop {
        let sought = tokio::select! {
            sought = tokio::time::timeout(PATIENCE, lease.seek()) => sought,
            () = stop.cancelled() => return,
        };
        match sought.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {PATIENCE:?}"))) {
            Ok(Sought::Held(mut hold)) => {
                failed = false;
                let epoch = hold.epoch();
                tracing::info!(epoch, "this manager holds the lease, and decides");
                legacy.0.send_replace(hold.left().to_owned());
                let left = legacy.0.subscribe();
                tenure.send_replace(Tenure::Active { epoch });
                let lost = tokio::select! {
                    lost = kept(&mut *hold, left.clone()) => lost,
                    () = stop.cancelled() => {
                        if left.has_changed().unwrap_or(false) {
                            let _ = tokio::time::timeout(PATIENCE, hold.leave(&legacy.now())).await;
                        }
                        // Late, it runs out.
                        let _ = tokio::time::timeout(PATIENCE, hold.release()).await;
                        return;
                    }
                };
                tracing::warn!(
                    epoch,
                    error = format!("{lost:#}"),
                    "the lease is lost; another manager may decide"
                );
                tenure.send_replace(Tenure::Standby { active: None });
            }
            Ok(Sought::Taken(holder)) => {
                failed = false;
                let active = holder.map(|holder| holder.url);
                let now = Tenure::Standby { active };
                tenure.send_if_modified(|old| std::mem::replace(old, now.clone()) != now);
            }
            Err(error) => {
                if !std::mem::replace(&mut failed, true) {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "the lease cannot be sought; trying on"
                    );
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(SEEK_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Until the lease is lost; why. Writes down what is `left` whenever that is news.
async fn kept(hold: &mut dyn Hold, mut left: watch::Receiver<String>) -> anyhow::Error {
    let mut unwritten = false;
    loop {
        let news = tokio::select! {
            changed = left.changed() => changed.is_ok(),
            () = tokio::time::sleep(CHECK_EVERY) => false,
        };
        if news || unwritten {
            let text = left.borrow_and_update().clone();
            let written = tokio::time::timeout(PATIENCE, hold.leave(&text)).await;
            let error = match written {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(format!("{error:#}")),
                Err(_) => Some(format!("no answer within {PATIENCE:?}")),
            };
            if let (Some(error), false) = (&error, unwritten) {
                tracing::warn!(
                    error,
                    "what operators want is not kept for the next manager yet; trying on"
                );
            }
            unwritten = error.is_some();
        }
        match tokio::time::timeout(PATIENCE, hold.check()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error,
            Err(_) => return anyhow::anyhow!("no answer within {PATIENCE:?}"),
        }
    }
}

/// Octets that a holder may leave: an object of Kubernetes takes four times as many in all its annotations.
pub const MOST_LEFT: usize = 64 * 1024;

const SEEK_EVERY: Duration = Duration::from_millis(500);

const CHECK_EVERY: Duration = Duration::from_secs(1);

/// For an answer about the lease.
const PATIENCE: Duration = Duration::from_secs(3);
