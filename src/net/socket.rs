//! One accepted connection: the stream that hyper drives, and the handle that may outlive it.
//!
//! The stream owns the descriptor; the handle only looks, and finds nothing once the stream is
//! gone. (A duplicated descriptor would look safer but keep the connection open: no FIN.)

use std::{
    fmt,
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, RawFd},
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use playlists::Bitrate;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};

use super::{
    sending,
    stretch::Answers,
    tcp_info::{self, TcpInfo},
};
use crate::traces::Lot;

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The client: the other end of the socket, or who a trusted proxy says is behind it.
    pub address: SocketAddr,
    /// Nothing that we know of is between. Where something is, the kernel's account is of the way
    /// to that, and says nothing of the viewer's path.
    pub direct: bool,
    /// It is on this machine.
    pub local: bool,
}

/// What is known of a connection; in the extensions of each of its requests.
#[derive(Debug)]
pub struct Connection {
    pub peer: Peer,
    certified: OnceLock<Box<[String]>>,
    kernel: Mutex<Kernel>,
    written: AtomicU64,
    /// In bit/s; 0 is as fast as the path allows.
    pace: AtomicU64,
    answers: Answers,
    observers: Mutex<Vec<Weak<dyn Observer>>>,
    observed: AtomicBool,
    /// Whether what is asked for next is traced.
    pub lot: Lot,
}

/// Whoever wants to know at once that an answer is over.
pub trait Observer: fmt::Debug + Send + Sync {
    /// Another request came in, which proves that the answer before it was read, or the connection
    /// has gone. The former is not said with HTTP/2, where it proves nothing.
    fn answered(&self);
}

impl Connection {
    /// The kernel's account at `now`, or the last one taken if the connection is closed.
    pub fn sample(&self, now: std::time::Instant) -> TcpInfo {
        lock(&self.kernel).sample(now)
    }

    /// The kernel's account as it was a moment before `now` at the earliest: where one answer follows
    /// another, the end of the one and the beginning of the next are told by the same.
    pub fn sampled(&self, now: std::time::Instant) -> TcpInfo {
        let mut kernel = lock(&self.kernel);
        match kernel.sampled {
            Some(at) if now.saturating_duration_since(at) < MOMENT => kernel.last,
            _ => kernel.sample(now),
        }
    }

    /// Sends no faster than `rate` from now on; `None` is as fast as the path allows. A kernel that
    /// cannot, or a connection that is closed, goes on as it was.
    pub fn pace(&self, rate: Option<Bitrate>) {
        let limit = rate.map_or(0, |rate| rate.bps().max(1));
        // Asked with every answer, and seldom anything new.
        if self.pace.swap(limit, Relaxed) != limit
            && let Some(socket) = lock(&self.kernel).socket
            && let Err(error) = tcp_info::pace(socket, rate)
        {
            tracing::debug!(peer = %self.peer.address, %error, "cannot be paced");
        }
    }

    /// Breaks it off, with all that is on its way.
    pub fn abort(&self) {
        if let Some(socket) = lock(&self.kernel).socket
            && let Err(error) = tcp_info::abort(socket)
        {
            tracing::debug!(peer = %self.peer.address, %error, "cannot be broken off");
        }
    }

    /// The names in the certificate that the client showed; none where none was asked for.
    pub fn certified(&self) -> &[String] {
        self.certified.get().map_or(&[], |names| names)
    }

    pub(super) fn certify(&self, names: Vec<String>) {
        // There is one handshake, so there is nothing that was said before.
        let _ = self.certified.set(names.into());
    }

    pub fn is_open(&self) -> bool {
        lock(&self.kernel).socket.is_some()
    }

    /// Octets handed to the kernel so far; what it still buffers is among them.
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Tells `observer`, if it is there still, of the end of what is answered now.
    pub fn observe(&self, observer: Weak<dyn Observer>) {
        let mut observers = lock(&self.observers);
        // With HTTP/2 nobody else takes them away.
        observers.retain(|observer| observer.strong_count() > 0);
        observers.push(observer);
        self.observed.store(true, Relaxed);
    }

