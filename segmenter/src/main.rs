//! The program: reads the command line, runs the pipeline, and says how it ended, on stdout and on stderr.

mod a53;
mod beside;
mod cadence;
mod captions;
mod clock;
mod coded;
mod config;
mod copying;
mod crew;
mod director;
mod error;
mod feed;
mod gauge;
mod health;
mod ladder;
mod libav;
mod likeness;
mod lobby;
mod marks;
mod overload;
mod pipeline;
mod playout;
mod rung;
mod slate;
mod stills;
mod supply;
mod through;
mod writer;

use std::{io::IsTerminal, process::ExitCode};

use segmenter::wire::{End, Frame};
use tracing_subscriber::EnvFilter;

use crate::{
    config::{Config, LogFormat, Passthrough},
    error::Error,
    writer::Stdout,
};

fn main() -> ExitCode {
    let config = match manual::try_parse::<Config>() {
        Ok(config) => config,
        Err(why) => {
            if why.use_stderr() {
                let first = why
                    .to_string()
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                last_word(Some(first), true);
            }
            why.exit()
        }
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let stderr = std::io::stderr;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Who read them may be gone. Saying so on stderr, as is the default, would panic then.
        .log_internal_errors(false)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    match config.log_format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }

    match run(&config) {
        Ok(mut stdout) => {
            tracing::info!(input = %config.input, "the programme came to its end");
            match stdout.write(&Frame::End(End {
                error: None,
                fatal: false,
            })) {
                Ok(()) | Err(Error::ReaderGone) => ExitCode::SUCCESS,
                Err(why) => failed(&why),
            }
        }
        // Nobody is left to tell, and it was they who ended it.
        Err(Error::ReaderGone) => ExitCode::SUCCESS,
        Err(why) => {
            last_word(Some(why.to_string()), why.fatal());
            failed(&why)
        }
    }
}

fn run(config: &Config) -> Result<Stdout, Error> {
    config.check()?;
    libav::start()?;
    match config.passthrough {
        Some(Passthrough::Only) => copying::run(config),
        Some(Passthrough::Top) | None => playout::run(config),
    }
}

/// Tells the reader why it ends. If stdout is gone as well, stderr still says why.
fn last_word(error: Option<String>, fatal: bool) {
    let end = Frame::End(End { error, fatal });
    let _ = Stdout::open().and_then(|mut stdout| stdout.write(&end));
}

fn failed(why: &Error) -> ExitCode {
    tracing::error!(fatal = why.fatal(), "{why}");
    ExitCode::FAILURE
}
