//! A heartbeat as it comes in: checked, and turned into what the balancer understands. So what is told of viewers: checked.

use adaptation::region::{Kind, Load, Region, Report, State};

use super::address;
use crate::control::{Encoding, Heartbeat, NodeKind, NodeState, visits::Visits};

/// The heartbeat in `body`, or in one line what is wrong with it.
pub(super) fn read(encoding: Encoding, body: &[u8]) -> Result<Heartbeat, String> {
    let mut heartbeat: Heartbeat = encoding.read(body).map_err(|error| error.to_string())?;
    named(&heartbeat.node)?;
    heartbeat.url = address::base_url(&heartbeat.url)
        .map_err(|error| format!("{}: {error}", heartbeat.node))?;
    Ok(heartbeat)
}

/// What is told of viewers in `body`, or in one line what is wrong with it.
pub(super) fn visits(body: &[u8]) -> Result<Visits, String> {
    let visits = Encoding::read_visits(body).map_err(|error| error.to_string())?;
    named(&visits.node)?;
    Ok(visits)
}

fn named(node: &str) -> Result<(), String> {
    match address::is_node(node) {
        true => Ok(()),
        false => Err(format!(
            "{node:?} is no name for a node: 1 to 64 letters, digits, '-', '_' and '.'"
        )),
    }
}

/// What of it matters for decisions.
pub(super) fn of(heartbeat: &Heartbeat) -> Report {
    let loads = heartbeat.load.regions.iter().map(|(region, load)| {
        let (viewers, arrivals) = (load.viewers, load.arrivals);
        (Region::new(region), Load { viewers, arrivals })
    });
    let mut regions = std::collections::BTreeMap::<Region, Load>::new();
    for (region, load) in loads {
        // Names that are none share one.
        let sum = regions.entry(region).or_default();
        sum.viewers = sum.viewers.saturating_add(load.viewers);
        sum.arrivals = sum.arrivals.saturating_add(load.arrivals);
    }
    Report {
        node: heartbeat.node.clone(),
        instance: heartbeat.instance,
        kind: match heartbeat.kind {
            NodeKind::Primary => Kind::Primary,
            NodeKind::Relay => Kind::Relay,
        },
        state: match heartbeat.state {
            NodeState::Standby => State::Standby,
            NodeState::Filling => State::Filling,
            NodeState::Active => State::Active,
            NodeState::Draining => State::Draining,
        },
        region: heartbeat.region.as_deref().map(Region::new),
        launched: heartbeat.launched,
        regions,
        moved: heartbeat.load.moved,
        price: heartbeat.load.price,
        egress: heartbeat.load.egress,
        budget: heartbeat.load.budget,
        seats: heartbeat.load.seats,
        streams: heartbeat.load.streams.clone(),
        trouble: heartbeat.load.trouble.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_heartbeat_is_said_in_one_line() {
        for (body, rule) in [
            ("", "cannot be read"),
            ("{}", "missing field `version`"),
            (r#"{"version":9,"x":1}"#, "is of version 9"),
            (r#"{"version":1}"#, "missing field `node`"),
        ] {
            let error = read(Encoding::Json, body.as_bytes()).unwrap_err();
            assert!(error.contains(rule) && !error.contains('\n'), "{error}");
        }
    }
}
