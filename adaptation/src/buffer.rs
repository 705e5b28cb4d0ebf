//! How much media a viewer has ahead of its playhead, as far as a server can tell: reckoned from
//! what was asked for, what was acknowledged, and when. The player's own word corrects it.
//!
//! The playhead starts a moment after the first media has arrived, moves in real time, and stops
//! where it meets the end of what is there (a stall) until more arrives. A player that asks for
//! something else than what follows has sought, and begins anew. One that has run dry by this
//! account, though nothing was on its way and more had long been published, was paused.
//!
//! It is one viewer's, whatever the number of its connections. Media arrives in whole segments, in parts, or as the
//! rest of what broke off; several segments may be on their way at a time and overtake one another (ffmpeg asks for
//! the next while it reads one); and what arrives twice is there once.

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
    /// The newest segment asked for, and the newest of which anything has come: the low halves of their numbers.
    asked: u32,
    newest: u32,
    /// Up to where in it each of the last segments has arrived, in seconds, the newest first; less than nothing where
    /// none of it has.
    reached: [f32; AT_A_TIME],
    /// Seconds that it was on its way are counted from `at` on; a player is not paused meanwhile.
    fetching: bool,
    stalls: u16,
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
            newest: 0,
            reached: [NOTHING; AT_A_TIME],
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
        let number = number as u32;
        let ahead_by = number.wrapping_sub(self.asked).cast_signed();
        // Requests overtake one another by one, and nobody asks for a segment that is lost.
        if !(-1..=2).contains(&ahead_by) {
            // A seek, or the beginning.
            self.phase = Phase::Empty;
            (self.level, self.full) = (0.0, 0.0);
            (self.newest, self.reached) = (number, [NOTHING; AT_A_TIME]);
            self.asked = number;
        } else if self.phase == Phase::Dry && !self.fetching && ahead > MediaTime::ZERO {
            // It could have had more, and did not ask.
            self.phase = Phase::Playing;
            (self.level, self.at) = (self.full, now);
        }
        if ahead_by > 0 {
            self.asked = number;
        }
        self.fetching = true;
    }

    /// A delivery has broken off that began at `begins` in segment `number`. Nobody knows what the player keeps of it;
    /// but who asks for the rest has what was before it.
    pub fn broken(&mut self, number: u64, begins: MediaTime) {
        self.reached(number as u32, begins);
    }

    /// `media` of segment `number` has arrived, which begins at `begins` in it. Where that is beyond what had come,
    /// what lies between them came with a delivery that broke off, or comes on another connection.
    pub fn arrived(&mut self, number: u64, begins: MediaTime, media: MediaTime, now: Instant) {
        let number = number as u32;
        let Some(reached) = self.reached(number, begins) else {
            return;
        };
        let end = (begins + media).seconds() as f32;
        let new = end - *reached;
        if new <= 0.0 {
            return;
        }
        *reached = end;
        self.play(now);
        self.level += new;
        self.full = self.level;
        self.fetching = self.asked.wrapping_sub(number).cast_signed() > 0;
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

    /// Up to where segment `number` has arrived, of which something comes now that begins at `begins`; `None` if
    /// it is of a time that is over.
    fn reached(&mut self, number: u32, begins: MediaTime) -> Option<&mut f32> {
        let ahead_by = number.wrapping_sub(self.newest).cast_signed();
        if ahead_by <= -(AT_A_TIME as i32) {
            return None;
        }
        for _ in 0..ahead_by.min(AT_A_TIME as i32) {
            self.reached.rotate_right(1);
            self.reached[0] = NOTHING;
        }
        if ahead_by > 0 {
            self.newest = number;
        }
        let reached = &mut self.reached[self.newest.wrapping_sub(number) as usize];
        if *reached < 0.0 {
            // Whoever begins in the middle of a segment does not want what was before.
            let joined = self.phase == Phase::Empty;
            *reached = if joined { begins.seconds() as f32 } else { 0.0 };
        }
        Some(reached)
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
        (
            self.stalls.into(),
            Duration::from_secs_f32(self.stalled.max(0.0)),
        )
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

/// Segments that may be on their way together: more than any player asks for.
const AT_A_TIME: usize = 4;

const NOTHING: f32 = -1.0;

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
            arrives(&mut buffer, number, t0);
        }
        buffer
    }

    /// All of a segment.
    fn arrives(buffer: &mut Buffer, number: u64, now: Instant) {
        buffer.arrived(number, MediaTime::ZERO, TWO, now);
    }

    /// What of segment 100 plays from one second of it to another.
    fn some(buffer: &mut Buffer, span: std::ops::Range<f64>, now: Instant) {
        let media = MediaTime::from_seconds(span.end - span.start);
        buffer.arrived(100, MediaTime::from_seconds(span.start), media, now);
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
        arrives(&mut buffer, 101, after(t0, 3.3));
        assert_eq!(buffer.stalls().0, 1);
        assert!((buffer.stalls().1.as_secs_f64() - 1.0).abs() < 0.01);
        assert_eq!(seconds(&buffer, after(t0, 4.3)), 1.0);
        let ago = buffer.since_stall(after(t0, 4.3));
        assert!(ago.is_some_and(|ago| (ago.as_secs_f64() - 1.0).abs() < 0.01));
    }

    #[test]
    fn a_segment_that_arrives_twice_is_there_once() {
        let t0 = Instant::now();
        let mut buffer = with(2, t0);
        // The newest again, and one of those before it.
        arrives(&mut buffer, 101, t0);
        arrives(&mut buffer, 100, t0);
        assert_eq!(seconds(&buffer, t0), 4.0);
    }

    #[test]
    fn parts_add_up_to_their_segment_and_a_retry_to_nothing() {
        let t0 = Instant::now();
        let mut buffer = Buffer::new(t0);
        buffer.asked(100, MediaTime::ZERO, t0);
        for part in [0.0, 0.5, 0.5, 1.0, 0.0, 1.5] {
            some(&mut buffer, part..part + 0.5, t0);
        }
        assert_eq!(seconds(&buffer, t0), 2.0);
        arrives(&mut buffer, 100, t0);
        assert_eq!(seconds(&buffer, t0), 2.0);
    }

    #[test]
    fn who_joins_within_a_segment_has_what_it_asked_for() {
        let t0 = Instant::now();
        let mut buffer = Buffer::new(t0);
        buffer.asked(100, MediaTime::ZERO, t0);
        some(&mut buffer, 1.0..1.5, t0);
        some(&mut buffer, 1.5..2.0, t0);
        buffer.asked(101, MediaTime::ZERO, t0);
        arrives(&mut buffer, 101, t0);
        assert_eq!(seconds(&buffer, t0), 3.0);
    }

    #[test]
    fn the_rest_of_what_broke_off_makes_it_whole() {
        let t0 = Instant::now();
        let mut buffer = Buffer::new(t0);
        for number in [100, 101] {
            buffer.asked(number, MediaTime::ZERO, t0);
            buffer.broken(number, MediaTime::ZERO);
            assert_eq!(buffer.level(t0).is_some(), number == 101);
            let rest = MediaTime::from_seconds(0.5);
            buffer.arrived(number, TWO - rest, rest, t0);
        }
        assert_eq!(seconds(&buffer, t0), 4.0);
        // Another that asks for all of it instead has no more.
        arrives(&mut buffer, 101, t0);
        assert_eq!(seconds(&buffer, t0), 4.0);
    }

    #[test]
    fn a_segment_that_overtakes_another_costs_neither() {
        let t0 = Instant::now();
        let mut buffer = with(1, t0);
        for numbers in [[101, 102], [103, 104]] {
            for number in numbers {
                buffer.asked(number, MediaTime::ZERO, t0);
            }
            for number in numbers.into_iter().rev() {
                arrives(&mut buffer, number, t0);
            }
        }
        assert_eq!(seconds(&buffer, t0), 10.0);
        // Nor do requests that do.
        for number in [106, 105, 107] {
            buffer.asked(number, MediaTime::ZERO, t0);
            arrives(&mut buffer, number, t0);
        }
        assert_eq!(seconds(&buffer, t0), 16.0);
    }

    #[test]
    fn one_that_never_arrives_does_not_stop_the_account() {
        let t0 = Instant::now();
        let mut buffer = with(1, t0);
        buffer.asked(101, MediaTime::ZERO, t0);
        buffer.broken(101, MediaTime::ZERO);
        for number in 102..105 {
            buffer.asked(number, MediaTime::ZERO, t0);
            arrives(&mut buffer, number, t0);
        }
        assert_eq!(seconds(&buffer, t0), 8.0);
    }

    #[test]
    fn a_seek_begins_anew() {
        let t0 = Instant::now();
        let mut buffer = with(3, t0);
        buffer.asked(500, MediaTime::ZERO, after(t0, 1.0));
        assert_eq!(buffer.level(after(t0, 1.0)), None);
        arrives(&mut buffer, 102, after(t0, 1.1));
        assert_eq!(
            buffer.level(after(t0, 1.1)),
            None,
            "it is of the time before"
        );
        arrives(&mut buffer, 500, after(t0, 1.2));
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
        fn no_history_makes_nonsense(acts in prop::collection::vec((0..6u8, 0..9u64, 0..5000u64), 1..60)) {
            let t0 = Instant::now();
            let (mut buffer, mut now) = (Buffer::new(t0), t0);
            for (act, number, millis) in acts {
                now += Duration::from_millis(millis);
                match act {
                    0 => buffer.asked(number, MediaTime::ZERO, now),
                    1 => buffer.asked(number, TWO, now),
                    2 => arrives(&mut buffer, number, now),
                    3 => buffer.arrived(number, MediaTime::from_seconds(0.5), TWO, now),
                    4 => buffer.broken(number, TWO),
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
