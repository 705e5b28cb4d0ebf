//! From pictures whenever they come to pictures at a constant rate: which rate, and which picture is
//! shown in each slot of it.
//!
//! Pure: times in, counts out. The pictures themselves are the pipeline's.

use playlists::MediaTime;

use segmenter::Grid;

/// The whole rate for an input of `rate` pictures per second (0: unknown), at most `cap`.
///
/// Whole, so that segments are whole in AAC frames: 23.976 becomes 24 and 29.97 becomes 30, by repeating
/// one picture in a thousand. Faster inputs are halved until they fit, odd ones get the next rate up.
pub(crate) fn whole_rate(rate: f64, cap: u32) -> u32 {
    if !rate.is_finite() || rate < 0.1 {
        return UNKNOWN.min(cap);
    }
    let share = (rate / (f64::from(cap) * (1.0 + TOLERANCE)))
        .ceil()
        .max(1.0);
    let rate = rate / share;
    let fits = |whole: &u32| *whole <= cap;
    let near = |whole: u32, rate: f64| (f64::from(whole) - rate).abs() <= rate * TOLERANCE;
    let multiple = |whole: &u32| near(*whole, rate * (f64::from(*whole) / rate).round());
    RATES
        .into_iter()
        .filter(fits)
        .find(|whole| near(*whole, rate))
        .or_else(|| {
            RATES
                .into_iter()
                .filter(fits)
                .find(|whole| f64::from(*whole) >= rate && multiple(whole))
        })
        .or_else(|| {
            RATES
                .into_iter()
                .filter(fits)
                .find(|whole| f64::from(*whole) >= rate)
        })
        .unwrap_or(cap)
}

/// Rates in use, slowest first.
const RATES: [u32; 11] = [10, 12, 15, 20, 24, 25, 30, 40, 48, 50, 60];
/// 29.97 counts as 30.
const TOLERANCE: f64 = 0.01;
const UNKNOWN: u32 = 30;

/// Where the input's clock stands against the run's, and what is shown in which slot.
///
/// The newest picture is held until the next one comes: only then is it known how long it lasts, and whether
/// it is the last one.
#[derive(Debug)]
pub(crate) struct Cadence {
    grid: Grid,
    /// Input time minus run time; `None` until a picture says so.
    offset: Option<MediaTime>,
    /// Slot of the picture that is held.
    held: Option<u64>,
    /// Input time of the last picture.
    last: Option<MediaTime>,
    /// Pictures in a row that came after their slot was over.
    late: u32,
    pub(crate) dropped: u64,
    pub(crate) repeated: u64,
}

impl Cadence {
    pub(crate) fn new(grid: Grid) -> Self {
        Self {
            grid,
            offset: None,
            held: None,
            last: None,
            late: 0,
            dropped: 0,
            repeated: 0,
        }
    }

    /// The input starts over, or its clock cannot be trusted: the next picture follows the last one.
    pub(crate) fn restart(&mut self) {
        self.offset = None;
        self.last = None;
    }

    /// The run's time at which the input's `time` falls; `None` until a picture came.
    pub(crate) fn run_time(&self, time: MediaTime) -> Option<MediaTime> {
        self.offset.map(|offset| time - offset)
    }

    /// Input time minus run time.
    pub(crate) fn offset(&self) -> Option<MediaTime> {
        self.offset
    }

    /// A picture of input time `time` came, to be held from now on. Says how often the one held before it is shown.
    pub(crate) fn arrive(&mut self, time: MediaTime) -> u64 {
        let next = self.held.map_or(0, |held| held + 1);
        let expected = self.grid.time(next);
        let last = self.last.replace(time).unwrap_or(time);
        let Some(run) = self.run_time(time) else {
            return self.anchor(time, next);
        };
        if run - expected > FORWARD || last - time > BACKWARD || self.late > self.grid.fps() {
            return self.anchor(time, next);
        }
        let slot = self.grid.frame(run);
        self.late = if slot + 1 < next { self.late + 1 } else { 0 };
        if slot < next {
            self.dropped += 1;
            return 0;
        }
        self.hold(slot)
    }

    /// From now on the input's `time` is that of `slot`.
    fn anchor(&mut self, time: MediaTime, slot: u64) -> u64 {
        self.offset = Some(time - self.grid.time(slot));
        self.late = 0;
        self.hold(slot)
    }

    /// No picture came for long: the one held is shown up to run time `until`. Says how often.
    pub(crate) fn fill(&mut self, until: MediaTime) -> u64 {
        let Some(held) = self.held else { return 0 };
        let times = self.grid.frame(until).saturating_sub(held);
        self.held = Some(held + times);
        self.repeated += times;
        times
    }

    /// A picture without a clock came, for the next slot. Says how often the one held before it is shown.
    pub(crate) fn follow(&mut self) -> u64 {
        self.restart();
        self.hold(self.held.map_or(0, |held| held + 1))
    }

    /// Run time at which the picture that is held is shown.
    pub(crate) fn held_time(&self) -> MediaTime {
        self.grid.time(self.held.unwrap_or(0))
    }

    fn hold(&mut self, slot: u64) -> u64 {
        let shown = self.held.replace(slot).map_or(0, |held| slot - held);
        self.repeated += shown.saturating_sub(1);
        shown
    }
}

