//! A headless HLS player: plays a stream as a decent player that cannot adapt would, and tells
//! what its viewer would see. For the `client` program, for tests and for generated load.
//!
//! [`playback`] and [`session`] are pure: time and answers are values there. This file has the
//! sockets and the clock. Pictures are not decoded.

pub mod event;
pub mod lookup;
pub mod playback;
pub mod session;
pub mod sound;
pub mod tally;

mod list;
mod parts;
mod steering;
mod trouble;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use reqwest::{StatusCode, Url};

use self::session::{Action, Answer, Get, Now, Session};
pub use self::{
    event::{Event, SegmentReport},
    playback::StartRule,
    sound::Fault,
    tally::Summary,
};
use crate::{
    clock,
    net::{FetchError, Fetched, Fetcher},
};

/// How a player behaves.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub start: StartRule,
    /// Media ahead of the playhead, beyond which nothing more is fetched.
    pub max_buffer: Duration,
    /// How long a first join is tried where the server asks for patience.
    pub join_patience: Duration,
    /// How long a node may fail before the player joins again.
    pub node_patience: Duration,
    /// How long nothing at all may go well before the player ends.
    pub give_up: Duration,
    /// Asks for playlists that are not there yet, where it is told that it may.
    pub blocks_reload: bool,
    /// Plays by parts where there are any. Two requests are made at a time then: a playlist's and a part's.
    pub parts: bool,
    /// Follows content steering where it is offered.
    pub steers: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            start: StartRule {
                segments: 2,
                buffered: Duration::from_secs(6),
            },
            max_buffer: Duration::from_secs(30),
            join_patience: Duration::from_secs(15),
            node_patience: Duration::from_secs(3),
            give_up: Duration::from_secs(30),
            blocks_reload: true,
            parts: false,
            steers: false,
        }
    }
}

/// Why there is nothing to see.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlayerError {
    #[error("{url}: not found{}{said}", colon(said))]
    NotFound { url: Box<Url>, said: String },
    #[error("{url}: answered {status}{}{said}", colon(said))]
    Refused {
        url: Box<Url>,
        status: StatusCode,
        said: String,
    },
    #[error("cannot reach {url}: {why}")]
    Unreachable { url: Box<Url>, why: String },
    #[error("{url}: {why}")]
    NotAPlaylist { url: Box<Url>, why: String },
    #[error("nothing went well for {after:.0?}: {why}")]
    GaveUp { after: Duration, why: String },
}

/// A player of one stream. Dropping it ends the viewing.
pub struct Player {
    session: Session,
    fetcher: Fetcher,
    request: Option<Request>,
}

/// A request on its way.
struct Request {
    get: Get,
    asked: Instant,
    answer: Pin<Box<dyn Future<Output = Result<Fetched, FetchError>> + Send>>,
}

impl Player {
    /// `start` is the URL of a multivariant or media playlist, or of a traffic manager's
    /// `/watch/STREAM.m3u8`. Here the player joins again when its node is gone.
    pub fn new(fetcher: Fetcher, start: Url, config: Config) -> Self {
        let session = Session::new(start, config, now().at);
        Self {
            session,
            fetcher,
            request: None,
        }
    }

    /// Plays on until something happens. After [`Event::Finished`] nothing does.
    ///
    /// Cancel safe: a request that is on its way stays so.
    pub async fn step(&mut self) -> Result<Event, PlayerError> {
        loop {
            let at = now().at;
            self.session.advance(at);
            if let Some(event) = self.session.poll() {
                return Ok(event);
            }
            let mut until = self.session.playback().runs_dry();
            if self.request.is_none() {
                match self.session.next(at) {
                    Action::Get(get) => self.request = Some(Request::new(&self.fetcher, get, at)),
                    Action::Wait(wait) => until = Some(until.map_or(wait, |until| until.min(wait))),
                    Action::Done => match self.session.poll() {
                        Some(event) => return Ok(event),
                        None => std::future::pending().await,
                    },
                }
            }
            let answer = tokio::select! {
                answer = answered(&mut self.request) => answer,
                () = sleep_until(until) => continue,
            };
            if let Some(Request { get, asked, .. }) = self.request.take() {
                let answer = answer.map(Answer::from);
                self.session.answer(get, asked, answer, now())?;
            }
        }
    }

    /// The viewing so far.
    pub fn summary(&self) -> Summary {
        self.session.summary(now())
    }
}

impl fmt::Debug for Player {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = self
            .request
            .as_ref()
            .map(|request| request.get.url.as_str());
        f.debug_struct("Player")
            .field("session", &self.session)
            .field("asked", &asked)
            .finish_non_exhaustive()
    }
}

impl Request {
    fn new(fetcher: &Fetcher, get: Get, asked: Instant) -> Self {
        let (fetcher, url, patience) = (fetcher.clone(), get.url.clone(), get.patience);
        let answer = Box::pin(async move { fetcher.get(url, patience).await });
        Self { get, asked, answer }
    }
}

async fn answered(request: &mut Option<Request>) -> Result<Fetched, FetchError> {
    match request {
        Some(request) => request.answer.as_mut().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}

fn colon(said: &str) -> &'static str {
    if said.is_empty() { "" } else { ": " }
}

fn now() -> Now {
    // Tokio's clock, so that a test may stop it.
    Now {
        at: tokio::time::Instant::now().into_std(),
        wall: clock::wall(),
    }
}
