//! One file of the archive: a few segments in every rung and rendition, and what has to be known of them,
//! so that reading it back parses no media. Written once, then never changed.
//!
//! `magic, u32 length of the index, u32 CRC-32 of the index, index (JSON), octets`; little-endian.
//! The octets are the init sections, then each segment rung by rung, so that a segment of one rung is
//! one stretch of the file, and its stills.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _, Seek as _, Write},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use playlists::{
    DateRange, Epoch, Format, Head, Init, Ladder, MediaTime, Part, Renditions, Segment, WallTime,
    still::{Coding, Still},
};
use serde::{Deserialize, Serialize};

use super::map;

/// Why a file is left out.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it does not begin like a file of this version")]
    Magic,
    #[error("its index is damaged: {0}")]
    Index(String),
    #[error("it has {found} octets, and its index tells of {expected}")]
    Length { expected: u64, found: u64 },
    #[error("the octets of segment {number} are not those that were written")]
    Checksum { number: u64 },
}

/// What the segments of a file have in common with the stream.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Shape {
    pub ladder: Ladder,
    pub renditions: Renditions,
    pub segment: MediaTime,
    pub part: MediaTime,
}

#[derive(Debug, Deserialize, Serialize)]
struct Index {
    shape: Shape,
    inits: Vec<InitEntry>,
    segments: Vec<Entry>,
}

#[derive(Debug, Deserialize, Serialize)]
struct InitEntry {
    epoch: u64,
    length: u64,
    renditions: Vec<u64>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Entry {
    number: u64,
    epoch: u64,
    /// Epoch of its init section.
    init: u64,
    discontinuity: bool,
    timeline: u64,
    /// Milliseconds since 1970.
    date_time: i64,
    /// CRC-32 of its octets.
    checksum: u32,
    parts: Vec<PartEntry>,
    /// Files of before had none.
    #[serde(default)]
    stills: Vec<StillEntry>,
    #[serde(default)]
    ranges: Vec<DateRange>,
}

#[derive(Debug, Deserialize, Serialize)]
struct StillEntry {
    tile: bool,
    webp: bool,
    width: u16,
    height: u16,
    length: u64,
}

#[derive(Debug, Deserialize, Serialize)]
struct PartEntry {
    duration: MediaTime,
    independent: bool,
    /// Octets in each rung, cheapest first.
    media: Vec<u64>,
    renditions: Vec<u64>,
}

impl Shape {
    pub fn of(format: &Format) -> Self {
        Self {
            ladder: format.ladder.clone(),
            // Found out anew in each run, and nothing that segments would not fit.
            renditions: Renditions {
                closed: None,
                ..format.renditions.clone()
            },
            segment: format.segment,
            part: format.part,
        }
    }

    pub fn format(&self, listed: usize) -> Format {
        Format {
            ladder: self.ladder.clone(),
            renditions: self.renditions.clone(),
            segment: self.segment,
            part: self.part,
            listed,
        }
    }
}

/// Writes `segments`, which are complete and of one shape, to `out`.
pub(super) fn write(
    out: &mut impl Write,
    shape: &Shape,
    segments: &[Arc<Segment>],
) -> io::Result<()> {
    let mut inits: BTreeMap<u64, &Init> = BTreeMap::new();
    for segment in segments {
        inits.insert(segment.head.init.epoch.0, &segment.head.init);
    }
    let index = Index {
        shape: shape.clone(),
        inits: inits
            .values()
            .map(|init| InitEntry {
                epoch: init.epoch.0,
                length: init.media.len() as u64,
                renditions: lengths(&init.renditions),
            })
            .collect(),
        segments: segments.iter().map(|segment| Entry::of(segment)).collect(),
    };
    let index = serde_json::to_vec(&index)?;
    let length = u32::try_from(index.len()).map_err(io::Error::other)?;
    out.write_all(MAGIC)?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&crc32fast::hash(&index).to_le_bytes())?;
    out.write_all(&index)?;
    for init in inits.values() {
        out.write_all(&init.media)?;
        init.renditions
            .iter()
            .try_for_each(|media| out.write_all(media))?;
    }
    for segment in segments {
        octets(segment).try_for_each(|media| out.write_all(media))?;
    }
    Ok(())
}

/// A segment's octets in the order of the file.
fn octets(segment: &Segment) -> impl Iterator<Item = &Bytes> {
    let rungs = segment.sizes().len();
    let renditions = segment
        .parts
        .first()
        .map_or(0, |part| part.renditions.len());
    let media = (0..rungs).flat_map(|rung| segment.media(rung));
    let media = media.chain((0..renditions).flat_map(|index| segment.rendition(index)));
    media.chain(segment.stills.iter().map(|still| &still.media))
}

