//! `simulate lab`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use tools::simulate::{
    lab::{Comparison, Report},
    origin::Tells,
    single::Setting,
    viewer::Habits,
};

#[derive(Args, Debug)]
pub(crate) struct Lab {
    /// Reports of `congest --json`
    #[arg(required = true, value_name = "FILE")]
    reports: Vec<PathBuf>,
    /// How far behind the edge a player begins, in seconds
    #[arg(long, default_value_t = 6.0)]
    latency: f64,
    /// Milliseconds; the lab's links have no delay but their queue
    #[arg(long, default_value_t = 2.0)]
    rtt: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Lab {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let setting = Setting {
            seconds: 0.0,
            rtt: self.rtt / 1e3,
            habits: Habits {
                hold_back: self.latency,
                goal: crate::options::GOAL,
                asks_again: Habits::HLS_JS_ASKS_AGAIN,
            },
            seeds: 1,
            restarts: false,
            tells: Tells::default(),
        };
        let mut all = Comparison::default();
        for path in &self.reports {
            let again = || {
                let text = std::fs::read_to_string(path)?;
                Report::read(&text)?.again(&setting)
            };
            let one = again().with_context(|| path.display().to_string())?;
            all.compared.extend(one.compared);
            all.left_out.extend(one.left_out);
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&all)?);
        } else {
            print!("{all}");
        }
        // With nothing compared there is nothing that agrees.
        Ok(ExitCode::from(u8::from(all.compared.is_empty())))
    }
}
