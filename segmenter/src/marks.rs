//! What is said beside sound and pictures: breaks for advertisements (SCTE 35) and timed metadata (ID3), made marks for
//! playlists.
//!
//! Pure. Where such packets come from and who writes the playlist is others' to say.

use std::collections::VecDeque;

use media::scte35::{self, Edge, Splice};
use playlists::{MediaTime, daterange::Value};
use segmenter::wire::Mark;

/// How a packet beside sound and pictures is to be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Splice,
    Id3,
}

/// A packet of a kind, and when it came.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) kind: Kind,
    /// By the input's clock.
    pub(crate) time: MediaTime,
    pub(crate) octets: Vec<u8>,
}

/// Makes marks of one run.
#[derive(Debug)]
pub(crate) struct Marks {
    /// Media time of the run's beginning.
    origin: MediaTime,
    /// Events that have begun, for what is said of their end; and what was said, for it is mostly said more than once.
    begun: VecDeque<Begun>,
    said: VecDeque<(Option<u32>, Edge, MediaTime)>,
    tags: u64,
}

#[derive(Debug)]
struct Begun {
    event: u32,
    id: String,
    start: MediaTime,
}

impl Marks {
    pub(crate) fn new(origin: MediaTime) -> Self {
        Self {
            origin,
            begun: VecDeque::new(),
            said: VecDeque::new(),
            tags: 0,
        }
    }

    /// What `note` says, which came at `at`, on the run's own time.
    pub(crate) fn read(&mut self, note: &Note, at: MediaTime) -> Result<Vec<Mark>, String> {
        match note.kind {
            Kind::Splice => {
                let splices = scte35::splices(&note.octets).map_err(|why| why.to_string())?;
                let marks = splices.iter().filter_map(|splice| {
                    let ahead = splice
                        .time
                        .map_or(MediaTime::ZERO, |time| ahead(note.time, time));
                    self.splice(splice, at + ahead, &note.octets)
                });
                Ok(marks.collect())
            }
            Kind::Id3 => self.id3(&note.octets, at).map(|mark| vec![mark]),
        }
    }

    fn splice(&mut self, splice: &Splice, at: MediaTime, section: &[u8]) -> Option<Mark> {
        let start = self.origin + at;
        let (event, edge) = (splice.event, splice.edge);
        let again = |said: &(Option<u32>, Edge, MediaTime)| {
            let apart = said.2 - start;
            (said.0, said.1) == (event, edge) && apart.max(start - said.2) < SAME
        };
        if self.said.iter().any(again) {
            return None;
        }
        remember(&mut self.said, (event, edge, start));
        let millis = start.to_ticks(1000);
        let id = match event {
            Some(event) => format!("splice-{event:08x}-{millis}"),
            None => format!("splice-{millis}"),
        };
        let section = Value::Octets(section.to_vec());
        let mark = |name: &str| Mark {
            id,
            class: None,
            start,
            end: None,
            duration: None,
            planned: splice.duration.map(ticks),
            others: vec![(name.to_owned(), section)],
        };
        let begun = self
            .begun
            .iter()
            .position(|begun| Some(begun.event) == event);
        match edge {
            Edge::Out => {
                let mark = mark("SCTE35-OUT");
                if let Some(event) = event {
                    let id = mark.id.clone();
                    remember(&mut self.begun, Begun { event, id, start });
                }
                Some(mark)
            }
            // The end is said of what began, by its id and its beginning (RFC 8216bis section 4.4.5.1.1).
            Edge::In | Edge::Cancelled => {
                let name = if edge == Edge::In {
                    "SCTE35-IN"
                } else {
                    "SCTE35-CMD"
                };
                let begun = begun.and_then(|place| self.begun.remove(place));
                let mark = Mark {
                    planned: None,
                    ..mark(name)
                };
                match begun {
                    Some(begun) => Some(Mark {
                        id: begun.id,
                        start: begun.start,
                        end: Some(start.max(begun.start)),
                        ..mark
                    }),
                    None if edge == Edge::Cancelled => None,
                    None => Some(Mark {
                        duration: Some(MediaTime::ZERO),
                        ..mark
                    }),
                }
            }
            Edge::Other => {
                let mark = mark("SCTE35-CMD");
                let moment = mark.planned.is_none().then_some(MediaTime::ZERO);
                Some(Mark {
                    duration: moment,
                    ..mark
                })
            }
        }
    }

    fn id3(&mut self, tag: &[u8], at: MediaTime) -> Result<Mark, String> {
        let tag = whole(tag).ok_or("it does not begin like an ID3 tag")?;
        if tag.len() > LONGEST {
            let length = tag.len();
            return Err(format!(
                "an ID3 tag of {length} octets; a playlist takes {LONGEST}"
            ));
        }
        self.tags += 1;
        let start = self.origin + at;
        Ok(Mark {
            id: format!("id3-{}-{}", start.to_ticks(1000), self.tags),
            class: Some(ID3.to_owned()),
            start,
            end: None,
            duration: Some(MediaTime::ZERO),
            planned: None,
            others: vec![("X-ID3".to_owned(), Value::Octets(tag))],
        })
    }
}

