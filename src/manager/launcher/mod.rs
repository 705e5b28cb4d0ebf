//! Starting and ending relays, by whatever means. When to is the manager's business.

pub mod process;
mod signal;

use std::{fmt, pin::Pin};

use tokio_util::sync::CancellationToken;

pub use process::ProcessLauncher;

/// Starts relays somewhere.
pub trait Launcher: fmt::Debug + Send + Sync + 'static {
    /// Starts a relay. Resolves when it runs; it then reports by itself. An error leaves nothing
    /// running. After `stop` the relay is to end, whether it runs already or not.
    fn launch(&self, order: Order, stop: CancellationToken) -> Later<anyhow::Result<Ended>>;
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
