//! What a choice of rung has to know of a stream, laid out so that all choices on one snapshot share
//! it: each segment's size in every rung, and what is behind it. Who chooses is the origin.

use playlists::{Ladder, MediaTime, Segment, Window};

/// Sizes of the complete segments that a window holds, and what all of them have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    first: u64,
    rungs: usize,
    /// Segment by segment, in each rung, cheapest first.
    sizes: Vec<u64>,
    /// Media that is published behind each segment.
    ahead: Vec<MediaTime>,
    expected: Vec<u64>,
    pictures: Vec<u8>,
    worth: Vec<f32>,
    /// This many rungs, the cheapest, have a key frame at each part.
    open: usize,
}

impl Table {
    /// Of what is live of `window`; `expected` is what its next segment will take.
    pub(super) fn of(window: &Window, expected: Vec<u64>) -> Self {
        let complete: Vec<_> = window
            .segments()
            .filter(|segment| segment.complete)
            .map(|segment| &**segment)
            .collect();
        let open = window.open_segment().map(|open| open.duration());
        let behind = open.unwrap_or(MediaTime::ZERO);
        Self::over(&window.format().ladder, &complete, behind, expected)
    }

    /// Of segments that have left the live part, `behind` whom so much is published.
    pub fn past(
        window: &Window,
        segments: &[&Segment],
        behind: MediaTime,
        expected: &[u64],
    ) -> Self {
        let ladder = &window.format().ladder;
        Self::over(ladder, segments, behind, expected.to_vec())
    }

    fn over(ladder: &Ladder, segments: &[&Segment], behind: MediaTime, expected: Vec<u64>) -> Self {
        let rungs = ladder.rungs().len();
        // Rows have to be of one length and follow one another; what does not, has no row.
        let mut rows: Vec<&Segment> = Vec::with_capacity(segments.len());
        for segment in segments.iter().rev() {
            let follows = |later: &&Segment| segment.number() + 1 == later.number();
            if segment.sizes().len() != rungs || !rows.last().is_none_or(follows) {
                break;
            }
            rows.push(segment);
        }
        rows.reverse();
        let (mut ahead, mut after) = (vec![MediaTime::ZERO; rows.len()], behind);
        for (segment, ahead) in rows.iter().zip(&mut ahead).rev() {
            *ahead = after;
            after += segment.duration();
        }
        Self {
            first: rows.first().map_or(0, |first| first.number()),
            rungs,
            sizes: rows
                .iter()
                .flat_map(|segment| segment.sizes())
                .copied()
                .collect(),
            ahead,
            expected,
            pictures: pictures(ladder),
            worth: ladder.worth(),
            open: open(segments),
        }
    }

    /// Sizes of segment `number` and of those behind it, in rows of [`Table::rungs`], and the length of
    /// media behind it; `None` if it is not among them.
    pub fn from(&self, number: u64) -> Option<(&[u64], MediaTime)> {
        let row = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let ahead = *self.ahead.get(row)?;
        Some((self.sizes.get(row * self.rungs..)?, ahead))
    }

    pub fn rungs(&self) -> usize {
        self.rungs
    }

    /// What a segment of each rung is expected to take that is not there yet.
    pub fn expected(&self) -> &[u64] {
        &self.expected
    }

    /// How much more each rung is worth than the cheapest; empty if nobody knows.
    pub fn worth(&self) -> &[f32] {
        &self.worth
    }

    /// How many rungs, the cheapest, can be begun at each part.
    pub fn open(&self) -> usize {
        self.open
    }

    /// The same number for rungs of the same size of picture.
    pub fn pictures(&self) -> &[u8] {
        &self.pictures
    }
}

/// As the newest segment has it that came in parts.
fn open(segments: &[&Segment]) -> usize {
    let newest = segments.iter().rfind(|segment| segment.parts.len() > 1);
    let parts = newest.map(|newest| newest.parts.iter().map(|part| part.open));
    parts.and_then(Iterator::min).unwrap_or(0)
}

fn pictures(ladder: &Ladder) -> Vec<u8> {
    let mut seen = Vec::new();
    let number = |size: (u32, u32)| {
        let known = seen.iter().position(|known| *known == size);
        let index = known.unwrap_or(seen.len());
        if known.is_none() {
            seen.push(size);
        }
        u8::try_from(index).unwrap_or(u8::MAX)
    };
    let sizes = ladder.rungs().iter().map(|rung| (rung.width, rung.height));
    sizes.map(number).collect()
}
