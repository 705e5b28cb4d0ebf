//! The accept loop: bounded in connections, in time per handshake and request head, in time
//! without progress, and in time to shut down. (`axum::serve` has none of them.)

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Complaints, Connection, Limits, Peer, Tls, Trust, certificate,
    http::{Ending, Http},
    limits::{Addresses, Counted},
    proxy,
    shortcut::App,
    socket::Stream,
    stopping::Stop,
    tls::Protocol,
};

/// How a listener meets those who connect.
#[derive(Clone, Debug, Default)]
pub struct Server {
    pub limits: Limits,
    /// `None`: plain HTTP/1.1. With it, HTTP/2 for whoever offers it.
    pub tls: Option<Tls>,
    pub trust: Arc<Trust>,
    /// Whoever connects is a cache or a proxy, trusted or not: no connection ends at a viewer.
    pub fronted: bool,
}

/// Serves `app` over plain HTTP/1.1 until `stop`; see [`Server::serve`].
pub async fn serve(
    listener: TcpListener,
    app: impl Into<App>,
    limits: Limits,
    stop: CancellationToken,
) {
    let server = Server {
        limits,
        ..Server::default()
    };
    server.serve(listener, app, stop).await;
}

impl Server {
    /// Serves `app` until `stop`, then lets open requests end for at most `limits.shutdown`.
    /// Each request carries its `Arc<Connection>` and its [`super::Client`] among its extensions.
    pub async fn serve(self, listener: TcpListener, app: impl Into<App>, stop: CancellationToken) {
        let limits = self.limits;
        let unsent = if self.tls.is_some() { COPIED } else { SHARED };
        let slots = Arc::new(Semaphore::new(limits.connections));
        let (tracker, ending) = (TaskTracker::new(), Ending::default());
        let door = Arc::new(Door {
            http: Http::new(app.into(), self.trust.clone(), limits),
            server: self,
            addresses: Addresses::default(),
            complaints: Complaints::default(),
            ending: ending.clone(),
        });
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener, &slots, unsent) => accepted,
                () = stop.cancelled() => break,
            };
            if let Some((stream, peer, slot)) = accepted {
                let door = door.clone();
                tracker.spawn(async move {
                    if let Err(error) = door.attend(stream, peer).await {
                        door.refused(peer, &error);
                    }
                    drop(slot);
                });
            }
        }
        drop(listener);
        tracker.close();
        ending.stop.say();
        if timeout(limits.shutdown, tracker.wait()).await.is_err() {
            tracing::info!(left = tracker.len(), after = ?limits.shutdown, "cutting connections that are still open");
        }
        ending.cut.say();
        tracker.wait().await;
    }
}

/// What each connection of a listener is met with.
#[derive(Debug)]
struct Door {
    server: Server,
    http: Http,
    addresses: Addresses,
    complaints: Complaints,
    ending: Ending,
}

impl Door {
    /// From the first octet to the last. An error says why nothing was served.
    async fn attend(&self, mut stream: TcpStream, from: SocketAddr) -> io::Result<()> {
        let Ending { stop, .. } = &self.ending;
        let (server, patience) = (&self.server, self.server.limits.handshake);
        let proxied = server.trust.trusts(from.ip());
        // Counted before anything is read, so that those who say nothing count as well.
        let _counted = self.count(from, proxied)?;
        let announced = if proxied && server.trust.proxy_protocol {
            before(
                stop,
                patience,
                "to say whom it is for",
                proxy::announced(&mut stream),
            )
            .await?
        } else {
            None
        };
        let here = || {
            stream
                .local_addr()
                .is_ok_and(|here| here.ip().to_canonical() == from.ip())
        };
        let direct = !proxied && !server.fronted;
        let peer = Peer {
            address: announced.unwrap_or(from),
            direct,
            local: direct && (from.ip().is_loopback() || here()),
        };
        let _announced = announced
            .map(|client| self.count(client, server.trust.trusts(client.ip())))
            .transpose()?;
        let stream = Stream::new(stream, peer, server.limits.stalled_write);
        let connection = stream.connection().clone();
        let Some(tls) = &server.tls else {
            self.http.first(stream, connection, &self.ending).await;
            return Ok(());
        };
        // In a box: one without TLS would hold room for it.
        Box::pin(self.secured(tls, stream, connection)).await
    }

