//! The word to stop: SIGINT or SIGTERM, as a token that every task can wait for. SIGHUP is the word to read anew, and each who
//! has something to read waits for it by itself.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first SIGINT or SIGTERM. The second ends the process at once.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        let name = next(&mut interrupt, &mut terminate).await;
        token.cancel();
        tracing::info!(signal = name, "stopping");
        let name = next(&mut interrupt, &mut terminate).await;
        tracing::warn!(signal = name, "stopping at once");
        std::process::exit(130);
    });
    Ok(stop)
}

/// The same for a server, which SIGHUP does not end: be there anything that it reads anew or not.
pub fn of_server() -> std::io::Result<CancellationToken> {
    // Once somebody has asked for it, it ends nobody any more.
    let _ = signal(SignalKind::hangup())?;
    on_signal()
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> &'static str {
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    }
}
