//! Common Media Client Data (CTA-5004, versions 1 and 2): what a player says of itself with a request.
//!
//! It comes in the query (`?CMCD=`, percent-encoded) or in four headers, as `key=value` with commas
//! between; version 2 puts some values into lists (`bl=(2100;v 3200;a)`). Players are many and some
//! of them wrong, so that what is not understood is passed over, and nothing is ever refused for it.
//! Pure: what is believed of it is `adaptation`'s to decide.

use std::time::Duration;

use adaptation::Hint;
use axum::http::HeaderMap;
use playlists::Bitrate;
use url::form_urlencoded;

/// What a request said of its player; of each key the last that was understood.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cmcd {
    /// `bl`: media that is buffered.
    pub buffer: Option<Duration>,
    /// `dl`: until that has to be here.
    pub deadline: Option<Duration>,
    /// `mtp`: what the player measured.
    pub throughput: Option<Bitrate>,
    /// `rtp`: what it asks to be sent at most.
    pub requested: Option<Bitrate>,
    /// `tb`: the dearest rung that it can play.
    pub top: Option<Bitrate>,
    /// `bs`: it ran dry since its last request.
    pub starved: bool,
    /// `su`: it needs this at once: it starts, has sought, or has run dry.
    pub urgent: bool,
    /// `sta`, of version 2.
    pub state: Option<State>,
    pub object: Option<Object>,
}

/// What the player does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    Starting,
    Playing,
    Seeking,
    Rebuffering,
    Paused,
    Other,
}

/// `ot`: what is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Object {
    Manifest,
    Audio,
    Video,
    Init,
    Other,
}

impl Cmcd {
    /// What a request with this query and these headers says; `None` if it says nothing.
    pub fn of(query: Option<&str>, headers: &HeaderMap) -> Option<Self> {
        let mut said = Self::default();
        // A player sends it in one of the two ways.
        let queried = query.filter(|query| query.contains(KEY)).and_then(|query| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.find(|(key, _)| key == KEY).map(|(_, value)| value)
        });
        match queried {
            Some(text) => said.read(capped(&text)),
            None => {
                let mut left = LONGEST;
                for name in HEADERS {
                    let text = headers.get(name).and_then(|value| value.to_str().ok());
                    if let Some(text) = text.filter(|text| text.len() <= left) {
                        left -= text.len();
                        said.read(text);
                    }
                }
            }
        }
        (said != Self::default()).then_some(said)
    }

    /// What is to be heard of it when a rung is chosen; `part` if a part is asked for, not a whole segment.
    ///
    /// What a player measured over parts is no throughput: that read 72 Mbit/s on a path of 17.
    pub fn hint(&self, part: bool) -> Hint {
        let starved = self.starved || self.state == Some(State::Rebuffering);
        Hint {
            buffer: self.buffer,
            starved,
            throughput: self.throughput.filter(|_| !part),
            top: self.top,
            requested: self.requested,
        }
    }

    fn read(&mut self, text: &str) {
        for pair in Pairs(text) {
            let (key, value) = match pair.split_once('=') {
                Some((key, value)) => (key.trim(), value.trim()),
                // A key alone is true.
                None => (pair.trim(), "?1"),
            };
            match key {
                "bl" => put(&mut self.buffer, number(value).map(Duration::from_millis)),
                "dl" => put(&mut self.deadline, number(value).map(Duration::from_millis)),
                "mtp" => put(&mut self.throughput, rate(value)),
                "rtp" => put(&mut self.requested, rate(value)),
                "tb" => put(&mut self.top, rate(value)),
                "bs" => self.starved = truth(value).unwrap_or(self.starved),
                "su" => self.urgent = truth(value).unwrap_or(self.urgent),
                "sta" => self.state = Some(state(value)),
                "ot" => self.object = Some(object(value)),
                _ => {}
            }
        }
    }
}

/// `query` without what it says of a player: no part of a name, and only of this one request.
pub fn without(query: &str) -> impl Iterator<Item = &str> {
    let said = |pair: &&str| pair.split('=').next() != Some(KEY);
    query.split('&').filter(said)
}

fn put<T>(place: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *place = value;
    }
}

