//! `simulate scale`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tools::simulate::{scale, stream::LADDER};

use crate::options::{DURATION, SPREAD, synthetic};

#[derive(Args, Debug)]
pub(crate) struct Scale {
    #[arg(long, default_value_t = 100_000)]
    viewers: usize,
    #[arg(long, default_value = "mpc")]
    rule: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Scale {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let rule = adaptation::rule::named(&self.rule)
            .with_context(|| format!("there is no rule {:?}", self.rule))?;
        let scale = scale::measure(self.viewers, &*rule, &synthetic(&LADDER, SPREAD));
        if self.json {
            println!("{}", serde_json::to_string_pretty(&scale)?);
            return Ok(ExitCode::SUCCESS);
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        println!(
            "{} viewers, rule {}, {} rungs, one thread on a machine with {cores} processors",
            scale.viewers,
            self.rule,
            LADDER.len()
        );
        println!("state       {:9.1} MB", scale.state as f64 / 1e6);
        for (what, a_second) in [
            ("decisions", scale.decisions_a_second),
            ("deliveries", scale.deliveries_a_second),
        ] {
            println!(
                "{what:<11} {a_second:9.0} a second, {:.0} ns each",
                1e9 / a_second
            );
        }
        println!("census      {:9.2} ms", scale.census_ms);
        println!(
            "allocation  {:9.2} ms, the first {:.2} ms",
            scale.tick_ms, scale.first_tick_ms
        );
        println!(
            "together    {:9.1} % of a core, at a segment each {DURATION} s and two allocations a second",
            scale.of_a_core(DURATION) * 100.0
        );
        println!("timed with whatever else the machine does, the state warm in one loop");
        Ok(ExitCode::SUCCESS)
    }
}
