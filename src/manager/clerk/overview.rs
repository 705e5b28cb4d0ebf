//! What the clerk tells operators: everything known, as of now.

use std::time::SystemTime;

use adaptation::region::{Moment, Region, Standing};

use super::{
    super::view::{self, NodeView, Overview, RegionView},
    Clerk, Tenure,
};
use crate::control::{Heartbeat, NodeKind};

impl Clerk {
    pub(super) fn overview(&mut self) -> Overview {
        let now = self.now();
        let regions = self.balancer.regions();
        let regions: Vec<_> = regions
            .map(|region| self.region_view(region, now))
            .collect();
        let nodes = self.balancer.standings();
        let nodes: Vec<_> = nodes
            .map(|(name, region, standing)| self.node_view(name, region, standing, now))
            .collect();
        let streams = self.nodes.iter();
        let streams = streams.map(|(name, (heartbeat, _))| (name.as_str(), &heartbeat.load.alerts));
        let (crowded, patience) = (crowded(&regions), self.patience());
        let alerts = self.alerts.look(&nodes, streams, crowded, patience, now);
        Overview {
            ready: self.tenure.is_active() && self.balancer.ready(now),
            active: self.tenure.is_active(),
            epoch: match self.tenure {
                Tenure::Active { epoch } => epoch,
                Tenure::Standby { .. } => 0,
            },
            dry_run: self.config.dry_run,
            threshold: self.balancer.config().threshold,
            uptime_s: self.started.elapsed().as_secs(),
            controls: self.config.controls,
            software: env!("CARGO_PKG_VERSION").to_owned(),
            regions,
            nodes,
            alerts,
            decisions: Some(
                self.history
                    .iter()
                    .map(|decision| (**decision).clone())
                    .collect(),
            ),
        }
    }

    fn region_view(&self, region: &Region, now: Moment) -> RegionView {
        let (on_primary, on_relays) = self.balancer.counted(region);
        let egress = self.nodes.values().map(|(heartbeat, _)| {
            let load = &heartbeat.load;
            let here = load.regions.get(region.as_str());
            let (here, all) = (here.map_or(0, |here| here.viewers), load.viewers());
            load.egress.bps() * u64::from(here) / u64::from(all.max(1))
        });
        let price = self.nodes.values().filter_map(|(heartbeat, _)| {
            let load = &heartbeat.load;
            let here = load.regions.get(region.as_str())?;
            (here.viewers > 0).then_some(load.price)
        });
        RegionView {
            region: region.to_string(),
            viewers: on_primary + on_relays,
            on_primary,
            on_relays,
            relays: self.balancer.relays(region),
            threshold: self.balancer.limit(region),
            state: self.balancer.mood(region, now).name().into(),
            rise: self.balancer.rise(region),
            pinned: self.balancer.pin(region).cloned(),
            egress_bps: egress.sum(),
            price: price.fold(0.0, f64::max),
        }
    }

    fn node_view(
        &self,
        name: &str,
        region: Option<&Region>,
        standing: Standing,
        now: Moment,
    ) -> NodeView {
        let heard = self.balancer.heard(name).unwrap_or(now);
        let heard_ms = now.saturating_sub(heard).as_millis();
        let heartbeat = self.nodes.get(name).map(|(heartbeat, _)| heartbeat);
        let load = heartbeat
            .map(|heartbeat| heartbeat.load.clone())
            .unwrap_or_default();
        let uptime = |heartbeat: &Heartbeat| {
            view::unix_millis(SystemTime::now()).saturating_sub(heartbeat.instance) / 1000
        };
        let kind = heartbeat.map_or(NodeKind::Relay, |heartbeat| heartbeat.kind);
        NodeView {
            node: name.into(),
            kind: match kind {
                NodeKind::Primary => "primary".into(),
                NodeKind::Relay => "relay".into(),
            },
            region: region.map(ToString::to_string),
            state: standing.name().into(),
            url: heartbeat
                .map(|heartbeat| heartbeat.url.clone())
                .unwrap_or_default(),
            viewers: load.viewers(),
            egress_bps: load.egress.bps(),
            budget_bps: load.budget.map(|budget| budget.bps()),
            price: load.price,
            heard_ms: u64::try_from(heard_ms).unwrap_or(u64::MAX),
            uptime_s: heartbeat.map_or(0, uptime),
            software: heartbeat
                .map(|heartbeat| heartbeat.software.clone())
                .unwrap_or_default(),
            launched: heartbeat.is_none_or(|heartbeat| heartbeat.launched),
            streams: load.streams,
            moved: load.moved,
            trouble: load.trouble,
            closed: self.balancer.is_closed(name),
            weight: self.balancer.weight_of(name),
        }
    }
}

/// Regions that have too many on the primary, and no relay that takes them.
fn crowded(regions: &[RegionView]) -> Vec<(String, String)> {
    let crowded = regions
        .iter()
        .filter(|region| region.on_primary > region.threshold && region.state == "normal");
    let told = crowded.map(|region| {
        let (on_primary, threshold) = (region.on_primary, region.threshold);
        let what = format!(
            "{on_primary} viewers on the primary, where {threshold} are the threshold, and no relay"
        );
        (region.region.clone(), what)
    });
    told.collect()
}
