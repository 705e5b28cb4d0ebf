//! How an answer came over HTTP: whether it came, whole, as what, for whom and for how long.

use std::{collections::BTreeMap, time::Duration};

use super::{
    finding::{Findings, Place},
    listing::Range,
    rule,
};

/// What was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sort {
    Playlist,
    Init,
    Segment,
    Part,
}

/// A request and its answer, without the body.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    pub url: String,
    /// After redirects.
    pub final_url: String,
    pub status: u16,
    /// By their names in lower case.
    pub headers: BTreeMap<String, String>,
    pub octets: u64,
    pub range: Option<Range>,
    /// Since the start.
    pub asked: Duration,
    pub came: Duration,
    /// It did not come, or not whole.
    pub error: Option<String>,
    /// It was longer than is read; only its beginning is here.
    pub truncated: bool,
}

impl Exchange {
    pub fn took(&self) -> Duration {
        self.came.saturating_sub(self.asked)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// There is something to look at.
    pub fn is_well(&self) -> bool {
        self.error.is_none() && matches!(self.status, 200 | 206)
    }

    /// Seconds for which a cache may keep it; `None` if it is not said.
    fn fresh_for(&self) -> Option<u64> {
        let control = self.header("cache-control")?.to_ascii_lowercase();
        let words: Vec<_> = control.split(',').map(str::trim).collect();
        if words
            .iter()
            .any(|word| ["no-store", "no-cache"].contains(word))
        {
            return Some(0);
        }
        let of = |name: &str| {
            words
                .iter()
                .find_map(|word| word.strip_prefix(name)?.trim_matches('"').parse().ok())
        };
        of("s-maxage=").or_else(|| of("max-age="))
    }
}

/// Says what was wrong with an answer. `place` is in the playlist that names what was asked for; `target` is that
/// playlist's target duration, in seconds, if it is live.
pub fn check(
    exchange: &Exchange,
    sort: Sort,
    place: Place,
    target: Option<u64>,
    findings: &mut Findings,
) {
    let place = if sort == Sort::Playlist {
        place
    } else {
        place.media(&exchange.url)
    };
    if let Some(error) = &exchange.error {
        let rule = if exchange.status == 0 {
            &rule::UNREACHABLE
        } else {
            &rule::CUT_SHORT
        };
        return findings.say(rule, place, error, "an answer, whole");
    }
    if !exchange.is_well() {
        let found = format!("status {}", exchange.status);
        return findings.say(&rule::UNREACHABLE, place, found, "200");
    }
    length(exchange, place.clone(), findings);
    kind(exchange, sort, place.clone(), findings);
    let origin = exchange.header("access-control-allow-origin");
    if origin.is_none() {
        let found = "no Access-Control-Allow-Origin";
        findings.say(&rule::CORS, whole(&place), found, "*, or the page's origin");
    }
    if sort == Sort::Playlist && target.is_some() {
        caching(exchange, target.unwrap_or(0), place, findings);
    }
}

/// One line for a playlist and all its media: what its server does to one, it does to all.
fn whole(place: &Place) -> Place {
    Place::of(&place.url)
}

fn length(exchange: &Exchange, place: Place, findings: &mut Findings) {
    if let Some(range) = exchange.range {
        if exchange.status != 206 {
            let found = format!("status {}, {} octets", exchange.status, exchange.octets);
            let expected = format!("206, {} octets from {} on", range.length, range.offset);
            return findings.say(&rule::RANGE, place, found, expected);
        }
        if exchange.octets != range.length && !exchange.truncated {
            let expected = format!("{}, as the byte range says", range.length);
            return findings.say(
                &rule::RANGE,
                place,
                format!("{} octets", exchange.octets),
                expected,
            );
        }
    }
    let said = exchange
        .header("content-length")
        .and_then(|length| length.parse().ok());
    let encoded = exchange.header("content-encoding").is_some();
    if let Some(said) =
        said.filter(|said: &u64| !encoded && !exchange.truncated && *said != exchange.octets)
    {
        let expected = format!("{said}, as Content-Length says");
        findings.say(
            &rule::CUT_SHORT,
            place,
            format!("{} octets", exchange.octets),
            expected,
        );
    }
}

fn kind(exchange: &Exchange, sort: Sort, place: Place, findings: &mut Findings) {
    let kind = exchange.header("content-type").unwrap_or_default();
    let kind = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let path = exchange
        .final_url
        .split(['?', '#'])
        .next()
        .unwrap_or_default();
    let found = if kind.is_empty() {
        "no Content-Type".to_owned()
    } else {
        format!("Content-Type {kind}")
    };
    if sort == Sort::Playlist {
        let known = PLAYLISTS.contains(&kind.as_str());
        if !known && !path.ends_with(".m3u8") && !path.ends_with(".m3u") {
            findings.say(&rule::MIME, whole(&place), found, PLAYLISTS.join(" or "));
        } else if !known {
            findings.say(
                &rule::MIME_ADVICE,
                whole(&place),
                found,
                PLAYLISTS.join(" or "),
            );
        }
        return;
    }
    if !MEDIA.contains(&kind.as_str()) {
        findings.say(
            &rule::MIME_ADVICE,
            whole(&place),
            found,
            "the type of the media, such as video/mp4 or video/mp2t",
        );
    }
}

fn caching(exchange: &Exchange, target: u64, place: Place, findings: &mut Findings) {
    match exchange.fresh_for() {
        None => {
            let expected = "Cache-Control: no-cache, or max-age below the target duration";
            findings.say(
                &rule::CACHING,
                whole(&place),
                "a live playlist without Cache-Control",
                expected,
            );
        }
        Some(seconds) if seconds > target => {
            let found = format!("a live playlist that is kept for {seconds} s");
            findings.say(
                &rule::CACHING,
                whole(&place),
                found,
                format!("{target} s or less"),
            );
        }
        Some(_) => {}
    }
}

/// Section 4.
const PLAYLISTS: &[&str] = &["application/vnd.apple.mpegurl", "audio/mpegurl"];

const MEDIA: &[&str] = &[
    "video/mp4",
    "audio/mp4",
    "application/mp4",
    "video/iso.segment",
    "video/mp2t",
    "audio/aac",
    "audio/aacp",
    "audio/mpeg",
    "audio/ac3",
    "audio/eac3",
    "text/vtt",
];
