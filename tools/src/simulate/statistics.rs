//! How sure one may be of a mean: bootstrap intervals (Efron 1979), by percentiles.

use serde::Serialize;

use super::random::Random;

/// A mean, and where it would be in 95 of 100 repetitions with other traces of the kind.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Interval {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

impl Interval {
    /// Of values that have nothing to do with one another: one per trace.
    pub fn of(values: &[f64]) -> Self {
        Self::ratio(values, &vec![1.0; values.len()])
    }

    /// Of a sum over a sum, both per trace.
    pub fn ratio(above: &[f64], below: &[f64]) -> Self {
        let count = above.len().min(below.len());
        if count == 0 {
            return Self::default();
        }
        let ratio = |sums: (f64, f64)| if sums.1 == 0.0 { 0.0 } else { sums.0 / sums.1 };
        let add = |sums: (f64, f64), at: usize| (sums.0 + above[at], sums.1 + below[at]);
        let mut random = Random::new(SEED, count as u64);
        let mut means: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                ratio(
                    (0..count)
                        .map(|_| random.below(count))
                        .fold((0.0, 0.0), add),
                )
            })
            .collect();
        means.sort_by(f64::total_cmp);
        Self {
            mean: ratio((0..count).fold((0.0, 0.0), add)),
            low: means[RESAMPLES / 40],
            high: means[RESAMPLES - 1 - RESAMPLES / 40],
        }
    }
}

const RESAMPLES: usize = 1000;
const SEED: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_about_as_wide_as_theory_has_it() {
        let mut random = Random::new(1, 1);
        let values: Vec<f64> = (0..400).map(|_| 3.0 + random.normal()).collect();
        let Interval { mean, low, high } = Interval::of(&values);
        assert!((mean - 3.0).abs() < 0.15, "{mean}");
        let width = (high - low) / (2.0 * 1.96 / 20.0);
        assert!((0.85..1.15).contains(&width), "{width}");
        assert!(low < mean && mean < high);
    }

    #[test]
    fn of_nothing_nothing_is_known() {
        assert_eq!(Interval::of(&[]).mean, 0.0);
        assert_eq!(Interval::ratio(&[1.0], &[0.0]).high, 0.0);
    }
}
