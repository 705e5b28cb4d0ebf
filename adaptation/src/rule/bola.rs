//! BOLA (Spiteri, Urgaonkar & Sitaraman 2016, BOLA-BASIC): the rung that maximises utility per octet at a
//! weight that the buffer's depth sets. For comparison.

use super::{Choice, Reason, Rule, Situation, utility::Utility};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bola {
    /// `gamma p`: how much avoiding stalls counts against utility. 5 in the paper's evaluation.
    pub gamma_p: f64,
}

impl Default for Bola {
    fn default() -> Self {
        Self { gamma_p: 5.0 }
    }
}

impl Rule for Bola {
    fn name(&self) -> &'static str {
        "bola"
    }

    fn choose(&self, situation: &Situation<'_>) -> Choice {
        let Some(level) = situation.viewer.buffer else {
            return situation.within(0, Reason::Start);
        };
        let (utility, segment) = (Utility::of(situation), situation.offer.duration.seconds());
        let segment = segment.max(f64::EPSILON);
        // In segments, as the paper has them; V is such that the dearest rung is had at the deepest buffer.
        let depth = (situation.most_ahead() / segment).max(1.0);
        let level = level.media.as_secs_f64() / segment;
        let weight = (depth - 1.0) / (utility.rung(situation.top()) + self.gamma_p);
        let score = |rung: usize| {
            let octets = situation
                .offer
                .sizes
                .this()
                .get(rung)
                .map_or(1, |octets| (*octets).max(1));
            (weight * (utility.rung(rung) + self.gamma_p) - level) / octets as f64
        };
        let best = (0..=situation.top()).max_by(|a, b| score(*a).total_cmp(&score(*b)));
        let rung = best.unwrap_or(0);
        situation.within(rung, situation.compared(rung))
    }
}
