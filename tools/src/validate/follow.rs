//! One media playlist over its reloads: it only appends, its numbers rise as segments leave, what it promised comes.

use std::{collections::BTreeMap, time::Duration};

use super::{
    finding::{Findings, Place},
    listing::{Entry, Hint, Kind, Listing},
    rule,
};

/// What was asked for with a reload (section 6.2.5), and how long the answer took.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Asked {
    /// `_HLS_msn`.
    pub number: Option<u64>,
    /// `_HLS_part`.
    pub part: Option<u64>,
    /// `_HLS_skip`.
    pub skip: bool,
    pub took: Duration,
}

/// What is known of one playlist from all reloads so far.
#[derive(Clone, Debug, Default)]
pub struct Follow {
    last: Option<Listing>,
    /// When there was something new.
    news: Duration,
    /// By number, what segments were when they were last listed; bounded.
    known: BTreeMap<u64, Entry>,
    /// It was a delta update.
    by_delta: bool,
    /// The hint that is to be kept: it was given while this segment had this many parts.
    hint: Option<(u64, usize, Hint)>,
}

impl Follow {
    /// The playlist as it was last seen, in full.
    pub fn last(&self) -> Option<&Listing> {
        self.last.as_ref()
    }

    /// Compares the next version, which was read at `findings.now()`, with what came before. A delta update is made
    /// whole first; the whole is handed back.
    pub fn reload(&mut self, listing: Listing, asked: Asked, findings: &mut Findings) -> &Listing {
        let by_delta = listing.skip.is_some();
        let listing = self.whole(listing, findings);
        blocking(&listing, asked, findings);
        if let Some(before) = self.last.take() {
            self.numbers(&before, &listing, findings);
            header(&before, &listing, findings);
            ended(&before, &listing, findings);
            if listing.first < before.first {
                // What has these numbers now is something else; that is said already.
                self.known.clear();
            } else {
                // What differs then was wrong in the update.
                let wrong = self.by_delta && !by_delta && same(&before, &listing, findings);
                if !wrong {
                    self.segments(&listing, findings);
                }
                parts(&before, &listing, findings);
                self.hints(&listing, findings);
            }
            self.freshness(&before, &listing, findings);
        } else {
            self.news = findings.now();
        }
        for entry in &listing.segments {
            self.known.insert(entry.number, entry.clone());
        }
        while self.known.len() > KNOWN {
            self.known.pop_first();
        }
        self.by_delta = by_delta;
        let hint = listing.hints.iter().find(|hint| hint.is_part);
        self.hint = hint.map(|hint| (listing.next(), listing.open.parts.len(), hint.clone()));
        self.last.insert(listing)
    }

    /// A delta update put on top of what was there before (section 6.2.5.1).
    fn whole(&self, mut delta: Listing, findings: &mut Findings) -> Listing {
        let Some(skip) = delta.skip.take() else {
            return delta;
        };
        let place = delta.place().line(skip.line);
        let Some(before) = &self.last else {
            let expected = "a full playlist, as none was there before";
            findings.say(&rule::DELTA, place, "EXT-X-SKIP", expected);
            return delta;
        };
        let numbers = delta.first..delta.first.saturating_add(skip.count);
        let skipped: Vec<_> = before
            .segments
            .iter()
            .filter(|segment| numbers.contains(&segment.number))
            .cloned()
            .collect();
        if skipped.len() as u64 != skip.count {
            let found = format!("segments {} to {} skipped", numbers.start, numbers.end);
            let (first, next) = (before.first, before.next());
            let expected = format!("only what was listed before: {first} to {next}");
            findings.say(&rule::DELTA, place.clone(), found, expected);
        }
        boundary(&delta, place, findings);
        inherit(&mut delta, skipped.last());
        delta.segments.splice(..0, skipped);
        delta
    }

