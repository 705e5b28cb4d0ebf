//! What a Pod is doing, from what the cluster says of it; and in words, why it does not run yet or how it ended.
//! Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};

use super::template::relay_container;

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// What it waits for.
    Starting(String),
    /// The relay's process was started; it reports by itself.
    Runs,
    /// Somebody deleted it, and it has its time to go.
    Ending,
    /// How it ended. The Pod itself may still be there.
    Over(String),
}

pub(super) fn of(pod: &Pod) -> Standing {
    let Some(status) = &pod.status else {
        return Standing::Starting("nobody has looked at it yet".into());
    };
    let relay = relay_status(pod, status);
    let phase = status.phase.as_deref().unwrap_or_default();
    let ended = relay.and_then(|relay| relay.state.as_ref()?.terminated.as_ref());
    if matches!(phase, "Failed" | "Succeeded") || ended.is_some() {
        return Standing::Over(how(status, relay));
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return Standing::Ending;
    }
    let runs = relay.is_some_and(|relay| {
        relay
            .state
            .as_ref()
            .is_some_and(|state| state.running.is_some())
    });
    if phase == "Running" && runs {
        return Standing::Runs;
    }
    Standing::Starting(waits(status, relay))
}

fn relay_status<'a>(pod: &Pod, status: &'a PodStatus) -> Option<&'a ContainerStatus> {
    let name = relay_container(pod.spec.as_ref()?)?;
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    containers.iter().find(|container| container.name == name)
}

/// An eviction, a lack of memory, an exit status.
fn how(status: &PodStatus, relay: Option<&ContainerStatus>) -> String {
    if let Some(reason) = &status.reason {
        return said(reason, status.message.as_deref());
    }
    let ended = relay.and_then(|relay| relay.state.as_ref()?.terminated.as_ref());
    match ended {
        Some(ended) => match ended.reason.as_deref() {
            None | Some("Completed" | "Error") => format!("exit status: {}", ended.exit_code),
            Some(reason) => format!("{reason}, exit status: {}", ended.exit_code),
        },
        None => said(
            status.phase.as_deref().unwrap_or("ended"),
            status.message.as_deref(),
        ),
    }
}

fn waits(status: &PodStatus, relay: Option<&ContainerStatus>) -> String {
    let waiting = relay.and_then(|relay| relay.state.as_ref()?.waiting.as_ref());
    if let Some(waiting) = waiting {
        let reason = waiting.reason.as_deref().unwrap_or("waiting");
        return said(reason, waiting.message.as_deref());
    }
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let unscheduled = conditions
        .iter()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    match unscheduled {
        Some(condition) => said(
            condition.reason.as_deref().unwrap_or("Unscheduled"),
            condition.message.as_deref(),
        ),
        None => status
            .phase
            .clone()
            .unwrap_or_else(|| "nobody has looked at it yet".into()),
    }
}

/// One line, not too long: it goes into decisions and logs.
fn said(reason: &str, message: Option<&str>) -> String {
    let message: String = message
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let message: String = message.chars().take(200).collect();
    if message.is_empty() {
        reason.to_owned()
    } else {
        format!("{reason}: {message}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(deleted: bool, status: Value) -> Pod {
        let mut pod = json!({
            "metadata": { "name": "relay-1" },
            "spec": { "containers": [{ "name": "proxy" }, { "name": "relay" }] },
            "status": status,
        });
        if deleted {
            pod["metadata"]["deletionTimestamp"] = "2026-11-21T10:00:00Z".into();
        }
        serde_json::from_value(pod).unwrap()
    }

    fn relay(phase: &str, state: Value) -> Value {
        json!({ "phase": phase, "containerStatuses": [
            { "name": "proxy", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": { "running": {} } },
            { "name": "relay", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state },
        ] })
    }

    #[test]
    fn a_pod_runs_when_its_relay_does() {
        let running = relay("Running", json!({ "running": {} }));
        assert_eq!(of(&pod(false, running.clone())), Standing::Runs);
        assert_eq!(of(&pod(true, running)), Standing::Ending);
    }

    #[test]
    fn what_it_waits_for_is_said() {
        for (status, told) in [
            (json!({}), "nobody has looked at it yet"),
            (json!({ "phase": "Pending" }), "Pending"),
            (
                json!({ "phase": "Pending", "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available:\n insufficient cpu" }] }),
                "Unschedulable: 0/3 nodes are available: insufficient cpu",
            ),
            (
                relay(
                    "Pending",
                    json!({ "waiting": { "reason": "ImagePullBackOff", "message": "Back-off pulling" } }),
                ),
                "ImagePullBackOff: Back-off pulling",
            ),
        ] {
            assert_eq!(of(&pod(false, status)), Standing::Starting(told.into()));
        }
    }

    #[test]
    fn how_it_ended_is_said() {
        for (status, told) in [
            (
                json!({ "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory." }),
                "Evicted: The node was low on resource: memory.",
            ),
            (
                relay(
                    "Failed",
                    json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } }),
                ),
                "OOMKilled, exit status: 137",
            ),
            (
                relay(
                    "Succeeded",
                    json!({ "terminated": { "exitCode": 0, "reason": "Completed" } }),
                ),
                "exit status: 0",
            ),
            // Its neighbour goes on, and so does the Pod.
            (
                relay(
                    "Running",
                    json!({ "terminated": { "exitCode": 2, "reason": "Error" } }),
                ),
                "exit status: 2",
            ),
            (json!({ "phase": "Failed" }), "Failed"),
        ] {
            for deleted in [false, true] {
                assert_eq!(
                    of(&pod(deleted, status.clone())),
                    Standing::Over(told.into())
                );
            }
        }
    }
}
