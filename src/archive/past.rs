//! The segments of many files as one run of numbers: what is missing between them is a gap, and
//! where that cannot be said the past begins after it. Reads no files itself.

use std::sync::Arc;

use playlists::{Head, MediaTime, Segment};

use super::file::Shape;

/// `runs` in order of their numbers, joined; up to segment `edge`, the last that was begun.
pub(super) fn joined(
    shape: &Shape,
    runs: impl IntoIterator<Item = Vec<Arc<Segment>>>,
    edge: u64,
) -> Vec<Arc<Segment>> {
    let mut joined: Vec<Arc<Segment>> = Vec::new();
    for segment in runs.into_iter().flatten() {
        let head = &segment.head;
        if let Some(last) = joined.last().cloned() {
            if head.number <= last.number() {
                // Written twice, which no run does: the first is as good.
                continue;
            }
            let before = head.timeline.checked_sub(head.discontinuity.into());
            match before.and_then(|timeline| gaps(shape, &last, head.number, timeline)) {
                Some(gaps) => joined.extend(gaps),
                None => joined.clear(),
            }
        }
        joined.push(segment);
    }
    // Named to players, but never completed or never written: the next number is another one.
    if let Some(last) = joined.last().cloned() {
        match gaps(shape, &last, edge + 1, last.head.timeline) {
            Some(gaps) => joined.extend(gaps),
            None if edge > last.number() => joined.clear(),
            None => {}
        }
    }
    joined
}

/// What stands between `last` and segment `next`, whose predecessor is of `timeline`. `None` if that
/// is more than one would list, or if there are more breaks than segments to carry them.
fn gaps(shape: &Shape, last: &Segment, next: u64, timeline: u64) -> Option<Vec<Arc<Segment>>> {
    let missing = next.checked_sub(last.number() + 1)?;
    let breaks = timeline.checked_sub(last.head.timeline)?;
    if missing > MOST || breaks > missing {
        return None;
    }
    let rungs = shape.ladder.rungs().len();
    let after = last.head.date_time.later(last.duration());
    let gap = |index: u64| {
        let discontinuity = index < breaks;
        let head = Head {
            number: last.number() + 1 + index,
            timeline: last.head.timeline + (index + 1).min(breaks),
            discontinuity,
            // They are few.
            date_time: after.later(shape.segment * index as i64),
            ..last.head.clone()
        };
        Arc::new(Segment::gap(head, shape.segment, rungs, &shape.renditions))
    };
    Some((0..missing).map(gap).collect())
}

/// Two minutes of gaps, where segments are of two seconds. A player skips a gap segment by segment.
const MOST: u64 = 60;

/// How long all of it is.
pub(super) fn length(segments: &[Arc<Segment>]) -> MediaTime {
    segments.iter().map(|segment| segment.duration()).sum()
}
