//! The media of one playlist against what the playlist says of it, and against the media before it.

use std::collections::BTreeMap;

use super::{
    content::{Content, Sort, Track, Unread},
    finding::{Findings, Place},
    rule,
    ts::{Counter, Packets},
};

/// What a playlist says of a segment or part.
#[derive(Clone, Debug, Default)]
pub struct Said {
    pub place: Place,
    pub number: u64,
    pub part: bool,
    /// `EXTINF`, or `DURATION` of the part; seconds.
    pub duration: f64,
    pub discontinuity: bool,
    /// It begins with a key frame, for all that is said.
    pub independent: bool,
    /// Of the variant.
    pub codecs: Option<String>,
    pub resolution: Option<(u32, u32)>,
}

/// Where the media of a playlist is, after the segments so far.
#[derive(Clone, Debug, Default)]
pub struct Tracks {
    /// The number of the segment that comes next.
    next: Option<u64>,
    /// By track, where it ended.
    ends: BTreeMap<u32, i64>,
    counters: BTreeMap<u16, Counter>,
    /// What was already said not to be looked into.
    unknown: Vec<String>,
}

impl Tracks {
    /// Looks at the media of a segment or part.
    pub fn check(
        &mut self,
        said: &Said,
        content: Result<Content, Unread>,
        findings: &mut Findings,
    ) {
        let content = match content {
            Ok(content) => content,
            Err(unread) => return self.unread(said, unread, findings),
        };
        durations(said, &content, findings);
        for track in &content.tracks {
            formats(said, track, findings);
        }
        if said.part {
            return;
        }
        let follows = self.next == Some(said.number) && !said.discontinuity;
        if follows {
            self.continuity(said, &content, findings);
        }
        if let Some(packets) = &content.packets {
            self.packets(said, packets, follows, findings);
        }
        self.next = Some(said.number + 1);
        self.ends = content
            .tracks
            .iter()
            .map(|track| (track.id, track.end))
            .collect();
    }

    fn unread(&mut self, said: &Said, unread: Unread, findings: &mut Findings) {
        self.next = None;
        match unread {
            Unread::Broken(found) => {
                findings.say(
                    &rule::MEDIA,
                    said.place.clone(),
                    found,
                    "media that can be read",
                );
            }
            Unread::NoMap => {
                let expected = "EXT-X-MAP, which can be had";
                findings.say(
                    &rule::NO_MAP,
                    said.place.clone(),
                    "fragmented MP4",
                    expected,
                );
            }
            Unread::Unknown(what) => {
                if !self.unknown.contains(&what) && self.unknown.len() < 16 {
                    let place = Place::of(&said.place.url);
                    findings.say(
                        &rule::UNCHECKED,
                        place,
                        what.clone(),
                        "H.264 and AAC, in fragmented MP4 or TS",
                    );
                    self.unknown.push(what);
                }
            }
        }
    }

    /// Media time goes on where it ended.
    fn continuity(&self, said: &Said, content: &Content, findings: &mut Findings) {
        for track in &content.tracks {
            let Some(end) = self.ends.get(&track.id) else {
                continue;
            };
            let off = track.span(*end, track.start);
            let tolerance = (track.span(0, track.sample) / 2.0).max(0.002);
            if off.abs() > tolerance {
                let what = if off > 0.0 {
                    "a hole of"
                } else {
                    "an overlap of"
                };
                let found = format!("{what} {:.4} s in track {}", off.abs(), track.id);
                let expected = format!("{} s", seconds(track, *end));
                let found = format!("{found}: it begins at {} s", seconds(track, track.start));
                findings.say(&rule::CONTINUITY, said.place.clone(), found, expected);
            }
        }
    }

    fn packets(&mut self, said: &Said, packets: &Packets, follows: bool, findings: &mut Findings) {
        if !packets.tables_first {
            let found = "media before PAT and PMT, or none of them";
            findings.say(
                &rule::TS_HEAD,
                said.place.clone(),
                found,
                "PAT and PMT first",
            );
        }
        for fault in &packets.faults {
            findings.say(
                &rule::COUNTER,
                said.place.clone(),
                fault.clone(),
                "one more for each packet",
            );
        }
        for (pid, counter) in &packets.counters {
            let known = self.counters.get(pid).filter(|_| follows);
            let Some(known) = known else { continue };
            let expected = (known.last + 1) & 0xf;
            if counter.first != expected && !counter.announced {
                let found = format!("PID {pid} begins with counter {}", counter.first);
                let expected = format!("{expected}, or discontinuity_indicator");
                findings.say(&rule::COUNTER, said.place.clone(), found, expected);
            }
        }
        self.counters.clone_from(&packets.counters);
    }
}

