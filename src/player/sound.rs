//! Whether what was served is sound: bodies that are whole, playlists that only ever say one
//! thing of a segment.
//!
//! Looks no further than the container: whether the pictures are right needs a decoder.

use playlists::{
    MediaTime, WallTime,
    parse::{ListedSegment, MediaPlaylist},
};

/// A rule that the stream broke. Playback goes on as well as it can.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Fault {
    #[error("segment {number} is empty")]
    Empty { number: u64 },
    #[error("segment {number} is not whole: {why}")]
    Broken { number: u64, why: String },
    #[error("the init section {uri} is not whole: {why}")]
    Init { uri: String, why: String },
    #[error("segments {from} to {to} were never served; they are skipped")]
    Missed { from: u64, to: u64 },
    #[error("segment {number} is listed but was refused {times} times; it is skipped")]
    Refused { number: u64, times: u32 },
    #[error(
        "the numbering went backwards: segment {last} was listed before, now the last is {found}"
    )]
    Rewound { last: u64, found: u64 },
    #[error("segment {number} was listed with {what} {before}, now with {after}")]
    Relisted {
        number: u64,
        what: &'static str,
        before: String,
        after: String,
    },
    #[error(
        "segment {number} starts {millis} ms off the end of the one before, without a discontinuity"
    )]
    Gap { number: u64, millis: i64 },
    #[error("segment {number} is {length} s long, above the target duration of {target} s")]
    TooLong {
        number: u64,
        length: MediaTime,
        target: u64,
    },
}

/// What `list` says against itself and against what was listed `before`, which may have been
/// another node's: the same number is the same moment everywhere.
pub fn playlist(before: Option<&MediaPlaylist>, list: &MediaPlaylist) -> Vec<Fault> {
    let mut faults = Vec::new();
    let known = before.map_or(&[][..], |before| &before.segments);
    let is_new = |number| known.last().is_none_or(|last| number > last.number);
    for pair in list.segments.windows(2) {
        if is_new(pair[1].number) {
            faults.extend(gap(&pair[0], &pair[1]));
        }
    }
    for segment in list.segments.iter().filter(|segment| segment.uri.is_some()) {
        let (number, length) = (segment.number, segment.duration);
        if is_new(number) {
            let target = list.target_duration;
            // RFC 8216bis section 4.4.3.1: rounded to the nearest second.
            if length.seconds().round() as u64 > target {
                faults.push(Fault::TooLong {
                    number,
                    length,
                    target,
                });
            }
        } else if let Some(old) = known.iter().find(|old| old.number == number) {
            faults.extend(relisted(old, segment));
        }
    }
    faults
}

fn gap(one: &ListedSegment, next: &ListedSegment) -> Option<Fault> {
    let expected = one.date_time?.later(one.duration);
    let millis = next.date_time?.millis() - expected.millis();
    let off = one.uri.is_some() && !next.discontinuity && millis.abs() > TOLERANCE;
    off.then_some(Fault::Gap {
        number: next.number,
        millis,
    })
}

fn relisted(old: &ListedSegment, new: &ListedSegment) -> Option<Fault> {
    let time = |time: WallTime| time.to_string();
    let (what, before, after) =
        if old.uri.is_some() && (old.duration - new.duration).seconds().abs() > ROUNDING {
            ("EXTINF", old.duration.to_string(), new.duration.to_string())
        } else if old.timeline != new.timeline {
            (
                "discontinuity sequence",
                old.timeline.to_string(),
                new.timeline.to_string(),
            )
        } else {
            let (before, after) = (old.date_time?, new.date_time?);
            if (before.millis() - after.millis()).abs() <= TOLERANCE {
                return None;
            }
            ("PROGRAM-DATE-TIME", time(before), time(after))
        };
    Some(Fault::Relisted {
        number: new.number,
        what,
        before,
        after,
    })
}

/// Whether a body is a whole number of top-level boxes (ISO/IEC 14496-12 section 4.2) or of
/// transport stream packets (ISO/IEC 13818-1 section 2.4.3.2). Anything else is not looked into.
pub fn container(body: &[u8]) -> Result<(), String> {
    if body.first() == Some(&TS_SYNC)
        && (body.len() < TS_PACKET || body.get(TS_PACKET).is_none_or(|&b| b == TS_SYNC))
    {
        return packets(body);
    }
    let kind = body.get(4..8).unwrap_or_default();
    if kind.len() == 4 && kind.iter().all(|b| b.is_ascii_alphanumeric()) {
        return boxes(body);
    }
    Ok(())
}

fn packets(body: &[u8]) -> Result<(), String> {
    match body.len() % TS_PACKET {
        0 => Ok(()),
        over => Err(format!(
            "its {} octets are {over} more than a whole number of packets",
            body.len()
        )),
    }
}

