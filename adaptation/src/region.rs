//! When a region gets a relay of its own, and when it gives it back.
//!
//! Events in, actions out, `now` an argument: [`Balancer`] waits for nothing and asks nobody. How
//! a relay is started, and how a word reaches a node, is the traffic manager's business.
//!
//! A relay's life: launching -> filling -> active -> draining -> retired.

mod area;
mod balancer;
mod life;
mod name;
mod node;
mod route;
#[cfg(test)]
mod stories;

use std::{collections::BTreeMap, fmt, time::Duration};

pub use area::Mood;
pub use balancer::Balancer;
pub use name::Region;
pub use node::Standing;
pub use route::{Order, Route};

/// The operator's word on when and how far to spill.
#[derive(Clone, Debug)]
pub struct Config {
    /// Viewers of one region on the primary from which on the region gets a relay. At least 1.
    pub threshold: u32,
    /// Viewers of one relay; `None`: as many as come.
    pub relay_viewers: Option<u32>,
    pub relays_per_region: usize,
    /// Relays in use at a time, all regions together.
    pub relays: usize,
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

impl Default for Config {
    fn default() -> Self {
        Self {
            threshold: 100,
            relay_viewers: None,
            relays_per_region: 4,
            relays: 16,
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
    pub(crate) fn patience(&self) -> Duration {
        self.heartbeat * 3 + self.heartbeat / 2
    }

    /// Total of a region at or below which `relays` relays are one too many: 70 % of what would
    /// be left without it, and at least one viewer less, so that the next join changes nothing.
    /// `limit` is what the primary takes of the region.
    pub(crate) fn low(&self, limit: u32, relays: usize) -> u32 {
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

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A node reported.
    Heartbeat(Report),
    /// A viewer of `region` was sent to `node` ([`Balancer::route`] said so).
    Joined { region: Region, node: String },
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
#[derive(Clone, Debug, PartialEq)]
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
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Primary,
    Relay,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    Standby,
    Filling,
    Active,
    Draining,
}

/// One region's viewers at one node.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Load {
    /// Watching now.
    pub viewers: u32,
    /// Ever arrived since the node started.
    pub arrivals: u64,
}

/// Something decided, and why. Only a launch, a retirement and a failure need doing (a process is to be started,
/// or seen to its end); the rest reaches nodes through [`Balancer::order`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Action {
    pub what: What,
    pub region: Option<Region>,
    pub node: Option<String>,
    /// For people; with the numbers that led to it.
    pub reason: String,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
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
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a report was not taken. The node is to be told; nothing has changed.
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
        }
    }
}

/// `1 viewer`, `2 viewers`.
pub(crate) fn viewers(count: u32) -> String {
    format!("{count} viewer{}", if count == 1 { "" } else { "s" })
}
