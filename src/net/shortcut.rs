//! The way past the router, for requests that there are so many of that routing them costs more
//! than answering: what a player asks for again and again.
//!
//! Whoever takes it must answer as the router would, to the octet; it saves making a request and an
//! answer of their own types, and finding out each time who is to handle them. Only what is asked
//! for in the plainest way comes here: HTTP/1.1, `GET`, no query, no header that bears on the answer
//! but `Accept-Encoding`. For everything else, and whenever a [`Shortcut`] steps aside, there is the
//! router.

use std::{
    fmt::{self, Display},
    io::Write as _,
    sync::Arc,
};

use axum::{Router, body::Body};
use bytes::Bytes;

use super::Connection;

/// What answers the requests of a listener.
#[derive(Clone, Debug)]
pub struct App {
    pub(super) router: Router,
    pub(super) shortcut: Option<Arc<dyn Shortcut>>,
}

/// Whoever answers some requests sooner than the router of the same application.
pub trait Shortcut: fmt::Debug + Send + Sync {
    /// `None` steps aside: the router answers, as if nobody had been asked before.
    fn answer(&self, asked: &Plain<'_>) -> Option<Short>;
}

/// A request that may be answered before it is routed.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a> {
    /// As it was sent, which may be anything.
    pub path: &'a str,
    /// Who asks understands gzip.
    pub gzip: bool,
    pub connection: &'a Arc<Connection>,
}

/// An answer, 200, with its head as text.
#[derive(Debug)]
pub struct Short {
    pub(super) head: Vec<u8>,
    pub(super) body: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Text(Bytes),
    Body(Body, u64),
}

impl App {
    pub fn new(router: Router, shortcut: Arc<dyn Shortcut>) -> Self {
        Self {
            router,
            shortcut: Some(shortcut),
        }
    }

    /// With what `other` answers.
    pub fn merge(self, other: Router) -> Self {
        Self {
            router: self.router.merge(other),
            ..self
        }
    }

    /// Every request takes the long way.
    pub fn into_router(self) -> Router {
        self.router
    }
}

impl From<Router> for App {
    fn from(router: Router) -> Self {
        Self {
            router,
            shortcut: None,
        }
    }
}

impl Short {
    /// With a body of `length` octets, and `lines` of a head, each with its end.
    pub fn new(body: Body, length: u64, lines: &str) -> Self {
        Self::begin(Content::Body(body, length), length, USUAL, lines)
    }

    /// With a body that is sent at once.
    pub fn text(text: Bytes, lines: &str) -> Self {
        let length = text.len();
        let room = if length <= JOINED { length } else { 0 };
        Self::begin(Content::Text(text), length as u64, USUAL + room, lines)
    }

    fn begin(body: Content, length: u64, room: usize, lines: &str) -> Self {
        let mut head = Vec::with_capacity(room);
        head.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        head.extend_from_slice(lines.as_bytes());
        Self { head, body }.with("content-length", length)
    }

    /// With another line in its head.
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        self.put(name, value);
        self
    }

    /// Another line in its head; none, if the value could not be in one.
    pub fn put(&mut self, name: &str, value: impl Display) {
        let before = self.head.len();
        // Writing to memory cannot fail.
        let _ = write!(self.head, "{name}: {value}");
        if self.head[before..].iter().any(u8::is_ascii_control) {
            self.head.truncate(before);
        } else {
            self.head.extend_from_slice(b"\r\n");
        }
    }
}

/// Whether a request with this header can be answered by a [`Shortcut`].
pub(super) fn is_plain(header: &str) -> bool {
    let bears = |prefix: &str| {
        let start = header.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    !BEARING.iter().copied().any(bears)
}

/// Headers begin so that bear on an answer, or may come to: conditions and ranges, what says who
/// asks, what players tell of themselves or want to be told.
const BEARING: &[&str] = &[
    "if-",
    "range",
    "authorization",
    "cmcd-",
    "spillway-",
    // Of a trace, where there are traces.
    #[cfg(feature = "otel")]
    "traceparent",
];

/// Octets that a head has room for at once.
const USUAL: usize = 1024;

/// A text of no more octets is copied behind its head: to write one piece costs less than to write two.
pub(super) const JOINED: usize = 8 * 1024;