/// The pairs of a text, at commas that are in no string and in no list.
struct Pairs<'a>(&'a str);

impl<'a> Iterator for Pairs<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.0.is_empty() {
            return None;
        }
        let (mut quoted, mut escaped, mut depth) = (false, false, 0u32);
        let end = self.0.bytes().position(|octet| {
            match octet {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ if quoted => {}
                b'(' => depth += 1,
                b')' => depth = depth.saturating_sub(1),
                b',' => return depth == 0,
                _ => {}
            }
            false
        });
        let (pair, rest) = match end {
            Some(end) => (&self.0[..end], &self.0[end + 1..]),
            None => (self.0, ""),
        };
        self.0 = rest;
        Some(pair)
    }
}

/// Of a list the entry of the picture, if one says that it is, else the first.
fn number(value: &str) -> Option<u64> {
    let Some(list) = value.strip_prefix('(') else {
        return integer(value.split(';').next()?);
    };
    let list = list.split(')').next()?;
    let entries = || list.split([' ', ',']).filter(|entry| !entry.is_empty());
    let picture = |entry: &&str| {
        let mut parameters = entry.split(';').skip(1);
        parameters.any(|parameter| matches!(parameter, "v" | "av"))
    };
    let chosen = entries().find(picture).or_else(|| entries().next())?;
    integer(chosen.split(';').next()?)
}

/// Some players do not round; what is below zero or not finite is nothing.
fn integer(text: &str) -> Option<u64> {
    let digits = |c: char| c.is_ascii_digit() || c == '.';
    if text.is_empty() || !text.chars().all(digits) {
        return None;
    }
    let number = text
        .parse::<f64>()
        .ok()
        .filter(|number| number.is_finite())?;
    Some((number.round() as u64).min(MOST))
}

/// Kilobits per second; 0 is how hls.js says that it does not know.
fn rate(value: &str) -> Option<Bitrate> {
    number(value)
        .filter(|kbps| *kbps > 0)
        .map(Bitrate::from_kbps)
}

fn truth(value: &str) -> Option<bool> {
    match value {
        "?1" | "true" | "1" => Some(true),
        "?0" | "false" | "0" => Some(false),
        _ => None,
    }
}

fn state(value: &str) -> State {
    match value {
        "s" | "d" => State::Starting,
        "p" => State::Playing,
        "k" => State::Seeking,
        "r" => State::Rebuffering,
        "a" => State::Paused,
        _ => State::Other,
    }
}

fn object(value: &str) -> Object {
    match value {
        "m" => Object::Manifest,
        "a" => Object::Audio,
        "v" | "av" => Object::Video,
        "i" => Object::Init,
        _ => Object::Other,
    }
}

/// As much of `text` as is read; what is cut in the middle is no pair.
fn capped(text: &str) -> &str {
    if text.len() <= LONGEST {
        return text;
    }
    let end = text.floor_char_boundary(LONGEST);
    text[..end].rsplit_once(',').map_or("", |(whole, _)| whole)
}

const KEY: &str = "CMCD";
const HEADERS: [&str; 4] = ["cmcd-object", "cmcd-request", "cmcd-session", "cmcd-status"];

/// Octets that are read of a request.
const LONGEST: usize = 2048;

