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
        let (Some(previous), Some(level)) = (situation.viewer.previous, situation.viewer.buffer)
        else {
            return situation.within(0, Reason::Start);
        };
        let (level, most) = (level.media.as_secs_f64(), situation.most_ahead());
        let (low, high) = (most * self.reservoir, most * self.cushion);
        let along = ((level - low) / (high - low).max(f64::EPSILON)).clamp(0.0, 1.0);
        let rates = situation.offer.expected;
        let wanted = match (rates.first(), rates.get(situation.top())) {
            (Some(least), Some(most)) => {
                let (least, most) = (*least as f64, *most as f64);
                least + along * (most - least)
            }
            _ => return situation.within(0, Reason::Start),
        };
        // Up when the wish reaches the next rung, down when it falls to the one below: between the two it stays.
        let octets = |rung: usize| rates.get(rung).map_or(0.0, |rate| *rate as f64);
        let previous = previous.min(situation.top());
        let rung = if previous < situation.top() && wanted >= octets(previous + 1) {
            (0..=situation.top()).rfind(|rung| octets(*rung) <= wanted)
        } else if previous > 0 && wanted <= octets(previous - 1) {
            (0..=situation.top()).find(|rung| octets(*rung) >= wanted)
        } else {
            Some(previous)
        };
        let rung = rung.unwrap_or(0);
        situation.within(rung, situation.compared(rung))
    }
}
