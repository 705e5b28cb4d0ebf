//! What a session makes of an answer that is of use: playlists, init sections, segments and parts, steering manifests.

use std::time::{Duration, Instant};

use bytes::Bytes;
use playlists::{
    Bitrate, WallTime,
    parse::{self, ListedSegment, MediaPlaylist, ParseError},
};
use reqwest::{StatusCode, Url, header::HeaderMap};

use super::{Now, Place, Session, host};
use crate::{
    net::{FetchError, Fetched},
    player::{
        event::{Event, SegmentReport},
        list::List,
        parts::Spot,
        sound::{self, Fault},
        steering::Steering,
        trouble::Failure,
    },
};

/// An answer, and where it came from once redirects were followed.
#[derive(Clone, Debug)]
pub struct Answer {
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Body,
}

/// Media that nobody looks into need not be kept.
#[derive(Clone, Debug)]
pub enum Body {
    Whole(Bytes),
    Counted(u64),
}

impl Body {
    fn octets(&self) -> u64 {
        match self {
            Self::Whole(body) => body.len() as u64,
            Self::Counted(octets) => *octets,
        }
    }

    /// Whether it is a sound container, if that can be told.
    fn sound(&self) -> Result<(), String> {
        match self {
            Self::Whole(body) => sound::container(body),
            Self::Counted(_) => Ok(()),
        }
    }
}

impl From<Fetched> for Answer {
    fn from(fetched: Fetched) -> Self {
        let Fetched { url, headers, body } = fetched;
        Self {
            url,
            headers,
            body: Body::Whole(body),
        }
    }
}

/// A part that has come, and of which no playlist has said yet how long it is.
#[derive(Debug)]
pub(super) struct Unlisted {
    pub(super) at: Spot,
    pub(super) answer: Answer,
    pub(super) asked: Instant,
}

/// What is known of media that has come.
pub(super) struct Taken {
    at: Spot,
    /// It is a part of a segment only.
    part: bool,
    timeline: u64,
    duration: Duration,
    date_time: Option<WallTime>,
}

impl Taken {
    pub(super) fn segment(segment: &ListedSegment) -> Self {
        Self {
            at: Spot::of(segment.number),
            part: false,
            timeline: segment.timeline,
            duration: segment.duration.duration(),
            date_time: segment.date_time,
        }
    }

    fn part(segment: &ListedSegment, part: usize) -> Option<Self> {
        let before = segment.parts.iter().take(part).map(|part| part.duration);
        let before = before.sum();
        Some(Self {
            at: Spot {
                number: segment.number,
                part,
            },
            part: true,
            timeline: segment.timeline,
            duration: segment.parts.get(part)?.duration.duration(),
            date_time: segment.date_time.map(|start| start.later(before)),
        })
    }
}

