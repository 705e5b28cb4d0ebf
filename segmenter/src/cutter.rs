//! Where a stream is cut: the grid, which says how many pictures a part and a segment have, and the cutter, which says of
//! each picture what begins with it.
//!
//! Pure arithmetic. Encoding on the grid and writing the parts is the program's business.

use std::collections::VecDeque;

use playlists::MediaTime;

/// Every stream's sound has this rate, in Hz.
pub const SAMPLE_RATE: u32 = 48_000;

/// Samples in one AAC-LC frame (ISO/IEC 14496-3, 4.5.1.1: frameLength).
pub const AAC_FRAME: u32 = 1024;

/// A part is a whole number of pictures, and so is a segment; where the frame rate lets it, a segment (better still: a
/// part) is a whole number of AAC frames too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Grid {
    fps: u32,
    part_frames: u32,
    segment_frames: u32,
}

/// One part on the grid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// Counted from 0 over the whole run.
    pub number: u64,
    pub segment: u64,
    /// Counted from 0 in the segment.
    pub index: u16,
    pub first_frame: u64,
    pub frames: u32,
    /// The segment is complete with it.
    pub last: bool,
}

impl Grid {
    /// The grid nearest to `segment` and `part` at `fps` pictures per second.
    ///
    /// Sound and picture meet every `1024 fps / gcd(1024 fps, 48000)` pictures: 16 at 30 fps (0.5333 s), 8 at
    /// 25 fps (0.32 s), 64 at 24 fps (2.6667 s). A segment is the nearest multiple of that, unless it
    /// were half as long again as asked for: then it is whole in pictures only.
    pub fn new(fps: u32, segment: MediaTime, part: MediaTime) -> Self {
        let fps = fps.max(1);
        let wanted = frames_in(segment, fps);
        let wanted_part = frames_in(part.min(segment), fps);
        let meeting = AAC_FRAME * fps / gcd(AAC_FRAME * fps, SAMPLE_RATE);
        let step = if meeting * 2 <= wanted * 3 {
            meeting
        } else {
            1
        };
        let segment_frames = (wanted + step / 2) / step * step.max(1);
        let segment_frames = segment_frames.max(step);

        // A part that is whole in AAC frames is preferred, unless it were longer than half as long again.
        let divides = |frames: &u32| segment_frames.is_multiple_of(*frames);
        let aligned = (1..=segment_frames)
            .filter(divides)
            .filter(|frames| frames.is_multiple_of(step));
        let near = |frames: &u32| (frames.abs_diff(wanted_part), u32::MAX - frames);
        let part_frames = aligned
            .min_by_key(near)
            .filter(|frames| step > 1 && frames * 2 <= wanted_part * 3)
            .or_else(|| (1..=segment_frames).filter(divides).min_by_key(near))
            .unwrap_or(segment_frames);
        Self {
            fps,
            part_frames,
            segment_frames,
        }
    }

    /// A grid of segments that begin where somebody else's key frames are: as long as asked for, whatever that is in AAC frames.
    pub fn following(fps: u32, segment: MediaTime, part: MediaTime) -> Self {
        let fps = fps.max(1);
        Self {
            fps,
            part_frames: frames_in(part.min(segment), fps),
            segment_frames: frames_in(segment, fps),
        }
    }

    pub fn fps(&self) -> u32 {
        self.fps
    }

    pub fn segment_frames(&self) -> u32 {
        self.segment_frames
    }

    pub fn part_frames(&self) -> u32 {
        self.part_frames
    }

    pub fn segment(&self) -> MediaTime {
        self.time(u64::from(self.segment_frames()))
    }

    pub fn part(&self) -> MediaTime {
        self.time(u64::from(self.part_frames))
    }

    /// When picture `frame` is shown, counted from the first picture of the run.
    pub fn time(&self, frame: u64) -> MediaTime {
        MediaTime::from_ticks(frame as i64, self.fps)
    }

    /// The picture that is shown nearest to `time`.
    pub fn frame(&self, time: MediaTime) -> u64 {
        let half = MediaTime::from_flicks(MediaTime::PER_SECOND / i64::from(self.fps) / 2);
        (time + half).to_ticks(self.fps).max(0) as u64
    }

    /// The first sample that sounds with or after picture `frame`.
    pub fn sample(&self, frame: u64) -> i64 {
        let samples = u128::from(frame) * u128::from(SAMPLE_RATE);
        samples.div_ceil(u128::from(self.fps)) as i64
    }
}

/// What a picture is the first of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Begins {
    Nothing,
    Part,
    Segment,
}

/// Whether a picture is one of the key frames that segments begin with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Key {
    /// None are followed.
    Any,
    No,
    Yes,
    /// They were followed, and there will be none for a while: the segment ends here.
    Lost,
}

