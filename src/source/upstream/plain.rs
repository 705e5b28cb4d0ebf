//! An HLS origin that is none of ours: its ladder is read from its multivariant playlist, its rungs get names, and its
//! segments are made such that any rung can follow any other.
//!
//! Others give each rung an init section of its own, which most players do not survive a change of. So a rung's
//! parameter sets are put into its segments, and one init section stands for all. That takes H.264 in CMAF
//! (or fragmented MP4), or in MPEG-TS (`transport`); other codecs and encrypted media are refused, and it is said.

mod shapes;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use media::{Init, ts::read::SYNC};
use playlists::{
    Bitrate, Epoch, Ladder, Rung, RungName, WallTime,
    parse::{self, ListedSegment, MediaPlaylist, ParseError, Variant},
    rendition::Kind,
};
use reqwest::Url;
use sha2::{Digest, Sha256};

use self::shapes::{MIXED, probe, shapes, sound, transports};
use super::{
    Glance, Lost, PATIENCE, Start, describe, join, lists,
    transport::{Clock, Transport},
};
use crate::net::Fetcher;

/// What one rung's playlist and segments have to be made into.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Its parameter sets go into its segments.
    in_band: bool,
    /// A segment of the rung that all others are counted by.
    mark: Option<(u64, WallTime)>,
    /// What our numbers are ahead of its own, once that is known; else [`UNKNOWN`].
    ahead: AtomicI64,
    /// Its init sections, by URI.
    inits: Mutex<BTreeMap<String, Arc<Init>>>,
    /// Its segments are MPEG-TS.
    transport: Option<Transport>,
}

/// How the init section that all rungs share is made.
#[derive(Clone, Debug)]
pub(super) struct Mold {
    in_band: bool,
    /// Of the largest picture.
    size: (u16, u16),
    /// So that an origin that begins anew with the same numbers gets other names.
    salt: u64,
    /// What is made here because the origin has none: of the rungs, then of each rendition.
    made: Vec<Option<Bytes>>,
}

impl Mold {
    /// The init section of the rungs (0) or of a rendition (from 1 on), if the origin has none.
    pub(super) fn made(&self, place: usize) -> Option<Bytes> {
        self.made.get(place).cloned().flatten()
    }

    pub(super) fn of(&self, own: Bytes) -> Result<(Epoch, Bytes), Lost> {
        let shared = match self.in_band {
            true => media::init_in_band(&own, self.size)
                .map_err(|error| Lost::Unfit(error.to_string()))?
                .into(),
            false => own,
        };
        let mut hash = Sha256::new();
        hash.update(&shared);
        hash.update(self.salt.to_be_bytes());
        let hash = hash.finalize();
        let first = hash
            .iter()
            .take(8)
            .fold(0, |all: u64, octet| all << 8 | u64::from(*octet));
        // As JSON's numbers go.
        Ok((Epoch(first >> 11), shared))
    }
}

impl Shape {
    /// Of a rung or a rendition whose segments are counted as those in the playlist of the rung that `leads`.
    fn counted(lead: &MediaPlaylist, leads: bool) -> Self {
        Self {
            mark: mark(lead).filter(|_| !leads),
            ahead: AtomicI64::new(if leads { 0 } else { UNKNOWN }),
            ..Self::default()
        }
    }

    /// Numbers the segments as the first rung does: some origins count each rung for itself.
    /// URIs of init sections count from `base` there, and from nowhere afterwards.
    pub(super) fn count(&self, list: &mut MediaPlaylist, base: &Url) {
        if self.ahead.load(Relaxed) == UNKNOWN {
            let ahead = self.mark.and_then(|mark| ahead(list, mark)).unwrap_or(0);
            self.ahead.store(ahead, Relaxed);
        }
        let ahead = self.ahead.load(Relaxed);
        for segment in &mut list.segments {
            segment.number = segment.number.saturating_add_signed(ahead);
            let map = segment.map.take();
            segment.map = map.map(|map| base.join(&map).map_or(map, String::from));
            if self.transport.is_some() {
                segment.map = Some(MADE.to_owned());
            }
        }
    }

