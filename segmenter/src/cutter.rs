//! The grid that a stream is cut on: how many frames a part and a segment have, and which frame is where.
//!
//! Pure arithmetic. Encoding on the grid and writing the parts is the program's business.

use playlists::MediaTime;

/// Every stream's sound has this rate, in Hz.
pub const SAMPLE_RATE: u32 = 48_000;

/// Samples in one AAC-LC frame (ISO/IEC 14496-3, 4.5.1.1: frameLength).
pub const AAC_FRAME: u32 = 1024;

/// A segment is a whole number of parts, a part a whole number of pictures, and where the frame rate
/// lets it, a segment (better still: a part) is a whole number of AAC frames too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Grid {
    fps: u32,
    part_frames: u32,
    parts: u32,
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
            parts: segment_frames / part_frames,
        }
    }

    pub fn fps(&self) -> u32 {
        self.fps
    }

    pub fn segment_frames(&self) -> u32 {
        self.part_frames * self.parts
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

    /// The first sample that sounds with or after picture `frame`.
    pub fn sample(&self, frame: u64) -> i64 {
        let samples = u128::from(frame) * u128::from(SAMPLE_RATE);
        samples.div_ceil(u128::from(self.fps)) as i64
    }

    /// Every segment starts with an IDR picture.
    pub fn starts_segment(&self, frame: u64) -> bool {
        frame.is_multiple_of(u64::from(self.segment_frames()))
    }

    /// Of some rungs every part does, and no other picture is one.
    pub fn starts_part(&self, frame: u64) -> bool {
        frame.is_multiple_of(u64::from(self.part_frames))
    }

    /// Part `number` of the run, whole.
    pub fn span(&self, number: u64) -> Span {
        let parts = u64::from(self.parts);
        let index = number % parts;
        Span {
            number,
            segment: number / parts,
            index: index as u16,
            first_frame: number * u64::from(self.part_frames),
            frames: self.part_frames,
            last: index + 1 == parts,
        }
    }
}

impl Span {
    /// One past its last picture.
    pub fn end_frame(&self) -> u64 {
        self.first_frame + u64::from(self.frames)
    }

    /// Cut short: the run ends before picture `end`.
    pub fn ending_at(self, end: u64) -> Self {
        let frames = end
            .saturating_sub(self.first_frame)
            .min(u64::from(self.frames)) as u32;
        Self {
            frames,
            last: true,
            ..self
        }
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
                    assert_eq!(grid.span(0).first_frame, 0);
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

    #[test]
    fn parts_follow_each_other_without_a_gap() {
        let grid = grid(30, 2.0, 0.5);
        let spans: Vec<_> = (0..9).map(|number| grid.span(number)).collect();
        for pair in spans.windows(2) {
            assert_eq!(pair[0].end_frame(), pair[1].first_frame);
            assert_eq!(pair[0].last, pair[1].index == 0);
            assert_eq!(grid.starts_segment(pair[1].first_frame), pair[1].index == 0);
            assert!(grid.starts_part(pair[1].first_frame));
            assert!(!grid.starts_part(pair[1].first_frame + 1));
        }
        assert_eq!((spans[8].segment, spans[8].index), (2, 0));
    }

    #[test]
    fn the_last_part_is_as_long_as_the_run() {
        let part = grid(30, 2.0, 0.5).span(1).ending_at(20);
        assert_eq!((part.frames, part.last, part.end_frame()), (4, true, 20));
    }
}