fn durations(said: &Said, content: &Content, findings: &mut Findings) {
    // Sound is cut where a frame of it ends; the picture says how long a segment is.
    let lead = content
        .tracks
        .iter()
        .find(|track| track.sort == Sort::Video);
    let Some(lead) = lead.or(content.tracks.first()) else {
        let expected = "a track with samples";
        return findings.say(
            &rule::MEDIA,
            said.place.clone(),
            "no sample in it",
            expected,
        );
    };
    let (found, off) = (lead.duration(), lead.duration() - said.duration);
    let frame = lead.span(0, lead.sample).max(0.001);
    // A part that ends among pictures that are decoded before those that are shown first has some of the next one's.
    let ahead = match said.part {
        true => lead.span(0, lead.ahead),
        false => 0.0,
    };
    let words = |rule, findings: &mut Findings| {
        findings.say(
            rule,
            said.place.clone(),
            format!("{found:.5} s of media in track {}", lead.id),
            format!("{:.5} s, as the playlist says", said.duration),
        );
    };
    // How long the last sample of MPEG-TS lasts is a guess.
    let advice = if lead.wraps { frame } else { 0.001 + ahead };
    if off.abs() > frame + ahead + 0.001 {
        words(&rule::DURATION, findings);
    } else if off.abs() > advice + 0.000_011 {
        words(&rule::DURATION_ADVICE, findings);
    }
}

fn formats(said: &Said, track: &Track, findings: &mut Findings) {
    if track.sort == Sort::Video && track.key == Some(false) {
        if said.independent {
            let expected = "an IDR picture, as is said";
            findings.say(
                &rule::FIRST_SAMPLE,
                said.place.clone(),
                "a first sample that is no IDR picture",
                expected,
            );
        } else if !said.part {
            let found = "a first sample that is no IDR picture";
            findings.say(
                &rule::FIRST_SAMPLE_ADVICE,
                said.place.clone(),
                found,
                "an IDR picture",
            );
        }
    }
    let key = track.key != Some(false);
    if let Some(lacks) = track.lacks.as_ref().filter(|_| key) {
        let expected = "SPS and PPS, in the init section or in band";
        findings.say(
            &rule::PARAMETERS,
            said.place.clone(),
            lacks.clone(),
            expected,
        );
    }
    if let Some(codecs) = &said.codecs
        && !track.codec.is_empty()
        && !codecs
            .split(',')
            .any(|codec| covers(codec.trim(), &track.codec))
    {
        // One line for a format, however many segments have it.
        let place = Place::of(&said.place.url);
        let expected = format!("one of CODECS {codecs:?}");
        findings.say(&rule::CODECS, place, track.codec.clone(), expected);
    }
    if let (Some((width, height)), Some((most_wide, most_high))) = (track.size, said.resolution) {
        // A server may send less than it says; how much a decoder has to reckon with is what counts.
        if width > most_wide || height > most_high {
            let place = Place::of(&said.place.url);
            let expected = format!("{most_wide}x{most_high} at most");
            findings.say(
                &rule::RESOLUTION,
                place,
                format!("{width}x{height}"),
                expected,
            );
        }
    }
}

/// Whether `said`, of CODECS, is a promise that `found` keeps. A decoder for a level plays those below it, and
/// one for a profile what a lower one may contain.
pub fn covers(said: &str, found: &str) -> bool {
    let (said_kind, said_rest) = said.split_once('.').unwrap_or((said, ""));
    let (kind, rest) = found.split_once('.').unwrap_or((found, ""));
    match kind {
        "avc1" | "avc3" => {
            let read = |text: &str| {
                let octet = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
                Some((octet(0)?, octet(4)?))
            };
            let known = matches!(said_kind, "avc1" | "avc3");
            let (Some((profile, level)), Some((of_profile, of_level))) =
                (read(said_rest), read(rest))
            else {
                return known;
            };
            let baseline = |profile| if profile == 66 { 0 } else { profile };
            known && level >= of_level && baseline(profile) >= baseline(of_profile)
        }
        // What SBR and PS extend is AAC-LC, and is what the media begins with.
        "mp4a" if matches!(rest, "40.2" | "40.5" | "40.29") => {
            said_kind == "mp4a"
                && matches!(said_rest, "40.2" | "40.5" | "40.29" | "40.02" | "40.05")
        }
        _ => said.eq_ignore_ascii_case(found),
    }
}

fn seconds(track: &Track, time: i64) -> String {
    format!("{:.4}", time as f64 / f64::from(track.rate.max(1)))
}
