//! What chooses a rung: the question ([`Situation`]), the answer ([`Choice`]) and the trait between.
//!
//! A rule is stateless and shared by all viewers; what it must remember is in the situation.
//! Pinning the answer is `viewer`'s business.

mod cycle;
mod fixed;
mod rate;

use std::fmt;

use playlists::{Bitrate, MediaTime};
use serde::{Deserialize, Serialize};

pub(crate) use self::rate::SAFETY;
pub use self::{cycle::Cycle, fixed::Fixed, rate::Rate};
use crate::throughput::Estimate;

/// All that a rule may know when a viewer asks for a segment.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// Of the segment in its stream.
    pub number: u64,
    /// True octets of this segment in every rung, cheapest first.
    pub sizes: &'a [u64],
    /// Of this segment.
    pub duration: MediaTime,
    /// What this viewer's path is expected to carry.
    pub estimate: Option<Estimate>,
    /// Pace of a delivery to this viewer that is outstanding for long enough to tell: what the
    /// path carries now is no more than this.
    pub in_flight: Option<Bitrate>,
    /// The rung that this viewer was given last.
    pub previous: Option<usize>,
    /// The highest rung that the allocator allows.
    pub ceiling: usize,
    /// Where a viewer of whom nothing is known begins.
    pub start: usize,
}

impl Situation<'_> {
    pub fn top(&self) -> usize {
        self.sizes.len().saturating_sub(1)
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Choice {
    pub rung: usize,
    pub reason: Reason,
}

/// Why a rung was chosen; for logs and the API.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The viewer's first segment, or nothing is known of its path yet.
    Start,
    /// As before: the path says nothing else.
    Steady,
    /// The path carries more.
    Up,
    /// The path carries less, or this segment is dearer.
    Down,
    /// The path would carry more than the allocator allows.
    Ceiling,
    /// Not even the cheapest rung fits.
    Emergency,
    /// The viewer said so.
    Fixed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Steady => "steady",
            Self::Up => "up",
            Self::Down => "down",
            Self::Ceiling => "ceiling",
            Self::Emergency => "emergency",
            Self::Fixed => "fixed",
        })
    }
}

/// A policy of choosing rungs.
pub trait Rule: Send + Sync + fmt::Debug {
    /// For logs and the API.
    fn name(&self) -> &'static str;

    /// Never above the situation's ceiling, nor above its top rung.
    fn choose(&self, situation: &Situation<'_>) -> Choice;
}
