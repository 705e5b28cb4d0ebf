//! The accept loop: bounded in connections, in time per request head, in time without progress,
//! and in time to shut down. (`axum::serve` has none of the four.)

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use super::socket::{Peer, Stream};

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time. When all are taken, new ones wait in the kernel's backlog.
    pub connections: usize,
    /// For a request's head to arrive in full, and for an idle connection to be used again.
    pub head: Duration,
    /// Without one octet written while there is something to write.
    pub stalled_write: Duration,
    /// From the word to stop until what is still open is cut.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            head: Duration::from_secs(30),
            stalled_write: Duration::from_secs(30),
            shutdown: Duration::from_secs(5),
        }
    }
}

/// Binds a listener, with an error that says what to do about it.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("{address} is in use by another program; stop it or choose another port (0 takes any)")
        }
        io::ErrorKind::AddrNotAvailable => {
            anyhow::anyhow!("{address} is not an address of this machine; 0.0.0.0 listens on all of them")
        }
        io::ErrorKind::PermissionDenied => {
            anyhow::anyhow!("no permission to listen on {address}; ports below 1024 need root")
        }
        _ => anyhow::anyhow!("cannot listen on {address}: {error}"),
    })
}

/// Serves `app` until `stop`, then lets open requests end for at most `limits.shutdown`.
/// Each request carries its `Arc<Connection>` among its extensions.
pub async fn serve(listener: TcpListener, app: Router, limits: Limits, stop: CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .half_close(false)
        .max_buf_size(HEAD);
    let (slots, tracker) = (
        Arc::new(Semaphore::new(limits.connections)),
        TaskTracker::new(),
    );
    let (graceful, cut) = (GracefulShutdown::new(), CancellationToken::new());
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            () = stop.cancelled() => break,
        };
        let Some((stream, peer, slot)) = accepted else {
            continue;
        };
        let peer = Peer {
            address: peer,
            direct: true,
        };
        let stream = Stream::new(stream, peer, limits.stalled_write);
        let (app, connection, cut) = (app.clone(), stream.connection().clone(), cut.clone());
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            connection.requested.notify_waiters();
            request.extensions_mut().insert(connection.clone());
            answer(app.clone(), request)
        });
        let served = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tracker.spawn(async move {
            let _slot = slot;
            tokio::select! {
                ended = served => if let Err(error) = ended {
                    tracing::debug!(peer = %peer.address, %error, "connection ended early");
                },
                () = cut.cancelled() => tracing::debug!(peer = %peer.address, "connection cut at shutdown"),
            }
        });
    }
    drop(listener);
    tracker.close();
    if tokio::time::timeout(limits.shutdown, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::info!(left = tracker.len(), after = ?limits.shutdown, "cutting connections that are still open");
    }
    cut.cancel();
    tracker.wait().await;
}

async fn answer(
    app: Router,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Body>, Infallible> {
    app.oneshot(request).await
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

/// One connection, once there is a slot for it. `None`: nothing came of it, try again.
async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> Option<Accepted> {
    let slot = slots.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            prepare(&stream);
            Some((stream, peer, slot))
        }
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection; trying again shortly");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Small answers leave at once; and little waits unsent in the kernel, so that progress
/// of writing is progress of sending. Neither is worth losing a viewer over if refused.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(NOT_SENT);
}

/// A longer request head is refused.
const HEAD: usize = 64 * 1024;

/// Measured: without it the kernel swallows a segment and writing looks three times as fast as the link.
const NOT_SENT: u32 = 128 * 1024;

/// When descriptors run out, accepting at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
