//! Media time as an integer, and units as types. Text only happens in `render` and `parse`.

use std::{
    fmt,
    iter::Sum,
    ops::{Add, AddAssign, Mul, Sub},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// Media time or a span of it, in flicks: 1/705,600,000 s.
///
/// A flick divides every usual frame rate (24, 25, 30, 50, 60 and their /1.001 kin) and
/// every usual sample rate (44.1 kHz, 48 kHz) without a remainder, so that sums stay exact.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize,
)]
pub struct MediaTime(i64);

impl MediaTime {
    pub const ZERO: Self = Self(0);
    pub const PER_SECOND: i64 = 705_600_000;

    pub const fn from_flicks(flicks: i64) -> Self {
        Self(flicks)
    }

    /// `ticks` of a clock of `rate` ticks per second; exact where the rate divides a flick.
    pub fn from_ticks(ticks: i64, rate: u32) -> Self {
        Self(
            (i128::from(ticks) * i128::from(Self::PER_SECOND) / i128::from(rate.max(1)))
                .clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64,
        )
    }

    /// Nearest flick; for times read from text.
    pub fn from_seconds(seconds: f64) -> Self {
        Self((seconds * Self::PER_SECOND as f64).round() as i64)
    }

    pub const fn flicks(self) -> i64 {
        self.0
    }

    /// In ticks of a clock of `rate` ticks per second, rounded down.
    pub fn to_ticks(self, rate: u32) -> i64 {
        (i128::from(self.0) * i128::from(rate) / i128::from(Self::PER_SECOND)) as i64
    }

    pub fn seconds(self) -> f64 {
        self.0 as f64 / Self::PER_SECOND as f64
    }

    /// As a `Duration`; negative spans are zero.
    pub fn duration(self) -> Duration {
        let flicks = self.0.max(0);
        let nanos =
            i128::from(flicks % Self::PER_SECOND) * 1_000_000_000 / i128::from(Self::PER_SECOND);
        Duration::new((flicks / Self::PER_SECOND) as u64, nanos as u32)
    }
}

impl Add for MediaTime {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for MediaTime {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for MediaTime {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Mul<i64> for MediaTime {
    type Output = Self;

    fn mul(self, times: i64) -> Self {
        Self(self.0.saturating_mul(times))
    }
}

impl Sum for MediaTime {
    fn sum<I: Iterator<Item = Self>>(spans: I) -> Self {
        spans.fold(Self::ZERO, Add::add)
    }
}

/// Seconds with five decimals, as `EXTINF` and `PART` write them.
impl fmt::Display for MediaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DECIMALS: i128 = 100_000;
        let per_second = i128::from(Self::PER_SECOND);
        let rounded = (i128::from(self.0) * DECIMALS + per_second / 2).div_euclid(per_second);
        let sign = if rounded < 0 { "-" } else { "" };
        let size = rounded.abs();
        write!(f, "{sign}{}.{:05}", size / DECIMALS, size % DECIMALS)
    }
}

/// Bits per second on the wire, container overhead included.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize,
)]
pub struct Bitrate(u64);

impl Bitrate {
    pub const ZERO: Self = Self(0);
    pub const MAX: Self = Self(u64::MAX);

    pub const fn from_bps(bps: u64) -> Self {
        Self(bps)
    }

    pub const fn from_kbps(kbps: u64) -> Self {
        Self(kbps.saturating_mul(1000))
    }

    /// The rate at which `octets` pass in `span`. No time at all is an unlimited rate.
    pub fn of(octets: u64, span: Duration) -> Self {
        let micros = span.as_micros();
        if micros == 0 {
            return Self::MAX;
        }
        Self((u128::from(octets) * 8_000_000 / micros).min(u128::from(u64::MAX)) as u64)
    }

    pub const fn bps(self) -> u64 {
        self.0
    }

    pub const fn kbps(self) -> u64 {
        self.0 / 1000
    }

    /// Times a factor such as a safety margin; never negative.
    pub fn scale(self, factor: f64) -> Self {
        Self((self.0 as f64 * factor.max(0.0)) as u64)
    }

    /// How many octets pass in `span`.
    pub fn octets_in(self, span: Duration) -> u64 {
        (u128::from(self.0) * span.as_micros() / 8_000_000).min(u128::from(u64::MAX)) as u64
    }
}

impl Add for Bitrate {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Bitrate {
    fn sum<I: Iterator<Item = Self>>(rates: I) -> Self {
        rates.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bps if bps < 1_000_000 => write!(f, "{} kbit/s", bps / 1000),
            bps => write!(
                f,
                "{}.{:02} Mbit/s",
                bps / 1_000_000,
                bps % 1_000_000 / 10_000
            ),
        }
    }
}

/// A moment on the wall clock, in milliseconds since 1970 (UTC).
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize,
)]
pub struct WallTime(i64);

impl WallTime {
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn millis(self) -> i64 {
        self.0
    }

    pub fn later(self, span: MediaTime) -> Self {
        Self(
            self.0
                .saturating_add((span.seconds() * 1000.0).round() as i64),
        )
    }
}

/// RFC 3339 with milliseconds, as `EXT-X-PROGRAM-DATE-TIME` wants it.
impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = chrono::DateTime::from_timestamp_millis(self.0).unwrap_or_default();
        write!(f, "{}", time.format("%Y-%m-%dT%H:%M:%S%.3fZ"))
    }
}

/// RFC 3339, with any offset.
impl std::str::FromStr for WallTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = chrono::DateTime::parse_from_rfc3339(text);
        time.map(|time| Self(time.timestamp_millis()))
            .map_err(|error| format!("{text:?} is no time such as 2026-11-21T20:15:00Z: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_usual_rate_add_up_exactly() {
        for (rate, per) in [
            (24, 1),
            (25, 1),
            (30, 1),
            (50, 1),
            (60, 1),
            (24000, 1001),
            (30000, 1001),
            (60000, 1001),
        ] {
            let frame = MediaTime::from_ticks(per, rate);
            assert_eq!(
                frame * i64::from(rate),
                MediaTime::from_flicks(MediaTime::PER_SECOND * per),
                "{rate}/{per}"
            );
        }
    }

    #[test]
    fn text_has_five_decimals_and_rounds() {
        assert_eq!(MediaTime::from_ticks(64, 30).to_string(), "2.13333");
        assert_eq!(MediaTime::from_ticks(2, 3).to_string(), "0.66667");
        assert_eq!(
            MediaTime::from_flicks(-MediaTime::PER_SECOND / 2).to_string(),
            "-0.50000"
        );
    }

    #[test]
    fn a_rate_is_octets_over_time() {
        let rate = Bitrate::of(125_000, Duration::from_millis(500));
        assert_eq!(rate, Bitrate::from_kbps(2000));
        assert_eq!(rate.octets_in(Duration::from_secs(2)), 500_000);
        assert_eq!(rate.to_string(), "2.00 Mbit/s");
    }
}
