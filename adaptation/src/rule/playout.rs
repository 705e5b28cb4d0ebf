//! A viewer's buffer as the next segments are fetched one after another, in seconds.

use super::Situation;

/// The buffer now, and what has become of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Playout {
    pub level: f64,
    /// More than this is not published yet. A stall takes the viewer further away from the live
    /// edge, so it raises this.
    most: f64,
    duration: f64,
    /// Seconds without a picture, as far as that is a stall.
    pub stalled: f64,
}

impl Playout {
    pub(super) fn of(situation: &Situation<'_>) -> Self {
        Self {
            level: situation
                .viewer
                .buffer
                .map_or(0.0, |level| level.media.as_secs_f64()),
            most: situation.most_ahead(),
            duration: situation.offer.duration.seconds(),
            stalled: 0.0,
        }
    }

    /// The next segment arrives after `seconds`.
    pub(super) fn fetch(&mut self, seconds: f64) {
        let short = (seconds - self.level).max(0.0);
        self.stalled += short;
        self.most += short;
        let level = (self.level - seconds).max(0.0) + self.duration;
        self.level = level.min(self.most);
    }
}
