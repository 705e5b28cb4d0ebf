//! A player's mind: what to ask for next, and what to make of the answer.
//!
//! Nothing here waits or asks: answers and time come in, requests and events go out. Plays one
//! variant; choosing among rungs is the server's business. Which requests may be under way together is
//! `lanes`' business.

mod answers;
#[cfg(test)]
mod by_parts;
mod lanes;
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

pub use self::answers::{Answer, Body};
use self::{
    answers::{Taken, Unlisted},
    lanes::Lanes,
};
use super::{
    Config, PlayerError,
    event::Event,
    list::List,
    parts::{Piece, Spot},
    playback::{Change, Playback},
    sound::Fault,
    steering::Steering,
    tally::Summary,
    trouble::{Failure, Trouble},
};
use crate::net::FetchError;

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
    /// Requests of an earlier one are of no use any more; see [`Session::awaits`].
    round: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A multivariant playlist, or a media playlist in its place.
    Join,
    Playlist,
    Init,
    Segment(Box<ListedSegment>),
    /// Of a segment, counted from 0. One that is hinted only is held back until it is there.
    Part {
        number: u64,
        part: usize,
    },
    /// Where content steering leads.
    Steering,
}

/// One viewing of one stream.
#[derive(Debug)]
pub struct Session {
    start: Url,
    config: Config,
    place: Place,
    /// What was listed last, by whichever node.
    known: Option<MediaPlaylist>,
    /// What is fetched next.
    next: Option<Spot>,
    /// A part that came before any playlist said how long it is.
    unlisted: Option<Unlisted>,
    lanes: Lanes,
    steering: Option<Steering>,
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
            unlisted: None,
            lanes: Lanes::default(),
            steering: None,
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

    /// What to do next. Nothing is asked for before the answer to what was asked for before is in; but by parts
    /// ([`Config::parts`]) this may be called while something is under way, and knows it.
    pub fn next(&mut self, now: Instant) -> Action {
        if self.playback.is_finished() {
            return Action::Done;
        }
        if let Some(until) = self.trouble.pause().filter(|until| now < *until) {
            return Action::Wait(until);
        }
        if self.lanes.list_is_free()
            && let Some(url) = self
                .steering
                .as_ref()
                .and_then(|steering| steering.due(now))
        {
            return self.ask(What::Steering, url, STEERING, now);
        }
        match &self.place {
            Place::Joining(url) => self.ask(What::Join, url.clone(), JOIN, now),
            Place::Playing { url, list: None } => self.ask(What::Playlist, url.clone(), JOIN, now),
            Place::Playing {
                url,
                list: Some(list),
            } => {
                let step = self.step(url, list, now);
                if let Some(spot) = step.at {
                    self.next = Some(spot);
                }
                match step.what {
                    Wish::Get(what, url, patience) => self.ask(what, url, patience, now),
                    Wish::Wait(until) => {
                        let due = self.steering.as_ref().and_then(Steering::next);
                        let due = due.filter(|_| self.lanes.list_is_free());
                        Action::Wait(due.map_or(until, |due| until.min(due)))
                    }
                    Wish::End => {
                        self.playback.end(now);
                        self.notice();
                        self.playback.runs_dry().map_or(Action::Done, Action::Wait)
                    }
                }
            }
        }
    }

    /// The next step along `list`: media if there is some to ask for, else another playlist.
    fn step(&self, url: &Url, list: &List, now: Instant) -> Step {
        let by_parts = self.config.parts && list.has_parts();
        let start = || {
            let by_part = by_parts.then(|| list.start_by_parts()).flatten();
            by_part.or(list.start().map(Spot::of))
        };
        let Some(spot) = self.next.or_else(start) else {
            return Step::more(None, url, list, by_parts, now);
        };
        let (spot, piece) = if by_parts {
            list.piece(spot)
        } else {
            // What is left of a segment cannot be had here.
            let spot = Spot::of(spot.number + u64::from(spot.part > 0));
            let segment = list.segment(spot.number);
            (spot, segment.map_or(Piece::Nothing, Piece::Segment))
        };
        let free = self.lanes.media_is_free() && self.unlisted.is_none();
        let what = match piece {
            Piece::Nothing if list.playlist.ended && free => Wish::End,
            Piece::Segment(segment) if free => {
                let uri = segment.uri.as_deref().unwrap_or_default();
                let what = What::Segment(Box::new(segment.clone()));
                self.fetch(list, segment.map.as_deref(), what, uri, now)
            }
            Piece::Part(segment, part) if free => {
                let Spot { number, part: at } = spot;
                let what = What::Part { number, part: at };
                self.fetch(list, segment.map.as_deref(), what, &part.uri, now)
            }
            Piece::Hinted(uri) if free && list.playlist.can_block_reload => {
                let Spot { number, part } = spot;
                Wish::Get(What::Part { number, part }, list.url(uri), list.patience())
            }
            _ => return Step::more(Some(spot), url, list, by_parts, now),
        };
        Step {
            at: Some(spot),
            what,
        }
    }

