//! What is decided, for those who are told by webhooks: nodes launched, activated, drained, lost; regions held by operators; which
//! manager decides. Who is told, and how, is `webhook`'s.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::{lease::Tenure, view::Decision};
use crate::webhook::Hooks;

/// Where all of it is heard.
#[derive(Debug)]
pub(super) struct Ears {
    pub(super) decisions: broadcast::Receiver<Arc<Decision>>,
    pub(super) tenure: watch::Receiver<Tenure>,
}

/// Tells `hooks` until `stop`, and then what was decided before.
pub(super) async fn run(mut ears: Ears, hooks: Hooks, stop: CancellationToken) {
    if hooks.is_empty() {
        return;
    }
    let mut active = false;
    loop {
        // Without a lease there is nobody to take over from.
        let tenure = ears.tenure.borrow_and_update().clone();
        let now = tenure.is_active() && tenure != Tenure::SOLE;
        if std::mem::replace(&mut active, now) != now {
            hooks.tell(of_tenure(&tenure), &Office::of(&tenure));
        }
        tokio::select! {
            heard = ears.decisions.recv() => match heard {
                Ok(decision) => tell(&hooks, &decision),
                Err(broadcast::error::RecvError::Lagged(missed)) => hooks.missed(missed),
                Err(broadcast::error::RecvError::Closed) => return,
            },
            Ok(()) = ears.tenure.changed() => {}
            () = stop.cancelled() => break,
        }
    }
    while let Ok(decision) = ears.decisions.try_recv() {
        tell(&hooks, &decision);
    }
}

fn tell(hooks: &Hooks, decision: &Decision) {
    hooks.tell(kind(decision), decision);
}

/// By what was decided, as `/v1/decisions` has it.
fn kind(decision: &Decision) -> &'static str {
    match (&*decision.action, &decision.node) {
        ("launch", _) => "node.launched",
        ("activate", _) => "node.active",
        ("adopt", _) => "node.adopted",
        ("drain", _) => "node.draining",
        ("retire", _) => "node.retired",
        ("gone", _) => "node.ended",
        ("lost", _) => "node.lost",
        ("failed", _) => "node.failed",
        ("doubt", _) => "node.doubted",
        ("press", _) => "region.pressed",
        ("short", _) => "region.short",
        ("override", Some(_)) => "node.override",
        ("override", None) => "region.override",
        _ => "decision",
    }
}

/// Who decides.
#[derive(Debug, Serialize)]
struct Office {
    /// Of the lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    /// Where the manager is that decides instead, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    active: Option<String>,
}

impl Office {
    fn of(tenure: &Tenure) -> Self {
        match tenure {
            Tenure::Active { epoch } => Self {
                epoch: Some(*epoch),
                active: None,
            },
            Tenure::Standby { active } => Self {
                epoch: None,
                active: active.clone(),
            },
        }
    }
}

fn of_tenure(tenure: &Tenure) -> &'static str {
    match tenure.is_active() {
        true => "manager.active",
        false => "manager.standby",
    }
}
