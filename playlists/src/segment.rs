//! One moment of a stream in every rung: a segment, and the parts it is made of.
//!
//! All rungs of a part come together, so that rungs are aligned by construction and a segment
//! has the same number, times and part boundaries whichever rung it is taken from.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    daterange::DateRange,
    ladder::Ladder,
    rendition::{Kind, Renditions},
    still::Still,
    time::{MediaTime, WallTime},
};

/// One run of a segmenter; in every media URL, so that a name is never used twice for different bytes.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Epoch(pub u64);

/// The initialization section (`EXT-X-MAP`) that all rungs share. Runs that make the same
/// octets share it too, under the name of the first, so that a restart changes no `EXT-X-MAP`.
#[derive(Clone, Debug, PartialEq)]
pub struct Init {
    pub epoch: Epoch,
    pub media: Bytes,
    /// Each rendition's own; empty for those that need none.
    pub renditions: Vec<Bytes>,
}

/// The unit of latency: one CMAF fragment in each rung.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub duration: MediaTime,
    /// This many rungs, the cheapest, start with a key frame; the others go on from the part before.
    pub open: usize,
    /// One for every rung, cheapest first. An empty one is not here: a relay takes only the rungs that somebody
    /// watches, and brings another when it is asked for. The cheapest is always here.
    pub media: Vec<Bytes>,
    /// One for every rendition; of subtitles only a segment's last part has any.
    pub renditions: Vec<Bytes>,
}

impl Part {
    /// [`Part::open`], of whether each rung starts with a key frame, cheapest first.
    pub fn open_in(rungs: impl IntoIterator<Item = bool>) -> usize {
        rungs.into_iter().take_while(|starts| *starts).count()
    }

    /// Whether its octets in `rung` are not here.
    pub fn lacks(&self, rung: usize) -> bool {
        self.media.get(rung).is_some_and(Bytes::is_empty)
    }

    /// Its octets in `rung`; of what is not here, what the dearest rung that is makes one expect.
    fn octets(&self, rung: usize, ladder: &Ladder) -> u64 {
        let length = |rung: usize| self.media.get(rung).map_or(0, |media| media.len() as u64);
        let known = (0..=rung).rev().find(|rung| length(*rung) > 0);
        let rates = ladder.rungs();
        match known.and_then(|known| Some((known, rates.get(known)?, rates.get(rung)?))) {
            Some((known, at, wanted)) if known != rung => {
                let times = wanted.average.bps() as f64 / at.average.bps().max(1) as f64;
                (length(known) as f64 * times) as u64
            }
            _ => length(rung),
        }
    }

    /// Starts with a key frame, whichever rung it is taken in.
    pub fn is_independent(&self) -> bool {
        self.open >= self.media.len()
    }
}

/// What is known of a segment before its first part.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Media sequence number.
    pub number: u64,
    pub epoch: Epoch,
    pub init: Arc<Init>,
    /// The timeline breaks before this segment (`EXT-X-DISCONTINUITY`).
    pub discontinuity: bool,
    /// Discontinuity sequence number (RFC 8216bis section 4.4.3.3); belongs to the stream, not to a node.
    pub timeline: u64,
    /// When its first frame was live.
    pub date_time: WallTime,
}

/// The unit that playlists list and a switch of rung happens between.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    pub head: Head,
    pub parts: Vec<Part>,
    pub complete: bool,
    /// There is nothing to play here (`EXT-X-GAP`): its octets were lost, or there never were any.
    pub gap: bool,
    /// Its first picture in several sizes, if there was time to make them.
    pub stills: Vec<Still>,
    /// What was told while it was open, of this moment or of others.
    pub ranges: Vec<DateRange>,
    /// Octets in every rung, cheapest first; what there is so far, if the segment is open. Reckoned, of what is not here.
    /// Summed once when a part comes, for it is asked for with every request.
    sizes: Vec<u64>,
}

