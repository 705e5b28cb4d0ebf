//! What has left the live window and can still be played: complete segments without a hole, hours
//! of them, oldest first.
//!
//! A window is cloned with every part that is published, so this is shared behind one `Arc` and
//! changes once per segment, by copying one chunk and the list of chunks. What text a chunk's
//! segments make is kept with it, so that a long playlist is not written anew each time. Where
//! the octets are (in memory, in a mapped file) is not known here.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

use crate::{
    segment::{Epoch, Init, Segment},
    time::MediaTime,
};

/// Consecutive media sequence numbers; every chunk but the last is full.
#[derive(Clone, Debug)]
pub struct History {
    /// How much of it is listed; `None` is all.
    span: Option<MediaTime>,
    /// How much more is kept for players that hold a playlist of a while ago (RFC 8216bis section 6.2.2).
    grace: MediaTime,
    chunks: VecDeque<Arc<Chunk>>,
    /// Segments of the first chunk that are gone.
    gone: usize,
    /// Segments at the old end that are kept, but not listed any more.
    unlisted: usize,
    listed_length: MediaTime,
    unlisted_length: MediaTime,
    /// Each init section, and the last segment that uses it.
    inits: Vec<(Arc<Init>, u64)>,
}

/// Segments in a chunk: with hours of them, a change copies about as many pointers to chunks as
/// to segments of one.
const CHUNK: usize = 64;

/// How many ways there are to write a segment of the past; a way is a number below this.
pub const WAYS: usize = 4;

#[derive(Debug, Default)]
struct Chunk {
    segments: Vec<Arc<Segment>>,
    /// Its text in each way, written by the first who asks.
    lines: [OnceLock<Lines>; WAYS],
}

/// The text of consecutive segments, and where in it each begins.
#[derive(Debug, Default)]
struct Lines {
    text: String,
    starts: Vec<usize>,
}

/// A copy is made to be changed, so that its text would be another.
impl Clone for Chunk {
    fn clone(&self) -> Self {
        Self {
            segments: self.segments.clone(),
            lines: Default::default(),
        }
    }
}

impl History {
    /// Lists segments of `span` in all (`None`: every one), and keeps those that left for `grace` more.
    pub fn new(span: Option<MediaTime>, grace: MediaTime) -> Self {
        Self {
            span,
            grace,
            chunks: VecDeque::new(),
            gone: 0,
            unlisted: 0,
            listed_length: MediaTime::ZERO,
            unlisted_length: MediaTime::ZERO,
            inits: Vec::new(),
        }
    }

    /// Nothing of it, to begin anew.
    pub fn emptied(&self) -> Self {
        Self::new(self.span, self.grace)
    }

    /// Appends what follows the last segment. What does not follow it begins the history anew, for
    /// a playlist cannot leave a number out.
    pub(crate) fn push(&mut self, segment: Arc<Segment>) {
        if self
            .last()
            .is_some_and(|last| last.number() + 1 != segment.number())
        {
            *self = self.emptied();
        }
        self.note_init(&segment);
        self.listed_length += segment.duration();
        match self.chunks.back_mut() {
            Some(chunk) if chunk.segments.len() < CHUNK => {
                Arc::make_mut(chunk).segments.push(segment);
            }
            _ => {
                let mut segments = Vec::with_capacity(CHUNK);
                segments.push(segment);
                self.chunks.push_back(Arc::new(Chunk {
                    segments,
                    lines: Default::default(),
                }));
            }
        }
        self.shorten();
    }

    /// Puts `segment` in the place of the one with its number, if that is here.
    pub(crate) fn replace(&mut self, segment: Arc<Segment>) {
        let Some((chunk, place)) = self.place(segment.number()) else {
            return;
        };
        Arc::make_mut(&mut self.chunks[chunk]).segments[place] = segment;
    }

    /// Drops everything before segment `number`.
    pub(crate) fn forget_before(&mut self, number: u64) {
        while self.first().is_some_and(|first| first.number() < number) {
            self.drop_first();
        }
    }

    fn note_init(&mut self, segment: &Segment) {
        let number = segment.number();
        let init = &segment.head.init;
        match self
            .inits
            .iter_mut()
            .find(|(known, _)| known.epoch == init.epoch)
        {
            Some((_, last)) => *last = number,
            None => self.inits.push((init.clone(), number)),
        }
    }