    /// Takes the answer to what was `asked` for at that time.
    pub fn answer(
        &mut self,
        get: Get,
        asked: Instant,
        answer: Result<Answer, FetchError>,
        now: Now,
    ) -> Result<(), PlayerError> {
        self.advance(now.at);
        if !self.lanes.over(&get) {
            return Ok(());
        }
        let taken = match answer {
            answer if get.what == What::Steering => {
                self.steered(answer, now.at);
                return Ok(());
            }
            Err(error) => Err(Failure::Fetch(error)),
            Ok(answer) => match &get.what {
                What::Join => self.join(&get.url, answer, asked),
                What::Playlist => self.reload(answer, asked, now),
                What::Init => {
                    self.take_init(&get.url, &answer);
                    Ok(())
                }
                What::Segment(segment) => {
                    let piece = Taken::segment(segment);
                    self.take(piece, &answer, asked, now);
                    Ok(())
                }
                What::Part { number, part } => {
                    self.unlisted = Some(Unlisted {
                        at: Spot {
                            number: *number,
                            part: *part,
                        },
                        answer,
                        asked,
                    });
                    self.list_part(now);
                    Ok(())
                }
                What::Steering => Ok(()),
            },
        };
        match taken {
            Ok(()) => self.trouble.over(get.what.weight()),
            Err(failure) => self.failed(get, failure, now.at)?,
        }
        Ok(())
    }

    /// Media of `list`, and its init section first if that is another one.
    fn fetch(&self, list: &List, map: Option<&str>, what: What, uri: &str, now: Instant) -> Wish {
        let buffered = self.playback.buffered(now);
        if self.playback.startup().is_some() && buffered > self.config.max_buffer {
            return Wish::Wait(now + (buffered - self.config.max_buffer));
        }
        let patience = SEGMENT.max(list.target() * 5);
        if let Some(init) = map.and_then(|map| list.base.join(map).ok())
            && self.init.as_ref() != Some(&init)
        {
            return Wish::Get(What::Init, init, patience);
        }
        Wish::Get(what, list.url(uri), patience)
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
            if let Some(url) = self.steering.as_mut().and_then(Steering::elsewhere) {
                self.go(Place::Playing { url, list: None });
                self.trouble.elsewhere(now);
                return Ok(());
            }
            let node = self.node.clone().unwrap_or_else(|| host(&get.url));
            self.events.push_back(Event::Rejoining {
                node,
                error: failure.to_string(),
            });
            self.go(Place::Joining(self.start.clone()));
            self.steering = None;
            self.trouble.elsewhere(now);
            return Ok(());
        }
        if get.what == What::Join {
            // The variant of a node that is gone: whoever sent the player there knows another.
            self.go(Place::Joining(self.start.clone()));
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
        let number = match &get.what {
            What::Segment(segment) => segment.number,
            What::Part { number, .. } => *number,
            _ => return,
        };
        if !matches!(failure, Failure::Fetch(FetchError::Status { .. })) {
            return;
        }
        if let Place::Playing { list, .. } = &mut self.place {
            *list = None;
        }
        let times = self.trouble.refused(number);
        if times >= REFUSALS {
            self.next = Some(Spot::of(number + 1));
            self.fault(Fault::Refused { number, times });
        }
    }

    /// From now on there; what is under way was for another place.
    fn go(&mut self, place: Place) {
        self.place = place;
        self.lanes.begin_anew();
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
            Self::Segment(_) | Self::Part { .. } => 3,
            // It is nothing that playing depends on.
            Self::Steering => 0,
        }
    }
}

/// What comes next along a playlist.
struct Step {
    /// The place that it is about.
    at: Option<Spot>,
    what: Wish,
}

enum Wish {
    Get(What, Url, Duration),
    Wait(Instant),
    End,
}

impl Step {
    /// The playlist again, when it is time.
    fn more(at: Option<Spot>, url: &Url, list: &List, by_parts: bool, now: Instant) -> Self {
        let what = match list.reload_at() {
            at if now < at => Wish::Wait(at),
            _ => Wish::Get(
                What::Playlist,
                list.reload_url(url, by_parts),
                list.patience(),
            ),
        };
        Self { at, what }
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

/// A steering manifest that does not come soon is as good as none.
const STEERING: Duration = Duration::from_secs(5);

const SEGMENT: Duration = Duration::from_secs(10);

/// After so many a segment is left out.
const REFUSALS: u32 = 3;
