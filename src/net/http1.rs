//! HTTP/1.1 for nearly every request that there is: one without a body. Whatever is of another
//! kind (a body, an upgrade, HTTP/2, what is not HTTP at all) is hyper's, who gets the connection
//! with all that was read of it and keeps it.
//!
//! Only for what it saves on a node with many viewers, which was measured (`benches/nginx.rs`):
//! no buffers for a connection that waits, no timer set and unset for each request, no look at a
//! socket that is known to be empty. How a head is read and written is `head`'s business.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{body::Body, http::Response};
use bytes::{Buf as _, Bytes, BytesMut};
use http_body::Body as _;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    time::{Instant, Sleep},
};

use super::{
    Connection,
    head::{self, Asked, Length, Parsed, What},
    http::{Ending, Http},
    shortcut::{Content, JOINED, Plain, Short},
};

/// What becomes of a connection.
pub(super) enum Outcome<IO> {
    /// There is nothing more to say on it.
    Over,
    /// The next request is hyper's; these octets of it were read.
    Other(IO, Bytes),
}

/// Answers requests on `io` until one is not for us, the client goes or it is time to end. A head
/// has `limits.head` to arrive in full, counted from the end of the answer before it.
pub(super) async fn serve<IO: AsyncRead + AsyncWrite + Unpin>(
    io: IO,
    http: &Http,
    connection: &Arc<Connection>,
    ending: &Ending,
) -> io::Result<Outcome<IO>> {
    let mut cut = ending.cut.listener();
    let mut answering = pin!(answer_all(io, http, connection, ending));
    std::future::poll_fn(|cx| match answering.as_mut().poll(cx) {
        Poll::Pending => cut
            .poll(cx)
            .map(|()| Err(io::Error::other("cut at shutdown"))),
        ended => ended,
    })
    .await
}

async fn answer_all<IO: AsyncRead + AsyncWrite + Unpin>(
    io: IO,
    http: &Http,
    connection: &Arc<Connection>,
    ending: &Ending,
) -> io::Result<Outcome<IO>> {
    let mut stopping = ending.stop.listener();
    let mut wire = Wire {
        io,
        unread: BytesMut::new(),
    };
    let mut alarm = None;
    let mut sooner = |path: &str, gzip| {
        let shortcut = http.app.shortcut.as_ref()?;
        // Before anything is decided: what is decided rests on it.
        connection.answered();
        shortcut.answer(&Plain {
            path,
            gzip,
            connection,
        })
    };
    loop {
        let deadline = Instant::now() + http.limits.head;
        let next = std::future::poll_fn(|cx| {
            if let Poll::Ready(next) = wire.poll_head(cx, &mut sooner) {
                return Poll::Ready(next.map(Some));
            }
            if stopping.poll(cx).is_ready() && wire.unread.is_empty() {
                return Poll::Ready(Ok(None));
            }
            ready!(poll_deadline(&mut alarm, deadline, cx));
            Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
        });
        let asked = match next.await? {
            Some(Next::Asked(asked)) => asked,
            Some(Next::Other) => return Ok(Outcome::Other(wire.io, wire.unread.freeze())),
            Some(Next::Gone) | None => return Ok(Outcome::Over),
        };
        let Asked { what, mut stays } = asked;
        match what {
            What::Answered(short) => {
                stays &= !stopping.is_said();
                wire.send(short, stays).await?;
            }
            What::Request(request) => {
                connection.answered();
                let bodiless = request.method() == axum::http::Method::HEAD;
                // In a box, since a connection that waits would hold room for it.
                let answer = Box::pin(http.answer(*request, connection.clone()));
                let Some(response) = wire.until_gone(answer).await? else {
                    return Ok(Outcome::Over);
                };
                stays &= !stopping.is_said();
                wire.answer(response, bodiless, stays).await?;
            }
        }
        if !stays {
            wire.io.shutdown().await?;
            return Ok(Outcome::Over);
        }
    }
}

/// A connection, and what was read of it ahead of its time.
struct Wire<IO> {
    io: IO,
    unread: BytesMut,
}

enum Next {
    Asked(Asked),
    Other,
    Gone,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Wire<IO> {
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        sooner: &mut impl FnMut(&str, bool) -> Option<Short>,
    ) -> Poll<io::Result<Next>> {
        loop {
            if !self.unread.is_empty() {
                match head::parse(&self.unread, &mut *sooner) {
                    Parsed::Whole(asked, length) => {
                        self.unread.advance(length);
                        return Poll::Ready(Ok(Next::Asked(asked)));
                    }
                    Parsed::Partial if self.unread.len() < LONGEST => {}
                    Parsed::Partial | Parsed::Other => return Poll::Ready(Ok(Next::Other)),
                }
            }
            let unread = &mut self.unread;
            let asked = ready!(poll_read(&mut self.io, cx, |octets| {
                // As a rule a read brings one head, and nothing has to be put aside.
                if unread.is_empty()
                    && let Parsed::Whole(asked, length) = head::parse(octets, &mut *sooner)
                {
                    unread.extend_from_slice(&octets[length..]);
                    return Some(Next::Asked(asked));
                }
                unread.extend_from_slice(octets);
                octets.is_empty().then_some(Next::Gone)
            }))?;
            if let Some(next) = asked {
                return Poll::Ready(Ok(next));
            }
        }
    }

