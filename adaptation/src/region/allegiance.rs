//! Whom a node obeys: the traffic manager whose lease is the newest.
//!
//! A manager that was frozen, or cut off, and does not know yet that another has taken over,
//! speaks with an older epoch than the other has spoken with, and is not listened to.

use std::time::Duration;

use super::Moment;

/// The newest epoch that a node has obeyed, and when that was.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Allegiance {
    epoch: u64,
    obeyed: Moment,
}

impl Allegiance {
    /// Whether the word of a manager with this epoch counts. Without leases all have the epoch 0.
    pub fn owes(&mut self, epoch: u64, now: Moment) -> bool {
        let silent = now.saturating_sub(self.obeyed);
        if epoch < self.epoch && silent < BEREFT {
            return false;
        }
        *self = Self { epoch, obeyed: now };
        true
    }

    pub fn epoch(self) -> u64 {
        self.epoch
    }
}

/// After so long without a newer one, whoever speaks is obeyed: the lease was begun anew, or there is none any more.
const BEREFT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_epoch_is_obeyed_and_older_ones_are_refused() {
        let (mut node, now) = (Allegiance::default(), Moment::ZERO);
        assert!(node.owes(0, now) && node.owes(3, now) && node.owes(3, now));
        assert!(!node.owes(2, now) && !node.owes(0, now));
        assert!(node.owes(4, now));
        assert_eq!(node.epoch(), 4);
    }

    #[test]
    fn a_lease_that_begins_anew_is_obeyed_when_the_old_one_has_been_silent_for_long() {
        let mut node = Allegiance::default();
        assert!(node.owes(7, Duration::from_secs(1)));
        assert!(!node.owes(1, Duration::from_secs(60)));
        assert!(node.owes(1, Duration::from_secs(61)));
        assert!(node.owes(1, Duration::from_secs(62)));
    }
}
