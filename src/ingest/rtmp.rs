//! The RTMP server: one port for all streams. A connection says which application and which key it means, and
//! only then is a message of media taken from it.

mod air;
pub mod amf;
pub mod chunk;
pub mod flv;
pub mod handshake;
pub mod session;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    air::Air,
    flv::Unsupported,
    session::{Event, Fault, Session},
};
use super::{
    desk::{Denied, Desk, Seat},
    feed::FeedError,
    keys::Claim,
};
use crate::net::limits::Addresses;

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error("{0}")]
    Socket(#[from] io::Error),
    #[error("it does not publish within {ADMISSION:?}")]
    Slow,
    #[error("it has said nothing for {IDLE:?}")]
    Silent,
    #[error(
        "no picture that one can begin with has come for {FIRST_PICTURE:?}; every stream needs a picture"
    )]
    NoPicture,
    #[error("it closed the connection")]
    Left,
    #[error("it is done")]
    Done,
    #[error("it is cut off: another publisher takes over, or its media is of no use")]
    Cut,
    #[error("this node stops")]
    Stopping,
}

impl Closed {
    /// Code and text of RTMP for the publisher; `None` if there is nothing to be said, or nobody who would hear it.
    fn told(&self) -> Option<(&'static str, String)> {
        let told = match self {
            Self::Denied(denied @ Denied::App(_)) => {
                ("NetConnection.Connect.Rejected", denied.told().to_owned())
            }
            Self::Denied(denied @ (Denied::Busy { .. } | Denied::Stays { .. })) => {
                ("NetStream.Publish.BadName", denied.told().to_owned())
            }
            Self::Denied(denied) => ("NetStream.Publish.Denied", denied.told().to_owned()),
            Self::Fault(Fault::Plays) => ("NetStream.Play.Failed", Fault::Plays.to_string()),
            Self::Unsupported(_) | Self::NoPicture | Self::Cut | Self::Feed(FeedError::Held) => {
                ("NetStream.Publish.Rejected", self.to_string())
            }
            _ => return None,
        };
        Some(told)
    }
}

