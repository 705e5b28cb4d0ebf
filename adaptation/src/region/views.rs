//! The balancer's state for people to look at.

use super::{
    Balancer, Moment, Mood, Pin, Region, Standing,
    node::{Node, Phase},
};

impl Balancer {
    /// Viewers of the region as reported, without those on their way: on the primary, on relays.
    pub fn counted(&self, region: &Region) -> (u32, u32) {
        let relays = self.fleet.values();
        let relays = relays.filter(|node| !node.is_primary() && node.phase != Phase::Lost);
        (
            self.primary().map_or(0, |node| node.counted(region)),
            relays
                .map(|node| node.counted(region))
                .fold(0, u32::saturating_add),
        )
    }

    /// Relays that serve the region, drain from it, or are on their way to it.
    pub fn relays(&self, region: &Region) -> usize {
        self.fleet.members(region).count()
    }

    pub fn mood(&self, region: &Region, now: Moment) -> Mood {
        let any =
            |test: &dyn Fn(&Node) -> bool| self.fleet.members(region).any(|(_, node)| test(node));
        if self.pending(region, now) > 0 {
            Mood::Launching
        } else if any(&|node| node.serves(region)) {
            Mood::Spilling
        } else if any(&|node| node.drains(region)) {
            Mood::Draining
        } else {
            Mood::Normal
        }
    }

    /// Known regions, in order of their names.
    pub fn regions(&self) -> impl Iterator<Item = &Region> {
        self.areas.keys()
    }

    /// Viewers per second that the region's demand rises by; 0 if that is not certain.
    pub fn rise(&self, region: &Region) -> f64 {
        self.areas.get(region).map_or(0.0, |area| area.trend.rise())
    }

    pub fn pin(&self, region: &Region) -> Option<&Pin> {
        self.pins.get(region)
    }

    /// The operator wants it drained.
    pub fn is_closed(&self, node: &str) -> bool {
        self.closed.contains(node)
    }

    pub fn weight_of(&self, node: &str) -> f64 {
        self.weight(node)
    }

    /// Known nodes with the region they serve or were set up for, in order of their names.
    pub fn standings(&self) -> impl Iterator<Item = (&str, Option<&Region>, Standing)> {
        self.fleet
            .iter()
            .map(|(name, node)| (name.as_str(), node.region(), node.standing()))
    }

    /// When `node` was last heard; for one that is being launched, when it was asked for.
    pub fn heard(&self, node: &str) -> Option<Moment> {
        self.fleet.get(node).map(|node| node.heard)
    }

    /// The name of the primary, be it heard or not.
    pub fn primary_node(&self) -> Option<&str> {
        self.fleet.primary().map(|(name, _)| name)
    }

    /// The name of the primary, while it is heard.
    pub fn primary_name(&self) -> Option<&str> {
        let (name, node) = self.fleet.primary()?;
        (!node.silent).then_some(name)
    }
}
