//! `traffic-manager analytics export`: what is kept, out of the database and onto stdout. The manager may run meanwhile.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{Args, Subcommand};
use spillway::{
    analytics::{Export, Form, Moment, What, Where},
    config, runtime,
};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Kept {
    /// Write it to stdout, a line each
    Export(Wanted),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Wanted {
    /// Where it is kept: sqlite:FILE or postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(
        long,
        env = "SPILLWAY_ANALYTICS",
        value_name = "DATABASE",
        hide_env_values = true
    )]
    analytics: Where,

    /// Seconds since 1970, 2026-11-29, or 2026-11-29T20:00:00Z [default: the beginning]
    #[arg(long, value_name = "TIME")]
    from: Option<Moment>,

    /// The first moment that is not wanted any more [default: now]
    #[arg(long, value_name = "TIME")]
    to: Option<Moment>,

    /// What of it
    #[arg(long, value_enum, default_value_t)]
    what: What,

    /// How it is written
    #[arg(long, value_enum, default_value_t)]
    format: Form,
}

pub(crate) fn run(Kept::Export(wanted): Kept) -> ExitCode {
    let exported = || -> anyhow::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let to = wanted.to.unwrap_or(Moment(i64::try_from(now)? + 60));
        let from = wanted.from.unwrap_or(Moment(0));
        let export = Export::new(wanted.what, wanted.format, from.0, to.0);
        let mut out = io::stdout().lock();
        let written = export.run(&wanted.analytics, |text| out.write_all(text.as_bytes()));
        runtime::build(None)?.block_on(written)
    };
    match exported() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => config::refuse("traffic-manager analytics export", &error),
    }
}