/// Longer gaps are no gaps, and earlier pictures no late ones: the sender's clock was set anew. So it was when
/// pictures are late for a whole second, because no viewer would see another one.
const FORWARD: MediaTime = MediaTime::from_flicks(10 * MediaTime::PER_SECOND);
const BACKWARD: MediaTime = MediaTime::from_flicks(MediaTime::PER_SECOND / 2);

#[cfg(test)]
mod tests {
    use super::*;

    fn cadence(fps: u32) -> Cadence {
        Cadence::new(Grid::new(
            fps,
            MediaTime::from_seconds(2.0),
            MediaTime::from_seconds(0.5),
        ))
    }

    fn shown(cadence: &mut Cadence, times: impl IntoIterator<Item = f64>) -> Vec<u64> {
        times
            .into_iter()
            .map(|time| cadence.arrive(MediaTime::from_seconds(time)))
            .collect()
    }

    #[test]
    fn rates_become_whole_and_sane() {
        for (rate, whole) in [
            (23.976, 24),
            (24.0, 24),
            (25.0, 25),
            (29.97, 30),
            (30.0, 30),
            (50.0, 25),
            (59.94, 30),
            (60.0, 30),
            (120.0, 30),
            (48.0, 24),
            (12.5, 25),
            (10.0, 10),
            (5.0, 10),
            (8.0, 24),
            (14.985, 15),
            (17.3, 20),
            (0.0, 30),
            (1000.0, 30),
        ] {
            assert_eq!(whole_rate(rate, 30), whole, "{rate}");
        }
        assert_eq!(whole_rate(59.94, 60), 60);
        assert_eq!(whole_rate(50.0, 60), 50);
    }

    #[test]
    fn a_steady_input_is_shown_once_each() {
        let mut cadence = cadence(30);
        let shown = shown(
            &mut cadence,
            (0..90).map(|n| 5.0 + f64::from(n) / 30.0 + f64::from(n % 3) * 0.004),
        );
        assert_eq!(shown[0], 0);
        assert!(shown[1..].iter().all(|times| *times == 1));
        assert_eq!((cadence.dropped, cadence.repeated), (0, 0));
    }

    #[test]
    fn a_faster_input_loses_every_other_picture() {
        let mut cadence = cadence(30);
        let shown: u64 = shown(&mut cadence, (0..120).map(|n| f64::from(n) / 60.0))
            .iter()
            .sum();
        assert_eq!((shown, cadence.repeated), (60, 0));
        assert_eq!(cadence.dropped, 59);
    }

    #[test]
    fn a_slower_input_is_repeated() {
        let mut cadence = cadence(25);
        let shown = shown(&mut cadence, (0..10).map(|n| f64::from(n) / 12.5));
        assert_eq!(shown, [0, 2, 2, 2, 2, 2, 2, 2, 2, 2]);
        assert_eq!(cadence.repeated, 9);
    }

    #[test]
    fn a_jump_of_the_clock_is_no_gap() {
        let mut cadence = cadence(25);
        assert_eq!(
            shown(&mut cadence, [0.0, 0.04, 3600.0, 3600.04, 1.0, 1.04]),
            [0, 1, 1, 1, 1, 1]
        );
        assert_eq!(
            cadence.run_time(MediaTime::from_seconds(1.04)),
            Some(MediaTime::from_ticks(5, 25))
        );
    }

    #[test]
    fn a_short_gap_is_filled_and_a_long_silence_too() {
        let mut cadence = cadence(25);
        assert_eq!(shown(&mut cadence, [0.0, 1.0]), [0, 25]);
        assert_eq!(cadence.fill(MediaTime::from_seconds(3.0)), 50);
        assert_eq!(cadence.arrive(MediaTime::from_seconds(2.0)), 0);
        assert_eq!(cadence.arrive(MediaTime::from_seconds(3.04)), 1);
    }

    #[test]
    fn pictures_that_are_late_for_good_are_shown_again() {
        let mut cadence = cadence(25);
        shown(&mut cadence, [0.0]);
        cadence.fill(MediaTime::from_seconds(2.0));
        let shown = shown(&mut cadence, (1..100).map(|n| f64::from(n) / 25.0));
        assert!(shown[..25].iter().all(|times| *times == 0));
        assert_eq!(shown[27..].iter().sum::<u64>(), 72);
    }

    #[test]
    fn a_slate_follows_and_an_input_follows_the_slate() {
        let mut cadence = cadence(25);
        shown(&mut cadence, [7.0, 7.04]);
        assert_eq!([cadence.follow(), cadence.follow()], [1, 1]);
        assert_eq!(cadence.run_time(MediaTime::from_seconds(7.08)), None);
        assert_eq!(cadence.held_time(), MediaTime::from_ticks(3, 25));
        assert_eq!(shown(&mut cadence, [100.0, 100.04]), [1, 1]);
        assert_eq!((cadence.dropped, cadence.repeated), (0, 0));
    }

    #[test]
    fn an_input_that_starts_over_goes_on() {
        let mut cadence = cadence(25);
        shown(&mut cadence, [0.0, 0.04, 0.08]);
        cadence.restart();
        assert_eq!(shown(&mut cadence, [0.0, 0.04]), [1, 1]);
    }
}
