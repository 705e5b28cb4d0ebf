//! A media playlist as it is listed, with the line of everything that is in it. Reading it says what is wrong with
//! its text; whether what it says is right is `snapshot`'s business, and `follow`'s over time.

use super::{
    finding::{Findings, Place},
    lines::{self, Attributes, Line},
    rule,
};

/// A media playlist, or a delta update of one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    pub url: String,
    pub version: u64,
    /// Seconds.
    pub target: Option<u64>,
    pub part_target: Option<f64>,
    pub control: Option<Control>,
    /// `EXT-X-MEDIA-SEQUENCE`; 0 where it is not said.
    pub first: u64,
    pub says_first: bool,
    /// `EXT-X-DISCONTINUITY-SEQUENCE`; 0 where it is not said.
    pub timeline: u64,
    pub says_timeline: bool,
    pub independent: bool,
    pub kind: Option<Kind>,
    pub i_frames_only: bool,
    pub ended: bool,
    pub skip: Option<Skip>,
    pub segments: Vec<Entry>,
    /// What is listed after the last segment: parts of the next, with what holds for it.
    pub open: Entry,
    pub hints: Vec<Hint>,
    pub reports: Vec<Report>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Vod,
    Event,
}

/// `EXT-X-SERVER-CONTROL`; spans in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Control {
    pub line: usize,
    pub blocks: bool,
    pub skip_until: Option<f64>,
    pub hold_back: Option<f64>,
    pub part_hold_back: Option<f64>,
}

/// A segment, or what is known of the next one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// Of its URI.
    pub line: usize,
    pub number: u64,
    /// Discontinuity sequence number.
    pub timeline: u64,
    pub discontinuity: bool,
    pub uri: String,
    /// `EXTINF`, seconds.
    pub duration: f64,
    pub range: Option<Range>,
    pub map: Option<Map>,
    /// It is encrypted with this method.
    pub key: Option<String>,
    pub date_time: Option<DateTime>,
    pub gap: bool,
    pub parts: Vec<Part>,
}

/// `EXT-X-PART`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    pub line: usize,
    pub uri: String,
    /// Seconds.
    pub duration: f64,
    pub independent: bool,
    pub gap: bool,
    pub range: Option<Range>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Range {
    pub offset: u64,
    pub length: u64,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Map {
    pub uri: String,
    pub range: Option<Range>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DateTime {
    pub line: usize,
    /// Microseconds since 1970, UTC.
    pub micros: i64,
}

/// `EXT-X-PRELOAD-HINT`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hint {
    pub line: usize,
    pub is_part: bool,
    pub uri: String,
    pub start: u64,
    pub length: Option<u64>,
}

/// `EXT-X-RENDITION-REPORT`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    pub line: usize,
    pub uri: String,
    pub last: Option<u64>,
    pub part: Option<u64>,
}

/// `EXT-X-SKIP`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Skip {
    pub line: usize,
    pub count: u64,
}

impl Listing {
    /// Reads `text`. What cannot be read is said and left out; `None` if it is no media playlist at all.
    pub fn read(url: &str, text: &str, findings: &mut Findings) -> Option<Self> {
        if !begins_well(url, text, findings) {
            return None;
        }
        let mut reader = Reader::new(url, findings);
        for (number, line) in lines::lines(text) {
            reader.line = number;
            match line {
                Line::Tag { name, value } => reader.tag(name, value.unwrap_or_default()),
                Line::Uri(uri) => reader.uri(uri),
                Line::Comment | Line::Blank => {}
            }
        }
        Some(reader.finish())
    }

    pub fn place(&self) -> Place {
        Place::of(&self.url)
    }

    /// The number of the segment after the last complete one.
    pub fn next(&self) -> u64 {
        self.open.number
    }

    pub fn last(&self) -> Option<&Entry> {
        self.segments.last()
    }

