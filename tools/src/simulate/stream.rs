//! A live stream: a ladder, and the sizes and qualities of its segments, which appear in real time.

use std::{fs, ops::Range, path::Path};

use adaptation::Part;
use anyhow::{Context as _, ensure};
use playlists::{Bitrate, MediaTime};
use serde::Deserialize;

use super::random::Random;

/// What is broadcast. Segment `n` plays from `n` durations on, and is there whole when it ends.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Seconds.
    pub duration: f64,
    /// Parts that a segment is published in; 1: whole only.
    pub parts: usize,
    /// This many rungs, the cheapest, begin every part with a key frame, and the others every segment.
    pub open: usize,
    /// Mean rate of each rung in bit/s, cheapest first.
    pub rates: Vec<f64>,
    /// What a multivariant playlist says that a rung takes at most, against its mean.
    pub peak: f64,
    /// Where in its sizes the stream begins, and how long after the clock's beginning, in seconds.
    shift: u64,
    phase: f64,
    /// Octets, segment-major; the same segments again and again.
    sizes: Vec<u64>,
    /// VMAF from 0 to 1, where known, as `sizes`.
    quality: Vec<f32>,
    /// The same on the scale of the logarithm of the rate.
    worth: Vec<f32>,
}

#[derive(Deserialize)]
struct Recorded {
    segment_ms: f64,
    rungs: Vec<Rung>,
}

#[derive(Deserialize)]
struct Rung {
    mean_kbps: f64,
    segment_bytes: Vec<u64>,
    segment_vmaf: Vec<f32>,
}

impl Stream {
    /// Sizes that vary as a scene's complexity does, and in all rungs alike. `spread` is their coefficient
    /// of variation.
    pub fn synthetic(rates: &[f64], duration: f64, spread: f64, seed: u64) -> Self {
        let mut random = Random::new(seed, 77);
        let sigma = (1.0 + spread * spread).ln().sqrt();
        let mut scene = random.normal();
        let mut complexity: Vec<f64> = (0..CYCLE)
            .map(|_| {
                scene = SCENE * scene + (1.0 - SCENE * SCENE).sqrt() * random.normal();
                (sigma * scene).exp()
            })
            .collect();
        let mean = complexity.iter().sum::<f64>() / CYCLE as f64;
        complexity.iter_mut().for_each(|factor| *factor /= mean);
        let octets = |factor: &f64| {
            let factor = *factor;
            rates
                .iter()
                .map(move |rate| (rate * duration / 8.0 * factor) as u64)
        };
        Self::of(
            rates,
            duration,
            complexity.iter().flat_map(octets).collect(),
        )
    }

    /// Of segments of these octets, segment-major, of whose quality nothing is known.
    fn of(rates: &[f64], duration: f64, sizes: Vec<u64>) -> Self {
        Self {
            duration,
            parts: 1,
            open: 0,
            rates: rates.to_vec(),
            peak: 1.0,
            shift: 0,
            phase: 0.0,
            sizes,
            quality: Vec::new(),
            worth: Vec::new(),
        }
    }

    /// Of segments with these octets in every rung, the first of which is number 0.
    pub fn sized(rates: &[f64], duration: f64, segments: &[&[u64]]) -> anyhow::Result<Self> {
        ensure!(
            !segments.is_empty() && segments.iter().all(|row| row.len() == rates.len()),
            "{} segments, not each with sizes in {} rungs",
            segments.len(),
            rates.len()
        );
        Ok(Self::of(rates, duration, segments.concat()))
    }

    /// Recorded sizes and VMAF, each segment cut into as many as `duration` asks for.
    pub fn read(path: &Path, duration: f64) -> anyhow::Result<Self> {
        let read = || -> anyhow::Result<Self> {
            let ladder: Recorded = serde_json::from_str(&fs::read_to_string(path)?)?;
            let count = ladder
                .rungs
                .iter()
                .map(|rung| rung.segment_bytes.len())
                .min()
                .unwrap_or(0);
            let pieces = ladder.segment_ms / 1e3 / duration;
            ensure!(
                count > 0 && pieces >= 1.0 && pieces.fract() == 0.0,
                "{count} segments of {} ms cannot be cut into {duration} s",
                ladder.segment_ms
            );
            ensure!(
                ladder
                    .rungs
                    .iter()
                    .all(|rung| rung.segment_vmaf.len() >= count),
                "some segment has no VMAF"
            );
            let (mut sizes, mut quality) = (Vec::new(), Vec::new());
            for segment in 0..count {
                for _ in 0..pieces as usize {
                    sizes.extend(
                        ladder
                            .rungs
                            .iter()
                            .map(|rung| (rung.segment_bytes[segment] as f64 / pieces) as u64),
                    );
                    quality.extend(
                        ladder
                            .rungs
                            .iter()
                            .map(|rung| rung.segment_vmaf[segment] / 100.0),
                    );
                }
            }
            let rates: Vec<f64> = ladder
                .rungs
                .iter()
                .map(|rung| rung.mean_kbps * 1e3)
                .collect();
            let scale = scale(&rates, &quality);
            Ok(Self {
                duration,
                parts: 1,
                open: 0,
                peak: 1.0,
                shift: 0,
                phase: 0.0,
                sizes,
                worth: quality.iter().map(|quality| quality * scale).collect(),
                quality,
                rates,
            })
        };
        read().with_context(|| format!("ladder {}", path.display()))
    }

