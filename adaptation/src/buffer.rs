//! How much media a viewer has ahead of its playhead, as far as a server can tell: reckoned from
//! what was asked for, what was acknowledged, and when. The player's own word corrects it.
//!
//! The playhead starts a moment after the first media has arrived, moves in real time, and stops
//! where it meets the end of what is there (a stall) until more arrives. A player that asks for
//! something else than what follows has sought, and begins anew. One that has run dry by this
//! account, though nothing was on its way and more had long been published, was paused.
//!
//! It is one viewer's, whatever the number of its connections; media arrives in parts or in whole
//! segments, of which later ones may overtake earlier ones only by one.

use std::time::{Duration, Instant};

use playlists::MediaTime;
use serde::{Deserialize, Serialize};

/// What a viewer has ahead.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// Media that has arrived and was not played yet.
    pub media: Duration,
    /// False before the first picture, and in a stall.
    pub playing: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    phase: Phase,
    /// Until when the account is made; in `Phase::Playing` it may lie ahead, where the playhead starts.
    at: Instant,
    /// Seconds ahead at that time.
    level: f32,
    /// After the newest arrival: what a paused player keeps.
    full: f32,
    /// The newest segment asked for, and the one that is arriving with the seconds that have.
    asked: u64,
    arriving: u64,
    arrived: f32,
    /// Seconds that it was on its way are counted from `at` on; a player is not paused meanwhile.
    fetching: bool,
    stalls: u32,
    /// Seconds in stalls that are over.
    stalled: f32,
    /// When the last of them ended.
    recovered: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Nothing has arrived since the beginning, or since a seek.
    Empty,
    Playing,
    /// The playhead has met the end at `at`.
    Dry,
}

impl Buffer {
    pub fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Empty,
            at: now,
            level: 0.0,
            full: 0.0,
            asked: 0,
            arriving: 0,
            arrived: 0.0,
            fetching: false,
            stalls: 0,
            stalled: 0.0,
            recovered: None,
        }
    }

    /// The viewer asks for segment `number` or for a part of it, while media of the length `ahead` is
    /// published behind that.
    pub fn asked(&mut self, number: u64, ahead: MediaTime, now: Instant) {
        self.play(now);
        let follows = number == self.asked || number == self.asked.wrapping_add(1);
        if !follows {
            // A seek, or the beginning.
            self.phase = Phase::Empty;
            (self.level, self.full, self.arrived) = (0.0, 0.0, 0.0);
            self.arriving = number;
        } else if self.phase == Phase::Dry && !self.fetching && ahead > MediaTime::ZERO {
            // It could have had more, and did not ask.
            self.phase = Phase::Playing;
            (self.level, self.at) = (self.full, now);
        }
        self.asked = number;
        self.fetching = true;
    }

    /// `media` of segment `number` has arrived.
    pub fn arrived(&mut self, number: u64, media: MediaTime, now: Instant) {
        if number == self.arriving.wrapping_add(1) {
            (self.arriving, self.arrived) = (number, 0.0);
        } else if number != self.arriving {
            return;
        }
        self.play(now);
        let media = media.seconds().max(0.0) as f32;
        self.arrived += media;
        self.level += media;
        self.full = self.level;
        self.fetching = number < self.asked;
        match self.phase {
            Phase::Empty => self.at = now + STARTS_AFTER,
            Phase::Dry => {
                let dry = now.saturating_duration_since(self.at);
                if dry >= NOTICEABLE {
                    self.stalls = self.stalls.saturating_add(1);
                    self.stalled += dry.as_secs_f32();
                    self.recovered = Some(now);
                }
                self.at = now;
            }
            Phase::Playing => {}
        }
        self.phase = Phase::Playing;
    }

    /// Segment `number`, of this duration, has arrived in full, whatever was said of its parts before: one
    /// that is sent twice is there once.
    pub fn completed(&mut self, number: u64, duration: MediaTime, now: Instant) {
        let have = if number == self.arriving {
            f64::from(self.arrived)
        } else {
            0.0
        };
        let rest = (duration.seconds() - have).max(0.0);
        self.arrived(number, MediaTime::from_seconds(rest), now);
    }

    /// The player says how much it has. It is believed where it has less, and where it has more within
    /// 1.5 s: a wrong word must not make a viewer's rungs dearer than its path allows.
    pub fn told(&mut self, media: Duration, now: Instant) {
        self.play(now);
        let told = media
            .as_secs_f32()
            .min(self.level + CORRECTED.as_secs_f32());
        if self.phase == Phase::Empty && told <= 0.0 {
            return;
        }
        self.level = told;
        self.full = self.full.max(told);
        if told > 0.0 && self.phase != Phase::Playing {
            (self.phase, self.at) = (Phase::Playing, now);
        }
    }

    /// The player says that it has run dry since it last asked.
    pub fn starved(&mut self, now: Instant) {
        self.play(now);
        let known = self
            .recovered
            .is_some_and(|at| now.saturating_duration_since(at) < RECENT);
        if !known {
            self.stalls = self.stalls.saturating_add(1);
            self.recovered = Some(now);
        }
    }

    /// `None` while nothing has arrived.
    pub fn level(&self, now: Instant) -> Option<Level> {
        let mut then = *self;
        then.play(now);
        (then.phase != Phase::Empty).then(|| Level {
            media: Duration::from_secs_f32(then.level.max(0.0)),
            playing: then.phase == Phase::Playing && then.at <= now,
        })
    }

    /// Stalls by this account, and the time spent in those that are over.
    pub fn stalls(&self) -> (u32, Duration) {
        (self.stalls, Duration::from_secs_f32(self.stalled.max(0.0)))
    }

    /// How long ago the last stall ended.
    pub fn since_stall(&self, now: Instant) -> Option<Duration> {
        self.recovered.map(|at| now.saturating_duration_since(at))
    }

    /// Moves the playhead.
    fn play(&mut self, now: Instant) {
        let played = now.saturating_duration_since(self.at);
        if self.phase != Phase::Playing || played.is_zero() {
            return;
        }
        if played.as_secs_f32() <= self.level {
            self.level -= played.as_secs_f32();
            self.at = now;
        } else {
            self.at += Duration::from_secs_f32(self.level.max(0.0));
            self.level = 0.0;
            self.phase = Phase::Dry;
        }
    }
}

