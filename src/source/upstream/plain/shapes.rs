//! What the rungs of an origin that is none of ours have to be made into: learned by a look at a segment or an init section of
//! each, and refused where one could not follow another.

use std::sync::Arc;

use bytes::Bytes;
use media::{Coding, Init};
use playlists::{
    Ladder,
    parse::{ListedSegment, MediaPlaylist},
};
use reqwest::Url;

use super::{
    super::{
        Lost, PATIENCE, Start, join, lists,
        transport::{Clock, Transport},
    },
    Mold, Shape,
};
use crate::net::Fetcher;

/// Of each rung what has to be made of it, and of what all share. Each rung's init section is looked at once.
pub(super) async fn shapes(
    fetcher: &Fetcher,
    from: &[Url],
    lead: &MediaPlaylist,
    ladder: &Ladder,
) -> Result<(Mold, Vec<Arc<Shape>>), Lost> {
    let (mut inits, mut shapes) = (Vec::<(Bytes, Init)>::new(), Vec::new());
    for (place, url) in from.iter().enumerate() {
        let own = match place {
            0 => lead.clone(),
            _ => lists(fetcher, url.clone(), PATIENCE).await?,
        };
        let listed = probe(&own, None).ok_or_else(|| empty(url))?;
        let uri = listed
            .map
            .as_ref()
            .ok_or_else(|| Lost::Unfit(MIXED.to_owned()))?;
        let uri = join(url, uri)?;
        let octets = fetcher.media(uri.clone(), PATIENCE).await?;
        let shape = Shape::counted(lead, place == 0);
        let init = shape.learn(uri.as_str(), &octets)?;
        if let Some((_, first)) = inits.first() {
            alike(first, &init).map_err(|what| {
                let rung = ladder.rungs().get(place).map_or("?", |rung| rung.name.as_str());
                Lost::Unfit(format!("rung {rung} has {what} than the cheapest; a player could not go from one to the other"))
            })?;
        }
        inits.push((octets, init));
        shapes.push(shape);
    }
    let in_band = inits.iter().any(|(octets, _)| *octets != inits[0].0);
    let size = inits
        .iter()
        .filter_map(|(_, init)| size(init))
        .max()
        .unwrap_or_default();
    shapes.iter_mut().for_each(|shape| shape.in_band = in_band);
    let mold = Mold {
        in_band,
        size,
        salt: 0,
        made: vec![None],
    };
    Ok((mold, shapes.into_iter().map(Arc::new).collect()))
}

/// The same of rungs whose segments are MPEG-TS. Of the first, the segment is looked at that is wanted first.
pub(super) async fn transports(
    fetcher: &Fetcher,
    from: &[Url],
    (lead, start): (&MediaPlaylist, Start),
    ladder: &Ladder,
    clock: &Arc<Clock>,
) -> Result<(Mold, Vec<Arc<Shape>>), Lost> {
    let (mut transports, mut shapes) = (Vec::new(), Vec::new());
    for (place, url) in from.iter().enumerate() {
        let leads = place == 0;
        let own = match leads {
            true => lead.clone(),
            false => lists(fetcher, url.clone(), PATIENCE).await?,
        };
        let segment = probe(&own, leads.then_some(start.from)).ok_or_else(|| empty(url))?;
        if segment.map.is_some() {
            return Err(Lost::Unfit(MIXED.to_owned()));
        }
        let looked = Transport::look(fetcher, url, segment, clock, leads).await;
        transports.push(match (looked, probe(&own, None)) {
            // One may be damaged, and is a gap then.
            (Err(Lost::Unfit(_)), Some(newest)) if newest.number != segment.number => {
                Transport::look(fetcher, url, newest, clock, leads).await?
            }
            (looked, _) => looked?,
        });
        shapes.push(Shape::counted(lead, leads));
    }
    let mold = Mold {
        in_band: false,
        size: (0, 0),
        salt: 0,
        made: vec![Some(Transport::init(&transports, ladder)?)],
    };
    let shapes = shapes.into_iter().zip(transports).map(|(shape, own)| {
        Arc::new(Shape {
            transport: Some(own),
            ..shape
        })
    });
    Ok((mold, shapes.collect()))
}

/// What it takes to have a rendition of sound, if that is MPEG-TS.
pub(super) async fn sound(
    fetcher: &Fetcher,
    url: &Url,
    clock: &Arc<Clock>,
) -> Result<Option<Transport>, Lost> {
    let list = lists(fetcher, url.clone(), PATIENCE).await?;
    let segment = probe(&list, None).ok_or_else(|| empty(url))?;
    if segment.map.is_some() {
        return Ok(None);
    }
    let looked = Transport::look(fetcher, url, segment, clock, false).await?;
    Ok(Some(looked))
}

/// A segment to look at: the one of this number, or the newest.
pub(super) fn probe(list: &MediaPlaylist, number: Option<u64>) -> Option<&ListedSegment> {
    let complete = || list.segments.iter().filter(|segment| segment.uri.is_some());
    let wanted = complete().find(|segment| Some(segment.number) == number);
    wanted.or(complete().next_back())
}

fn empty(url: &Url) -> Lost {
    Lost::Unfit(format!("{url} lists no segment"))
}

fn size(init: &Init) -> Option<(u16, u16)> {
    match &init.video()?.0.coding {
        Coding::Avc { width, height, .. } => Some((*width, *height)),
        _ => None,
    }
}

/// Whether segments under the one can follow those under the other; else what is different.
fn alike(one: &Init, other: &Init) -> Result<(), &'static str> {
    if one.tracks.len() != other.tracks.len() {
        return Err("other tracks");
    }
    for (one, other) in one.tracks.iter().zip(&other.tracks) {
        if one.id != other.id
            || std::mem::discriminant(&one.coding) != std::mem::discriminant(&other.coding)
        {
            return Err("other tracks");
        }
        if one.timescale != other.timescale {
            return Err("another timescale");
        }
        if let (Coding::Avc { config: one, .. }, Coding::Avc { config: other, .. }) =
            (&one.coding, &other.coding)
            && one.length_size != other.length_size
        {
            return Err("NAL units with lengths of another size");
        }
    }
    Ok(())
}

pub(super) const MIXED: &str =
    "some of its rungs are CMAF and some are MPEG-TS; a player could not go from one to the other";
