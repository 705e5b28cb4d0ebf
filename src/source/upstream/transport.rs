//! Another origin's segments of MPEG-TS: each is made into CMAF by itself, whoever asks for it and in whatever order.
//!
//! What has to be the same in all rungs is looked at once, in a segment of each; what has to be the same in every segment is looked at whenever
//! one is made. Nothing is decoded.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};
use media::{
    Error,
    remux::{self, Programme, Remuxed, Wanted},
};
use playlists::{Ladder, parse::ListedSegment};
use reqwest::Url;

use super::{Lost, PATIENCE, join, now};
use crate::net::Fetcher;

/// One rung, or one rendition of sound.
#[derive(Debug)]
pub(super) struct Transport {
    programme: Programme,
    clock: Arc<Clock>,
    /// By its times all others are judged.
    leads: bool,
    /// What was looked at, until it is wanted: it is not asked for twice.
    kept: Mutex<Option<(Url, Bytes)>>,
}

/// A segment as it is published.
#[derive(Debug)]
pub(super) struct Made {
    pub media: Bytes,
    /// When it begins, and how far off another rung's may be, in 1/90000 s.
    pub begins: Option<(u64, u64)>,
}

impl Made {
    pub(super) fn as_it_is(media: Bytes) -> Self {
        Self {
            media,
            begins: None,
        }
    }

    /// Whether the segments can take one another's place.
    pub(super) fn agree(one: Option<(u64, u64)>, other: Option<(u64, u64)>) -> bool {
        match (one, other) {
            (Some((one, _)), Some((other, off))) => one.abs_diff(other) <= off,
            _ => true,
        }
    }
}

/// When segments begin, for all rungs of a stream.
#[derive(Debug, Default)]
pub(super) struct Clock(Mutex<Times>);

#[derive(Debug, Default)]
struct Times {
    /// One segment of each stretch without a discontinuity, by its discontinuity sequence number.
    near: BTreeMap<u64, u64>,
    /// Of the rung that leads, by number.
    lead: BTreeMap<u64, (u64, u64)>,
}

impl Clock {
    /// About when `segment` begins. Times of 33 bits begin anew every 26.5 hours; ours do not. The first of a stretch is taken to
    /// begin at its date, so that all relays agree, and one that is started again with itself.
    fn near(&self, segment: &ListedSegment) -> u64 {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = times.near.get(&segment.timeline).copied();
        known.unwrap_or_else(|| {
            let date = segment.date_time.unwrap_or_else(now).millis();
            u64::try_from(date)
                .unwrap_or(0)
                .saturating_mul(TICKS / 1000)
        })
    }

    fn takes(&self, segment: &ListedSegment, begins: (u64, u64), leads: bool) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.near.insert(segment.timeline, begins.0);
        if leads {
            times.lead.insert(segment.number, begins);
        }
        while times.near.len() > STRETCHES {
            times.near.pop_first();
        }
        while times.lead.len() > REMEMBERED {
            times.lead.pop_first();
        }
    }

    /// When the leading rung's segment of this number begins, if that is known.
    fn lead(&self, number: u64) -> Option<(u64, u64)> {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.lead.get(&number).copied()
    }
}

impl Transport {
    /// Looks at `segment` of the playlist at `base`: the leading rung's in whole, of others the beginning.
    pub(super) async fn look(
        fetcher: &Fetcher,
        base: &Url,
        segment: &ListedSegment,
        clock: &Arc<Clock>,
        leads: bool,
    ) -> Result<Self, Lost> {
        let number = segment.number;
        let uri = segment.uri.as_deref().unwrap_or_default();
        let url = join(base, uri)?;
        let octets = match leads {
            true => fetcher.media(url.clone(), PATIENCE).await?,
            false => beginning(fetcher, url.clone()).await?,
        };
        let unfit = |why: String| Lost::Unfit(format!("{url}: {why}"));
        if octets.first() != Some(&SYNC) {
            return Err(unfit(NEITHER.to_owned()));
        }
        let programme = remux::programme(&octets).map_err(|error| unfit(error.to_string()))?;
        if programme.has_pictures && !programme.begins_with_key {
            return Err(unfit(format!(
                "segment {number} does not begin with a key frame with its parameter sets, so that nobody could begin with it or change to it"
            )));
        }
        Ok(Self {
            programme,
            clock: clock.clone(),
            leads,
            kept: Mutex::new(leads.then_some((url, octets))),
        })
    }

