//! Buffer-based (Huang et al. 2014, BBA-0): the rung follows the viewer's buffer alone, linearly from
//! the cheapest at a reservoir to the dearest at a cushion's end. For comparison.
//!
//! Made for buffers of minutes. Live, where the buffer is as deep as the distance to the edge, both marks are
//! shares of that distance.

use super::{Choice, Reason, Rule, Situation};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bba {
    /// Below this share of the deepest buffer there can be, the cheapest rung. 90 s of 240 s in the paper.
    pub reservoir: f64,
    /// Above this share, the dearest; 216 s of 240 s.
    pub cushion: f64,
}

impl Default for Bba {
    fn default() -> Self {
        Self {
            reservoir: 0.375,
            cushion: 0.9,
        }
    }
}

impl Rule for Bba {
    fn name(&self) -> &'static str {
        "bba"
    }

    fn choose(&self, situation: &Situation<'_>) -> Choice {
        let (Some(previous), Some(level)) = (situation.previous, situation.buffer) else {
            return situation.within(0, Reason::Start);
        };
        let (level, most) = (level.media.as_secs_f64(), situation.most_ahead());
        let (low, high) = (most * self.reservoir, most * self.cushion);
        let along = ((level - low) / (high - low).max(f64::EPSILON)).clamp(0.0, 1.0);
        let rates = situation.expected;
        let wanted = match (rates.first(), rates.get(situation.top())) {
            (Some(least), Some(most)) => {
                let (least, most) = (*least as f64, *most as f64);
                least + along * (most - least)
            }
            _ => return situation.within(0, Reason::Start),
        };
        let fits = |rung: &usize| {
            rates
                .get(*rung)
                .is_some_and(|rate| *rate as f64 <= wanted + 1.0)
        };
        let below = (0..=situation.top()).rev().find(fits).unwrap_or(0);
        // It moves up when the wish passes the next rung, and down when it falls below its own.
        let rung = if below > previous || below < previous {
            below
        } else {
            previous
        };
        situation.within(rung, situation.compared(rung))
    }
}
