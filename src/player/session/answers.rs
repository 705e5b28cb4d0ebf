//! What a session makes of an answer that is of use: playlists, init sections and segments.

use std::time::Instant;

use playlists::{
    Bitrate,
    parse::{self, ListedSegment, MediaPlaylist, ParseError},
};
use reqwest::Url;

use super::{Now, Place, Session, host};
use crate::{
    net::{FetchError, Fetched},
    player::{
        event::{Event, SegmentReport},
        list::List,
        sound::{self, Fault},
        trouble::Failure,
    },
};

impl Session {
    pub(super) fn join(
        &mut self,
        url: &Url,
        fetched: Fetched,
        asked: Instant,
    ) -> Result<(), Failure> {
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

    pub(super) fn reload(&mut self, fetched: Fetched, asked: Instant) -> Result<(), Failure> {
        let new = self.listed(fetched, asked)?;
        if let Place::Playing { list, .. } = &mut self.place {
            *list = Some(Box::new(new));
        }
        self.reconcile(asked);
        Ok(())
    }

    /// Reads a media playlist, and holds it against what was listed before.
    fn listed(&mut self, fetched: Fetched, asked: Instant) -> Result<List, Failure> {
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

    pub(super) fn take_init(&mut self, url: &Url, fetched: &Fetched) {
        if let Err(why) = sound::container(&fetched.body) {
            self.fault(Fault::Init {
                uri: url.to_string(),
                why,
            });
        }
        self.init = Some(url.clone());
    }

    pub(super) fn take_segment(
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
            explained: header("spillway-decision").map(|decision| {
                let path = header("cmsd-dynamic").unwrap_or_default();
                format!("{decision}; path {path}")
            }),
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
}

fn text(fetched: &Fetched) -> Result<&str, Failure> {
    let not_text = |_| {
        Failure::Fetch(FetchError::NotText {
            url: fetched.url.clone().into(),
        })
    };
    str::from_utf8(&fetched.body).map_err(not_text)
}