    pub fn segment(&self, number: u64) -> Option<&Entry> {
        let first = self.segments.first()?.number;
        self.segments
            .get(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    /// Everything that is listed, the open segment last.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.segments.iter().chain([&self.open])
    }

    /// Seconds of complete segments.
    pub fn duration(&self) -> f64 {
        self.segments.iter().map(|segment| segment.duration).sum()
    }

    pub fn has_parts(&self) -> bool {
        self.part_target.is_some() || self.entries().any(|entry| !entry.parts.is_empty())
    }

    pub fn blocks(&self) -> bool {
        self.control.as_ref().is_some_and(|control| control.blocks)
    }

    /// What a blocking reload has to have (section 6.2.5.2): segment `number`, or its part `part`.
    pub fn reaches(&self, number: u64, part: Option<u64>) -> bool {
        self.ended
            || self.next() > number
            || part.is_some_and(|part| self.next() == number && self.open.parts.len() as u64 > part)
    }
}

/// Whether `text` is a playlist as far as its first line says.
pub fn begins_well(url: &str, text: &str, findings: &mut Findings) -> bool {
    let first = text.lines().next().unwrap_or_default();
    if first.starts_with('\u{feff}') {
        let found = "a byte order mark";
        findings.say(&rule::ENCODING, Place::of(url).line(1), found, "none");
    }
    if first.trim_start_matches('\u{feff}').trim_end() != "#EXTM3U" {
        let found = format!("{:?}", first.chars().take(60).collect::<String>());
        findings.say(
            &rule::NOT_A_PLAYLIST,
            Place::of(url).line(1),
            found,
            "#EXTM3U",
        );
        return false;
    }
    true
}

/// What was read so far, and what holds for the segment that the next URI line completes.
struct Reader<'a> {
    listing: Listing,
    findings: &'a mut Findings,
    line: usize,
    once: Vec<&'static str>,
    next: Entry,
    has_extinf: Option<usize>,
    /// What `EXT-X-BYTERANGE` said, until the URI is known.
    range: Option<(u64, Option<u64>)>,
    /// Where a byte range without an offset goes on.
    last_range: Option<(String, u64)>,
    last_part_range: Option<(String, u64)>,
    /// What needs which version.
    needs: Vec<(u64, &'static str, usize)>,
}

impl<'a> Reader<'a> {
    fn new(url: &str, findings: &'a mut Findings) -> Self {
        let listing = Listing {
            url: url.to_owned(),
            version: 1,
            ..Listing::default()
        };
        Self {
            listing,
            findings,
            line: 0,
            once: Vec::new(),
            next: Entry::default(),
            has_extinf: None,
            range: None,
            last_range: None,
            last_part_range: None,
            needs: Vec::new(),
        }
    }

    fn tag(&mut self, name: &str, value: &str) {
        if let Some(known) = ONCE.iter().find(|known| **known == name) {
            if self.once.contains(known) {
                self.say(&rule::TWICE, format!("another {name}"), "one");
            }
            self.once.push(known);
        }
        let has_media = !self.listing.segments.is_empty() || self.has_extinf.is_some();
        if has_media && BEFORE_MEDIA.contains(&name) {
            let expected = "it stands before the first segment";
            self.say(&rule::LATE_HEADER, name.to_owned(), expected);
        }
        match name {
            "EXT-X-VERSION" => self.listing.version = self.integer(name, value).unwrap_or(1),
            "EXT-X-TARGETDURATION" => self.listing.target = self.integer(name, value),
            "EXT-X-MEDIA-SEQUENCE" => self.media_sequence(name, value),
            "EXT-X-DISCONTINUITY-SEQUENCE" => self.discontinuity_sequence(name, value),
            "EXT-X-INDEPENDENT-SEGMENTS" => self.listing.independent = true,
            "EXT-X-I-FRAMES-ONLY" => {
                self.needs(4, "EXT-X-I-FRAMES-ONLY");
                self.listing.i_frames_only = true;
            }
            "EXT-X-ENDLIST" => self.listing.ended = true,
            "EXT-X-PLAYLIST-TYPE" => match value {
                "VOD" => self.listing.kind = Some(Kind::Vod),
                "EVENT" => self.listing.kind = Some(Kind::Event),
                _ => self.say(&rule::VALUE, format!("{name}:{value}"), "VOD or EVENT"),
            },
            "EXT-X-PART-INF" => {
                let list = self.attributes(value);
                self.listing.part_target = self.decimal(&list, name, "PART-TARGET");
            }
            "EXT-X-SERVER-CONTROL" => self.control(value),
            "EXT-X-SKIP" => self.skip(name, value),
            "EXT-X-DISCONTINUITY" => {
                self.next.discontinuity = true;
                self.next.timeline = self.next.timeline.saturating_add(1);
            }
            "EXT-X-GAP" => {
                self.needs(8, "EXT-X-GAP");
                self.next.gap = true;
            }
            "EXTINF" => self.extinf(value),
            "EXT-X-BYTERANGE" => {
                self.needs(4, "EXT-X-BYTERANGE");
                self.range = lines::byte_range(value);
                if self.range.is_none() {
                    self.say(
                        &rule::VALUE,
                        format!("{name}:{value}"),
                        "LENGTH or LENGTH@OFFSET",
                    );
                }
            }
            "EXT-X-PROGRAM-DATE-TIME" => self.date_time(value),
            "EXT-X-MAP" => self.map(name, value),
            "EXT-X-KEY" => self.key(name, value),
            "EXT-X-PART" => self.part(name, value),
            "EXT-X-PRELOAD-HINT" => self.hint(name, value),
            "EXT-X-RENDITION-REPORT" => self.report(name, value),
            "EXT-X-DATERANGE" => drop(self.attributes(value)),
            _ if MULTIVARIANT.contains(&name) => {
                self.say(
                    &rule::MIXED,
                    name.to_owned(),
                    "no such tag in a media playlist",
                );
            }
            _ => {}
        }
    }

