//! From a publisher to its segmenter: a socket in the file system that is there while the publisher is on the
//! air, and on which whoever connects is given the stream from a place where one can begin.
//!
//! There is no queue. What a segmenter does not take stays in the kernel's buffers and then with the publisher,
//! whose encoder is the one that can do something about it (OBS leaves out pictures, and says so). A segmenter
//! that takes nothing for [`HELD`] ends the connection. Before there is a segmenter, what has come since the last
//! place to begin is kept, for [`KEPT`] and up to [`MOST`]; then the next such place is waited for.

use std::{io, time::Duration};

use bytes::Bytes;
use tokio::{
    io::AsyncWriteExt as _,
    net::{UnixListener, UnixStream},
    time::{Instant, timeout},
};

use super::desk::Seat;

/// A piece of a stream that is never sent in part.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    pub media: Bytes,
    /// Whoever begins to read may begin with it.
    pub begins: bool,
}

/// Why a publisher's media goes nowhere.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error(
        "the segmenter has taken nothing for {HELD:?}; this machine is too slow for the stream, or it hangs"
    )]
    Held,
    #[error("the socket {path} cannot be made: {error}")]
    Socket { path: String, error: io::Error },
}

/// One publisher on the air. Dropping it takes it off.
#[derive(Debug)]
pub struct Feed {
    seat: Seat,
    listener: UnixListener,
    reader: Option<Reader>,
    kept: Kept,
}

#[derive(Debug)]
struct Reader {
    socket: UnixStream,
    /// It has been given a place to begin.
    begun: bool,
}

impl Feed {
    /// Goes on the air: from now on there is something to connect to.
    pub fn open(seat: Seat) -> Result<Self, FeedError> {
        let path = &seat.channel.socket;
        // Of a publisher before this one, in this process: the folder is ours alone.
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).map_err(|error| FeedError::Socket {
            path: path.display().to_string(),
            error,
        })?;
        seat.channel.on_air.send_replace(Some(seat.cut.clone()));
        Ok(Self {
            seat,
            listener,
            reader: None,
            kept: Kept::default(),
        })
    }

    /// Waits for a segmenter, which takes the place of the one before; then [`Feed::begin`]. May be dropped at any time.
    pub async fn joined(&mut self) {
        match self.listener.accept().await {
            Ok((socket, _)) => {
                tracing::debug!(stream = %self.seat.channel.name, "a segmenter is here");
                let begun = false;
                self.reader = Some(Reader { socket, begun });
            }
            Err(error) => {
                tracing::warn!(stream = %self.seat.channel.name, %error, "the segmenter cannot be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Hands on a piece, or keeps it; `prologue` is what has to come before everything else.
    pub async fn push(
        &mut self,
        piece: Piece,
        prologue: impl FnOnce() -> Bytes,
    ) -> Result<(), FeedError> {
        match &mut self.reader {
            Some(reader) if reader.begun => {
                let written = write(&mut reader.socket, &[piece.media]).await;
                self.outcome(written)
            }
            _ => {
                self.kept.keep(piece, prologue, Instant::now());
                self.begin().await
            }
        }
    }

    /// Hands on what was kept, if there is somebody who waits for it.
    pub async fn begin(&mut self) -> Result<(), FeedError> {
        let Some(reader) = self.reader.as_mut().filter(|reader| !reader.begun) else {
            return Ok(());
        };
        let kept = self.kept.take();
        if kept.is_empty() {
            return Ok(());
        }
        reader.begun = true;
        let written = write(&mut reader.socket, &kept).await;
        self.outcome(written)
    }

    fn outcome(&mut self, written: Result<(), Option<io::Error>>) -> Result<(), FeedError> {
        match written {
            Ok(()) => Ok(()),
            Err(None) => Err(FeedError::Held),
            Err(Some(error)) => {
                // It died, or has been replaced. The next one begins anew.
                tracing::debug!(stream = %self.seat.channel.name, %error, "the segmenter has gone");
                self.reader = None;
                Ok(())
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.seat.channel.on_air.send_replace(None);
        let _ = std::fs::remove_file(&self.seat.channel.socket);
    }
}

/// `None` if it took too long.
async fn write(socket: &mut UnixStream, all: &[Bytes]) -> Result<(), Option<io::Error>> {
    for media in all {
        match timeout(HELD, socket.write_all(media)).await {
            Ok(written) => written.map_err(Some)?,
            Err(_) => return Err(None),
        }
    }
    Ok(())
}

/// What has come since the last place to begin, while nobody reads; the prologue first.
#[derive(Debug, Default)]
struct Kept {
    pieces: Vec<Bytes>,
    octets: usize,
    since: Option<Instant>,
}

impl Kept {
    fn keep(&mut self, piece: Piece, prologue: impl FnOnce() -> Bytes, now: Instant) {
        if piece.begins {
            *self = Self::default();
            self.since = Some(now);
            self.pieces.push(prologue());
        }
        let Some(since) = self.since else { return };
        self.octets += piece.media.len();
        self.pieces.push(piece.media);
        // What is older would be sent in a burst, and put the stream's clock ahead.
        if self.octets > MOST || now - since > KEPT {
            *self = Self::default();
        }
    }

    fn take(&mut self) -> Vec<Bytes> {
        std::mem::take(self).pieces
    }
}

/// How long a segmenter may take nothing.
pub const HELD: Duration = Duration::from_secs(10);

/// For how long what has come is kept for a segmenter that is being started.
pub const KEPT: Duration = Duration::from_secs(2);

/// How much is kept at most.
pub const MOST: usize = 8_000_000;

const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(kept: &mut Kept, media: &'static [u8], begins: bool, now: Instant) {
        let media = Bytes::from_static(media);
        let prologue = || Bytes::from_static(b"prologue");
        kept.keep(Piece { media, begins }, prologue, now);
    }

    #[test]
    fn a_late_reader_begins_where_one_can_begin_and_not_long_ago() {
        let (mut kept, t0) = (Kept::default(), Instant::now());
        keep(&mut kept, b"lost", false, t0);
        keep(&mut kept, b"key", true, t0);
        keep(&mut kept, b"rest", false, t0);
        assert_eq!(kept.take(), ["prologue", "key", "rest"]);
        keep(&mut kept, b"rest", false, t0);
        assert!(kept.take().is_empty(), "nobody begins in the middle");
        keep(&mut kept, b"key", true, t0);
        keep(&mut kept, b"key 2", true, t0);
        assert_eq!(kept.take(), ["prologue", "key 2"]);
        keep(&mut kept, b"key", true, t0);
        keep(&mut kept, b"rest", false, t0 + KEPT * 2);
        assert!(kept.take().is_empty(), "too old");
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        static LARGE: [u8; MOST / 3] = [0; MOST / 3];
        let (mut kept, t0) = (Kept::default(), Instant::now());
        keep(&mut kept, &LARGE, true, t0);
        for _ in 0..3 {
            keep(&mut kept, &LARGE, false, t0);
        }
        assert!(kept.take().is_empty());
    }
}
