//! hls.js 1.7's own adaptation in the browser, with its defaults, as a rival: told anew from what its
//! `AbrController` does, and held against the real one by `against.mjs`.
//!
//! Left out is what does not happen here: codecs, frame sizes, errors, several audio tracks, speeds other
//! than 1, recordings, `startLevel: -1` with its test fragment (by default the first level is chosen from
//! the default estimate). When its media element is ready, when playlists come and what is loaded is told
//! by whoever drives it.

mod estimator;
pub mod record;

pub use estimator::Estimator;
use record::Step;
use serde::Serialize;

/// A level as the multivariant playlist has it, in bit/s.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Level {
    /// `BANDWIDTH`.
    pub peak: f64,
    /// `AVERAGE-BANDWIDTH`.
    pub mean: f64,
}

/// What is known of a fragment while it loads.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Progress {
    /// Since it was asked for, in milliseconds.
    pub elapsed: f64,
    /// How long its first octet took, once it is there.
    pub first_byte: Option<f64>,
    pub octets: f64,
    /// Seconds of media ahead of the playhead.
    pub buffer: f64,
    /// The media element has something to play, or a playlist has just come.
    pub watched: bool,
}

/// One player's controller.
#[derive(Clone, Debug)]
pub struct Abr {
    levels: Vec<Level>,
    /// The first that the playlist lists.
    first: usize,
    estimator: Estimator,
    default_estimate: f64,
    /// Duration of the fragment loaded last, or being loaded, in seconds.
    fragment: f64,
    /// Level of the fragment loaded last.
    loaded: Option<usize>,
    /// Level of the fragment being loaded, or to be loaded.
    load: Option<usize>,
    /// An emergency's word on the next level.
    forced: Option<usize>,
    /// While nothing was loaded, the first word counts.
    first_selection: Option<usize>,
    floor: Option<usize>,
    /// What a media playlist takes to come, in seconds; `None` before there was one.
    playlist: Option<f64>,
    patient: bool,
    /// All that it was told and said, if anybody wants to know.
    pub record: Option<Vec<Step>>,
}

/// How much of the rate a level may take.
#[derive(Clone, Copy)]
struct Share {
    same: f64,
    up: f64,
}

impl Abr {
    /// Of `levels`, cheapest first, of which the playlist names `first` first.
    pub fn new(levels: Vec<Level>, first: usize) -> Self {
        let listed = levels.get(first).map_or(0.0, |level| level.peak);
        let default_estimate = DEFAULT_ESTIMATE.max(listed.min(DEFAULT_ESTIMATE_MOST));
        let mut abr = Self {
            first,
            estimator: Estimator::new(default_estimate),
            default_estimate,
            fragment: 0.0,
            loaded: None,
            load: None,
            forced: None,
            first_selection: None,
            floor: None,
            playlist: None,
            patient: false,
            record: None,
            levels,
        };
        abr.forced = Some(abr.start(0.0));
        abr
    }

    /// Gives nothing up that it loads, unlike the real one.
    pub fn patient(self) -> Self {
        Self {
            patient: true,
            ..self
        }
    }

    /// The level of the next fragment, and the loader's from now on.
    pub fn next(&mut self, buffer: f64) -> usize {
        let level = match self.forced {
            Some(level) => level,
            None if self.estimator.is_known() && self.loaded.is_some() => self.follow(buffer),
            None => self.start(buffer),
        };
        self.load = Some(level);
        self.note(|_| Step::Next { buffer, level });
        level
    }

    /// A media playlist came, `seconds` after its first octet.
    pub fn playlist(&mut self, seconds: f64) {
        self.playlist = Some(seconds);
        self.note(|_| Step::Playlist { seconds });
    }

    /// A fragment of `duration` seconds was asked for.
    pub fn loading(&mut self, duration: f64) {
        self.fragment = duration;
        self.note(|abr| Step::Loading {
            level: abr.load.unwrap_or(0),
            duration,
        });
    }

