//! What a viewer would see: media goes in, a playhead runs over it in wall time, and stalls where
//! it meets the end.
//!
//! Pure: `now` is an argument. Where the media comes from, and when, is the session's business.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use playlists::{MediaTime, WallTime};

/// When a playback begins; whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct StartRule {
    pub segments: usize,
    pub buffered: Duration,
}

/// A playhead over the media appended so far.
///
/// The playhead is never beyond the end of the media, and moves only while playing.
#[derive(Debug)]
pub struct Playback {
    rule: StartRule,
    began: Instant,
    state: State,
    /// When `head` was where it is.
    at: Instant,
    /// Position of the playhead: how much was played.
    head: Duration,
    /// Position of the end of the media: how much was appended.
    edge: Duration,
    appended: usize,
    /// What is not played yet, and whatever the playhead is on.
    clips: VecDeque<Clip>,
    ending: bool,
    startup: Option<Duration>,
    stalls: u32,
    /// Of stalls that are over.
    stalled: Duration,
    changes: VecDeque<Change>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Starting,
    Playing,
    Stalled { since: Instant },
    Finished,
}

#[derive(Clone, Copy, Debug)]
struct Clip {
    from: Duration,
    to: Duration,
    date_time: Option<WallTime>,
}

/// What a viewer would have noticed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// The first picture, this long after the player was opened.
    Started {
        after: Duration,
    },
    /// The picture froze for want of media.
    Stalled {
        at: Instant,
    },
    Resumed {
        after: Duration,
    },
    /// Everything was played.
    Finished,
}

impl Playback {
    pub fn new(rule: StartRule, now: Instant) -> Self {
        Self {
            rule,
            began: now,
            state: State::Starting,
            at: now,
            head: Duration::ZERO,
            edge: Duration::ZERO,
            appended: 0,
            clips: VecDeque::new(),
            ending: false,
            startup: None,
            stalls: 0,
            stalled: Duration::ZERO,
            changes: VecDeque::new(),
        }
    }

