//! What one viewer's path carries, learnt from what the kernel says about each delivery.
//!
//! Owns the reading of a [`Delivery`] (how much of it is evidence, and of what) and the filter
//! over that evidence. Not how the numbers are got from a socket, nor what is decided by them.
//!
//! A delivery shows the path's rate only if it was long enough to leave slow start and if the
//! receiver kept up. Where it was not, it still proves that the path carries *at least* so much,
//! and such a bound may raise an estimate but never lower it.

use std::time::Duration;

use playlists::{Bitrate, MediaTime};
use serde::{Deserialize, Serialize};

/// One media response to one viewer, from its first octet written to its last acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    /// Of the segment that it is, or is a part of.
    pub number: u64,
    /// Acknowledged by the peer; less than the object's size only if not `complete`.
    pub octets: u64,
    /// Where in its segment it begins: later than that does a part, or the rest of what broke off.
    pub begins: MediaTime,
    /// Duration of the object: of a part, or of a segment.
    pub media: MediaTime,
    /// First octet written to last octet acknowledged, or to the end of the connection if not
    /// `complete`. Blocking for the media is not part of it.
    pub elapsed: Duration,
    /// Smallest round trip seen on the connection.
    pub min_rtt: Duration,
    /// Largest `delivery_rate` sampled while the sender was not limited by the application.
    pub capacity: Option<Bitrate>,
    /// Share of the busy time in which the peer's receive window was the limit, 0 to 1.
    pub receiver_limited: f64,
    /// False if the connection ended before the object did.
    pub complete: bool,
}

/// What a delivery says about the path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Evidence {
    /// The path's rate at that time.
    Measured(Bitrate),
    /// The path carries this much or more: the object was too short, or the receiver too slow.
    AtLeast(Bitrate),
}

/// What the path is expected to carry next.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub rate: Bitrate,
    /// Standard deviation of ln(rate), of the errors of the last predictions.
    pub deviation: f64,
}

/// The filter: two exponential averages of ln(rate), one quick and one slow, of which the lower
/// counts, so that bad news is believed sooner than good news.
///
/// Their half-lives are in seconds of evidence, not in objects: a part weighs less than a segment,
/// and a delivery that took the time of two segments weighs as two.
#[derive(Clone, Copy, Debug)]
pub struct Throughput {
    fast: Average,
    slow: Average,
    /// Of the one-step prediction error of ln(rate).
    variance: f64,
    hint: Option<Bitrate>,
    recent: Recent,
    /// Smallest round trip of the last delivery's connection.
    rtt: Duration,
}

/// The last measurements, and how far off the predictions before them were; newest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    /// In bit/s; 0 where there is none yet.
    rates: [f32; RECENT],
    /// `|predicted - measured| / measured`, predicted as the harmonic mean of the five before.
    errors: [f32; RECENT],
}

impl Recent {
    /// The harmonic mean of what was measured: the mean over octets of the time that each took.
    pub fn harmonic_mean(&self) -> Option<Bitrate> {
        let seen = self.rates.iter().filter(|rate| **rate > 0.0);
        let (count, sum) = seen.fold((0.0, 0.0), |(count, sum), rate| {
            (count + 1.0, sum + 1.0 / f64::from(*rate))
        });
        (count > 0.0).then(|| Bitrate::from_bps((count / sum) as u64))
    }

    /// The least of all five; `None` before there are five.
    fn least(&self) -> Option<Bitrate> {
        let least = self.rates.iter().copied().fold(f32::MAX, f32::min);
        (least > 0.0).then(|| Bitrate::from_bps(least as u64))
    }

    /// The largest of the errors.
    pub fn worst_error(&self) -> f64 {
        f64::from(self.errors.iter().copied().fold(0.0, f32::max))
    }

    fn push(&mut self, rate: Bitrate) {
        let rate = bounded(rate).bps() as f32;
        let error = self.harmonic_mean().map_or(0.0, |predicted| {
            (predicted.bps() as f32 - rate).abs() / rate
        });
        self.rates.rotate_right(1);
        self.errors.rotate_right(1);
        (self.rates[0], self.errors[0]) = (rate, error);
    }
}

