//! Subtitles: what containers call text, made cues, and cues made WebVTT files of one segment each.
//!
//! Pure. Which tracks there are and when a segment ends is others' to say.

use std::collections::VecDeque;

use playlists::MediaTime;

/// How a container writes the text of a subtitle.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Writing {
    /// WebVTT cue text.
    WebVtt,
    /// SubRip, or plain text: WebVTT's own tags and others.
    SubRip,
    /// 3GPP timed text (TS 26.245): a length of 16 bit, then text.
    Timed,
    /// A line of Advanced SubStation Alpha, of which the text is the ninth field.
    Ass,
}

/// A text, and when it is shown. Times are the run's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Cue {
    pub(crate) start: MediaTime,
    pub(crate) end: MediaTime,
    /// WebVTT cue settings, such as `line:0`; mostly empty.
    pub(crate) settings: String,
    /// WebVTT cue text, never empty, without an empty line.
    pub(crate) text: String,
}

/// The cues of one track that are still to be shown.
#[derive(Debug)]
pub(crate) struct Captions {
    /// Media time of the run's beginning.
    origin: MediaTime,
    cues: VecDeque<Cue>,
}

impl Captions {
    pub(crate) fn new(origin: MediaTime) -> Self {
        Self {
            origin,
            cues: VecDeque::new(),
        }
    }

    /// The oldest goes when there are more than anybody could read.
    pub(crate) fn put(&mut self, cue: Cue) {
        if self.cues.len() == MOST {
            self.cues.pop_front();
        }
        self.cues.push_back(cue);
    }

    /// The file of the segment from `from` to `until`: every cue that is shown in it, whole, as a player may start
    /// here (RFC 8216bis section 3.1.4).
    pub(crate) fn take(&mut self, from: MediaTime, until: MediaTime) -> String {
        let mut text = format!(
            "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:{}\n",
            self.origin.to_ticks(90_000).rem_euclid(1 << 33)
        );
        for cue in &self.cues {
            if cue.start < until && cue.end > from {
                let settings = if cue.settings.is_empty() { "" } else { " " };
                text += &format!(
                    "\n{} --> {}{settings}{}\n{}\n",
                    clock(cue.start),
                    clock(cue.end),
                    cue.settings,
                    cue.text
                );
            }
        }
        self.cues.retain(|cue| cue.end > until);
        text
    }
}

impl Writing {
    /// What `packet` says, as WebVTT cue text. `None`: nothing.
    pub(crate) fn read(self, packet: &[u8]) -> Option<String> {
        let packet = match self {
            Self::Timed => {
                let (length, rest) = packet.split_first_chunk::<2>()?;
                rest.get(..usize::from(u16::from_be_bytes(*length)))?
            }
            _ => packet,
        };
        let text = String::from_utf8_lossy(packet);
        let text = match self {
            Self::WebVtt => text.into_owned(),
            Self::SubRip => tags(&unbraced(&text)),
            Self::Timed => escaped(&text),
            Self::Ass => {
                let text = text.splitn(9, ',').nth(8)?;
                let text = unbraced(text).replace("\\N", "\n").replace("\\n", "\n");
                escaped(&text.replace("\\h", " "))
            }
        };
        let lines = text.lines().map(str::trim_end);
        let text = lines
            .filter(|line| !line.is_empty())
            .map(|line| line.replace("-->", "--&gt;").replace('\0', ""))
            .take(LINES)
            .collect::<Vec<_>>()
            .join("\n");
        let text: String = text.chars().take(CHARACTERS).collect();
        (!text.trim().is_empty()).then_some(text)
    }
}

/// Without `{\...}`, which gives positions and styles.
fn unbraced(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{\\") {
        plain += before;
        rest = after.split_once('}').map_or("", |(_, rest)| rest);
    }
    plain + rest
}

/// Keeps the tags that WebVTT has as well, and escapes the rest.
fn tags(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        kept += &escaped(before);
        let (tag, behind) = after.split_once('>').unwrap_or(("", after));
        let name = tag.trim_start_matches('/').to_ascii_lowercase();
        if ["b", "i", "u"].contains(&name.as_str()) {
            kept += &format!("<{}>", tag.to_ascii_lowercase());
        } else if !name.starts_with("font") {
            kept += "&lt;";
            rest = after;
            continue;
        }
        rest = behind;
    }
    kept + &escaped(rest)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// `HH:MM:SS.mmm`, with as many digits for hours as it takes.
fn clock(time: MediaTime) -> String {
    let millis = time.to_ticks(1000).max(0);
    let (seconds, millis) = (millis / 1000, millis % 1000);
    format!(
        "{:02}:{:02}:{:02}.{millis:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Cues of one track that wait at a time.
const MOST: usize = 256;
const LINES: usize = 8;
const CHARACTERS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> MediaTime {
        MediaTime::from_seconds(seconds)
    }

    fn cue(start: f64, end: f64, text: &str) -> Cue {
        Cue {
            start: seconds(start),
            end: seconds(end),
            settings: String::new(),
            text: text.into(),
        }
    }

    #[test]
    fn a_cue_is_in_every_segment_that_shows_it() {
        let mut captions = Captions::new(seconds(10.0));
        captions.put(cue(1.5, 3.5, "over the edge"));
        captions.put(cue(3.6, 3.9, "later"));
        let first = captions.take(seconds(0.0), seconds(2.0));
        assert_eq!(
            first,
            "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:900000\n\n00:00:01.500 --> 00:00:03.500\nover the edge\n"
        );
        let second = captions.take(seconds(2.0), seconds(4.0));
        assert!(second.contains("over the edge") && second.contains("later"));
        let third = captions.take(seconds(4.0), seconds(6.0));
        assert!(!third.contains("-->"), "{third}");
    }

    #[test]
    fn every_writing_comes_out_as_cue_text() {
        let read = |writing: Writing, text: &[u8]| writing.read(text).unwrap_or_default();
        assert_eq!(read(Writing::WebVtt, b"<v Ann>hi"), "<v Ann>hi");
        assert_eq!(
            read(
                Writing::SubRip,
                b"{\\an8}<I>a</I> <font color=red>b</font> 1 < 2\n\nc"
            ),
            "<i>a</i> b 1 &lt; 2\nc"
        );
        assert_eq!(read(Writing::Timed, b"\0\x03a&b trailing"), "a&amp;b");
        assert_eq!(
            read(Writing::Ass, b"0,0,Default,,0,0,0,,{\\i1}one\\Ntwo, three"),
            "one\ntwo, three"
        );
        assert_eq!(Writing::Timed.read(b"\0\x09short"), None);
        assert_eq!(Writing::Ass.read(b"not, a, line"), None);
        assert_eq!(Writing::SubRip.read(b" \n \n"), None);
        assert_eq!(read(Writing::WebVtt, b"a --> b"), "a --&gt; b");
    }

    #[test]
    fn a_flood_of_cues_stays_bounded() {
        let mut captions = Captions::new(MediaTime::ZERO);
        for number in 0..10_000 {
            captions.put(cue(0.0, 1e6, &number.to_string()));
        }
        assert_eq!(captions.cues.len(), MOST);
    }
}