impl Session {
    pub(super) fn join(
        &mut self,
        url: &Url,
        fetched: Answer,
        asked: Instant,
    ) -> Result<(), Failure> {
        let from = fetched.url.clone();
        let text = text(&fetched)?;
        let steering = match self.config.steers {
            true => parse::steering(text).ok().flatten(),
            false => None,
        };
        if let Some(steering) = steering.and_then(|said| Steering::new(said, &from, asked)) {
            let url = steering.playlist().clone();
            self.steering = Some(steering);
            self.place = Place::Joining(url);
            return Ok(());
        }
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
                        list: Some(Box::new(list)),
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

    pub(super) fn reload(
        &mut self,
        fetched: Answer,
        asked: Instant,
        now: Now,
    ) -> Result<(), Failure> {
        let new = self.listed(fetched, asked)?;
        if let Place::Playing { list, .. } = &mut self.place {
            *list = Some(Box::new(new));
        }
        self.reconcile(asked);
        self.list_part(now);
        Ok(())
    }

    /// Goes on where steering leads.
    pub(super) fn steered(&mut self, answer: Result<Answer, FetchError>, now: Instant) {
        let Some(steering) = &mut self.steering else {
            return;
        };
        let to = match answer {
            Ok(Answer {
                url,
                body: Body::Whole(body),
                ..
            }) => steering.take(&body, &url, now),
            Ok(_) => None,
            Err(error) => {
                let gone = matches!(error, FetchError::Status { status, .. } if status == StatusCode::GONE);
                steering.failed(gone, now);
                None
            }
        };
        if let Some(url) = to {
            self.go(match self.place {
                Place::Joining(_) => Place::Joining(url),
                Place::Playing { .. } => Place::Playing { url, list: None },
            });
        }
    }

    /// Takes the part that came before it was listed, once it is.
    pub(super) fn list_part(&mut self, now: Now) {
        let (
            Some(unlisted),
            Place::Playing {
                list: Some(list), ..
            },
        ) = (&self.unlisted, &self.place)
        else {
            return;
        };
        let at = unlisted.at;
        let Some(segment) = list.listed(at.number) else {
            return;
        };
        let taken = Taken::part(segment, at.part);
        let over = segment.uri.is_some();
        if taken.is_none() && !over {
            return;
        }
        let Some(unlisted) = self.unlisted.take() else {
            return;
        };
        match taken {
            Some(taken) => self.take(taken, &unlisted.answer, unlisted.asked, now),
            // The segment is without its parts by now, or never had this one.
            None => self.next = Some(Spot::of(at.number + 1)),
        }
    }

    /// Reads a media playlist, and holds it against what was listed before.
    fn listed(&mut self, fetched: Answer, asked: Instant) -> Result<List, Failure> {
        let from = fetched.url.clone();
        let mut playlist = parse::media(text(&fetched)?).map_err(|error| Failure::Playlist {
            url: Box::new(from.clone()),
            error,
        })?;
        playlist.can_block_reload &= self.config.blocks_reload;
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
        let next = self.next.map(|spot| spot.number);
        let (Some(next), Some(first), Some(last)) = (next, list.first(), list.last()) else {
            return;
        };
        if next < first {
            let start = list.start().unwrap_or(first);
            self.next = Some(Spot::of(start));
            self.fault(Fault::Missed {
                from: next,
                to: start - 1,
            });
        } else if next > last + 1 {
            // A node may be a little behind the one before; one that stays behind has started over.
            let since = *self.rewound.get_or_insert(now);
            if now.saturating_duration_since(since) >= list.target() * 3 {
                self.next = list.start().map(Spot::of);
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

    pub(super) fn take_init(&mut self, url: &Url, fetched: &Answer) {
        if let Err(why) = fetched.body.sound() {
            self.fault(Fault::Init {
                uri: url.to_string(),
                why,
            });
        }
        self.init = Some(url.clone());
    }

    pub(super) fn take(&mut self, taken: Taken, fetched: &Answer, asked: Instant, now: Now) {
        let number = taken.at.number;
        self.next = Some(match taken.part {
            true => Spot {
                part: taken.at.part + 1,
                ..taken.at
            },
            false => Spot::of(number + 1),
        });
        let octets = fetched.body.octets();
        if octets == 0 {
            self.fault(Fault::Empty { number });
            return;
        }
        if let Err(why) = fetched.body.sound() {
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
        let duration = taken.duration;
        self.playback.append(duration, taken.date_time, now.at);
        let before = self.timeline.replace(taken.timeline);
        let report = SegmentReport {
            at: now.wall,
            number,
            part: taken.part.then_some(taken.at.part),
            node,
            rung: header("spillway-rung"),
            reason: header("spillway-reason"),
            estimate: header("spillway-estimate")
                .and_then(|kbps| kbps.parse().ok())
                .map(Bitrate::from_kbps),
            explained: header("spillway-decision").map(|decision| {
                let path = header("cmsd-dynamic").unwrap_or_default();
                format!("{decision}; path {path}")
            }),
            duration,
            octets,
            elapsed: now.at.saturating_duration_since(asked),
            buffer: self.playback.buffered(now.at),
            latency: self.latency(now),
            stalls: self.playback.stalls(),
            stalled: self.playback.stalled(now.at),
            discontinuity: before.is_some_and(|before| before != taken.timeline),
        };
        self.summary.count(&report);
        self.events.push_back(Event::Segment(Box::new(report)));
        self.notice();
    }
}

fn text(fetched: &Answer) -> Result<&str, Failure> {
    let text = match &fetched.body {
        Body::Whole(body) => str::from_utf8(body).ok(),
        Body::Counted(_) => None,
    };
    text.ok_or_else(|| {
        Failure::Fetch(FetchError::NotText {
            url: fetched.url.clone().into(),
        })
    })
}
