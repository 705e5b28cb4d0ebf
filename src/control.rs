//! What nodes and the traffic manager say to each other, how that is written (`encoding`: JSON, or
//! `protobuf`), and how each side proves who it is (`proof`). HTTP is the two sides' business.
//!
//! Nodes report what is, in full, every time (soft state: a manager that restarts
//! knows everything again after one round); the answer carries what the node is to do.

pub mod encoding;
pub mod options;
pub mod proof;
mod protobuf;
pub mod visits;

use std::collections::BTreeMap;

use playlists::Bitrate;
use serde::{Deserialize, Serialize};

pub use encoding::{Encoding, Message, Unreadable};
pub use options::ControlConfig;

/// Raised when a message changes so that the other side would misread it.
pub const VERSION: u16 = 1;

/// Where heartbeats are posted, whatever a proxy puts before it.
pub const HEARTBEAT_PATH: &str = "/v1/heartbeat";

/// Where answers to questions are posted.
pub const ANSWER_PATH: &str = "/v1/answer";

/// Octets of a message at most: some thousand streams and all regions fit, and so does a viewer with its decisions.
pub const LONGEST: usize = 256 * 1024;

/// Posted to [`HEARTBEAT_PATH`], every [`HeartbeatReply::interval_ms`], and at once when the state changes.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Heartbeat {
    pub version: u16,
    /// Unique among nodes; a node keeps its name over a restart.
    pub node: String,
    /// Start of this run of the node, Unix milliseconds. An older instance of a name is refused.
    pub instance: u64,
    pub kind: NodeKind,
    pub state: NodeState,
    /// Where viewers reach this node, such as `http://203.0.113.7:8080`.
    pub url: String,
    /// The region this node was set up for, if any.
    pub region: Option<String>,
    /// Started by a launcher: told to retire, it ends. Otherwise it goes back to standby.
    pub launched: bool,
    /// Program version, such as `0.1.0`.
    pub software: String,
    pub load: Load,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    Primary,
    Relay,
}

/// What a node is doing; it decides this from the manager's directives.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Waits for the word; pulls nothing.
    Standby,
    /// Told to stream, has not yet got enough media to serve a viewer.
    Filling,
    /// Serves viewers.
    Active,
    /// Serves no new viewers and sends those it has elsewhere.
    Draining,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Load {
    /// Viewers by region.
    pub regions: BTreeMap<String, RegionLoad>,
    /// Viewers by stream.
    pub streams: BTreeMap<String, u32>,
    /// Sent to another node, but still asking here for the way, as most players do for as long as
    /// they play. A draining node is needed until there are none.
    #[serde(default)]
    pub moved: u32,
    /// Octets handed to viewers' sockets and acknowledged, as a rate over the last seconds.
    pub egress: Bitrate,
    /// What the node may send; `None` is unlimited.
    pub budget: Option<Bitrate>,
    /// Congestion price, utility per Mbit/s; 0 when no viewer is held down by the node.
    pub price: f64,
    /// Viewers that the node takes at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seats: Option<u32>,
    /// Why nobody should be sent there if it can be helped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Names of the alerts that hold, by stream.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub alerts: BTreeMap<String, Vec<String>>,
}

impl Load {
    pub fn viewers(&self) -> u32 {
        self.regions.values().map(|region| region.viewers).sum()
    }
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct RegionLoad {
    /// Counted now: took a segment within the last three target durations.
    pub viewers: u32,
    /// Ever counted since the node started; only grows. It tells the manager which of its joins arrived.
    pub arrivals: u64,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct HeartbeatReply {
    pub version: u16,
    pub directive: Directive,
    /// When to report again.
    pub interval_ms: u64,
    /// Of the manager's lease. A node obeys the newest that it has heard; 0 where there are no leases.
    #[serde(default)]
    pub epoch: u64,
    /// This manager only listens: its directive is none.
    #[serde(default)]
    pub standby: bool,
    /// It keeps what becomes of viewers, and wants to be told; see [`visits`].
    #[serde(default)]
    pub visits: bool,
    /// Of a primary: regions whose viewers are to be at another node, by its base URL, those in mid-play too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub elsewhere: BTreeMap<String, String>,
    /// What an operator wants to know; said again until it is answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<Question>,
}

/// After viewers, which no heartbeat speaks of.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Question {
    pub number: u64,
    /// A viewer's id, or the 16 digits that it begins with; `None` asks for some of the viewers there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub viewer: Option<String>,
}

/// Posted to [`ANSWER_PATH`], by itself: it is for the manager that asked, and for nobody else.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Answer {
    pub version: u16,
    pub node: String,
    /// Of the question.
    pub number: u64,
    /// JSON, as the node's operator gets it; `None`: there is no such viewer here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

/// What comes back for an [`Answer`].
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Noted {
    pub version: u16,
}

/// What a node is to do from now on; repeated in every reply, so that a lost one does no harm.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Directive {
    /// Go on as you are.
    Continue,
    /// Follow `upstream` (the base URL of a node) and serve viewers of `region`.
    Activate {
        upstream: String,
        region: String,
        /// Where viewers are who were sent back; `None` while nobody can be sent anywhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        home: Option<String>,
        /// Viewers beyond so many are sent there, since there is room; `None`: all may stay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep: Option<u32>,
    },
    /// Take no new viewers; send those you have to `to` (the base URL of a node).
    Drain { to: String },
    /// Stop streaming. A launched node ends, another waits in standby.
    Retire,
}