/// A tag as it was sent. FFmpeg 5.1 takes its first five octets for the head of an access unit (ISO/IEC 13818-1 section 2.12.4),
/// which such streams have not; what is left says how long it is, and what is missing is the same in all of them.
fn whole(tag: &[u8]) -> Option<Vec<u8>> {
    if tag.starts_with(b"ID3") {
        return Some(tag.to_vec());
    }
    let [_flags, size @ ..] = *tag.first_chunk::<5>()?;
    let plain = size.iter().all(|octet| octet >> 7 == 0);
    let size = size
        .iter()
        .fold(0usize, |size, octet| size << 7 | usize::from(*octet));
    (plain && size + 5 == tag.len()).then(|| [b"ID3\x04\x00", tag].concat())
}

/// How far `time`, of a clock of 33 bits, is ahead of the same clock's `now`; it may be behind.
fn ahead(now: MediaTime, time: u64) -> MediaTime {
    let now = now.to_ticks(CLOCK) as u64;
    let apart = (time.wrapping_sub(now) << 31) as i64 >> 31;
    MediaTime::from_ticks(apart, CLOCK)
}

fn ticks(ticks: u64) -> MediaTime {
    MediaTime::from_ticks(i64::try_from(ticks).unwrap_or(i64::MAX), CLOCK)
}

/// The oldest goes when there are more than anybody has open at a time.
fn remember<T>(list: &mut VecDeque<T>, one: T) {
    if list.len() == MOST {
        list.pop_front();
    }
    list.push_back(one);
}

const CLOCK: u32 = 90_000;
const MOST: usize = 32;
/// A splice is announced several times, and its time rounded.
const SAME: MediaTime = MediaTime::from_flicks(MediaTime::PER_SECOND / 10);
/// Of a tag that is written in hexadecimal into each playlist.
const LONGEST: usize = 2048;
const ID3: &str = "org.id3";

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> MediaTime {
        MediaTime::from_seconds(seconds)
    }

    fn splice(event: u32, edge: Edge, duration: Option<u64>) -> Splice {
        Splice {
            event: Some(event),
            edge,
            time: None,
            duration,
            kind: None,
        }
    }

    #[test]
    fn a_break_ends_under_the_name_it_began_with() {
        let mut marks = Marks::new(seconds(10.0));
        let mut say = |one: &Splice, at| marks.splice(one, seconds(at), b"\xfc");
        let out = say(&splice(7, Edge::Out, Some(30 * 90_000)), 4.0).unwrap();
        assert_eq!(
            (out.id.as_str(), out.start),
            ("splice-00000007-14000", seconds(14.0))
        );
        assert_eq!((out.planned, out.end), (Some(seconds(30.0)), None));
        assert_eq!(
            out.others,
            [("SCTE35-OUT".to_owned(), Value::Octets(vec![0xfc]))]
        );
        assert_eq!(
            say(&splice(7, Edge::Out, Some(30 * 90_000)), 4.05),
            None,
            "said again"
        );
        let end = say(&splice(7, Edge::In, None), 20.0).unwrap();
        assert_eq!(
            (end.id, end.start, end.end),
            (out.id, out.start, Some(seconds(30.0)))
        );
        assert_eq!(end.others[0].0, "SCTE35-IN");
        // Of a beginning that nobody here heard.
        let end = say(&splice(8, Edge::In, None), 21.0).unwrap();
        assert_eq!(
            (end.start, end.duration),
            (seconds(31.0), Some(MediaTime::ZERO))
        );
        assert_eq!(say(&splice(9, Edge::Cancelled, None), 22.0), None);
    }

    #[test]
    fn what_is_cancelled_is_over_before_it_began() {
        let mut marks = Marks::new(MediaTime::ZERO);
        let out = marks
            .splice(&splice(7, Edge::Out, None), seconds(8.0), b"")
            .unwrap();
        let end = marks
            .splice(&splice(7, Edge::Cancelled, None), seconds(5.0), b"")
            .unwrap();
        assert_eq!((end.id, end.end), (out.id, Some(seconds(8.0))));
    }

    #[test]
    fn a_clock_that_starts_over_is_only_a_little_ahead() {
        let wrap = 1 << 33;
        assert_eq!(ahead(ticks(wrap - 90_000), 90_000), seconds(2.0));
        assert_eq!(ahead(ticks(wrap + 90_000), 2 * 90_000), seconds(1.0));
        assert_eq!(ahead(ticks(90_000), 45_000), seconds(-0.5));
    }

    #[test]
    fn a_tag_is_a_moment_with_octets() {
        let mut marks = Marks::new(seconds(10.0));
        let note = |octets: &[u8]| Note {
            kind: Kind::Id3,
            time: MediaTime::ZERO,
            octets: octets.to_vec(),
        };
        let said = marks.read(&note(b"ID3\x04"), seconds(1.5)).unwrap();
        assert_eq!(
            (said[0].start, said[0].duration),
            (seconds(11.5), Some(MediaTime::ZERO))
        );
        assert!(marks.read(&note(b"TAG"), MediaTime::ZERO).is_err());
        // Without its first five octets.
        let said = marks
            .read(&note(b"\0\0\0\0\x02ab"), MediaTime::ZERO)
            .unwrap();
        assert_eq!(
            said[0].others[0].1,
            Value::Octets(b"ID3\x04\0\0\0\0\0\x02ab".to_vec())
        );
        assert!(
            marks
                .read(&note(b"\0\0\0\0\x03ab"), MediaTime::ZERO)
                .is_err()
        );
        let long = [&b"ID3"[..], &[0; LONGEST]].concat();
        assert!(
            marks
                .read(&note(&long), MediaTime::ZERO)
                .unwrap_err()
                .contains("2048")
        );
    }
}
