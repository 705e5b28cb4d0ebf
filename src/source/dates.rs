//! The dates of a stream's segments (`EXT-X-PROGRAM-DATE-TIME`): by this node's clock, and by the source's own where it has one.
//!
//! Pure. A date never comes before the end of what was told before it, whatever a clock does: players seek by dates, and
//! what was listed cannot be taken back.

use playlists::WallTime;

/// How a source's clock goes against ours, and what of that is told by now.
#[derive(Debug, Default)]
pub(super) struct Dates {
    /// How far the source is ahead of us, in milliseconds, by its last word.
    said: Option<i64>,
    /// How far dates are ahead of us.
    told: i64,
    /// When the run's last segment began, by our clock.
    last: Option<WallTime>,
}

/// What is worth a line in the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum News {
    /// It has a clock, so far ahead of ours.
    Found { ahead_ms: i64 },
    /// It was set.
    Jumped { by_ms: i64 },
}

impl Dates {
    /// Another run of the same stream begins. What the clock said holds until it says something else.
    pub(super) fn begin(&mut self) {
        self.last = None;
    }

    /// At `own` by our clock it was `utc` by the source's.
    pub(super) fn hear(&mut self, own: WallTime, utc: WallTime) -> Option<News> {
        let ahead_ms = utc.millis() - own.millis();
        match self.said.replace(ahead_ms) {
            None => Some(News::Found { ahead_ms }),
            Some(before) => {
                let by_ms = ahead_ms - before;
                (by_ms.abs() > DRIFT).then_some(News::Jumped { by_ms })
            }
        }
    }

    /// The date of the segment that begins at `own` by our clock; nothing before `floor` is left to tell.
    pub(super) fn open(&mut self, own: WallTime, floor: Option<WallTime>) -> WallTime {
        let said = self.said.unwrap_or(0);
        self.told = match self.last.replace(own) {
            None => said,
            Some(last) => self.told + step(said - self.told, own.millis() - last.millis()),
        };
        let date = self.at(own).max(floor.unwrap_or(self.at(own)));
        self.told = date.millis() - own.millis();
        date
    }

    /// The date of a moment near the last segment.
    pub(super) fn at(&self, own: WallTime) -> WallTime {
        WallTime::from_millis(own.millis() + self.told)
    }
}

/// How much of `missing` is made up with a segment, so long after the last one.
fn step(missing: i64, length: i64) -> i64 {
    let slowly = length.max(0) / SLOWNESS;
    match missing {
        // Dates may leave out what never was.
        _ if missing > DRIFT => missing,
        // But they go on: three quarters as fast until they are right, which is better than wrong for good.
        _ if missing < -DRIFT => missing.max(-length.max(0) / 4),
        _ => missing.clamp(-slowly, slowly),
    }
}

/// So much, in milliseconds, comes of clocks that are not quite of one speed and of networks; more is a clock that was set.
const DRIFT: i64 = 1000;
/// 10 ms in a segment of two seconds: players compare dates with `EXTINF`.
const SLOWNESS: i64 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: i64 = 2000;

    fn at(millis: i64) -> WallTime {
        WallTime::from_millis(1_790_000_000_000 + millis)
    }

    /// Opens segments `from..to`, and says how far each is ahead of ours.
    fn ahead(dates: &mut Dates, segments: std::ops::Range<i64>) -> Vec<i64> {
        segments
            .map(|segment| {
                let own = at(segment * LENGTH);
                dates.open(own, None).millis() - own.millis()
            })
            .collect()
    }

    #[test]
    fn without_a_clock_dates_are_ours_and_with_one_its() {
        assert_eq!(ahead(&mut Dates::default(), 0..3), [0, 0, 0]);
        let mut dates = Dates::default();
        assert_eq!(
            dates.hear(at(0), at(-7_200_000)),
            Some(News::Found {
                ahead_ms: -7_200_000
            })
        );
        assert_eq!(ahead(&mut dates, 0..2), [-7_200_000; 2]);
        assert_eq!(dates.at(at(5000)), at(5000 - 7_200_000));
    }

    #[test]
    fn drift_is_followed_by_steps_that_nobody_sees() {
        let mut dates = Dates::default();
        dates.hear(at(0), at(0));
        ahead(&mut dates, 0..1);
        assert_eq!(dates.hear(at(0), at(-25)), None);
        assert_eq!(ahead(&mut dates, 1..5), [-10, -20, -25, -25]);
        dates.hear(at(0), at(8));
        assert_eq!(ahead(&mut dates, 5..10), [-15, -5, 5, 8, 8]);
    }

    #[test]
    fn a_clock_that_is_set_forward_is_followed_at_once_and_one_set_back_never_by_a_step_back() {
        let mut dates = Dates::default();
        dates.hear(at(0), at(0));
        ahead(&mut dates, 0..1);
        let jumped = dates.hear(at(0), at(3_600_000));
        assert_eq!(jumped, Some(News::Jumped { by_ms: 3_600_000 }));
        assert_eq!(ahead(&mut dates, 1..2), [3_600_000]);
        dates.hear(at(0), at(3_600_000 - 1700));
        let back = ahead(&mut dates, 2..6);
        assert_eq!(back, [3_599_500, 3_599_000, 3_598_990, 3_598_980]);
    }

    #[test]
    fn another_run_never_begins_before_the_end_of_the_last() {
        let mut dates = Dates::default();
        dates.hear(at(0), at(500));
        ahead(&mut dates, 0..3);
        dates.begin();
        // Its clock is heard of later; until then what it said before holds.
        assert_eq!(dates.open(at(9000), Some(at(6500))), at(9500));
        dates.begin();
        dates.hear(at(12_000), at(2000));
        assert_eq!(dates.open(at(12_000), Some(at(11_500))), at(11_500));
        assert!(dates.open(at(14_000), None) > at(11_500));
    }

    #[test]
    fn whatever_clocks_say_dates_rise() {
        let (mut dates, mut last, mut dice) = (Dates::default(), at(i64::MIN / 4), 7_u64);
        for segment in 0..10_000 {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            let own = at(segment * LENGTH);
            dates.hear(own, own.max(at((dice % 86_400_000) as i64 - 43_200_000)));
            let date = dates.open(own, None);
            assert!(date > last);
            last = date;
        }
    }
}
