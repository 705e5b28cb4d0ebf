//! What is published of a stream now: consecutive segments, the last of which may be open.
//!
//! Only grows at the live edge and shrinks at the old end. What leaves there is gone, or goes on in
//! the [`History`] if there is one: the live window, hours of it, and a programme that has ended
//! are views of the same segments. Each snapshot is a value; handing snapshots to readers is the
//! store's business.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use crate::{
    daterange::{DateRange, Ranges},
    history::History,
    ladder::{Ladder, Rung},
    measure::Measure,
    rendition::{Closed, Renditions},
    segment::{Head, Init, Part, Segment},
    still::{Posters, Still},
    time::{Bitrate, MediaTime, WallTime},
};

/// What stays the same for as long as a stream is published.
#[derive(Clone, Debug, PartialEq)]
pub struct Format {
    pub ladder: Ladder,
    pub renditions: Renditions,
    /// Nominal length of a segment.
    pub segment: MediaTime,
    /// Longest part (`PART-TARGET`).
    pub part: MediaTime,
    /// How many complete segments playlists list.
    pub listed: usize,
}

impl Format {
    /// `EXT-X-TARGETDURATION` in seconds: no `EXTINF`, rounded, is above it (RFC 8216bis section 4.4.3.1).
    pub fn target_duration(&self) -> u64 {
        (self.segment.seconds().round() as u64).max(1)
    }

    /// Whether segments come in parts; else there is nothing to tell of before one is complete.
    pub fn is_parted(&self) -> bool {
        self.part < self.segment
    }

    /// The target duration as a length.
    pub fn target(&self) -> MediaTime {
        MediaTime::from_seconds(self.target_duration() as f64)
    }

    /// Three target durations: what a player holds, and so how long it can wait, and how long a
    /// player that is still there may be silent (RFC 8216bis section 6.3.3).
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.target_duration()) * 3
    }

    /// Segments kept in memory: those that are listed, and for as long again those that just
    /// left, which players that hold an old playlist may still ask for (RFC 8216bis section 6.2.2).
    pub fn retained(&self) -> usize {
        self.listed * 2 + 1
    }
}

/// Consecutive media sequence numbers; every segment but the last is complete; every part has all rungs.
#[derive(Clone, Debug)]
pub struct Window {
    format: Arc<Format>,
    /// What the live segments follow; `None` if nothing is to be kept of them.
    history: Option<Arc<History>>,
    segments: VecDeque<Arc<Segment>>,
    /// What live segments become when they are history, as far as it is known: the same octets
    /// from elsewhere, or a gap.
    successors: Arc<BTreeMap<u64, Arc<Segment>>>,
    measure: Arc<Measure>,
    /// The newest of complete segments; they outlive their segment.
    posters: Option<Arc<Posters>>,
    ranges: Arc<Ranges>,
    ended: bool,
}

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WindowError {
    #[error("segment {found} follows segment {last}; media sequence numbers rise by one")]
    Number { last: u64, found: u64 },
    #[error("discontinuity sequence {found} of segment {number} does not follow {last}")]
    Timeline { number: u64, last: u64, found: u64 },
    #[error("a part of segment {number} has {found} rungs; the ladder has {rungs}")]
    Rungs {
        number: u64,
        rungs: usize,
        found: usize,
    },
    #[error("a part of segment {number} has {found} renditions; the stream has {renditions}")]
    Renditions {
        number: u64,
        renditions: usize,
        found: usize,
    },
    #[error("segment {number} would be {length} s long, above the target duration of {target} s")]
    Length {
        number: u64,
        length: MediaTime,
        target: u64,
    },
    #[error("a part came while no segment is open")]
    NoSegment,
    #[error("the stream has ended")]
    Ended,
}

impl Window {
    pub fn new(format: Format) -> Self {
        Self {
            format: Arc::new(format),
            history: None,
            segments: VecDeque::new(),
            successors: Arc::default(),
            measure: Arc::default(),
            posters: None,
            ranges: Arc::default(),
            ended: false,
        }
    }

    /// A window whose segments are kept when they leave the live part.
    pub fn remembering(format: Format, history: History) -> Self {
        Self {
            history: Some(Arc::new(history)),
            ..Self::new(format)
        }
    }