    fn media_sequence(&mut self, name: &str, value: &str) {
        let Some(number) = self.integer(name, value) else {
            return;
        };
        self.listing.first = number;
        self.listing.says_first = true;
        self.next.number = number;
    }

    fn discontinuity_sequence(&mut self, name: &str, value: &str) {
        if self.next.discontinuity {
            let expected = "it stands before the first EXT-X-DISCONTINUITY";
            self.say(&rule::LATE_HEADER, name.to_owned(), expected);
        }
        let Some(number) = self.integer(name, value) else {
            return;
        };
        self.listing.timeline = number;
        self.listing.says_timeline = true;
        self.next.timeline = number;
    }

    fn control(&mut self, value: &str) {
        let list = self.attributes(value);
        self.listing.control = Some(Control {
            line: self.line,
            blocks: list.yes("CAN-BLOCK-RELOAD"),
            skip_until: list.decimal("CAN-SKIP-UNTIL"),
            hold_back: list.decimal("HOLD-BACK"),
            part_hold_back: list.decimal("PART-HOLD-BACK"),
        });
    }

    fn skip(&mut self, name: &str, value: &str) {
        self.needs(9, "EXT-X-SKIP");
        let list = self.attributes(value);
        let Some(count) = list.integer("SKIPPED-SEGMENTS") else {
            let found = format!("{name}:{value}");
            return self.say(&rule::VALUE, found, "SKIPPED-SEGMENTS, a whole number");
        };
        self.listing.skip = Some(Skip {
            line: self.line,
            count,
        });
        self.next.number = self.next.number.saturating_add(count);
    }

    fn extinf(&mut self, value: &str) {
        if self.has_extinf.is_some() {
            self.say(
                &rule::NO_URI,
                "another EXTINF".into(),
                "the URI of the one before",
            );
        }
        self.has_extinf = Some(self.line);
        let (seconds, _title) = value.split_once(',').unwrap_or((value, ""));
        if !value.contains(',') {
            let found = format!("EXTINF:{value}");
            self.say(&rule::VALUE, found, "a comma after the duration");
        }
        if seconds.contains('.') {
            self.needs(3, "a fraction in EXTINF");
        }
        match lines::decimal(seconds) {
            Some(seconds) => self.next.duration = seconds,
            None => self.say(
                &rule::VALUE,
                format!("EXTINF:{value}"),
                "seconds, as digits",
            ),
        }
    }

    fn date_time(&mut self, value: &str) {
        match read_date_time(value) {
            Some((micros, zoned)) => {
                self.next.date_time = Some(DateTime {
                    line: self.line,
                    micros,
                });
                if !zoned {
                    self.say(
                        &rule::NO_TIME_ZONE,
                        value.to_owned(),
                        "Z or +hh:mm at the end",
                    );
                }
            }
            None => self.say(
                &rule::DATE_TIME,
                value.to_owned(),
                "such as 2026-01-31T12:00:00.000Z",
            ),
        }
    }

