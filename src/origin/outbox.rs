//! Messages of visits that wait to be taken: how many there may be, and what is given up when there are more.
//!
//! Pure. A visit's numbers are sums since it began, so that one that goes on is said again by the next sweep: of those only the
//! detail is lost, when what happened. An end is said once; so ends are given up last, oldest first, and counted.

use std::{collections::VecDeque, sync::Arc};

use crate::control::visits::Visits;

/// What is to be sent, oldest first.
#[derive(Debug)]
pub struct Outbox {
    waiting: VecDeque<Arc<Visits>>,
    /// Of those, how many at the front have only ends.
    thinned: usize,
    /// Visits in all of them.
    held: usize,
    most: usize,
    /// Visits whose end nobody will be told.
    lost: u64,
}

impl Outbox {
    /// For `most` visits.
    pub fn new(most: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            thinned: 0,
            held: 0,
            most,
            lost: 0,
        }
    }

    /// Adds a message; returns how many visits' ends were given up for it.
    pub fn push(&mut self, visits: Visits) -> u64 {
        self.held += visits.len();
        self.waiting.push_back(Arc::new(visits));
        let before = self.lost;
        while self.held > self.most && self.waiting.len() > 1 {
            self.make_room();
        }
        self.lost - before
    }

    fn make_room(&mut self) {
        // The newest says how things are, and stays as it is.
        if self.thinned + 1 < self.waiting.len() {
            if let Some(oldest) = self.waiting.get_mut(self.thinned) {
                let before = oldest.len();
                let thin = Arc::make_mut(oldest);
                for of in thin.streams.values_mut() {
                    of.visits.retain(|visit| visit.end.is_some());
                    of.visits.shrink_to_fit();
                }
                thin.streams.retain(|_, of| !of.visits.is_empty());
                let left = thin.len();
                self.held -= before - left;
                if left == 0 {
                    self.waiting.remove(self.thinned);
                } else {
                    self.thinned += 1;
                }
            }
            return;
        }
        if let Some(oldest) = self.waiting.pop_front() {
            self.thinned = self.thinned.saturating_sub(1);
            self.held -= oldest.len();
            self.lost += oldest.len() as u64;
        }
    }

    pub fn next(&self) -> Option<&Arc<Visits>> {
        self.waiting.front()
    }

    /// The next was taken, or never will be. It may have been given up meanwhile.
    pub fn done(&mut self, visits: &Arc<Visits>) {
        let is_next = |next: &Arc<Visits>| Arc::ptr_eq(next, visits);
        if self.waiting.front().is_some_and(is_next)
            && let Some(done) = self.waiting.pop_front()
        {
            self.held -= done.len();
            self.thinned = self.thinned.saturating_sub(1);
        }
    }

    /// Visits that wait.
    pub fn held(&self) -> usize {
        self.held
    }

    pub fn lost(&self) -> u64 {
        self.lost
    }

    pub fn clear(&mut self) {
        self.waiting.clear();
        (self.thinned, self.held) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::visits::{End, Visit};

    fn visits(at_ms: u64, ends: impl IntoIterator<Item = Option<End>>) -> Visits {
        let mut visits = Visits {
            at_ms,
            ..Visits::default()
        };
        let of = visits.streams.entry("demo".into()).or_default();
        of.visits.extend(ends.into_iter().map(|end| Visit {
            end,
            ..Visit::default()
        }));
        visits
    }

    fn held(outbox: &Outbox) -> Vec<(u64, usize)> {
        let waiting = outbox.waiting.iter();
        waiting.map(|visits| (visits.at_ms, visits.len())).collect()
    }

    const LEFT: Option<End> = Some(End::Left);

    #[test]
    fn what_will_be_said_again_is_given_up_before_what_will_not() {
        let mut outbox = Outbox::new(6);
        assert_eq!(outbox.push(visits(1, [None, LEFT, None])), 0);
        assert_eq!(outbox.push(visits(2, [None, None, None])), 0);
        assert_eq!(outbox.push(visits(3, [None, LEFT])), 0);
        assert_eq!(held(&outbox), [(1, 1), (2, 3), (3, 2)]);
        assert_eq!(outbox.push(visits(4, [None, LEFT])), 0);
        assert_eq!(held(&outbox), [(1, 1), (3, 2), (4, 2)]);
        assert_eq!(outbox.held(), 5);
    }

    #[test]
    fn when_there_are_only_ends_the_oldest_are_lost_and_counted() {
        let mut outbox = Outbox::new(3);
        outbox.push(visits(1, [LEFT, LEFT]));
        outbox.push(visits(2, [LEFT]));
        assert_eq!(outbox.push(visits(3, [LEFT, None])), 2);
        assert_eq!(held(&outbox), [(2, 1), (3, 2)]);
        assert_eq!((outbox.lost(), outbox.held()), (2, 3));
    }

    #[test]
    fn the_newest_is_kept_however_large_it_is() {
        let mut outbox = Outbox::new(1);
        outbox.push(visits(1, [None]));
        outbox.push(visits(2, [None, None]));
        assert_eq!(held(&outbox), [(2, 2)]);
    }

    #[test]
    fn what_was_taken_is_gone_and_what_was_given_up_meanwhile_takes_nothing_with_it() {
        let mut outbox = Outbox::new(2);
        outbox.push(visits(1, [None, None]));
        let first = outbox.next().cloned().unwrap();
        outbox.push(visits(2, [None, None]));
        outbox.done(&first);
        assert_eq!(held(&outbox), [(2, 2)]);
        let second = outbox.next().cloned().unwrap();
        outbox.done(&second);
        assert_eq!((outbox.next(), outbox.held()), (None, 0));
    }
}