impl Delivery {
    /// `None` where nothing can be said, such as a connection that ended before it began.
    pub fn evidence(&self) -> Option<Evidence> {
        let goodput = self.goodput();
        // Whatever the reason for it, this pace is what the viewer lives with.
        let (slow, behind) = (self.took(SLOW_PACE), self.took(BEHIND));
        let measured_if = |sure| {
            if sure {
                Evidence::Measured(goodput)
            } else {
                Evidence::AtLeast(goodput)
            }
        };
        Some(match self.capacity {
            _ if self.octets == 0 && (self.complete || !slow) => return None,
            _ if self.receiver_limited > RECEIVER_LIMITED => measured_if(behind),
            _ if !self.complete => measured_if(slow),
            Some(capacity) => {
                // What took half its duration was not held up by slow start alone, and a capacity
                // far above its pace may be one that the path had before.
                let trust = if self.is_short() && !slow {
                    SHORT_TRUST
                } else {
                    LONG_TRUST
                };
                Evidence::Measured(bounded(capacity.clamp(goodput, goodput.scale(trust))))
            }
            None => measured_if(slow || !self.is_short()),
        })
    }

    /// Longer than its duration times `pace`.
    fn took(&self, pace: f64) -> bool {
        let media = self.media.duration();
        !media.is_zero() && self.elapsed > media.mul_f64(pace)
    }

    /// Octets over the time in which they arrived: the last acknowledgement travelled one round
    /// trip that carried nothing new (`adaptation.md`: p10 .52, p50 .90, p90 .99 of the truth).
    fn goodput(&self) -> Bitrate {
        // The sampling of acknowledgements and delayed ones make shorter spans meaningless, and an
        // object within one round trip (a burst of the first window) has no other length.
        let span = self
            .elapsed
            .saturating_sub(self.min_rtt)
            .max(self.elapsed / 4)
            .max(SHORTEST);
        bounded(Bitrate::of(self.octets, span))
    }

    /// Less than two bandwidth-delay products: slow start was most of it. Without a capacity the
    /// goodput stands for the bandwidth, and octets cancel out.
    fn is_short(&self) -> bool {
        match self.capacity {
            Some(capacity) => {
                self.octets < bounded(capacity).octets_in(self.min_rtt).saturating_mul(2)
            }
            None => self.elapsed < self.min_rtt.saturating_mul(3),
        }
    }
}

impl Throughput {
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts from what another node knew of this viewer, until there is evidence.
    pub fn with_hint(rate: Bitrate) -> Self {
        Self {
            hint: Some(bounded(rate)),
            ..Self::default()
        }
    }

    /// Learns from a delivery; returns what was taken from it, `None` if nothing.
    pub fn observe(&mut self, delivery: &Delivery) -> Option<Evidence> {
        let evidence = delivery.evidence()?;
        let weight = delivery
            .media
            .duration()
            .max(delivery.elapsed)
            .max(LIGHTEST)
            .as_secs_f64();
        self.rtt = delivery.min_rtt;
        match evidence {
            Evidence::Measured(rate) => {
                self.recent.push(rate);
                let seen = log(rate);
                self.judge(seen, weight);
                // Late is not noise: at this pace the buffer drains, so it counts at once.
                if delivery.elapsed > delivery.media.duration() && self.fast.mean > seen {
                    self.fast = Average::default();
                }
                self.learn(seen, weight);
            }
            Evidence::AtLeast(rate) => {
                if self.estimate().is_some_and(|known| known.rate >= rate) {
                    return None;
                }
                self.learn(log(rate), weight);
            }
        }
        Some(evidence)
    }

    /// Takes in what somebody else measured of the path, such as the player.
    pub fn told(&mut self, rate: Bitrate) {
        let seen = log(rate);
        let weight = TOLD.as_secs_f64();
        self.judge(seen, weight);
        self.learn(seen, weight);
    }

