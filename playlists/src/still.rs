//! Single pictures of a segment: posters, for who does not play yet, and a tile, for who looks for a place in
//! what was. How they are made and sent is not known here.

use bytes::Bytes;

use crate::{
    segment::{Epoch, Segment},
    time::MediaTime,
};

/// How a picture is coded.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Coding {
    Jpeg,
    Webp,
}

impl Coding {
    /// As names end that say it.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Webp => "webp",
        }
    }

    /// Its media type.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
        }
    }
}

/// A segment's first picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Still {
    /// The small one that storyboards are made of, rather than a poster.
    pub tile: bool,
    pub coding: Coding,
    pub width: u16,
    pub height: u16,
    pub media: Bytes,
}

/// The newest posters of a stream, and which segment they are of.
#[derive(Clone, Debug, PartialEq)]
pub struct Posters {
    pub epoch: Epoch,
    pub number: u64,
    pub stills: Vec<Still>,
}

impl Posters {
    /// Those of `segment`, if it has any.
    pub(crate) fn of(segment: &Segment) -> Option<Self> {
        let posters = segment.stills.iter().filter(|still| !still.tile);
        let stills: Vec<_> = posters.cloned().collect();
        (!stills.is_empty()).then(|| Self {
            epoch: segment.head.epoch,
            number: segment.number(),
            stills,
        })
    }

    /// The smallest that is at least so wide, else the widest.
    pub fn at_least(&self, width: u16, coding: Coding) -> Option<&Still> {
        let coded = || self.stills.iter().filter(|still| still.coding == coding);
        let wide = coded().filter(|still| still.width >= width);
        wide.min_by_key(|still| still.width)
            .or_else(|| coded().max_by_key(|still| still.width))
    }
}

/// Tiles of consecutive segments, one below the other in one picture. What is in it never changes, since
/// it is named by its segments.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sprite {
    pub epoch: Epoch,
    /// Media sequence numbers of its first tile and of its last.
    pub first: u64,
    pub last: u64,
}

/// Where the tile of a segment is found, and for how long it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cue {
    pub sprite: Sprite,
    pub start: MediaTime,
    pub end: MediaTime,
    /// Lines above it in the sprite.
    pub top: u32,
    pub width: u16,
    pub height: u16,
}

impl Sprite {
    /// Tiles are gathered by tens, so that an old sprite keeps its name while new segments come.
    pub const TILES: u64 = 10;

    /// Its path, as seen from the stream.
    pub fn name(&self) -> String {
        let Self { epoch, first, last } = self;
        format!("{}/storyboard/{first}-{last}.jpg", epoch.0)
    }

    /// The first and the last number of a name without its folders.
    pub fn numbers(name: &str) -> Option<(u64, u64)> {
        let (first, last) = name.strip_suffix(".jpg")?.split_once('-')?;
        let (first, last) = (digits(first)?, digits(last)?);
        let together = first / Self::TILES == last / Self::TILES;
        (first <= last && together).then_some((first, last))
    }
}

/// One way to write a number, so that a thing has one name.
fn digits(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// Lines from the top of one tile in a sprite to the next: a picture that is coded in blocks of so many lines.
pub fn pitch(height: u16) -> u32 {
    u32::from(height).next_multiple_of(BLOCK)
}

/// The tiles of `segments`, which are consecutive and complete. Times are counted from the beginning of
/// segment `from`, or of the first; what ends before that has none. Segments that are not here any more are taken to
/// have been of `usual` length. A segment without a tile shows the one before.
pub fn storyboard<'a>(
    segments: impl IntoIterator<Item = &'a Segment>,
    from: Option<u64>,
    usual: MediaTime,
) -> Vec<Cue> {
    let mut cues: Vec<Cue> = Vec::new();
    let (mut at, mut zero) = (MediaTime::ZERO, None);
    for segment in segments {
        let number = segment.number();
        let from = from.unwrap_or(number);
        if zero.is_none() && from <= number {
            let gone = i64::try_from(number - from).unwrap_or(i64::MAX);
            zero = Some(at - usual * gone);
        }
        let end = at + segment.duration();
        if let Some(tile) = segment.tile() {
            let sprite = sprite(&cues, segment, tile);
            let (width, height) = (tile.width, tile.height);
            cues.push(Cue {
                sprite,
                start: at,
                end,
                top: 0,
                width,
                height,
            });
        } else if let Some(before) = cues.last_mut() {
            before.end = end;
        }
        at = end;
    }
    // Nothing is here yet of what is to be counted from.
    let zero = zero.unwrap_or(at);
    let mut place = 0;
    while place < cues.len() {
        let first = cues[place].sprite.first;
        let together = cues[place..]
            .iter()
            .take_while(|cue| cue.sprite.first == first);
        let together = together.count();
        let last = cues[place + together - 1].sprite.last;
        for cue in &mut cues[place..place + together] {
            cue.top = (cue.sprite.last - first) as u32 * pitch(cue.height);
            cue.sprite.last = last;
        }
        place += together;
    }
    cues.retain_mut(|cue| {
        cue.start = (cue.start - zero).max(MediaTime::ZERO);
        cue.end = cue.end - zero;
        cue.end > cue.start
    });
    cues
}

/// The sprite of `segment`, which for now ends with it: that of the tile before it, if both can be in one.
fn sprite(cues: &[Cue], segment: &Segment, tile: &Still) -> Sprite {
    let (epoch, number) = (segment.head.epoch, segment.number());
    let alike = cues.last().filter(|before| {
        before.sprite.epoch == epoch
            && before.sprite.first / Sprite::TILES == number / Sprite::TILES
            && (before.width, before.height) == (tile.width, tile.height)
    });
    Sprite {
        epoch,
        first: alike.map_or(number, |before| before.sprite.first),
        last: number,
    }
}

/// JPEG codes colours at half the size in blocks of 8 by 8.
const BLOCK: u32 = 16;
