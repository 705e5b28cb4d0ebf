//! Which rung each of a viewer's last segments was pinned to: chosen once, the same for every retry.
//!
//! Who takes a segment in parts has a pin for each run of them in one rung.

use crate::rule::{Choice, Reason};

/// The last [`KEPT`] pins in the order of their making: a player that seeks comes back to numbers
/// far from the newest, so this is not a window of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    /// The low half: of the last 32 no two are alike in it.
    numbers: [u32; KEPT],
    /// The last part that each is for; its first is the one behind the run before, or 0.
    last: [u8; KEPT],
    choices: [(u8, Reason); KEPT],
    made: u32,
}

/// What of a segment is pinned: all of it, which all its parts then have, or one part.
pub(crate) type Place = Option<u8>;

impl Pins {
    pub(crate) fn find(&self, number: u64, place: Place) -> Option<Choice> {
        let part = place.unwrap_or(0);
        let runs = self.of(number).filter(|at| self.last[*at] >= part);
        let at = runs.min_by_key(|at| self.last[*at])?;
        Some(self.choice(at))
    }

    /// The rung of what a viewer has of the segment before the part at `place`.
    pub(crate) fn before(&self, number: u64, place: Place) -> Option<Choice> {
        self.run_before(number, place?).map(|at| self.choice(at))
    }

    /// Takes back the pin of what is at `place`, and of what is behind it; of the whole segment, all.
    pub(crate) fn forget(&mut self, number: u64, place: Place) {
        let part = place.unwrap_or(0);
        let before = self.run_before(number, part).map(|at| self.last[at]);
        let mut runs: Vec<usize> = self.of(number).collect();
        runs.retain(|at| self.last[*at] >= part);
        runs.sort_by_key(|at| self.last[*at]);
        for (nth, at) in runs.into_iter().enumerate() {
            match part.checked_sub(1) {
                // It began before that.
                Some(last) if nth == 0 && before < Some(last) => self.last[at] = last,
                // The number of a segment that no stream comes to for centuries.
                _ => self.numbers[at] = u32::MAX,
            }
        }
    }

    pub(crate) fn push(&mut self, number: u64, place: Place, choice: Choice) {
        let rung = u8::try_from(choice.rung).unwrap_or(u8::MAX);
        let last = place.unwrap_or(u8::MAX);
        if let Some(before) = self.run_before(number, last) {
            // A part that was left out goes with those before it.
            let same = self.choices[before].0 == rung;
            self.last[before] = if same { last } else { last - 1 };
            if same {
                return;
            }
        }
        let at = self.made as usize % KEPT;
        self.numbers[at] = number as u32;
        self.last[at] = last;
        self.choices[at] = (rung, choice.reason);
        // Past its end it would forget all pins once, which is after 270 years of segments.
        self.made = self.made.wrapping_add(1);
    }

    /// The last run of parts that ends before `part`.
    fn run_before(&self, number: u64, part: u8) -> Option<usize> {
        let ended = self.of(number).filter(|at| self.last[*at] < part);
        ended.max_by_key(|at| self.last[*at])
    }

    fn of(&self, number: u64) -> impl Iterator<Item = usize> + '_ {
        let live = (self.made as usize).min(KEPT);
        (0..live).filter(move |at| self.numbers[*at] == number as u32)
    }

    fn choice(&self, at: usize) -> Choice {
        let (rung, reason) = self.choices[at];
        Choice {
            rung: rung.into(),
            reason,
        }
    }
}

impl Default for Pins {
    fn default() -> Self {
        Self {
            numbers: [0; KEPT],
            last: [0; KEPT],
            choices: [(0, Reason::Start); KEPT],
            made: 0,
        }
    }
}

/// More than any player retries; a window of 32 two-second segments is over a minute.
const KEPT: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(rung: usize) -> Choice {
        Choice {
            rung,
            reason: Reason::Steady,
        }
    }

    fn pinned(pins: &Pins, parts: impl IntoIterator<Item = u8>) -> Vec<Option<usize>> {
        let rung = |part| pins.find(7, Some(part)).map(|choice| choice.rung);
        parts.into_iter().map(rung).collect()
    }

    #[test]
    fn a_run_of_parts_is_one_pin_and_another_rung_begins_another() {
        let mut pins = Pins::default();
        for (part, rung) in [(0, 4), (1, 4), (2, 0), (3, 0)] {
            pins.push(7, Some(part), choice(rung));
        }
        assert_eq!(pins.made, 2);
        assert_eq!(
            pinned(&pins, 0..5),
            [Some(4), Some(4), Some(0), Some(0), None]
        );
        assert_eq!(
            pins.find(7, None),
            Some(choice(4)),
            "all of it is as it began"
        );
        assert_eq!(pins.before(7, Some(4)), Some(choice(0)));
        assert_eq!(pins.before(8, Some(0)), None);
    }

    #[test]
    fn parts_that_are_asked_for_out_of_order_go_with_their_neighbours() {
        let mut pins = Pins::default();
        pins.push(7, Some(2), choice(3));
        assert_eq!(pinned(&pins, 0..3), [Some(3); 3]);
        pins.push(7, Some(5), choice(0));
        assert_eq!(pinned(&pins, 2..6), [Some(3), Some(3), Some(3), Some(0)]);
    }

    #[test]
    fn who_has_all_of_it_has_every_part() {
        let mut pins = Pins::default();
        pins.push(7, None, choice(2));
        assert_eq!(pinned(&pins, [0, 3, 200]), [Some(2); 3]);
    }

    #[test]
    fn a_part_that_is_taken_back_leaves_what_was_before_it() {
        let mut pins = Pins::default();
        for (part, rung) in [(0, 4), (1, 4), (2, 4), (3, 0)] {
            pins.push(7, Some(part), choice(rung));
        }
        pins.forget(7, Some(3));
        assert_eq!(pinned(&pins, 2..4), [Some(4), None]);
        pins.forget(7, Some(2));
        assert_eq!(pinned(&pins, 0..4), [Some(4), Some(4), None, None]);
        pins.forget(7, Some(0));
        assert_eq!(pinned(&pins, 0..4), [None; 4]);
        pins.push(7, None, choice(1));
        pins.forget(7, None);
        assert_eq!(pins.find(7, None), None);
    }
}
