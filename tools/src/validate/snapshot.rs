//! What must be right in one media playlist by itself, whenever it is looked at.

use super::{
    finding::Findings,
    listing::{Entry, Kind, Listing},
    rule,
};

/// Says everything that is wrong with `listing`.
pub fn check(listing: &Listing, findings: &mut Findings) {
    target(listing, findings);
    header(listing, findings);
    control(listing, findings);
    parts(listing, findings);
    dates(listing, findings);
}

fn target(listing: &Listing, findings: &mut Findings) {
    let Some(target) = listing.target else {
        let place = listing.place();
        return findings.say(&rule::NO_TARGET, place, "none", "EXT-X-TARGETDURATION");
    };
    for segment in &listing.segments {
        if segment.duration.round() > target as f64 {
            findings.say(
                &rule::TARGET,
                at(listing, segment),
                format!("EXTINF {} s", segment.duration),
                format!("{target} s or less when rounded"),
            );
        }
    }
}

fn header(listing: &Listing, findings: &mut Findings) {
    let live = !listing.ended && listing.kind.is_none();
    if live && listing.blocks() && listing.first == 0 && !listing.segments.is_empty() {
        let found = if listing.says_first {
            "EXT-X-MEDIA-SEQUENCE:0"
        } else {
            "no EXT-X-MEDIA-SEQUENCE"
        };
        findings.say(&rule::ZERO_START, listing.place(), found, "1 or more");
    }
    if listing.kind == Some(Kind::Vod) && !listing.ended {
        let found = "EXT-X-PLAYLIST-TYPE:VOD without an end";
        findings.say(
            &rule::PLAYLIST_TYPE,
            listing.place(),
            found,
            "EXT-X-ENDLIST",
        );
    }
}

fn control(listing: &Listing, findings: &mut Findings) {
    if listing.has_parts() {
        profile(listing, findings);
    }
    let Some(control) = &listing.control else {
        return;
    };
    let place = || listing.place().line(control.line);
    let target = listing.target.unwrap_or(0) as f64;
    let least = |name: &str, span: Option<f64>, least: f64, findings: &mut Findings| {
        if let Some(span) = span.filter(|span| *span < least - ROUNDING) {
            let expected = format!("{least} s or more");
            findings.say(
                &rule::SERVER_CONTROL,
                place(),
                format!("{name}={span}"),
                expected,
            );
        }
    };
    least("HOLD-BACK", control.hold_back, 3.0 * target, findings);
    least("CAN-SKIP-UNTIL", control.skip_until, 6.0 * target, findings);
    if let (Some(hold), Some(part)) = (control.part_hold_back, listing.part_target) {
        least("PART-HOLD-BACK", Some(hold), 2.0 * part, findings);
        if (2.0 * part..3.0 * part - ROUNDING).contains(&hold) {
            let expected = format!("{} s or more", 3.0 * part);
            findings.say(
                &rule::PART_HOLD_BACK,
                place(),
                format!("PART-HOLD-BACK={hold}"),
                expected,
            );
        }
    }
}

/// What a playlist with parts has besides them (appendix B.1).
fn profile(listing: &Listing, findings: &mut Findings) {
    let mut say = |rule, found: &str, expected: &str| {
        findings.say(rule, listing.place(), found, expected);
    };
    let hold_back = listing
        .control
        .as_ref()
        .and_then(|control| control.part_hold_back);
    if listing.part_target.is_none() {
        say(
            &rule::PART_INF,
            "parts without EXT-X-PART-INF",
            "its PART-TARGET",
        );
    }
    if hold_back.is_none() {
        say(
            &rule::PART_INF,
            "parts without PART-HOLD-BACK",
            "it, in EXT-X-SERVER-CONTROL",
        );
    }
    if listing.ended {
        return;
    }
    if !listing.blocks() {
        say(
            &rule::LOW_LATENCY_PROFILE,
            "parts without CAN-BLOCK-RELOAD",
            "CAN-BLOCK-RELOAD=YES",
        );
    }
    if !listing.hints.iter().any(|hint| hint.is_part) {
        say(
            &rule::LOW_LATENCY_PROFILE,
            "parts without EXT-X-PRELOAD-HINT",
            "a hint of the next part",
        );
    }
}

