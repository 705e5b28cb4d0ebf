//! `simulate single`.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use anyhow::Context as _;
use clap::Args;
use tools::simulate::{
    contender::{Contender, Kind},
    figure,
    origin::Tells,
    single::Setting,
    table::{Summary, table},
};

use crate::options::{Broadcast, Paths};

#[derive(Args, Debug)]
pub(crate) struct Single {
    #[command(flatten)]
    paths: Paths,
    /// Rules of the origin by name, or with other parameters as 'mpc:stall=20:drain=1', with '+abandon' where deliveries that are lost are broken off; 'hls', 'hls-patient', 'harmonic',
    /// 'fixed:RUNG', 'optimum'
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "hls,mpc+abandon,mpc,rate,robust-mpc,harmonic,bba,bola,fixed:0,fixed:2,optimum"
    )]
    rules: Vec<String>,
    /// How long each viewing lasts
    #[arg(long, default_value_t = 300.0)]
    seconds: f64,
    /// Viewings of each trace, each from another place on
    #[arg(long, default_value_t = 2)]
    seeds: u64,
    #[command(flatten)]
    broadcast: Broadcast,
    /// Slow start begins anew after idleness
    #[arg(long)]
    restarts: bool,
    /// Rules are told the sizes of segments behind the one asked for, if they exist
    #[arg(long)]
    behind: bool,
    /// Rules are told VMAF, where the ladder has it
    #[arg(long)]
    quality: bool,
    /// Also draw bitrate against stalls
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Also keep what the origin's rules decided from what, as JSON lines
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

impl Single {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let began = Instant::now();
        let (families, stream) = (self.paths.families()?, self.broadcast.stream()?);
        let contenders = self.rules.iter().map(|name| Contender::named(name));
        let contenders = contenders.collect::<anyhow::Result<Vec<_>>>()?;
        let knows = contenders
            .iter()
            .any(|contender| matches!(contender.kind, Kind::Optimum | Kind::Foresight(_)));
        anyhow::ensure!(
            stream.parts == 1 || !knows,
            "neither the optimum nor foresight knows of parts"
        );
        let setting = Setting {
            seconds: self.seconds,
            rtt: self.broadcast.rtt(),
            habits: self.broadcast.habits(),
            seeds: self.seeds,
            restarts: self.restarts,
            tells: Tells {
                behind: self.behind,
                quality: self.quality,
                ..Tells::default()
            },
        };
        if let Some(log) = &self.log {
            let lines = setting.decisions(&stream, &families, &contenders)?;
            std::fs::write(log, lines).with_context(|| log.display().to_string())?;
        }
        let results = setting.run(&stream, &families, &contenders);
        let summaries: Vec<Summary> = results
            .iter()
            .map(|result| Summary::of(result, &results))
            .collect();
        if let Some(svg) = &self.svg {
            std::fs::write(svg, figure::draw(&summaries))
                .with_context(|| svg.display().to_string())?;
        }
        if self.broadcast.json {
            println!("{}", serde_json::to_string_pretty(&summaries)?);
        } else {
            println!("{}", table(&summaries));
            let hours: f64 = summaries.iter().map(|summary| summary.hours).sum();
            println!(
                "{hours:.0} hours of viewing in {:.1} s",
                began.elapsed().as_secs_f64()
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}
