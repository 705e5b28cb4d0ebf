//! Whom a node obeys: the traffic manager whose lease is the newest.
//!
//! A manager that was frozen, or cut off, and does not know yet that another has taken over,
//! speaks with an older epoch than the other has spoken with, and is not listened to.

/// The newest epoch that a node has obeyed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Allegiance(u64);

impl Allegiance {
    /// Whether the word of a manager with this epoch counts. Without leases all have the epoch 0.
    pub fn owes(&mut self, epoch: u64) -> bool {
        let newest = epoch >= self.0;
        self.0 = self.0.max(epoch);
        newest
    }

    pub fn epoch(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_epoch_is_obeyed_and_older_ones_are_refused() {
        let mut node = Allegiance::default();
        assert!(node.owes(0) && node.owes(3) && node.owes(3));
        assert!(!node.owes(2) && !node.owes(0));
        assert!(node.owes(4));
        assert_eq!(node.epoch(), 4);
    }
}
