//! When pictures that are passed on are shown and decoded, where their source's encoder has put them into another order.
//!
//! A key frame is decoded when it is shown, as in every other rung: so the decode time of each segment (`tfdt`) is
//! the presentation time of its first picture, and any rung follows any other. A source that reorders decodes its
//! pictures earlier than that, by as much as it reorders; those that would come before the key frame are decoded within its
//! own time instead, close behind one another. So no picture is decoded after it is shown, and no time is negative,
//! which MPEG-TS could not carry (ISO/IEC 13818-1 section 2.4.3.7).
//!
//! Pure: times in, times out, in ticks of one clock.

use std::collections::VecDeque;

/// When one picture is shown and decoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Times {
    pub shown: i64,
    pub decoded: i64,
}

/// The pictures of one segment, in the order of decoding.
#[derive(Clone, Debug)]
pub struct Order {
    /// When the last key frame is shown, and by how many pictures the source decodes ahead of that.
    start: i64,
    ahead: i64,
    /// Ticks from one picture to the next.
    step: i64,
    /// Pictures since that key frame, and when the last one is decoded.
    count: i64,
    last: Option<i64>,
    /// When the latest ones are shown: no two at once.
    shown: VecDeque<i64>,
}

impl Order {
    /// A segment that starts at `start`, with the first picture that comes.
    pub fn new(start: i64, step: i64) -> Self {
        Self {
            start,
            ahead: 0,
            step: step.max(1),
            count: 0,
            last: None,
            shown: VecDeque::new(),
        }
    }

    /// The next picture, by the source's times brought to this clock. With each key frame the source begins anew.
    pub fn next(&mut self, key: bool, shown: i64, decoded: Option<i64>) -> Times {
        let earliest = self.last.map_or(self.start, |last| last + 1);
        let begins = key || self.last.is_none();
        if begins {
            let ahead = shown - decoded.unwrap_or(shown);
            self.ahead = ((ahead + self.step / 2) / self.step).clamp(0, DEEPEST);
            self.start = match self.last {
                Some(_) => shown.max(earliest),
                None => self.start,
            };
            self.count = 0;
        }
        let number = self.count;
        self.count += 1;
        let wanted = match decoded {
            _ if number <= self.ahead => self.start + number * self.step / (self.ahead + 1),
            Some(decoded) => decoded,
            None => earliest,
        };
        let shown = if begins { self.start } else { shown };
        let decoded = wanted.min(shown).max(earliest);
        self.last = Some(decoded);
        let mut shown = shown.max(decoded);
        while self.shown.contains(&shown) {
            shown += 1;
        }
        if self.shown.len() == LATEST {
            self.shown.pop_front();
        }
        self.shown.push_back(shown);
        Times { shown, decoded }
    }
}

/// Pictures that a decoder holds back at most (ITU-T H.264 annex A: MaxDpbFrames).
const DEEPEST: i64 = 16;

/// Twice as many, for what is shown last may have been decoded first.
const LATEST: usize = 2 * DEEPEST as usize;

#[cfg(test)]
mod tests {
    use super::*;

    /// Times of a segment that starts at 1000, by the places at which pictures are shown, in the order of decoding.
    fn times(places: &[i64], ahead: i64) -> Vec<Times> {
        let mut order = Order::new(1000, 30);
        let each = places.iter().enumerate().map(|(number, place)| {
            let decoded = 1000 + (number as i64 - ahead) * 30;
            let key = *place % 5 == 0 && places.iter().skip(number).all(|later| later >= place);
            order.next(key, 1000 + place * 30, Some(decoded))
        });
        each.collect()
    }

    #[test]
    fn what_is_not_reordered_is_decoded_when_it_is_shown() {
        let times = times(&[0, 1, 2, 3], 0);
        assert!(times.iter().all(|times| times.shown == times.decoded));
        assert_eq!(times[3].shown, 1090);
    }

    #[test]
    fn what_is_reordered_begins_no_earlier_than_its_segment() {
        // I P B b b P B b b
        let times = times(&[0, 4, 2, 1, 3, 8, 6, 5, 7], 2);
        let decoded: Vec<_> = times.iter().map(|times| times.decoded).collect();
        assert_eq!(
            decoded,
            [1000, 1010, 1020, 1030, 1060, 1090, 1120, 1150, 1180]
        );
        assert!(times.iter().all(|times| times.decoded <= times.shown));
        assert_eq!(times[1].shown, 1120);
    }

    #[test]
    fn every_key_frame_is_decoded_when_it_is_shown() {
        // I P b b b, twice
        let times = times(&[0, 4, 2, 1, 3, 5, 9, 7, 6, 8], 2);
        let key = times[5];
        assert_eq!((key.shown, key.decoded), (1150, 1150));
        assert_eq!(times[6].decoded, 1160);
        assert!(times.is_sorted_by(|a, b| a.decoded < b.decoded));
        assert!(times.iter().all(|times| times.decoded <= times.shown));
    }

    #[test]
    fn no_two_are_shown_at_once() {
        let mut order = Order::new(0, 30);
        let shown: Vec<_> = [0, 30, 30, 60, 60, 60]
            .iter()
            .map(|time| order.next(false, *time, Some(*time)).shown)
            .collect();
        assert_eq!(shown, [0, 30, 31, 60, 61, 62]);
    }

    #[test]
    fn times_that_make_no_sense_still_go_forward() {
        let mut order = Order::new(0, 30);
        let wild = [
            (0, None),
            (30, Some(90)),
            (10, Some(-7)),
            (10, None),
            (90, Some(2)),
        ];
        let times: Vec<_> = wild
            .iter()
            .map(|(shown, decoded)| order.next(*decoded == Some(-7), *shown, *decoded))
            .collect();
        assert!(times.is_sorted_by(|a, b| a.decoded < b.decoded));
        assert!(times.iter().all(|times| times.decoded <= times.shown));
        assert_eq!(times[0].decoded, 0);
    }
}
