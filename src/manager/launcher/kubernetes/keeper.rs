//! Sees to it that no Pod of this installation is left over: one that ended and that nobody attends, one of an
//! earlier manager that never came to run. A Pod that runs is never touched here: it reports, or it ends
//! by itself when it has neither a manager nor viewers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    KubernetesLauncher,
    standing::{self, Standing},
    view::Snapshot,
};

/// Names of Pods that somebody looks after: a launch, or whoever waits for an end.
#[derive(Clone, Debug, Default)]
pub(super) struct Attended(Arc<Mutex<BTreeSet<String>>>);

/// Until it is dropped.
#[derive(Debug)]
pub(super) struct Attending(Attended, String);

impl Attended {
    pub(super) fn add(&self, name: &str) -> Attending {
        self.lock().insert(name.to_owned());
        Attending(self.clone(), name.to_owned())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Attending {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

pub(super) async fn run(launcher: KubernetesLauncher, stop: CancellationToken) {
    let cluster = launcher.cluster;
    let (mut view, mut since) = (cluster.view.clone(), BTreeMap::new());
    loop {
        let patience = cluster.settings.runs_within;
        let attended = cluster.attended.lock().clone();
        let left = left_over(&view.now(), &attended, &mut since, patience, Instant::now());
        for (name, uid, why) in left {
            tracing::info!(pod = name, why, "a Pod is left over; deleting it");
            let deadline = Instant::now() + cluster.settings.ends_within;
            if let Err(error) = cluster.delete(&name, &uid, deadline).await {
                tracing::warn!(pod = name, "it cannot be deleted: {error:#}");
            }
        }
        tokio::select! {
            () = view.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Name and uid of what is to go, and why. `since` is when each was first seen not to run.
fn left_over(
    seen: &Snapshot,
    attended: &BTreeSet<String>,
    since: &mut BTreeMap<String, Instant>,
    patience: Duration,
    now: Instant,
) -> Vec<(String, String, String)> {
    let mut left = Vec::new();
    let mut starting = BTreeMap::new();
    for (name, pod) in seen
        .pods
        .iter()
        .filter(|(name, _)| !attended.contains(*name))
    {
        let Some(uid) = pod.metadata.uid.clone() else {
            continue;
        };
        // Told already; it is on its way.
        let told = pod.metadata.deletion_timestamp.is_some();
        match standing::of(pod) {
            Standing::Over(how) if !told => left.push((name.clone(), uid, how)),
            Standing::Starting(waits) => {
                let first = since.get(&uid).copied().unwrap_or(now);
                starting.insert(uid.clone(), first);
                if now.duration_since(first) >= patience {
                    left.push((name.clone(), uid, format!("it does not start: {waits}")));
                }
            }
            _ => {}
        }
    }
    *since = starting;
    left
}

const LOOK_EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(pods: &[(&str, &str)]) -> Snapshot {
        let pod = |name: &str, phase: &str| {
            serde_json::from_value(json!({
                "metadata": { "name": name, "uid": format!("uid-{name}") },
                "spec": { "containers": [{ "name": "relay" }] },
                "status": { "phase": phase, "containerStatuses": [
                    { "name": "relay", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                      "state": if phase == "Running" { json!({ "running": {} }) } else { json!({}) } } ] },
            }))
            .unwrap()
        };
        let pods = pods
            .iter()
            .map(|&(name, phase)| (name.to_owned(), Arc::new(pod(name, phase))));
        Snapshot {
            complete: true,
            pods: pods.collect(),
        }
    }

    #[test]
    fn what_ended_and_what_never_starts_goes_unless_it_is_attended() {
        let seen = seen(&[
            ("ours", "Failed"),
            ("over", "Succeeded"),
            ("runs", "Running"),
            ("waits", "Pending"),
        ]);
        let (attended, mut since) = (BTreeSet::from(["ours".to_owned()]), BTreeMap::new());
        let (patience, t0) = (Duration::from_secs(60), Instant::now());
        let mut names = |now| {
            let left = left_over(&seen, &attended, &mut since, patience, now);
            left.into_iter().map(|(name, ..)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(t0), ["over"]);
        assert_eq!(names(t0 + patience / 2), ["over"]);
        assert_eq!(names(t0 + patience), ["over", "waits"]);
    }

    #[test]
    fn who_attends_a_pod_does_until_it_is_dropped() {
        let attended = Attended::default();
        let one = attended.add("relay-1");
        assert!(attended.lock().contains("relay-1"));
        drop(one);
        assert!(attended.lock().is_empty());
    }
}
