//! Spans of a stream that something is said of: breaks for advertisements, timed metadata (`EXT-X-DATERANGE`, RFC 8216bis
//! section 4.4.5.1). What is said is the source's business; here is how it is written and read, and until when it is listed.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::time::{MediaTime, WallTime};

/// One tag. There may be several of one id, which say the more together.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct DateRange {
    pub id: String,
    pub class: Option<String>,
    pub start: WallTime,
    pub end: Option<WallTime>,
    pub duration: Option<MediaTime>,
    /// How long it is expected to be.
    pub planned: Option<MediaTime>,
    /// Of SCTE 35, and those that begin with `X-`.
    pub others: Vec<(String, Value)>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub enum Value {
    Text(String),
    Octets(Vec<u8>),
    Number(f64),
}

impl DateRange {
    /// When it is over, as far as is known.
    fn ends(&self) -> Option<WallTime> {
        let after = |length: Option<MediaTime>| length.map(|length| self.start.later(length));
        self.end
            .or_else(|| after(self.duration))
            .or_else(|| after(self.planned))
    }
}

/// The attributes as they are written.
impl fmt::Display for DateRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ID=\"{}\"", Quoted(&self.id))?;
        if let Some(class) = &self.class {
            write!(f, ",CLASS=\"{}\"", Quoted(class))?;
        }
        write!(f, ",START-DATE=\"{}\"", self.start)?;
        if let Some(end) = self.end {
            write!(f, ",END-DATE=\"{end}\"")?;
        }
        if let Some(duration) = self.duration {
            write!(f, ",DURATION={duration}")?;
        }
        if let Some(planned) = self.planned {
            write!(f, ",PLANNED-DURATION={planned}")?;
        }
        for (name, value) in &self.others {
            write!(f, ",{name}={value}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "\"{}\"", Quoted(text)),
            Self::Number(number) => write!(f, "{number}"),
            Self::Octets(octets) => {
                write!(f, "0x")?;
                octets.iter().try_for_each(|octet| write!(f, "{octet:02X}"))
            }
        }
    }
}

/// What a quoted string cannot hold is left out of it (section 4.2).
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fit = self.0.chars().filter(|c| !c.is_control() && *c != '"');
        fit.into_iter().try_for_each(|c| f.write_char(c))
    }
}

/// What stands behind the colon of a tag; `None` if it is not one that says where it begins.
pub fn read(attributes: &str) -> Option<DateRange> {
    let mut range = DateRange {
        id: String::new(),
        class: None,
        start: WallTime::default(),
        end: None,
        duration: None,
        planned: None,
        others: Vec::new(),
    };
    let mut begins = false;
    for (name, value) in pairs(attributes) {
        let text = value
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        let seconds = || value.parse().ok().filter(|s: &f64| (0.0..=1e9).contains(s));
        match (name, text) {
            ("ID", Some(text)) => text.clone_into(&mut range.id),
            ("CLASS", Some(text)) => range.class = Some(text.to_owned()),
            ("START-DATE", Some(text)) => {
                range.start = text.parse().ok()?;
                begins = true;
            }
            ("END-DATE", Some(text)) => range.end = text.parse().ok(),
            ("DURATION", None) => range.duration = seconds().map(MediaTime::from_seconds),
            ("PLANNED-DURATION", None) => range.planned = seconds().map(MediaTime::from_seconds),
            (name, _) if name.starts_with("X-") || name.starts_with("SCTE35-") => {
                range
                    .others
                    .push((name.to_owned(), Value::read(value, text)?));
            }
            _ => {}
        }
    }
    (begins && !range.id.is_empty()).then_some(range)
}

impl Value {
    fn read(value: &str, text: Option<&str>) -> Option<Self> {
        if let Some(text) = text {
            return Some(Self::Text(text.to_owned()));
        }
        let Some(digits) = value.strip_prefix("0x").or(value.strip_prefix("0X")) else {
            return value.parse().ok().map(Self::Number);
        };
        let octet = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        (0..digits.len())
            .step_by(2)
            .map(octet)
            .collect::<Option<_>>()
            .map(Self::Octets)
    }
}

