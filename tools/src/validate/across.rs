//! What must agree between the playlists of one stream (section 6.2.4), and what one says of another
//! (section 4.4.5.4).

use std::time::Duration;

use super::{finding::Findings, listing::Listing, rule};

/// Where a playlist was when it was seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seen {
    /// When the request left, and when the answer was there, since the start.
    pub asked: Duration,
    pub came: Duration,
    pub edge: Edge,
}

/// The last segment, and how many parts there are of the one after it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Edge {
    pub next: u64,
    pub parts: u64,
}

impl Edge {
    pub fn of(listing: &Listing) -> Self {
        Self {
            next: listing.next(),
            parts: listing.open.parts.len() as u64,
        }
    }
}

/// `one` and `other` are listings of variants of the same stream, seen at about the same time.
pub fn agree(one: &Listing, other: &Listing, findings: &mut Findings) {
    if let (Some(mine), Some(theirs)) = (one.target, other.target)
        && mine != theirs
    {
        let found = format!("EXT-X-TARGETDURATION {mine}");
        findings.say(
            &rule::TARGETS_DIFFER,
            one.place(),
            found,
            format!("{theirs}, as {} says", other.url),
        );
    }
    for segment in &one.segments {
        let Some(theirs) = other.segment(segment.number) else {
            continue;
        };
        let (Some(mine), Some(date)) = (segment.date_time, theirs.date_time) else {
            continue;
        };
        let off = (mine.micros - date.micros) as f64 / 1e6;
        if off.abs() > segment.duration.max(theirs.duration) / 2.0 {
            let place = one.place().line(segment.line).segment(segment.number);
            let found = format!("{off:.3} s away from it in {}", other.url);
            findings.say(&rule::OUT_OF_STEP, place, found, "the same moment");
            // What does not go together cannot be compared.
            return;
        }
        if segment.timeline != theirs.timeline {
            let place = one.place().line(segment.line).segment(segment.number);
            let found = format!("discontinuity sequence {}", segment.timeline);
            findings.say(
                &rule::TIMELINES_DIFFER,
                place,
                found,
                format!("{}, as in {}", theirs.timeline, other.url),
            );
            return;
        }
    }
}

/// What `listing`, which was asked for and came at those times, reports of a playlist that was seen in `before` and
/// `after` it.
pub fn report(
    listing: &Listing,
    seen: Seen,
    report: &super::listing::Report,
    about: (&Listing, &[Seen]),
    findings: &mut Findings,
) {
    let place = listing.place().line(report.line);
    let (other, known) = about;
    let Some(last) = report.last else {
        let found = format!("a report on {} without LAST-MSN", other.url);
        return findings.say(&rule::REPORT, place, found, "LAST-MSN");
    };
    // The last segment may be an open one, of which there are parts.
    let reported = Edge {
        next: if report.part.is_some() {
            last
        } else {
            last.saturating_add(1)
        },
        parts: report.part.map_or(0, |part| part + 1),
    };
    let words = format!("{} at {last}, part {:?}", report.uri, report.part);
    // It cannot be ahead of what was seen of it later.
    let later = known.iter().find(|later| later.asked >= seen.came);
    if let Some(later) = later.filter(|later| ahead(reported, later.edge, other)) {
        let expected = format!(
            "{} or before, as it said {:.1} s later",
            later.edge.next,
            (later.came - seen.came).as_secs_f64()
        );
        return findings.say(&rule::REPORT, place, words, expected);
    }
    // Nor long behind what was seen before; the segment that was open then is allowed for.
    let earlier = known
        .iter()
        .rev()
        .find(|earlier| earlier.came <= seen.asked);
    if let Some(earlier) = earlier.filter(|earlier| reported.next + 1 < earlier.edge.next) {
        let expected = format!(
            "{} or after, as it said {:.1} s before",
            earlier.edge.next - 1,
            (seen.asked - earlier.came).as_secs_f64()
        );
        findings.say(&rule::REPORT_STALE, place, words, expected);
    }
}

/// `reported` is more than there is in `edge`. A segment that is complete may be told by its last part.
fn ahead(reported: Edge, edge: Edge, other: &Listing) -> bool {
    let complete = reported.next < edge.next;
    let by_parts = other.segment(reported.next).is_some();
    !(complete || by_parts) && reported > edge
}
