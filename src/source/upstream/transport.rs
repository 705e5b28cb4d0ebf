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
    ts::{TICKS, read::SYNC},
};
use playlists::{Ladder, parse::ListedSegment};
use reqwest::Url;
use tokio::sync::watch;

use super::{Lost, PATIENCE, join};
use crate::{clock::wall, net::Fetcher};

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

/// What all rungs of a stream share.
#[derive(Debug)]
pub(super) struct Clock {
    /// When a segment of each stretch without a discontinuity begins, by its discontinuity sequence number.
    near: Mutex<BTreeMap<u64, u64>>,
    /// Of the rung that leads, by number; `None` of what could not be played.
    lead: watch::Sender<BTreeMap<u64, Option<Arc<Remuxed>>>>,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            near: Mutex::default(),
            lead: watch::channel(BTreeMap::new()).0,
        }
    }
}

impl Clock {
    /// About when `segment` begins. Times of 33 bits begin anew every 26.5 hours; ours do not. The first of a stretch is taken to
    /// begin at its date, so that all relays agree, and one that is started again with itself.
    fn near(&self, segment: &ListedSegment) -> u64 {
        let near = self.near.lock().unwrap_or_else(PoisonError::into_inner);
        let known = near.get(&segment.timeline).copied();
        known.unwrap_or_else(|| {
            let date = segment.date_time.unwrap_or_else(wall).millis();
            u64::try_from(date)
                .unwrap_or(0)
                .saturating_mul(u64::from(TICKS) / 1000)
        })
    }

    fn begins(&self, segment: &ListedSegment, begins: u64) {
        let mut near = self.near.lock().unwrap_or_else(PoisonError::into_inner);
        near.insert(segment.timeline, begins);
        while near.len() > STRETCHES {
            near.pop_first();
        }
    }

    /// What was known of this segment and of later ones is of another attempt.
    pub(super) fn forget_from(&self, number: u64) {
        self.lead.send_modify(|lead| drop(lead.split_off(&number)));
    }

    fn leads(&self, number: u64, remuxed: Option<Remuxed>) {
        self.lead.send_modify(|lead| {
            lead.insert(number, remuxed.map(Arc::new));
            while lead.len() > REMEMBERED {
                lead.pop_first();
            }
        });
    }

    /// The leading rung's segment of this number, which is waited for if it is still to come.
    async fn lead(&self, number: u64) -> Option<Arc<Remuxed>> {
        let mut lead = self.lead.subscribe();
        let come =
            lead.wait_for(|lead| lead.keys().next_back().is_some_and(|last| *last >= number));
        let come = tokio::time::timeout(PATIENCE, come).await;
        let found = come.ok()?.ok()?.get(&number).cloned();
        found.flatten()
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

    /// Makes CMAF of a segment, whose pictures have to be shown from when the leading rung's are.
    pub(super) async fn make(&self, segment: &ListedSegment, octets: Bytes) -> Result<Bytes, Lost> {
        let number = segment.number;
        let lead = match self.leads {
            true => None,
            false => self.clock.lead(number).await,
        };
        let remuxed = self.remux(segment, octets, lead.clone()).await;
        if self.leads && remuxed.is_err() {
            self.clock.leads(number, None);
        }
        let mut remuxed = remuxed?;
        if let Some(lead) = lead
            && self.programme.has_pictures
            && lead.begins.abs_diff(remuxed.begins) > (lead.step / 2).max(ROUNDING)
        {
            let why = "its pictures are not shown when the cheapest rung's are";
            return Err(Lost::Segment { number, why });
        }
        if remuxed.damaged > 0 {
            let damaged = remuxed.damaged;
            tracing::warn!(
                number,
                damaged,
                "a segment of the origin is damaged; what cannot be read is left out"
            );
        }
        self.clock.begins(segment, remuxed.begins);
        let media = std::mem::take(&mut remuxed.media);
        if self.leads {
            self.clock.leads(number, Some(remuxed));
        }
        Ok(media.into())
    }

    /// It copies megabytes, so that is not done where others wait.
    async fn remux(
        &self,
        segment: &ListedSegment,
        octets: Bytes,
        lead: Option<Arc<Remuxed>>,
    ) -> Result<Remuxed, Lost> {
        let (number, programme) = (segment.number, self.programme.clone());
        let near = self.clock.near(segment);
        let length = u64::try_from(segment.duration.to_ticks(TICKS)).unwrap_or(0);
        let remuxed = tokio::task::spawn_blocking(move || {
            // Of a rendition there is nothing that could stand for what it lacks.
            let lead = lead.filter(|_| programme.has_pictures);
            let wanted = Wanted {
                programme: &programme,
                near,
                length,
                lead: lead.as_ref().map(|lead| &lead.sound),
            };
            remux::remux(&octets, &wanted)
        });
        let remuxed = remuxed.await.map_err(|_| Lost::Follower)?;
        remuxed.map_err(|error| match error {
            // Another encoder; it is looked at anew.
            Error::Sound { .. } | Error::Ts { .. } => {
                Lost::Unfit(format!("segment {number}: {error}"))
            }
            _ => Lost::Unplayable { number, error },
        })
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

/// Times are rounded to that.
const ROUNDING: u64 = 2;
const LOOK: usize = 64 * 1024;
const STRETCHES: usize = 8;
/// So many segments' sound is kept: more than a node keeps segments of its own accord.
const REMEMBERED: usize = 32;
