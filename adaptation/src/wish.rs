//! What one viewer would take if it were alone: its part in the node's demand.

use playlists::Bitrate;

/// What a viewer would take if it were alone. Small, so that a node can keep those of all its
/// viewers side by side and go through them at every sharing of its egress.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wish {
    /// What its path carries safely, in bit/s; 0 if nothing is known of it.
    pub(crate) room: u32,
    /// The rung that it has.
    pub(crate) has: u8,
    /// It stands at a ceiling.
    pub(crate) held: bool,
    /// The highest rung that is offered to it, which its own wish may have bounded.
    pub(crate) most: u8,
}

impl Wish {
    /// The highest of the rungs with these rates, cheapest first, that the viewer's path would allow.
    ///
    /// A viewer of whom nothing is known may turn out to have any path within a second, and the
    /// budget has to hold then too: it counts for the dearest rung.
    ///
    /// Never below what the viewer has. Where it stands at a ceiling, its path was measured as a
    /// share of the node's and may carry more, so one rung more is demanded than was seen. But
    /// never more than what is offered to it.
    pub fn cap(self, rates: &[Bitrate]) -> usize {
        let top = rates.len().saturating_sub(1).min(self.most.into());
        if self.room == 0 {
            return top;
        }
        let room = Bitrate::from_bps(self.room.into());
        let seen = rates.iter().rposition(|rate| *rate <= room).unwrap_or(0);
        let seen = seen.max(self.has.into());
        (seen + usize::from(self.held)).min(top)
    }

    /// In 49 bits.
    pub fn to_bits(self) -> u64 {
        let (has, most) = (u64::from(self.has) << 32, u64::from(self.most) << 40);
        u64::from(self.room) | has | most | u64::from(self.held) << 48
    }

    /// Of what [`Wish::to_bits`] gave; higher bits do not matter.
    pub fn from_bits(bits: u64) -> Self {
        Self {
            room: bits as u32,
            has: (bits >> 32) as u8,
            most: (bits >> 40) as u8,
            held: bits & (1 << 48) != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_survives_being_packed() {
        for (room, has, most, held) in [
            (0, 0, 255, false),
            (1, 255, 0, true),
            (u32::MAX, 7, 9, false),
        ] {
            let wish = Wish {
                room,
                has,
                held,
                most,
            };
            assert_eq!(Wish::from_bits(wish.to_bits()), wish);
            assert_eq!(Wish::from_bits(wish.to_bits() | 0xff << 49), wish);
        }
    }
}