    /// Puts complete segments of before into an empty window, oldest first.
    pub fn resume(
        &mut self,
        segments: impl IntoIterator<Item = Arc<Segment>>,
    ) -> Result<(), WindowError> {
        for segment in segments {
            self.follows(&segment.head)?;
            if let Some(found) = segment
                .parts
                .iter()
                .map(|part| part.media.len())
                .find(|found| *found != self.format.ladder.rungs().len())
            {
                return Err(WindowError::Rungs {
                    number: segment.number(),
                    rungs: self.format.ladder.rungs().len(),
                    found,
                });
            }
            Arc::make_mut(&mut self.measure).take(&segment, self.format.target());
            for range in &segment.ranges {
                let begins = (segment.number(), segment.head.date_time);
                Arc::make_mut(&mut self.ranges).put(segment.number(), range.clone(), begins);
            }
            self.posters = Posters::of(&segment).map(Arc::new).or(self.posters.take());
            self.segments.push_back(segment);
            self.retire();
        }
        Ok(())
    }

    /// Opens the next segment; one that is still open is complete as it is.
    pub fn open(&mut self, head: Head) -> Result<(), WindowError> {
        if self.ended {
            return Err(WindowError::Ended);
        }
        self.close();
        self.follows(&head)?;
        self.segments.push_back(Arc::new(Segment::new(head)));
        self.retire();
        self.forget_ranges();
        Ok(())
    }

    /// The next segment is one without anything in it.
    pub fn skip(&mut self, head: Head, duration: MediaTime) -> Result<(), WindowError> {
        self.open(head.clone())?;
        let (rungs, renditions) = (self.format.ladder.rungs().len(), &self.format.renditions);
        let gap = Segment::gap(head, duration, rungs, renditions);
        if let Some(last) = self.segments.back_mut() {
            *last = Arc::new(gap);
        }
        Ok(())
    }

    /// Whether a segment with this head can be the next.
    fn follows(&self, head: &Head) -> Result<(), WindowError> {
        let Some(last) = self.segments.back().map(|segment| &segment.head) else {
            return Ok(());
        };
        if head.number != last.number + 1 {
            return Err(WindowError::Number {
                last: last.number,
                found: head.number,
            });
        }
        if head.timeline != last.timeline + u64::from(head.discontinuity) {
            let (last, found) = (last.timeline, head.timeline);
            return Err(WindowError::Timeline {
                number: head.number,
                last,
                found,
            });
        }
        Ok(())
    }

    /// Lets what is too old leave the live part.
    fn retire(&mut self) {
        let surplus = self.segments.len().saturating_sub(self.format.retained());
        for segment in self.segments.drain(..surplus) {
            let Some(history) = &mut self.history else {
                continue;
            };
            let successor = (!self.successors.is_empty())
                .then(|| Arc::make_mut(&mut self.successors).remove(&segment.number()));
            Arc::make_mut(history).push(successor.flatten().unwrap_or(segment));
        }
    }

    /// Takes note of what the complete segment of the same number becomes as history: its octets from
    /// elsewhere, or a gap if they are lost. Says whether that number is still here.
    pub fn succeed(&mut self, successor: Arc<Segment>) -> bool {
        let number = successor.number();
        let live = self.segments.front().map(|first| first.number());
        let Some(history) = &mut self.history else {
            return false;
        };
        if live.is_some_and(|live| number >= live) {
            Arc::make_mut(&mut self.successors).insert(number, successor);
            return self.segment(number).is_some();
        }
        let here = history.segment(number).is_some();
        if here {
            Arc::make_mut(history).replace(successor);
        }
        here
    }

    /// Drops the history before segment `number`. The live part stays.
    pub fn forget_before(&mut self, number: u64) {
        if let Some(history) = &mut self.history {
            Arc::make_mut(history).forget_before(number);
        }
    }

    /// Appends a part to the open segment.
    pub fn push(&mut self, part: Part) -> Result<(), WindowError> {
        if self.ended {
            return Err(WindowError::Ended);
        }
        let rungs = self.format.ladder.rungs().len();
        let renditions = self.format.renditions.others.len();
        let target = self.format.target_duration();
        let segment = self.segments.back_mut().filter(|segment| !segment.complete);
        let segment = Arc::make_mut(segment.ok_or(WindowError::NoSegment)?);
        let number = segment.number();
        if part.media.len() != rungs {
            return Err(WindowError::Rungs {
                number,
                rungs,
                found: part.media.len(),
            });
        }
        if part.renditions.len() != renditions {
            return Err(WindowError::Renditions {
                number,
                renditions,
                found: part.renditions.len(),
            });
        }
        let length = segment.duration() + part.duration;
        if length.seconds().round() as u64 > target {
            return Err(WindowError::Length {
                number,
                length,
                target,
            });
        }
        segment.push_some(part, &self.format.ladder);
        Ok(())
    }