    fn numbers(&self, before: &Listing, now: &Listing, findings: &mut Findings) {
        let (Some(old), Some(new)) = (before.segments.first(), now.segments.first()) else {
            return;
        };
        let found = format!("EXT-X-MEDIA-SEQUENCE {} after {}", new.number, old.number);
        if new.number < old.number {
            let expected = format!("{} or more", old.number);
            return findings.say(&rule::BACKWARDS, now.place(), found, expected);
        }
        if now.next() < before.next() {
            let found = format!("it ends with {}", now.next().saturating_sub(1));
            let expected = format!(
                "segment {}, which was listed",
                before.next().saturating_sub(1)
            );
            findings.say(&rule::SHRUNK, now.place(), found, expected);
        }
        if new.number > before.next() {
            let missed = new.number - before.next();
            let elapsed = findings.now().saturating_sub(self.news).as_secs_f64();
            let length = new.duration.max(0.1);
            // As many as could have been made meanwhile, and as many again.
            let possible = 2.0 * elapsed / length + before.segments.len() as f64;
            if missed as f64 > possible {
                let expected = format!("{}, or what {elapsed:.1} s can have added", before.next());
                findings.say(&rule::JUMP, now.place(), found, expected);
            } else {
                let found = format!("{missed} segments before {}", new.number);
                findings.say(
                    &rule::MISSED,
                    now.place(),
                    found,
                    "all of them, at some reload",
                );
            }
        }
        let removed = new.number > old.number;
        let target = now.target.unwrap_or(0) as f64;
        if removed && !now.ended && now.duration() + ROUNDING < 3.0 * target {
            let found = format!("{:.3} s are left", now.duration());
            let expected = format!("{} s or more", 3.0 * target);
            findings.say(&rule::TOO_SHORT, now.place(), found, expected);
        }
        if removed && now.kind.is_some() {
            let found = format!("segment {} was removed", old.number);
            let expected = "nothing is, with EXT-X-PLAYLIST-TYPE";
            findings.say(&rule::PLAYLIST_TYPE, now.place(), found, expected);
        }
    }

    /// What was listed before is what it was.
    fn segments(&self, now: &Listing, findings: &mut Findings) {
        for entry in &now.segments {
            let Some(known) = self.known.get(&entry.number) else {
                continue;
            };
            let place = now.place().line(entry.line).segment(entry.number);
            // The tag may leave a segment that has become the first, if the sequence number counts it.
            let mut known = std::borrow::Cow::Borrowed(known);
            if entry.number == now.first && known.timeline == entry.timeline {
                known.to_mut().discontinuity = entry.discontinuity;
            }
            for (found, expected) in differences(&known, entry) {
                findings.say(&rule::CHANGED, place.clone(), found, expected);
            }
            if known.uri != entry.uri && path(&known.uri) == path(&entry.uri) {
                findings.say(&rule::NAME_CHANGED, place.clone(), &entry.uri, &known.uri);
            }
            if known.timeline != entry.timeline {
                findings.say(
                    &rule::TIMELINE,
                    place,
                    format!("discontinuity sequence {}", entry.timeline),
                    format!("{}, as before", known.timeline),
                );
                // The others follow from it.
                return;
            }
        }
        let first = now
            .segments
            .first()
            .map(|first| (first.number, first.timeline));
        let newest = self.known.last_key_value().map(|(_, entry)| entry.timeline);
        if let (Some((number, timeline)), Some(newest)) = (first, newest)
            && !self.known.contains_key(&number)
            && timeline < newest
        {
            let found = format!("discontinuity sequence {timeline} after {newest}");
            findings.say(&rule::TIMELINE, now.place(), found, "it never goes down");
        }
    }

    /// The part that was hinted is the one that came.
    fn hints(&self, now: &Listing, findings: &mut Findings) {
        let Some((number, index, hint)) = &self.hint else {
            return;
        };
        let of = now.entries().find(|entry| entry.number == *number);
        let Some(entry) =
            of.filter(|entry| entry.number < now.next() || entry.parts.len() > *index)
        else {
            return;
        };
        let came = entry.parts.get(*index);
        // A segment that ended with the parts it had: what was hinted may be the next one's first.
        let following = now.entries().find(|entry| entry.number == number + 1);
        let came = came.or_else(|| following.and_then(|entry| entry.parts.first()));
        let cut = following.is_some_and(|entry| entry.discontinuity) || now.ended;
        // A break cannot be foreseen.
        if entry.discontinuity && *index == 0 {
            return;
        }
        if let Some(part) = came {
            let start = part.range.map_or(0, |range| range.offset);
            if part.uri != hint.uri || (start != hint.start && part.range.is_some()) {
                if cut && entry.parts.len() <= *index {
                    return;
                }
                let place = now.place().line(part.line).segment(*number).part(*index);
                findings.say(
                    &rule::HINT,
                    place,
                    &part.uri,
                    format!("{}, as was hinted", hint.uri),
                );
            }
        }
    }