/// The attributes of a list (section 4.2): commas within quotes separate nothing.
fn pairs(list: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = list;
    std::iter::from_fn(move || {
        let (name, after) = rest.split_once('=')?;
        let quoted = after.strip_prefix('"').and_then(|text| text.find('"'));
        let length = match quoted {
            Some(end) => end + 2,
            None => after.find(',').unwrap_or(after.len()),
        };
        let (value, left) = after.split_at_checked(length)?;
        rest = left.strip_prefix(',').unwrap_or("");
        Some((name.trim(), value))
    })
}

/// What was told of spans, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranges(Vec<Told>);

#[derive(Clone, Debug)]
struct Told {
    /// At which it was told.
    segment: u64,
    range: DateRange,
    /// What is said of an id that was gone is not said of the same span.
    life: u32,
}

impl Ranges {
    /// Tells of `range` at `segment`, while the list begins with segment `first`, at `date`.
    pub(crate) fn put(&mut self, segment: u64, range: DateRange, (first, date): (u64, WallTime)) {
        let last = self.0.iter().rfind(|told| told.range.id == range.id);
        let life = match last {
            Some(last) if self.is_gone(last, first, date) => last.life + 1,
            Some(last) => last.life,
            None => 0,
        };
        if self.0.len() == MOST {
            self.0.remove(0);
        }
        self.0.push(Told {
            segment,
            range,
            life,
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn holds(&self, range: &DateRange) -> bool {
        self.0.iter().any(|told| told.range == *range)
    }

    /// Those that were told before segment `first`, which begins at `date`, and are not over; or of which more is told from there
    /// on, for what is said of one id goes together.
    pub(crate) fn running(&self, first: u64, date: WallTime) -> impl Iterator<Item = &DateRange> {
        let told = self.0.iter().filter(move |told| told.segment < first);
        let running = told.filter(move |told| !self.is_gone(told, first, date));
        running.map(|told| &told.range)
    }

    /// The ids of those that were listed when the list began with segment `before`, at `then`, and are not now, when it begins
    /// with `first`, at `date`.
    pub(crate) fn removed(
        &self,
        (before, then): (u64, WallTime),
        (first, date): (u64, WallTime),
    ) -> Vec<&str> {
        let mut removed: Vec<&str> = Vec::new();
        for told in &self.0 {
            let gone = self.is_gone(told, first, date) && !self.is_gone(told, before, then);
            let id = &*told.range.id;
            // Whoever dropped one that came back would not hear of it again.
            let is_back = self
                .0
                .iter()
                .any(|other| other.range.id == id && other.life > told.life);
            if gone && !is_back && !removed.contains(&id) {
                removed.push(id);
            }
        }
        removed
    }

    /// Forgets what was gone when the list began with segment `first`, at `date`.
    pub(crate) fn forget(&mut self, first: u64, date: WallTime) {
        let gone: Vec<_> = self
            .0
            .iter()
            .map(|told| self.is_gone(told, first, date))
            .collect();
        let mut gone = gone.into_iter();
        self.0.retain(|_| !gone.next().unwrap_or(false));
    }

    /// Whether a list that begins with segment `first`, at `date`, does not tell of it any more.
    fn is_gone(&self, told: &Told, first: u64, date: WallTime) -> bool {
        let all = || {
            let same = |other: &&Told| other.range.id == told.range.id && other.life == told.life;
            self.0.iter().filter(same)
        };
        let over = all().filter_map(|told| told.range.ends()).next_back();
        over.is_some_and(|ends| ends <= date) && all().all(|told| told.segment < first)
    }
}

/// Ten a second, for longer than a window; then the oldest goes.
const MOST: usize = 512;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(id: &str, start: i64) -> DateRange {
        DateRange {
            id: id.into(),
            class: None,
            start: WallTime::from_millis(start * 1000),
            end: None,
            duration: None,
            planned: None,
            others: Vec::new(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let full = DateRange {
            class: Some("com.example.ad".into()),
            end: Some(WallTime::from_millis(1_769_000_060_000)),
            duration: Some(MediaTime::from_seconds(60.0)),
            planned: Some(MediaTime::from_seconds(60.5)),
            others: vec![
                ("SCTE35-OUT".into(), Value::Octets(vec![0xfc, 0x30, 0x0a])),
                ("X-COM-EXAMPLE-NAME".into(), Value::Text("a, b = c".into())),
                ("X-COM-EXAMPLE-SCORE".into(), Value::Number(1.5)),
            ],
            ..range("break-7", 1_769_000_000)
        };
        let text = full.to_string();
        assert!(
            text.contains("SCTE35-OUT=0xFC300A,X-COM-EXAMPLE-NAME=\"a, b = c\","),
            "{text}"
        );
        assert_eq!(read(&text), Some(full));
        let odd = DateRange {
            class: Some("a\"b\nc".into()),
            ..range("x", 0)
        };
        assert_eq!(
            read(&odd.to_string()).unwrap().class.as_deref(),
            Some("abc")
        );
        for wrong in [
            "",
            "ID=\"a\"",
            "START-DATE=\"2026-01-01T00:00:00Z\"",
            "ID=\"a\",START-DATE=\"soon\"",
            "=,=,=",
            "ID=\"",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_break_is_listed_until_it_is_over_even_when_its_segment_has_gone() {
        let at = |seconds: i64| WallTime::from_millis(seconds * 1000);
        let mut ranges = Ranges::default();
        let begins = (10, at(20));
        ranges.put(
            10,
            DateRange {
                planned: Some(MediaTime::from_seconds(60.0)),
                ..range("ad", 20)
            },
            begins,
        );
        ranges.put(
            11,
            DateRange {
                duration: Some(MediaTime::ZERO),
                ..range("note", 22)
            },
            begins,
        );
        let ids = |ranges: &Ranges, first, date| {
            ranges
                .running(first, at(date))
                .map(|one| one.id.clone())
                .collect::<Vec<_>>()
        };
        assert!(
            ids(&ranges, 10, 20).is_empty(),
            "its own segment tells of it"
        );
        assert_eq!(ids(&ranges, 12, 24), ["ad"]);
        assert_eq!(ids(&ranges, 39, 79), ["ad"]);
        assert!(ids(&ranges, 40, 80).is_empty());
        // It ends sooner than planned.
        ranges.put(
            20,
            DateRange {
                end: Some(at(40)),
                ..range("ad", 20)
            },
            (16, at(32)),
        );
        assert_eq!(ids(&ranges, 19, 38), ["ad"]);
        assert_eq!(
            ids(&ranges, 20, 41),
            ["ad"],
            "what is said of it goes together"
        );
        assert!(ids(&ranges, 21, 41).is_empty());
        assert_eq!(ranges.removed((15, at(30)), (21, at(41))), ["ad"]);
        assert_eq!(ranges.removed((8, at(16)), (14, at(28))), ["note"]);
        assert!(ranges.removed((21, at(42)), (27, at(54))).is_empty());
        // Of the same name, but another.
        ranges.put(22, range("ad", 44), (21, at(42)));
        assert_eq!(ids(&ranges, 23, 46), ["ad"]);
        assert!(ranges.removed((15, at(30)), (23, at(46))).is_empty());
        ranges.forget(30, at(60));
        assert_eq!(ranges.0.len(), 1);
    }

    proptest! {
        #[test]
        fn nothing_that_is_read_panics_or_changes_when_written_again(text in "[A-Z0-9x=,\"\\-.:TZ ]{0,80}") {
            if let Some(range) = read(&text) {
                prop_assert_eq!(read(&range.to_string()).map(|one| one.id), Some(range.id));
            }
        }
    }
}