    /// Another stream of the same kind, the `nth` of `count`: other scenes, and other times of publication.
    pub fn beside(&self, nth: usize, count: usize) -> Self {
        let segments = self.sizes.len() / self.rungs();
        Self {
            shift: (segments * nth / count.max(1)) as u64,
            phase: self.duration * nth as f64 / count.max(1) as f64,
            ..self.clone()
        }
    }

    pub fn rungs(&self) -> usize {
        self.rates.len()
    }

    pub fn top(&self) -> usize {
        self.rungs() - 1
    }

    /// Octets of segment `number` in every rung.
    pub fn sizes(&self, number: u64) -> &[u64] {
        let at = self.at(number);
        &self.sizes[at..at + self.rungs()]
    }

    /// Utility of segment `number` in every rung; empty where it is not known.
    pub fn quality(&self, number: u64) -> &[f32] {
        let at = self.at(number);
        self.quality.get(at..at + self.rungs()).unwrap_or(&[])
    }

    /// How much segment `number` is worth in every rung, on a scale where 1 is what e times the rate usually
    /// brings; empty where it is not known.
    pub fn worth(&self, number: u64) -> &[f32] {
        let at = self.at(number);
        self.worth.get(at..at + self.rungs()).unwrap_or(&[])
    }

    /// Octets of `number` and of those behind it, segment-major, as far as the table goes on there.
    pub fn table(&self, number: u64, behind: u64) -> &[u64] {
        let at = self.at(number);
        let end = at + (behind as usize + 1) * self.rungs();
        &self.sizes[at..end.min(self.sizes.len())]
    }

    /// The newest segment that is there whole.
    pub fn complete(&self, now: f64) -> u64 {
        self.current(now).saturating_sub(1)
    }

    pub fn bitrates(&self) -> Vec<Bitrate> {
        self.rates
            .iter()
            .map(|rate| Bitrate::from_bps(*rate as u64))
            .collect()
    }

    /// When the first picture of segment `number` is broadcast.
    pub fn begins(&self, number: u64) -> f64 {
        self.phase + number as f64 * self.duration
    }

    /// What an origin offers of segment `number` that is asked for in parts, `part` being the next.
    pub fn offered(&self, number: u64, part: usize, now: f64) -> Part {
        let small = |count: usize| u8::try_from(count).unwrap_or(u8::MAX);
        let there = (part..self.parts).filter(|part| self.published(number, *part) <= now + 1e-9);
        let open = if part == 0 { self.rungs() } else { self.open };
        Part {
            index: small(part),
            of: small(self.parts),
            there: small(there.count().max(1)),
            open: small(open),
            later: small(self.open),
        }
    }

    /// Seconds of a part.
    pub fn part(&self) -> f64 {
        self.duration / self.parts as f64
    }

    /// Until where parts are published.
    pub fn edge(&self, now: f64) -> f64 {
        self.phase + ((now - self.phase) / self.part() + 1e-9).floor() * self.part()
    }

    /// Octets of some parts of segment `number`.
    pub fn octets(&self, number: u64, rung: usize, parts: Range<usize>) -> u64 {
        let (size, count) = (self.sizes(number)[rung], self.parts as u64);
        // So that all parts together are the segment.
        let until = |part: usize| size * part as u64 / count;
        until(parts.end) - until(parts.start)
    }

    /// Octets of the usual segment in every rung at `now`: the mean of the newest that are there whole, as the
    /// origin has it.
    pub fn usual(&self, now: f64, usual: &mut Vec<u64>) {
        let last = self.complete(now);
        usual.clear();
        usual.resize(self.rungs(), 0);
        for number in last.saturating_sub(ALIKE - 1)..=last {
            usual
                .iter_mut()
                .zip(self.sizes(number))
                .for_each(|(sum, octets)| *sum += octets);
        }
        usual.iter_mut().for_each(|sum| *sum /= ALIKE);
    }

    /// The segment that is being broadcast.
    pub fn current(&self, now: f64) -> u64 {
        ((now - self.phase) / self.duration + 1e-9).max(0.0) as u64
    }

    /// When `part` of segment `number` is there; all parts for its last.
    pub fn published(&self, number: u64, part: usize) -> f64 {
        self.begins(number) + (part + 1) as f64 / self.parts as f64 * self.duration
    }

    pub fn media(&self) -> MediaTime {
        MediaTime::from_seconds(self.duration)
    }

    fn at(&self, number: u64) -> usize {
        let segments = self.sizes.len() / self.rungs();
        ((number + self.shift) % segments as u64) as usize * self.rungs()
    }
}

/// So that the dearest rung is worth as much more than the cheapest as its rate's logarithm says.
fn scale(rates: &[f64], quality: &[f32]) -> f32 {
    let (Some(least), Some(most)) = (rates.first(), rates.last()) else {
        return 1.0;
    };
    let sum = |rung| quality.iter().skip(rung).step_by(rates.len()).sum::<f32>();
    let segments = (quality.len() / rates.len()).max(1) as f32;
    let span = (sum(rates.len() - 1) - sum(0)) / segments;
    (most / least).ln() as f32 / span.max(0.01)
}

/// Segments after which a synthetic stream starts again; at 2 s, 20 minutes.
const CYCLE: usize = 600;

/// How many segments tell of the next: the origin's.
const ALIKE: u64 = 4;

/// How much of a scene's complexity the next segment has.
const SCENE: f64 = 0.6;

/// Mbit/s of the usual ladder.
pub const LADDER: [f64; 6] = [0.3, 0.7, 1.2, 2.4, 4.0, 6.0];
