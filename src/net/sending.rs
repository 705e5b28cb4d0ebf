//! Writing to a socket: octets that lie in `pages` go out of there by `sendfile(2)`, all others
//! are copied into the kernel as usual. Whoever writes need not know which is which.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustix::io::Errno;
use tokio::{
    io::{AsyncWrite as _, Interest},
    net::TcpStream,
};

use crate::pages;

/// Writes as much of `slices`, one after the other, as the socket takes.
pub(super) fn poll_write(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let Some(first) = slices
        .iter()
        .position(|slice| pages::locate(slice).is_some())
    else {
        return match slices {
            // Less work for the kernel.
            [one] => Pin::new(stream).poll_write(cx, one),
            slices => Pin::new(stream).poll_write_vectored(cx, slices),
        };
    };
    let (before, kept) = slices.split_at(first);
    loop {
        ready!(stream.poll_write_ready(cx))?;
        match stream.try_io(Interest::WRITABLE, || send(stream, before, kept)) {
            Ok(sent) => {
                if !sent.all {
                    // It is full: to be told when it no longer is, not to try again to find out.
                    let full = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                    let _ = stream.try_io(Interest::WRITABLE, full);
                }
                return Poll::Ready(Ok(sent.octets));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

struct Sent {
    octets: usize,
    /// Whether the socket took all that it was offered.
    all: bool,
}

/// `before` lies anywhere, `kept` begins with what lies in `pages`.
fn send(stream: &TcpStream, before: &[IoSlice<'_>], kept: &[IoSlice<'_>]) -> io::Result<Sent> {
    let mut octets = 0;
    let length: usize = before.iter().map(|slice| slice.len()).sum();
    if length > 0 {
        // More follows at once: a head shares its packet with the first of the body.
        let flags = libc::MSG_MORE | libc::MSG_NOSIGNAL;
        octets = socket2::SockRef::from(stream).send_vectored_with_flags(before, flags)?;
        if octets < length {
            return Ok(Sent { octets, all: false });
        }
    }
    for slice in kept {
        let Some((file, mut place)) = pages::locate(slice) else {
            break;
        };
        let mut left = slice.len();
        while left > 0 {
            match rustix::fs::sendfile(stream, file, Some(&mut place), left) {
                // It may have been a signal that cut it short: only the refusal tells that it is full, and
                // that the word will come when it no longer is.
                Ok(sent) => {
                    octets += sent;
                    left -= sent;
                }
                Err(Errno::AGAIN) if octets > 0 => return Ok(Sent { octets, all: false }),
                // To be met again, if it is more than an interruption, by the next write.
                Err(_) if octets > 0 => return Ok(Sent { octets, all: true }),
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(Sent { octets, all: true })
}
