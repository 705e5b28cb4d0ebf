//! Octets that have a name, as an answer: whole, a range of them, or the word that whoever asks
//! has them already (RFC 9110 sections 13 and 14). What the octets are is the caller's business.

use std::ops::Range;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use playlists::Segment;

use super::{
    NO_STORE,
    delivery::{Delivery, Measure},
};
use crate::store;

/// One named object, ready to be sent.
#[derive(Debug)]
pub struct Piece {
    pub chunks: Vec<Bytes>,
    /// Strong entity tag without its quotes: two answers with one tag are the same octets.
    pub tag: String,
    pub kind: &'static str,
    /// `Cache-Control`.
    pub cache: &'static str,
    /// How it went is to be known.
    pub measure: Option<Measure>,
}

/// What was asked for of the object.
#[derive(Debug, Eq, PartialEq)]
enum Wanted {
    Whole,
    Part(Range<u64>),
    /// Who asks holds it.
    Nothing,
    /// There is nothing where the range begins.
    Outside,
}

impl Piece {
    /// Waits, on a thread that may, until the octets of something that is on disk are in memory. What cannot be
    /// read is answered as if there were nothing to play there: players end over an error.
    pub async fn from_disk(mut self) -> Self {
        let chunks = self.chunks.clone();
        let read = tokio::task::spawn_blocking(move || {
            chunks.iter().try_for_each(|chunk| store::populate(chunk))
        });
        let why = match read.await {
            Ok(Ok(())) => return self,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(
            object = self.tag,
            why,
            "cannot be read back from the DVR; sent as a gap"
        );
        self.tag = format!("gap-{}", self.tag);
        self.cache = NO_STORE;
        self.measure = None;
        self.chunks = vec![Segment::nothing()];
        self
    }

    pub fn length(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.len() as u64).sum()
    }

    /// The answer to a request with these `headers`.
    pub fn answer(self, headers: &HeaderMap) -> Response {
        let length = self.length();
        let tag = format!("\"{}\"", self.tag);
        let wanted = wanted(headers, &tag, length);
        let mut answer = HeaderMap::with_capacity(6);
        let mut put = |name, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                answer.insert(name, value);
            }
        };
        put(header::ETAG, &tag);
        put(header::CACHE_CONTROL, self.cache);
        put(header::ACCEPT_RANGES, "bytes");
        if wanted != Wanted::Nothing && wanted != Wanted::Outside {
            put(header::CONTENT_TYPE, self.kind);
        }
        match wanted {
            Wanted::Nothing => (StatusCode::NOT_MODIFIED, answer).into_response(),
            Wanted::Outside => {
                put(header::CONTENT_RANGE, &format!("bytes */{length}"));
                (StatusCode::RANGE_NOT_SATISFIABLE, answer).into_response()
            }
            Wanted::Whole => {
                let body = Delivery::new(self.chunks, self.measure);
                (answer, Body::new(body)).into_response()
            }
            Wanted::Part(range) => {
                let said = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                put(header::CONTENT_RANGE, &said);
                let share = |at: u64| at as f64 / length.max(1) as f64;
                let shares = share(range.start)..share(range.end);
                let measure = self.measure.map(|measure| measure.cut(shares));
                let chunks = cut(&self.chunks, &range);
                let body = Body::new(Delivery::new(chunks, measure));
                (StatusCode::PARTIAL_CONTENT, answer, body).into_response()
            }
        }
    }
}

/// What of `chunks` lies in `range`; shared, not copied.
fn cut(chunks: &[Bytes], range: &Range<u64>) -> Vec<Bytes> {
    let mut at = 0;
    let mut parts = Vec::new();
    for chunk in chunks {
        let length = chunk.len() as u64;
        let from = range.start.clamp(at, at + length) - at;
        let to = range.end.clamp(at, at + length) - at;
        if from < to {
            // Both are within the chunk, whose length is a usize.
            parts.push(chunk.slice(from as usize..to as usize));
        }
        at += length;
    }
    parts
}

/// Preconditions come before the range (RFC 9110 section 13.2.2).
fn wanted(headers: &HeaderMap, tag: &str, length: u64) -> Wanted {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text(header::IF_NONE_MATCH).is_some_and(|known| lists(known, tag)) {
        return Wanted::Nothing;
    }
    let Some(range) = text(header::RANGE) else {
        return Wanted::Whole;
    };
    // A date is no tag of ours, so that it never holds: the octets have none.
    if text(header::IF_RANGE).is_some_and(|known| known.trim() != tag) {
        return Wanted::Whole;
    }
    ranged(range, length)
}

