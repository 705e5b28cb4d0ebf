//! Who chooses a viewer's rungs: the origin with one of its rules, the player with hls.js's, or a plan.

use std::time::{Duration, Instant};

use super::{hls::Abr, optimum::Foresight, origin::Origin};

/// See the module.
#[derive(Debug)]
pub enum Mind {
    /// Chooses when the segment is asked for, at the origin.
    Origin(Box<Origin>),
    /// Chooses before it asks.
    Hls(Box<Abr>),
    /// What was decided beforehand for the segments from the first asked for on; the last stands for all
    /// that follow.
    Plan(Vec<usize>, usize),
    /// Knows some seconds of the path ahead.
    Foresight(Box<Foresight>),
}

/// The origin's clock at `seconds` of the simulation.
pub fn instant(epoch: Instant, seconds: f64) -> Instant {
    epoch + Duration::from_secs_f64(seconds.max(0.0))
}

impl Mind {
    pub fn fixed(rung: usize) -> Self {
        Self::Plan(vec![rung], 0)
    }

    /// What is planned next.
    pub fn planned(plan: &[usize], next: &mut usize) -> usize {
        let rung = plan.get(*next).or(plan.last()).copied().unwrap_or(0);
        *next += 1;
        rung
    }
}