fn boxes(body: &[u8]) -> Result<(), String> {
    let mut at = 0;
    while at < body.len() {
        let left = &body[at..];
        let (Some(size), Some(kind)) = (left.first_chunk(), left.get(4..8)) else {
            return Err(format!(
                "it ends {} octets into the head of a box",
                left.len()
            ));
        };
        let size = match u32::from_be_bytes(*size) {
            // To the end of the file.
            0 => return Ok(()),
            1 => match left.get(8..).and_then(|rest| rest.first_chunk()) {
                Some(size) => u64::from_be_bytes(*size),
                None => return Err("it ends in the head of a box".into()),
            },
            size => u64::from(size),
        };
        if size < 8 {
            let kind = kind.escape_ascii();
            return Err(format!(
                "its box {kind} at octet {at} says that it has {size} octets"
            ));
        }
        if size > left.len() as u64 {
            let (kind, there) = (kind.escape_ascii(), left.len());
            return Err(format!(
                "its box {kind} at octet {at} has {there} of {size} octets"
            ));
        }
        at += size as usize;
    }
    Ok(())
}

/// Times in a playlist are rounded; a lost frame is 16 ms at least, and encoders place the first
/// frame of a restart by the clock.
const TOLERANCE: i64 = 100;

/// Seconds. A node that has a segment part by part knows it by the sum of rounded lengths.
const ROUNDING: f64 = 0.001;

const TS_SYNC: u8 = 0x47;
const TS_PACKET: usize = 188;

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> MediaPlaylist {
        let text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n{text}");
        playlists::parse::media(&text).unwrap()
    }

    const FIVE: &str = "#EXT-X-MEDIA-SEQUENCE:5\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00.000Z\n#EXTINF:2,\n5.m4s\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:02.000Z\n#EXTINF:2,\n6.m4s\n";

    #[test]
    fn a_playlist_that_only_grows_is_sound() {
        let next = "#EXT-X-MEDIA-SEQUENCE:6\n\
            #EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:02.000Z\n#EXTINF:2,\n6.m4s\n\
            #EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:04.000Z\n#EXTINF:2,\n7.m4s\n";
        assert_eq!(playlist(None, &list(FIVE)), []);
        assert_eq!(playlist(Some(&list(FIVE)), &list(next)), []);
    }

    #[test]
    fn a_segment_that_changed_is_told_with_what_changed() {
        let faults = |text: &str| {
            let faults = playlist(Some(&list(FIVE)), &list(text));
            faults.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let longer = FIVE.replacen("EXTINF:2", "EXTINF:1.9", 1);
        let told = "segment 5 was listed with EXTINF 2.00000, now with 1.90000";
        assert_eq!(faults(&longer), [told]);
        let moved = FIVE
            .replace("00:00.000", "00:01.000")
            .replace("02.000", "03.000");
        assert_eq!(faults(&moved).len(), 2);
        assert!(faults(&moved)[0].contains("PROGRAM-DATE-TIME 2026-01-01T00:00:00.000Z, now with"));
    }

    #[test]
    fn a_hole_in_time_is_told_once_and_only_where_no_discontinuity_says_it() {
        let hole = FIVE.replace("02.000", "03.000");
        let expected = Fault::Gap {
            number: 6,
            millis: 1000,
        };
        assert_eq!(playlist(None, &list(&hole)), [expected]);
        assert_eq!(playlist(Some(&list(&hole)), &list(&hole)), []);
        let marked = hole.replace("5.m4s\n", "5.m4s\n#EXT-X-DISCONTINUITY\n");
        assert_eq!(playlist(None, &list(&marked)), []);
    }

    #[test]
    fn a_segment_above_the_target_duration_is_told() {
        let faults = playlist(None, &list("#EXTINF:2.6,\n0.m4s\n#EXTINF:2.4,\n1.m4s\n"));
        assert!(matches!(
            faults[..],
            [Fault::TooLong {
                number: 0,
                target: 2,
                ..
            }]
        ));
    }

    #[test]
    fn a_body_that_breaks_off_is_not_whole() {
        let whole = b"\0\0\0\x0cmoof1234\0\0\0\x0amdat56";
        assert_eq!(container(whole), Ok(()));
        let told = "its box mdat at octet 12 has 9 of 10 octets";
        assert_eq!(container(&whole[..21]), Err(told.into()));
        assert!(
            container(&whole[..15])
                .unwrap_err()
                .contains("3 octets into the head")
        );
        assert!(
            container(b"\0\0\0\x02moof")
                .unwrap_err()
                .contains("says that it has 2")
        );
        assert!(container(b"\0\0\0\x01mdat\0\0").is_err());
    }

    #[test]
    fn transport_stream_is_whole_packets() {
        let mut packets = vec![0; 2 * TS_PACKET];
        (packets[0], packets[TS_PACKET]) = (TS_SYNC, TS_SYNC);
        assert_eq!(container(&packets), Ok(()));
        assert!(container(&packets[..300]).unwrap_err().contains("112 more"));
        assert!(container(&packets[..100]).is_err());
    }
}