fn lengths(media: &[Bytes]) -> Vec<u64> {
    media.iter().map(|media| media.len() as u64).collect()
}

impl InitEntry {
    /// Of an index that was checked: no sum of its lengths is above the file's.
    fn octets(&self) -> u64 {
        self.length + self.renditions.iter().sum::<u64>()
    }
}

impl Entry {
    fn of(segment: &Segment) -> Self {
        let head = &segment.head;
        let mut checksum = crc32fast::Hasher::new();
        octets(segment).for_each(|media| checksum.update(media));
        Self {
            number: head.number,
            epoch: head.epoch.0,
            init: head.init.epoch.0,
            discontinuity: head.discontinuity,
            timeline: head.timeline,
            date_time: head.date_time.millis(),
            checksum: checksum.finalize(),
            parts: segment
                .parts
                .iter()
                .map(|part| PartEntry {
                    duration: part.duration,
                    independent: part.is_independent(),
                    media: lengths(&part.media),
                    renditions: lengths(&part.renditions),
                })
                .collect(),
            stills: segment.stills.iter().map(StillEntry::of).collect(),
            ranges: segment.ranges.clone(),
        }
    }

    fn length(&self) -> Option<u64> {
        let parts = self
            .parts
            .iter()
            .flat_map(|part| part.media.iter().chain(&part.renditions));
        let stills = self.stills.iter().map(|still| &still.length);
        parts.chain(stills).copied().try_fold(0, u64::checked_add)
    }

    /// What makes no segment of this shape.
    fn fault(&self, shape: &Shape) -> Option<&'static str> {
        let (rungs, renditions) = (shape.ladder.rungs().len(), shape.renditions.others.len());
        let whole = |part: &PartEntry| {
            part.media.len() == rungs
                && part.renditions.len() == renditions
                && part.duration > MediaTime::ZERO
        };
        if self.parts.is_empty() || !self.parts.iter().all(whole) {
            return Some("its parts are not of its ladder");
        }
        let length: MediaTime = self.parts.iter().map(|part| part.duration).sum();
        let target = shape.format(0).target_duration();
        (length.seconds().round() as u64 > target).then_some("it is above the target duration")
    }
}

impl StillEntry {
    fn of(still: &Still) -> Self {
        Self {
            tile: still.tile,
            webp: still.coding == Coding::Webp,
            width: still.width,
            height: still.height,
            length: still.media.len() as u64,
        }
    }

    fn still(&self, media: Bytes) -> Still {
        Still {
            tile: self.tile,
            coding: match self.webp {
                true => Coding::Webp,
                false => Coding::Jpeg,
            },
            width: self.width,
            height: self.height,
            media,
        }
    }
}

/// The segments of a file, their octets mapped. Checks all but the octets themselves, which are
/// not touched; [`verify`] does.
pub(super) fn read(file: &File) -> Result<(Shape, Vec<Arc<Segment>>), Unreadable> {
    let (index, start) = index(file)?;
    let octets = map::map(file)?;
    let mut cursor = Cursor {
        octets: &octets,
        at: start,
    };
    let begin: u64 = index.inits.iter().map(InitEntry::octets).sum();
    map::populate(&octets[start..start + begin as usize])?;
    let mut inits = BTreeMap::new();
    for entry in &index.inits {
        // Out of the mapping: they are small, and asked for with every join.
        let media = Bytes::copy_from_slice(&cursor.next(entry.length)?);
        let renditions = entry
            .renditions
            .iter()
            .map(|length| Ok(Bytes::copy_from_slice(&cursor.next(*length)?)))
            .collect::<Result<_, Unreadable>>()?;
        let epoch = Epoch(entry.epoch);
        inits.insert(
            entry.epoch,
            Arc::new(Init {
                epoch,
                media,
                renditions,
            }),
        );
    }
    let mut segments = Vec::with_capacity(index.segments.len());
    for entry in &index.segments {
        let init = inits
            .get(&entry.init)
            .ok_or_else(|| Unreadable::Index(format!("no init section {}", entry.init)))?;
        segments.push(Arc::new(cursor.segment(
            entry,
            init.clone(),
            &index.shape,
        )?));
    }
    Ok((index.shape, segments))
}