    /// `None` without evidence or hint.
    pub fn estimate(&self) -> Option<Estimate> {
        match self.prediction() {
            Some(mean) => Some(Estimate {
                rate: Bitrate::from_bps(mean.exp() as u64),
                deviation: self.variance.sqrt(),
            }),
            None => self.hint.map(|rate| Estimate {
                rate,
                deviation: HINT_DEVIATION,
            }),
        }
    }

    pub fn recent(&self) -> Recent {
        self.recent
    }

    /// Smallest round trip of the connection that was measured last; zero before.
    pub fn rtt(&self) -> Duration {
        self.rtt
    }

    /// Not below what each of the last measurements showed, less a little: else a path that came back
    /// would be believed only once the past is forgotten.
    fn prediction(&self) -> Option<f64> {
        let average = self.fast.mean.min(self.slow.mean);
        let proven = self.recent.least().map(|rate| log(rate.scale(PROVEN)));
        (self.fast.mass > 0.0).then(|| proven.map_or(average, |proven| average.max(proven)))
    }

    fn learn(&mut self, seen: f64, weight: f64) {
        self.fast.add(seen, keep(weight, FAST));
        self.slow.add(seen, keep(weight, SLOW));
    }

    /// How wrong the prediction was. One jump counts as a factor e at most: it is news about the
    /// path's level, and must not pass for noise long after.
    fn judge(&mut self, seen: f64, weight: f64) {
        if let Some(expected) = self.prediction() {
            let error = (seen - expected).clamp(-1.0, 1.0);
            let keep = keep(weight, JUDGED);
            self.variance = keep * self.variance + (1.0 - keep) * error * error;
        }
    }
}

impl Default for Throughput {
    fn default() -> Self {
        Self {
            fast: Average::default(),
            slow: Average::default(),
            variance: FIRST_DEVIATION * FIRST_DEVIATION,
            hint: None,
            recent: Recent::default(),
            rtt: Duration::ZERO,
        }
    }
}

/// An exponential average that is unbiased from its first value on: `mass` is how much of the
/// unit weight has been seen, as in the bias correction of Adam (Kingma & Ba 2015, section 3).
#[derive(Clone, Copy, Debug, Default)]
struct Average {
    mean: f64,
    mass: f64,
}

impl Average {
    /// `keep` < 1, so that the mass is positive after any value.
    fn add(&mut self, value: f64, keep: f64) {
        self.mass = keep * self.mass + (1.0 - keep);
        self.mean += (value - self.mean) * (1.0 - keep) / self.mass;
    }
}

/// What remains of the past after `weight` seconds of evidence.
fn keep(weight: f64, half_life: f64) -> f64 {
    (-weight / half_life).exp2()
}

fn log(rate: Bitrate) -> f64 {
    (bounded(rate).bps() as f64).ln()
}

fn bounded(rate: Bitrate) -> Bitrate {
    rate.clamp(SLOWEST, FASTEST)
}

/// Half-lives in seconds of evidence: of the two averages, and of the errors of what they predicted.
const FAST: f64 = 2.0;
const SLOW: f64 = 9.0;
const JUDGED: f64 = 12.0;

/// What is left of the least of the last measurements, to be reckoned with.
const PROVEN: f64 = 0.9;

/// No rung is below the one or above the other, and a log-domain filter must forget both.
const SLOWEST: Bitrate = Bitrate::from_kbps(32);
const FASTEST: Bitrate = Bitrate::from_kbps(1_000_000);

/// Above this share of busy time it was the receiver that was measured.
const RECEIVER_LIMITED: f64 = 0.2;
/// Elapsed over duration: a delivery so slow counts even where something else than the path may
/// have been measured.
const SLOW_PACE: f64 = 0.5;
/// The same where it may have been a player that reads at the pace it plays.
const BEHIND: f64 = 1.1;

/// The goodput is 10 % low, the kernel's capacity is biased up on fading links: this closes half of the gap.
/// More brings more stalls than quality.
const LONG_TRUST: f64 = 1.05;
/// In slow start the goodput may be a quarter of the truth.
const SHORT_TRUST: f64 = 4.0;

