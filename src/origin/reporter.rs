//! The node's voice to its traffic manager: a heartbeat in full, again and again, and the
//! directive that comes back with each. What a directive means is for the node to say; how a
//! heartbeat is written, proven and carried is the `line`'s business.

mod line;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use line::{Line, LineError};

use super::Origin;
use crate::control::{Directive, Heartbeat, Load, NodeKind, NodeState, VERSION};

/// Who reports.
#[derive(Clone, Debug)]
pub struct Identity {
    pub node: String,
    /// Start of this run, Unix milliseconds.
    pub instance: u64,
    pub kind: NodeKind,
    /// Base URL under which viewers reach this node.
    pub url: String,
    pub launched: bool,
}

/// What a node does now, and for whom.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Standing {
    pub state: NodeState,
    pub region: Option<String>,
}

/// Reports until `stop`: every interval, and at once when `standing` changes. While the manager is
/// away the last directive holds.
pub async fn run(
    identity: Identity,
    origin: Arc<Origin>,
    mut line: Line,
    mut standing: watch::Receiver<Standing>,
    directives: watch::Sender<Directive>,
    stop: CancellationToken,
) {
    let (mut interval, mut last, mut trouble) = (INTERVAL, Instant::now(), None);
    loop {
        let heartbeat = identity.heartbeat(&origin, standing.borrow_and_update().clone());
        let reply = tokio::select! {
            reply = line.report(&heartbeat) => reply,
            () = stop.cancelled() => return,
        };
        match reply {
            Ok(reply) => {
                if trouble.take().is_some() {
                    tracing::info!(manager = %line.manager(), "the traffic manager answers again");
                }
                last = Instant::now();
                interval = Duration::from_millis(reply.interval_ms.clamp(100, 60_000));
                directives.send_if_modified(|now| {
                    std::mem::replace(now, reply.directive.clone()) != reply.directive
                });
            }
            // The same trouble is said once.
            Err(error)
                if trouble
                    .as_ref()
                    .is_none_or(|trouble| !error.is_like(trouble)) =>
            {
                if error.is_refusal() {
                    tracing::error!(%error, "the traffic manager does not take this node; going on as before");
                } else {
                    tracing::warn!(%error, "the traffic manager does not answer; going on as before");
                }
                trouble = Some(error);
            }
            Err(_) => {}
        }
        let abandoned =
            identity.launched && last.elapsed() > ABANDONED && origin.viewers.count() == 0;
        if abandoned {
            tracing::info!(since = ?ABANDONED, "nobody watches, and the traffic manager that started this node is gone");
            directives.send_replace(Directive::Retire);
        }
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            changed = standing.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}

impl Identity {
    fn heartbeat(&self, origin: &Origin, standing: Standing) -> Heartbeat {
        let (census, share) = (origin.viewers.census(), origin.share.load());
        Heartbeat {
            version: VERSION,
            node: self.node.clone(),
            instance: self.instance,
            kind: self.kind,
            state: standing.state,
            url: self.url.clone(),
            region: standing.region,
            launched: self.launched,
            software: env!("CARGO_PKG_VERSION").to_owned(),
            load: Load {
                streams: origin
                    .store
                    .streams()
                    .into_iter()
                    .map(|(name, _)| {
                        let viewers = census.streams.get(name.as_str()).copied().unwrap_or(0);
                        (name.to_string(), viewers)
                    })
                    .collect(),
                regions: census.regions,
                moved: census.moved,
                egress: share.egress,
                budget: share.budget.or(origin.terms.budget),
                price: share.price(),
            },
        }
    }
}

/// Until the manager says otherwise.
const INTERVAL: Duration = Duration::from_secs(1);

/// After so long without its manager, a node that was launched is nobody's, unless it has viewers.
const ABANDONED: Duration = Duration::from_secs(60);
