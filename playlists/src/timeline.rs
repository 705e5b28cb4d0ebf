//! One viewer's past: which rung each segment that it was told of is taken from.
//!
//! A reload must repeat what the viewer was told before, so this only appends, and forgets what has
//! left the window. Choosing the next rung is `adaptation`'s business; writing the text is `render`'s.

use std::{collections::VecDeque, fmt, str::FromStr};

use crate::ladder::MAX_RUNGS;

/// The rungs of consecutive segments, and how many switches lie before them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Timeline {
    /// Number of the first that is remembered.
    first: u64,
    told: VecDeque<Told>,
    /// Of the segment before the first, if the viewer was told of it.
    before: Option<u8>,
    /// Switches of segments that are forgotten, where the stream itself did not break.
    forgotten: u64,
}

/// One segment: an octet, since a window may list thousands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Told {
    rung: u8,
    /// Its rung is not its predecessor's, and the stream does not break here anyway.
    switch: bool,
}

impl Timeline {
    /// The rung of segment `number`, if the viewer was told one.
    pub fn rung(&self, number: u64) -> Option<usize> {
        self.told(number).map(|told| told.rung.into())
    }

    /// The rung to list segment `number` with: what was told, or for what is older than is remembered
    /// the first rung that is; else the cheapest.
    pub fn listed(&self, number: u64) -> usize {
        let first = || self.before.or(self.told.front().map(|told| told.rung));
        self.rung(number)
            .unwrap_or_else(|| first().unwrap_or(0).into())
    }

    /// Whether the viewer is to be told of segment `number` yet. One that is older than all that is
    /// remembered was told, unless the stream has begun anew and this is its `newest` or before it.
    pub fn is_new(&self, number: u64, newest: u64) -> bool {
        match self.last() {
            None => true,
            Some((last, _)) => number > last || newest < self.first,
        }
    }

    /// The last segment that the viewer was told of, and its rung.
    pub fn last(&self) -> Option<(u64, usize)> {
        let last = self.told.back()?;
        let number = self.first + self.told.len() as u64 - 1;
        Some((number, last.rung.into()))
    }

    /// Tells of the segment `number`, taken from `rung`. The `stream_breaks` before it or not, by itself.
    ///
    /// Numbers rise. Where one does not follow the last, the viewer was away, or the stream began
    /// anew: what was before is forgotten, and its switches stay counted.
    pub fn append(&mut self, number: u64, rung: usize, stream_breaks: bool) {
        if self.told.is_empty() || self.first + self.told.len() as u64 != number {
            self.forget();
            self.first = number;
        }
        let rung = u8::try_from(rung.min(MAX_RUNGS - 1)).unwrap_or(0);
        let before = self.told.back().map(|told| told.rung).or(self.before);
        self.told.push_back(Told {
            rung,
            switch: !stream_breaks && before.is_some_and(|before| before != rung),
        });
    }

    /// Forgets what is older than segment `number`, which no playlist lists any more.
    pub fn forget_before(&mut self, number: u64) {
        while self.first < number
            && let Some(told) = self.told.pop_front()
        {
            self.first += 1;
            self.forgotten += u64::from(told.switch);
            self.before = Some(told.rung);
        }
    }

    /// Whether a switch is to be told before segment `number`: an `EXT-X-DISCONTINUITY` that only this viewer has.
    pub fn switches_at(&self, number: u64) -> bool {
        self.told(number).is_some_and(|told| told.switch)
    }

    /// How many of those are before segment `number`, ever: what this viewer's
    /// `EXT-X-DISCONTINUITY-SEQUENCE` is above the stream's (RFC 8216bis section 6.2.2).
    pub fn switches_before(&self, number: u64) -> u64 {
        let place = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let older = self.told.iter().take(place);
        self.forgotten + older.filter(|told| told.switch).count() as u64
    }

    /// Whether nothing was told yet.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    fn told(&self, number: u64) -> Option<Told> {
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.told.get(place).copied()
    }

    fn forget(&mut self) {
        self.forgotten += self.told.iter().filter(|told| told.switch).count() as u64;
        self.before = self.told.back().map(|told| told.rung).or(self.before);
        self.told.clear();
    }
}

/// What another node needs to go on with the viewer, of its last `CARRIED` segments: first number,
/// switches before it, and a digit for each rung, `.` before it where there is a switch: `1000-3-00.11`.
impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left_out = self.told.len().saturating_sub(CARRIED);
        let first = self.first + left_out as u64;
        write!(f, "{first}-{}-", self.switches_before(first))?;
        for told in self.told.iter().skip(left_out) {
            let switch = if told.switch { "." } else { "" };
            write!(f, "{switch}{:x}", told.rung)?;
        }
        Ok(())
    }
}

