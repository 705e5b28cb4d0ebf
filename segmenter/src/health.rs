//! From counts to `Health`: rates over the time between two looks, how late the run is, and what somebody should know.
//!
//! Pure. The counting is `gauge`'s, and what is done about an overload `overload`'s.

use std::time::Duration;

use segmenter::wire::{Alert, Health, InputHealth, InputState, OnAir};

use crate::gauge::Reading;

/// How an input went between two readings, `span` apart.
pub(crate) fn input(
    state: InputState,
    before: Reading,
    after: Reading,
    span: Duration,
) -> InputHealth {
    let seconds = span.as_secs_f64().max(f64::EPSILON);
    let rate = |after: u64, before: u64| after.saturating_sub(before) as f64 / seconds;
    let live = state == InputState::Live;
    // A key frame that does not come is seen before it has come.
    let overdue = after.key_age.filter(|age| {
        let usual = after.key_interval.unwrap_or_default();
        live && *age > usual.max(SPARSE)
    });
    InputHealth {
        state,
        fps: rate(after.pictures, before.pictures),
        kbps: rate(after.octets, before.octets) * 8.0 / 1000.0,
        keyframe_s: overdue.or(after.key_interval).map(|key| key.as_secs_f64()),
        opened: after.opened,
    }
}

/// What of `health` somebody should know.
pub(crate) fn alerts(health: &Health, overloaded: bool, sound_missing: bool) -> Vec<Alert> {
    let input = match health.on_air {
        OnAir::Backup => health.backup.as_ref(),
        _ => Some(&health.main),
    };
    let sparse = input
        .and_then(|input| input.keyframe_s)
        .is_some_and(|interval| interval > SPARSE.as_secs_f64());
    let is = |alert| match alert {
        Alert::BackupLost => {
            let backup = health.backup.as_ref().map(|backup| backup.state);
            backup.is_some_and(|state| !matches!(state, InputState::Live | InputState::Opening))
        }
        Alert::EncoderOverloaded => overloaded,
        Alert::InputKeyframesSparse => health.on_air != OnAir::Slate && sparse,
        Alert::InputLost => matches!(health.main.state, InputState::Failed | InputState::Ended),
        Alert::InputStalled => health.main.state == InputState::Stalled,
        Alert::OnBackup => health.on_air == OnAir::Backup,
        Alert::OnSlate => health.on_air == OnAir::Slate,
        Alert::SoundMissing => sound_missing,
    };
    Alert::ALL.into_iter().filter(|alert| is(*alert)).collect()
}

/// How late a run is: how much less media it has made than it had at its best of late.
///
/// Of late, since an input's clock and ours are never quite of one speed.
#[derive(Debug, Default)]
pub(crate) struct Lag {
    /// The greatest leads, in milliseconds, of this stretch and of the one before.
    best: [Option<i64>; 2],
    looks: u32,
}

impl Lag {
    /// A look, one a second.
    pub(crate) fn look(&mut self, lead_ms: i64) -> u64 {
        self.looks += 1;
        if self.looks.is_multiple_of(STRETCH) {
            self.best = [None, self.best[0]];
        }
        self.best[0] = self.best[0].max(Some(lead_ms));
        let best = self.best[0].max(self.best[1]).unwrap_or(lead_ms);
        (best - lead_ms).max(0) as u64
    }
}

/// After each loss a picture comes back with the next key frame only; twice what ingest guides ask for is worth a word.
const SPARSE: Duration = Duration::from_secs(5);
/// Seconds.
const STRETCH: u32 = 120;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn reading(octets: u64, pictures: u64, key: Option<u64>, age: u64) -> Reading {
        Reading {
            octets,
            pictures,
            key_interval: key.map(Duration::from_secs),
            key_age: Some(Duration::from_secs(age)),
            ..Reading::default()
        }
    }

    #[test]
    fn an_input_is_told_by_its_rates() {
        let (before, after) = (reading(0, 0, None, 0), reading(250_000, 50, Some(2), 1));
        let health = input(InputState::Live, before, after, 2 * SECOND);
        assert_eq!(
            (health.fps, health.kbps, health.keyframe_s),
            (25.0, 1000.0, Some(2.0))
        );
    }

    #[test]
    fn a_key_frame_that_fails_to_come_is_seen_and_a_stalled_input_is_another_matter() {
        let late = reading(0, 0, Some(2), 9);
        let keyframe = |state| input(state, late, late, SECOND).keyframe_s;
        assert_eq!(keyframe(InputState::Live), Some(9.0));
        assert_eq!(keyframe(InputState::Stalled), Some(2.0));
    }

    #[test]
    fn alerts_say_what_is_the_matter() {
        let mut health = Health::default();
        health.main.state = InputState::Live;
        assert_eq!(alerts(&health, false, false), []);
        health.main.state = InputState::Stalled;
        health.on_air = OnAir::Slate;
        health.main.keyframe_s = Some(30.0);
        assert_eq!(
            alerts(&health, true, false),
            [
                Alert::EncoderOverloaded,
                Alert::InputStalled,
                Alert::OnSlate
            ]
        );
        health.on_air = OnAir::Backup;
        health.backup = Some(InputHealth {
            state: InputState::Failed,
            keyframe_s: Some(8.0),
            ..InputHealth::default()
        });
        assert_eq!(
            alerts(&health, false, true),
            [
                Alert::BackupLost,
                Alert::InputKeyframesSparse,
                Alert::InputStalled,
                Alert::OnBackup,
                Alert::SoundMissing
            ]
        );
    }

    #[test]
    fn lag_is_what_was_lost_of_late() {
        let mut lag = Lag::default();
        assert_eq!(
            [0, 100, 100, -900].map(|lead| lag.look(lead)),
            [0, 0, 0, 1000]
        );
        // Nobody makes up for it, and after a while it is how things are.
        let later: Vec<_> = (0..300).map(|_| lag.look(-900)).collect();
        assert_eq!((later[100], later[299]), (1000, 0));
    }
}
