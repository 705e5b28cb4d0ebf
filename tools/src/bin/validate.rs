//! `validate URL`: follows a stream for a while and reports what is wrong with it. Reads options and prints the
//! report; all else is the library's.

#![allow(clippy::print_stdout, reason = "the report is what it is for")]

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use tools::validate::session::{self, Options};
use url::Url;

/// Follows an HLS stream and reports every breach of RFC 8216bis, and what players stumble over.
///
/// Ends with 0 if there is no breach, with 1 if there are some, with 2 if the stream could not be followed.
#[derive(Debug, Parser)]
#[command(name = "validate", version)]
struct Arguments {
    /// A multivariant or media playlist
    url: Url,
    /// How long to follow it; what has an end is done sooner
    #[arg(long = "for", default_value = "60s", value_name = "SPAN", value_parser = span)]
    span: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Look at playlists only, fetch no media
    #[arg(long)]
    no_media: bool,
    /// A header to send with each request, such as 'Authorization: Bearer ...'; may be given more than once
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        url: arguments.url,
        span: arguments.span,
        media: !arguments.no_media,
        headers: arguments.headers,
    };
    let report = match session::run(&options).await {
        Ok(report) => report,
        Err(error) => {
            eprintln!("validate: {error:#}");
            return ExitCode::from(2);
        }
    };
    if arguments.json {
        match serde_json::to_string_pretty(&report) {
            Ok(json) => println!("{json}"),
            Err(error) => {
                eprintln!("validate: the report as JSON: {error}");
                return ExitCode::from(2);
            }
        }
    } else {
        println!("{report}");
    }
    ExitCode::from(report.exit_code())
}

/// `90`, `90s`, `5m` or `1h`.
fn span(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let seconds = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{unit:?} is none of s, m and h")),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("{number:?} is no number"))?;
    let span = Duration::try_from_secs_f64(number * seconds);
    span.ok()
        .filter(|span| (Duration::from_secs(1)..=Duration::from_secs(7 * 86_400)).contains(span))
        .ok_or_else(|| format!("{text} is not between 1 s and 7 days"))
}
