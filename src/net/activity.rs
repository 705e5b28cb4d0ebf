//! Whether a connection of HTTP/2 is of use: a peer that keeps its window shut, or answers pings
//! and asks for nothing, would else hold a slot and media for good. (A connection of HTTP/1.1 is
//! watched where it writes, and by its wait for a request.)

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

/// What goes on on one connection.
#[derive(Debug)]
pub(super) struct Activity {
    start: Instant,
    /// Requests that are not answered in full.
    open: AtomicUsize,
    /// Answers that wait for the peer, not for us.
    held: AtomicUsize,
    /// When something last moved, in milliseconds since `start`.
    moved: AtomicU64,
}

/// How long nothing has moved, and whose turn it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rest {
    /// Nobody asks for anything.
    Idle(Duration),
    /// There is something to send that the peer does not take.
    Held(Duration),
    /// We owe an answer, or are sending one.
    Busy,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            open: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            moved: AtomicU64::new(0),
        })
    }

    /// A request; open until what this returns is dropped.
    pub(super) fn request(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Relaxed);
        self.touch();
        Open(self.clone())
    }

    pub(super) fn rest(&self) -> Rest {
        let moved = Duration::from_millis(self.moved.load(Relaxed));
        let still = self.start.elapsed().saturating_sub(moved);
        if self.open.load(Relaxed) == 0 {
            Rest::Idle(still)
        } else if self.held.load(Relaxed) > 0 {
            Rest::Held(still)
        } else {
            Rest::Busy
        }
    }

    fn touch(&self) {
        let now = self.start.elapsed().as_millis() as u64;
        self.moved.store(now, Relaxed);
    }
}

#[derive(Debug)]
pub(super) struct Open(Arc<Activity>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.touch();
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// The body of an answer, in pieces of a frame each: what the peer's window does not let through
/// stays with us, so that it shows whether the peer takes it. Nothing is copied.
#[derive(Debug)]
pub(super) struct Answer {
    // Before `open`: whatever is in it goes before the connection may be idle.
    body: Body,
    piece: Bytes,
    held: bool,
    open: Open,
}

impl Answer {
    pub(super) fn new(body: Body, open: Open) -> Self {
        let held = !body.is_end_stream();
        open.0.held.fetch_add(usize::from(held), Relaxed);
        Self {
            body,
            piece: Bytes::new(),
            held,
            open,
        }
    }

    /// Notes whose turn it is.
    fn hold(&mut self, held: bool) {
        let count = &self.open.0.held;
        match (self.held, held) {
            (false, true) => count.fetch_add(1, Relaxed),
            (true, false) => count.fetch_sub(1, Relaxed),
            _ => 0,
        };
        self.held = held;
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.hold(false);
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.open.0.touch();
        if self.piece.is_empty() {
            // Until there is more it is our turn.
            self.hold(false);
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.piece = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let length = self.piece.len().min(FRAME);
        let piece = self.piece.split_to(length);
        let more = !self.is_end_stream();
        self.hold(more);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.piece.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, piece) = (self.body.size_hint(), self.piece.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + piece);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + piece);
        }
        hint
    }
}

/// The longest frame that a peer takes unasked (RFC 9113 section 6.5.2).
const FRAME: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use std::task::Waker;

    use super::*;

    #[test]
    fn an_answer_that_is_not_taken_is_held_and_one_that_we_owe_is_not() {
        let activity = Activity::new();
        assert!(matches!(activity.rest(), Rest::Idle(_)));
        let open = activity.request();
        assert_eq!(activity.rest(), Rest::Busy, "nothing to send yet");
        let media = Bytes::from(vec![0; FRAME + 1]);
        let mut answer = Answer::new(Body::from(media), open);
        assert!(matches!(activity.rest(), Rest::Held(_)));
        let mut cx = Context::from_waker(Waker::noop());
        for (length, held) in [(FRAME, true), (1, false)] {
            let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut answer).poll_frame(&mut cx) else {
                panic!("there is more")
            };
            assert_eq!(frame.into_data().unwrap().len(), length);
            assert_eq!(matches!(activity.rest(), Rest::Held(_)), held);
        }
        assert!(answer.is_end_stream());
        drop(answer);
        assert!(matches!(activity.rest(), Rest::Idle(_)));
    }

    #[test]
    fn an_answer_that_waits_for_us_is_not_held() {
        let activity = Activity::new();
        let never =
            Body::from_stream(futures_util::stream::pending::<Result<Bytes, axum::Error>>());
        let mut answer = Answer::new(never, activity.request());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut answer).poll_frame(&mut cx).is_pending());
        assert_eq!(activity.rest(), Rest::Busy);
    }
}
