//! Logs: to stderr, `RUST_LOG` over the default of INFO, plain where nobody watches.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt};

pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let stderr = std::io::stderr();
    fmt()
        .with_env_filter(filter)
        .with_ansi(stderr.is_terminal())
        .with_target(false)
        // Who read them may be gone. Saying so on stderr, as is the default, would panic then.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .init();
}
