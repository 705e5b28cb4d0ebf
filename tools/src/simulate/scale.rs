//! What many viewers cost the origin's processor: a decision each, and a tick of the allocator.

use std::{
    fs,
    hint::black_box,
    sync::LazyLock,
    time::{Duration, Instant},
};

use adaptation::{Allocator, Class, Delivery, Demand, Limits, Offer, Rule, Viewer};
use playlists::{Bitrate, MediaTime};
use serde::Serialize;

use super::{random::Random, stream::Stream};

/// In time of a processor, as long as the kernel tells it, in the order of what happens for a segment.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Scale {
    pub viewers: usize,
    /// Octets of their state.
    pub state: usize,
    pub decisions_a_second: f64,
    pub deliveries_a_second: f64,
    /// Asking all for their wish, in milliseconds.
    pub census_ms: f64,
    /// Sharing out: when the turn passes on, and while the shares still fit.
    pub turn_ms: f64,
    pub tick_ms: f64,
}

impl Scale {
    /// What all of it takes of a core, with segments of `duration` seconds and two allocations a second.
    pub fn of_a_core(&self, duration: f64) -> f64 {
        let segment = 1.0 / self.decisions_a_second + 1.0 / self.deliveries_a_second;
        self.viewers as f64 / duration * segment + 2.0 * (self.census_ms + self.tick_ms) / 1e3
    }
}

/// Measures with `rule`, on this machine, in this thread.
pub fn measure(viewers: usize, rule: &dyn Rule, stream: &Stream) -> Scale {
    let mut random = Random::new(1, viewers as u64);
    let now = Instant::now();
    let mut all: Vec<(Viewer, f64)> = (0..viewers)
        .map(|_| {
            (
                Viewer::new(None, now),
                0.5e6 * (random.unit() * 40.0_f64.ln()).exp(),
            )
        })
        .collect();
    // Each with a past: another path, another buffer.
    let at = |number: u64| now + Duration::from_secs_f64(number as f64 * stream.duration);
    for number in 0..6 {
        round(&mut all, number, rule, stream, at(number));
    }
    let (deciding, delivering) = (6..10).fold((Duration::ZERO, Duration::ZERO), |sum, number| {
        let (decided, delivered) = round(&mut all, number, rule, stream, at(number));
        (sum.0 + decided, sum.1 + delivered)
    });
    let counted = 4.0 * viewers as f64;
    let (rates, wanted) = (
        stream.bitrates(),
        stream.rates[stream.top()] * viewers as f64,
    );
    let class = |class: usize| Class {
        rates: rates.clone(),
        worth: Vec::new(),
        weight: 1.0,
        viewers: all
            .iter()
            .enumerate()
            .skip(class)
            .step_by(CLASSES)
            .map(|(key, (viewer, _))| Demand {
                key: key as u64,
                cap: viewer.own_cap(&rates),
            })
            .collect(),
    };
    let census = || -> Vec<Class> { (0..CLASSES).map(class).collect() };
    let classes = census();
    let mut allocator = Allocator::new(Some(Bitrate::from_bps((wanted * 0.3) as u64)));
    Scale {
        viewers,
        state: viewers * size_of::<Viewer>(),
        decisions_a_second: counted / deciding.as_secs_f64(),
        deliveries_a_second: counted / delivering.as_secs_f64(),
        census_ms: often(|_| _ = black_box(census())),
        // With another turn nothing is kept.
        turn_ms: often(|turn| _ = black_box(allocator.allocate(&classes, turn))),
        tick_ms: often(|_| _ = black_box(allocator.allocate(&classes, u64::MAX))),
    }
}

/// What one time takes of many, in milliseconds.
fn often(mut work: impl FnMut(u64)) -> f64 {
    let began = spent();
    (0..TIMES).for_each(&mut work);
    (spent() - began).as_secs_f64() * 1e3 / TIMES as f64
}

/// One segment for each; how long deciding took, and learning from the deliveries.
fn round(
    all: &mut [(Viewer, f64)],
    number: u64,
    rule: &dyn Rule,
    stream: &Stream,
    now: Instant,
) -> (Duration, Duration) {
    let usual: Vec<u64> = stream
        .rates
        .iter()
        .map(|rate| (rate * stream.duration / 8.0) as u64)
        .collect();
    let offer = Offer {
        expected: &usual,
        ..Offer::new(number, stream.sizes(number), stream.media())
    };
    let began = spent();
    let rungs: Vec<usize> = all
        .iter_mut()
        .map(|(viewer, _)| {
            viewer
                .decide(&offer, Limits::NONE, None, rule, now)
                .pin
                .rung
        })
        .collect();
    let decided = spent() - began;
    let rtt = Duration::from_millis(40);
    let deliveries: Vec<Delivery> = rungs
        .iter()
        .zip(all.iter())
        .map(|(rung, (_, path))| {
            let octets = stream.sizes(number)[*rung];
            Delivery {
                number,
                octets,
                begins: MediaTime::ZERO,
                media: stream.media(),
                elapsed: rtt + Duration::from_secs_f64(octets as f64 * 8.0 / path),
                min_rtt: rtt,
                capacity: Some(Bitrate::from_bps(*path as u64)),
                receiver_limited: 0.0,
                complete: true,
            }
        })
        .collect();
    let began = spent();
    for ((viewer, _), delivery) in all.iter_mut().zip(&deliveries) {
        black_box(viewer.delivered(delivery, now + delivery.elapsed));
    }
    (decided, spent() - began)
}

/// Processor time of this thread: others use the machine too. Where the kernel does not tell, time.
fn spent() -> Duration {
    static SINCE: LazyLock<Instant> = LazyLock::new(Instant::now);
    let told = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|told| told.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| SINCE.elapsed(), Duration::from_nanos)
}

const CLASSES: usize = 10;
/// The kernel's account may be some milliseconds old.
const TIMES: u64 = 50;
