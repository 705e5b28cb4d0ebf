//! Options that several commands have.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use tools::simulate::{
    stream::{LADDER, Stream},
    trace::Family,
    viewer::Habits,
};

/// What is broadcast, and how it is watched.
#[derive(Args, Debug)]
pub(crate) struct Broadcast {
    /// Rates of the rungs in Mbit/s, 'envivio', or a file with recorded sizes [default: .3,.7,1.2,2.4,4,6]
    #[arg(long)]
    ladder: Option<String>,
    /// Coefficient of variation of the segments' sizes, where they are not recorded
    #[arg(long, default_value_t = SPREAD)]
    spread: f64,
    /// Peak over mean rate that a multivariant playlist tells hls.js
    #[arg(long, default_value_t = 1.0)]
    peak: f64,
    /// How far behind the edge a player begins, in seconds
    #[arg(long, default_value_t = 6.0)]
    latency: f64,
    /// Parts that a segment is published in; with more than 1 mind --latency, such as 2
    #[arg(long, default_value_t = 1)]
    parts: usize,
    /// Where there are parts: how many rungs, the cheapest, have a key frame at each of them
    #[arg(long, default_value_t = 1)]
    open: usize,
    /// Milliseconds
    #[arg(long, default_value_t = 40.0)]
    rtt: f64,
    /// Seconds after which a player asks again for what the origin breaks off
    #[arg(long, default_value_t = Habits::HLS_JS_ASKS_AGAIN)]
    again: f64,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Paths.
#[derive(Args, Debug)]
pub(crate) struct Paths {
    /// Files or folders of traces, JSON lines [default: traces/ of SPILLWAY_DATA, else synthetic ones]
    #[arg(long, num_args = 1.., value_name = "PATH")]
    traces: Vec<PathBuf>,
    /// Only these families
    #[arg(long, value_delimiter = ',')]
    family: Vec<String>,
    /// What of an outage is longer than so many seconds is left out
    #[arg(long, default_value_t = 15.0)]
    outage: f64,
}

impl Broadcast {
    pub(crate) fn stream(&self) -> anyhow::Result<Stream> {
        let mut stream = match self.ladder.as_deref() {
            None => synthetic(&LADDER, self.spread),
            Some("envivio") => {
                let data =
                    std::env::var_os("SPILLWAY_DATA").context("envivio is in SPILLWAY_DATA")?;
                Stream::read(&PathBuf::from(data).join("ladders/envivio.json"), DURATION)?
            }
            Some(path) if path.ends_with(".json") => Stream::read(path.as_ref(), DURATION)?,
            Some(rates) => {
                let rate = |rate: &str| rate.parse().with_context(|| format!("rung {rate:?}"));
                synthetic(
                    &rates
                        .split(',')
                        .map(rate)
                        .collect::<anyhow::Result<Vec<f64>>>()?,
                    self.spread,
                )
            }
        };
        stream.peak = self.peak;
        stream.parts = self.parts.max(1);
        stream.open = self.open.min(stream.rungs());
        Ok(stream)
    }

    pub(crate) fn habits(&self) -> Habits {
        Habits {
            hold_back: self.latency,
            goal: GOAL,
            asks_again: self.again,
        }
    }

    /// Seconds.
    pub(crate) fn rtt(&self) -> f64 {
        self.rtt / 1e3
    }
}

impl Paths {
    pub(crate) fn families(&self) -> anyhow::Result<Vec<Family>> {
        let mut paths = self.traces.clone();
        if paths.is_empty() {
            let data = std::env::var_os("SPILLWAY_DATA");
            paths.extend(data.map(|data| PathBuf::from(data).join("traces")));
        }
        let mut families = Vec::new();
        for path in &paths {
            if path.is_dir() {
                families.extend(Family::read_all(path)?);
            } else {
                families.push(Family::read(path)?);
            }
        }
        if paths.is_empty() {
            eprintln!(
                "simulate: no recorded traces (--traces, SPILLWAY_DATA): these are synthetic"
            );
            families = Family::synthetic(1, SYNTHETIC)?;
        }
        for family in &mut families {
            family.shorten_outages(self.outage)?;
        }
        families.retain(|family| self.family.is_empty() || self.family.contains(&family.name));
        anyhow::ensure!(
            !families.is_empty(),
            "no traces in {paths:?} of {:?}",
            self.family
        );
        Ok(families)
    }
}

/// Of rungs in Mbit/s.
pub(crate) fn synthetic(rates: &[f64], spread: f64) -> Stream {
    let rates: Vec<f64> = rates.iter().map(|mbps| mbps * 1e6).collect();
    Stream::synthetic(&rates, DURATION, spread, 1)
}

/// Seconds of a segment.
pub(crate) const DURATION: f64 = 2.0;

/// That of an encoder with a constrained rate.
pub(crate) const SPREAD: f64 = 0.2;

/// hls.js's `maxBufferLength`, in seconds.
pub(crate) const GOAL: f64 = 30.0;

/// Traces of each synthetic family.
const SYNTHETIC: usize = 24;