    fn map(&mut self, name: &str, value: &str) {
        let list = self.attributes(value);
        let Some(uri) = self.uri_of(&list, name) else {
            return;
        };
        self.needs(if self.listing.i_frames_only { 5 } else { 6 }, "EXT-X-MAP");
        let range = list.text("BYTERANGE").and_then(lines::byte_range);
        self.next.map = Some(Map {
            uri,
            range: range.map(|(length, offset)| Range {
                offset: offset.unwrap_or(0),
                length,
            }),
        });
    }

    fn key(&mut self, name: &str, value: &str) {
        let list = self.attributes(value);
        match list.text("METHOD") {
            Some("NONE") => self.next.key = None,
            Some(method) => {
                if list.get("IV").is_some() {
                    self.needs(2, "IV of EXT-X-KEY");
                }
                if list.get("KEYFORMAT").is_some() {
                    self.needs(5, "KEYFORMAT of EXT-X-KEY");
                }
                self.next.key = Some(method.to_owned());
                self.uri_of(&list, name);
            }
            None => self.say(&rule::VALUE, format!("{name} without METHOD"), "METHOD"),
        }
    }

    fn part(&mut self, name: &str, value: &str) {
        let list = self.attributes(value);
        let uri = self.uri_of(&list, name);
        let duration = self.decimal(&list, name, "DURATION");
        let range = list.text("BYTERANGE").and_then(lines::byte_range);
        let (Some(uri), Some(duration)) = (uri, duration) else {
            return;
        };
        let range = range.and_then(|range| self.placed(range, &uri, true));
        self.next.parts.push(Part {
            line: self.line,
            uri,
            duration,
            independent: list.yes("INDEPENDENT"),
            gap: list.yes("GAP"),
            range,
        });
    }

    fn hint(&mut self, name: &str, value: &str) {
        let list = self.attributes(value);
        let is_part = match list.text("TYPE") {
            Some("PART") => true,
            Some("MAP") => false,
            other => {
                let found = format!("{name} with TYPE {other:?}");
                return self.say(&rule::VALUE, found, "TYPE PART or MAP");
            }
        };
        if self
            .listing
            .hints
            .iter()
            .any(|hint| hint.is_part == is_part)
        {
            self.say(&rule::TWICE, format!("another {name} of its TYPE"), "one");
        }
        let Some(uri) = self.uri_of(&list, name) else {
            return;
        };
        self.listing.hints.push(Hint {
            line: self.line,
            is_part,
            uri,
            start: list.integer("BYTERANGE-START").unwrap_or(0),
            length: list.integer("BYTERANGE-LENGTH"),
        });
    }

    fn report(&mut self, name: &str, value: &str) {
        let list = self.attributes(value);
        let Some(uri) = self.uri_of(&list, name) else {
            return;
        };
        self.listing.reports.push(Report {
            line: self.line,
            uri,
            last: list.integer("LAST-MSN"),
            part: list.integer("LAST-PART"),
        });
    }

    fn uri(&mut self, uri: &str) {
        if self.has_extinf.take().is_none() {
            self.say(&rule::NO_EXTINF, uri.to_owned(), "an EXTINF before it");
        }
        let range = self.range.take();
        self.next.range = range.and_then(|range| self.placed(range, uri, false));
        if range.is_none() {
            self.last_range = None;
        }
        let following = Entry {
            number: self.next.number.saturating_add(1),
            timeline: self.next.timeline,
            map: self.next.map.clone(),
            key: self.next.key.clone(),
            ..Entry::default()
        };
        let mut segment = std::mem::replace(&mut self.next, following);
        segment.line = self.line;
        segment.uri = uri.to_owned();
        self.listing.segments.push(segment);
    }

    /// A byte range with its offset, which may be where the one before it ended.
    fn placed(
        &mut self,
        (length, offset): (u64, Option<u64>),
        uri: &str,
        part: bool,
    ) -> Option<Range> {
        let before = if part {
            &mut self.last_part_range
        } else {
            &mut self.last_range
        };
        let goes_on = before
            .as_ref()
            .filter(|(of, _)| of == uri)
            .map(|(_, end)| *end);
        // The first part of a resource may leave its offset out (section 4.4.4.9).
        let offset = offset.or(goes_on).or(part.then_some(0));
        *before = offset.map(|offset| (uri.to_owned(), offset.saturating_add(length)));
        if offset.is_none() {
            self.say(
                &rule::BYTE_RANGE,
                format!("{length} octets of {uri}"),
                "an offset",
            );
        }
        Some(Range {
            offset: offset?,
            length,
        })
    }

