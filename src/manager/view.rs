//! What operators see: the JSON of `/v1/overview`, its parts, and the events. Also how who shows it elsewhere reads it:
//! what another release does not say is as if it were nothing.

use std::{borrow::Cow, collections::BTreeMap, time::SystemTime};

use adaptation::region::Pin;
use playlists::time::WallTime;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default)]
pub struct Overview {
    /// A full round of heartbeats was heard; before that nothing is launched or drained.
    pub ready: bool,
    /// This manager decides; otherwise another one does, and this one only listens.
    pub active: bool,
    /// Of its lease; 0 without one.
    pub epoch: u64,
    /// It decides, and does nothing.
    pub dry_run: bool,
    /// Viewers of one region on the primary from which on it gets a relay.
    pub threshold: u32,
    pub uptime_s: u64,
    /// There is an operator's token, so that whoever has it may change something.
    pub controls: bool,
    pub software: String,
    pub regions: Vec<RegionView>,
    pub nodes: Vec<NodeView>,
    /// What somebody should look at, gravest first.
    pub alerts: Vec<AlertView>,
    /// Newest first. Events have them by themselves, and in their first overview.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decisions: Option<Vec<Decision>>,
}

/// A condition that holds.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default)]
pub struct AlertView {
    pub name: String,
    /// Viewers see it, or are about to.
    pub grave: bool,
    pub node: Option<String>,
    pub region: Option<String>,
    pub stream: Option<String>,
    pub what: String,
    /// As far as this manager knows.
    pub for_s: u64,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default)]
pub struct RegionView {
    pub region: String,
    pub viewers: u32,
    pub on_primary: u32,
    pub on_relays: u32,
    /// Serving, draining, or on their way.
    pub relays: usize,
    pub threshold: u32,
    /// `normal`, `launching`, `spilling` or `draining`.
    pub state: Cow<'static, str>,
    /// Viewers more each second; 0 unless that is certain.
    pub rise: f64,
    /// What the operator holds it to.
    pub pinned: Option<Pin>,
    /// Each node's egress, shared out by where its viewers are.
    pub egress_bps: u64,
    /// The highest congestion price among the nodes that its viewers are on.
    pub price: f64,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default)]
pub struct NodeView {
    pub node: String,
    /// `primary` or `relay`.
    pub kind: Cow<'static, str>,
    pub region: Option<String>,
    /// `launching`, `standby`, `filling`, `active`, `draining` or `lost`.
    pub state: Cow<'static, str>,
    /// Empty until the node was heard.
    pub url: String,
    pub viewers: u32,
    pub egress_bps: u64,
    /// `null` is unlimited.
    pub budget_bps: Option<u64>,
    /// Congestion price, utility per Mbit/s.
    pub price: f64,
    /// Since its last heartbeat, or since it was asked for.
    pub heard_ms: u64,
    pub uptime_s: u64,
    pub software: String,
    pub launched: bool,
    /// Viewers by stream.
    pub streams: BTreeMap<String, u32>,
    /// Sent elsewhere, and still asking there.
    pub moved: u32,
    /// Why nobody is sent there if it can be helped.
    pub trouble: Option<String>,
    /// The operator wants it drained.
    pub closed: bool,
    pub weight: f64,
}

/// What nodes said of a viewer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Lookup {
    pub asked: usize,
    pub found: Vec<Found>,
    /// Who was asked and has not answered.
    pub silent: Vec<String>,
}

/// What one node said.
#[derive(Debug, Serialize, ToSchema)]
pub struct Found {
    pub node: String,
    /// `viewers`, as the node's `/v1/viewers/{id}` has them, and `decisions`, oldest first.
    pub told: Value,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default)]
pub struct Decision {
    /// UTC, such as `2026-11-21T10:00:00.000Z`.
    pub at: String,
    pub region: Option<String>,
    pub node: Option<String>,
    pub action: Cow<'static, str>,
    pub reason: String,
}

/// Milliseconds since 1970; 0 if the clock is before that.
pub(super) fn unix_millis(time: SystemTime) -> u64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn utc(time: SystemTime) -> String {
    let millis = i64::try_from(unix_millis(time)).unwrap_or(i64::MAX);
    WallTime::from_millis(millis).to_string()
}
