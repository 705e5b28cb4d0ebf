//! What a link carries, over time: a list of spans and rates, from a file or made up. A trace that ends starts again.
//!
//! A file has one trace a line, as JSON: `{"name": ..., "points": [[duration_ms, kbps], ...]}`; what else it says is
//! not looked at. Setting a link to it is `link`'s business.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

/// At least one point, none without a length.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Trace {
    pub name: String,
    /// Milliseconds, and what the link carries for so long, in kbit/s.
    pub points: Vec<(u64, u32)>,
}

impl Trace {
    fn new(name: &str, points: Vec<(u64, u32)>) -> Self {
        Self {
            name: name.to_owned(),
            points,
        }
    }

    /// One that is made up: `step`, `sine`, `markov`, or a rate in kbit/s that stays.
    pub fn named(name: &str, seed: u64) -> anyhow::Result<Self> {
        if let Ok(kbps) = name.parse() {
            return Ok(Self::new(name, vec![(60_000, kbps)]));
        }
        let points = match name {
            "step" => vec![(20_000, 6000), (20_000, 1000), (20_000, 6000)],
            "sine" => sine(),
            "markov" => markov(seed),
            _ => anyhow::bail!(
                "no trace is called {name:?}; there are step, sine, markov, and any rate in kbit/s"
            ),
        };
        Ok(Self::new(name, points))
    }

    /// The trace `NAME` of `FILE`, or one of the file's by `seed`. A file is a path, or a name such as `oboe` in the
    /// folder `traces` of `SPILLWAY_DATA`.
    pub fn load(which: &str, seed: u64) -> anyhow::Result<Self> {
        let (file, name) = match which.split_once(':') {
            Some((file, name)) => (file, Some(name)),
            None => (which, None),
        };
        let path = found(file)?;
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Self::pick(&text, name, seed).with_context(|| path.display().to_string())
    }

    fn pick(text: &str, name: Option<&str>, seed: u64) -> anyhow::Result<Self> {
        let lines: Vec<_> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        ensure!(!lines.is_empty(), "there is no trace in it");
        let all = lines.iter().enumerate().map(|(number, line)| {
            let trace: Self = serde_json::from_str(line)
                .with_context(|| format!("line {} is no trace", number + 1))?;
            let sound = !trace.points.is_empty() && trace.points.iter().all(|(span, _)| *span > 0);
            ensure!(
                sound,
                "{}: a trace has points, and each has a length",
                trace.name
            );
            Ok(trace)
        });
        let mut all = all.collect::<anyhow::Result<Vec<_>>>()?;
        let index = match name {
            Some(name) => all
                .iter()
                .position(|trace| trace.name == name)
                .with_context(|| {
                    let names: Vec<_> = all.iter().map(|trace| trace.name.as_str()).collect();
                    format!(
                        "no trace is called {name:?}; there are {}",
                        names.join(", ")
                    )
                })?,
            None => (Dice::new(seed).throw() % all.len() as u64) as usize,
        };
        Ok(all.swap_remove(index))
    }

    /// When what is carried changes, up to `span`.
    pub fn steps(&self, span: Duration) -> Vec<(Duration, u32)> {
        let (mut at, mut steps) = (Duration::ZERO, Vec::new());
        for (length, kbps) in self.points.iter().cycle() {
            if at >= span {
                break;
            }
            steps.push((at, *kbps));
            at += Duration::from_millis(*length);
        }
        steps
    }

    /// What it carries in the mean, over its first `span`.
    pub fn mean_kbps(&self, span: Duration) -> f64 {
        let steps = self.steps(span);
        let ends = steps.iter().skip(1).map(|(at, _)| *at).chain([span]);
        let carried = steps
            .iter()
            .zip(ends)
            .map(|((at, kbps), end)| f64::from(*kbps) * (end - *at).as_secs_f64());
        carried.sum::<f64>() / span.as_secs_f64()
    }
}

fn found(file: &str) -> anyhow::Result<PathBuf> {
    let data = std::env::var_os("SPILLWAY_DATA").map(|data| PathBuf::from(data).join("traces"));
    let there = data
        .iter()
        .flat_map(|data| [data.join(file), data.join(format!("{file}.jsonl"))]);
    let mut paths = [PathBuf::from(file)].into_iter().chain(there);
    paths
        .find(|path| path.is_file())
        .with_context(|| match &data {
            Some(data) => format!(
                "there is no file {file}, nor {file}.jsonl in {}",
                data.display()
            ),
            None => {
                format!("there is no file {file}, and SPILLWAY_DATA names no folder with traces")
            }
        })
}

/// From 4 Mbit/s up to 7 and down to 1, a round a minute.
fn sine() -> Vec<(u64, u32)> {
    let turn = |second: u32| f64::from(second) / 60.0 * std::f64::consts::TAU;
    (0..60)
        .map(|second| (1000, (4000.0 + 3000.0 * turn(second).sin()) as u32))
        .collect()
}

/// A good state of about 6 Mbit/s and a bad one of about 1.2; each second it stays with 9 in 10, and varies by a fifth.
fn markov(seed: u64) -> Vec<(u64, u32)> {
    let (mut dice, mut good) = (Dice::new(seed), true);
    let second = |_| {
        good ^= dice.unit() < 0.1;
        let mean = if good { 6000.0 } else { 1200.0 };
        (1000, (mean * (0.8 + 0.4 * dice.unit())) as u32)
    };
    (0..300).map(second).collect()
}

/// Numbers by chance that are the same for the same seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to 1.
    fn unit(&mut self) -> f64 {
        (self.throw() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_that_ends_starts_again() {
        let trace = Trace::new("up and down", vec![(2000, 6000), (1000, 1000)]);
        let seconds = |span| Duration::from_secs(span);
        let steps = trace.steps(seconds(5));
        assert_eq!(
            steps,
            [(seconds(0), 6000), (seconds(2), 1000), (seconds(3), 6000)]
        );
        assert_eq!(trace.mean_kbps(seconds(3)), 13_000.0 / 3.0);
        assert_eq!(trace.mean_kbps(seconds(1)), 6000.0);
    }

    #[test]
    fn a_seed_makes_the_same_link_again() {
        let made = |seed| Trace::named("markov", seed).unwrap().points;
        assert_eq!(made(7), made(7));
        assert_ne!(made(7), made(8));
    }

    #[test]
    fn a_trace_is_found_by_its_name_or_the_names_are_told() {
        let text = "{\"name\":\"a\",\"points\":[[1000,5]]}\n{\"name\":\"b\",\"mean_kbps\":7,\"points\":[[9,7]]}\n";
        assert_eq!(Trace::pick(text, Some("b"), 0).unwrap().points, [(9, 7)]);
        let why = Trace::pick(text, Some("c"), 0).unwrap_err().to_string();
        assert!(why.contains("a, b"), "{why}");
        let why = Trace::pick("{\"name\":\"a\",\"points\":[[0,5]]}", None, 0).unwrap_err();
        assert!(why.to_string().contains("length"), "{why}");
    }
}
