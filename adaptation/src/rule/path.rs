//! What a rule expects of a viewer's path: the estimate, lowered to what is seen in flight.

use playlists::Bitrate;

use super::Situation;
use crate::throughput::Estimate;

/// What the path is expected to carry next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    pub rate: Bitrate,
    /// Standard deviation of ln(rate).
    pub deviation: f64,
}

impl Path {
    /// `None` where nothing at all is known.
    pub(super) fn of(situation: &Situation<'_>) -> Option<Self> {
        let pace = situation.viewer.in_flight.and_then(|flight| flight.pace);
        match situation.viewer.estimate {
            Some(Estimate { rate, deviation }) => Some(Self {
                rate: rate.min(pace.unwrap_or(Bitrate::MAX)),
                deviation,
            }),
            None => pace.map(|rate| Self {
                rate,
                deviation: 0.0,
            }),
        }
    }
}