impl Segment {
    pub fn new(head: Head) -> Self {
        Self {
            head,
            parts: Vec::new(),
            complete: false,
            gap: false,
            stills: Vec::new(),
            ranges: Vec::new(),
            sizes: Vec::new(),
        }
    }

    /// Adds a part that is here in every rung.
    pub fn push(&mut self, part: Part) {
        let sizes: Vec<_> = part.media.iter().map(|media| media.len() as u64).collect();
        self.add(part, &sizes);
    }

    /// Adds a part that may not be here in all rungs of `ladder`.
    pub fn push_some(&mut self, part: Part, ladder: &Ladder) {
        let rungs = 0..part.media.len();
        let sizes: Vec<_> = rungs.map(|rung| part.octets(rung, ladder)).collect();
        self.add(part, &sizes);
    }

    fn add(&mut self, mut part: Part, sizes: &[u64]) {
        part.open = part.open.min(part.media.len());
        self.sizes.resize(part.media.len(), 0);
        for (size, octets) in self.sizes.iter_mut().zip(sizes) {
            *size += octets;
        }
        self.parts.push(part);
    }

    /// Whether some of its octets in `rung` are not here.
    pub fn lacks(&self, rung: usize) -> bool {
        self.parts.iter().any(|part| part.lacks(rung))
    }

    /// The same segment with all of it here in `rung`, as one stretch of octets.
    pub fn with(&self, rung: usize, media: Bytes) -> Self {
        let mut whole = self.clone();
        let mut media = Some(media);
        for part in &mut whole.parts {
            if let Some(place) = part.media.get_mut(rung) {
                *place = media.take().unwrap_or_default();
            }
        }
        whole
    }

    /// A complete segment without anything in it. There are players that know no `EXT-X-GAP`, and ask
    /// for it; what they get is an empty segment in each of `rungs` rungs, not an error.
    pub fn gap(head: Head, duration: MediaTime, rungs: usize, renditions: &Renditions) -> Self {
        let mut segment = Self::new(head);
        segment.push(Part {
            duration,
            open: rungs,
            media: vec![Bytes::from_static(EMPTY); rungs],
            renditions: renditions
                .others
                .iter()
                .map(|rendition| match rendition.kind {
                    Kind::Audio => Bytes::from_static(EMPTY),
                    Kind::Subtitles => Bytes::from_static(b"WEBVTT\n\n"),
                })
                .collect(),
        });
        segment.complete = true;
        segment.gap = true;
        segment
    }

    /// What a gap is in any rung.
    pub fn nothing() -> Bytes {
        Bytes::from_static(EMPTY)
    }

    /// What stands for it in a storyboard.
    pub fn tile(&self) -> Option<&Still> {
        self.stills.iter().find(|still| still.tile)
    }

    pub fn number(&self) -> u64 {
        self.head.number
    }

    pub fn duration(&self) -> MediaTime {
        self.parts.iter().map(|part| part.duration).sum()
    }

    pub fn sizes(&self) -> &[u64] {
        &self.sizes
    }

    /// How many rungs it has, renditions included.
    pub fn rungs(&self) -> usize {
        self.sizes.len()
    }

    pub fn octets(&self, rung: usize) -> u64 {
        self.sizes.get(rung).copied().unwrap_or(0)
    }

    /// The segment's octets in `rung`, part by part; shared, not copied.
    pub fn media(&self, rung: usize) -> impl Iterator<Item = &Bytes> {
        self.parts
            .iter()
            .filter_map(move |part| part.media.get(rung))
            .filter(|media| !media.is_empty())
    }

    /// The segment's octets in a rendition; empty parts are left out.
    pub fn rendition(&self, index: usize) -> impl Iterator<Item = &Bytes> {
        self.parts
            .iter()
            .filter_map(move |part| part.renditions.get(index))
            .filter(|media| !media.is_empty())
    }
}

/// A segment type box, and no fragment after it (ISO/IEC 14496-12 section 8.16.2).
const EMPTY: &[u8] = b"\0\0\0\x18stypmsdh\0\0\0\0msdhmsix";