    fn finish(mut self) -> Listing {
        if let Some(line) = self.has_extinf {
            self.line = line;
            self.say(&rule::NO_URI, "EXTINF at the end".into(), "its URI");
        }
        for (version, what, line) in std::mem::take(&mut self.needs) {
            if version > self.listing.version {
                self.line = line;
                let found = format!("EXT-X-VERSION {} with {what}", self.listing.version);
                self.say(&rule::VERSION, found, &format!("{version} or more"));
            }
        }
        self.listing.open = self.next;
        self.listing.open.line = self.line;
        self.listing
    }

    fn attributes<'v>(&mut self, value: &'v str) -> Attributes<'v> {
        let list = Attributes::read(value);
        for fault in &list.faults {
            self.say(&rule::ATTRIBUTES, fault.to_string(), "an attribute list");
        }
        list
    }

    fn integer(&mut self, name: &str, value: &str) -> Option<u64> {
        let number = lines::integer(value);
        if number.is_none() {
            self.say(&rule::VALUE, format!("{name}:{value}"), "a whole number");
        }
        number
    }

    fn decimal(&mut self, list: &Attributes<'_>, tag: &str, name: &str) -> Option<f64> {
        let number = list.decimal(name);
        if number.is_none() {
            let found = format!(
                "{tag} with {name} {:?}",
                list.text(name).unwrap_or("missing")
            );
            self.say(&rule::VALUE, found, "a number");
        }
        number
    }

    fn uri_of(&mut self, list: &Attributes<'_>, tag: &str) -> Option<String> {
        match list.get("URI") {
            Some(uri) if uri.quoted && !uri.text.is_empty() => Some(uri.text.to_owned()),
            _ => {
                self.say(
                    &rule::VALUE,
                    format!("{tag} without URI"),
                    "URI, a quoted string",
                );
                None
            }
        }
    }

    fn needs(&mut self, version: u64, what: &'static str) {
        if !self.needs.iter().any(|(_, known, _)| *known == what) {
            self.needs.push((version, what, self.line));
        }
    }

    fn say(&mut self, rule: &'static rule::Rule, found: String, expected: &str) {
        let place = Place::of(&self.listing.url).line(self.line);
        self.findings.say(rule, place, found, expected);
    }
}

/// Microseconds since 1970, and whether it says its time zone.
fn read_date_time(text: &str) -> Option<(i64, bool)> {
    use chrono::{DateTime, NaiveDateTime};
    let zoned = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"));
    if let Ok(time) = zoned {
        return Some((time.timestamp_micros(), true));
    }
    let bare = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
    Some((bare.and_utc().timestamp_micros(), false))
}

/// Those that stand once (sections 4.4.1, 4.4.2 and 4.4.3).
const ONCE: &[&str] = &[
    "EXT-X-VERSION",
    "EXT-X-TARGETDURATION",
    "EXT-X-MEDIA-SEQUENCE",
    "EXT-X-DISCONTINUITY-SEQUENCE",
    "EXT-X-INDEPENDENT-SEGMENTS",
    "EXT-X-ENDLIST",
    "EXT-X-PLAYLIST-TYPE",
    "EXT-X-I-FRAMES-ONLY",
    "EXT-X-PART-INF",
    "EXT-X-SERVER-CONTROL",
    "EXT-X-SKIP",
    "EXT-X-START",
];

const BEFORE_MEDIA: &[&str] = &[
    "EXT-X-MEDIA-SEQUENCE",
    "EXT-X-DISCONTINUITY-SEQUENCE",
    "EXT-X-SKIP",
];

/// Section 4.4.6.
const MULTIVARIANT: &[&str] = &[
    "EXT-X-MEDIA",
    "EXT-X-STREAM-INF",
    "EXT-X-I-FRAME-STREAM-INF",
    "EXT-X-SESSION-DATA",
    "EXT-X-SESSION-KEY",
    "EXT-X-CONTENT-STEERING",
];
