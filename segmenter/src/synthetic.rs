//! Media from nothing: the frames of a run, for tests that need a source and no libav.
//!
//! No clock: it makes frames as fast as they are taken, and its user decides when that is.

use std::{collections::VecDeque, ops::Range};

use bytes::{BufMut, Bytes, BytesMut};
use playlists::{
    Bitrate, Ladder, LadderError, MediaTime, Renditions, Rung, RungName, rendition::Kind,
};

use crate::wire::{End, Frame, Hello, Part, VERSION};

/// The frames of one run: `Hello`, `Init`, every part's shares, `End`.
///
/// Every share is one box of type `moof` whose payload begins with `rung/segment/part;`, such as `720p/3/1;`. No two
/// are alike, and each says what it is (`label`).
#[derive(Debug)]
pub struct Synthetic {
    hello: Hello,
    origin: MediaTime,
    parts: u16,
    segments: Range<u64>,
    next: VecDeque<Frame>,
    part: u16,
    ended: bool,
}

impl Synthetic {
    /// Segments of `parts` parts of `part` each, without an end. Rungs as names and rates in kbit/s.
    pub fn new(rungs: &[(&str, u64)], part: MediaTime, parts: u16) -> Result<Self, LadderError> {
        let ladder = rungs
            .iter()
            .enumerate()
            .map(|(index, (name, kbps))| rung(name, *kbps, index as u32));
        let ladder = Ladder::new(ladder.collect::<Result<Vec<_>, _>>()?)?;
        let parts = parts.max(1);
        let hello = Hello {
            version: VERSION,
            ladder,
            renditions: Renditions::default(),
            shortest: part * i64::from(parts),
            segment: part * i64::from(parts),
            part,
            input: "synthetic media".into(),
            likeness: String::new(),
        };
        let next = VecDeque::from([Frame::Hello(hello.clone()), Frame::Init(init())]);
        Ok(Self {
            hello,
            origin: ORIGIN,
            parts,
            segments: 0..u64::MAX,
            next,
            part: 0,
            ended: false,
        })
    }

    /// With a score for each rung, cheapest first.
    pub fn scored(mut self, scores: &[f32]) -> Result<Self, LadderError> {
        let mut rungs = self.hello.ladder.rungs().to_vec();
        for (rung, score) in rungs.iter_mut().zip(scores) {
            rung.score = Some(*score);
        }
        self.hello.ladder = Ladder::new(rungs)?;
        self.next[0] = Frame::Hello(self.hello.clone());
        Ok(self)
    }

    /// Three rungs of 350, 900 and 2200 kbit/s in segments of 2.1333 s, of 4 parts each: what the segmenter makes at 30 fps.
    pub fn usual() -> Self {
        let part = MediaTime::from_ticks(16, 30);
        Self::new(&[("240p", 350), ("480p", 900), ("720p", 2200)], part, 4)
            .expect("three names, each once")
    }

    /// Ends after `count` segments.
    pub fn segments(mut self, count: u64) -> Self {
        self.segments.end = self.segments.start.saturating_add(count);
        self
    }

    /// With renditions beside the rungs: sound of 64 kbit/s, and subtitles that say their number.
    pub fn beside(mut self, renditions: Renditions) -> Self {
        let inits = renditions.others.iter().map(|rendition| {
            Frame::Init(match rendition.kind {
                Kind::Audio => init(),
                Kind::Subtitles => Bytes::new(),
            })
        });
        self.next.extend(inits);
        self.hello.renditions = renditions;
        self.next[0] = Frame::Hello(self.hello.clone());
        self
    }

    /// The first picture's media time; 10 s unless told.
    pub fn starting_at(mut self, origin: MediaTime) -> Self {
        self.origin = origin;
        self
    }

    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// The shares of the next part, cheapest rung first, then the renditions'.
    fn shares(&mut self) -> Option<Frame> {
        if self.segments.is_empty() {
            let end = Frame::End(End {
                error: None,
                fatal: false,
            });
            return (!std::mem::replace(&mut self.ended, true)).then_some(end);
        }
        let (segment, index) = (self.segments.start, self.part);
        let last = index + 1 == self.parts;
        let before = i64::try_from(segment)
            .unwrap_or(i64::MAX)
            .saturating_mul(i64::from(self.parts));
        let start = self.origin + self.hello.part * before.saturating_add(i64::from(index));
        let part = self.hello.part;
        let rungs = self.hello.ladder.rungs().iter();
        let rungs = rungs.map(|rung| media(&rung.name, rung.average, segment, index, part));
        let beside = self.hello.renditions.others.iter();
        let beside = beside.map(|rendition| match rendition.kind {
            Kind::Audio => media(&rendition.name, SOUND, segment, index, part),
            Kind::Subtitles if last => format!("WEBVTT\n\nNOTE {segment}\n").into(),
            Kind::Subtitles => Bytes::new(),
        });
        for (number, media) in rungs.chain(beside).enumerate() {
            self.next.push_back(Frame::Part(Part {
                rung: number as u8,
                segment,
                index,
                // As the segmenter does it: the cheapest rung can be begun anywhere.
                independent: index == 0 || number == 0,
                last,
                start,
                duration: part,
                media,
            }));
        }
        if last {
            self.segments.start += 1;
        }
        self.part = if last { 0 } else { index + 1 };
        self.next.pop_front()
    }
}

