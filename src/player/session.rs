//! A player's mind: what to ask for next, and what to make of the answer.
//!
//! Nothing here waits or asks: answers and time come in, requests and events go out. Plays one
//! variant; choosing among rungs is the server's business.

mod answers;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use playlists::{
    MediaTime, WallTime,
    parse::{ListedSegment, MediaPlaylist},
};
use reqwest::Url;

use super::{
    Config, PlayerError,
    event::Event,
    list::List,
    playback::{Change, Playback},
    sound::Fault,
    tally::Summary,
    trouble::{Failure, Trouble},
};
use crate::net::{FetchError, Fetched};

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub at: Instant,
    pub wall: WallTime,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Get(Get),
    /// Nothing until then.
    Wait(Instant),
    /// Nothing any more.
    Done,
}

/// A request; its answer goes to [`Session::answer`].
#[derive(Clone, Debug, PartialEq)]
pub struct Get {
    pub what: What,
    pub url: Url,
    pub patience: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A multivariant playlist, or a media playlist in its place.
    Join,
    Playlist,
    Init,
    Segment(Box<ListedSegment>),
}

/// One viewing of one stream.
#[derive(Debug)]
pub struct Session {
    start: Url,
    config: Config,
    place: Place,
    /// What was listed last, by whichever node.
    known: Option<MediaPlaylist>,
    /// Media sequence number of the next segment.
    next: Option<u64>,
    /// The init section that was fetched last.
    init: Option<Url>,
    /// Discontinuity sequence number of the last segment.
    timeline: Option<u64>,
    /// Who served the last segment.
    node: Option<String>,
    trouble: Trouble,
    /// Since when the playlist ends before what was played.
    rewound: Option<Instant>,
    playback: Playback,
    summary: Summary,
    events: VecDeque<Event>,
}

#[derive(Debug)]
enum Place {
    /// Looking for a media playlist, now at this URL.
    Joining(Url),
    /// Asked here each time, though the answer may come from elsewhere: a temporary redirect
    /// moves this answer, not the next.
    Playing { url: Url, list: Option<Box<List>> },
}

impl Session {
    /// `start` is the URL of a multivariant or media playlist, or of whoever redirects to one.
    pub fn new(start: Url, config: Config, now: Instant) -> Self {
        Self {
            place: Place::Joining(start.clone()),
            start,
            known: None,
            next: None,
            init: None,
            timeline: None,
            node: None,
            trouble: Trouble::default(),
            rewound: None,
            playback: Playback::new(config.start, now),
            summary: Summary::default(),
            events: VecDeque::new(),
            config,
        }
    }

    /// Lets time pass; call it before [`next`](Self::next), and when the playback
    /// [`runs_dry`](Playback::runs_dry).
    pub fn advance(&mut self, now: Instant) {
        self.playback.advance(now);
        self.notice();
    }