    /// What comes of `answer`, or `None` if the client goes away first.
    async fn until_gone<T>(
        &mut self,
        mut answer: impl Future<Output = T> + Unpin,
    ) -> io::Result<Option<T>> {
        std::future::poll_fn(|cx| {
            if let Poll::Ready(answer) = Pin::new(&mut answer).poll(cx) {
                return Poll::Ready(Ok(Some(answer)));
            }
            // Who asks ahead is read ahead, up to a bound.
            while self.unread.len() < LONGEST {
                let unread = &mut self.unread;
                let gone = ready!(poll_read(&mut self.io, cx, |octets| {
                    unread.extend_from_slice(octets);
                    octets.is_empty()
                }))?;
                if gone {
                    return Poll::Ready(Ok(None));
                }
            }
            Poll::Pending
        })
        .await
    }

    async fn answer(
        &mut self,
        response: Response<Body>,
        bodiless: bool,
        stays: bool,
    ) -> io::Result<()> {
        let (parts, body) = response.into_parts();
        let length = head::length(&parts, &body, bodiless);
        let head = head::write(&parts, length, stays);
        drop(parts);
        self.give(head, body, length).await
    }

    async fn send(&mut self, short: Short, stays: bool) -> io::Result<()> {
        let Short { mut head, body } = short;
        head::end_now(&mut head, stays);
        let (body, length) = match body {
            Content::Body(body, length) => (body, Length::Known(length)),
            Content::Text(text) if text.len() <= JOINED => {
                head.extend_from_slice(&text);
                (Body::empty(), Length::None)
            }
            Content::Text(text) => {
                let length = Length::Known(text.len() as u64);
                (text.into(), length)
            }
        };
        self.give(head, body, length).await
    }

    async fn give(&mut self, head: Vec<u8>, mut body: Body, length: Length) -> io::Result<()> {
        let mut queue = Queue::default();
        queue.push(head.into());
        let mut left = match length {
            Length::None => None,
            Length::Known(octets) => Some(octets),
            Length::Chunked => Some(u64::MAX),
        };
        while let Some(octets) = left {
            let filled = pin!(std::future::poll_fn(|cx| {
                queue.poll_fill(cx, &mut body, length)
            }));
            let gone = io::ErrorKind::ConnectionAborted;
            let whole = self.until_gone(filled).await?.ok_or(gone)??;
            let queued = queue.body;
            queue.body = 0;
            left = octets.checked_sub(queued).filter(|_| !whole);
            let fits = match length {
                Length::Known(_) => octets >= queued && (!whole || octets == queued),
                _ => true,
            };
            if !fits {
                return Err(io::Error::other("a body is not as long as its head says"));
            }
            if whole {
                // Let go of before its last octets leave, as whoever measures it expects.
                drop(std::mem::take(&mut body));
            }
            self.write(&mut queue).await?;
        }
        self.write(&mut queue).await?;
        self.io.flush().await
    }

    async fn write(&mut self, queue: &mut Queue) -> io::Result<()> {
        while !queue.pieces.is_empty() {
            let written = std::future::poll_fn(|cx| {
                let mut slices = [IoSlice::new(&[]); MOST];
                let pieces = slices.iter_mut().zip(&queue.pieces);
                let count = pieces
                    .map(|(slice, piece)| *slice = IoSlice::new(piece))
                    .count();
                Pin::new(&mut self.io).poll_write_vectored(cx, &slices[..count])
            });
            match written.await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => queue.advance(written),
            }
        }
        Ok(())
    }
}

/// What is to be written, at most [`MOST`] pieces of it.
#[derive(Default)]
struct Queue {
    pieces: std::collections::VecDeque<Bytes>,
    /// Octets of the body that were put in.
    body: u64,
}

impl Queue {
    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }

    /// Takes what `body` has at once; waits only if there is nothing else to write. Says whether
    /// that was all of it.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Body,
        length: Length,
    ) -> Poll<io::Result<bool>> {
        // A chunk takes three pieces, and the last one another.
        while self.pieces.len() + 4 <= MOST {
            let frame = match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending if self.pieces.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Ok(false)),
            };
            let chunked = matches!(length, Length::Chunked);
            if let Some(frame) = frame {
                if let Ok(piece) = frame.map_err(io::Error::other)?.into_data()
                    && !piece.is_empty()
                {
                    self.body += piece.len() as u64;
                    if chunked {
                        self.push(format!("{:x}\r\n", piece.len()).into());
                        self.push(piece);
                        self.push(Bytes::from_static(b"\r\n"));
                    } else {
                        self.push(piece);
                    }
                }
                if !body.is_end_stream() {
                    continue;
                }
            }
            if chunked {
                self.push(Bytes::from_static(b"0\r\n\r\n"));
            }
            return Poll::Ready(Ok(true));
        }
        Poll::Ready(Ok(false))
    }

    fn advance(&mut self, mut octets: usize) {
        while let Some(piece) = self.pieces.front_mut() {
            if octets < piece.len() {
                piece.advance(octets);
                return;
            }
            octets -= piece.len();
            self.pieces.pop_front();
        }
    }
}

/// Reads into a buffer that all connections of a thread share, and has `take` look at it; no
/// octets mean that there will be no more.
fn poll_read<T>(
    io: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]) -> T,
) -> Poll<io::Result<T>> {
    thread_local! {
        static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
    }
    SHARED.with_borrow_mut(|buffer| {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(take(buffer.filled())))
    })
}

/// Waits until `deadline`. The alarm stays set from one wait to the next and goes off too early
/// rather than to be set anew for each, as most waits end long before.
fn poll_deadline(
    alarm: &mut Option<Pin<Box<Sleep>>>,
    deadline: Instant,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let alarm = alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
    while alarm.deadline() < deadline {
        ready!(alarm.as_mut().poll(cx));
        alarm.as_mut().reset(deadline);
    }
    alarm.as_mut().poll(cx)
}

/// A longer head is hyper's to refuse.
const LONGEST: usize = 16 * 1024;

/// Octets of one read.
const READ: usize = 16 * 1024;

/// Pieces of one write.
const MOST: usize = 16;