/// Compares every segment's octets with what was written. Reads the whole file.
pub(super) fn verify(path: &Path) -> Result<(), Unreadable> {
    let mut file = File::open(path)?;
    let (index, start) = index(&file)?;
    let inits: u64 = index.inits.iter().map(InitEntry::octets).sum();
    file.seek(io::SeekFrom::Start(start as u64 + inits))?;
    let mut buffer = vec![0; 256 * 1024];
    for entry in &index.segments {
        let (mut left, mut checksum) =
            (entry.length().unwrap_or(u64::MAX), crc32fast::Hasher::new());
        while left > 0 {
            let most = buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            file.read_exact(&mut buffer[..most])?;
            checksum.update(&buffer[..most]);
            left -= most as u64;
        }
        if checksum.finalize() != entry.checksum {
            return Err(Unreadable::Checksum {
                number: entry.number,
            });
        }
    }
    Ok(())
}

/// The checked index, and where the octets begin.
fn index(mut file: &File) -> Result<(Index, usize), Unreadable> {
    let found = file.metadata()?.len();
    let mut head = [0; HEAD];
    if found < HEAD as u64 {
        return Err(Unreadable::Magic);
    }
    file.read_exact(&mut head)?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (length, checksum) = (word(MAGIC.len()), word(MAGIC.len() + 4));
    if !head.starts_with(MAGIC) {
        return Err(Unreadable::Magic);
    }
    let start = HEAD as u64 + u64::from(length);
    if length > INDEX_MOST || start > found {
        return Err(Unreadable::Length {
            expected: start,
            found,
        });
    }
    let mut text = vec![0; length as usize];
    file.read_exact(&mut text)?;
    if crc32fast::hash(&text) != checksum {
        return Err(Unreadable::Index("its checksum is another".into()));
    }
    let index: Index =
        serde_json::from_slice(&text).map_err(|error| Unreadable::Index(error.to_string()))?;
    let inits = index
        .inits
        .iter()
        .flat_map(|init| init.renditions.iter().chain([&init.length]).copied());
    let all = inits
        .map(Some)
        .chain(index.segments.iter().map(Entry::length));
    let expected = all
        .chain([Some(start)])
        .try_fold(0u64, |sum, length| sum.checked_add(length?))
        .unwrap_or(u64::MAX);
    if expected != found {
        return Err(Unreadable::Length { expected, found });
    }
    if let Some(fault) = index
        .segments
        .iter()
        .find_map(|entry| entry.fault(&index.shape))
    {
        return Err(Unreadable::Index(fault.into()));
    }
    Ok((index, start as usize))
}

/// A place in a file's octets.
struct Cursor<'a> {
    octets: &'a Bytes,
    at: usize,
}

impl Cursor<'_> {
    fn next(&mut self, length: u64) -> Result<Bytes, Unreadable> {
        let (start, found) = (self.at, self.octets.len() as u64);
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| start.checked_add(length))
            .filter(|end| *end <= self.octets.len());
        self.at = end.ok_or(Unreadable::Length {
            expected: length,
            found,
        })?;
        Ok(self.octets.slice(start..self.at))
    }

    fn segment(
        &mut self,
        entry: &Entry,
        init: Arc<Init>,
        shape: &Shape,
    ) -> Result<Segment, Unreadable> {
        let mut parts: Vec<Part> = entry
            .parts
            .iter()
            .map(|part| Part {
                duration: part.duration,
                open: if part.independent {
                    part.media.len()
                } else {
                    0
                },
                media: Vec::with_capacity(part.media.len()),
                renditions: Vec::with_capacity(part.renditions.len()),
            })
            .collect();
        for rung in 0..shape.ladder.rungs().len() {
            for (part, lengths) in parts.iter_mut().zip(&entry.parts) {
                part.media.push(self.next(lengths.media[rung])?);
            }
        }
        for index in 0..shape.renditions.others.len() {
            for (part, lengths) in parts.iter_mut().zip(&entry.parts) {
                part.renditions.push(self.next(lengths.renditions[index])?);
            }
        }
        let mut segment = Segment::new(Head {
            number: entry.number,
            epoch: Epoch(entry.epoch),
            init,
            discontinuity: entry.discontinuity,
            timeline: entry.timeline,
            date_time: WallTime::from_millis(entry.date_time),
        });
        parts.into_iter().for_each(|part| segment.push(part));
        segment.ranges.clone_from(&entry.ranges);
        for still in &entry.stills {
            segment.stills.push(still.still(self.next(still.length)?));
        }
        segment.complete = true;
        Ok(segment)
    }
}

const MAGIC: &[u8; 8] = b"SPWY-DVR";
const HEAD: usize = MAGIC.len() + 8;

/// Some kilobytes are usual; more than this nobody wrote.
const INDEX_MOST: u32 = 16 << 20;