    /// The init section that all rungs share, which are `of` a ladder; an error if they are not alike.
    pub(super) fn init(of: &[Self], ladder: &Ladder) -> Result<Bytes, Lost> {
        let programmes = || of.iter().map(|transport| &transport.programme);
        let first = programmes().next().ok_or(Lost::Follower)?;
        for (rung, own) in ladder.rungs().iter().zip(programmes()) {
            let unfit = |what: &str| Err(Lost::Unfit(format!("rung {}: {what}", rung.name)));
            if !own.has_pictures {
                return unfit(
                    "there are no pictures in its segments; a relay takes sound alone only beside pictures",
                );
            }
            if own.sound != first.sound {
                return unfit(
                    "its sound is another than the cheapest's; a player could not go from one to the other",
                );
            }
        }
        let area = |programme: &&Programme| {
            programme
                .size()
                .map(|(width, height)| u64::from(width) * u64::from(height))
        };
        let largest = programmes().max_by_key(area).unwrap_or(first);
        made(largest)
    }

    /// The init section of a rendition of sound.
    pub(super) fn own_init(&self) -> Result<Bytes, Lost> {
        if self.programme.has_pictures || self.programme.sound.is_none() {
            return Err(Lost::Unfit(
                "a rendition of sound has pictures in its segments, or no sound".to_owned(),
            ));
        }
        made(&self.programme)
    }

    /// What is kept of this object, if it is.
    pub(super) fn kept(&self, url: &Url) -> Option<Bytes> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, octets) = kept.take_if(|(own, _)| own == url)?;
        Some(octets)
    }

    /// Makes CMAF of a segment. It copies megabytes, so that is not done where others wait.
    pub(super) async fn make(&self, segment: &ListedSegment, octets: Bytes) -> Result<Made, Lost> {
        let (number, programme) = (segment.number, self.programme.clone());
        let near = self.clock.near(segment);
        let length = u64::try_from(segment.duration.to_ticks(TICKS as u32)).unwrap_or(0);
        let remuxed = tokio::task::spawn_blocking(move || {
            let wanted = Wanted {
                programme: &programme,
                near,
                length,
            };
            remux::remux(&octets, &wanted)
        });
        let remuxed = remuxed.await.map_err(|_| Lost::Follower)?;
        let Remuxed {
            media,
            begins,
            step,
            damaged,
        } = remuxed.map_err(|error| match error {
            // Another encoder; it is looked at anew.
            Error::Sound { .. } | Error::Ts { .. } => {
                Lost::Unfit(format!("segment {number}: {error}"))
            }
            _ => Lost::Unplayable { number, error },
        })?;
        if damaged > 0 {
            tracing::warn!(
                number,
                damaged,
                "a segment of the origin is damaged; what cannot be read is left out"
            );
        }
        let begins = (begins, (step / 2).max(ROUNDING));
        self.clock.takes(segment, begins, self.leads);
        Ok(Made {
            media: media.into(),
            begins: self.programme.has_pictures.then_some(begins),
        })
    }

    /// Whether a segment that was made can take the place of the leading rung's, as far as that is known.
    pub(super) fn follows_lead(&self, number: u64, made: &Made) -> bool {
        Made::agree(self.clock.lead(number), made.begins)
    }
}

fn made(programme: &Programme) -> Result<Bytes, Lost> {
    let init = remux::init(programme).map_err(|error| Lost::Unfit(error.to_string()))?;
    Ok(init.into())
}

/// So much of an object as it takes to know what is in it.
async fn beginning(fetcher: &Fetcher, url: Url) -> Result<Bytes, Lost> {
    let enough = async {
        let mut incoming = fetcher.open(url.clone()).await?;
        let (mut octets, mut looked) = (BytesMut::new(), 0);
        while let Some(chunk) = incoming.chunk().await? {
            octets.extend_from_slice(&chunk);
            let known = |octets: &[u8]| remux::programme(octets).is_ok_and(|known| known.complete);
            // Each look begins anew, so there are few.
            if octets.len() >= looked * 2 + LOOK {
                looked = octets.len();
                if known(&octets) {
                    break;
                }
            }
        }
        Ok(octets.freeze())
    };
    let late = |_| crate::net::FetchError::Late {
        url: Box::new(url.clone()),
        patience: PATIENCE,
    };
    tokio::time::timeout(PATIENCE, enough).await.map_err(late)?
}

const NEITHER: &str =
    "it is neither MPEG-TS, nor is there an EXT-X-MAP as CMAF has it; a relay takes these two";

/// The first octet of each packet.
pub(super) const SYNC: u8 = 0x47;
const TICKS: u64 = 90_000;
/// Times are rounded to that.
const ROUNDING: u64 = 2;
const LOOK: usize = 64 * 1024;
const STRETCHES: usize = 8;
/// More segments than any playlist that a relay keeps.
const REMEMBERED: usize = 256;