/// Between the first media and the first picture, in players that were looked at.
const STARTS_AFTER: Duration = Duration::from_millis(300);

/// A shorter one nobody sees, nor can an account of this kind.
const NOTICEABLE: Duration = Duration::from_millis(100);

/// By how much a player's word may raise the account.
const CORRECTED: Duration = Duration::from_millis(1500);

/// A stall that a player tells of and one that was reckoned within this are the same.
const RECENT: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TWO: MediaTime = MediaTime::from_flicks(2 * MediaTime::PER_SECOND);

    /// A viewer that has `count` segments from 100 on, all of them at once.
    fn with(count: u64, t0: Instant) -> Buffer {
        let mut buffer = Buffer::new(t0);
        for number in 100..100 + count {
            buffer.asked(number, MediaTime::ZERO, t0);
            buffer.completed(number, TWO, t0);
        }
        buffer
    }

    fn after(t0: Instant, seconds: f64) -> Instant {
        t0 + Duration::from_secs_f64(seconds)
    }

    fn seconds(buffer: &Buffer, now: Instant) -> f64 {
        let level = buffer.level(now).expect("something has arrived");
        (level.media.as_secs_f64() * 100.0).round() / 100.0
    }

    #[test]
    fn the_playhead_starts_with_the_first_media_and_moves_in_real_time() {
        let t0 = Instant::now();
        assert_eq!(Buffer::new(t0).level(t0), None);
        let buffer = with(3, t0);
        assert_eq!(seconds(&buffer, after(t0, 0.3)), 6.0);
        assert_eq!(seconds(&buffer, after(t0, 2.3)), 4.0);
        assert!(
            buffer
                .level(after(t0, 2.3))
                .is_some_and(|level| level.playing)
        );
    }

    #[test]
    fn a_late_segment_is_a_stall_until_it_arrives() {
        let t0 = Instant::now();
        let mut buffer = with(1, t0);
        buffer.asked(101, MediaTime::ZERO, after(t0, 0.5));
        let dry = buffer.level(after(t0, 3.0)).expect("something has arrived");
        assert_eq!((dry.media, dry.playing), (Duration::ZERO, false));
        buffer.completed(101, TWO, after(t0, 3.3));
        assert_eq!(buffer.stalls().0, 1);
        assert!((buffer.stalls().1.as_secs_f64() - 1.0).abs() < 0.01);
        assert_eq!(seconds(&buffer, after(t0, 4.3)), 1.0);
        let ago = buffer.since_stall(after(t0, 4.3));
        assert!(ago.is_some_and(|ago| (ago.as_secs_f64() - 1.0).abs() < 0.01));
    }

    #[test]
    fn parts_add_up_to_their_segment_and_a_retry_to_nothing() {
        let t0 = Instant::now();
        let mut buffer = Buffer::new(t0);
        buffer.asked(100, MediaTime::ZERO, t0);
        for _ in 0..4 {
            buffer.arrived(100, MediaTime::from_seconds(0.5), t0);
        }
        buffer.completed(100, TWO, t0);
        assert_eq!(seconds(&buffer, t0), 2.0);
    }

    #[test]
    fn a_seek_begins_anew() {
        let t0 = Instant::now();
        let mut buffer = with(3, t0);
        buffer.asked(500, MediaTime::ZERO, after(t0, 1.0));
        assert_eq!(buffer.level(after(t0, 1.0)), None);
        buffer.completed(102, TWO, after(t0, 1.1));
        assert_eq!(
            buffer.level(after(t0, 1.1)),
            None,
            "it is of the time before"
        );
        buffer.completed(500, TWO, after(t0, 1.2));
        assert_eq!(seconds(&buffer, after(t0, 1.5)), 2.0);
    }

    #[test]
    fn a_pause_is_no_stall() {
        let t0 = Instant::now();
        let mut buffer = with(3, t0);
        buffer.asked(103, MediaTime::from_seconds(60.0), after(t0, 90.0));
        assert_eq!(seconds(&buffer, after(t0, 90.0)), 6.0);
        assert_eq!(buffer.stalls().0, 0);
        // Where nothing had been published meanwhile it did run dry.
        let mut buffer = with(3, t0);
        buffer.asked(103, MediaTime::ZERO, after(t0, 90.0));
        assert_eq!(seconds(&buffer, after(t0, 90.0)), 0.0);
    }

    #[test]
    fn a_players_word_lowers_it_freely_and_raises_it_a_little() {
        let t0 = Instant::now();
        let mut buffer = with(3, t0);
        buffer.told(Duration::from_secs(1), after(t0, 0.3));
        assert_eq!(seconds(&buffer, after(t0, 0.3)), 1.0);
        buffer.told(Duration::from_secs(600), after(t0, 0.3));
        assert_eq!(seconds(&buffer, after(t0, 0.3)), 2.5);
        buffer.starved(after(t0, 0.4));
        buffer.starved(after(t0, 0.5));
        assert_eq!(buffer.stalls().0, 1);
    }

    proptest! {
        #[test]
        fn no_history_makes_nonsense(acts in prop::collection::vec((0..5u8, 0..6u64, 0..5000u64), 1..60)) {
            let t0 = Instant::now();
            let (mut buffer, mut now) = (Buffer::new(t0), t0);
            for (act, number, millis) in acts {
                now += Duration::from_millis(millis);
                match act {
                    0 => buffer.asked(number, MediaTime::ZERO, now),
                    1 => buffer.asked(number, TWO, now),
                    2 => buffer.completed(number, TWO, now),
                    3 => buffer.arrived(number, MediaTime::from_seconds(0.5), now),
                    _ => buffer.told(Duration::from_millis(millis * 7), now),
                }
                if let Some(level) = buffer.level(now) {
                    prop_assert!(level.media <= Duration::from_secs(600));
                    prop_assert!(buffer.stalls().1 <= now - t0 + Duration::from_millis(1));
                }
            }
        }
    }
}