    /// A fragment is there. Times since it was asked for, in milliseconds.
    pub fn loaded(&mut self, level: usize, first_byte: f64, elapsed: f64, octets: f64) {
        self.estimator.began(first_byte);
        if self.forced == Some(level) {
            self.forced = None;
        }
        self.first_selection = None;
        self.loaded = Some(level);
        let waited = first_byte.min(self.estimator.first_byte());
        self.estimator.loaded(elapsed - waited, octets);
        if self.estimator.is_known() {
            self.floor = None;
        }
        self.note(|abr| Step::Loaded {
            level,
            first_byte,
            elapsed,
            octets,
            estimate: abr.estimator.rate(),
            first_byte_estimate: abr.estimator.first_byte(),
        });
    }

    fn note(&mut self, step: impl FnOnce(&Self) -> Step) {
        if let Some(mut record) = self.record.take() {
            record.push(step(self));
            self.record = Some(record);
        }
    }

    /// To be asked every 100 ms while the fragment of `level` loads: the level to load instead, if it
    /// comes too slowly.
    pub fn check(&mut self, level: usize, progress: &Progress) -> Option<usize> {
        let lower = self.judge(level, progress);
        self.note(|abr| Step::Check {
            level,
            progress: *progress,
            lower,
            estimate: abr.estimator.rate(),
        });
        lower
    }

    fn judge(&mut self, level: usize, progress: &Progress) -> Option<usize> {
        if level == 0 {
            self.forced = None;
            return None;
        }
        let expected_first = self.estimator.first_byte();
        let half = 1e3 * self.fragment / 2.0;
        if self.patient || !progress.watched || progress.elapsed <= expected_first.max(half) {
            return None;
        }
        let first_byte = progress.first_byte.filter(|_| progress.octets > 0.0);
        let rate = first_byte.and_then(|first| self.pace(progress, first));
        let rest = self.rest(level, progress, rate);
        if rest <= progress.buffer {
            return None;
        }
        let (lower, lower_takes) = self.lower(level, rate, progress.buffer);
        if lower_takes >= rest || lower_takes > self.fragment * 10.0 {
            return None;
        }
        match first_byte {
            Some(first) => {
                let streamed = progress.elapsed - first.min(expected_first);
                self.estimator.loaded(streamed, progress.octets);
            }
            None => self.estimator.began(progress.elapsed),
        }
        Some(self.give_up(lower, progress.buffer, rest > lower_takes * 2.0))
    }

    pub fn estimator(&self) -> &Estimator {
        &self.estimator
    }

    /// Bits per second so far.
    fn pace(&self, progress: &Progress, first_byte: f64) -> Option<f64> {
        let mut streamed = progress.elapsed - first_byte;
        if streamed < 1.0 {
            streamed = progress
                .elapsed
                .min(progress.octets * 8.0 / self.estimator.rate());
        }
        (streamed > 0.0).then(|| progress.octets * 8e3 / streamed)
    }

    /// How long the rest of the fragment will take, in seconds.
    fn rest(&self, level: usize, progress: &Progress, rate: Option<f64>) -> f64 {
        let whole = (self.fragment * self.levels[level].mean / 8.0)
            .round()
            .max(progress.octets);
        match rate {
            Some(rate) => (whole - progress.octets) * 8.0 / rate,
            None => whole * 8.0 / self.estimator.rate() + self.estimator.first_byte() / 1e3,
        }
    }

    /// The dearest level below that would be in time, but never the cheapest by this reckoning: that is
    /// what remains if none is, and then it passes for what the last one looked at takes.
    fn lower(&self, level: usize, rate: Option<f64>, buffer: f64) -> (usize, f64) {
        let rate = rate.unwrap_or_else(|| self.estimator.rate());
        let first_byte = self.estimator.first_byte() / 1e3;
        let mut takes = f64::INFINITY;
        for lower in (1..level).rev() {
            takes = self.takes(rate, self.fragment * self.levels[lower].peak, true);
            if takes < buffer.min(self.fragment + first_byte) {
                return (lower, takes);
            }
        }
        (0, takes)
    }

