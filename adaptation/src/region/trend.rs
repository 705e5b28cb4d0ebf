//! Where a region's demand is going: the slope of what was counted lately, if it stands out of the noise.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use super::Moment;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Trend {
    seen: VecDeque<(Moment, u32)>,
    /// Viewers per second; 0 unless it is certain to rise.
    rise: f64,
}

impl Trend {
    /// Takes the demand as it is now; `limit` is what the primary takes.
    pub(super) fn note(&mut self, demand: u32, limit: u32, now: Moment) {
        if self.seen.len() >= SAMPLES {
            self.seen.pop_front();
        }
        self.seen.push_back((now, demand));
        self.rise = rise(&self.seen, limit);
    }

    /// How many more there will be in so long.
    pub(super) fn ahead(&self, lead: Duration) -> u32 {
        (self.rise * lead.as_secs_f64()).ceil() as u32
    }

    pub(super) fn rise(&self) -> f64 {
        self.rise
    }
}

/// The slope of the line with the least squares, unless chance alone, or a handful of viewers, would make one.
fn rise(seen: &VecDeque<(Moment, u32)>, limit: u32) -> f64 {
    let Some(((first, _), (last, _))) = seen.front().zip(seen.back()) else {
        return 0.0;
    };
    let span = last.saturating_sub(*first).as_secs_f64();
    if seen.len() < FEWEST || span <= 0.0 {
        return 0.0;
    }
    let count = seen.len() as f64;
    let points = || {
        seen.iter().map(|(at, demand)| {
            let x = at.saturating_sub(*first).as_secs_f64();
            (x, f64::from(*demand))
        })
    };
    let (x, y) = points().fold((0.0, 0.0), |(xs, ys), (x, y)| (xs + x, ys + y));
    let (x, y) = (x / count, y / count);
    let (sxx, sxy, syy) = points().fold((0.0, 0.0, 0.0), |(sxx, sxy, syy), (xi, yi)| {
        let (dx, dy) = (xi - x, yi - y);
        (sxx + dx * dx, sxy + dx * dy, syy + dy * dy)
    });
    if sxx <= 0.0 {
        return 0.0;
    }
    let slope = sxy / sxx;
    let deviation = ((syy - slope * sxy).max(0.0) / (count - 2.0) / sxx).sqrt();
    let risen = slope * span;
    let certain = slope > CERTAIN * deviation && risen >= f64::from(limit) * SHARE;
    if certain && risen >= HANDFUL {
        slope
    } else {
        0.0
    }
}

/// Four come with each heartbeat, so that these are five heartbeats.
const SAMPLES: usize = 20;

const FEWEST: usize = 4;

/// Standard errors of the slope. Samples are not independent of each other, so it is more than the usual two.
const CERTAIN: f64 = 5.0;

/// Of what the primary takes: a rise by less is no peak that begins.
const SHARE: f64 = 0.1;

/// Viewers.
const HANDFUL: f64 = 5.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(demand: impl Iterator<Item = u32>) -> Trend {
        let mut trend = Trend::default();
        for (n, demand) in (0..).zip(demand) {
            trend.note(demand, 100, Duration::from_millis(500 * n));
        }
        trend
    }

    #[test]
    fn a_steady_rise_is_seen_and_reckoned_on() {
        let trend = told((0..20).map(|n| 20 + 2 * n));
        assert!((trend.rise() - 4.0).abs() < 1e-6, "{}", trend.rise());
        assert_eq!(trend.ahead(Duration::from_secs(3)), 12);
    }

    #[test]
    fn noise_a_handful_and_a_fall_are_no_rise() {
        assert_eq!(told((0..20).map(|n| 80 + 7 * (n % 3))).rise(), 0.0);
        assert_eq!(told((0..20).map(|n| n / 5)).rise(), 0.0);
        assert_eq!(told((0..20).map(|n| 90 - 2 * n)).rise(), 0.0);
        assert_eq!(told([1, 90].into_iter()).rise(), 0.0);
    }
}
