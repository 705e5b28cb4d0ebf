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
    /// One after the other, on the same viewers
    #[arg(long, value_delimiter = ',', default_value = "mpc,rate")]
    rules: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Scale {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let stream = synthetic(&LADDER, SPREAD);
        let mut measured = Vec::new();
        for name in &self.rules {
            let rule = adaptation::rule::named(name)
                .with_context(|| format!("there is no rule {name:?}"))?;
            measured.push((name, scale::measure(self.viewers, &*rule, &stream)));
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&measured)?);
            return Ok(ExitCode::SUCCESS);
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        println!(
            "{} viewers, {} rungs; processor time of one thread on a machine with {cores} processors",
            self.viewers,
            LADDER.len()
        );
        for (name, scale) in &measured {
            let (decision, delivery) = (
                1e9 / scale.decisions_a_second,
                1e9 / scale.deliveries_a_second,
            );
            println!("\n{name}");
            println!(
                "  decision    {decision:9.0} ns, {:.0} a second",
                scale.decisions_a_second
            );
            println!("  delivery    {delivery:9.0} ns");
            println!("  census      {:9.2} ms", scale.census_ms);
            println!(
                "  allocation  {:9.2} ms, {:.2} ms with a new turn",
                scale.tick_ms, scale.turn_ms
            );
            println!(
                "  together    {:9.1} % of a core, at a segment each {DURATION} s and two allocations a second",
                scale.of_a_core(DURATION) * 100.0
            );
        }
        if let [(first, a), (second, b), ..] = &measured[..] {
            let ratio = b.decisions_a_second / a.decisions_a_second;
            println!(
                "\na decision by {first} takes {ratio:.1} times one by {second}; the state is {:.0} MB",
                a.state as f64 / 1e6
            );
        }
        println!(
            "all in one loop over viewers side by side, so the caches are as warm as they get"
        );
        Ok(ExitCode::SUCCESS)
    }
}
