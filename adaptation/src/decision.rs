//! A decision with all that it was made from, in a form that can be kept, sent and made again.
//!
//! Made again from its inputs by the rule of its name it gives the same rung: the rule is pure.

use std::time::Duration;

use playlists::MediaTime;
use serde::{Deserialize, Serialize};

use crate::{
    offer::{Offer, Part, Sizes},
    rule::{self, Choice, Reason, Situation, Standing},
};

/// One decision, its inputs owned; see [`Offer`] and [`Standing`] for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The rule's name.
    pub rule: String,
    pub rung: usize,
    pub reason: Reason,
    pub number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
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
    #[serde(flatten)]
    pub viewer: Standing,
}

impl Decision {
    pub fn of(rule: &str, situation: &Situation<'_>, choice: Choice) -> Self {
        let Situation { offer, viewer } = situation;
        let rows = (0..).map_while(|nth| offer.sizes.after(nth));
        Self {
            rule: rule.to_owned(),
            rung: choice.rung,
            reason: choice.reason,
            number: offer.number,
            part: offer.part,
            sizes: rows.map(<[u64]>::to_vec).collect(),
            expected: offer.expected.to_vec(),
            duration: offer.duration.flicks(),
            ahead: offer.ahead.flicks(),
            quality: offer.quality.to_vec(),
            pictures: offer.pictures.to_vec(),
            lost: offer.lost,
            start: offer.start,
            viewer: Standing {
                // No ladder has more rungs, and JSON's numbers end before `usize` does.
                ceiling: viewer.ceiling.min(situation.top()),
                ..*viewer
            },
        }
    }

    /// Makes it again; `None` if there is no rule of this name.
    pub fn again(&self) -> Option<Choice> {
        let rule = rule::named(&self.rule)?;
        let rungs = self.sizes.first().map_or(0, Vec::len);
        let flat: Vec<u64> = self.sizes.concat();
        let offer = Offer {
            number: self.number,
            part: self.part,
            sizes: Sizes::of(&flat, rungs, rungs),
            expected: &self.expected,
            duration: MediaTime::from_flicks(self.duration),
            ahead: MediaTime::from_flicks(self.ahead),
            quality: &self.quality,
            pictures: &self.pictures,
            lost: self.lost,
            start: self.start,
        };
        let viewer = self.viewer;
        let situation = Situation { offer, viewer };
        let Choice { rung, reason } = rule.choose(&situation);
        Some(situation.within(rung, reason))
    }
}
