//! What the traffic manager says while a run goes on: nodes, their state and egress, decisions.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use reqwest::Url;
use serde::Serialize;
use serde_json::Value;

/// What was seen of the system, look by look.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Seen {
    pub looks: Vec<Look>,
    /// Each once, oldest first: when, what, why.
    pub decisions: Vec<String>,
    /// Viewers from which on the primary takes no more of a region, as last seen.
    pub thresholds: BTreeMap<String, u64>,
    #[serde(skip)]
    known: BTreeSet<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Look {
    /// Seconds since the beginning of the run.
    pub at: f64,
    pub nodes: BTreeMap<String, NodeLook>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct NodeLook {
    pub kind: String,
    pub state: String,
    pub viewers: u64,
    pub egress_mbps: f64,
}

impl Seen {
    /// Looks at `/v1/overview` of the manager at `base`; what cannot be had is left out.
    pub async fn look(&mut self, client: &reqwest::Client, base: &Url, at: f64) {
        let Ok(url) = base.join("/v1/overview") else {
            return;
        };
        let answer = client.get(url).timeout(Duration::from_secs(2)).send().await;
        let Ok(answer) = answer else { return };
        if let Ok(overview) = answer.json::<Value>().await {
            self.take(&overview, at);
        }
    }

    pub fn take(&mut self, overview: &Value, at: f64) {
        let text =
            |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
        let list = |field: &str| overview[field].as_array().cloned().unwrap_or_default();
        let nodes = list("nodes").into_iter().map(|node| {
            let look = NodeLook {
                kind: text(&node, "kind"),
                state: text(&node, "state"),
                viewers: node["viewers"].as_u64().unwrap_or(0),
                egress_mbps: node["egress_bps"].as_f64().unwrap_or(0.0) / 1e6,
            };
            (text(&node, "node"), look)
        });
        self.looks.push(Look {
            at,
            nodes: nodes.collect(),
        });
        for region in list("regions") {
            if let Some(threshold) = region["threshold"].as_u64() {
                self.thresholds.insert(text(&region, "region"), threshold);
            }
        }
        for decision in list("decisions").iter().rev() {
            let line = format!(
                "{} {} {} {}: {}",
                text(decision, "at"),
                text(decision, "action"),
                text(decision, "region"),
                text(decision, "node"),
                text(decision, "reason")
            );
            if self.known.insert(line.clone()) {
                self.decisions.push(line);
            }
        }
    }

    /// Relays that are there at the last look.
    pub fn relays_left(&self) -> usize {
        self.looks.last().map_or(0, |look| {
            let relays = look
                .nodes
                .values()
                .filter(|node| node.kind == "relay" && node.state != "standby");
            relays.count()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_told_once_and_nodes_at_each_look() {
        let overview = serde_json::json!({
            "nodes": [{ "node": "relay-1", "kind": "relay", "state": "active", "viewers": 3, "egress_bps": 2_500_000 }],
            "decisions": [{ "at": "t", "action": "launch", "region": "paris", "node": "relay-1", "reason": "4 above 3" }],
        });
        let mut seen = Seen::default();
        seen.take(&overview, 0.0);
        seen.take(&overview, 1.0);
        assert_eq!(seen.decisions, ["t launch paris relay-1: 4 above 3"]);
        assert_eq!((seen.looks.len(), seen.relays_left()), (2, 1));
        assert_eq!(seen.looks[1].nodes["relay-1"].egress_mbps, 2.5);
        seen.take(&Value::Null, 2.0);
        assert_eq!(seen.relays_left(), 0);
    }
}
