//! Which of several managers decides: the one that holds the lease. The others only listen.
//!
//! A lease has an epoch, which grows each time that it changes hands. Nodes obey the newest epoch that they
//! have heard, so that a holder who does not know yet that it is none any more does no harm.

mod file;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
mod postgres;

use std::{fmt, pin::Pin, time::Duration};

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

    /// Whether it is still held. Asked again and again; an error is as good as no.
    fn check(&mut self) -> Checked<'_, anyhow::Result<()>>;

    /// Gives it back, for the next to have at once. Where the holder's end does that, nothing is to be done.
    fn release(self: Box<Self>) -> Later<()> {
        Box::pin(async {})
    }
}

pub type Checked<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

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

/// Seeks the lease and holds it, over and over, until `stop`.
pub async fn pursue(
    lease: std::sync::Arc<dyn Lease>,
    tenure: watch::Sender<Tenure>,
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
                tenure.send_replace(Tenure::Active { epoch });
                let lost = tokio::select! {
                    lost = kept(&mut *hold) => lost,
                    () = stop.cancelled() => {
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

/// Until the lease is lost; why.
async fn kept(hold: &mut dyn Hold) -> anyhow::Error {
    loop {
        tokio::time::sleep(CHECK_EVERY).await;
        match tokio::time::timeout(PATIENCE, hold.check()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error,
            Err(_) => return anyhow::anyhow!("no answer within {PATIENCE:?}"),
        }
    }
}

const SEEK_EVERY: Duration = Duration::from_millis(500);

const CHECK_EVERY: Duration = Duration::from_secs(1);

/// For an answer about the lease.
const PATIENCE: Duration = Duration::from_secs(3);