impl FromStr for Timeline {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: &str =
            "a timeline is a number, a count and a digit for each segment, such as 1000-3-00.11";
        let (first, rest) = text.split_once('-').ok_or(SHAPE)?;
        let (forgotten, rungs) = rest.split_once('-').ok_or(SHAPE)?;
        let number = |text: &str| text.parse::<u32>().map(u64::from).map_err(|_| SHAPE);
        let mut timeline = Self {
            first: first
                .parse()
                .ok()
                .filter(|first| *first < u64::MAX / 2)
                .ok_or(SHAPE)?,
            forgotten: number(forgotten)?,
            ..Self::default()
        };
        let mut switch = false;
        for mark in rungs.chars() {
            match mark.to_digit(16) {
                Some(rung) if timeline.told.len() < CARRIED => {
                    timeline.told.push_back(Told {
                        rung: rung as u8,
                        switch: std::mem::take(&mut switch),
                    });
                }
                None if mark == '.' && !switch => switch = true,
                _ => return Err(SHAPE),
            }
        }
        if switch { Err(SHAPE) } else { Ok(timeline) }
    }
}

/// More than players hold; a URL stays short.
const CARRIED: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(first: u64, rungs: &[usize]) -> Timeline {
        let mut timeline = Timeline::default();
        for (number, rung) in (first..).zip(rungs) {
            timeline.append(number, *rung, false);
        }
        timeline
    }

    #[test]
    fn a_switch_is_where_the_rung_is_not_its_predecessors() {
        let timeline = told(10, &[1, 1, 2, 2, 1]);
        let switches: Vec<_> = (9..16).map(|number| timeline.switches_at(number)).collect();
        assert_eq!(switches, [false, false, false, true, false, true, false]);
        assert_eq!(timeline.last(), Some((14, 1)));
        assert_eq!(
            (timeline.rung(12), timeline.rung(9), timeline.rung(15)),
            (Some(2), None, None)
        );
    }

    #[test]
    fn switches_stay_counted_when_they_leave() {
        let mut timeline = told(10, &[1, 1, 2, 2, 1]);
        let before: Vec<_> = (10..15)
            .map(|number| timeline.switches_before(number))
            .collect();
        assert_eq!(before, [0, 0, 0, 1, 1]);
        timeline.forget_before(13);
        assert_eq!((timeline.rung(12), timeline.switches_before(13)), (None, 1));
        timeline.forget_before(14);
        assert!(timeline.switches_at(14), "a tag stays with its segment");
        timeline.forget_before(99);
        assert_eq!(timeline.switches_before(15), 2);
        timeline.append(15, 2, false);
        assert!(
            timeline.switches_at(15),
            "what was before is known though it is forgotten"
        );
    }

    #[test]
    fn where_the_stream_breaks_a_switch_is_nothing_more() {
        let mut timeline = told(10, &[1]);
        timeline.append(11, 2, true);
        timeline.append(12, 2, false);
        assert!(!timeline.switches_at(11));
        assert_eq!(timeline.switches_before(13), 0);
    }

    #[test]
    fn a_gap_and_a_restart_forget_rungs_and_keep_the_count() {
        let mut timeline = told(10, &[1, 2]);
        timeline.append(20, 1, false);
        assert_eq!((timeline.rung(11), timeline.rung(20)), (None, Some(1)));
        assert!(timeline.switches_at(20));
        timeline.append(3, 1, false);
        assert_eq!((timeline.rung(20), timeline.switches_before(3)), (None, 2));
    }

    #[test]
    fn no_text_but_a_timelines_is_one() {
        for text in [
            "",
            "1000",
            "1000-3",
            "1000-3-g",
            "1000-3-1.",
            "1000-3-..1",
            "-1-0-1",
            "1--1",
            "1-x-1",
        ] {
            assert!(text.parse::<Timeline>().is_err(), "{text:?}");
        }
        let long = format!("1-0-{}", "1".repeat(CARRIED + 1));
        assert!(long.parse::<Timeline>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_carried_is_what_another_node_tells(
            rungs in prop::collection::vec(0..MAX_RUNGS, 1..200), first in 0..1_000_000_u64, forgotten in 0..100_usize,
        ) {
            let mut timeline = told(first, &rungs);
            timeline.forget_before(first + forgotten as u64);
            let there: Timeline = timeline.to_string().parse().unwrap();
            let end = first + rungs.len() as u64;
            for number in end.saturating_sub(CARRIED as u64).max(first + forgotten as u64)..end {
                prop_assert_eq!(there.rung(number), timeline.rung(number));
                prop_assert_eq!(there.switches_at(number), timeline.switches_at(number));
                prop_assert_eq!(there.switches_before(number), timeline.switches_before(number));
            }
        }
    }
}
