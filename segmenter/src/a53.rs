//! Closed captions (CEA-608 and 708, ATSC A/53 part 4) on their way from the input's pictures to the run's: none is
//! lost with a picture that is dropped, none is said twice by one that is repeated, and it is known which there are.
//!
//! Pure. What is in them nobody here reads, but for whose they are.

use std::collections::VecDeque;

/// A type, and two octets.
type Triplet = [u8; 3];

/// Captions between the pictures.
#[derive(Debug, Default)]
pub(crate) struct Ferry {
    waiting: VecDeque<Triplet>,
    seen: Seen,
}

/// Which captions have come, by their place in [`CHANNELS`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Seen(pub(crate) u8);

impl Ferry {
    /// Those of a picture that came. They leave with the next that is shown.
    pub(crate) fn put(&mut self, captions: &[u8]) {
        for triplet in captions.chunks_exact(3) {
            let triplet = [triplet[0], triplet[1], triplet[2]];
            if triplet[0] & VALID == 0 {
                continue;
            }
            self.seen.note(triplet);
            if self.waiting.len() == MOST_WAITING {
                self.make_room();
            }
            self.waiting.push_back(triplet);
        }
    }

    /// Those of a picture that is shown: all that wait, or as many as one picture may have.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        let count = self.waiting.len().min(MOST_SHOWN);
        (count > 0).then(|| self.waiting.drain(..count).flatten().collect())
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen
    }

    /// What says nothing goes first, then the oldest.
    fn make_room(&mut self) {
        let idle = self.waiting.iter().position(is_idle).unwrap_or(0);
        self.waiting.remove(idle);
    }
}

impl Seen {
    /// Field 1 is the first channel's unless it says otherwise; others are there once somebody turns to them.
    fn note(&mut self, [kind, first, _]: Triplet) {
        let code = first & PARITY_LESS;
        let second = (CONTROL.contains(&code)).then_some(code & SECOND != 0);
        match (kind & KIND, second) {
            (FIELD_1, Some(true)) => self.0 |= 1 << 1,
            (FIELD_1, _) => self.0 |= 1,
            (FIELD_2, Some(second)) => self.0 |= if second { 1 << 3 } else { 1 << 2 },
            (FIELD_2, None) => {}
            _ => self.0 |= 1 << 4,
        }
    }

    /// As `INSTREAM-ID` names them (RFC 8216bis section 4.4.6.1). What comes in both ways is named in the older one, which every
    /// player knows.
    pub(crate) fn channels(self) -> Vec<&'static str> {
        let of = |mask: u8| {
            let places = CHANNELS.iter().enumerate();
            let there = places.filter(move |(place, _)| self.0 & mask & 1 << place != 0);
            there.map(|(_, name)| *name).collect::<Vec<_>>()
        };
        let old = of(0b1111);
        if old.is_empty() { of(0b1_0000) } else { old }
    }
}

/// Nothing but a clock that ticks: a pair of nulls with parity.
fn is_idle(triplet: &Triplet) -> bool {
    let pair = triplet[0] & KIND <= FIELD_2;
    pair && triplet[1] & PARITY_LESS == 0 && triplet[2] & PARITY_LESS == 0
}

const CHANNELS: [&str; 5] = ["CC1", "CC2", "CC3", "CC4", "SERVICE1"];

/// `cc_valid` and `cc_type` of a triplet's first octet.
const VALID: u8 = 4;
const KIND: u8 = 3;
const FIELD_1: u8 = 0;
const FIELD_2: u8 = 1;

/// Of a pair's octets (CEA-608 section 8): the eighth bit is parity; control codes; those of the second channel of a field.
const PARITY_LESS: u8 = 0x7f;
const CONTROL: std::ops::RangeInclusive<u8> = 0x10..=0x1f;
const SECOND: u8 = 8;

/// `cc_count` has five bits.
const MOST_SHOWN: usize = 31;
/// About three seconds of them.
const MOST_WAITING: usize = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(kind: u8, first: u8, second: u8) -> [u8; 3] {
        [0xf8 | VALID | kind, first, second]
    }

    #[test]
    fn captions_of_pictures_that_are_not_shown_leave_with_the_next() {
        let mut ferry = Ferry::default();
        ferry.put(&pair(FIELD_1, 0x94, 0x20));
        ferry.put(&pair(FIELD_1, 0xc1, 0xc2));
        let both = [pair(FIELD_1, 0x94, 0x20), pair(FIELD_1, 0xc1, 0xc2)].concat();
        assert_eq!(ferry.take(), Some(both));
        assert_eq!(
            ferry.take(),
            None,
            "a picture that is shown again says nothing"
        );
    }

    #[test]
    fn no_picture_has_more_than_it_may_and_nothing_is_lost() {
        let mut ferry = Ferry::default();
        let all: Vec<u8> = (0..100).flat_map(|at| pair(3, at, at)).collect();
        ferry.put(&all);
        let mut out = Vec::new();
        while let Some(some) = ferry.take() {
            assert!(some.len() <= 31 * 3);
            out.extend(some);
        }
        assert_eq!(out, all);
    }

    #[test]
    fn when_too_many_wait_it_is_the_clock_that_stops() {
        let mut ferry = Ferry::default();
        let word = pair(FIELD_1, 0xc1, 0xc2);
        ferry.put(&word);
        for _ in 0..3 * MOST_WAITING {
            ferry.put(&pair(FIELD_1, 0x80, 0x80));
        }
        assert_eq!(ferry.waiting.len(), MOST_WAITING);
        assert_eq!(ferry.waiting[0], word);
    }

    #[test]
    fn who_speaks_is_known_by_what_is_said() {
        let channels = |triplets: &[[u8; 3]]| {
            let mut ferry = Ferry::default();
            ferry.put(&triplets.concat());
            ferry.seen().channels()
        };
        assert_eq!(channels(&[pair(FIELD_1, 0x80, 0x80)]), ["CC1"]);
        assert_eq!(
            channels(&[pair(FIELD_1, 0x94, 0x20), pair(FIELD_2, 0x15, 0x20)]),
            ["CC1", "CC3"]
        );
        // Programme data in the second field are nobody's captions.
        assert!(channels(&[pair(FIELD_2, 0x01, 0x03)]).is_empty());
        assert_eq!(channels(&[pair(FIELD_1, 0x1c, 0x20)]), ["CC2"]);
        assert_eq!(channels(&[pair(3, 0x02, 0x21)]), ["SERVICE1"]);
        assert_eq!(
            channels(&[pair(3, 0x02, 0x21), pair(FIELD_1, 0x80, 0x80)]),
            ["CC1"]
        );
        assert!(channels(&[[0xf8, 0x94, 0x20]]).is_empty(), "not valid");
        assert!(channels(&[]).is_empty());
    }

    #[test]
    fn half_a_triplet_is_nothing() {
        let mut ferry = Ferry::default();
        ferry.put(&[0xfc, 0x80]);
        assert_eq!(ferry.take(), None);
    }
}
