//! Starting and ending relays, by whatever means. When to is the manager's business.

#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod process;

use std::{fmt, pin::Pin};

use tokio_util::sync::CancellationToken;

#[cfg(feature = "kubernetes")]
pub use kubernetes::KubernetesLauncher;
pub use process::ProcessLauncher;

/// Starts relays somewhere.
pub trait Launcher: fmt::Debug + Send + Sync + 'static {
    /// Starts a relay. Resolves when it runs; it then reports by itself. An error leaves nothing
    /// running. After `stop` the relay is to end, whether it runs already or not.
    fn launch(&self, order: Order, stop: CancellationToken) -> Later<anyhow::Result<Ended>>;

    /// Takes charge of a relay that an earlier manager launched and that still reports, as if it had
    /// been launched here. `None`: it cannot be found, and ends by itself when it is told to.
    fn adopt(&self, node: String, stop: CancellationToken) -> Later<Option<Ended>> {
        drop((node, stop));
        Box::pin(async { None })
    }

    /// Whether relays go on when their manager stops, for the next one to adopt.
    fn outlives(&self) -> bool {
        false
    }
}

/// Resolves when a relay is gone, to how it ended, in a few words.
pub type Ended = Later<String>;

pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The relay that is wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Order {
    /// The name it must report under.
    pub node: String,
    pub region: String,
    /// Base URL of the node it follows.
    pub upstream: String,
}
