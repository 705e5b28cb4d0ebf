//! What a path carries over time: recorded traces, and synthetic ones where there are none.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::random::Random;

/// Rates of a path, one after the other; at its end it starts again. Carries something at some time.
#[derive(Clone, Debug)]
pub struct Trace {
    pub name: String,
    /// When each stretch ends, in seconds from the start, and its rate in bit/s.
    stretches: Vec<(f64, f64)>,
}

/// Traces of one kind.
#[derive(Clone, Debug)]
pub struct Family {
    pub name: String,
    pub traces: Vec<Arc<Trace>>,
}

/// Where in a trace one is, so that going on costs nothing.
#[derive(Clone, Debug)]
pub struct Cursor {
    trace: Arc<Trace>,
    /// Of the stretch that holds now.
    at: usize,
    /// When the trace last started, on the clock of whoever asks.
    began: f64,
}

#[derive(Deserialize)]
struct Line {
    name: String,
    /// Milliseconds, kbit/s.
    points: Vec<(f64, f64)>,
}

impl Trace {
    /// Of stretches in seconds and bit/s.
    pub fn new(name: impl Into<String>, stretches: &[(f64, f64)]) -> anyhow::Result<Self> {
        let name = name.into();
        let mut end = 0.0;
        let mut ends = Vec::with_capacity(stretches.len());
        for &(seconds, bps) in stretches {
            ensure!(
                seconds.is_finite() && seconds >= 0.0 && bps.is_finite() && bps >= 0.0,
                "trace {name}: a stretch of {seconds} s with {bps} bit/s"
            );
            if seconds > 0.0 {
                end += seconds;
                ends.push((end, bps));
            }
        }
        ensure!(
            ends.iter().any(|(_, bps)| *bps > 0.0),
            "trace {name} carries nothing at any time"
        );
        Ok(Self {
            name,
            stretches: ends,
        })
    }

    /// The same rate for ever.
    pub fn steady(bps: f64) -> anyhow::Result<Self> {
        Self::new(format!("steady {bps:.0}"), &[(1e6, bps)])
    }

    pub fn length(&self) -> f64 {
        self.stretches.last().map_or(0.0, |(end, _)| *end)
    }

    pub fn mean(&self) -> f64 {
        let mut began = 0.0;
        let bits = self.stretches.iter().map(|(end, bps)| {
            let bits = bps * (end - began);
            began = *end;
            bits
        });
        bits.sum::<f64>() / self.length()
    }

    fn shorten_outages(&self, seconds: f64) -> anyhow::Result<Self> {
        let (mut began, mut dead) = (0.0, 0.0);
        let stretches = self.stretches.iter().map(|&(end, bps)| {
            let mut span = end - began;
            began = end;
            if bps < OUTAGE {
                span = span.min((seconds - dead).max(0.0));
                dead += span;
            } else {
                dead = 0.0;
            }
            (span, bps)
        });
        Self::new(self.name.clone(), &stretches.collect::<Vec<_>>())
    }

    /// At time `now`, `offset` into the trace.
    pub fn cursor(self: &Arc<Self>, now: f64, offset: f64) -> Cursor {
        let mut cursor = Cursor {
            trace: Arc::clone(self),
            at: 0,
            began: now - offset % self.length(),
        };
        cursor.go(now);
        cursor
    }
}

impl Cursor {
    /// What it carries from now on, in bit/s, and until when.
    pub fn now(&self) -> (f64, f64) {
        let (end, bps) = self.trace.stretches[self.at];
        (bps, self.began + end)
    }

    /// Forward to `now`.
    pub fn go(&mut self, now: f64) {
        while self.now().1 <= now {
            self.at += 1;
            if self.at == self.trace.stretches.len() {
                (self.at, self.began) = (0, self.began + self.trace.length());
            }
        }
    }
}

