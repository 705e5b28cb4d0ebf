//! The plain rule: the dearest rung whose true size the path carries in the segment's duration.
//!
//! It needs no model of the player's buffer. The price is that it leaves the buffer as a reserve
//! for being wrong, and never spends it on quality.

use std::ops::Range;

use playlists::Bitrate;

use super::{Choice, Reason, Rule, Situation, path::Path};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Share of the expected rate that a new rung may take. The rest pays for the request's round
    /// trip, for playlists on the same path, and for one retransmission.
    pub safety: f64,
    /// The same for the rung that the viewer has already. More than `safety`, so that an estimate
    /// moving to and fro between the two moves nobody.
    pub hold: f64,
    /// How many standard deviations of uncertainty are taken off before going up.
    pub caution: f64,
    /// Rungs up in one step; down has no limit.
    pub max_up: usize,
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            safety: 0.85,
            hold: 1.0,
            caution: 0.5,
            max_up: 2,
        }
    }
}

impl Rule for Rate {
    fn name(&self) -> &'static str {
        "rate"
    }

    fn choose(&self, situation: &Situation<'_>) -> Choice {
        let (wanted, reason) = match situation.viewer.previous {
            Some(previous) => self.follow(previous.min(situation.top()), situation),
            None => self.start(situation),
        };
        situation.within(wanted, reason)
    }
}

impl Rate {
    fn start(&self, situation: &Situation<'_>) -> (usize, Reason) {
        let start = situation.offer.start.min(situation.top());
        let rung = match Path::of(situation) {
            None => Some(start),
            Some(path) => {
                let fit = dearest(
                    situation,
                    0..situation.offer.sizes.rungs(),
                    self.entry(path),
                );
                // A slow delivery elsewhere is a reason to begin lower, never higher.
                if situation.viewer.estimate.is_some() {
                    fit
                } else {
                    fit.map(|rung| rung.min(start))
                }
            }
        };
        rung.map_or((0, Reason::Emergency), |rung| (rung, Reason::Start))
    }

    fn follow(&self, previous: usize, situation: &Situation<'_>) -> (usize, Reason) {
        let Some(path) = Path::of(situation) else {
            return (previous, Reason::Start);
        };
        let entry = dearest(
            situation,
            previous + 1..situation.offer.sizes.rungs(),
            self.entry(path),
        );
        // An outstanding delivery bounds the path from above; it is no reason to climb.
        if let (Some(rung), Some(_)) = (entry, situation.viewer.estimate) {
            return (rung.min(previous.saturating_add(self.max_up)), Reason::Up);
        }
        if fits(situation, previous, path.rate.scale(self.hold)) {
            return (previous, Reason::Steady);
        }
        // The drop itself made the path uncertain, so its uncertainty is not held against it twice.
        match dearest(situation, 0..previous, path.rate.scale(self.safety)) {
            Some(rung) => (rung, Reason::Down),
            None if fits(situation, 0, path.rate.scale(self.hold)) => (0, Reason::Down),
            None => (0, Reason::Emergency),
        }
    }

    /// What a rung may take that the viewer does not have yet.
    fn entry(&self, path: Path) -> Bitrate {
        path.rate
            .scale(self.safety * (-self.caution * path.deviation).exp())
    }
}

/// True sizes need not grow with the rung (a black picture costs the same in all), hence the search
/// from above.
fn dearest(situation: &Situation<'_>, mut rungs: Range<usize>, rate: Bitrate) -> Option<usize> {
    rungs.rfind(|rung| fits(situation, *rung, rate))
}

fn fits(situation: &Situation<'_>, rung: usize, rate: Bitrate) -> bool {
    let room = rate.octets_in(situation.offer.duration.duration());
    situation
        .offer
        .sizes
        .this()
        .get(rung)
        .is_some_and(|size| *size <= room)
}

/// See [`Rate::safety`].
pub(crate) const SAFETY: f64 = 0.85;