    fn give_up(&mut self, mut lower: usize, buffer: f64, at_once: bool) -> usize {
        let peak = self.levels[lower].peak;
        if self.estimator.rate() * UP > peak {
            self.reset(lower, peak);
        }
        let whole = Share { same: 1.0, up: 1.0 };
        if let Some(best) = self.best(peak, lower, 0.0, buffer, whole) {
            lower = best;
        }
        self.forced = Some(lower);
        self.load = Some(lower);
        if at_once && lower > 0 {
            self.fragment = 0.0;
            let least = self.levels[0].peak;
            let lowest = self.best(least, lower, 0.0, buffer, whole).unwrap_or(0);
            self.forced = Some(lowest);
            self.load = Some(lowest);
            self.reset(lowest, self.levels[lowest].peak);
            return lowest;
        }
        lower
    }

    fn reset(&mut self, level: usize, estimate: f64) {
        self.floor = Some(level.min(self.first));
        self.default_estimate = estimate;
        self.first_selection = None;
        self.estimator = Estimator::new(estimate);
    }

    /// Before anything was loaded.
    fn start(&mut self, buffer: f64) -> usize {
        let whole = Share { same: 1.0, up: 1.0 };
        let (rate, top) = (self.estimator.rate(), self.levels.len() - 1);
        self.best(rate, top, buffer / 2.0, MOST_STARVATION, whole)
            .unwrap_or_else(|| self.first.min(self.floor.unwrap_or(top)))
    }

    fn follow(&mut self, buffer: f64) -> usize {
        let (rate, top) = (self.estimator.rate(), self.levels.len() - 1);
        let share = Share { same: SAME, up: UP };
        if buffer > 0.0
            && let Some(level) = self.best(rate, top, buffer, 0.0, share)
        {
            return level;
        }
        let starvation = if self.fragment > 0.0 {
            self.fragment.min(MOST_STARVATION)
        } else {
            MOST_STARVATION
        };
        self.best(rate, top, buffer, starvation, share).unwrap_or(0)
    }

    /// The dearest level up to `top` that `rate` carries, if loading it takes no longer than `buffer` and
    /// `starvation`, which does not matter once the stream is known to be live.
    fn best(
        &mut self,
        rate: f64,
        top: usize,
        buffer: f64,
        starvation: f64,
        share: Share,
    ) -> Option<usize> {
        if self.levels.len() == 1 {
            return Some(0);
        }
        let first = self.load.is_none() || self.loaded.is_none();
        if first && self.first_selection.is_some() {
            return self.first_selection;
        }
        let rate = if first {
            rate.max(self.levels[0].peak)
        } else {
            rate
        };
        let base = self.loaded.unwrap_or(self.first);
        let duration = if self.fragment > 0.0 {
            self.fragment
        } else {
            1.0
        };
        let relaxed = self.fragment > 0.0 && buffer >= self.fragment * 2.0 && starvation == 0.0;
        let first_byte = self.estimator.first_byte() / 1e3;
        let fits = |level: &usize| {
            let usable = rate * if *level > base { share.up } else { share.same };
            let Level { peak, mean } = self.levels[*level];
            let needs = if relaxed { mean } else { peak };
            let takes = self.takes(usable, needs * duration, true);
            usable >= needs
                && (takes <= first_byte || self.playlist.is_some() || takes < buffer + starvation)
        };
        let best = (0..=top).rev().find(fits)?;
        if first {
            self.first_selection = Some(best);
        }
        Some(best)
    }

    /// How long so many bits take, in seconds.
    fn takes(&self, rate: f64, bits: f64, switch: bool) -> f64 {
        let first_byte = self.estimator.first_byte() / 1e3;
        let playlist = first_byte + self.playlist.unwrap_or(0.0);
        first_byte + bits / rate + if switch { playlist } else { 0.0 }
    }
}

/// `abrEwmaDefaultEstimate`, which the first level listed may raise, to `abrEwmaDefaultEstimateMax` at most.
const DEFAULT_ESTIMATE: f64 = 5e5;
const DEFAULT_ESTIMATE_MOST: f64 = 5e6;
/// `abrBandWidthFactor`, `abrBandWidthUpFactor`.
const SAME: f64 = 0.95;
const UP: f64 = 0.7;
/// `maxStarvationDelay`, in seconds.
const MOST_STARVATION: f64 = 4.0;
