//! How many viewers a region has at each moment of a run. Pure.

use std::{fmt, str::FromStr};

/// A shape over the whole run, by viewers.
#[derive(Clone, Debug, PartialEq)]
pub enum Curve {
    /// The same all the time, once they have come.
    Steady(f64),
    /// From the first number up to the second and down again, a third of the run at the top.
    Peak(f64, f64),
    /// From the first number to the second within a fiftieth of the run, a quarter into it; then they leave by and by.
    Flash(f64, f64),
    /// One day: fewest at the beginning and the end, most after two thirds.
    Day(f64, f64),
    /// Straight between moments, which are shares of the run.
    Points(Vec<(f64, f64)>),
}

impl Curve {
    /// Viewers at this share of the run.
    pub fn at(&self, share: f64) -> usize {
        let share = share.clamp(0.0, 1.0);
        let viewers = match self {
            // Nobody arrives all at once.
            Self::Steady(all) => all * (share / SETTLED).min(1.0),
            Self::Peak(low, high) => {
                let points = [
                    (0.0, *low),
                    (0.2, *low),
                    (0.35, *high),
                    (0.65, *high),
                    (0.8, *low),
                    (1.0, *low),
                ];
                between(&points, share) * (share / SETTLED).min(1.0)
            }
            Self::Flash(low, high) => {
                let gone = ((share - 0.27) / 0.25).max(0.0);
                let crowd = match share {
                    share if share < 0.25 => 0.0,
                    share if share < 0.27 => (share - 0.25) / 0.02,
                    _ => (-gone).exp(),
                };
                (low + (high - low) * crowd) * (share / SETTLED).min(1.0)
            }
            Self::Day(low, high) => {
                let angle = (share - 2.0 / 3.0) * std::f64::consts::TAU;
                let up = (1.0 + angle.cos()) / 2.0;
                (low + (high - low) * up * up) * (share / SETTLED).min(1.0)
            }
            Self::Points(points) => between(points, share),
        };
        viewers.max(0.0).round() as usize
    }

    /// The most that are there at any time.
    pub fn most(&self) -> usize {
        (0..=1000)
            .map(|step| self.at(f64::from(step) / 1000.0))
            .max()
            .unwrap_or(0)
    }
}

fn between(points: &[(f64, f64)], share: f64) -> f64 {
    let after = points.iter().position(|(at, _)| *at >= share);
    match after {
        None => points.last().map_or(0.0, |(_, viewers)| *viewers),
        Some(0) => points[0].1,
        Some(after) => {
            let ((from, low), (to, high)) = (points[after - 1], points[after]);
            low + (high - low) * (share - from) / (to - from).max(f64::MIN_POSITIVE)
        }
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CurveError(String);

impl std::error::Error for CurveError {}

impl fmt::Display for CurveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no curve of viewers; write steady:200, peak:200,2000, flash:0,1000, day:100,1000 or points:0=200,0.5=2000,1=200",
            self.0
        )
    }
}

impl FromStr for Curve {
    type Err = CurveError;

    fn from_str(text: &str) -> Result<Self, CurveError> {
        let wrong = || CurveError(text.to_owned());
        let number = |text: &str| {
            let number: f64 = text.trim().parse().map_err(|_| wrong())?;
            if number.is_finite() && number >= 0.0 {
                Ok(number)
            } else {
                Err(wrong())
            }
        };
        let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
        if kind == "points" {
            let mut points = Vec::new();
            for point in rest.split(',') {
                let (at, viewers) = point.split_once('=').ok_or_else(wrong)?;
                points.push((number(at)?, number(viewers)?));
            }
            return if points.is_sorted_by(|one, next| one.0 < next.0) {
                Ok(Self::Points(points))
            } else {
                Err(wrong())
            };
        }
        let numbers: Vec<f64> = rest.split(',').map(number).collect::<Result<_, _>>()?;
        match (kind, &numbers[..]) {
            ("steady", [all]) => Ok(Self::Steady(*all)),
            ("peak", [low, high]) => Ok(Self::Peak(*low, *high)),
            ("flash", [low, high]) => Ok(Self::Flash(*low, *high)),
            ("day", [low, high]) => Ok(Self::Day(*low, *high)),
            _ => Err(wrong()),
        }
    }
}

/// The share of a run within which those come who are there from its beginning.
const SETTLED: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(text: &str) -> Curve {
        text.parse().expect("a curve")
    }

    #[test]
    fn a_peak_rises_stays_and_falls() {
        let peak = curve("peak:200,2000");
        let seen = [0.0, 0.05, 0.1, 0.2, 0.275, 0.5, 0.65, 0.8, 1.0].map(|share| peak.at(share));
        assert_eq!(seen, [0, 100, 200, 200, 1100, 2000, 2000, 200, 200]);
        assert_eq!(peak.most(), 2000);
    }

    #[test]
    fn each_shape_is_what_it_is_called() {
        let flash = curve("flash:10,1000");
        assert_eq!((flash.at(0.24), flash.at(0.27)), (10, 1000));
        assert!(flash.at(0.5) < 450 && flash.at(1.0) < 80);
        let day = curve("day:100,1000");
        assert_eq!((day.most(), day.at(2.0 / 3.0)), (1000, 1000));
        assert_eq!(day.at(1.0 / 6.0), 100);
        assert_eq!(curve("steady:50").at(0.9), 50);
        assert_eq!(curve("points:0=5,0.5=10,1=0").at(0.75), 5);
    }

    #[test]
    fn what_is_no_curve_is_said() {
        for text in [
            "",
            "200",
            "peak:200",
            "peak:a,b",
            "steady:-1",
            "points:0.5=1,0.1=2",
            "steady:NaN",
        ] {
            let error = text.parse::<Curve>().expect_err("no curve").to_string();
            assert!(
                error.starts_with(&format!("{text:?} is no curve")),
                "{error}"
            );
        }
    }
}