/// Compared weakly, as `If-None-Match` wants it (RFC 9110 section 13.1.2).
fn lists(known: &str, tag: &str) -> bool {
    known
        .split(',')
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// One range is answered; several, another unit or none that is understood are as if there were
/// none (RFC 9110 section 14.2).
fn ranged(header: &str, length: u64) -> Wanted {
    let Some((unit, range)) = header.split_once('=') else {
        return Wanted::Whole;
    };
    let Some((first, last)) = range.trim().split_once('-') else {
        return Wanted::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    match (number(first), number(last)) {
        // The last so many octets.
        (Some(None), Some(Some(suffix))) => match suffix.min(length) {
            0 => Wanted::Outside,
            suffix => Wanted::Part(length - suffix..length),
        },
        (Some(Some(first)), Some(last)) => {
            let last = last.unwrap_or(u64::MAX);
            if last < first {
                return Wanted::Whole;
            }
            match first < length {
                true => Wanted::Part(first..last.saturating_add(1).min(length)),
                false => Wanted::Outside,
            }
        }
        _ => Wanted::Whole,
    }
}

/// Digits or nothing; `None` if it is neither. What is too large for a number is as large as one gets.
fn number(text: &str) -> Option<Option<u64>> {
    let text = text.trim();
    match text.is_empty() {
        true => Some(None),
        false => text
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| Some(text.parse().unwrap_or(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn a_range_is_single_or_as_if_it_were_not_there() {
        for (text, wanted) in [
            ("bytes=0-9", Wanted::Part(0..10)),
            ("Bytes = 5-", Wanted::Part(5..100)),
            ("bytes=90-500", Wanted::Part(90..100)),
            ("bytes=99-99999999999999999999999", Wanted::Part(99..100)),
            ("bytes=-10", Wanted::Part(90..100)),
            ("bytes=-500", Wanted::Part(0..100)),
            ("bytes=100-", Wanted::Outside),
            ("bytes=-0", Wanted::Outside),
            ("bytes=7-3", Wanted::Whole),
            ("bytes=0-1,5-6", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("seconds=0-9", Wanted::Whole),
            ("garbage", Wanted::Whole),
        ] {
            assert_eq!(ranged(text, 100), wanted, "{text}");
        }
        assert_eq!(ranged("bytes=0-", 0), Wanted::Outside);
    }

    #[test]
    fn preconditions_come_before_the_range() {
        let range = (header::RANGE, "bytes=0-9");
        for (name, value, expected) in [
            (header::IF_NONE_MATCH, "\"b\", W/\"a\"", Wanted::Nothing),
            (header::IF_NONE_MATCH, "*", Wanted::Nothing),
            (header::IF_NONE_MATCH, "\"b\"", Wanted::Part(0..10)),
            (header::IF_RANGE, "\"a\"", Wanted::Part(0..10)),
            (header::IF_RANGE, "W/\"a\"", Wanted::Whole),
            (
                header::IF_RANGE,
                "Sat, 21 Nov 2026 10:00:00 GMT",
                Wanted::Whole,
            ),
        ] {
            let asked = headers(&[range.clone(), (name.clone(), value)]);
            assert_eq!(wanted(&asked, "\"a\"", 100), expected, "{name}: {value}");
        }
    }

    proptest! {
        #[test]
        fn a_cut_is_what_lies_there(
            lengths in prop::collection::vec(0..20usize, 0..6), from in 0..80u64, span in 1..80u64,
        ) {
            let mut octets = (0..=255u8).cycle();
            let chunks: Vec<Bytes> = lengths
                .iter()
                .map(|length| octets.by_ref().take(*length).collect::<Vec<_>>().into())
                .collect();
            let whole = chunks.concat();
            let (from, to) = (from.min(whole.len() as u64), (from + span).min(whole.len() as u64));
            prop_assert_eq!(cut(&chunks, &(from..to)).concat(), &whole[from as usize..to as usize]);
        }

        #[test]
        fn no_range_reaches_beyond_the_octets(text in "[a-z]{0,6}=?[0-9 ]{0,24}-?[0-9,-]{0,24}", length in 0..1000u64) {
            if let Wanted::Part(range) = ranged(&text, length) {
                prop_assert!(range.start < range.end && range.end <= length);
            }
        }
    }
}
