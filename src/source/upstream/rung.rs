//! One rung of an upstream stream: its playlist is reloaded as it grows, and each object that it
//! lists is fetched once, in order.

use std::time::Duration;

use bytes::Bytes;
use playlists::{
    MediaTime,
    parse::{self, ListedPart, ListedSegment, MediaPlaylist},
};
use reqwest::Url;
use tokio::sync::mpsc;

use super::{Lost, PATIENCE, Start, join};
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
    /// What the playlist says of the segment.
    pub segment: ListedSegment,
    pub duration: MediaTime,
    pub independent: bool,
    /// The segment has no more parts. Not known of one that was listed before its segment was complete.
    pub last: bool,
    pub media: Bytes,
}

pub(super) struct Follower {
    pub url: Url,
    pub fetcher: Fetcher,
    pub start: Start,
}

/// What was fetched last.
#[derive(Clone, Copy)]
struct Place {
    number: u64,
    /// How many parts of segment `number` are here.
    parts: usize,
}

impl Follower {
    /// Sends everything from the start on, until the stream has ended or nobody listens.
    pub(super) async fn run(self, items: mpsc::Sender<Item>) -> Result<(), Lost> {
        let mut place = Place {
            number: self.start.from,
            parts: 0,
        };
        let mut url = self.url.clone();
        loop {
            let list = self.list(url, PATIENCE * 2).await?;
            let before = (place.number, place.parts);
            if let Some(first) = list.segments.first()
                && first.number > place.number
            {
                return Err(Lost::Segment {
                    number: place.number,
                    why: "it is not listed any more",
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
                if self.fetch(segment, &mut place, &items).await?.is_none() {
                    return Ok(());
                }
            }
            if list.ended {
                // Nobody who listens is as good an end.
                let _ = items.send(Item::Ended).await;
                return Ok(());
            }
            if !list.can_block_reload && before == (place.number, place.parts) {
                tokio::time::sleep(Duration::from_secs(list.target_duration.max(1)) / 2).await;
            }
            url = self.next(&list, place);
        }
    }

    async fn list(&self, url: Url, patience: Duration) -> Result<MediaPlaylist, Lost> {
        let (url, text) = self.fetcher.text(url, patience).await?;
        parse::media(&text).map_err(|error| Lost::Playlist {
            url: url.into(),
            error,
        })
    }

    /// What to ask for next: the playlist that has one part more (RFC 8216bis section 6.2.5.2).
    fn next(&self, list: &MediaPlaylist, place: Place) -> Url {
        let mut url = self.url.clone();
        if list.can_block_reload {
            let query = match list.part_target {
                Some(_) => format!("_HLS_msn={}&_HLS_part={}", place.number, place.parts),
                None => format!("_HLS_msn={}", place.number),
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
            let media = self
                .fetcher
                .get(join(&self.url, &part.uri)?, PATIENCE)
                .await?
                .body;
            let share = Share {
                last: segment.uri.is_some() && place.parts + 1 == parts.len(),
                part: place.parts,
                segment: segment.clone(),
                duration: part.duration,
                independent: part.independent,
                media,
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