    /// See [`Observer::answered`].
    pub(super) fn answered(&self) {
        if !self.observed.swap(false, Relaxed) {
            return;
        }
        let observers = std::mem::take(&mut *lock(&self.observers));
        for observer in observers.iter().filter_map(Weak::upgrade) {
            observer.answered();
        }
    }

    /// Says that all that was to be written so far has been. Whoever writes to the socket says
    /// it, for only then is known where an answer ends.
    pub fn flushed(&self) {
        self.answers.flushed(self.written());
    }

    pub(super) fn answers(&self) -> &Answers {
        &self.answers
    }
}

/// Where the kernel keeps its account of a connection, and what it last said.
#[derive(Debug)]
struct Kernel {
    /// Open for as long as it is named here: the stream takes it away before it closes it.
    socket: Option<RawFd>,
    last: TcpInfo,
    /// When that was.
    sampled: Option<std::time::Instant>,
}

impl Kernel {
    fn sample(&mut self, now: std::time::Instant) -> TcpInfo {
        if let Some(info) = self.socket.and_then(|socket| tcp_info::read(socket).ok()) {
            (self.last, self.sampled) = (info, Some(now));
        }
        self.last
    }
}

/// In so short a time nothing changes that anything is decided by.
const MOMENT: Duration = Duration::from_millis(1);

/// The byte stream of a connection. A write that makes no progress for `patience` is an error,
/// so that a reader who went away without a word cannot hold media for good.
#[derive(Debug)]
pub struct Stream {
    inner: TcpStream,
    connection: Arc<Connection>,
    patience: Duration,
    /// When the write that waits now is given up.
    deadline: Option<Instant>,
    /// Goes off at a deadline or before. Kept from one wait to the next: most end long before.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    pub fn new(inner: TcpStream, peer: Peer, patience: Duration) -> Self {
        let connection = Arc::new(Connection {
            peer,
            certified: OnceLock::new(),
            kernel: Mutex::new(Kernel {
                socket: Some(inner.as_raw_fd()),
                last: TcpInfo::default(),
                sampled: None,
            }),
            written: AtomicU64::new(0),
            pace: AtomicU64::new(0),
            answers: Answers::default(),
            observers: Mutex::default(),
            observed: AtomicBool::new(false),
            lot: Lot::default(),
        });
        Self {
            inner,
            connection,
            patience,
            deadline: None,
            alarm: None,
        }
    }

    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Keeps the books of a write, and the deadline of one that waits.
    fn account(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(result) => {
                self.deadline = None;
                if let Ok(octets) = result {
                    self.connection.written.fetch_add(octets as u64, Relaxed);
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                ready!(self.poll_patience(cx));
                Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the peer stopped reading",
                )))
            }
        }
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let patience = self.patience;
        let deadline = *self
            .deadline
            .get_or_insert_with(|| Instant::now() + patience);
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        while alarm.deadline() < deadline {
            ready!(alarm.as_mut().poll(cx));
            alarm.as_mut().reset(deadline);
        }
        alarm.as_mut().poll(cx)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut kernel = lock(&self.connection.kernel);
        kernel.sample(std::time::Instant::now());
        kernel.socket = None;
        drop(kernel);
        // Whoever waits for acknowledgements on this connection has now seen the last of them.
        self.connection.answered();
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, octets);
        self.account(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = sending::poll_write(&mut self.inner, cx, slices);
        self.account(cx, written)
    }

    /// Otherwise hyper would copy every segment into one buffer.
    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The layers above ask for it when they have nothing left to write.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket2::SockRef::from(&self.inner).shutdown(std::net::Shutdown::Write))
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

/// These locks guard plain values, which a panic elsewhere cannot leave half written.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