    /// What it calls the segment of this number.
    pub(super) fn theirs(&self, number: u64) -> u64 {
        match self.ahead.load(Relaxed) {
            UNKNOWN => number,
            ahead => number.saturating_add_signed(-ahead),
        }
    }

    /// What is here already of this object.
    pub(super) fn kept(&self, url: &Url) -> Option<Bytes> {
        self.transport.as_ref()?.kept(url)
    }

    /// A segment as it is published here. URIs count from `base`.
    pub(super) async fn media(
        &self,
        fetcher: &Fetcher,
        base: &Url,
        segment: &ListedSegment,
        octets: Bytes,
    ) -> Result<Bytes, Lost> {
        if let Some(transport) = &self.transport {
            return transport.make(segment, octets).await;
        }
        self.with_sets(fetcher, base, segment, octets).await
    }

    async fn with_sets(
        &self,
        fetcher: &Fetcher,
        base: &Url,
        segment: &ListedSegment,
        octets: Bytes,
    ) -> Result<Bytes, Lost> {
        let number = segment.number;
        if octets.first() == Some(&SYNC) {
            return Err(Lost::Unfit(MIXED.to_owned()));
        }
        if !self.in_band {
            return Ok(octets);
        }
        let uri = segment.map.as_ref().ok_or(Lost::Segment {
            number,
            why: "no EXT-X-MAP",
        })?;
        let known = self
            .inits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(uri)
            .cloned();
        let init = match known {
            Some(init) => init,
            None => {
                let octets = fetcher.media(join(base, uri)?, PATIENCE).await?;
                Arc::new(self.learn(uri, &octets)?)
            }
        };
        let unfit = |error: media::Error| Lost::Unfit(format!("segment {number}: {error}"));
        Ok(media::in_band(&init, &octets).map_err(unfit)?.into())
    }

    fn learn(&self, uri: &str, octets: &[u8]) -> Result<Init, Lost> {
        let init = Init::parse(octets).map_err(|error| Lost::Unfit(error.to_string()))?;
        let mut inits = self.inits.lock().unwrap_or_else(PoisonError::into_inner);
        // There are as many as it has had encoders.
        while inits.len() >= INITS {
            inits.pop_first();
        }
        inits.insert(uri.to_owned(), Arc::new(init.clone()));
        Ok(init)
    }
}

/// By the dates: how far the number of the segment that was live at the mark's time is behind the mark's.
fn ahead(list: &MediaPlaylist, (number, time): (u64, WallTime)) -> Option<i64> {
    let near = |segment: &&ListedSegment| {
        let off = segment
            .date_time
            .map(|own| (own.millis() - time.millis()).abs());
        off.is_some_and(|off| off * 2 < segment.duration.duration().as_millis() as i64)
    };
    let same = list.segments.iter().find(near)?;
    i64::try_from(number)
        .ok()?
        .checked_sub(i64::try_from(same.number).ok()?)
}

/// Learns the ladder of the stream at `url`, and where it stands, for one who has it up to segment `edge`.
pub(super) async fn look(
    fetcher: &Fetcher,
    url: &Url,
    (salt, clock): (u64, &Arc<Clock>),
    edge: Option<u64>,
) -> Result<Glance, Lost> {
    let (index, text) = fetcher.text(url.clone(), PATIENCE).await?;
    let said = |error| Lost::Playlist {
        url: index.clone().into(),
        error,
    };
    let (variants, alternatives, closed) = match parse::multivariant(&text) {
        Ok(variants) => {
            let alternatives = parse::alternatives(&text).map_err(said)?;
            (variants, alternatives, parse::closed(&text).map_err(said)?)
        }
        // A stream of one rung may have no more than its media playlist.
        Err(ParseError::NotMultivariant) => (vec![only(&index)], Vec::new(), None),
        Err(error) => return Err(said(error)),
    };
    let (ladder, uris) = ladder(&variants)?;
    let mut from = Vec::new();
    for uri in &uris {
        from.push(join(&index, uri)?);
    }
    let list = lists(fetcher, from[0].clone(), PATIENCE).await?;
    let start = Start::choose(&list, edge);
    let (mut mold, shapes) = if probe(&list, None).is_some_and(|last| last.map.is_none()) {
        transports(fetcher, &from, (&list, start), &ladder, clock).await?
    } else {
        shapes(fetcher, &from, &list, &ladder).await?
    };
    mold.salt = salt;
    let mut urls: Vec<_> = from.into_iter().zip(shapes.into_iter().map(Some)).collect();
    let (renditions, uris) = describe::renditions(&alternatives, closed, describe::Named::ByPlace);
    for (uri, rendition) in uris.iter().zip(&renditions.others) {
        let url = join(&index, uri)?;
        let mut shape = Shape::counted(&list, false);
        if rendition.kind == Kind::Audio {
            shape.transport = sound(fetcher, &url, clock).await?;
        }
        let own = shape
            .transport
            .as_ref()
            .map(Transport::own_init)
            .transpose()?;
        mold.made.push(own);
        urls.push((url, Some(Arc::new(shape))));
    }
    Ok(Glance {
        index,
        ladder,
        renditions,
        urls,
        list,
        mold: Some(mold),
    })
}

