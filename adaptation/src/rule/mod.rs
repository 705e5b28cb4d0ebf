//! What chooses a rung: the question ([`Situation`]), the answer ([`Choice`]) and the trait between.
//!
//! A rule is stateless and shared by all viewers; what it must remember is in the situation.
//! Pinning the answer is `viewer`'s business.

mod bba;
mod bola;
mod cycle;
mod fixed;
mod mpc;
mod path;
mod playout;
mod rate;
mod robust;
mod utility;

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

pub(crate) use self::rate::SAFETY;
pub use self::{
    bba::Bba, bola::Bola, cycle::Cycle, fixed::Fixed, mpc::Mpc, rate::Rate, robust::RobustMpc,
};
use crate::{
    buffer::Level,
    offer::{Flight, Offer, Part},
    throughput::{Estimate, Recent},
};

/// All that a rule may know when a viewer asks for a segment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Situation<'a> {
    pub offer: Offer<'a>,
    pub viewer: Standing,
}

/// What is known of a viewer when it asks, and what it is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// It takes parts where it can, to be close to what is live.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub close: bool,
    /// What its path is expected to carry.
    pub estimate: Option<Estimate>,
    /// The last measurements of it, and how wrong they proved the predictions before.
    pub recent: Recent,
    /// Smallest round trip seen on its connections.
    pub rtt: Duration,
    /// What is on its way to it already.
    pub in_flight: Option<Flight>,
    /// What it has ahead; `None` before anything has arrived.
    pub buffer: Option<Level>,
    /// The rung that it was given last, and for how many segments it was.
    pub previous: Option<usize>,
    pub since_switch: u32,
    /// How long ago its last stall ended.
    pub since_stall: Option<Duration>,
    /// The highest rung that the allocator allows, and its price.
    pub ceiling: usize,
    pub price: f32,
    /// The rungs, a bit each, that it cannot wait for.
    #[serde(default, skip_serializing_if = "is_none")]
    pub absent: u16,
}

fn is_none(rungs: &u16) -> bool {
    *rungs == 0
}

impl Situation<'_> {
    pub fn top(&self) -> usize {
        self.offer.sizes.rungs().saturating_sub(1)
    }

    /// Where the viewer's buffer would be if all that is published had arrived: at the live edge it
    /// cannot have more.
    fn most_ahead(&self) -> f64 {
        let viewer = &self.viewer;
        let level = viewer.buffer.map_or(0.0, |level| level.media.as_secs_f64());
        let there = self.offer.part.map_or(1.0, |part| f64::from(part.there));
        level + there * self.grain() + self.offer.ahead.seconds().max(0.0)
    }

    /// Seconds of what can be played as soon as it has arrived.
    fn grain(&self) -> f64 {
        let parts = self
            .offer
            .part
            .map_or(1.0, |part| f64::from(part.of.max(1)));
        self.offer.duration.seconds() / parts
    }

    /// Which share of the segment is behind what is asked for.
    fn behind(&self) -> f64 {
        self.offer.part.map_or(0.0, |part| {
            let behind = part.of.saturating_sub(part.index.saturating_add(1));
            f64::from(behind) / f64::from(part.of.max(1))
        })
    }

    /// Whether `rung` can be had where the viewer is.
    pub fn may_begin(&self, rung: usize) -> bool {
        let closed =
            |part: Part| rung >= usize::from(part.open) && self.viewer.previous != Some(rung);
        !self.offer.part.is_some_and(closed)
    }

    /// As a rule wants it, within what is allowed and can be had. In the middle of a segment that is to go on as before,
    /// be the ceiling what it may, unless what is wanted begins there.
    pub fn within(&self, wanted: usize, reason: Reason) -> Choice {
        let ceiling = self.viewer.ceiling.min(self.top());
        let (rung, reason) = if wanted > ceiling {
            (ceiling, Reason::Ceiling)
        } else {
            (wanted, reason)
        };
        let absent = |rung: usize| self.viewer.absent >> rung.min(15) & 1 == 1;
        let (rung, reason) = match (0..=rung).rev().find(|rung| !absent(*rung)) {
            Some(here) if here != rung => (here, Reason::Absent),
            _ => (rung, reason),
        };
        match self.viewer.previous {
            Some(previous) if !self.may_begin(rung) => Choice {
                rung: previous.min(self.top()),
                reason: Reason::Steady,
            },
            _ => Choice { rung, reason },
        }
    }

    /// What a rule that has just this rung in mind would call it.
    fn compared(&self, wanted: usize) -> Reason {
        match self.viewer.previous {
            None => Reason::Start,
            Some(previous) if wanted > previous => Reason::Up,
            Some(previous) if wanted < previous => Reason::Down,
            Some(_) => Reason::Steady,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Choice {
    pub rung: usize,
    pub reason: Reason,
}

/// Why a rung was chosen; for logs and the API.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
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
    /// The node would have to fetch the rung that it would have, and its buffer does not last for that.
    Absent,
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
            Self::Absent => "absent",
        })
    }
}

/// A policy of choosing rungs.
pub trait Rule: Send + Sync + fmt::Debug {
    /// For logs and the API.
    fn name(&self) -> &'static str;

    /// [Within](Situation::within) what is allowed and can be had.
    fn choose(&self, situation: &Situation<'_>) -> Choice;
}

/// The rule of this name with its usual parameters; `None` if there is none.
pub fn named(name: &str) -> Option<Box<dyn Rule>> {
    Some(match name {
        "mpc" => Box::new(Mpc::default()),
        "rate" => Box::new(Rate::default()),
        "bba" => Box::new(Bba::default()),
        "bola" => Box::new(Bola::default()),
        "robust-mpc" => Box::new(RobustMpc::default()),
        "fixed" => Box::new(Fixed),
        "cycle" => Box::new(Cycle),
        _ => return None,
    })
}