    fn freshness(&mut self, before: &Listing, now: &Listing, findings: &mut Findings) {
        let newer = now.next() != before.next() || now.open.parts.len() != before.open.parts.len();
        if newer || now.ended {
            self.news = findings.now();
            return;
        }
        let Some(target) = now.target.filter(|_| now.kind != Some(Kind::Vod)) else {
            return;
        };
        let limit = Duration::from_secs(target).mul_f64(1.5) + Duration::from_millis(500);
        let silent = findings.now().saturating_sub(self.news);
        if silent > limit {
            let place = now.place().segment(now.next());
            let expected = format!("a segment within {:.1} s", 1.5 * target as f64);
            findings.say(
                &rule::STALE,
                place,
                format!("nothing new for more than {:.1} s", limit.as_secs_f64()),
                expected,
            );
        }
    }
}

/// What a delta update does not say again is as before.
fn inherit(delta: &mut Listing, before: Option<&Entry>) {
    let Some(before) = before else { return };
    let behind = before.timeline.saturating_sub(delta.timeline);
    for entry in delta.segments.iter_mut().chain([&mut delta.open]) {
        entry.timeline = entry.timeline.saturating_add(behind);
        entry.map = entry.map.take().or_else(|| before.map.clone());
        entry.key = entry.key.take().or_else(|| before.key.clone());
    }
}

/// What is skipped is older than `CAN-SKIP-UNTIL` (section 4.4.5.2): what is left is at least as long.
fn boundary(delta: &Listing, place: Place, findings: &mut Findings) {
    let open: f64 = delta.open.parts.iter().map(|part| part.duration).sum();
    let left = delta.duration() + open;
    let Some(until) = delta
        .control
        .as_ref()
        .and_then(|control| control.skip_until)
    else {
        let found = "EXT-X-SKIP without CAN-SKIP-UNTIL";
        return findings.say(&rule::SKIP_BOUNDARY, place, found, "CAN-SKIP-UNTIL");
    };
    if left + ROUNDING < until {
        let found = format!("{left:.3} s are not skipped");
        findings.say(
            &rule::SKIP_BOUNDARY,
            place,
            found,
            format!("{until} s or more"),
        );
    }
}

/// The delta update, made whole, against the full playlist of the same moment (section 6.2.5.1).
/// Whether anything is wrong with it.
pub fn same(whole: &Listing, full: &Listing, findings: &mut Findings) -> bool {
    let mut wrong = false;
    for entry in &whole.segments {
        let Some(other) = full.segment(entry.number) else {
            continue;
        };
        let place = whole.place().segment(entry.number);
        for (found, expected) in differences(other, entry) {
            wrong = true;
            let expected = format!("{expected}, as the full playlist says");
            findings.say(&rule::DELTA, place.clone(), found, expected);
        }
    }
    if whole.first > full.first || whole.target != full.target {
        let found = format!("first segment {}, target {:?}", whole.first, whole.target);
        let expected = format!("{} and {:?}", full.first, full.target);
        findings.say(&rule::DELTA, whole.place(), found, expected);
        wrong = true;
    }
    wrong
}

fn differences(known: &Entry, now: &Entry) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut differ = |what: &str, now: String, known: String| {
        all.push((format!("{what} {now}"), format!("{what} {known}")));
    };
    if path(&known.uri) != path(&now.uri) {
        differ("URI", now.uri.clone(), known.uri.clone());
    }
    if known.duration != now.duration {
        differ(
            "EXTINF",
            now.duration.to_string(),
            known.duration.to_string(),
        );
    }
    if known.discontinuity != now.discontinuity {
        differ(
            "discontinuity",
            now.discontinuity.to_string(),
            known.discontinuity.to_string(),
        );
    }
    if let (Some(was), Some(is)) = (known.date_time, now.date_time)
        && was.micros != is.micros
    {
        differ("date", is.micros.to_string(), was.micros.to_string());
    }
    if known.range != now.range {
        differ(
            "byte range",
            format!("{:?}", now.range),
            format!("{:?}", known.range),
        );
    }
    if known.map != now.map {
        differ("map", format!("{:?}", now.map), format!("{:?}", known.map));
    }
    if known.key != now.key {
        differ("key", format!("{:?}", now.key), format!("{:?}", known.key));
    }
    all
}

