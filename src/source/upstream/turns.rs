//! Whose turn it is: several places have the same stream, in an order of preference. Pure.

use std::time::Duration;

/// Who is followed now, and for how long to wait before the next try.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    places: usize,
    at: usize,
    /// Tries in a row that came to nothing.
    in_vain: usize,
}

impl Turns {
    pub(super) fn new(places: usize) -> Self {
        Self {
            places: places.max(1),
            at: 0,
            in_vain: 0,
        }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The place that was followed is lost, after it had brought something or not. The next one has its turn, at once;
    /// once all have been tried in vain, after a while that grows.
    pub(super) fn lost(&mut self, brought: bool) -> Duration {
        self.in_vain = if brought { 0 } else { self.in_vain + 1 };
        self.at = (self.at + 1) % self.places;
        let rounds = match (self.places, brought) {
            // The same again.
            (1, true) => 1,
            (places, _) => self.in_vain / places,
        };
        match u32::try_from(rounds) {
            Ok(0) => Duration::ZERO,
            Ok(rounds) => MIN.saturating_mul(1 << (rounds - 1).min(8)).min(MAX),
            Err(_) => MAX,
        }
    }

    /// One that is preferred to the one that is followed is there again.
    pub(super) fn prefer(&mut self, place: usize) {
        (self.at, self.in_vain) = (place % self.places, 0);
    }
}

const MIN: Duration = Duration::from_millis(250);
const MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_only_place_is_tried_again_ever_more_slowly() {
        let mut turns = Turns::new(1);
        let waits: Vec<_> = (0..7).map(|_| turns.lost(false)).collect();
        assert_eq!(
            waits,
            [250, 500, 1000, 2000, 4000, 5000, 5000].map(ms),
            "and never gives up"
        );
        assert_eq!(turns.lost(true), ms(250), "what had worked is tried soon");
        assert_eq!(turns.at(), 0);
    }

    #[test]
    fn the_next_place_is_tried_at_once_and_all_of_them_before_a_pause() {
        let mut turns = Turns::new(2);
        assert_eq!((turns.lost(true), turns.at()), (ms(0), 1));
        assert_eq!((turns.lost(false), turns.at()), (ms(0), 0));
        assert_eq!((turns.lost(false), turns.at()), (ms(250), 1));
        assert_eq!((turns.lost(false), turns.at()), (ms(250), 0));
        assert_eq!((turns.lost(false), turns.at()), (ms(500), 1));
        turns.prefer(0);
        assert_eq!((turns.lost(false), turns.at()), (ms(0), 1));
    }
}
