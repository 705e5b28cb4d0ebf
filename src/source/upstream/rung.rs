//! One rung of an upstream stream: its playlist is reloaded as it grows, and each object that it
//! lists is fetched once, in order. The part that comes next is asked for before it is there, where the playlist
//! names it.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use playlists::{
    MediaTime,
    parse::{ListedPart, ListedSegment, MediaPlaylist},
};
use reqwest::Url;
use tokio::sync::mpsc;

use super::{Lost, PATIENCE, Start, join, lists, plain::Shape};
use crate::net::Fetcher;

/// What a rung has come to. Every rung of a stream comes to the same in the same order.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Part(Share),
    /// The segment has no more parts.
    Complete {
        number: u64,
    },
    /// The stream has no more segments.
    Ended,
}

/// One rung's share of a part.
#[derive(Clone, Debug)]
pub(super) struct Share {
    pub part: usize,
    /// It is the whole segment, in one piece.
    pub whole: bool,
    /// What the playlist says of the segment.
    pub segment: ListedSegment,
    pub duration: MediaTime,
    pub independent: bool,
    /// The segment has no more parts. Not known of one that was listed before its segment was complete.
    pub last: bool,
    /// There is nothing in it that can be played.
    pub gap: bool,
    pub media: Bytes,
}

#[derive(Debug)]
pub(super) struct Follower {
    pub url: Url,
    pub fetcher: Fetcher,
    pub start: Start,
    /// What is made of its segments, and how it counts them; `None` of a node's, which are as they have to be.
    pub shape: Option<Arc<Shape>>,
}

/// What was fetched last.
#[derive(Clone, Copy)]
struct Place {
    number: u64,
    /// How many parts of segment `number` are here.
    parts: usize,
}

/// A part that was asked for before it was listed.
struct Ahead {
    uri: String,
    media: Bytes,
}

impl Follower {
    /// Sends everything from the start on, until the stream has ended or nobody listens.
    pub(super) async fn run(self, items: mpsc::Sender<Item>) -> Result<(), Lost> {
        let mut place = Place {
            number: self.start.from,
            parts: 0,
        };
        let (mut url, mut hint) = (self.url.clone(), None);
        loop {
            let (list, mut ahead) = self.look(url, hint.take()).await?;
            let before = (place.number, place.parts);
            if let Some(first) = list.segments.first()
                && first.number > place.number
            {
                return Err(Lost::Segment {
                    number: place.number,
                    why: "it is not listed any more",
                });
            }
            if let Some(last) = list.segments.last()
                && last.number + REWOUND < place.number
            {
                return Err(Lost::Rewound {
                    last: last.number,
                    wanted: place.number,
                });
            }
            for segment in list
                .segments
                .iter()
                .filter(|segment| segment.number >= self.start.from)
            {
                if segment.number < place.number {
                    continue;
                }
                if self
                    .fetch(segment, &mut place, &mut ahead, &items)
                    .await?
                    .is_none()
                {
                    return Ok(());
                }
            }
            if list.ended {
                // Nobody who listens is as good an end.
                let _ = items.send(Item::Ended).await;
                return Ok(());
            }
            if !list.can_block_reload {
                tokio::time::sleep(pause(&list, before != (place.number, place.parts))).await;
            }
            url = self.next(&list, place);
            hint = list.hint.filter(|_| list.can_block_reload);
        }
    }

    /// The playlist, and the part that was hinted at if it came.
    async fn look(
        &self,
        url: Url,
        hint: Option<String>,
    ) -> Result<(MediaPlaylist, Option<Ahead>), Lost> {
        let wanted = hint.clone();
        let hinted = async {
            let uri = hint?;
            let url = join(&self.url, &uri).ok()?;
            // What came to nothing is fetched again if it is listed all the same.
            let media = self.fetcher.media(url, PATIENCE).await.ok()?;
            Some(Ahead { uri, media })
        };
        let (mut hinted, mut list) = (pin!(hinted), pin!(self.list(url, PATIENCE * 2)));
        tokio::select! {
            ahead = &mut hinted => Ok((list.await?, ahead)),
            list = &mut list => {
                let list = list?;
                let mut parts = list.segments.iter().flat_map(|segment| &segment.parts);
                let listed = parts.any(|part| Some(&part.uri) == wanted.as_ref());
                // It is on its way; or it has come to nothing, or is still to come.
                let ahead = if listed { hinted.await } else { None };
                Ok((list, ahead))
            }
        }
    }

