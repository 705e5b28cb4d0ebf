//! One viewer's account: what it took, by rung, and for how long it was watching here. Kept where a delivery ends and where a
//! viewer's place changes; where a segment is asked for, a flag is compared under the lock that is held anyway.

use super::room::RUNGS;
use crate::control::visits::End;

/// Apart from the viewer, since viewers lie close to one another.
#[derive(Debug, Default)]
pub(super) struct Account(Box<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// Octets acknowledged, by rung; the last is of what is in no rung.
    taken: [u64; RUNGS + 1],
    /// Time here before it came for the last time, and when that was, in milliseconds of its own.
    before_ms: u32,
    came_ms: u32,
    here: bool,
    /// It was sent elsewhere, and has not come back.
    moved: bool,
    /// How often its player said that it had run dry, and whether it said so last.
    starved: u32,
    starving: bool,
    /// That it is over was told.
    closed: bool,
}

impl Account {
    pub(super) fn took(&mut self, rung: Option<u8>, octets: u64) {
        self.0.taken[place(rung)] += octets;
    }

    pub(super) fn octets(&self) -> u64 {
        self.0.taken.iter().sum()
    }

    /// Octets by rung and those of none, with what is `under_way`. What was never taken is left out at the end.
    pub(super) fn by_rung(
        &self,
        under_way: impl Iterator<Item = (Option<u8>, u64)>,
    ) -> (Vec<u64>, u64) {
        let mut taken = self.0.taken;
        for (rung, octets) in under_way {
            taken[place(rung)] += octets;
        }
        let [rungs @ .., other] = &taken;
        let used = rungs.iter().rposition(|octets| *octets > 0);
        (rungs[..used.map_or(0, |last| last + 1)].to_vec(), *other)
    }

    /// It is watching here, or is not any more; it was seen at `seen_ms`.
    pub(super) fn is_here(&mut self, here: bool, seen_ms: u64) {
        let seen = u32::try_from(seen_ms).unwrap_or(u32::MAX);
        let kept = &mut *self.0;
        if kept.here {
            kept.before_ms += seen.saturating_sub(kept.came_ms);
        }
        (kept.here, kept.came_ms) = (here, seen);
        kept.closed &= !here;
    }

    /// It was sent elsewhere, or is back.
    pub(super) fn is_sent_on(&mut self, moved: bool) {
        self.0.moved = moved;
    }

    pub(super) fn was_sent_on(&self) -> bool {
        self.0.moved
    }

    /// When it was seen last at `seen_ms`.
    pub(super) fn watched_ms(&self, seen_ms: u64) -> u64 {
        let now = if self.0.here {
            seen_ms.saturating_sub(self.0.came_ms.into())
        } else {
            0
        };
        u64::from(self.0.before_ms) + now
    }

    /// Its player says whether it has run dry since it last asked. While it waits it says so with each request.
    pub(super) fn starved(&mut self, starving: bool) {
        self.0.starved += u32::from(starving && !self.0.starving);
        self.0.starving = starving;
    }

    pub(super) fn starvations(&self) -> u32 {
        self.0.starved
    }

    /// Whether there is anything to tell: it was here at all, and its end was not told yet.
    pub(super) fn is_news(&mut self, end: Option<End>) -> bool {
        let was_here = self.0.here || self.0.before_ms > 0 || self.octets() > 0;
        let closed = std::mem::replace(&mut self.0.closed, end.is_some());
        was_here && !closed
    }
}

/// More rungs than any ladder has share the last.
fn place(rung: Option<u8>) -> usize {
    rung.map_or(RUNGS, |rung| usize::from(rung).min(RUNGS - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_counts_in_its_rung() {
        let mut account = Account::default();
        account.took(Some(0), 10);
        account.took(Some(2), 5);
        account.took(None, 7);
        let under_way = [(Some(0), 1), (None, 2)].into_iter();
        assert_eq!(account.by_rung(under_way), (vec![11, 0, 5], 9));
        assert_eq!(account.octets(), 22);
    }

    #[test]
    fn time_elsewhere_is_not_time_here() {
        let mut account = Account::default();
        account.is_here(true, 1_000);
        assert_eq!(account.watched_ms(4_000), 3_000);
        account.is_here(false, 4_000);
        assert_eq!(account.watched_ms(60_000), 3_000);
        account.is_here(true, 60_000);
        assert_eq!(account.watched_ms(61_000), 4_000);
    }

    #[test]
    fn an_end_is_told_once_until_the_viewer_is_back() {
        let mut account = Account::default();
        assert!(!account.is_news(None), "it never was here");
        account.is_here(true, 0);
        assert!(account.is_news(None) && account.is_news(None));
        account.is_here(false, 500);
        assert!(account.is_news(Some(End::Moved)) && !account.is_news(Some(End::Moved)));
        account.is_here(true, 900);
        assert!(account.is_news(None));
    }

    #[test]
    fn a_player_that_waits_says_so_more_than_once_and_ran_dry_once() {
        let mut account = Account::default();
        for starving in [false, true, true, false, true] {
            account.starved(starving);
        }
        assert_eq!(account.starvations(), 2);
    }
}
