//! The rung that is passed on: the input's own pictures, cut where the run is cut.
//!
//! A segment of it begins with a key frame of the source or is not made at all: then the next cheaper rung's stands in for it, as
//! for a rung that there is no time to encode. So whoever else is on the air, and whatever the source does, the run goes on.

use std::collections::VecDeque;

use bytes::Bytes;
use media::order::{Order, Times};
use playlists::MediaTime;
use segmenter::{
    Grid,
    cutter::{Keys, Span},
};

use crate::{
    coded::Sets,
    config::CLOCK,
    error::Error,
    libav::{Coded, Muxer, Packet},
};

pub(crate) struct Through {
    /// Its place in the ladder.
    pub(crate) rung: usize,
    sets: Sets,
    muxer: Muxer,
    grid: Grid,
    /// The longest that a segment gets.
    longest: MediaTime,
    /// In the order of decoding; those that no part has taken. Bounded by `MOST`.
    waiting: VecDeque<Waiting>,
    /// Segments that have begun and are not cut to their end, and the source's time of the key frame that each begins with.
    begun: VecDeque<(u64, Option<MediaTime>)>,
    /// Of the segment that is cut now, if it is passed on.
    order: Option<Order>,
    keys: Keys,
    /// It was said that they are too far apart.
    warned: bool,
}

struct Waiting {
    coded: Coded,
    /// Source's time minus run time, if that is other than it is now.
    offset: Option<MediaTime>,
}

impl Through {
    pub(crate) fn new(
        rung: usize,
        sets: Sets,
        muxer: Muxer,
        grid: Grid,
        longest: MediaTime,
    ) -> Self {
        Self {
            rung,
            sets,
            muxer,
            grid,
            longest,
            waiting: VecDeque::new(),
            begun: VecDeque::new(),
            order: None,
            keys: Keys::default(),
            warned: false,
        }
    }

    /// Whether pictures of a source with these parameter sets can be passed on in this run.
    pub(crate) fn takes(&self, sets: &Sets) -> bool {
        self.sets == *sets
    }

    /// The pictures to come are others.
    pub(crate) fn switch(&mut self) {
        self.keys = Keys::default();
    }

    /// A picture of who is on the air, before it is decoded.
    pub(crate) fn put(&mut self, coded: Coded) {
        if coded.key {
            self.keys.come(coded.shown);
            self.judge();
        }
        if self.waiting.len() == MOST {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Waiting {
            coded,
            offset: None,
        });
    }

    /// From the picture that the source shows at `time` on, its clock stands otherwise against the run's than it did, by
    /// `before`; `None`: from now on.
    pub(crate) fn reset(&mut self, time: Option<MediaTime>, before: Option<MediaTime>) {
        let here = |waiting: &Waiting| Some(waiting.coded.shown) == time;
        let end = self.waiting.iter().position(here);
        let end = end.unwrap_or(self.waiting.len());
        for waiting in self.waiting.iter_mut().take(end) {
            waiting.offset = waiting.offset.or(before);
        }
    }

    fn judge(&mut self) {
        let sparse = self.is_sparse();
        if sparse && !self.warned {
            tracing::warn!(
                apart_s = self.keys.apart.seconds(),
                longest_s = self.longest.seconds(),
                "the input's key frames are too far apart for its pictures to be passed on; set its key frame interval to --segment-seconds, or \
                 that to the interval"
            );
        }
        self.warned = sparse;
    }

    fn is_sparse(&self) -> bool {
        self.keys.apart > self.longest + self.grid.time(1)
    }

    /// Whether the picture that the source shows at `time` is a key frame that a segment can begin with.
    pub(crate) fn is_key(&self, time: MediaTime) -> bool {
        let mut latest = self.waiting.iter().rev();
        !self.is_sparse() && latest.any(|waiting| waiting.is_key(time))
    }

    /// `segment` begins, with the key frame of this time of the source's; `None`: with another picture.
    pub(crate) fn begins(&mut self, segment: u64, key: Option<MediaTime>) {
        self.begun.push_back((segment, key));
    }

