//! `simulate`: rules of adaptation on recorded paths, in virtual time. Reads options and prints the
//! tables; all else is the library's.

#![allow(clippy::print_stdout, reason = "the tables are what it is for")]

use std::{path::PathBuf, process::ExitCode, time::Instant};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tools::simulate::{
    contender::Contender,
    origin::Tells,
    single::Setting,
    stream::{LADDER, Stream},
    table::{Summary, table},
    trace::Family,
    viewer::Habits,
};

/// Compares rules of adaptation in virtual time, on recorded paths or on synthetic ones.
#[derive(Debug, Parser)]
#[command(name = "simulate", version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// One viewer on a path of its own
    Single(Single),
}

#[derive(Args, Debug)]
struct Single {
    /// Files or folders of traces, JSON lines [default: traces/ of SPILLWAY_DATA, else synthetic ones]
    #[arg(long, num_args = 1.., value_name = "PATH")]
    traces: Vec<PathBuf>,
    /// Only these families
    #[arg(long, value_delimiter = ',')]
    family: Vec<String>,
    /// Rules of the origin by name, or with other parameters as 'mpc:stall=20:drain=1'; 'hls', 'harmonic',
    /// 'fixed:RUNG', 'optimum'
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "hls,mpc,rate,robust-mpc,harmonic,bba,bola,fixed:0,fixed:2,fixed:5,optimum"
    )]
    rules: Vec<String>,
    /// How long each viewing lasts
    #[arg(long, default_value_t = 300.0)]
    seconds: f64,
    /// Viewings of each trace, each from another place on
    #[arg(long, default_value_t = 2)]
    seeds: u64,
    /// How far behind the edge a player begins, in seconds
    #[arg(long, default_value_t = 6.0)]
    latency: f64,
    /// Milliseconds
    #[arg(long, default_value_t = 40.0)]
    rtt: f64,
    /// Rates of the rungs in Mbit/s, or a file with recorded sizes
    #[arg(long, default_value = "default")]
    ladder: String,
    /// Peak over mean rate that a multivariant playlist tells hls.js
    #[arg(long, default_value_t = 1.0)]
    peak: f64,
    /// What of an outage is longer than so many seconds is left out
    #[arg(long, default_value_t = 15.0)]
    outage: f64,
    /// Slow start begins anew after idleness
    #[arg(long)]
    restarts: bool,
    /// Rules are told the sizes of segments behind the one asked for, if they exist
    #[arg(long)]
    behind: bool,
    /// Rules are told VMAF, where the ladder has it
    #[arg(long)]
    quality: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let What::Single(single) = Arguments::parse().what;
    match single.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simulate: {error:#}");
            ExitCode::from(2)
        }
    }
}

impl Single {
    fn run(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        let families = self.families()?;
        let mut stream = self.stream()?;
        stream.peak = self.peak;
        let contenders: Vec<Contender> = self
            .rules
            .iter()
            .map(|name| Contender::named(name))
            .collect::<anyhow::Result<_>>()?;
        let setting = Setting {
            seconds: self.seconds,
            rtt: self.rtt / 1e3,
            habits: Habits {
                hold_back: (self.latency / stream.duration).round() as u64,
                goal: 30.0,
            },
            seeds: self.seeds,
            restarts: self.restarts,
            tells: Tells {
                behind: self.behind,
                quality: self.quality,
            },
        };
        let results = setting.run(&stream, &families, &contenders);
        let summaries: Vec<Summary> = results
            .iter()
            .map(|result| Summary::of(result, &results))
            .collect();
        if self.json {
            println!("{}", serde_json::to_string_pretty(&summaries)?);
        } else {
            println!("{}", table(&summaries));
            let hours: f64 = summaries.iter().map(|summary| summary.hours).sum();
            println!(
                "{hours:.0} hours of viewing in {:.1} s",
                began.elapsed().as_secs_f64()
            );
        }
        Ok(())
    }

    fn families(&self) -> anyhow::Result<Vec<Family>> {
        let mut paths = self.traces.clone();
        let data = std::env::var_os("SPILLWAY_DATA");
        if paths.is_empty() {
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
                "simulate: no recorded traces (--traces, SPILLWAY_DATA); these are synthetic"
            );
            families = Family::synthetic(1, 24)?;
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

    fn stream(&self) -> anyhow::Result<Stream> {
        let rates = match self.ladder.as_str() {
            "default" => LADDER.to_vec(),
            "envivio" => {
                let data =
                    std::env::var_os("SPILLWAY_DATA").context("envivio is in SPILLWAY_DATA")?;
                return Stream::read(&PathBuf::from(data).join("ladders/envivio.json"), DURATION);
            }
            path if path.ends_with(".json") => return Stream::read(path.as_ref(), DURATION),
            rates => rates
                .split(',')
                .map(|rate| rate.parse().with_context(|| format!("rung {rate:?}")))
                .collect::<anyhow::Result<_>>()?,
        };
        let rates: Vec<f64> = rates.iter().map(|mbps| mbps * 1e6).collect();
        Ok(Stream::synthetic(&rates, DURATION, SPREAD, 1))
    }
}

/// Seconds of a segment.
const DURATION: f64 = 2.0;

/// Coefficient of variation of the segments' sizes.
const SPREAD: f64 = 0.2;