/// Takes publishers until `stop`.
pub async fn serve(listener: TcpListener, desk: Desk, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let (tracker, addresses) = (TaskTracker::new(), Addresses::default());
    loop {
        // When all slots are taken, new connections wait in the kernel's backlog.
        let Ok(slot) = slots.clone().acquire_owned().await else {
            break;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (socket, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "an RTMP connection cannot be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        let Some(counted) = addresses.count(from.ip(), PER_ADDRESS) else {
            tracing::warn!(%from, most = PER_ADDRESS, "publisher refused: its address has too many connections");
            continue;
        };
        let (desk, stop) = (desk.clone(), stop.clone());
        tracker.spawn(async move {
            Publisher::new(socket, from).attend(&desk, &stop).await;
            drop((slot, counted));
        });
    }
    drop(listener);
    tracker.close();
    tracker.wait().await;
}

struct Publisher {
    socket: TcpStream,
    from: SocketAddr,
    session: Session,
    input: BytesMut,
}

impl Publisher {
    fn new(socket: TcpStream, from: SocketAddr) -> Self {
        let _ = socket.set_nodelay(true);
        Self {
            socket,
            from,
            session: Session::default(),
            input: BytesMut::with_capacity(READ),
        }
    }

    /// From the first octet to the last.
    async fn attend(mut self, desk: &Desk, stop: &CancellationToken) {
        let from = self.from;
        let admitted = tokio::select! {
            admitted = timeout(ADMISSION, self.admitted(desk)) => admitted.unwrap_or(Err(Closed::Slow)),
            () = stop.cancelled() => return,
        };
        let closed = match admitted {
            Ok(seat) => {
                let (stream, began) = (seat.channel.name.clone(), Instant::now());
                let closed = self.on_air(seat, stop).await;
                let seconds = began.elapsed().as_secs();
                tracing::info!(%stream, %from, seconds, why = %closed, "publisher has gone");
                closed
            }
            Err(why) => {
                tracing::warn!(%from, protocol = "rtmp", %why, "publisher refused");
                if let Closed::Denied(Denied::Key(_) | Denied::NoOnes | Denied::Name(_)) = why {
                    // Guessing takes time.
                    sleep(DENIED).await;
                }
                why
            }
        };
        if let Some((code, why)) = closed.told() {
            self.session.refuse(code, &why);
            let _ = timeout(FAREWELL, self.farewell()).await;
        }
    }

    /// Until it may publish.
    async fn admitted(&mut self, desk: &Desk) -> Result<Seat, Closed> {
        let mut app = String::new();
        loop {
            match self.event().await? {
                Event::Connect { app: named } => {
                    desk.app(&named)?;
                    self.session.connect();
                    app = named;
                }
                Event::Publish { key } => {
                    let channel = desk.channel(Some(&app), &Claim::of_stream_key(&key))?;
                    let seat = channel.sit(self.from).await?;
                    self.session.publish();
                    return Ok(seat);
                }
                // Nothing else comes before; the session sees to it.
                _ => return Err(Closed::Done),
            }
        }
    }

    /// Hands its media on, until it ends.
    async fn on_air(&mut self, seat: Seat, stop: &CancellationToken) -> Closed {
        let (channel, cut) = (seat.channel.clone(), seat.cut.clone());
        let mut air = Air::new(seat, self.from);
        let first_picture = Instant::now() + FIRST_PICTURE;
        loop {
            let event = tokio::select! {
                () = cut.cancelled() => return Closed::Cut,
                () = stop.cancelled() => return Closed::Stopping,
                () = air.joined() => match air.begin().await {
                    Ok(()) => continue,
                    Err(closed) => return closed,
                },
                event = timeout(IDLE, self.event()) => event,
            };
            channel.heard();
            let taken = match event {
                Ok(Ok(Event::Ended)) => return Closed::Done,
                Ok(Ok(event)) => air.take(event).await,
                Ok(Err(closed)) => return closed,
                Err(_) => return Closed::Silent,
            };
            if let Err(closed) = taken {
                return closed;
            }
            if !air.is_on() && Instant::now() > first_picture {
                return Closed::NoPicture;
            }
        }
    }

    /// The next event. May be dropped at any time; nothing is lost.
    async fn event(&mut self) -> Result<Event, Closed> {
        loop {
            if let Some(event) = self.session.event()? {
                return Ok(event);
            }
            self.flush().await?;
            self.input.clear();
            self.input.reserve(READ);
            if self.socket.read_buf(&mut self.input).await? == 0 {
                return Err(Closed::Left);
            }
            self.session.put(&self.input)?;
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        let output = self.session.output();
        while !output.is_empty() {
            self.socket.write_buf(output).await?;
        }
        Ok(())
    }

    /// Closing with octets unread would take back what was just said.
    async fn farewell(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.socket.shutdown().await?;
        let mut left = UNHEARD;
        while left > 0 {
            self.input.clear();
            match self.socket.read_buf(&mut self.input).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        Ok(())
    }
}

/// Connections at a time, of publishers and of whoever pretends to be one.
const CONNECTIONS: usize = 256;
/// Those of one address: a studio has several encoders, and each may be connecting anew.
const PER_ADDRESS: usize = 32;

/// How long handshake, application and key may take together.
const ADMISSION: Duration = Duration::from_secs(10);
/// What a guess costs.
const DENIED: Duration = Duration::from_secs(1);
/// For a publisher that is refused to hear why.
const FAREWELL: Duration = Duration::from_secs(2);
/// What is on its way meanwhile, and is read to be thrown away.
const UNHEARD: usize = 4_000_000;
/// A publisher whose path has died says nothing. The segmenter waits a little longer.
const IDLE: Duration = Duration::from_secs(8);
/// Encoders begin with a picture that stands alone, and those that do not make one at least each ten seconds.
const FIRST_PICTURE: Duration = Duration::from_secs(15);

const PAUSE: Duration = Duration::from_millis(100);
const READ: usize = 64 * 1024;