fn mark(list: &MediaPlaylist) -> Option<(u64, WallTime)> {
    let last = probe(list, None)?;
    Some((last.number, last.date_time?))
}

/// The rungs, cheapest first, and the URI of each. Variants of sound alone and those that differ in their renditions only
/// are left out.
fn ladder(variants: &[Variant]) -> Result<(Ladder, Vec<String>), Lost> {
    let pictured = variants.iter().any(|variant| variant.resolution.is_some());
    let (mut seen, mut names, mut rungs) = (HashSet::new(), HashSet::new(), Vec::new());
    for variant in variants {
        if pictured && variant.resolution.is_none() || !seen.insert(&variant.uri) {
            continue;
        }
        let codecs = variant.codecs.clone().unwrap_or_default();
        if let Some(other) = codecs
            .split(',')
            .map(str::trim)
            .find(|codec| !codec.is_empty() && !FIT.iter().any(|fit| codec.starts_with(fit)))
        {
            return Err(Lost::Unfit(format!(
                "{}: codec {other:?}; a relay takes H.264 with AAC",
                variant.uri
            )));
        }
        let (width, height) = variant.resolution.unwrap_or_default();
        let kbps = variant.bandwidth.kbps();
        let usual = if height > 0 {
            format!("{height}p")
        } else {
            format!("{kbps}k")
        };
        let name = [
            usual.clone(),
            format!("{usual}-{kbps}"),
            format!("{usual}-{kbps}-{}", rungs.len()),
        ]
        .into_iter()
        .find(|name| names.insert(name.clone()))
        .unwrap_or(usual);
        rungs.push((
            Rung {
                name: RungName::try_from(name)?,
                width,
                height,
                bandwidth: variant.bandwidth,
                average: variant.average.unwrap_or(variant.bandwidth),
                // Its parameter sets are in band from here on.
                codecs: codecs.replace("avc1.", "avc3."),
                frame_rate: variant.frame_rate.unwrap_or_default(),
                score: variant.score,
            },
            variant.uri.clone(),
        ));
    }
    let ladder = Ladder::new(rungs.iter().map(|(rung, _)| rung.clone()).collect())?;
    let uri = |rung: &Rung| {
        rungs
            .iter()
            .find(|(own, _)| own.name == rung.name)
            .map(|(_, uri)| uri.clone())
    };
    let uris = ladder.rungs().iter().filter_map(uri).collect();
    Ok((ladder, uris))
}

/// Of a stream that does not say what it takes.
fn only(index: &Url) -> Variant {
    Variant {
        uri: index.to_string(),
        bandwidth: Bitrate::from_kbps(4000),
        average: None,
        codecs: None,
        resolution: None,
        frame_rate: None,
        score: None,
    }
}

const FIT: [&str; 3] = ["avc1", "avc3", "mp4a"];

/// Stands for the URI of an init section that the origin does not have.
const MADE: &str = "made";

const INITS: usize = 8;

const UNKNOWN: i64 = i64::MIN;