/// How far apart the key frames of a source are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keys {
    last: Option<MediaTime>,
    /// The last one and the one before it; zero before there were two.
    pub apart: MediaTime,
}

impl Keys {
    /// One came at `time`. Says when the next one is due after it: one that comes early says nothing of that.
    pub fn come(&mut self, time: MediaTime) -> MediaTime {
        let usual = self.apart;
        let before = self.last.replace(time);
        self.apart = before.map_or(MediaTime::ZERO, |before| time - before);
        usual.max(self.apart)
    }
}

/// Tells parts and segments from one another while pictures come, one by one.
///
/// A segment begins where the last one has its length; or, if key frames are followed, with a key frame: the first that makes
/// it at least three quarters as long, or any, if the next one would be too late or the segment itself began without one. None
/// gets so long that it would not be rounded to the same target duration (RFC 8216bis section 4.4.3.1).
#[derive(Clone, Debug)]
pub struct Cutter {
    grid: Grid,
    /// Pictures so far.
    frames: u64,
    segment: u64,
    index: u16,
    number: u64,
    /// First pictures of the segment and of the part that are open.
    began: u64,
    part: u64,
    /// The segment that is open began with a key frame that is followed.
    keyed: bool,
    keys: Keys,
    /// It is to end, which takes a picture more.
    lost: bool,
    /// Parts that are complete, and not taken yet.
    ready: VecDeque<Span>,
}

impl Cutter {
    pub fn new(grid: Grid) -> Self {
        Self {
            grid,
            frames: 0,
            segment: 0,
            index: 0,
            number: 0,
            began: 0,
            part: 0,
            keyed: false,
            keys: Keys::default(),
            lost: false,
            ready: VecDeque::new(),
        }
    }

    /// The next picture.
    pub fn put(&mut self, key: Key) -> Begins {
        let long = self.frames - self.began;
        let (least, most) = self.range(matches!(key, Key::No | Key::Yes));
        let next = match key {
            Key::Yes => self.keys.come(self.grid.time(self.frames)),
            _ => MediaTime::ZERO,
        };
        self.lost |= key == Key::Lost;
        // The last part of a segment says that it is: where one is complete, and gone, there has to be another.
        let can_end = self.part < self.frames;
        let begins = match key {
            _ if self.lost => can_end,
            Key::Yes => {
                long >= least
                    || can_end
                        && (!self.keyed || self.grid.time(long) + next > self.grid.time(most))
            }
            _ => false,
        };
        if long > 0 && (long >= most || begins) {
            self.close(true);
        } else if self.frames - self.part == u64::from(self.grid.part_frames) {
            self.close(false);
        }
        let begins = match self.frames {
            frame if frame == self.began => {
                (self.keyed, self.lost) = (key == Key::Yes, false);
                Begins::Segment
            }
            frame if frame == self.part => Begins::Part,
            _ => Begins::Nothing,
        };
        self.frames += 1;
        // Nobody waits for the next picture but who has to know whether it is a key frame.
        let long = self.frames - self.began;
        let follows = matches!(key, Key::No | Key::Yes);
        let may_end = follows && long >= least;
        if long == most {
            self.close(true);
        } else if self.frames - self.part == u64::from(self.grid.part_frames) && !may_end {
            self.close(false);
        }
        begins
    }

    /// The next part that is complete.
    pub fn ready(&self) -> Option<Span> {
        self.ready.front().copied()
    }

    /// That part is cut.
    pub fn taken(&mut self) {
        self.ready.pop_front();
    }

    /// What there is of the last part, if the stream ends here; `None` if it had ended before.
    pub fn finish(&mut self) -> Option<Span> {
        if let Some(last) = self.ready.pop_front() {
            let is_last = self.ready.is_empty() && self.frames == self.part;
            return Some(Span {
                last: last.last || is_last,
                ..last
            });
        }
        self.close(true);
        self.ready.pop_front()
    }

    /// The segment that picture `frame` will be in, if none is cut short before it.
    pub fn segment_of(&self, frame: u64) -> u64 {
        let beyond = frame.saturating_sub(self.began);
        self.segment + beyond / u64::from(self.grid.segment_frames)
    }

    /// The segment of the last picture that was put.
    pub fn segment(&self) -> u64 {
        self.segment - u64::from(self.frames == self.began && self.frames > 0)
    }

    /// How long a segment is at least, and at most.
    pub fn range(&self, follows: bool) -> (u64, u64) {
        let wanted = self.grid.segment_frames;
        if !follows {
            return (wanted.into(), wanted.into());
        }
        let target = self.grid.segment().seconds().round().max(1.0);
        // Half as much again would be rounded up.
        let most = ((target + 0.5) * f64::from(self.grid.fps)).ceil() as u64 - 1;
        let least = u64::from(wanted) * 3 / 4;
        (least.max(1), most.max(wanted.into()))
    }

