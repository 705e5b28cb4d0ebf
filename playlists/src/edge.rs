//! The live edge of a window: what is the last there is, what comes next, and how far ahead of it
//! may be asked.
//!
//! Who waits for it, and for how long, is the origin's business.

use crate::{
    segment::Segment,
    time::MediaTime,
    window::{Format, Window},
};

/// Part `part` of segment `number`, which need not be there yet.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Spot {
    pub number: u64,
    pub part: usize,
}

impl Window {
    /// The last part there is (`EXT-X-RENDITION-REPORT`, RFC 8216bis section 4.4.5.4).
    pub fn last_part(&self) -> Option<Spot> {
        self.last_filled().map(|last| Spot {
            number: last.number(),
            part: last.parts.len() - 1,
        })
    }

    /// The part that comes next (`EXT-X-PRELOAD-HINT`, section 4.4.5.3); `None` if none will.
    pub fn next_part(&self) -> Option<Spot> {
        let last = self.last_filled().filter(|_| !self.has_ended())?;
        let (number, parts) = (last.number(), last.parts.len());
        Some(if last.complete {
            Spot {
                number: number + 1,
                part: 0,
            }
        } else {
            Spot {
                number,
                part: parts,
            }
        })
    }

    /// Whether the playlist has what a blocking reload asks for: segment `number`, or its part
    /// `part`. A part that its segment turned out not to have is the first of the next segment
    /// (section 6.2.5.2). True of anything once the stream has ended.
    pub fn reaches(&self, number: u64, part: Option<usize>) -> bool {
        let complete = self
            .last_complete()
            .is_some_and(|last| last.number() >= number);
        let Some(part) = part else {
            return self.has_ended() || complete;
        };
        let spot = match self.segment(number) {
            Some(segment) if segment.complete && segment.parts.len() <= part => Spot {
                number: number + 1,
                part: 0,
            },
            _ => Spot { number, part },
        };
        self.has_ended() || self.last_part() >= Some(spot)
    }

    /// Whether a blocking reload asks for what is so far ahead that it must be a mistake: beyond
    /// the last complete segment and two more, or beyond the last part and the Advance Part Limit
    /// (section 6.2.5.2).
    pub fn is_too_far(&self, number: u64, part: Option<usize>) -> bool {
        let last = self.last_complete().map_or(0, |last| last.number());
        let open = self.open_segment().filter(|open| open.number() == number);
        let there = open.map_or(0, |open| open.parts.len());
        !self.has_ended()
            && (number > last.saturating_add(2)
                || number > last && part.is_some_and(|part| part > there + self.format().ahead()))
    }

    /// Octets that the segment at the edge will have in every rung, cheapest first: what there is
    /// of it, and for the rest what its predecessors took there. `None` stands for a segment that
    /// has not begun.
    pub fn expected_sizes(&self, open: Option<&Segment>) -> Vec<u64> {
        let there = open.map_or(0, |open| open.parts.len());
        let past: Vec<_> = self
            .segments()
            .rev()
            .filter(|segment| segment.complete && !segment.gap)
            .take(ALIKE)
            .collect();
        let format = self.format();
        let left = format.segment - open.map_or(MediaTime::ZERO, Segment::duration);
        let rest = |rung: usize| {
            let taken = past.iter().map(|segment| {
                let before = &segment.parts[..there.min(segment.parts.len())];
                let before = before.iter().map(|part| part.media[rung].len() as u64);
                segment.octets(rung).saturating_sub(before.sum())
            });
            let taken: u64 = taken.sum();
            match past.len() as u64 {
                0 => format.ladder.rungs()[rung]
                    .average
                    .octets_in(left.duration()),
                count => taken / count,
            }
        };
        (0..format.ladder.rungs().len())
            .map(|rung| open.map_or(0, |open| open.octets(rung)) + rest(rung))
            .collect()
    }

    /// The last segment that has a part.
    fn last_filled(&self) -> Option<&Segment> {
        let mut segments = self.segments().rev().map(|segment| &**segment);
        segments.find(|segment| !segment.parts.is_empty())
    }
}

impl Format {
    /// The Advance Part Limit: three parts, or three seconds of shorter ones (section 6.2.5.2).
    fn ahead(&self) -> usize {
        let parts = 3.0 / self.part.seconds().max(0.01);
        (parts.ceil() as usize).max(3)
    }
}

/// How many segments tell of the next: long enough that one is not taken for all, short enough
/// that a change of scene is forgotten soon.
const ALIKE: usize = 4;
