//! What a program tells of itself while it runs. Logs: to stderr, `RUST_LOG` over the default of INFO, plain where nobody
//! watches; as text for people or as JSON for programs. And to whom its traces go (`exporting`).

#[cfg(feature = "otel")]
mod exporting;
mod options;

use std::io::IsTerminal as _;

use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, fmt};

pub use options::TracesConfig;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// An object on each line: timestamp, level, message, and fields by name
    Json,
}

impl LogFormat {
    /// As it is said on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

pub fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let stderr = std::io::stderr();
    let lines = fmt()
        .with_env_filter(filter)
        .with_target(false)
        // Who read them may be gone. Saying so on stderr, as is the default, would panic then.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(stderr.is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}
