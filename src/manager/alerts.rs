//! What somebody should look at now, from what nodes say of themselves and from their silence, each with when it began.
//!
//! What a stream's segmenter reports keeps its name; the names of what the manager sees itself are in [`SILENT`] and below.
//! What a condition means and what to do about it is in the README's tables.

use std::{collections::BTreeMap, time::Duration};

use super::view::{AlertView, NodeView};

/// A node is lost, or has not been heard for as long as operators wait for one.
const SILENT: &str = "node-silent";
/// A node that serves says that it should not be sent anybody.
const TROUBLED: &str = "node-troubled";
/// A node's egress holds viewers down.
const SHORT: &str = "egress-short";
/// A region's viewers on the primary are more than its threshold, and no relay takes them.
const CROWDED: &str = "region-crowded";

/// Since when each holds, in milliseconds since the manager was started.
#[derive(Debug, Default)]
pub(super) struct Alerts(BTreeMap<Key, Duration>);

/// Name, node, region, stream.
type Key = (String, Option<String>, Option<String>, Option<String>);

impl Alerts {
    /// What holds `now`, gravest first, then by age. `streams` has the alerts of each node's streams; `crowded` the regions
    /// that are. `patience` is how long a node may be silent.
    pub(super) fn look<'a>(
        &mut self,
        nodes: &[NodeView],
        streams: impl IntoIterator<Item = (&'a str, &'a BTreeMap<String, Vec<String>>)>,
        crowded: impl IntoIterator<Item = (String, String)>,
        patience: Duration,
        now: Duration,
    ) -> Vec<AlertView> {
        let mut found = Vec::new();
        for node in nodes {
            let at = || (Some(node.node.clone()), node.region.clone(), None);
            let heard = Duration::from_millis(node.heard_ms);
            if node.state == "lost" || (node.state != "launching" && heard > patience) {
                let told = format!("not heard for {} s", heard.as_secs());
                found.push((SILENT, at(), told));
            }
            if let Some(trouble) = &node.trouble {
                found.push((TROUBLED, at(), trouble.clone()));
            }
            if node.price > 0.0 {
                let told = format!("its egress holds viewers down (price {:.3})", node.price);
                found.push((SHORT, at(), told));
            }
        }
        for (region, told) in crowded {
            found.push((CROWDED, (None, Some(region), None), told));
        }
        let mut held = BTreeMap::new();
        let mut view = Vec::new();
        let mut show =
            |name: &str,
             (node, region, stream): (Option<String>, Option<String>, Option<String>),
             what: String| {
                let key = (
                    name.to_owned(),
                    node.clone(),
                    region.clone(),
                    stream.clone(),
                );
                let since = self.0.get(&key).copied().unwrap_or(now);
                held.insert(key, since);
                let for_s = now.saturating_sub(since).as_secs();
                if PASSING.contains(&name) && for_s < LASTING {
                    return;
                }
                view.push(AlertView {
                    name: name.to_owned(),
                    grave: is_grave(name),
                    node,
                    region,
                    stream,
                    what,
                    for_s,
                });
            };
        for (name, at, what) in found {
            show(name, at, what);
        }
        for (node, streams) in streams {
            for (stream, names) in streams {
                for name in names.iter().take(MOST_OF_A_STREAM) {
                    let at = (Some(node.to_owned()), None, Some(stream.clone()));
                    show(name, at, meaning(name).to_owned());
                }
            }
        }
        self.0 = held;
        view.sort_by(|a, b| b.grave.cmp(&a.grave).then(b.for_s.cmp(&a.for_s)));
        view.truncate(MOST);
        view
    }
}

/// Viewers see it, or are about to.
fn is_grave(name: &str) -> bool {
    matches!(
        name,
        SILENT | TROUBLED | "on-slate" | "input-lost" | "input-stalled"
    )
}

/// Of what segmenters report. A name from a newer node says enough by itself.
fn meaning(name: &str) -> &'static str {
    match name {
        "backup-lost" => "the backup input gives no pictures",
        "encoder-overloaded" => "encoding is slower than real time",
        "input-keyframes-sparse" => "key frames of the input are far apart",
        "input-lost" => "the input has failed or ended; it is opened again and again",
        "input-stalled" => "the input is there and gives no pictures",
        "on-backup" => "the backup is on the air",
        "on-slate" => "the slate is on the air",
        "sound-missing" => "the sound of the input has stopped; silence stands in for it",
        _ => "",
    }
}

/// What is told only after it has held for [`LASTING`] seconds: every peak begins so.
const PASSING: [&str; 2] = [SHORT, CROWDED];
const LASTING: u64 = 5;

/// That are shown at a time.
const MOST: usize = 200;
const MOST_OF_A_STREAM: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_keeps_its_beginning_while_it_holds_and_the_gravest_is_first() {
        let mut alerts = Alerts::default();
        let names = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            BTreeMap::from([("demo".to_owned(), names)])
        };
        let look = |alerts: &mut Alerts, streams: &BTreeMap<_, _>, at| {
            let (patience, now) = (Duration::from_secs(6), Duration::from_secs(at));
            let seen = alerts.look(&[], [("primary", streams)], [], patience, now);
            seen.into_iter()
                .map(|alert| (alert.name, alert.for_s))
                .collect::<Vec<_>>()
        };
        let both = names(&["on-backup", "input-lost"]);
        let said = |name: &str, seconds| (name.to_owned(), seconds);
        assert_eq!(
            look(&mut alerts, &both, 10),
            [said("input-lost", 0), said("on-backup", 0)]
        );
        assert_eq!(
            look(&mut alerts, &both, 15),
            [said("input-lost", 5), said("on-backup", 5)]
        );
        assert_eq!(
            look(&mut alerts, &names(&["on-backup"]), 16),
            [said("on-backup", 6)]
        );
        assert_eq!(
            look(&mut alerts, &both, 20),
            [said("input-lost", 0), said("on-backup", 10)]
        );
    }
}
