//! Who of a crowd goes first: viewers in their places on a circle, of which an arc is served.
//!
//! Places come from the viewers' keys alone, so they hold from tick to tick and need no memory. Knows
//! nothing of rungs: what is shared out is a cost for each against the room for all.

/// Someone in the crowd, and what it costs to serve it.
pub(super) struct Taker {
    pub(super) place: u64,
    pub(super) cost: u128,
}

/// Who is served.
pub(super) struct Grant {
    pub(super) arc: Option<Arc>,
    pub(super) cost: u128,
    /// Share of the crowd.
    pub(super) fraction: f64,
}

impl Grant {
    pub(super) const NONE: Self = Self {
        arc: None,
        cost: 0,
        fraction: 0.0,
    };

    /// Serves as many neighbours as there is room for, beginning where `turn` says. They are counted, not drawn, so
    /// that two viewers keep the budget as exactly as two thousand do.
    pub(super) fn of(mut takers: Vec<Taker>, room: u128, turn: u64) -> Self {
        takers.sort_unstable_by_key(|taker| taker.place);
        // Those in one place cannot be told apart: all or none.
        takers.dedup_by(|next, kept| {
            let same = next.place == kept.place;
            kept.cost += if same { next.cost } else { 0 };
            same
        });
        let count = takers.len();
        // By rank, not by place: so each is first equally often, however the places lie.
        let first = ((u128::from(turn.wrapping_mul(TURN)) * count as u128) >> 64) as usize;
        let mut grant = Self::NONE;
        for (served, taker) in takers[first..].iter().chain(&takers[..first]).enumerate() {
            if grant.cost + taker.cost > room {
                break;
            }
            grant.cost += taker.cost;
            grant.fraction = (served + 1) as f64 / count as f64;
            grant.arc = Some(Arc {
                first: takers[first].place,
                last: taker.place,
            });
        }
        grant
    }
}

/// Of the circle of places, both ends included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arc {
    first: u64,
    last: u64,
}

impl Arc {
    pub(super) fn holds(self, place: u64) -> bool {
        if self.first <= self.last {
            (self.first..=self.last).contains(&place)
        } else {
            place >= self.first || place <= self.last
        }
    }
}

/// A viewer's place on the circle; keys may be anything, such as consecutive numbers. The finaliser
/// of SplitMix64 (Steele, Lea & Flood 2014), a bijection.
pub(super) fn place(key: u64) -> u64 {
    let mixed = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// How far round the circle the arc begins anew with each turn: the golden ratio to the minus
/// fourth, .1459. Irrational, so no viewer is passed over for good; small, so that at most twice
/// that share of viewers changes its rung in a turn.
const TURN: u64 = 2_691_343_689_449_507_681;
