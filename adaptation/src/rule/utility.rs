//! How much a rung is worth to who watches it: what was measured of its pictures, else the logarithm of its
//! rate, since each doubling brings about as much as the one before (Weber-Fechner; BOLA and the
//! allocator reckon alike).

use playlists::MAX_RUNGS;

use super::Situation;

/// Of each rung, in units of what e times the rate brings; the cheapest is worth 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Utility([f64; MAX_RUNGS]);

impl Utility {
    pub(super) fn of(situation: &Situation<'_>) -> Self {
        let (mut worth, rungs) = ([0.0; MAX_RUNGS], situation.offer.sizes.rungs());
        if situation.offer.quality.len() >= rungs && rungs > 0 {
            let least = situation.offer.quality[0];
            for (worth, quality) in worth.iter_mut().zip(situation.offer.quality) {
                *worth = f64::from(quality - least);
            }
            return Self(worth);
        }
        // What is usual, not this segment's sizes: a calm picture is not worth less.
        let usual = if situation.offer.expected.len() >= rungs {
            situation.offer.expected
        } else {
            situation.offer.sizes.this()
        };
        let least = usual.first().map_or(1.0, |octets| (*octets).max(1) as f64);
        for (worth, octets) in worth.iter_mut().zip(usual.iter().take(rungs)) {
            *worth = ((*octets).max(1) as f64 / least).ln();
        }
        Self(worth)
    }

    pub(super) fn rung(&self, rung: usize) -> f64 {
        self.0.get(rung).copied().unwrap_or(0.0)
    }
}