    async fn list(&self, url: Url, patience: Duration) -> Result<MediaPlaylist, Lost> {
        let mut list = lists(&self.fetcher, url, patience).await?;
        if let Some(shape) = &self.shape {
            shape.count(&mut list, &self.url);
        }
        Ok(list)
    }

    /// What to ask for next: the playlist that has one part more (RFC 8216bis section 6.2.5.2).
    fn next(&self, list: &MediaPlaylist, place: Place) -> Url {
        let mut url = self.url.clone();
        if list.can_block_reload {
            let shape = self.shape.as_ref();
            let number = shape.map_or(place.number, |shape| shape.theirs(place.number));
            let query = match list.part_target {
                Some(_) => format!("_HLS_msn={number}&_HLS_part={}", place.parts),
                None => format!("_HLS_msn={number}"),
            };
            let query = match url.query() {
                Some(own) => format!("{own}&{query}"),
                None => query,
            };
            url.set_query(Some(&query));
        }
        url
    }

    /// Fetches what is new of `segment`. `None`: nobody wants it any more.
    async fn fetch(
        &self,
        segment: &ListedSegment,
        place: &mut Place,
        ahead: &mut Option<Ahead>,
        items: &mpsc::Sender<Item>,
    ) -> Result<Option<()>, Lost> {
        let number = segment.number;
        let whole = number < self.start.parts_from || segment.parts.is_empty();
        let parts = match (&segment.uri, whole) {
            (Some(uri), true) => &[ListedPart {
                uri: uri.clone(),
                duration: segment.duration,
                independent: true,
            }][..],
            (None, true) => &[],
            (_, false) => &segment.parts,
        };
        if parts.len() < place.parts {
            return Err(Lost::Segment {
                number,
                why: "its parts are not listed any more",
            });
        }
        for part in &parts[place.parts..] {
            let media = match ahead.take_if(|ahead| ahead.uri == part.uri) {
                Some(ahead) => ahead.media,
                None => {
                    let url = join(&self.url, &part.uri)?;
                    match self.shape.as_ref().and_then(|shape| shape.kept(&url)) {
                        Some(kept) => kept,
                        None => self.fetcher.media(url, PATIENCE).await?,
                    }
                }
            };
            let made = match &self.shape {
                Some(shape) => shape.media(&self.fetcher, &self.url, segment, media).await,
                None => Ok(media),
            };
            let made = match made {
                Ok(made) => Some(made),
                Err(error @ Lost::Unplayable { .. }) => {
                    tracing::warn!(playlist = %self.url, %error, "there is a gap");
                    None
                }
                Err(lost) => return Err(lost),
            };
            let share = Share {
                last: segment.uri.is_some() && place.parts + 1 == parts.len(),
                part: place.parts,
                whole,
                segment: segment.clone(),
                duration: part.duration,
                independent: part.independent,
                gap: made.is_none(),
                media: made.unwrap_or_default(),
            };
            if items.send(Item::Part(share)).await.is_err() {
                return Ok(None);
            }
            place.parts += 1;
        }
        if segment.uri.is_some() {
            *place = Place {
                number: number + 1,
                parts: 0,
            };
            return Ok(items.send(Item::Complete { number }).await.ok());
        }
        Ok(Some(()))
    }
}

/// Until a playlist that cannot be waited for is worth another look (RFC 8216bis section 6.3.4): about when its
/// next segment is due; half a target duration if there was nothing new.
fn pause(list: &MediaPlaylist, news: bool) -> Duration {
    let target = Duration::from_secs(list.target_duration.max(1));
    let last = list.segments.last().map(|last| last.duration.duration());
    match last {
        Some(last) if news => last.clamp(target / 2, target),
        _ => target / 2,
    }
}

/// A playlist that ends so far before what was fetched last has begun anew; less may be an old copy from a cache.
const REWOUND: u64 = 3;