fn header(before: &Listing, now: &Listing, findings: &mut Findings) {
    if before.target != now.target && now.target.is_some() {
        let found = format!("EXT-X-TARGETDURATION {:?}", now.target.unwrap_or(0));
        let expected = format!("{}, as before", before.target.unwrap_or(0));
        findings.say(&rule::TARGET_CHANGED, now.place(), found, expected);
    }
    if before.kind.is_some() && before.kind != now.kind {
        let found = format!("EXT-X-PLAYLIST-TYPE {:?}", now.kind);
        let expected = format!("{:?}, as before", before.kind);
        findings.say(&rule::PLAYLIST_TYPE, now.place(), found, expected);
    }
}

fn ended(before: &Listing, now: &Listing, findings: &mut Findings) {
    if before.ended && (!now.ended || now.next() != before.next()) {
        let found = format!("segments up to {}", now.next().saturating_sub(1));
        let expected = format!("the end after {}", before.next().saturating_sub(1));
        findings.say(&rule::REOPENED, now.place(), found, expected);
    }
}

/// Parts that are still listed are what they were, and no part of a segment came between those that were there.
fn parts(before: &Listing, now: &Listing, findings: &mut Findings) {
    for entry in now.entries().filter(|entry| !entry.parts.is_empty()) {
        let known = before.entries().find(|known| known.number == entry.number);
        let Some(known) = known else { continue };
        for (index, was) in known.parts.iter().enumerate() {
            let is = entry.parts.get(index);
            let same = is.is_some_and(|is| {
                is.uri == was.uri
                    && is.duration == was.duration
                    && is.independent == was.independent
                    && is.range == was.range
            });
            if !same {
                let place = now
                    .place()
                    .line(entry.line)
                    .segment(entry.number)
                    .part(index);
                let words = |part: &super::listing::Part| {
                    let independent = if part.independent {
                        ", independent"
                    } else {
                        ""
                    };
                    format!("{} of {} s{independent}", part.uri, part.duration)
                };
                let found = is.map_or("no such part".to_owned(), words);
                findings.say(&rule::PART_CHANGED, place, found, words(was));
            }
        }
    }
}

/// Section 6.2.5.2: an answer has what was asked for, unless there was no way to have it.
fn blocking(now: &Listing, asked: Asked, findings: &mut Findings) {
    let Some(number) = asked.number.filter(|_| now.blocks()) else {
        return;
    };
    if now.reaches(number, asked.part) {
        return;
    }
    let patience = Duration::from_secs(now.target.unwrap_or(0)) * 3;
    let part = asked
        .part
        .map(|part| format!(" part {part}"))
        .unwrap_or_default();
    let parts = now.open.parts.len();
    let found = format!(
        "{} and {parts} parts of {}",
        now.next().saturating_sub(1),
        now.next()
    );
    let place = now.place().segment(number);
    if asked.took + Duration::from_millis(500) < patience {
        let found = format!(
            "an answer after {:.1} s with segments up to {found}",
            asked.took.as_secs_f64()
        );
        findings.say(
            &rule::BLOCKING_EARLY,
            place,
            found,
            format!("segment {number}{part}"),
        );
    } else {
        let found = format!("segments up to {found}");
        findings.say(
            &rule::BLOCKING_LATE,
            place,
            found,
            format!("segment {number}{part}"),
        );
    }
}

/// A URI without its query, in which there may be a token of the request.
fn path(uri: &str) -> &str {
    uri.split('?').next().unwrap_or(uri)
}

const ROUNDING: f64 = 0.001;

/// Segments of which is remembered what they were; a day of short ones.
const KNOWN: usize = 50_000;
