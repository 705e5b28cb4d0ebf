//! A player's mind: what to ask for next, and what to make of the answer.
//!
//! Nothing here waits or asks: answers and time come in, requests and events go out. Plays one
//! variant; choosing among rungs is the server's business.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use playlists::{
    Bitrate, MediaTime, WallTime,
    parse::{self, ListedSegment, MediaPlaylist, ParseError},
};
use reqwest::Url;

use super::{
    Config, PlayerError,
    event::{Event, SegmentReport},
    list::List,
    playback::{Change, Playback},
    sound::{self, Fault},
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
    Playing { url: Url, list: Option<List> },
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
                What::Init => Ok(self.take_init(&get.url, &fetched)),
                What::Segment(segment) => Ok(self.take_segment(segment, &fetched, asked, now)),
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

    fn join(&mut self, url: &Url, fetched: Fetched, asked: Instant) -> Result<(), Failure> {
        let from = fetched.url.clone();
        let text = text(&fetched)?;
        match parse::multivariant(text) {
            Ok(variants) => {
                let uri = variants
                    .first()
                    .ok_or_else(|| Failure::NoVariant(Box::new(from.clone())))?
                    .uri
                    .as_str();
                let variant = from
                    .join(uri)
                    .map_err(|_| Failure::NoVariant(Box::new(from.clone())))?;
                self.place = Place::Joining(variant);
                Ok(())
            }
            Err(ParseError::NotMultivariant) => {
                let target = {
                    let list = self.listed(fetched, asked)?;
                    let target = list.target();
                    self.place = Place::Playing {
                        url: url.clone(),
                        list: Some(list),
                    };
                    target
                };
                self.summary.joins += 1;
                self.events.push_back(Event::Joined {
                    node: host(&from),
                    url: from.into(),
                    target,
                });
                self.reconcile(asked);
                Ok(())
            }
            Err(error) => Err(Failure::Playlist {
                url: Box::new(from),
                error,
            }),
        }
    }

    fn reload(&mut self, fetched: Fetched, asked: Instant) -> Result<(), Failure> {
        let new = self.listed(fetched, asked)?;
        if let Place::Playing { list, .. } = &mut self.place {
            *list = Some(new);
        }
        self.reconcile(asked);
        Ok(())
    }

    /// Reads a media playlist, and holds it against what was listed before.
    fn listed(&mut self, fetched: Fetched, asked: Instant) -> Result<List, Failure> {
        let from = fetched.url.clone();
        let playlist = parse::media(text(&fetched)?).map_err(|error| Failure::Playlist {
            url: Box::new(from.clone()),
            error,
        })?;
        let list = List::new(playlist, from, asked, self.known.as_ref());
        for fault in sound::playlist(self.known.as_ref(), &list.playlist) {
            self.fault(fault);
        }
        // A node that is behind must not make what was listed before unknown again.
        let last = |playlist: &MediaPlaylist| playlist.segments.last().map(|last| last.number);
        if self
            .known
            .as_ref()
            .is_none_or(|known| last(known) <= last(&list.playlist))
        {
            self.known = Some(list.playlist.clone());
        }
        Ok(list)
    }

    /// Goes where the playlist is, if it is not where the player was.
    fn reconcile(&mut self, now: Instant) {
        let Place::Playing {
            list: Some(list), ..
        } = &self.place
        else {
            return;
        };
        let (Some(next), Some(first), Some(last)) = (self.next, list.first(), list.last()) else {
            return;
        };
        if next < first {
            let start = list.start().unwrap_or(first);
            self.next = Some(start);
            self.fault(Fault::Missed {
                from: next,
                to: start - 1,
            });
        } else if next > last + 1 {
            // A node may be a little behind the one before; one that stays behind has started over.
            let since = *self.rewound.get_or_insert(now);
            if now.saturating_duration_since(since) >= list.target() * 3 {
                self.next = list.start();
                self.rewound = None;
                // What was listed under these numbers was something else.
                self.known = Some(list.playlist.clone());
                self.fault(Fault::Rewound {
                    last: next - 1,
                    found: last,
                });
            }
            return;
        }
        self.rewound = None;
    }

    fn take_init(&mut self, url: &Url, fetched: &Fetched) {
        if let Err(why) = sound::container(&fetched.body) {
            self.fault(Fault::Init {
                uri: url.to_string(),
                why,
            });
        }
        self.init = Some(url.clone());
    }

    fn take_segment(
        &mut self,
        segment: &ListedSegment,
        fetched: &Fetched,
        asked: Instant,
        now: Now,
    ) {
        let number = segment.number;
        self.next = Some(number + 1);
        if fetched.body.is_empty() {
            self.fault(Fault::Empty { number });
            return;
        }
        if let Err(why) = sound::container(&fetched.body) {
            self.fault(Fault::Broken { number, why });
        }
        let header = |name| {
            fetched
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let node = header("spillway-node").unwrap_or_else(|| host(&fetched.url));
        if let Some(from) = self.node.replace(node.clone()).filter(|from| *from != node) {
            self.events.push_back(Event::Moved {
                from,
                to: node.clone(),
            });
        }
        let duration = segment.duration.duration();
        self.playback.append(duration, segment.date_time, now.at);
        let before = self.timeline.replace(segment.timeline);
        let report = SegmentReport {
            at: now.wall,
            number,
            node,
            rung: header("spillway-rung"),
            reason: header("spillway-reason"),
            estimate: header("spillway-estimate")
                .and_then(|kbps| kbps.parse().ok())
                .map(Bitrate::from_kbps),
            duration,
            octets: fetched.body.len() as u64,
            elapsed: now.at.saturating_duration_since(asked),
            buffer: self.playback.buffered(now.at),
            latency: self.latency(now),
            stalls: self.playback.stalls(),
            stalled: self.playback.stalled(now.at),
            discontinuity: before.is_some_and(|before| before != segment.timeline),
        };
        self.summary.count(&report);
        self.events.push_back(Event::Segment(Box::new(report)));
        self.notice();
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

fn text(fetched: &Fetched) -> Result<&str, Failure> {
    let not_text = |_| {
        Failure::Fetch(FetchError::NotText {
            url: fetched.url.clone().into(),
        })
    };
    str::from_utf8(&fetched.body).map_err(not_text)
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
