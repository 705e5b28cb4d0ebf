//! A decision with all that it was made from, in a form that can be kept, sent and made again.
//!
//! Made again from its inputs by the rule of its name it gives the same rung: the rule is pure.

use std::time::Duration;

use playlists::MediaTime;
use serde::{Deserialize, Serialize};

use crate::{
    buffer::Level,
    offer::{Flight, Part, Sizes},
    rule::{self, Choice, Reason, Situation},
    throughput::{Estimate, Recent},
};

/// One decision, its inputs owned; see [`Situation`] for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The rule's name.
    pub rule: String,
    pub rung: usize,
    pub reason: Reason,
    pub number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    #[serde(default)]
    pub close: bool,
    /// Octets in every rung, of the segment and of those behind it that exist.
    pub sizes: Vec<Vec<u64>>,
    pub expected: Vec<u64>,
    /// In flicks, as the two are in [`MediaTime`].
    pub duration: i64,
    pub ahead: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quality: Vec<f32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pictures: Vec<u8>,
    pub lost: Duration,
    pub start: usize,
    pub estimate: Option<Estimate>,
    pub recent: Recent,
    pub rtt: Duration,
    pub in_flight: Option<Flight>,
    pub buffer: Option<Level>,
    pub previous: Option<usize>,
    pub since_switch: u32,
    pub since_stall: Option<Duration>,
    pub ceiling: usize,
    pub price: f32,
}

impl Decision {
    pub fn of(rule: &str, situation: &Situation<'_>, choice: Choice) -> Self {
        let rows = (0..).map_while(|nth| situation.sizes.after(nth));
        Self {
            rule: rule.to_owned(),
            rung: choice.rung,
            reason: choice.reason,
            number: situation.number,
            part: situation.part,
            close: situation.close,
            sizes: rows.map(<[u64]>::to_vec).collect(),
            expected: situation.expected.to_vec(),
            duration: situation.duration.flicks(),
            ahead: situation.ahead.flicks(),
            quality: situation.quality.to_vec(),
            pictures: situation.pictures.to_vec(),
            lost: situation.lost,
            start: situation.start,
            estimate: situation.estimate,
            recent: situation.recent,
            rtt: situation.rtt,
            in_flight: situation.in_flight,
            buffer: situation.buffer,
            previous: situation.previous,
            since_switch: situation.since_switch,
            since_stall: situation.since_stall,
            // No ladder has more rungs, and JSON's numbers end before `usize` does.
            ceiling: situation.ceiling.min(situation.top()),
            price: situation.price,
        }
    }

    /// Makes it again; `None` if there is no rule of this name.
    pub fn again(&self) -> Option<Choice> {
        let rule = rule::named(&self.rule)?;
        let rungs = self.sizes.first().map_or(0, Vec::len);
        let flat: Vec<u64> = self.sizes.concat();
        let situation = Situation {
            number: self.number,
            part: self.part,
            close: self.close,
            sizes: Sizes::of(&flat, rungs, rungs),
            expected: &self.expected,
            duration: MediaTime::from_flicks(self.duration),
            ahead: MediaTime::from_flicks(self.ahead),
            quality: &self.quality,
            pictures: &self.pictures,
            lost: self.lost,
            start: self.start,
            estimate: self.estimate,
            recent: self.recent,
            rtt: self.rtt,
            in_flight: self.in_flight,
            buffer: self.buffer,
            previous: self.previous,
            since_switch: self.since_switch,
            since_stall: self.since_stall,
            ceiling: self.ceiling,
            price: self.price,
        };
        Some(rule.choose(&situation))
    }
}
