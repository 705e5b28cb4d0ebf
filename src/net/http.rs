//! HTTP on one connection, version 1.1 or 2: within what bounds, and until when. Which version it
//! is was settled before; what is answered is the application's business.

use std::{convert::Infallible, net::IpAddr, pin::pin, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderValue, header},
};
use bytes::Bytes;
use hyper::{Request, Response, server::conn, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tower::ServiceExt as _;

use crate::text;

use super::{
    Connection, Limits, Trust,
    activity::{Activity, Answer, Rest},
    http1::{self, Outcome},
    rewound::Rewound,
    shortcut::App,
    stopping::Stop,
};

/// Who asks; in the extensions of each request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Client {
    /// As a trusted proxy says, else the other end of the connection.
    pub address: IpAddr,
}

/// What ends connections that would go on.
#[derive(Clone, Debug, Default)]
pub(super) struct Ending {
    /// No further request; what is being answered is.
    pub(super) stop: Stop,
    /// At once.
    pub(super) cut: Stop,
}

/// What all connections of a listener have in common.
#[derive(Clone, Debug)]
pub(super) struct Http {
    pub(super) app: App,
    trust: Arc<Trust>,
    pub(super) limits: Limits,
    first: conn::http1::Builder,
    second: conn::http2::Builder<TokioExecutor>,
}

impl Http {
    pub(super) fn new(app: App, trust: Arc<Trust>, limits: Limits) -> Self {
        let mut first = conn::http1::Builder::new();
        first
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            .half_close(false)
            .max_buf_size(HEAD);
        let mut second = conn::http2::Builder::new(TokioExecutor::new());
        // A client that resets streams as fast as it opens them is cut off by hyper's own bounds
        // (CVE-2023-44487); windows are for what clients send, and they send next to nothing.
        second
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEAD as u32)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING);
        Self {
            app,
            trust,
            limits,
            first,
            second,
        }
    }

    /// Serves HTTP/1.1 over `io`, which `connection` is beneath.
    pub(super) async fn first<I>(&self, io: I, connection: Arc<Connection>, ending: &Ending)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match http1::serve(io, self, &connection, ending).await {
            // Few come here, and what they need is large.
            Ok(Outcome::Other(io, again)) => {
                Box::pin(self.any(Rewound { again, io }, &connection, ending)).await;
            }
            Ok(Outcome::Over) => {}
            Err(error) => {
                tracing::debug!(peer = %connection.peer.address, %error, "connection ended early");
            }
        }
    }

    /// Serves HTTP/1.1 with all that belongs to it.
    async fn any<I>(&self, io: I, connection: &Arc<Connection>, ending: &Ending)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (http, known) = (self.clone(), connection.clone());
        let service = service_fn(move |request| {
            known.answered();
            let (http, known) = (http.clone(), known.clone());
            async move { Ok::<_, Infallible>(http.answer(request, known).await) }
        });
        let served = self.first.serve_connection(TokioIo::new(io), service);
        drive(
            served,
            connection,
            ending,
            self.limits,
            std::future::pending(),
        )
        .await;
    }

    /// Serves HTTP/2.
    pub(super) async fn second<I>(&self, io: I, connection: Arc<Connection>, ending: &Ending)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Activity::new();
        let (http, known, acts) = (self.clone(), connection.clone(), activity.clone());
        let service = service_fn(move |request| {
            let open = acts.request();
            let (http, known) = (http.clone(), known.clone());
            async move {
                let answer = http.answer(request, known).await;
                Ok::<_, Infallible>(answer.map(|body| Answer::new(body, open)))
            }
        });
        let served = self.second.serve_connection(TokioIo::new(io), service);
        let useless = self.useless(&activity);
        drive(served, &connection, ending, self.limits, useless).await;
    }

    pub(super) async fn answer<B>(
        &self,
        mut request: Request<B>,
        connection: Arc<Connection>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static,
    {
        let peer = connection.peer.address.ip();
        let address = self.trust.client(peer, request.headers());
        let extensions = request.extensions_mut();
        extensions.insert(Client { address });
        extensions.insert(connection);
        let codings = request.headers().get_all(header::ACCEPT_ENCODING);
        let gzip = text::takes_gzip(codings.iter().map(HeaderValue::as_bytes));
        let Ok(mut response) = self.app.router.clone().oneshot(request).await;
        text::encode(&mut response, gzip);
        response
    }

    /// Waits until a connection has been of no use for too long; says how it is to end.
    async fn useless(&self, activity: &Activity) -> End {
        let (idle, held) = (self.limits.head, self.limits.stalled_write);
        let mut look = tokio::time::interval(idle.min(held) / LOOKS);
        loop {
            look.tick().await;
            match activity.rest() {
                Rest::Idle(still) if still >= idle => return End::Gently,
                Rest::Held(still) if still >= held => return End::AtOnce,
                _ => {}
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum End {
    Gently,
    AtOnce,
}

/// Until the connection ends, or has to.
async fn drive<C>(
    served: C,
    connection: &Connection,
    ending: &Ending,
    limits: Limits,
    useless: impl Future<Output = End>,
) where
    C: GracefulConnection,
    C::Error: std::fmt::Display,
{
    let (mut served, mut useless) = (pin!(served), pin!(useless));
    let (mut closing, peer) = (false, connection.peer.address);
    // A peer has as long to go as it had to come.
    let mut going = pin!(tokio::time::sleep(limits.handshake));
    let mut told = false;
    loop {
        tokio::select! {
            ended = served.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, %error, "connection ended early");
                }
                return;
            }
            () = ending.cut.said() => {
                tracing::debug!(%peer, "connection cut at shutdown");
                return;
            }
            () = ending.stop.said(), if !closing => {
                served.as_mut().graceful_shutdown();
                closing = true;
            }
            end = useless.as_mut(), if !closing => match end {
                End::Gently => {
                    served.as_mut().graceful_shutdown();
                    (closing, told) = (true, true);
                    going.as_mut().reset(Instant::now() + limits.handshake);
                }
                End::AtOnce => {
                    tracing::debug!(%peer, "connection cut: the peer takes nothing of what it asked for");
                    return;
                }
            },
            () = going.as_mut(), if told => {
                tracing::debug!(%peer, "connection cut: the peer did not go when it was told to");
                return;
            }
        }
    }
}

/// A longer request head is refused.
const HEAD: usize = 64 * 1024;

/// Requests at a time on one connection of HTTP/2. A player has a handful; the rest waits with it.
const STREAMS: u32 = 128;

/// How often a silent peer is asked whether it is there, and how long it has to answer.
const PING: std::time::Duration = std::time::Duration::from_secs(20);

/// How finely the time is told in which a connection was of no use.
const LOOKS: u32 = 4;