fn parts(listing: &Listing, findings: &mut Findings) {
    for (place, entry) in listing.entries().enumerate() {
        let complete = place < listing.segments.len();
        part_lengths(listing, entry, complete, findings);
        if !complete || entry.parts.is_empty() {
            continue;
        }
        part_sum(listing, entry, findings);
        let independent = entry.parts.iter().any(|part| part.independent || part.gap);
        if listing.independent && !independent {
            let found = format!("{} parts, none of them marked", entry.parts.len());
            let expected = "INDEPENDENT=YES at the first";
            findings.say(&rule::PART_INDEPENDENT, at(listing, entry), found, expected);
        }
    }
    let Some(target) = listing.target.filter(|_| !listing.ended) else {
        return;
    };
    let mut from_end: f64 = listing.open.parts.iter().map(|part| part.duration).sum();
    for entry in listing.segments.iter().rev() {
        // Its end is that far from the end of the playlist.
        if from_end > 3.0 * target as f64 + ROUNDING && !entry.parts.is_empty() {
            let found = format!("parts {from_end:.3} s before the end");
            let expected = format!("parts of the last {} s only", 3 * target);
            // One line for each segment would say the same thing over and over.
            findings.say(
                &rule::PART_OLD,
                listing.place().line(entry.line),
                found,
                expected,
            );
            break;
        }
        from_end += entry.duration;
    }
}

/// All but a segment's last part are between 85 % and 100 % of `PART-TARGET` (section 4.4.3.7).
fn part_lengths(listing: &Listing, entry: &Entry, complete: bool, findings: &mut Findings) {
    let Some(target) = listing.part_target else {
        return;
    };
    for (index, part) in entry.parts.iter().enumerate() {
        let last = complete && index + 1 == entry.parts.len();
        // What is last of an open segment may be the last of the segment.
        let may_be_short = last || (!complete && index + 1 == entry.parts.len()) || part.gap;
        let short = part.duration < 0.85 * target - ROUNDING && !may_be_short;
        if part.duration > target + ROUNDING || short {
            findings.say(
                &rule::PART_TARGET,
                at(listing, entry).line(part.line).part(index),
                format!("a part of {} s", part.duration),
                format!("{:.5} s to {target} s", 0.85 * target),
            );
        }
    }
}

fn part_sum(listing: &Listing, entry: &Entry, findings: &mut Findings) {
    let sum: f64 = entry.parts.iter().map(|part| part.duration).sum();
    // Each is rounded by itself.
    let tolerance = SUM + ROUNDING * entry.parts.len() as f64;
    if (sum - entry.duration).abs() > tolerance {
        findings.say(
            &rule::PART_SUM,
            at(listing, entry),
            format!("{} parts of {sum:.5} s", entry.parts.len()),
            format!("{} s, as EXTINF says", entry.duration),
        );
    }
}

/// Dates go on as the durations do, until there is a discontinuity (section 4.4.4.6).
fn dates(listing: &Listing, findings: &mut Findings) {
    let mut expected: Option<f64> = None;
    for entry in &listing.segments {
        if entry.discontinuity {
            expected = None;
        }
        if let Some(date) = entry.date_time {
            let place = at(listing, entry).line(date.line);
            let off = expected.map_or(0.0, |expected| date.micros as f64 / 1e6 - expected);
            if off < -entry.duration.max(1.0) / 2.0 {
                let found = format!("{:.3} s before its turn", -off);
                findings.say(
                    &rule::DATE_TIME,
                    place,
                    found,
                    "later than the segment before it, by its length",
                );
            } else if off.abs() > DRIFT {
                let found = format!("{:.3} s off", off);
                let expected = format!("less than {DRIFT} s");
                findings.say(&rule::DATE_TIME_DRIFT, place, found, expected);
            }
            expected = Some(date.micros as f64 / 1e6);
        }
        expected = expected.map(|expected| expected + entry.duration);
    }
}

fn at(listing: &Listing, entry: &Entry) -> super::Place {
    listing.place().line(entry.line).segment(entry.number)
}

/// Decimals that a text may have left out.
const ROUNDING: f64 = 0.000_6;

/// How far the parts may be off their segment, in seconds, besides rounding.
const SUM: f64 = 0.001;

/// How far a date may be off the one before it plus `EXTINF`, in seconds: a millisecond of rounding at both ends
/// is nothing, a frame is something.
const DRIFT: f64 = 0.015;
