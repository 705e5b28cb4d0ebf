//! A viewer's link: all that its connections bring comes no faster than it carries.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Sleep,
};

/// What all connections of a viewer share. `None`: as much as there is.
#[derive(Clone, Debug)]
pub(super) struct Link(Option<Rc<Rate>>);

#[derive(Debug)]
struct Rate {
    /// Octets per second.
    rate: f64,
    /// When the link is free again.
    free: Cell<Instant>,
}

impl Link {
    pub(super) fn new(kbps: Option<u64>) -> Self {
        Self(kbps.map(|kbps| {
            Rc::new(Rate {
                rate: kbps as f64 * 125.0,
                free: Cell::new(Instant::now()),
            })
        }))
    }

    /// What the kernel may hold of a connection, octets.
    pub(super) fn held(&self) -> Option<u32> {
        let rate = self.0.as_ref()?.rate;
        Some((rate * HELD).clamp(16e3, 4e6) as u32)
    }
}

/// A connection over a link.
#[derive(Debug)]
pub(super) struct Paced {
    stream: TcpStream,
    link: Link,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    pub(super) fn new(stream: TcpStream, link: Link) -> Self {
        Self {
            stream,
            link,
            pause: None,
        }
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let paced = self.get_mut();
        let Some(link) = &paced.link.0 else {
            return Pin::new(&mut paced.stream).poll_read(context, to);
        };
        // Another connection may have taken the link meanwhile.
        while Instant::now() < link.free.get() || paced.pause.is_some() {
            let until = || Box::pin(tokio::time::sleep_until(link.free.get().into()));
            ready!(paced.pause.get_or_insert_with(until).as_mut().poll(context));
            paced.pause = None;
        }
        let most = ((link.rate * STEP) as usize).clamp(1500, AT_ONCE);
        let room = to.initialize_unfilled_to(most.min(to.remaining()));
        let mut room = ReadBuf::new(room);
        ready!(Pin::new(&mut paced.stream).poll_read(context, &mut room))?;
        let got = room.filled().len();
        to.advance(got);
        let takes = Duration::from_secs_f64(got as f64 / link.rate);
        link.free.set(link.free.get().max(Instant::now()) + takes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, octets)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// Seconds of a narrow link that are read at a time, and that the kernel may hold.
const STEP: f64 = 0.02;
const HELD: f64 = 0.1;
/// Octets that are read at a time.
const AT_ONCE: usize = 256 << 10;