    /// Adds the subtitles of the open segment, which are one text for all of its parts, and so are nobody's
    /// before it is complete.
    pub fn caption(&mut self, rendition: usize, text: Bytes) -> Result<(), WindowError> {
        let segment = self.segments.back_mut().filter(|segment| !segment.complete);
        let segment = Arc::make_mut(segment.ok_or(WindowError::NoSegment)?);
        let (number, renditions) = (segment.number(), self.format.renditions.others.len());
        let last = segment.parts.last_mut().ok_or(WindowError::NoSegment)?;
        let place = last.renditions.get_mut(rendition);
        *place.ok_or(WindowError::Renditions {
            number,
            renditions,
            found: rendition + 1,
        })? = text;
        Ok(())
    }

    /// Tells of `range` from the open segment on. What was told already is no news.
    pub fn mark(&mut self, range: DateRange) -> Result<(), WindowError> {
        let first = self.listed().next().or(self.segments.back());
        let begins = first.map(|first| (first.number(), first.head.date_time));
        let segment = self.segments.back_mut().filter(|segment| !segment.complete);
        let (Some(segment), Some(begins)) = (segment, begins) else {
            return Err(WindowError::NoSegment);
        };
        if !self.ranges.holds(&range) {
            Arc::make_mut(&mut self.ranges).put(segment.number(), range.clone(), begins);
            Arc::make_mut(segment).ranges.push(range);
        }
        Ok(())
    }

    /// Whether anything is told of spans.
    pub fn has_ranges(&self) -> bool {
        !self.ranges.is_empty()
    }

    /// The spans that are not over at the beginning of `first`, and were told before.
    pub fn running(&self, first: &Segment) -> impl Iterator<Item = &DateRange> {
        self.ranges.running(first.number(), first.head.date_time)
    }

    /// The ids of those that the list that begins with `first` has not, and that of `span` before had.
    pub fn recently_removed(&self, first: &Segment, span: MediaTime) -> Vec<&str> {
        let then = first.head.date_time.later(MediaTime::ZERO - span);
        let older = |segment: &&Arc<Segment>| segment.head.date_time <= then;
        let before = self.segments.iter().rev().find(older);
        let before = before.map_or(0, |before| before.number());
        let now = (first.number(), first.head.date_time);
        self.ranges.removed((before, then), now)
    }

    /// What nobody lists any more, nor is told that it was taken off the list.
    fn forget_ranges(&mut self) {
        if let (false, Some(first)) = (self.ranges.is_empty(), self.segments.front()) {
            let long_ago = first.head.date_time.later(self.format.target() * -6);
            Arc::make_mut(&mut self.ranges).forget(first.number(), long_ago);
        }
    }

    /// Adds the pictures of the open segment; nobody is told of them before it is complete.
    pub fn illustrate(&mut self, stills: Vec<Still>) -> Result<(), WindowError> {
        let segment = self.segments.back_mut().filter(|segment| !segment.complete);
        Arc::make_mut(segment.ok_or(WindowError::NoSegment)?).stills = stills;
        Ok(())
    }

    /// The newest posters.
    pub fn posters(&self) -> Option<&Arc<Posters>> {
        self.posters.as_ref()
    }

    /// Completes the open segment, if there is one; one without any part never was.
    pub fn close(&mut self) {
        if self
            .segments
            .back()
            .is_some_and(|segment| segment.parts.is_empty())
        {
            self.segments.pop_back();
        }
        if let Some(segment) = self.segments.back_mut().filter(|segment| !segment.complete) {
            let segment = Arc::make_mut(segment);
            segment.complete = true;
            Arc::make_mut(&mut self.measure).take(segment, self.format.target());
            self.posters = Posters::of(segment).map(Arc::new).or(self.posters.take());
        }
    }

    /// Takes back the open segment, of which no more will come; it may be opened again.
    pub fn abandon(&mut self) {
        if self
            .segments
            .back()
            .is_some_and(|segment| !segment.complete)
        {
            self.segments.pop_back();
        }
    }

    /// Nothing will follow (`EXT-X-ENDLIST`).
    pub fn end(&mut self) {
        self.close();
        self.ended = true;
    }

    /// From now on that is what is known of captions in the pictures.
    pub fn declare(&mut self, closed: Vec<Closed>) {
        let closed = Some(closed);
        if self.format.renditions.closed != closed {
            Arc::make_mut(&mut self.format).renditions.closed = closed;
        }
    }

    pub fn format(&self) -> &Arc<Format> {
        &self.format
    }

    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Every segment of the live part, the open one included.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &Arc<Segment>> {
        self.segments.iter()
    }

    /// A segment of the live part or of the history.
    pub fn segment(&self, number: u64) -> Option<&Arc<Segment>> {
        let first = self.segments.front()?.number();
        match number.checked_sub(first) {
            Some(place) => self.segments.get(usize::try_from(place).ok()?),
            None => self.history.as_ref()?.segment(number),
        }
    }