    fn close(&mut self, last: bool) {
        if self.part < self.frames {
            self.ready.push_back(Span {
                number: self.number,
                segment: self.segment,
                index: self.index,
                first_frame: self.part,
                frames: (self.frames - self.part) as u32,
                last,
            });
            self.number += 1;
            self.index += 1;
            self.part = self.frames;
        }
        if last && self.began < self.frames {
            (self.began, self.index) = (self.frames, 0);
            self.segment += 1;
        }
    }
}

impl Span {
    /// One past its last picture.
    pub fn end_frame(&self) -> u64 {
        self.first_frame + u64::from(self.frames)
    }
}

/// Whole pictures nearest to `span`, at least one.
fn frames_in(span: MediaTime, fps: u32) -> u32 {
    let frames = (span.seconds() * f64::from(fps)).round();
    (frames as u32).max(1)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(fps: u32, segment: f64, part: f64) -> Grid {
        Grid::new(
            fps,
            MediaTime::from_seconds(segment),
            MediaTime::from_seconds(part),
        )
    }

    #[test]
    fn two_seconds_become_whole_pictures_and_whole_aac_frames() {
        for (fps, segment, part) in [
            (30, 64, 16),
            (25, 48, 16),
            (24, 64, 16),
            (60, 128, 32),
            (50, 96, 32),
            (15, 32, 8),
            (10, 16, 4),
        ] {
            let grid = grid(fps, 2.0, 0.5);
            assert_eq!(
                (grid.segment_frames(), grid.part_frames()),
                (segment, part),
                "{fps} fps"
            );
            let samples = u64::from(segment) * u64::from(SAMPLE_RATE);
            assert_eq!(
                samples % (u64::from(fps) * u64::from(AAC_FRAME)),
                0,
                "{fps} fps"
            );
        }
    }

    #[test]
    fn parts_fill_a_segment_whatever_is_asked_for() {
        for fps in [1, 2, 5, 12, 20, 24, 25, 30, 36, 45, 48, 60] {
            for tenths in 1..100 {
                for part in [0.04, 0.2, 0.33, 0.5, 1.0, 4.0] {
                    let grid = grid(fps, f64::from(tenths) / 10.0, part);
                    assert!(grid.part_frames() >= 1);
                    assert_eq!(grid.segment_frames() % grid.part_frames(), 0);
                }
            }
        }
    }

    #[test]
    fn a_segment_is_never_half_as_long_again_as_asked_for() {
        // Sound and picture meet only every 2.6667 s at 24 fps.
        assert_eq!(grid(24, 1.0, 0.5).segment_frames(), 24);
        assert_eq!(grid(24, 6.0, 1.0).segment_frames(), 128);
    }

    /// What each of `count` pictures begins, and all parts there are then.
    fn cut(grid: Grid, count: u64, key: impl Fn(u64) -> Key) -> (Vec<Begins>, Vec<Span>) {
        let mut cutter = Cutter::new(grid);
        let mut spans = Vec::new();
        let begins = (0..count).map(|frame| {
            while let Some(span) = cutter.ready() {
                spans.push(span);
                cutter.taken();
            }
            cutter.put(key(frame))
        });
        let begins = begins.collect();
        spans.extend(std::iter::from_fn(|| cutter.finish()));
        (begins, spans)
    }

    /// First picture and length of each segment.
    fn segments(spans: &[Span]) -> Vec<(u64, u64)> {
        let first = spans.iter().filter(|span| span.index == 0);
        let last = spans.iter().filter(|span| span.last);
        first
            .zip(last)
            .map(|(first, last)| (first.first_frame, last.end_frame() - first.first_frame))
            .collect()
    }

    #[test]
    fn parts_follow_each_other_without_a_gap() {
        let (begins, spans) = cut(grid(30, 2.0, 0.5), 150, |_| Key::Any);
        for pair in spans.windows(2) {
            assert_eq!(pair[0].end_frame(), pair[1].first_frame);
            assert_eq!(pair[0].number + 1, pair[1].number);
            assert_eq!(pair[0].last, pair[1].index == 0);
            let begin = begins[pair[1].first_frame as usize];
            assert_eq!(begin == Begins::Segment, pair[1].index == 0);
            assert_eq!(begins[pair[1].first_frame as usize + 1], Begins::Nothing);
        }
        assert_eq!((spans[8].segment, spans[8].index), (2, 0));
    }

    #[test]
    fn the_last_part_is_as_long_as_the_run() {
        let (_, spans) = cut(grid(30, 2.0, 0.5), 20, |_| Key::Any);
        let part = spans[1];
        assert_eq!(
            (spans.len(), part.frames, part.last, part.end_frame()),
            (2, 4, true, 20)
        );
        // Also where it is a whole one.
        let (_, spans) = cut(grid(30, 2.0, 0.5), 32, |_| Key::Any);
        assert_eq!((spans.len(), spans[1].frames, spans[1].last), (2, 16, true));
        let (_, spans) = cut(grid(30, 2.0, 0.5), 64, |_| Key::Any);
        assert_eq!((spans.len(), segments(&spans)), (4, vec![(0, 64)]));
    }

    fn yes(key: bool) -> Key {
        if key { Key::Yes } else { Key::No }
    }

    fn following() -> Grid {
        Grid::following(
            30,
            MediaTime::from_seconds(2.0),
            MediaTime::from_seconds(0.5),
        )
    }

    #[test]
    fn segments_begin_with_the_key_frames_of_the_source() {
        let every = |gop: u64, count: u64| {
            let (_, spans) = cut(following(), count, |frame| yes(frame.is_multiple_of(gop)));
            segments(&spans)
        };
        // As long as was asked for, and 29.97 made 30 once in a while.
        assert_eq!(every(60, 180), [(0, 60), (60, 60), (120, 60)]);
        assert_eq!(every(61, 183), [(0, 61), (61, 61), (122, 61)]);
        // Shorter ones go together; what is nearly long enough is.
        assert_eq!(every(15, 180), [(0, 45), (45, 45), (90, 45), (135, 45)]);
        assert_eq!(every(30, 120), [(0, 60), (60, 60)]);
        assert_eq!(every(50, 100), [(0, 50), (50, 50)]);
        // Too long: 2.5 s would be rounded to 3.
        assert_eq!(every(120, 240), [(0, 74), (74, 46), (120, 74), (194, 46)]);
    }

    #[test]
    fn a_part_waits_for_the_next_picture_only_where_a_segment_may_end() {
        let mut cutter = Cutter::new(following());
        let mut waited = Vec::new();
        for frame in 0..60 {
            cutter.put(yes(frame == 0));
            while let Some(span) = cutter.ready() {
                waited.push(cutter.frames - span.end_frame());
                cutter.taken();
            }
        }
        assert_eq!(waited, [0, 0, 1]);
        assert_eq!(cutter.put(Key::Yes), Begins::Segment);
        let last = cutter.ready().unwrap();
        assert_eq!((last.index, last.frames, last.last), (3, 15, true));
    }

    #[test]
    fn who_has_no_key_frames_to_follow_is_cut_as_was_asked_for() {
        let key = |frame: u64| match frame {
            0..100 => yes(frame.is_multiple_of(50)),
            _ => Key::Any,
        };
        let (begins, spans) = cut(following(), 280, key);
        assert_eq!(
            segments(&spans),
            [(0, 50), (50, 60), (110, 60), (170, 60), (230, 50)]
        );
        assert_eq!(begins[110], Begins::Segment);
    }

    #[test]
    fn a_segment_ends_where_what_it_follows_is_lost() {
        let key = |frame: u64| match frame {
            70 => Key::Lost,
            0..70 => yes(frame.is_multiple_of(60)),
            _ => Key::No,
        };
        let (begins, spans) = cut(following(), 144, key);
        assert_eq!(segments(&spans), [(0, 60), (60, 10), (70, 74)]);
        assert_eq!(begins[70], Begins::Segment);
    }

    #[test]
    fn a_short_segment_is_better_than_one_that_nobody_can_begin_with() {
        // A clip of four and a half of them, again and again.
        let key = |frame: u64| yes((frame % 267).is_multiple_of(60));
        let (begins, spans) = cut(following(), 3 * 267, key);
        let lengths: Vec<_> = segments(&spans).iter().map(|segment| segment.1).collect();
        assert_eq!(lengths[..11], [60, 60, 60, 60, 27, 60, 60, 60, 60, 27, 60]);
        assert_eq!(begins[267], Begins::Segment);
        // Every segment has a last part, wherever it ends.
        for at in 1..70 {
            let key = |frame: u64| {
                if frame == at {
                    Key::Lost
                } else {
                    yes(frame == 0)
                }
            };
            let (_, spans) = cut(following(), 140, key);
            for pair in spans.windows(2) {
                assert_eq!(pair[0].last, pair[1].index == 0, "{at}: {spans:?}");
            }
        }
    }

    #[test]
    fn the_segment_to_come_is_known_where_nothing_is_followed() {
        let mut cutter = Cutter::new(grid(30, 2.0, 0.5));
        for frame in 0..200 {
            assert_eq!(cutter.segment_of(frame), frame / 64);
            cutter.put(Key::Any);
            assert_eq!(cutter.segment(), frame / 64);
        }
    }
}
