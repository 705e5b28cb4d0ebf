//! The clock of an input, where it brings one: when, by its own word, a picture was made.
//!
//! Pure. What is read where is `libav`'s business, and what becomes of dates in playlists the reader's of our stdout.

use playlists::MediaTime;

/// At `time` of the input's timeline it was `utc`, in microseconds since 1970.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Reading {
    pub(crate) time: MediaTime,
    pub(crate) utc: i64,
}

/// What is to be made of a reading.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Heard {
    News(Reading),
    /// It is as was expected.
    Nothing,
    /// It cannot be; said once until the clock is right.
    Absurd {
        days: i64,
    },
}

/// One opening's clock.
///
/// Readings are late, never early: what libav says of one picture may be of a later one that came with it. So the earliest of
/// late counts.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// The least that the clock was ahead of the input's timeline, in microseconds, in this stretch and in the one before.
    least: [Option<i64>; 2],
    /// When this stretch began.
    since: MediaTime,
    told: Option<Reading>,
    refused: bool,
}

impl Clock {
    /// `now` is our own time, in microseconds since 1970.
    pub(crate) fn read(&mut self, reading: Reading, now: i64) -> Heard {
        let off = reading.utc.saturating_sub(now);
        if off.saturating_abs() > DAY {
            return match std::mem::replace(&mut self.refused, true) {
                true => Heard::Nothing,
                false => Heard::Absurd { days: off / DAY },
            };
        }
        self.refused = false;
        let reading = self.filtered(reading);
        if self.told.is_some_and(|told| told.foretells(reading)) {
            return Heard::Nothing;
        }
        self.told = Some(reading);
        Heard::News(reading)
    }

    fn filtered(&mut self, Reading { time, utc }: Reading) -> Reading {
        let at = time.to_ticks(1_000_000);
        let ahead = utc - at;
        let is_another = |least: i64| (ahead - least).abs() > SET;
        if self.least.iter().flatten().any(|least| is_another(*least)) {
            self.least = [None; 2];
        }
        if time - self.since > STRETCH || time < self.since {
            (self.least, self.since) = ([None, self.least[0]], time);
        }
        let least = self.least[0].map_or(ahead, |least| least.min(ahead));
        self.least[0] = Some(least);
        let utc = at + self.least[1].map_or(least, |before| before.min(least));
        Reading { time, utc }
    }
}

impl Reading {
    /// Whether `other` says nothing new: it follows soon, and at the speed of the pictures.
    fn foretells(self, other: Self) -> bool {
        let since = other.time - self.time;
        let expected = self.utc + since.to_ticks(1_000_000);
        since >= MediaTime::ZERO && since < OFTEN && (other.utc - expected).abs() < JITTER
    }
}

/// The time in user data of a picture (MISB ST 0604: an identifier, a status, and microseconds since 1970 with octets between
/// that keep start codes out), which cameras and encoders with a receiver for GPS write.
pub(crate) fn in_user_data(data: &[u8]) -> Option<i64> {
    let identified = MICROSECONDS
        .iter()
        .find_map(|identifier| data.strip_prefix(*identifier))?;
    let &[_, a, b, 0xff, c, d, 0xff, e, f, 0xff, g, h, ..] = identified else {
        return None;
    };
    Some(i64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

/// In H.264, and in HEVC.
const MICROSECONDS: [&[u8; 16]; 2] = [
    b"MISPmicrosectime",
    b"\xa8\x68\x7d\xd4\xd7\x59\x37\x58\xa5\xce\xf0\x33\x8b\x65\x45\xf1",
];

/// Cameras that were never set begin in 1970 or 2000. Ones that are a day off are wrong, too; an hour may be us.
const DAY: i64 = 24 * 3600 * 1_000_000;
const OFTEN: MediaTime = MediaTime::from_flicks(MediaTime::PER_SECOND);
/// Seconds, of which some readings are in time.
const STRETCH: MediaTime = MediaTime::from_flicks(3 * MediaTime::PER_SECOND);
/// More than any lateness: somebody set the clock. In microseconds.
const SET: i64 = 1_000_000;
/// Less than a picture, in microseconds.
const JITTER: i64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000_000_000;

    fn reading(seconds: f64, utc: i64) -> Reading {
        let time = MediaTime::from_seconds(seconds);
        Reading { time, utc }
    }

    #[test]
    fn a_steady_clock_is_told_once_a_second_and_a_jump_at_once() {
        let mut clock = Clock::default();
        let told: Vec<_> = (0..75)
            .filter(|n| {
                let at = f64::from(*n) / 25.0;
                let utc = NOW - 1_500_000 + i64::from(*n) * 40_000 + i64::from(n % 3) * 1000;
                matches!(clock.read(reading(at, utc), NOW), Heard::News(_))
            })
            .collect();
        assert_eq!(told, [0, 25, 50]);
        let jump = reading(3.0, NOW + 3_600_000_000);
        assert_eq!(clock.read(jump, NOW), Heard::News(jump));
    }

    #[test]
    fn readings_that_are_late_are_not_believed() {
        let mut clock = Clock::default();
        for n in 0..500 {
            // The clock is 2 ms in a second slow, and four of five readings are some pictures late.
            let at = f64::from(n) / 25.0;
            let truth = NOW + i64::from(n) * 39_920;
            let late = i64::from(n % 5) * 40_000;
            if let Heard::News(told) = clock.read(reading(at, truth + late), NOW) {
                assert!((told.utc - truth).abs() < 10_000, "{told:?}");
            }
        }
        assert!(
            clock
                .told
                .is_some_and(|told| told.time > MediaTime::from_seconds(18.0))
        );
    }

    #[test]
    fn a_clock_that_was_never_set_is_refused_once() {
        let mut clock = Clock::default();
        let heard = [0.0, 0.04].map(|at| clock.read(reading(at, 946_684_800_000_000), NOW));
        assert!(matches!(heard, [Heard::Absurd { days }, Heard::Nothing] if days < -9000));
        // Then somebody sets it.
        let set = reading(1.0, NOW);
        assert_eq!(clock.read(set, NOW), Heard::News(set));
    }

    #[test]
    fn user_data_has_a_time_if_it_says_so() {
        let utc = NOW.to_be_bytes();
        let mut data = b"MISPmicrosectime\x1f".to_vec();
        for pair in utc.chunks(2) {
            data.extend_from_slice(pair);
            data.push(0xff);
        }
        assert_eq!(in_user_data(&data[..28]), Some(NOW));
        assert_eq!(in_user_data(&data[..27]), None);
        assert_eq!(in_user_data(b"x264 - core 164 - H.264/MPEG-4"), None);
    }
}
