//! All relays of the installation, as the cluster has them: one list, and a watch that goes on from
//! there. A watch that is lost goes on where it was; one that is told that it is too old (410) begins with
//! another list. Both are `kube`'s doing; whoever waits for a Pod sees one snapshot after the other.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use futures_util::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::standing::{self, Standing};

#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    /// All were listed once.
    pub(super) complete: bool,
    pub(super) pods: BTreeMap<String, Arc<Pod>>,
}

/// Readers of the snapshots. Clones are cheap.
#[derive(Clone, Debug)]
pub(super) struct View(watch::Receiver<Snapshot>);

/// One Pod, as it was seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Found {
    Here(Standing),
    Gone,
}

impl View {
    pub(super) fn open(pods: Api<Pod>, selector: &str, stop: CancellationToken) -> Self {
        let (writer, reader) = watch::channel(Snapshot::default());
        // A connection that died without a word is noticed a little after this.
        let config = watcher::Config::default()
            .labels(selector)
            .timeout(WATCH_SECONDS);
        tokio::spawn(async move {
            tokio::select! {
                () = look(pods, config, writer) => {}
                () = stop.cancelled() => {}
            }
        });
        Self(reader)
    }

    pub(super) fn now(&self) -> Snapshot {
        self.0.borrow().clone()
    }

    /// Waits for something to change.
    pub(super) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// The Pod of this name, once all were listed; `None` if there is none, or by then.
    pub(super) async fn known(&self, name: &str, deadline: Instant) -> Option<Arc<Pod>> {
        let mut reader = self.0.clone();
        let complete = tokio::time::timeout_at(deadline, reader.wait_for(|seen| seen.complete));
        let seen = complete.await.ok()?.ok()?;
        seen.pods.get(name).cloned()
    }

    /// How long the Pod of this name has to go.
    pub(super) fn grace(&self, name: &str) -> Option<Duration> {
        let seen = self.0.borrow();
        let spec = seen.pods.get(name)?.spec.as_ref()?;
        let seconds = spec.termination_grace_period_seconds.unwrap_or(USUAL_GRACE);
        Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    }

    /// Waits until this Pod is gone.
    pub(super) async fn gone(
        &self,
        name: &str,
        uid: &str,
        deadline: Instant,
    ) -> anyhow::Result<()> {
        let mut reader = self.0.clone();
        let gone = reader.wait_for(|seen| seen.complete && !has(seen, name, uid));
        match tokio::time::timeout_at(deadline, gone).await {
            Ok(gone) => gone
                .map(drop)
                .context("the cluster is not watched any more"),
            Err(_) => bail!("Pod {name} of an earlier launch does not go"),
        }
    }

    /// What becomes of this Pod, step by step.
    pub(super) fn follow(&self, name: &str, uid: &str) -> Following {
        Following {
            reader: self.0.clone(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            last: None,
        }
    }
}

/// One who waits for a Pod.
pub(super) struct Following {
    reader: watch::Receiver<Snapshot>,
    name: String,
    uid: String,
    last: Option<Found>,
}

impl Following {
    /// What is different from the last time. A Pod that was not seen yet is not gone: the watch may be behind.
    pub(super) async fn next(&mut self) -> Found {
        loop {
            let found = {
                let seen = self.reader.borrow_and_update();
                let pod = seen.pods.get(&self.name).filter(|pod| is(pod, &self.uid));
                match pod {
                    Some(pod) => Some(Found::Here(standing::of(pod))),
                    None => self.last.is_some().then_some(Found::Gone),
                }
            };
            if let Some(found) = found
                && self.last.as_ref() != Some(&found)
            {
                self.last = Some(found.clone());
                return found;
            }
            if self.reader.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

fn has(seen: &Snapshot, name: &str, uid: &str) -> bool {
    seen.pods.get(name).is_some_and(|pod| is(pod, uid))
}

fn is(pod: &Pod, uid: &str) -> bool {
    pod.metadata.uid.as_deref() == Some(uid)
}

async fn look(pods: Api<Pod>, config: watcher::Config, writer: watch::Sender<Snapshot>) {
    let events = watcher::watcher(pods, config).default_backoff();
    pin_mut!(events);
    let (mut listed, mut trouble) = (BTreeMap::new(), false);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if std::mem::take(&mut trouble) {
                    tracing::info!("Pods are watched again");
                }
                take(event, &mut listed, &writer);
            }
            Err(error) if !trouble => {
                trouble = true;
                tracing::warn!(%error, "Pods cannot be watched; trying again");
            }
            Err(error) => tracing::debug!(%error, "Pods cannot be watched still"),
        }
    }
}

/// A list replaces what was known when it is complete, so that nobody sees half of it.
fn take(
    event: Event<Pod>,
    listed: &mut BTreeMap<String, Arc<Pod>>,
    writer: &watch::Sender<Snapshot>,
) {
    let named = |pod: Pod| (pod.metadata.name.clone().unwrap_or_default(), Arc::new(pod));
    match event {
        Event::Init => listed.clear(),
        Event::InitApply(pod) => listed.extend([named(pod)]),
        Event::InitDone => {
            let pods = std::mem::take(listed);
            writer.send_replace(Snapshot {
                complete: true,
                pods,
            });
        }
        Event::Apply(pod) => writer.send_modify(|seen| seen.pods.extend([named(pod)])),
        Event::Delete(pod) => writer.send_modify(|seen| {
            let (name, pod) = named(pod);
            if has(seen, &name, pod.metadata.uid.as_deref().unwrap_or_default()) {
                seen.pods.remove(&name);
            }
        }),
    }
}

const WATCH_SECONDS: u32 = 60;

/// What a Pod has that says nothing about it.
const USUAL_GRACE: i64 = 30;
