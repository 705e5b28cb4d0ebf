//! What is offered to a viewer who asks for a segment, and under which limits: facts of the stream
//! and of the node, none of the viewer's.

use std::time::Duration;

use playlists::{Bitrate, MediaTime};
use serde::{Deserialize, Serialize};

/// True octets of a segment and of those behind it, in every rung, cheapest first.
///
/// One table serves all viewers of a stream: it is laid out segment by segment, so that a segment
/// and what follows it are a slice of it, and a viewer who may not have the dearest rungs sees
/// fewer columns of the same rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizes<'a> {
    octets: &'a [u64],
    stride: usize,
    rungs: usize,
}

impl<'a> Sizes<'a> {
    /// Of one segment alone.
    pub fn one(octets: &'a [u64]) -> Self {
        Self::of(octets, octets.len(), octets.len())
    }

    /// The first `rungs` of each row of `stride`. What does not fill a row is left out.
    pub fn of(octets: &'a [u64], stride: usize, rungs: usize) -> Self {
        Self {
            octets,
            stride,
            rungs: rungs.min(stride).min(octets.len()),
        }
    }

    /// Of the segment that is asked for.
    pub fn this(&self) -> &'a [u64] {
        &self.octets[..self.rungs]
    }

    /// Of the `nth` segment behind it, if that exists already; 0 is the segment itself.
    pub fn after(&self, nth: usize) -> Option<&'a [u64]> {
        let first = nth.checked_mul(self.stride)?;
        let row = self.octets.get(first..first.checked_add(self.stride)?)?;
        (!row.is_empty()).then(|| &row[..self.rungs])
    }

    pub fn rungs(&self) -> usize {
        self.rungs
    }
}

/// A part of a segment that is asked for by itself.
///
/// Which rungs begin with a key frame at a part may differ: the cheapest may at every one, so that there is a way down
/// for who is in a dearer one, when the path breaks down in the middle of a segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Counted from 0 in its segment.
    pub index: u8,
    /// How many the segment has, or will have.
    pub of: u8,
    /// How many of them are there, this one and those behind it.
    pub there: u8,
    /// This many rungs, the cheapest, begin with a key frame here.
    pub open: u8,
    /// The same of each part behind it.
    pub later: u8,
}

/// A segment as it is offered to a viewer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offer<'a> {
    /// Of the segment in its stream.
    pub number: u64,
    /// What of it is asked for; all of it, if `None`. Sizes and duration are the whole segment's all the same.
    pub part: Option<Part>,
    pub sizes: Sizes<'a>,
    /// Octets that a segment of each rung usually takes: what is reckoned with for those that are
    /// not there yet.
    pub expected: &'a [u64],
    pub duration: MediaTime,
    /// Media that is published behind this segment; 0 at the live edge.
    pub ahead: MediaTime,
    /// How good each rung looks, where that is known, on a scale where 1 is what e times the rate
    /// usually brings. Empty: the logarithm of the rate.
    pub quality: &'a [f32],
    /// Rungs with the same number have the same size of picture. Empty: all have.
    pub pictures: &'a [u8],
    /// Picture that this viewer's player loses where the size changes.
    pub lost: Duration,
    /// Where a viewer of whom nothing is known begins.
    pub start: usize,
}

impl<'a> Offer<'a> {
    /// Of a segment of whose stream nothing else is known.
    pub fn new(number: u64, sizes: &'a [u64], duration: MediaTime) -> Self {
        Self {
            number,
            part: None,
            sizes: Sizes::one(sizes),
            expected: sizes,
            duration,
            ahead: MediaTime::ZERO,
            quality: &[],
            pictures: &[],
            lost: Duration::ZERO,
            start: 1.min(sizes.len().saturating_sub(1)),
        }
    }

    /// Without what is its stream's, and can be had from there again.
    pub fn bare(&self) -> Offer<'static> {
        Offer {
            ahead: self.ahead,
            lost: self.lost,
            start: self.start,
            ..Offer::new(self.number, &[], self.duration)
        }
    }
}

/// What the allocator says of a viewer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The highest rung that it may have.
    pub ceiling: usize,
    /// The congestion price, in utility per Mbit/s; 0 where the node holds nobody down.
    pub price: f32,
    /// The rungs, a bit each, that the node would have to fetch first, and how long that takes.
    pub absent: u16,
    pub wait: Duration,
}

impl Limits {
    /// The node has enough for everybody.
    pub const NONE: Self = Self {
        ceiling: usize::MAX,
        price: 0.0,
        absent: 0,
        wait: Duration::ZERO,
    };

    /// No rung above this one.
    pub fn ceiling(ceiling: usize) -> Self {
        Self {
            ceiling,
            ..Self::NONE
        }
    }
}

/// What is on its way to a viewer already.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flight {
    /// Of a delivery that is outstanding for long enough to tell: the path carries no more now.
    /// `None` while none is.
    pub pace: Option<Bitrate>,
    /// Octets not acknowledged yet, which share the path with what is asked for now.
    pub left: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_with_fewer_rungs_sees_the_same_rows() {
        let table = [1, 2, 3, 4, 5, 6, 7];
        let sizes = Sizes::of(&table, 3, 2);
        assert_eq!(sizes.this(), [1, 2]);
        assert_eq!(sizes.after(0), Some(&[1, 2][..]));
        assert_eq!(sizes.after(1), Some(&[4, 5][..]));
        assert_eq!(sizes.after(2), None, "the last row is not whole");
        assert_eq!(sizes.after(usize::MAX), None);
    }

    #[test]
    fn nothing_on_offer_is_nothing() {
        let none = Sizes::one(&[]);
        assert_eq!(
            (none.rungs(), none.after(0), none.after(9)),
            (0, None, None)
        );
    }
}