    /// Its share of a part; `None` if this segment is not passed on. `offset`: source's time minus run time, as it is now.
    pub(crate) fn cut(
        &mut self,
        span: Span,
        offset: Option<MediaTime>,
        sound: &[Packet],
    ) -> Result<Option<Bytes>, Error> {
        if span.index == 0 {
            self.order = self.start(span);
        }
        let Some(mut order) = self.order.take() else {
            return Ok(None);
        };
        let share = self.share(span, offset, sound, &mut order)?;
        self.order = Some(order);
        Ok(Some(share))
    }

    /// Finds the key frame that the segment of `span` begins with, and lets go of what comes before it.
    fn start(&mut self, span: Span) -> Option<Order> {
        let mut key = None;
        while let Some((segment, begins)) = self.begun.front().copied()
            && segment <= span.segment
        {
            self.begun.pop_front();
            key = begins.filter(|_| segment == span.segment);
        }
        let key = key?;
        let at = self
            .waiting
            .iter()
            .position(|waiting| waiting.is_key(key))?;
        self.waiting.drain(..at);
        Some(Order::new(
            self.grid.time(span.first_frame).to_ticks(CLOCK),
            self.grid.time(1).to_ticks(CLOCK),
        ))
    }

    fn share(
        &mut self,
        span: Span,
        offset: Option<MediaTime>,
        sound: &[Packet],
        order: &mut Order,
    ) -> Result<Bytes, Error> {
        let grid = self.grid;
        // Up to the last one that is shown before the part ends; whatever it refers to is decoded before it.
        let inside = |waiting: &Waiting| {
            let slot = waiting.slot(waiting.coded.shown, offset, &grid);
            slot.is_some_and(|slot| slot < span.end_frame())
        };
        let count = self.waiting.iter().rposition(inside);
        let count = count.map_or(0, |last| last + 1);
        let end = self.grid.time(span.end_frame()).to_ticks(CLOCK);
        let pictures = self.waiting.iter().take(count);
        let mut times: Vec<_> = pictures
            .map(|waiting| waiting.times(offset, &grid, order, end))
            .collect();
        // The one after them says how long the last one is, if it goes on with them.
        let following = self.waiting.get(count).filter(|_| !span.last);
        let following =
            following.map(|waiting| waiting.times(offset, &grid, &mut order.clone(), end));
        times.extend(following.or(Some(Times {
            shown: end,
            decoded: end,
        })));
        // The muxer takes each fragment's time from its packets: what was said to be a picture's length need not have been.
        self.muxer.skip()?;
        for (waiting, times) in self.waiting.drain(..count).zip(times.windows(2)) {
            let long = times[1].decoded - times[0].decoded;
            self.muxer.original(waiting.coded, times[0], long.max(1))?;
        }
        for packet in sound {
            self.muxer.sound(packet)?;
        }
        self.muxer.cut()
    }
}

impl Waiting {
    fn is_key(&self, time: MediaTime) -> bool {
        self.coded.key && self.coded.shown == time
    }

    /// Where the source's `time` falls among the pictures of the run.
    fn slot(&self, time: MediaTime, offset: Option<MediaTime>, grid: &Grid) -> Option<u64> {
        let offset = self.offset.or(offset)?;
        Some(grid.frame(time - offset))
    }

    /// On the run's own clock, in a part that ends at `end`: where every other rung has this picture.
    fn times(&self, offset: Option<MediaTime>, grid: &Grid, order: &mut Order, end: i64) -> Times {
        let ticks = |time| {
            let slot = self.slot(time, offset, grid);
            slot.map(|slot| grid.time(slot).to_ticks(CLOCK))
        };
        let shown = ticks(self.coded.shown).unwrap_or(end - 1);
        order.next(self.coded.key, shown, self.coded.decoded.and_then(ticks))
    }
}

/// Some seconds of pictures, and more than any segment has; the oldest go first.
const MOST: usize = 1024;