const SHORTEST: Duration = Duration::from_micros(100);
const LIGHTEST: Duration = Duration::from_millis(20);

/// As many as RobustMPC looks back (Yin et al. 2015, section 5).
const RECENT: usize = 5;

/// What a player tells is an average of its own; it weighs as a short segment of ours.
const TOLD: Duration = Duration::from_secs(1);

/// Before any prediction has been judged.
const FIRST_DEVIATION: f64 = 0.2;
/// A hint is about another path, some time ago.
const HINT_DEVIATION: f64 = 0.5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Two seconds of media over a path of 50 ms.
    fn delivery(octets: u64, elapsed_ms: u64) -> Delivery {
        Delivery {
            number: 1,
            octets,
            begins: MediaTime::ZERO,
            media: MediaTime::from_seconds(2.0),
            elapsed: Duration::from_millis(elapsed_ms),
            min_rtt: Duration::from_millis(50),
            capacity: None,
            receiver_limited: 0.0,
            complete: true,
        }
    }

    fn kbps(kbps: u64) -> Bitrate {
        Bitrate::from_kbps(kbps)
    }

    #[test]
    fn the_last_acknowledgements_way_back_is_no_part_of_the_rate() {
        assert_eq!(
            delivery(250_000, 1050).evidence(),
            Some(Evidence::Measured(kbps(2000)))
        );
    }

    #[test]
    fn a_short_object_only_bounds_from_below() {
        let short = delivery(25_000, 100);
        assert_eq!(short.evidence(), Some(Evidence::AtLeast(kbps(4000))));

        let mut path = Throughput::new();
        path.observe(&delivery(1_000_000, 1050));
        assert_eq!(path.observe(&short), None);
        assert_eq!(
            path.estimate()
                .map(|estimate| estimate.rate.kbps().div_ceil(10)),
            Some(800)
        );
    }

    #[test]
    fn a_bound_above_the_estimate_raises_it() {
        let mut path = Throughput::new();
        path.observe(&delivery(250_000, 1050));
        assert!(path.observe(&delivery(50_000, 100)).is_some());
        assert!(
            path.estimate()
                .is_some_and(|estimate| estimate.rate > kbps(2200))
        );
    }

    #[test]
    fn a_capacity_closes_the_gap_of_the_goodput_and_no_more() {
        let with = |capacity, octets, elapsed| Delivery {
            capacity: Some(kbps(capacity)),
            ..delivery(octets, elapsed)
        };
        assert_eq!(
            with(2050, 250_000, 1050).evidence(),
            Some(Evidence::Measured(kbps(2050)))
        );
        assert_eq!(
            with(9000, 250_000, 1050).evidence(),
            Some(Evidence::Measured(kbps(2100)))
        );
        assert_eq!(
            with(1500, 250_000, 1050).evidence(),
            Some(Evidence::Measured(kbps(2000)))
        );
        assert_eq!(
            with(9000, 25_000, 100).evidence(),
            Some(Evidence::Measured(kbps(9000)))
        );
    }

    #[test]
    fn a_part_that_comes_slowly_is_news_whatever_was_seen_before() {
        let part = Delivery {
            media: MediaTime::from_seconds(0.33),
            capacity: Some(kbps(6000)),
            ..delivery(41_000, 380)
        };
        let Some(Evidence::Measured(rate)) = part.evidence() else {
            panic!("{:?}", part.evidence())
        };
        assert_eq!(rate.kbps(), 1043);
        let mut path = Throughput::new();
        (0..18).for_each(|_| {
            path.observe(&Delivery {
                elapsed: Duration::from_millis(70),
                ..part
            });
        });
        let known = |path: &Throughput| path.estimate().map(|estimate| estimate.rate.kbps());
        assert!(known(&path) > Some(5000), "{:?}", known(&path));
        path.observe(&part);
        assert!(known(&path) < Some(1300), "{:?}", known(&path));
    }

    #[test]
    fn a_slow_reader_counts_only_once_it_falls_behind() {
        let reader = |elapsed| Delivery {
            receiver_limited: 0.9,
            ..delivery(250_000, elapsed)
        };
        assert_eq!(reader(2050).evidence(), Some(Evidence::AtLeast(kbps(1000))));
        assert_eq!(reader(4050).evidence(), Some(Evidence::Measured(kbps(500))));
    }

    #[test]
    fn a_broken_connection_counts_if_it_was_slow() {
        let broken = |octets, elapsed| Delivery {
            complete: false,
            ..delivery(octets, elapsed)
        };
        assert_eq!(broken(0, 100).evidence(), None);
        assert_eq!(
            broken(10_000, 250).evidence(),
            Some(Evidence::AtLeast(kbps(400)))
        );
        assert_eq!(
            broken(100_000, 4050).evidence(),
            Some(Evidence::Measured(kbps(200)))
        );
        assert_eq!(
            broken(0, 4050).evidence(),
            Some(Evidence::Measured(SLOWEST))
        );
    }

    #[test]
    fn a_hint_gives_way_to_the_first_evidence() {
        let mut path = Throughput::with_hint(kbps(5000));
        assert_eq!(
            path.estimate().map(|estimate| estimate.rate),
            Some(kbps(5000))
        );
        path.observe(&delivery(25_000, 100));
        assert_eq!(
            path.estimate().map(|estimate| estimate.rate),
            Some(kbps(5000))
        );
        path.observe(&delivery(250_000, 1050));
        assert_eq!(
            path.estimate()
                .map(|estimate| estimate.rate.kbps().div_ceil(10)),
            Some(200)
        );
    }

    #[test]
    fn bad_news_is_believed_sooner_than_good_news() {
        let steady = |octets| {
            let mut path = Throughput::new();
            (0..20).for_each(|_| _ = path.observe(&delivery(octets, 1050)));
            path
        };
        let (mut down, mut up) = (steady(500_000), steady(125_000));
        down.observe(&delivery(250_000, 1050));
        up.observe(&delivery(250_000, 1050));
        let rate = |path: &Throughput| {
            path.estimate()
                .map(|estimate| estimate.rate)
                .expect("was observed")
        };
        assert!(rate(&down) < kbps(2900), "{}", rate(&down));
        assert!(rate(&up) < kbps(1200), "{}", rate(&up));
    }

    #[test]
    fn uncertainty_is_that_of_the_path() {
        let mut path = Throughput::new();
        (0..80).for_each(|_| _ = path.observe(&delivery(250_000, 1050)));
        assert!(
            path.estimate()
                .is_some_and(|estimate| estimate.deviation < 0.01)
        );
        (0..40).for_each(|n| _ = path.observe(&delivery(250_000 + n % 2 * 250_000, 1050)));
        assert!(
            path.estimate()
                .is_some_and(|estimate| (0.3..0.7).contains(&estimate.deviation))
        );
    }

    proptest! {
        #[test]
        fn no_delivery_makes_nonsense(
            deliveries in prop::collection::vec(
                (any::<u64>(), any::<i64>(), any::<u64>(), any::<u64>(), any::<Option<u64>>(), any::<f64>(), any::<bool>()),
                1..20,
            )
        ) {
            let mut path = Throughput::new();
            for (octets, media, elapsed, rtt, capacity, receiver_limited, complete) in deliveries {
                path.observe(&Delivery {
                    number: 1,
                    octets,
                    begins: MediaTime::ZERO,
                    media: MediaTime::from_flicks(media),
                    elapsed: Duration::from_nanos(elapsed),
                    min_rtt: Duration::from_secs(rtt),
                    capacity: capacity.map(Bitrate::from_bps),
                    receiver_limited,
                    complete,
                });
                if let Some(estimate) = path.estimate() {
                    // The logarithm and back may lose a bit/s.
                    prop_assert!(estimate.rate.bps() + 1 >= SLOWEST.bps() && estimate.rate <= FASTEST + SLOWEST);
                    prop_assert!(estimate.deviation.is_finite() && (0.0..=1.0).contains(&estimate.deviation));
                }
            }
        }
    }
}