    fn shorten(&mut self) {
        let Some(span) = self.span else { return };
        while self.listed_length > span {
            let Some(length) = self.listed().next().map(|segment| segment.duration()) else {
                break;
            };
            self.unlisted += 1;
            self.listed_length = self.listed_length - length;
            self.unlisted_length += length;
        }
        while self.unlisted_length > self.grace {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        let Some((number, length)) = self
            .first()
            .map(|segment| (segment.number(), segment.duration()))
        else {
            return;
        };
        if self.unlisted > 0 {
            self.unlisted -= 1;
            self.unlisted_length = self.unlisted_length - length;
        } else {
            self.listed_length = self.listed_length - length;
        }
        self.gone += 1;
        if self
            .chunks
            .front()
            .is_some_and(|chunk| chunk.segments.len() == self.gone)
        {
            self.chunks.pop_front();
            self.gone = 0;
        }
        self.inits.retain(|(_, last)| *last > number);
    }

    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The oldest that is kept, though it may not be listed any more.
    pub fn first(&self) -> Option<&Arc<Segment>> {
        self.chunks.front()?.segments.get(self.gone)
    }

    pub fn last(&self) -> Option<&Arc<Segment>> {
        self.chunks.back()?.segments.last()
    }

    pub fn segment(&self, number: u64) -> Option<&Arc<Segment>> {
        let (chunk, place) = self.place(number)?;
        self.chunks[chunk].segments.get(place)
    }

    fn place(&self, number: u64) -> Option<(usize, usize)> {
        let behind = number.checked_sub(self.first()?.number())?;
        let index = usize::try_from(behind).ok()?.checked_add(self.gone)?;
        let (chunk, place) = (index / CHUNK, index % CHUNK);
        (place < self.chunks.get(chunk)?.segments.len()).then_some((chunk, place))
    }

    /// What playlists list of it, oldest first.
    pub fn listed(&self) -> impl Iterator<Item = &Arc<Segment>> {
        let skip = self.gone + self.unlisted;
        let chunks = self.chunks.iter().enumerate().skip(skip / CHUNK);
        chunks.flat_map(move |(index, chunk)| {
            let from = skip.saturating_sub(index * CHUNK);
            chunk.segments[from.min(chunk.segments.len())..].iter()
        })
    }

    /// How many segments are listed.
    pub fn listed_count(&self) -> usize {
        let full = self.chunks.len().saturating_sub(1) * CHUNK;
        let last = self.chunks.back().map_or(0, |chunk| chunk.segments.len());
        (full + last).saturating_sub(self.gone + self.unlisted)
    }

    pub fn length(&self) -> MediaTime {
        self.listed_length
    }

    /// The init section of `epoch`, while a segment that uses it is here.
    pub fn init(&self, epoch: Epoch) -> Option<&Arc<Init>> {
        self.inits
            .iter()
            .map(|(init, _)| init)
            .find(|init| init.epoch == epoch)
    }

    /// Appends the lines of all listed segments to `text`. `write` puts down one segment that
    /// follows another; it is only called for chunks that nobody has asked for in this `way`.
    ///
    /// The first segment's lines may rest on one that is not listed any more: what a playlist has
    /// to say before its first segment is the caller's to know.
    pub fn write_lines(
        &self,
        text: &mut String,
        way: usize,
        write: impl Fn(&mut String, &Segment, Option<&Segment>),
    ) {
        let skip = self.gone + self.unlisted;
        for (index, chunk) in self.chunks.iter().enumerate().skip(skip / CHUNK) {
            let before = index
                .checked_sub(1)
                .and_then(|before| self.chunks.get(before))
                .and_then(|before| before.segments.last());
            let lines = chunk.lines[way].get_or_init(|| chunk.written(before, &write));
            let from = skip.saturating_sub(index * CHUNK);
            if let Some(start) = lines.starts.get(from) {
                text.push_str(&lines.text[*start..]);
            }
        }
    }
}

impl Chunk {
    fn written(
        &self,
        before: Option<&Arc<Segment>>,
        write: &impl Fn(&mut String, &Segment, Option<&Segment>),
    ) -> Lines {
        let mut lines = Lines::default();
        let mut before = before;
        for segment in &self.segments {
            lines.starts.push(lines.text.len());
            write(&mut lines.text, segment, before.map(|before| &**before));
            before = Some(segment);
        }
        lines
    }
}
