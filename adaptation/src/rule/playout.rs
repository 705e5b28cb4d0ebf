//! A viewer's buffer as what follows is fetched piece by piece, in seconds.

use super::Situation;

/// The buffer now, and what has become of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Playout {
    pub level: f64,
    /// More than this is not published yet. A stall takes the viewer further away from the live
    /// edge, so it raises this.
    most: f64,
    /// What arrives is played in pieces of this length: segments, or their parts.
    grain: f64,
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
            grain: situation.grain(),
            stalled: 0.0,
        }
    }

    /// The next `media` arrives within `seconds`, evenly.
    pub(super) fn fetch(&mut self, media: f64, seconds: f64) {
        // All but its last piece is played meanwhile.
        let ahead = self.level + (media - self.grain);
        let short = (seconds - ahead).max(0.0);
        self.stalled += short;
        self.most += short;
        let level = (ahead - seconds).max(0.0) + self.grain;
        self.level = level.min(self.most);
    }
}