    async fn secured(
        &self,
        tls: &Tls,
        stream: Stream,
        connection: Arc<Connection>,
    ) -> io::Result<()> {
        let patience = self.server.limits.handshake;
        let shaken = before(
            &self.ending.stop,
            patience,
            "for a handshake",
            tls.accept(stream),
        );
        let (stream, protocol) = shaken.await?;
        if tls.asks() {
            let (_, session) = stream.get_ref();
            let shown = session.peer_certificates().and_then(<[_]>::first);
            connection.certify(shown.map(certificate::subjects).unwrap_or_default());
        }
        match protocol {
            Protocol::First => self.http.first(stream, connection, &self.ending).await,
            Protocol::Second => self.http.second(stream, connection, &self.ending).await,
            // What it came for was in the certificate.
            Protocol::Challenge => {}
        }
        Ok(())
    }

    /// Strangers are nothing new at a door that is open to all; at one for members they are.
    fn refused(&self, peer: SocketAddr, error: &io::Error) {
        let asks = self.server.tls.as_ref().is_some_and(Tls::asks);
        if asks
            && self
                .complaints
                .is_news(peer.ip(), &error.to_string(), std::time::Instant::now())
        {
            tracing::warn!(%peer, %error, "who connected was refused; only who has a certificate of the control-ca gets in");
        } else {
            tracing::debug!(%peer, %error, "connection refused");
        }
    }

    /// Proxies may have as many connections as they like; whom they announce may not.
    fn count(&self, address: SocketAddr, proxied: bool) -> io::Result<Option<Counted>> {
        let limit = self.server.limits.per_address;
        let Some(limit) = limit.filter(|limit| !proxied && limit.concerns(address.ip())) else {
            return Ok(None);
        };
        match self.addresses.count(address.ip(), limit.most) {
            Some(counted) => Ok(Some(counted)),
            None => Err(io::Error::other(format!(
                "{} has its {} connections",
                address.ip(),
                limit.most
            ))),
        }
    }
}

/// What `wait` comes to, unless it takes too long or the listener stops first.
async fn before<T>(
    stop: &Stop,
    patience: Duration,
    what: &str,
    wait: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    tokio::select! {
        result = timeout(patience, wait) => result.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("it had {patience:?} {what}")))
        }),
        () = stop.said() => Err(io::Error::other("stopping")),
    }
}

type Accepted = (TcpStream, SocketAddr, OwnedSemaphorePermit);

/// One connection, once there is a slot for it. `None`: nothing came of it, try again.
async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>, unsent: u32) -> Option<Accepted> {
    let slot = slots.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            prepare(&stream, unsent);
            // On a socket for both, an address of IPv4 comes in the clothes of one of IPv6.
            let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
            Some((stream, peer, slot))
        }
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection; trying again shortly");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Small answers leave at once; and no more than `unsent` octets wait in the kernel, so that what is broken off
/// or asked for next does not stand behind much. Neither is worth losing a viewer over if refused.
fn prepare(stream: &TcpStream, unsent: u32) {
    let _ = stream.set_nodelay(true);
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(unsent);
}

/// Octets that wait unsent in a connection's kernel buffer, where they are copied into it (TLS): memory of each viewer.
const COPIED: u32 = 128 * 1024;

/// Where they are shared pages. With 128 KiB a segment of 1 MB takes a tenth more CPU (`benches/nginx.rs`): half of
/// it has to be sent before the socket asks for more.
const SHARED: u32 = 512 * 1024;

/// When descriptors run out, accepting at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
