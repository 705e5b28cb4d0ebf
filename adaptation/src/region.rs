//! When a region gets a relay of its own, and when it gives it back.
//!
//! Events in, actions out, `now` an argument: [`Balancer`] waits for nothing and asks nobody. How
//! a relay is started, and how a word reaches a node, is the traffic manager's business.
//!
//! A relay's life: launching -> filling -> active -> draining -> retired.

mod allegiance;
mod area;
mod balance;
mod balancer;
mod config;
mod fleet;
mod foresight;
mod life;
mod name;
#[cfg(test)]
mod network;
mod node;
mod operator;
mod pick;
mod refuge;
mod rehearsal;
mod route;
#[cfg(test)]
mod stories;
mod trend;
mod views;

use std::{collections::BTreeMap, fmt, time::Duration};

use playlists::Bitrate;
use serde::{Deserialize, Serialize};

pub use allegiance::Allegiance;
pub use area::Mood;
pub use balancer::Balancer;
pub use config::{Config, Terms};
pub use foresight::Premise;
pub use name::Region;
pub use node::Standing;
pub use operator::{Override, Pin};
pub use rehearsal::Rehearsal;
pub use route::{Ask, Order, Route};

/// A moment, as the time since the manager was started: it can be written down, and read again elsewhere.
pub type Moment = Duration;

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A node reported.
    Heartbeat(Report),
    /// A viewer of `region` was sent to `node` ([`Balancer::route`] said so).
    Joined { region: Region, node: String },
    /// A viewer of `region` waits for a relay that is on its way.
    Waiting { region: Region },
    /// The operator wants it otherwise.
    Override(Override),
    /// The relay asked for by [`What::Launch`] runs; it will report by itself.
    Launched { node: String },
    /// The relay asked for by [`What::Launch`] could not be started.
    LaunchFailed { node: String, why: String },
    /// A relay's process is gone.
    Ended { node: String, why: String },
    /// Time passed. Wanted several times per heartbeat.
    Tick,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub node: String,
    /// Grows with each start of the node.
    pub instance: u64,
    pub kind: Kind,
    pub state: State,
    /// The region it serves, else the one it was set up for.
    pub region: Option<Region>,
    /// Ends when retired; another node goes back to standby.
    pub launched: bool,
    pub regions: BTreeMap<Region, Load>,
    /// Viewers sent to another node who still ask this one for the way.
    pub moved: u32,
    /// Congestion price, utility per Mbit/s; above 0 while its egress holds viewers down.
    pub price: f64,
    /// What it sends now.
    pub egress: Bitrate,
    /// What it may send; `None` is unlimited.
    pub budget: Option<Bitrate>,
    /// Viewers that it takes at most, by its own word.
    pub seats: Option<u32>,
    /// Viewers by stream.
    pub streams: BTreeMap<String, u32>,
    /// Why nobody should be sent there if it can be helped.
    pub trouble: Option<String>,
}

impl Report {
    /// Of a node that has nobody and is well.
    pub fn new(node: &str, instance: u64, kind: Kind, state: State) -> Self {
        Self {
            node: node.into(),
            instance,
            kind,
            state,
            region: None,
            launched: false,
            regions: BTreeMap::new(),
            moved: 0,
            price: 0.0,
            egress: Bitrate::ZERO,
            budget: None,
            seats: None,
            streams: BTreeMap::new(),
            trouble: None,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Primary,
    Relay,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Standby,
    Filling,
    Active,
    Draining,
}

/// One region's viewers at one node.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Watching now.
    pub viewers: u32,
    /// Ever arrived since the node started.
    pub arrivals: u64,
}

/// Something decided, and why. Only a launch, a retirement and a failure need doing (a process is to be started,
/// or seen to its end); the rest reaches nodes through [`Balancer::order`].
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Action {
    pub what: What,
    pub region: Option<Region>,
    pub node: Option<String>,
    /// For people; with the numbers that led to it.
    pub reason: String,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Start a relay under the name `node`. Answered by `Launched` or `LaunchFailed`.
    Launch,
    /// A standby, or a draining relay, serves the region.
    Activate,
    Drain,
    /// Stops streaming; if it was launched, it ends.
    Retire,
    /// A node that serves already was heard for the first time, or again.
    Adopt,
    /// Three heartbeats missed, or its process ended.
    Lost,
    /// The primary's egress is short: it takes no more of its largest region, as if that had reached the threshold.
    Press,
    /// A relay did not come up. If there is a process, it is to be ended.
    Failed,
    /// A retired relay's process ended, as it should.
    Gone,
    /// The region needs a relay and there is none to be had.
    Short,
    /// It is not heard, but it is the last that its region has: it is not marked down.
    Doubt,
    /// The operator said so.
    Override,
}

impl What {
    pub fn name(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::Activate => "activate",
            Self::Drain => "drain",
            Self::Retire => "retire",
            Self::Adopt => "adopt",
            Self::Lost => "lost",
            Self::Press => "press",
            Self::Failed => "failed",
            Self::Gone => "gone",
            Self::Short => "short",
            Self::Doubt => "doubt",
            Self::Override => "override",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a report, or an operator's word, was not taken. Who sent it is to be told; nothing has changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refused {
    /// A younger run of the same node has reported.
    Older {
        known: u64,
        found: u64,
    },
    /// The name belongs to a node of the other kind.
    Kind {
        node: String,
    },
    /// There is a primary, and it is alive.
    SecondPrimary {
        first: String,
        second: String,
    },
    Full {
        limit: usize,
    },
    /// The operator named a node that is not known.
    Unknown {
        node: String,
    },
    /// The operator wanted the primary drained.
    Primary {
        node: String,
    },
    /// The operator named something that cannot be.
    Wrong {
        why: String,
    },
}

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Older { known, found } => write!(
                f,
                "instance {found} is older than {known}, which reported under the same name"
            ),
            Self::Kind { node } => write!(f, "{node} is known as a node of another kind"),
            Self::SecondPrimary { first, second } => {
                write!(
                    f,
                    "{second} reports as primary, but {first} is the primary and alive"
                )
            }
            Self::Full { limit } => write!(f, "{limit} nodes are known, which is the limit"),
            Self::Unknown { node } => write!(f, "no node is called {node}; /v1/nodes lists them"),
            Self::Primary { node } => write!(
                f,
                "{node} is the primary, which everything comes from: it is never drained"
            ),
            Self::Wrong { why } => f.write_str(why),
        }
    }
}

/// `1 viewer`, `2 viewers`.
pub(crate) fn viewers(count: u32) -> String {
    format!("{count} viewer{}", if count == 1 { "" } else { "s" })
}