    /// What has happened, one thing at a time.
    pub fn poll(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub fn playback(&self) -> &Playback {
        &self.playback
    }

    pub fn summary(&self, now: Now) -> Summary {
        Summary {
            startup: self.playback.startup(),
            played: self.playback.played(now.at),
            stalls: self.playback.stalls(),
            stalled: self.playback.stalled(now.at),
            latency: self.latency(now),
            ..self.summary.clone()
        }
    }

    /// What to do next. One request at a time: nothing is asked for before its answer is in.
    pub fn next(&mut self, now: Instant) -> Action {
        if self.playback.is_finished() {
            return Action::Done;
        }
        if let Some(until) = self.trouble.pause().filter(|until| now < *until) {
            return Action::Wait(until);
        }
        match &self.place {
            Place::Joining(url) => get(What::Join, url.clone(), JOIN),
            Place::Playing { url, list: None } => get(What::Playlist, url.clone(), JOIN),
            Place::Playing {
                url,
                list: Some(list),
            } => {
                let Some(number) = self.next.or(list.start()) else {
                    return wait_for_more(url, list, now);
                };
                self.next = Some(number);
                match list.segment(number) {
                    Some(segment) => self.fetch(list, segment, now),
                    None if list.playlist.ended => {
                        self.playback.end(now);
                        self.notice();
                        self.playback.runs_dry().map_or(Action::Done, Action::Wait)
                    }
                    None => wait_for_more(url, list, now),
                }
            }
        }
    }

    /// Takes the answer to what was `asked` for at that time.
    pub fn answer(
        &mut self,
        get: Get,
        asked: Instant,
        answer: Result<Fetched, FetchError>,
        now: Now,
    ) -> Result<(), PlayerError> {
        self.advance(now.at);
        let taken = match answer {
            Err(error) => Err(Failure::Fetch(error)),
            Ok(fetched) => match &get.what {
                What::Join => self.join(&get.url, fetched, asked),
                What::Playlist => self.reload(fetched, asked),
                What::Init => {
                    self.take_init(&get.url, &fetched);
                    Ok(())
                }
                What::Segment(segment) => {
                    self.take_segment(segment, &fetched, asked, now);
                    Ok(())
                }
            },
        };
        match taken {
            Ok(()) => self.trouble.over(get.what.weight()),
            Err(failure) => self.failed(get, failure, now.at)?,
        }
        Ok(())
    }

    fn fetch(&self, list: &List, segment: &ListedSegment, now: Instant) -> Action {
        let buffered = self.playback.buffered(now);
        if self.playback.startup().is_some() && buffered > self.config.max_buffer {
            return Action::Wait(now + (buffered - self.config.max_buffer));
        }
        let patience = SEGMENT.max(list.target() * 5);
        if let Some(init) = segment
            .map
            .as_deref()
            .and_then(|map| list.base.join(map).ok())
            && self.init.as_ref() != Some(&init)
        {
            return get(What::Init, init, patience);
        }
        let uri = segment.uri.as_deref().unwrap_or_default();
        // What is no URL at all is asked for at the playlist's, and so refused or found unsound.
        let url = list.base.join(uri).unwrap_or_else(|_| list.base.clone());
        get(What::Segment(Box::new(segment.clone())), url, patience)
    }

    fn failed(&mut self, get: Get, failure: Failure, now: Instant) -> Result<(), PlayerError> {
        let first = self.summary.joins == 0;
        if first && !failure.is_passing() {
            return Err(failure.fatal(&self.start));
        }
        self.trouble.add(get.what.weight(), now);
        let lasted = self.trouble.lasted(now);
        let patience = if first {
            self.config.join_patience
        } else {
            self.config.give_up
        };
        if lasted >= patience {
            return Err(PlayerError::GaveUp {
                after: lasted,
                why: failure.to_string(),
            });
        }
        if get.what != What::Join
            && self
                .trouble
                .means_lost(&failure, self.config.node_patience, now)
        {
            let node = self.node.clone().unwrap_or_else(|| host(&get.url));
            self.events.push_back(Event::Rejoining {
                node,
                error: failure.to_string(),
            });
            self.place = Place::Joining(self.start.clone());
            self.trouble.elsewhere(now);
            return Ok(());
        }
        if get.what == What::Join {
            // The variant of a node that is gone: whoever sent the player there knows another.
            self.place = Place::Joining(self.start.clone());
        }
        self.refused(&get, &failure);
        let again_in = self.trouble.back_off(now);
        self.summary.retries += 1;
        self.events.push_back(Event::Retry {
            error: failure.to_string(),
            again_in,
        });
        Ok(())
    }

    /// A node that will not serve what it lists may have listed anew; a segment that is refused
    /// again and again is left out.
    fn refused(&mut self, get: &Get, failure: &Failure) {
        let (What::Segment(segment), Failure::Fetch(FetchError::Status { .. })) =
            (&get.what, failure)
        else {
            return;
        };
        if let Place::Playing { list, .. } = &mut self.place {
            *list = None;
        }
        let times = self.trouble.refused(segment.number);
        if times >= REFUSALS {
            self.next = Some(segment.number + 1);
            self.fault(Fault::Refused {
                number: segment.number,
                times,
            });
        }
    }

    fn fault(&mut self, fault: Fault) {
        self.summary.faults += 1;
        self.events.push_back(Event::Fault(fault));
    }

    /// Tells what the viewer noticed.
    fn notice(&mut self) {
        while let Some(change) = self.playback.poll() {
            self.events.push_back(match change {
                Change::Started { after } => Event::Started { after },
                Change::Stalled { .. } => Event::Stalled {
                    stalls: self.playback.stalls(),
                },
                Change::Resumed { after } => Event::Resumed { after },
                Change::Finished => Event::Finished,
            });
        }
    }

    fn latency(&self, now: Now) -> Option<Duration> {
        let millis = now.wall.millis() - self.playback.date_time(now.at)?.millis();
        Some(MediaTime::from_ticks(millis, 1000).duration())
    }
}

impl What {
    /// How far on the way to the picture this is.
    fn weight(&self) -> u8 {
        match self {
            Self::Join => 0,
            Self::Playlist => 1,
            Self::Init => 2,
            Self::Segment(_) => 3,
        }
    }
}

fn get(what: What, url: Url, patience: Duration) -> Action {
    Action::Get(Get {
        what,
        url,
        patience,
    })
}

fn wait_for_more(url: &Url, list: &List, now: Instant) -> Action {
    match list.reload_at() {
        at if now < at => Action::Wait(at),
        _ => get(What::Playlist, list.reload_url(url), list.patience()),
    }
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or(host.to_owned(), |port| format!("{host}:{port}"))
}

/// A stream that has just begun holds its joins back until it can be played, and a manager until
/// there is a node.
const JOIN: Duration = Duration::from_secs(20);

const SEGMENT: Duration = Duration::from_secs(10);

/// After so many a segment is left out.
const REFUSALS: u32 = 3;
