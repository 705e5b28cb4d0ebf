//! A rival of the origin's rules that nobody would run: the dearest rung below nine tenths of the harmonic
//! mean of what was measured last, as FESTIVE (Jiang, Sekar & Zhang 2012) and others predict.

use adaptation::{Choice, Reason, Rule, Situation};

#[derive(Clone, Copy, Debug)]
pub struct Harmonic;

impl Rule for Harmonic {
    fn name(&self) -> &'static str {
        "harmonic"
    }

    fn choose(&self, situation: &Situation<'_>) -> Choice {
        let Some(rate) = situation.viewer.recent.harmonic_mean() else {
            return Choice {
                rung: situation
                    .offer
                    .start
                    .min(situation.viewer.ceiling)
                    .min(situation.top()),
                reason: Reason::Start,
            };
        };
        let room = rate
            .scale(0.9)
            .octets_in(situation.offer.duration.duration());
        let fits = |octets: &u64| *octets <= room;
        let rung = situation.offer.expected.iter().rposition(fits).unwrap_or(0);
        Choice {
            rung: rung.min(situation.viewer.ceiling).min(situation.top()),
            reason: Reason::Steady,
        }
    }
}