    /// What is kept of segments that have left the live part.
    pub fn history(&self) -> Option<&History> {
        self.history.as_deref()
    }

    /// Whether segment `number` has left the live part.
    pub fn is_past(&self, number: u64) -> bool {
        self.segments
            .front()
            .is_some_and(|first| number < first.number())
    }

    /// Every complete segment that a long playlist lists, oldest first.
    pub fn listed_in_full(&self) -> impl Iterator<Item = &Arc<Segment>> {
        let past = self.history().into_iter().flat_map(History::listed);
        past.chain(self.segments.iter().filter(|segment| segment.complete))
    }

    /// How much media there is from the moment `time` to the edge, of what can be watched: none if it
    /// is yet to come, all if it is too long ago.
    pub fn since(&self, time: WallTime) -> MediaTime {
        let mut since = MediaTime::ZERO;
        let newest_first = self
            .segments
            .iter()
            .rev()
            .filter(|segment| segment.complete);
        let past: Vec<_> = self
            .history()
            .into_iter()
            .flat_map(History::listed)
            .collect();
        for segment in newest_first.chain(past.into_iter().rev()) {
            let (begin, length) = (segment.head.date_time, segment.duration());
            if begin <= time {
                let into = MediaTime::from_ticks(time.millis() - begin.millis(), 1000);
                return since + length - into.min(length);
            }
            since += length;
        }
        since
    }

    /// When the last complete segment ends.
    pub fn edge(&self) -> Option<WallTime> {
        self.last_complete()
            .map(|last| last.head.date_time.later(last.duration()))
    }

    /// The last complete segment.
    pub fn last_complete(&self) -> Option<&Arc<Segment>> {
        self.segments.iter().rev().find(|segment| segment.complete)
    }

    /// The open segment.
    pub fn open_segment(&self) -> Option<&Arc<Segment>> {
        self.segments
            .back()
            .filter(|segment| !segment.complete && !segment.parts.is_empty())
    }

    /// The complete segments that playlists list, oldest first: as many as the format says, and more
    /// where they are short, for no segment leaves a playlist that is then shorter than three
    /// target durations (RFC 8216bis section 6.2.2).
    pub fn listed(&self) -> impl Iterator<Item = &Arc<Segment>> {
        let complete = self
            .segments
            .iter()
            .filter(|segment| segment.complete)
            .count();
        let least = MediaTime::from_seconds(self.format.target_duration() as f64) * 3;
        let (mut length, mut listed) = (MediaTime::ZERO, 0);
        for segment in self.segments.iter().take(complete).rev() {
            if listed >= self.format.listed && length >= least {
                break;
            }
            length += segment.duration();
            listed += 1;
        }
        self.segments.iter().take(complete).skip(complete - listed)
    }

    /// Whether a player that starts now finds three segments, below which hls.js waits for the next.
    pub fn is_playable(&self) -> bool {
        self.ended || self.listed().nth(PLAYABLE - 1).is_some()
    }

    /// The init section of `epoch`, while a segment that uses it is here.
    pub fn init(&self, epoch: crate::segment::Epoch) -> Option<&Arc<Init>> {
        self.segments
            .iter()
            .rev()
            .map(|segment| &segment.head.init)
            .find(|init| init.epoch == epoch)
            .or_else(|| self.history()?.init(epoch))
    }

    /// `rungs` of the ladder as a player that joins now is to be told of them: by what they have really taken.
    pub fn told(&self, rungs: &[Rung]) -> Vec<Rung> {
        let index = |rung: &Rung| self.format.ladder.index(rung.name.as_str());
        let rungs: Vec<_> = rungs
            .iter()
            .filter_map(|rung| Some((index(rung)?, rung)))
            .collect();
        if !self.ended {
            return self.measure.told(&rungs, false);
        }
        let mut all = Measure::default();
        for segment in self.listed_in_full() {
            all.take(segment, self.format.target());
        }
        all.told(&rungs, true)
    }

    /// What the rungs took on average over the segments that are listed; declared rates until there are some.
    pub fn rates(&self) -> Vec<Bitrate> {
        let span: MediaTime = self.listed().map(|segment| segment.duration()).sum();
        let measured = |(rung, declared): (usize, Bitrate)| match span {
            MediaTime::ZERO => declared,
            span => Bitrate::of(
                self.listed().map(|segment| segment.octets(rung)).sum(),
                span.duration(),
            ),
        };
        self.format
            .ladder
            .rungs()
            .iter()
            .map(|rung| rung.average)
            .enumerate()
            .map(measured)
            .collect()
    }
}

/// How many segments a player wants before it starts (RFC 8216bis section 6.3.3: three target durations).
const PLAYABLE: usize = 3;
