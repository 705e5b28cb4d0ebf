//! The traffic manager's metrics: what its overview says, as Prometheus reads it. Series are as many as regions and nodes.

use super::view::{NodeView, Overview, RegionView};
use crate::metrics::Exposition;

/// How a metric is read.
type Read<T> = fn(&T) -> Option<f64>;

pub(super) fn exposed(overview: &Overview) -> Exposition {
    let mut page = Exposition::default();
    page.gauge("spillway_build_info", "Always 1; its label is the version.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    page.gauge(
        "spillway_manager_ready",
        "1 once a full round of heartbeats was heard.",
    )
    .is(f64::from(u8::from(overview.ready)));
    page.gauge(
        "spillway_manager_active",
        "1 while this manager decides; 0 while another one that shares its lease does.",
    )
    .is(f64::from(u8::from(overview.active)));
    page.gauge("spillway_manager_uptime_seconds", "Since it started.")
        .is(overview.uptime_s as f64);
    regions(&overview.regions, &mut page);
    nodes(&overview.nodes, &mut page);
    page
}

fn regions(regions: &[RegionView], page: &mut Exposition) {
    let metrics: [(&'static str, &str, Read<RegionView>); 5] = [
        (
            "spillway_region_viewers",
            "Viewers of a region, on whatever node.",
            |region| Some(region.viewers.into()),
        ),
        (
            "spillway_region_primary_viewers",
            "Viewers of a region on the primary.",
            |region| Some(region.on_primary.into()),
        ),
        (
            "spillway_region_threshold_viewers",
            "Viewers on the primary from which on a region gets a relay.",
            |region| Some(region.threshold.into()),
        ),
        (
            "spillway_region_relays",
            "Relays of a region that serve, drain or are on their way.",
            |region| Some(region.relays as f64),
        ),
        (
            "spillway_region_egress_bytes_per_second",
            "Each node's egress, shared out by where its viewers are.",
            |region| Some(region.egress_bps as f64 / 8.0),
        ),
    ];
    for (name, help, read) in metrics {
        let mut family = page.gauge(name, help);
        for region in regions {
            if let Some(value) = read(region) {
                family.sample(&[("region", &region.region)], value);
            }
        }
    }
}

fn nodes(nodes: &[NodeView], page: &mut Exposition) {
    let mut info = page.gauge(
        "spillway_node_info",
        "Always 1; its labels are what a node is and does.",
    );
    for node in nodes {
        let region = node.region.as_deref().unwrap_or_default();
        let labels = [
            ("node", node.node.as_str()),
            ("kind", &node.kind),
            ("region", region),
            ("state", &node.state),
            ("version", &node.software),
        ];
        info.sample(&labels, 1.0);
    }
    let metrics: [(&'static str, &str, Read<NodeView>); 5] = [
        ("spillway_node_viewers", "Viewers on a node.", |node| {
            Some(node.viewers.into())
        }),
        (
            "spillway_node_egress_bytes_per_second",
            "What a node sends.",
            |node| Some(node.egress_bps as f64 / 8.0),
        ),
        (
            "spillway_node_egress_budget_bytes_per_second",
            "What a node may send; absent if that is unlimited.",
            |node| node.budget_bps.map(|budget| budget as f64 / 8.0),
        ),
        (
            "spillway_node_congestion_price",
            "Utility per Mbit/s that one more bit would buy on a node.",
            |node| Some(node.price),
        ),
        (
            "spillway_node_heard_seconds",
            "Since a node was heard last, or since it was asked for.",
            |node| Some(node.heard_ms as f64 / 1000.0),
        ),
    ];
    for (name, help, read) in metrics {
        let mut family = page.gauge(name, help);
        for node in nodes {
            if let Some(value) = read(node) {
                family.sample(&[("node", &node.node)], value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_and_a_node_are_told_of() {
        let overview = Overview {
            ready: true,
            active: true,
            epoch: 0,
            dry_run: false,
            threshold: 100,
            uptime_s: 60,
            regions: vec![RegionView {
                region: "paris".into(),
                viewers: 120,
                on_primary: 20,
                on_relays: 100,
                relays: 1,
                threshold: 100,
                state: "spilling".into(),
                rise: 0.0,
                pinned: None,
                egress_bps: 8_000_000,
                price: 0.5,
            }],
            nodes: vec![NodeView {
                node: "relay-1".into(),
                kind: "relay".into(),
                region: Some("paris".into()),
                state: "active".into(),
                url: "http://127.0.0.1:1".into(),
                viewers: 100,
                egress_bps: 8_000_000,
                budget_bps: None,
                price: 0.5,
                heard_ms: 1500,
                uptime_s: 30,
                software: "0.1.0".into(),
                launched: true,
                streams: [("demo".to_owned(), 100)].into(),
                moved: 0,
                trouble: None,
                closed: false,
                weight: 1.0,
            }],
            decisions: None,
            ..Overview::default()
        };
        let page = exposed(&overview).to_string();
        for line in [
            "spillway_manager_ready 1",
            "spillway_manager_active 1",
            "spillway_region_viewers{region=\"paris\"} 120",
            "spillway_region_egress_bytes_per_second{region=\"paris\"} 1000000",
            "spillway_node_info{node=\"relay-1\",kind=\"relay\",region=\"paris\",state=\"active\",version=\"0.1.0\"} 1",
            "spillway_node_heard_seconds{node=\"relay-1\"} 1.5",
        ] {
            assert!(page.lines().any(|one| one == line), "no {line} in {page}");
        }
        assert!(!page.contains("budget_bytes_per_second{"), "{page}");
    }
}