    /// Moves the playhead to `now`. A stall begins when the media ran out, however late it is
    /// looked at.
    pub fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        let left = self.edge - self.head;
        let dry = self.at + left;
        self.at = self.at.max(now);
        if self.state != State::Playing {
            return;
        }
        self.head += passed.min(left);
        if passed >= left {
            if self.ending {
                self.finish();
            } else {
                self.state = State::Stalled { since: dry };
                self.stalls += 1;
                self.changes.push_back(Change::Stalled { at: dry });
            }
        }
        while self.clips.len() > 1 && self.clips[0].to <= self.head {
            self.clips.pop_front();
        }
    }

    /// Media has arrived that follows what is there; `date_time` is of its first picture.
    pub fn append(&mut self, duration: Duration, date_time: Option<WallTime>, now: Instant) {
        self.advance(now);
        let from = self.edge;
        self.edge += duration;
        self.appended += 1;
        self.clips.push_back(Clip {
            from,
            to: self.edge,
            date_time,
        });
        match self.state {
            State::Starting
                if self.appended >= self.rule.segments || self.edge >= self.rule.buffered =>
            {
                self.start();
            }
            State::Stalled { since } => {
                let after = self.at.saturating_duration_since(since);
                self.stalled += after;
                self.state = State::Playing;
                self.changes.push_back(Change::Resumed { after });
            }
            State::Starting | State::Playing | State::Finished => {}
        }
    }

    /// No more media will come; to run out of it is then no stall.
    pub fn end(&mut self, now: Instant) {
        self.advance(now);
        self.ending = true;
        match self.state {
            State::Starting if self.edge > Duration::ZERO => self.start(),
            // It ran dry while nobody knew that this was all.
            State::Starting | State::Stalled { .. } => {
                self.stalled = self.stalled(now);
                self.finish();
            }
            State::Playing | State::Finished => {}
        }
    }

    /// The next thing a viewer noticed.
    pub fn poll(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// When to look again if nothing is appended before.
    pub fn runs_dry(&self) -> Option<Instant> {
        (self.state == State::Playing).then(|| self.at + (self.edge - self.head))
    }

    /// Media ahead of the playhead.
    pub fn buffered(&self, now: Instant) -> Duration {
        let passed = match self.state {
            State::Playing => now.saturating_duration_since(self.at),
            _ => Duration::ZERO,
        };
        (self.edge - self.head).saturating_sub(passed)
    }

    /// What the picture on screen says of when it was live; `None` before there is a picture.
    pub fn date_time(&self, now: Instant) -> Option<WallTime> {
        self.startup?;
        let position = self.played(now);
        let on_screen = self.clips.iter().find(|clip| clip.to > position);
        let clip = on_screen.or(self.clips.back())?;
        let into = position.saturating_sub(clip.from);
        let into = MediaTime::from_seconds(into.as_secs_f64());
        clip.date_time.map(|start| start.later(into))
    }

    pub fn played(&self, now: Instant) -> Duration {
        self.edge - self.buffered(now)
    }

    pub fn startup(&self) -> Option<Duration> {
        self.startup
    }

    pub fn stalls(&self) -> u32 {
        self.stalls
    }

    /// Time without a picture since the first one, a stall that goes on included.
    pub fn stalled(&self, now: Instant) -> Duration {
        match self.state {
            State::Stalled { since } => self.stalled + now.saturating_duration_since(since),
            _ => self.stalled,
        }
    }

    pub fn is_finished(&self) -> bool {
        self.state == State::Finished
    }

    fn start(&mut self) {
        let after = self.at.saturating_duration_since(self.began);
        self.startup = Some(after);
        self.state = State::Playing;
        self.changes.push_back(Change::Started { after });
    }

    fn finish(&mut self) {
        self.state = State::Finished;
        self.changes.push_back(Change::Finished);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: StartRule = StartRule {
        segments: 2,
        buffered: Duration::from_secs(6),
    };

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn changes(playback: &mut Playback) -> Vec<Change> {
        std::iter::from_fn(|| playback.poll()).collect()
    }

    #[test]
    fn two_segments_start_it_and_one_long_one_does_too() {
        let t0 = Instant::now();
        let mut playback = Playback::new(RULE, t0);
        playback.append(seconds(2.0), None, t0 + seconds(1.0));
        assert_eq!(changes(&mut playback), []);
        playback.append(seconds(2.0), None, t0 + seconds(1.5));
        let after = seconds(1.5);
        assert_eq!(changes(&mut playback), [Change::Started { after }]);

        let mut playback = Playback::new(RULE, t0);
        playback.append(seconds(6.0), None, t0 + seconds(0.5));
        assert_eq!(playback.startup(), Some(seconds(0.5)));
    }

    #[test]
    fn the_buffer_drains_in_wall_time() {
        let t0 = Instant::now();
        let mut playback = Playback::new(RULE, t0);
        playback.append(seconds(2.0), None, t0);
        playback.append(seconds(2.0), None, t0);
        assert_eq!(playback.buffered(t0 + seconds(1.0)), seconds(3.0));
        playback.append(seconds(2.0), None, t0 + seconds(3.5));
        assert_eq!(playback.buffered(t0 + seconds(3.5)), seconds(2.5));
        assert_eq!(playback.runs_dry(), Some(t0 + seconds(6.0)));
        assert_eq!(playback.stalls(), 0);
    }

    #[test]
    fn a_stall_begins_when_the_media_ran_out_however_late_it_is_noticed() {
        let t0 = Instant::now();
        let mut playback = Playback::new(RULE, t0);
        playback.append(seconds(2.0), None, t0);
        playback.append(seconds(2.0), None, t0);
        assert_eq!(changes(&mut playback).len(), 1);
        // Nobody looks until the next segment comes, three seconds late.
        playback.append(seconds(2.0), None, t0 + seconds(7.0));
        let (at, after) = (t0 + seconds(4.0), seconds(3.0));
        let expected = [Change::Stalled { at }, Change::Resumed { after }];
        assert_eq!(changes(&mut playback), expected);
        assert_eq!(playback.stalled(t0 + seconds(8.0)), seconds(3.0));
        assert_eq!(playback.played(t0 + seconds(7.5)), seconds(4.5));
        assert_eq!(playback.runs_dry(), Some(t0 + seconds(9.0)));
    }

    #[test]
    fn a_stall_that_goes_on_counts_as_it_goes() {
        let t0 = Instant::now();
        let mut playback = Playback::new(RULE, t0);
        playback.append(seconds(6.0), None, t0);
        playback.advance(t0 + seconds(8.0));
        assert_eq!(
            (playback.stalls(), playback.stalled(t0 + seconds(9.0))),
            (1, seconds(3.0))
        );
        assert_eq!(playback.runs_dry(), None);
    }

    #[test]
    fn waiting_for_the_first_picture_is_no_stall() {
        let t0 = Instant::now();
        let mut playback = Playback::new(RULE, t0);
        playback.append(seconds(2.0), None, t0);
        playback.advance(t0 + seconds(60.0));
        assert_eq!(
            (
                playback.stalls(),
                playback.startup(),
                playback.played(t0 + seconds(90.0))
            ),
            (0, None, Duration::ZERO)
        );
    }

    #[test]
    fn the_end_of_the_stream_is_no_stall() {
        let t0 = Instant::now();
        let mut playback = Playback::new(RULE, t0);
        playback.append(seconds(2.0), None, t0);
        playback.end(t0 + seconds(1.0));
        playback.advance(t0 + seconds(5.0));
        let after = seconds(1.0);
        let expected = [Change::Started { after }, Change::Finished];
        assert_eq!(changes(&mut playback), expected);
        assert_eq!(
            (playback.stalls(), playback.played(t0 + seconds(9.0))),
            (0, seconds(2.0))
        );
    }

    #[test]
    fn the_picture_on_screen_says_when_it_was_live() {
        let t0 = Instant::now();
        let at = |millis| Some(WallTime::from_millis(millis));
        let mut playback = Playback::new(RULE, t0);
        playback.append(seconds(2.0), at(10_000), t0);
        assert_eq!(playback.date_time(t0), None);
        playback.append(seconds(2.0), at(12_000), t0);
        assert_eq!(playback.date_time(t0 + seconds(1.5)), at(11_500));
        assert_eq!(playback.date_time(t0 + seconds(2.5)), at(12_500));
        playback.advance(t0 + seconds(2.6));
        // Frozen on the last picture.
        assert_eq!(playback.date_time(t0 + seconds(9.0)), at(14_000));
        // After a gap in the media the playhead is on what follows it.
        playback.append(seconds(2.0), at(30_000), t0 + seconds(9.0));
        assert_eq!(playback.date_time(t0 + seconds(9.5)), at(30_500));
    }
}