/// Above any time in milliseconds, and any rate in kbit/s, that could be meant.
const MOST: u64 = 1 << 32;

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn queried(text: &str) -> Option<Cmcd> {
        let query: String = form_urlencoded::Serializer::new("r=3".to_owned())
            .append_pair("CMCD", text)
            .finish();
        Cmcd::of(Some(&query), &HeaderMap::new())
    }

    fn with_headers(headers: &[(&'static str, &str)]) -> Option<Cmcd> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect();
        Cmcd::of(Some("r=3"), &headers)
    }

    #[test]
    fn what_hls_js_sends_is_understood() {
        let said = queried(
            r#"bl=21300,br=3200,bs,d=4004,mtp=25400,ot=v,rtp=15000,sf=h,sid="6e2f,b=\"1",su,tb=6000"#,
        );
        assert_eq!(
            said,
            Some(Cmcd {
                buffer: Some(Duration::from_millis(21_300)),
                throughput: Some(Bitrate::from_kbps(25_400)),
                requested: Some(Bitrate::from_kbps(15_000)),
                top: Some(Bitrate::from_kbps(6_000)),
                starved: true,
                urgent: true,
                object: Some(Object::Video),
                ..Cmcd::default()
            })
        );
    }

    #[test]
    fn lists_of_version_2_speak_for_the_picture() {
        let said = queried("bl=(900;a 2100;v),mtp=(4200),sta=r,tb=(128;a 6000;v),v=2").unwrap();
        assert_eq!(said.buffer, Some(Duration::from_millis(2100)));
        assert_eq!(said.throughput, Some(Bitrate::from_kbps(4200)));
        assert_eq!(said.top, Some(Bitrate::from_kbps(6000)));
        assert!(said.hint(false).starved, "it says that it rebuffers");
    }

    #[test]
    fn headers_say_the_same_as_the_query() {
        let headers = [
            ("cmcd-request", "bl=1500,mtp=3000,su"),
            ("cmcd-object", "ot=v,tb=2500"),
            ("cmcd-status", "bs"),
            ("cmcd-session", "sid=\"x\",v=2"),
        ];
        assert_eq!(
            with_headers(&headers),
            queried("bl=1500,mtp=3000,su,ot=v,tb=2500,bs")
        );
    }

    #[test]
    fn nothing_and_nonsense_say_nothing() {
        assert_eq!(Cmcd::of(None, &HeaderMap::new()), None);
        for text in [
            "",
            ",,,=,",
            "bl=",
            "bl=-5",
            "bl=1e9",
            "mtp=0,rtp=0",
            "bl=(,mtp=5",
            "BL=5",
        ] {
            assert_eq!(queried(text), None, "{text:?}");
        }
    }

    #[test]
    fn no_more_is_read_than_two_kilobytes() {
        let long = format!("bl=700,sid=\"{}\",mtp=5", "x".repeat(LONGEST));
        assert_eq!(queried(&long).unwrap().throughput, None);
        assert_eq!(
            queried(&long).unwrap().buffer,
            Some(Duration::from_millis(700))
        );
        let long = "x".repeat(LONGEST);
        assert_eq!(
            with_headers(&[("cmcd-request", &format!("bl=7,sid={long}"))]),
            None
        );
    }

    #[test]
    fn what_a_player_measured_over_parts_does_not_count() {
        let said = queried("mtp=3000").unwrap();
        assert_eq!(said.hint(false).throughput, Some(Bitrate::from_kbps(3000)));
        assert_eq!(said.hint(true).throughput, None);
    }

    #[test]
    fn a_query_is_the_same_without_it() {
        let rest = |query| without(query).collect::<Vec<_>>().join("&");
        assert_eq!(rest("r=3&CMCD=bl%3D5%2Csu&_HLS_msn=7"), "r=3&_HLS_msn=7");
        assert_eq!(rest("CMCD=bl%3D5"), "");
        assert_eq!(rest("CMCDX=1"), "CMCDX=1");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "\\PC*") {
            if let Some(said) = queried(&text) {
                let hint = said.hint(false);
                prop_assert!(hint.buffer.is_none_or(|buffer| buffer <= Duration::from_millis(MOST)));
                prop_assert!(hint.throughput.is_none_or(|rate| rate > Bitrate::ZERO));
            }
        }

        #[test]
        fn pairs_are_the_text_again(text in "[a-z=,()\"\\\\ ]{0,40}") {
            let again = Pairs(&text).collect::<Vec<_>>().join(",");
            // But for a comma at the end, behind which there is nothing.
            prop_assert_eq!(again.trim_end_matches(','), text.trim_end_matches(','));
        }

        #[test]
        fn what_is_said_is_heard(buffer in 0u64..100_000, rate in 1u64..1_000_000, starved: bool) {
            let starving = if starved { ",bs" } else { "" };
            let said = queried(&format!("bl={buffer},cid=\"a,bl=1\",mtp={rate}{starving}")).unwrap();
            prop_assert_eq!(said.buffer, Some(Duration::from_millis(buffer)));
            prop_assert_eq!(said.throughput, Some(Bitrate::from_kbps(rate)));
            prop_assert_eq!(said.starved, starved);
        }
    }
}
