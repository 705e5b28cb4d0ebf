//! Which rung each of a viewer's last segments was pinned to: chosen once, the same for every retry.

use crate::rule::{Choice, Reason};

/// The last [`KEPT`] pins in the order of their making: a player that seeks comes back to numbers
/// far from the newest, so this is not a window of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    /// The low half: of the last 32 no two are alike in it.
    numbers: [u32; KEPT],
    choices: [(u8, Reason); KEPT],
    made: u32,
}

impl Pins {
    pub(crate) fn find(&self, number: u64) -> Option<Choice> {
        let live = (self.made as usize).min(KEPT);
        let at = self.numbers[..live]
            .iter()
            .position(|pinned| *pinned == number as u32)?;
        let (rung, reason) = self.choices[at];
        Some(Choice {
            rung: rung.into(),
            reason,
        })
    }

    /// Takes a pin back.
    pub(crate) fn forget(&mut self, number: u64) {
        let live = (self.made as usize).min(KEPT);
        let pinned = &mut self.numbers[..live];
        if let Some(pinned) = pinned.iter_mut().find(|pinned| **pinned == number as u32) {
            // The number of a segment that no stream comes to for centuries.
            *pinned = u32::MAX;
        }
    }

    pub(crate) fn push(&mut self, number: u64, choice: Choice) {
        let at = self.made as usize % KEPT;
        self.numbers[at] = number as u32;
        self.choices[at] = (u8::try_from(choice.rung).unwrap_or(u8::MAX), choice.reason);
        // Past its end it would forget all pins once, which is after 270 years of segments.
        self.made = self.made.wrapping_add(1);
    }
}

impl Default for Pins {
    fn default() -> Self {
        Self {
            numbers: [0; KEPT],
            choices: [(0, Reason::Start); KEPT],
            made: 0,
        }
    }
}

/// More than any player retries; a window of 32 two-second segments is over a minute.
const KEPT: usize = 32;
