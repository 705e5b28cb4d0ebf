//! What hls.js believes of its path: the lower of two averages of the rates it saw, and an average of how
//! long answers took to begin.

/// An exponential average over seconds of loading, corrected for having begun at 0.
#[derive(Clone, Copy, Debug)]
struct Average {
    half_life: f64,
    sum: f64,
    weight: f64,
}

/// See the module. Rates in bit/s, times in milliseconds, as hls.js has them.
#[derive(Clone, Debug)]
pub struct Estimator {
    fast: Average,
    slow: Average,
    first_byte: Average,
    /// Until something was seen.
    default: f64,
}

impl Average {
    fn new(half_life: f64) -> Self {
        Self {
            half_life,
            sum: 0.0,
            weight: 0.0,
        }
    }

    fn keep(&self, weight: f64) -> f64 {
        (-weight / self.half_life).exp2()
    }

    fn add(&mut self, weight: f64, value: f64) {
        let keep = self.keep(weight);
        self.sum = keep * self.sum + (1.0 - keep) * value;
        self.weight += weight;
    }

    fn value(&self) -> Option<f64> {
        (self.weight >= LEAST_WEIGHT).then(|| self.sum / (1.0 - self.keep(self.weight)))
    }
}

impl Estimator {
    pub fn new(default: f64) -> Self {
        Self {
            fast: Average::new(FAST),
            slow: Average::new(SLOW),
            first_byte: Average::new(SLOW),
            default,
        }
    }

    /// `octets` took `ms`.
    pub fn loaded(&mut self, ms: f64, octets: f64) {
        if octets <= 0.0 {
            return;
        }
        // Nothing is believed to be faster than 800 Mbit/s, or shorter than that makes 50 ms.
        let seconds = ms.max(SHORTEST_MS.min(octets / 1e5)) / 1e3;
        let rate = octets * 8.0 / seconds;
        self.fast.add(seconds, rate);
        self.slow.add(seconds, rate);
    }

    /// An answer took `ms` to begin. The longer, the less it counts.
    pub fn began(&mut self, ms: f64) {
        let seconds = ms / 1e3;
        let weight = std::f64::consts::SQRT_2 * (-seconds * seconds / 2.0).exp();
        self.first_byte.add(weight, ms.max(5.0));
    }

    pub fn is_known(&self) -> bool {
        self.fast.value().is_some()
    }

    /// In bit/s.
    pub fn rate(&self) -> f64 {
        match (self.fast.value(), self.slow.value()) {
            (Some(fast), Some(slow)) => fast.min(slow),
            _ => self.default,
        }
    }

    /// How long an answer takes to begin, in milliseconds.
    pub fn first_byte(&self) -> f64 {
        self.first_byte.value().unwrap_or(FIRST_BYTE_MS)
    }
}

/// `abrEwmaFastLive`, `abrEwmaSlowLive`, which are those of recordings as well.
const FAST: f64 = 3.0;
const SLOW: f64 = 9.0;

const LEAST_WEIGHT: f64 = 1e-3;
const SHORTEST_MS: f64 = 50.0;
const FIRST_BYTE_MS: f64 = 100.0;
