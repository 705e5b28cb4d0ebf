//! `simulate`: rules of adaptation in virtual time. Reads options and prints tables; all else is the
//! library's.

#![allow(clippy::print_stdout, reason = "the tables are what it is for")]

mod lab;
mod many;
mod options;
mod scale;
mod single;

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tools::simulate::replay::{Different, Replay, replay};

/// Compares rules of adaptation in virtual time, on recorded paths or on synthetic ones.
///
/// Ends with 0; with 1 if decisions are not the same when they are made again; with 2 if it could not do
/// what it was asked to.
#[derive(Debug, Parser)]
#[command(name = "simulate", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Make decisions again that were logged as JSON lines, and say which are not the same
    #[arg(long, value_name = "FILE", required = true)]
    replay: Option<PathBuf>,
    /// Print JSON
    #[arg(long, requires = "replay")]
    json: bool,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// One viewer at a time, on a path of its own
    Single(Box<single::Single>),
    /// Many viewers on one bottleneck
    Many(many::Many),
    /// What deciding for many viewers costs
    Scale(scale::Scale),
    /// Rounds of the lab once more, to see how far the two agree
    Lab(lab::Lab),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match (arguments.what, arguments.replay) {
        (Some(What::Single(single)), _) => single.run(),
        (Some(What::Many(many)), _) => many.run(),
        (Some(What::Scale(scale)), _) => scale.run(),
        (Some(What::Lab(lab)), _) => lab.run(),
        (None, Some(log)) => again(&log, arguments.json),
        (None, None) => Ok(ExitCode::from(2)),
    };
    done.unwrap_or_else(|error| {
        eprintln!("simulate: {error:#}");
        ExitCode::from(2)
    })
}

fn again(log: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let file = File::open(log).with_context(|| log.display().to_string())?;
    let replayed = replay(BufReader::new(file))?;
    let Replay { same, different } = &replayed;
    if json {
        println!("{}", serde_json::to_string_pretty(&replayed)?);
    } else {
        for Different { line, why } in different {
            println!("{}:{line}: {why}", log.display());
        }
        println!(
            "{same} decisions are the same again, {} are not",
            different.len()
        );
    }
    Ok(ExitCode::from(u8::from(!different.is_empty())))
}