impl Family {
    /// Each line of the file is a trace; the file's name is the family's.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("traces {}", path.display()))?;
        let traces = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty());
        let traces = traces.map(|(number, line)| {
            let read = || -> anyhow::Result<_> {
                let line: Line = serde_json::from_str(line)?;
                let points = line.points.iter().map(|(ms, kbps)| (ms / 1e3, kbps * 1e3));
                Ok(Arc::new(Trace::new(
                    line.name,
                    &points.collect::<Vec<_>>(),
                )?))
            };
            read().with_context(|| format!("{}, line {}", path.display(), number + 1))
        });
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Ok(Self {
            name,
            traces: traces.collect::<anyhow::Result<_>>()?,
        })
    }

    /// Without what of an outage is longer than `seconds`: nobody waits for the end of a tunnel of a quarter
    /// of an hour, and no rule can do anything about it.
    pub fn shorten_outages(&mut self, seconds: f64) -> anyhow::Result<()> {
        for trace in &mut self.traces {
            *trace = Arc::new(trace.shorten_outages(seconds)?);
        }
        Ok(())
    }

    /// All that are in a folder, by name.
    pub fn read_all(folder: &Path) -> anyhow::Result<Vec<Self>> {
        let entries =
            fs::read_dir(folder).with_context(|| format!("traces {}", folder.display()))?;
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "jsonl")
            {
                paths.push(path);
            }
        }
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// Four families that nobody recorded: what is known of them is in these lines.
    pub fn synthetic(seed: u64, each: usize) -> anyhow::Result<Vec<Self>> {
        type Make = fn(&mut Random) -> Vec<(f64, f64)>;
        let kinds: [(&str, Make); 4] = [
            ("markov", markov),
            ("sine", sine),
            ("step", step),
            ("walk", walk),
        ];
        kinds
            .iter()
            .zip(0..)
            .map(|((name, make), kind)| {
                let trace = |number: usize| {
                    let mut random = Random::new(seed, kind * 1000 + number as u64);
                    Trace::new(format!("{name} {number}"), &make(&mut random)).map(Arc::new)
                };
                Ok(Self {
                    name: (*name).to_owned(),
                    traces: (0..each).map(trace).collect::<anyhow::Result<_>>()?,
                })
            })
            .collect()
    }
}

/// A mean between .6 and 8 Mbit/s, evenly in the log domain.
fn level(random: &mut Random) -> f64 {
    0.6e6 * (random.unit() * (8.0_f64 / 0.6).ln()).exp()
}

/// Jumps among five states, at any second with one chance in ten.
fn markov(random: &mut Random) -> Vec<(f64, f64)> {
    let (level, mut state) = (level(random), 2);
    let second = |_| {
        if random.unit() < 0.1 {
            state = random.below(5);
        }
        (
            1.0,
            level * [0.25, 0.5, 1.0, 1.5, 2.0][state] * (0.1 * random.normal()).exp(),
        )
    };
    (0..SYNTHETIC).map(second).collect()
}

fn sine(random: &mut Random) -> Vec<(f64, f64)> {
    let (level, period) = (level(random), 20.0 + 100.0 * random.unit());
    let second = |second| {
        let phase = std::f64::consts::TAU * f64::from(second) / period;
        (
            1.0,
            level * (1.0 + 0.6 * phase.sin()) * (0.1 * random.normal()).exp(),
        )
    };
    (0..SYNTHETIC).map(second).collect()
}

/// Every 20 to 60 s a new level.
fn step(random: &mut Random) -> Vec<(f64, f64)> {
    (0..SYNTHETIC / 40)
        .map(|_| (20.0 + 40.0 * random.unit(), level(random)))
        .collect()
}

/// In the log domain, drawn back to its mean.
fn walk(random: &mut Random) -> Vec<(f64, f64)> {
    let (level, mut away) = (level(random), 0.0);
    let second = |_| {
        away = 0.97 * away + 0.15 * random.normal();
        (1.0, level * f64::exp(away))
    };
    (0..SYNTHETIC).map(second).collect()
}

/// What carries less than this, in bit/s, is out.
const OUTAGE: f64 = 30e3;

/// Seconds.
const SYNTHETIC: i32 = 600;
