//! The operator's word on when and how far to spill.

use std::{collections::BTreeMap, time::Duration};

use playlists::Bitrate;
use serde::{Deserialize, Serialize};

use super::Region;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Viewers of one region on the primary from which on the region gets a relay. At least 1.
    pub threshold: u32,
    /// The same in what is sent to them.
    pub threshold_egress: Option<Bitrate>,
    /// Congestion price of a node above which its egress is short.
    pub price: f64,
    /// What differs in some regions.
    pub regions: BTreeMap<Region, Terms>,
    /// Viewers of one relay; `None`: as many as come.
    pub relay_viewers: Option<u32>,
    /// What a node takes beside others of its region; 1 is usual, 0 takes nobody new.
    pub weights: BTreeMap<String, f64>,
    pub relays_per_region: usize,
    /// Relays in use at a time, all regions together.
    pub relays: usize,
    /// A relay is started when the threshold is going to be crossed within the time that one takes.
    pub ahead: bool,
    /// A place that stays free on the primary is given to a viewer of a relay.
    pub move_back: bool,
    /// How long a region must be quiet before a relay drains, and how long after that no other is
    /// started for it (a drained one that is still there may come back at once).
    pub cooldown: Duration,
    /// How often nodes report.
    pub heartbeat: Duration,
    /// From asking for a relay until it serves; then the attempt has failed.
    pub launch_deadline: Duration,
    /// From the word to drain until viewers that are still there are left to themselves.
    pub drain_deadline: Duration,
    /// From the word to drain until players that were sent elsewhere, but still ask the old node
    /// for the way, are left to themselves. Most ask for as long as they play, and a node that
    /// only points the way costs next to nothing.
    pub moved_deadline: Duration,
    /// Whether relays can be started at all; if not, only standby nodes are put to use.
    pub launcher: bool,
}

/// What one region has of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Terms {
    pub threshold: Option<u32>,
    pub threshold_egress: Option<Bitrate>,
    /// Most relays.
    pub relays: Option<usize>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            threshold: 100,
            threshold_egress: None,
            price: 0.0,
            regions: BTreeMap::new(),
            relay_viewers: None,
            weights: BTreeMap::new(),
            relays_per_region: 4,
            relays: 16,
            ahead: true,
            move_back: true,
            cooldown: Duration::from_secs(10),
            heartbeat: Duration::from_secs(2),
            launch_deadline: Duration::from_secs(30),
            drain_deadline: Duration::from_secs(120),
            moved_deadline: Duration::from_secs(6 * 3600),
            launcher: true,
        }
    }
}

impl Config {
    /// Without a word for this long, a node is lost: three heartbeats missed.
    pub(super) fn patience(&self) -> Duration {
        self.heartbeat * 3 + self.heartbeat / 2
    }

    /// Viewers of `region` that the primary takes, each of whom takes `rate` (bit/s) if that is known.
    pub(super) fn threshold(&self, region: &Region, rate: Option<f64>) -> u32 {
        let own = self.regions.get(region);
        let viewers = own.and_then(|own| own.threshold);
        let viewers = viewers.unwrap_or(self.threshold).max(1);
        let egress = own.and_then(|own| own.threshold_egress);
        let egress = egress.or(self.threshold_egress);
        match egress.zip(rate.filter(|rate| *rate > 0.0)) {
            Some((egress, rate)) => viewers.min((egress.bps() as f64 / rate).max(1.0) as u32),
            None => viewers,
        }
    }

    pub(super) fn most_relays(&self, region: &Region) -> usize {
        let own = self.regions.get(region).and_then(|own| own.relays);
        own.unwrap_or(self.relays_per_region)
    }

    /// Total of a region at or below which `relays` relays are one too many: 70 % of what would
    /// be left without it, and at least one viewer less, so that the next join changes nothing.
    /// `limit` is what the primary takes of the region.
    pub(super) fn low(&self, limit: u32, relays: usize) -> u32 {
        let others = u32::try_from(relays.saturating_sub(1)).unwrap_or(u32::MAX);
        // Without a known capacity nobody can say that fewer relays would do before the primary does.
        let others = self.relay_viewers.unwrap_or(0).saturating_mul(others);
        let room = limit.saturating_add(others);
        (u64::from(room) * 7 / 10)
            .min(u64::from(room.saturating_sub(1)))
            .try_into()
            .unwrap_or(u32::MAX)
    }
}
