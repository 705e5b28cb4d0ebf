//! `load URL`: an audience. Reads options, writes the report and the figure; all else is the library's.

#![allow(clippy::print_stdout, reason = "the report is what it is for")]

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use reqwest::Url;
use serde_json::json;
use tools::load::{
    crowd::{self, Audience, Options, Outcome},
    curve::Curve,
    figure,
    model::Model,
    wire::tls::Trust,
};

/// Thousands of viewers, who come and go by region, over links of their own.
///
/// Ends with 0 if all who came saw the stream, with 1 if some gave up, with 2 if it could not be run.
#[derive(Debug, Parser)]
#[command(name = "load", version)]
struct Arguments {
    /// What they join: http://MANAGER/watch/STREAM.m3u8, or http://NODE/live/STREAM/index.m3u8
    url: Url,
    /// A region's viewers over time: NAME=steady:200, peak:200,2000, flash:0,1000, day:100,1000, or
    /// points:0=200,0.5=2000,1=200 by shares of the run; NAME@IP=... has them come from that address instead of
    /// declaring the region. May be given several times
    #[arg(long = "region", value_name = "NAME[@IP]=CURVE", required = true)]
    regions: Vec<String>,
    /// How long it goes on, seconds
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Players and their shares. hls.js+parts plays Low-Latency HLS, hls.js+steering follows content steering,
    /// hls.js+parts+steering does both
    #[arg(
        long,
        default_value = "hls.js=2,vlc=1,ffmpeg=1",
        value_name = "PLAYER=SHARE,..."
    )]
    players: String,
    /// What links carry, kbit/s, each as often as the others; 0 is as much as there is
    #[arg(
        long,
        default_value = "0",
        value_delimiter = ',',
        value_name = "KBPS,..."
    )]
    links: Vec<u64>,
    /// The manager to look at while it goes on
    #[arg(long, value_name = "URL")]
    manager: Option<Url>,
    /// Authorities (PEM) to trust for https, in place of the system's
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Believes any certificate
    #[arg(long)]
    insecure: bool,
    /// Writes the report there, as JSON; - is stdout, where nothing else is printed then
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draws what happened there, as SVG
    #[arg(long, value_name = "FILE")]
    figure: Option<PathBuf>,
    /// What is drawn by chance is the same for the same number
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Shows no bar
    #[arg(long)]
    quiet: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let audiences = arguments.regions.iter().map(|text| audience(text));
    let options = Options {
        url: arguments.url.clone(),
        audiences: audiences.collect::<Result<_, _>>()?,
        span: Duration::try_from_secs_f64(arguments.seconds).context("seconds")?,
        models: models(&arguments.players)?,
        links: arguments
            .links
            .iter()
            .map(|kbps| Some(*kbps).filter(|kbps| *kbps > 0))
            .collect(),
        seed: arguments.seed,
        manager: arguments.manager.clone(),
        progress: !arguments.quiet,
        trust: match &arguments.ca {
            Some(file) => Trust::File(file.clone()),
            None if arguments.insecure => Trust::Anybody,
            None => Trust::System,
        },
    };
    anyhow::ensure!(
        matches!(options.url.scheme(), "http" | "https"),
        "{}: neither http nor https",
        options.url
    );
    let outcome = crowd::run(&options).await?;
    match &arguments.json {
        Some(file) if file == Path::new("-") => println!("{}", written(&outcome)?),
        Some(file) => {
            tell(&outcome);
            std::fs::write(file, written(&outcome)?)
                .with_context(|| format!("writing {}", file.display()))?;
        }
        None => tell(&outcome),
    }
    if let Some(file) = &arguments.figure {
        let text = figure::draw(
            &format!("{} for {} s", options.url.path(), arguments.seconds),
            &outcome,
        );
        std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(outcome.report.gave_up == 0)
}

fn written(outcome: &Outcome) -> serde_json::Result<String> {
    serde_json::to_string_pretty(&json!({
        "report": outcome.report, "seen": outcome.seen, "own_cost": outcome.own_cost, "first_served": outcome.served,
        "began_at": outcome.began_at,
    }))
}

fn tell(outcome: &Outcome) {
    let report = &outcome.report;
    for (name, region) in &report.regions {
        println!(
            "{name}: {} joins, first picture after {} s (median; {} s in the slowest hundredth), {:.0} kbit/s, {} s behind live, \
             {} stalls ({} after a move), {:.1} s of them",
            region.joins,
            region.join_time.p50,
            region.join_time.p99,
            region.kbps,
            region.latency.p50,
            region.stalls,
            region.stalls_after_move,
            region.stalled_seconds
        );
        let all: u64 = region.nodes.values().sum();
        for (node, segments) in &region.nodes {
            println!(
                "  {:>5.1} % from {node}",
                *segments as f64 * 100.0 / all.max(1) as f64
            );
        }
    }
    println!(
        "{} moved, {} joined again, {} gave up",
        report.moves, report.rejoined, report.gave_up
    );
    for (trouble, times) in &report.troubles {
        println!("  {times} x {trouble}");
    }
    println!(
        "the viewers themselves took {:.2} of a core",
        outcome.own_cost
    );
}

fn audience(text: &str) -> anyhow::Result<Audience> {
    let (name, curve) = text
        .split_once('=')
        .with_context(|| format!("{text:?} is not NAME=CURVE"))?;
    let (region, from) = match name.split_once('@') {
        Some((region, ip)) => {
            let ip: IpAddr = ip
                .parse()
                .with_context(|| format!("{ip:?} in {text:?} is no address"))?;
            (region, Some(ip))
        }
        None => (name, None),
    };
    let curve: Curve = curve.parse()?;
    Ok(Audience {
        region: region.to_owned(),
        curve,
        from,
    })
}

fn models(text: &str) -> anyhow::Result<Vec<(Model, f64)>> {
    let one = |pair: &str| {
        let (name, share) = pair.split_once('=').unwrap_or((pair, "1"));
        let model: Model = name.trim().parse().map_err(anyhow::Error::msg)?;
        let share: f64 = share
            .parse()
            .with_context(|| format!("the share of {name} is {share:?}"))?;
        anyhow::ensure!(
            share.is_finite() && share > 0.0,
            "the share of {name} is {share}; it has to be above 0"
        );
        Ok((model, share))
    };
    text.split(',').map(one).collect()
}
