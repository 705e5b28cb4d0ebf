//! A playhead, and the media ahead of it.

/// Plays from its first media on; stalls when there is none, and goes on at once when there is again.
#[derive(Clone, Debug)]
pub struct Playback {
    /// What the player has on its timeline, from the playhead to here, in seconds of media.
    head: f64,
    end: f64,
    at: f64,
    state: State,
    /// From joining to the first picture.
    pub startup: f64,
    pub stalls: u32,
    /// Seconds, without the start.
    pub stalled: f64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Waiting,
    Playing,
    Stalled,
}

impl Playback {
    /// Joins at `now`; will play from `head` on.
    pub fn new(head: f64, now: f64) -> Self {
        Self {
            head,
            end: head,
            at: now,
            state: State::Waiting,
            startup: 0.0,
            stalls: 0,
            stalled: 0.0,
        }
    }

    /// Plays until `now`.
    pub fn advance(&mut self, now: f64) {
        let span = (now - self.at).max(0.0);
        self.at = self.at.max(now);
        match self.state {
            State::Waiting => self.startup += span,
            State::Stalled => self.stalled += span,
            State::Playing => {
                let played = span.min(self.end - self.head);
                self.head += played;
                if span - played > NOTHING {
                    self.state = State::Stalled;
                    self.stalls += 1;
                    self.stalled += span - played;
                }
            }
        }
    }

    /// Media up to `end` came at the time advanced to.
    pub fn receive(&mut self, end: f64) {
        self.end = self.end.max(end);
        if self.end > self.head {
            self.state = State::Playing;
        }
    }

    /// Seconds of media ahead of the playhead, at the time advanced to.
    pub fn buffer(&self) -> f64 {
        self.end - self.head
    }

    pub fn has_started(&self) -> bool {
        self.state != State::Waiting
    }

    /// How far the playhead is behind what is being broadcast.
    pub fn latency(&self) -> f64 {
        self.at - self.head
    }
}

/// A microsecond is rounding.
const NOTHING: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_counted_once_and_puts_the_playhead_back() {
        let mut playback = Playback::new(10.0, 16.0);
        playback.advance(17.0);
        playback.receive(12.0);
        assert_eq!((playback.startup, playback.latency()), (1.0, 7.0));
        playback.advance(20.0);
        playback.advance(20.5);
        playback.receive(14.0);
        playback.advance(21.0);
        assert_eq!((playback.stalls, playback.stalled), (1, 1.5));
        assert_eq!((playback.buffer(), playback.latency()), (1.5, 8.5));
    }
}
