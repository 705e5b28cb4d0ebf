//! What a segmenter says of its input and of itself, into the log: each condition once when it begins, and once when it is over.

use segmenter::wire::{Alert, Health};

use crate::store::StreamName;

/// The conditions that hold.
#[derive(Debug, Default)]
pub(super) struct Alerts(Vec<Alert>);

impl Alerts {
    /// Logs what has changed.
    pub(super) fn hear(&mut self, stream: &StreamName, health: &Health) {
        let (begun, over) = self.turn(&health.alerts);
        let on_air = health.on_air;
        for alert in begun {
            let (alert, what) = (alert.name(), meaning(alert));
            tracing::warn!(%stream, alert, ?on_air, dropped_rungs = health.rungs_dropped, lag_ms = health.lag_ms, "{what}");
        }
        for alert in over {
            let alert = alert.name();
            tracing::info!(%stream, alert, ?on_air, "over");
        }
    }

    /// What begins with this report, and what is over.
    fn turn(&mut self, now: &[Alert]) -> (Vec<Alert>, Vec<Alert>) {
        let but = |these: &[Alert], those: &[Alert]| {
            let these = these.iter().filter(|alert| !those.contains(alert));
            these.copied().collect::<Vec<_>>()
        };
        let changed = (but(now, &self.0), but(&self.0, now));
        self.0 = now.to_vec();
        changed
    }
}

fn meaning(alert: Alert) -> &'static str {
    match alert {
        Alert::BackupLost => "the backup input gives no pictures",
        Alert::EncoderOverloaded => "encoding is slower than real time",
        Alert::InputKeyframesSparse => {
            "key frames of the input are far apart; set its encoder to one every two seconds"
        }
        Alert::InputLost => "the input has failed or ended; it is opened again and again",
        Alert::InputStalled => "the input is there and gives no pictures",
        Alert::OnBackup => "the backup is on the air",
        Alert::OnSlate => "the slate is on the air",
        Alert::SoundMissing => "the sound of the input has stopped; silence stands in for it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_said_when_it_begins_and_when_it_is_over() {
        let mut alerts = Alerts::default();
        let (stalled, slate) = (Alert::InputStalled, Alert::OnSlate);
        assert_eq!(alerts.turn(&[stalled]), (vec![stalled], vec![]));
        assert_eq!(alerts.turn(&[stalled, slate]), (vec![slate], vec![]));
        assert_eq!(alerts.turn(&[stalled, slate]), (vec![], vec![]));
        assert_eq!(alerts.turn(&[slate]), (vec![], vec![stalled]));
        assert_eq!(alerts.turn(&[]), (vec![], vec![slate]));
    }
}
