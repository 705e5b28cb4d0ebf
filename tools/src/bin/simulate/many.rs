//! `simulate many`.

use std::{process::ExitCode, time::Instant};

use clap::Args;
use tools::simulate::{
    contender::{Contender, Kind},
    many::Crowd,
    single::each,
    table::{Row, crowd_table},
};

use crate::options::Broadcast;

#[derive(Args, Debug)]
pub(crate) struct Many {
    #[arg(long, default_value_t = 30)]
    viewers: usize,
    /// Streams that are watched by as many each; with one, the dear scenes are everybody's at once
    #[arg(long, default_value_t = 10)]
    streams: usize,
    /// As for 'single'; what the origin decides is also shared out by the allocator, except with '-alone'
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "mpc,rate,mpc-alone,rate-alone,hls"
    )]
    rules: Vec<String>,
    /// All at the dearest rung against the bottleneck, in per cent
    #[arg(long, value_delimiter = ',', default_value = "50,80,100,120,240")]
    loads: Vec<f64>,
    /// What the bottleneck carries, in per cent of the budget that is shared out
    #[arg(long, default_value_t = 100.0)]
    headroom: f64,
    /// The load at which half of the bottleneck is lost
    #[arg(long, default_value_t = 100.0)]
    halved: f64,
    /// What is measured of each run, in seconds
    #[arg(long, default_value_t = 300.0)]
    seconds: f64,
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// What each viewer's own path carries at least, in Mbit/s
    #[arg(long, default_value_t = 20.0)]
    slowest: f64,
    /// And at most
    #[arg(long, default_value_t = 50.0)]
    fastest: f64,
    #[command(flatten)]
    broadcast: Broadcast,
}

impl Many {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let (began, stream) = (Instant::now(), self.broadcast.stream()?);
        let mut tasks = Vec::new();
        for name in &self.rules {
            let (name, shared) = match name.strip_suffix("-alone") {
                Some(alone) => (alone, false),
                None => (name.as_str(), true),
            };
            let contender = Contender::named(name)?;
            let allocated = shared && matches!(contender.kind, Kind::Rule(_));
            let loads = self.loads.iter().map(|load| (*load, false));
            for (load, halved) in loads.chain([(self.halved, true)]) {
                for seed in 0..self.seeds {
                    tasks.push((contender.clone(), self.crowd(load, halved, allocated, seed)));
                }
            }
        }
        let told = each(&tasks, |(contender, crowd)| crowd.watch(&stream, contender));
        let told = told.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        let seeds = self.seeds.max(1) as usize;
        let rows = tasks.chunks(seeds).zip(told.chunks(seeds));
        let rows: Vec<Row> = rows
            .map(|(tasks, told)| Row::of(tasks[0].0.to_string(), &tasks[0].1, told))
            .collect();
        if self.broadcast.json {
            println!("{}", serde_json::to_string_pretty(&rows)?);
        } else {
            let (viewers, seconds) = (self.viewers, self.seconds);
            println!("{viewers} viewers on one bottleneck, {seeds} runs of {seconds} s each");
            println!("{}", crowd_table(&rows));
            println!("in {:.1} s", began.elapsed().as_secs_f64());
        }
        Ok(ExitCode::SUCCESS)
    }

    fn crowd(&self, load: f64, halved: bool, allocated: bool, seed: u64) -> Crowd {
        Crowd {
            viewers: self.viewers,
            streams: self.streams,
            seconds: self.seconds,
            load: load / 100.0,
            halved,
            allocated,
            headroom: self.headroom / 100.0,
            paths: (self.slowest * 1e6, self.fastest.max(self.slowest) * 1e6),
            habits: self.broadcast.habits(),
            rtt: self.broadcast.rtt(),
            seed,
        }
    }
}
