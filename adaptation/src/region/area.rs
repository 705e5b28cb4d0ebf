//! What is remembered of one region between events: how long it has been quiet, and how long to
//! leave it alone after failures.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Moment, trend::Trend};

/// What a region is about, in one word for people.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mood {
    /// The primary serves it.
    Normal,
    /// A relay is on its way.
    Launching,
    /// Relays serve part of it.
    Spilling,
    /// Its last relay drains.
    Draining,
}

impl Mood {
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Launching => "launching",
            Self::Spilling => "spilling",
            Self::Draining => "draining",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Area {
    /// The total has been low enough to drain since then.
    pub(super) low_since: Option<Moment>,
    /// Cool-down after a drain.
    pub(super) rests_until: Option<Moment>,
    /// What the primary takes of it since its egress was short, less than the threshold.
    pub(super) pressed: Option<u32>,
    /// Back-off after failures.
    blocked_until: Option<Moment>,
    failures: u32,
    /// Number in the name of the relay launched last.
    pub(super) named: u32,
    /// It was said that no relay can be had.
    pub(super) short: bool,
    /// Where its demand is going.
    pub(super) trend: Trend,
    /// Viewers who wait for a relay that is on its way, and when the last of them came.
    pub(super) waiting: u32,
    pub(super) waited: Moment,
    /// There has been a place on the primary that nobody took, since then.
    pub(super) free_since: Option<Moment>,
    /// Last time it had viewers or relays.
    pub(super) used: Moment,
}

impl Area {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            low_since: None,
            rests_until: None,
            pressed: None,
            blocked_until: None,
            failures: 0,
            named: 0,
            short: false,
            trend: Trend::default(),
            waiting: 0,
            waited: now,
            free_since: None,
            used: now,
        }
    }

    /// Back-off or cool-down is on: no relay may be asked for.
    pub(super) fn held(&self, now: Moment) -> bool {
        [self.rests_until, self.blocked_until]
            .into_iter()
            .flatten()
            .any(|until| now < until)
    }

    /// A relay failed or was lost: the next attempt waits, longer each time. The wait is returned.
    pub(super) fn set_back(&mut self, now: Moment) -> Duration {
        let wait = FIRST_WAIT
            .saturating_mul(1 << self.failures.min(16))
            .min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        self.blocked_until = Some(now + wait);
        wait
    }

    /// A relay did its work.
    pub(super) fn proved(&mut self) {
        self.failures = 0;
        self.blocked_until = None;
    }
}

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
