//! When pictures that are passed on are shown and decoded, where their source's encoder has put them into another order.
//!
//! A segment's first picture is decoded when it is shown, as in every other rung: so the decode time of each segment (`tfdt`) is
//! the presentation time of its first picture, and any rung follows any other. A source that reorders decodes its
//! pictures earlier than that, by as much as it reorders; those that would come before the segment are decoded within the time
//! of its first picture instead, close behind one another. So no picture is decoded after it is shown, and no time is negative,
//! which MPEG-TS could not carry (ISO/IEC 13818-1 section 2.4.3.7).
//!
//! Pure: times in, times out, in ticks of one clock.

/// When one picture is shown and decoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Times {
    pub(crate) shown: i64,
    pub(crate) decoded: i64,
}

/// The pictures of one segment, in the order of decoding.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    start: i64,
    /// Ticks from one picture to the next.
    step: i64,
    /// By how many pictures the source decodes ahead.
    ahead: i64,
    count: i64,
    last: i64,
}

impl Order {
    /// A segment that starts at `start`, with a key frame that its source shows `ahead` ticks after decoding it.
    pub(crate) fn new(start: i64, step: i64, ahead: i64) -> Self {
        let step = step.max(1);
        Self {
            start,
            step,
            ahead: ((ahead + step / 2) / step).clamp(0, DEEPEST),
            count: 0,
            last: start,
        }
    }

    /// The next picture, by the source's times brought to this clock.
    pub(crate) fn next(&mut self, shown: i64, decoded: Option<i64>) -> Times {
        let (number, earliest) = (self.count, self.last + 1);
        self.count += 1;
        if number == 0 {
            return Times {
                shown: self.start,
                decoded: self.start,
            };
        }
        let wanted = match decoded {
            _ if number <= self.ahead => self.start + number * self.step / (self.ahead + 1),
            Some(decoded) => decoded,
            None => earliest,
        };
        let decoded = wanted.min(shown).max(earliest);
        self.last = decoded;
        Times {
            shown: shown.max(decoded),
            decoded,
        }
    }
}

/// Pictures that a decoder holds back at most (ITU-T H.264 annex A: MaxDpbFrames).
const DEEPEST: i64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Times of a segment that starts at 1000, by the places at which pictures are shown, in the order of decoding.
    fn times(places: &[i64], ahead: i64) -> Vec<Times> {
        let mut order = Order::new(1000, 30, ahead * 30);
        let each = places.iter().enumerate().map(|(number, place)| {
            let decoded = 1000 + (number as i64 - ahead) * 30;
            order.next(1000 + place * 30, Some(decoded))
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
    fn times_that_make_no_sense_still_go_forward() {
        let mut order = Order::new(0, 30, -500);
        let wild = [
            (0, None),
            (30, Some(90)),
            (10, Some(-7)),
            (10, None),
            (90, Some(2)),
        ];
        let times: Vec<_> = wild
            .iter()
            .map(|(shown, decoded)| order.next(*shown, *decoded))
            .collect();
        assert!(times.is_sorted_by(|a, b| a.decoded < b.decoded));
        assert!(times.iter().all(|times| times.decoded <= times.shown));
        assert_eq!(times[0].decoded, 0);
    }
}