impl Iterator for Synthetic {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        self.next.pop_front().or_else(|| self.shares())
    }
}

/// What a share says it is: `rung/segment/part`. `None` if it is not one of ours, or not whole.
pub fn label(media: &[u8]) -> Option<&str> {
    let (head, payload) = media.split_at_checked(BOX_HEAD)?;
    let length = u32::from_be_bytes(*head.first_chunk()?);
    if length as usize != media.len() || head[4..] != *b"moof" {
        return None;
    }
    let end = payload.iter().position(|octet| *octet == b';')?;
    str::from_utf8(&payload[..end]).ok()
}

/// A segment is 70 % to 130 % of its nominal size, the same in each run; its first part, with the IDR picture, is the heaviest.
fn media(name: &RungName, rate: Bitrate, segment: u64, index: u16, part: MediaTime) -> Bytes {
    let swing = 70 + mixed(segment) % 61;
    let weight = if index == 0 { 120 } else { 95 };
    let nominal = rate.octets_in(part.duration());
    let name = format!("{name}/{segment}/{index};");
    let length = (nominal * swing * weight / 10_000).max((BOX_HEAD + name.len()) as u64) as usize;
    let mut media = BytesMut::with_capacity(length);
    media.put_u32(length as u32);
    media.put_slice(b"moof");
    media.put_slice(name.as_bytes());
    media.resize(length, index as u8);
    media.freeze()
}

fn rung(name: &str, kbps: u64, index: u32) -> Result<Rung, LadderError> {
    let height = name
        .trim_end_matches('p')
        .parse()
        .unwrap_or(180 * (index + 1));
    Ok(Rung {
        name: RungName::try_from(name.to_owned())?,
        width: height * 16 / 9,
        height,
        bandwidth: Bitrate::from_kbps(kbps * 3 / 2),
        average: Bitrate::from_kbps(kbps),
        codecs: "avc1.64001F,mp4a.40.2".into(),
        frame_rate: 30.0,
        score: None,
    })
}

fn init() -> Bytes {
    Bytes::from_static(b"\0\0\0\x10ftypcmfc\0\0\0\0\0\0\0\x08moov")
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): neighbours look unlike each other.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

const BOX_HEAD: usize = 8;
const SOUND: Bitrate = Bitrate::from_kbps(64);
const ORIGIN: MediaTime = MediaTime::from_flicks(10 * MediaTime::PER_SECOND);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn parts(frames: impl Iterator<Item = Frame>) -> Vec<Part> {
        frames
            .filter_map(|frame| {
                if let Frame::Part(part) = frame {
                    Some(part)
                } else {
                    None
                }
            })
            .collect()
    }

    #[test]
    fn a_run_has_a_beginning_and_an_end() {
        let frames: Vec<_> = Synthetic::usual().segments(2).collect();
        assert!(matches!(frames[..2], [Frame::Hello(_), Frame::Init(_)]));
        assert!(matches!(frames.last(), Some(Frame::End(_))));
        assert_eq!(frames.len(), 2 + 2 * 4 * 3 + 1);
    }

    #[test]
    fn every_share_says_what_it_is() {
        let synthetic = Synthetic::usual().segments(5);
        let ladder = synthetic.hello().ladder.clone();
        let mut seen = HashSet::new();
        for part in parts(synthetic) {
            let name = format!(
                "{}/{}/{}",
                ladder.rungs()[usize::from(part.rung)].name,
                part.segment,
                part.index
            );
            assert_eq!(label(&part.media), Some(&*name));
            assert!(seen.insert(part.media));
        }
    }

    #[test]
    fn parts_follow_each_other_and_rungs_keep_their_rate() {
        let synthetic = Synthetic::usual()
            .segments(200)
            .starting_at(MediaTime::from_seconds(3.0));
        let rungs = synthetic.hello().ladder.rungs().to_vec();
        let parts = parts(synthetic);
        for (number, rung) in rungs.iter().enumerate() {
            let mine: Vec<_> = parts
                .iter()
                .filter(|part| usize::from(part.rung) == number)
                .collect();
            assert_eq!(mine[0].start, MediaTime::from_seconds(3.0));
            assert!(
                mine.windows(2)
                    .all(|pair| pair[0].start + pair[0].duration == pair[1].start)
            );
            assert!(
                mine.iter()
                    .all(|part| part.independent == (part.index == 0 || number == 0)
                        && part.last == (part.index == 3))
            );
            let octets = mine.iter().map(|part| part.media.len() as u64).sum();
            let span: MediaTime = mine.iter().map(|part| part.duration).sum();
            let rate =
                Bitrate::of(octets, span.duration()).bps() as f64 / rung.average.bps() as f64;
            assert!((0.9..1.1).contains(&rate), "{rate}");
        }
    }
}
