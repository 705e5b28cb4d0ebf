//! What the followers of one stream bring, put together again: a part is published once every rung
//! and all sound have brought their share of it, a segment once its subtitles are here as well.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use playlists::{
    DateRange, Epoch, Format, Head, Init, MediaTime, Part, Window, parse::ListedSegment,
    rendition::Kind,
};
use reqwest::Url;

use super::{
    Lost, PATIENCE, Start,
    describe::{epoch_in, exact},
    join,
    lanes::{Followers, Lane, is_watched},
    pieces::{Shares, pieces},
    plain::Mold,
    rung::{Item, Share},
};
use crate::{clock::wall, net::Fetcher, store::Producer};

pub(super) struct Assembly<'a> {
    producer: &'a mut Producer,
    followers: Followers,
    /// Of every rung that is followed. The first always is, and goes before the others.
    rungs: Vec<Rung>,
    /// Of all sound, which goes part by part as the rungs do.
    sounds: Vec<Lane>,
    /// Of subtitles, which go segment by segment.
    texts: Vec<Lane>,
    format: Arc<Format>,
    inits: Inits,
    /// What is to be told with the first part.
    told: Vec<DateRange>,
}

#[derive(Default)]
struct Rung {
    lane: Option<Lane>,
    /// It failed, and is not tried again before this segment.
    rests: u64,
}

impl<'a> Assembly<'a> {
    /// Follows what is watched, and what is needed to publish at all, in the order of the format that `producer` has
    /// begun: every rung, then every rendition.
    pub(super) fn new(
        mut followers: Followers,
        start: Start,
        (index, mold): (Url, Option<Mold>),
        producer: &'a mut Producer,
    ) -> Option<Self> {
        let format = producer.window()?.format().clone();
        let count = format.ladder.rungs().len();
        let mut rungs = Vec::new();
        for rung in 0..count {
            let watched = is_watched(producer.supply(), rung);
            let lane = watched.then(|| followers.follow(rung, start)).flatten();
            rungs.push(Rung { lane, rests: 0 });
        }
        let (mut sounds, mut texts) = (Vec::new(), Vec::new());
        for (place, rendition) in (count..).zip(&format.renditions.others) {
            let lane = followers.follow(place, start)?;
            match rendition.kind {
                Kind::Audio => sounds.push(lane),
                Kind::Subtitles => texts.push(lane),
            }
        }
        let fetcher = followers.fetcher.clone();
        Some(Self {
            producer,
            followers,
            rungs,
            sounds,
            texts,
            format,
            inits: Inits {
                fetcher,
                index,
                mold,
                known: BTreeMap::new(),
            },
            told: Vec::new(),
        })
    }

    /// Beside what comes, tells of these.
    pub(super) fn telling(self, told: Vec<DateRange>) -> Self {
        Self { told, ..self }
    }

    /// Until the stream has ended.
    pub(super) async fn run(mut self) -> Result<(), Lost> {
        loop {
            let items = self.items().await?;
            if matches!(items.lead, Item::Ended) {
                return Ok(());
            }
            match shares(items)? {
                Joined::Part(shares, sounds) => {
                    let number = shares[0].as_ref().map_or(0, |lead| lead.segment.number);
                    for (shares, sounds) in self.pieces((shares, sounds)).await? {
                        self.publish(shares, sounds).await?;
                    }
                    self.attend(number);
                }
                Joined::Complete(number) => {
                    self.complete(number).await?;
                    self.leave();
                }
            }
        }
    }

    /// What comes next, of every rung that is followed and of all sound.
    async fn items(&mut self) -> Result<Items, Lost> {
        let Self {
            followers,
            rungs,
            sounds,
            ..
        } = self;
        let Some((
            Rung {
                lane: Some(lead), ..
            },
            others,
        )) = rungs.split_first_mut()
        else {
            return Err(Lost::Follower);
        };
        let lead = followers.next(lead).await?;
        let (number, _) = place(&lead);
        let patience = self.format.segment.duration().max(AT_LEAST);
        let mut items = Vec::with_capacity(others.len());
        for (rung, Rung { lane, rests }) in (1..).zip(others) {
            let Some(follower) = lane.as_mut().filter(|lane| lane.from <= number) else {
                items.push(None);
                continue;
            };
            let next = tokio::time::timeout(patience, followers.next(follower)).await;
            let item = match next {
                Ok(Ok(item)) if place(&item) != place(&lead) => {
                    Err("it is not made of the same parts as the cheapest".to_owned())
                }
                Ok(Ok(item)) if is_gap(&item) && !is_gap(&lead) => {
                    Err("there is nothing in its segment that can be played".to_owned())
                }
                Ok(Ok(item)) => Ok(item),
                Ok(Err(lost)) => Err(lost.to_string()),
                Err(_) => Err(format!("it is more than {patience:?} behind the cheapest")),
            };
            items.push(match item {
                Ok(item) => Some(item),
                Err(why) => {
                    // The others go on. Whoever wants this one has it brought.
                    let rung = self.format.ladder.rungs().get(rung);
                    let rung = rung.map(|rung| rung.name.to_string());
                    tracing::warn!(stream = %self.producer.name(), rung, why, "a rung is not followed for a while");
                    *lane = None;
                    *rests = number.saturating_add(RESTS);
                    while followers.forgive().is_some() {}
                    None
                }
            });
        }
        let mut beside = Vec::with_capacity(sounds.len());
        for lane in sounds {
            beside.push(followers.next(lane).await?);
        }
        Ok(Items {
            lead,
            others: items,
            sounds: beside,
        })
    }

    /// Begins to follow what is watched, from the segment behind `number` on.
    fn attend(&mut self, number: u64) {
        let from = number.saturating_add(1);
        let start = Start {
            from,
            parts_from: from,
        };
        let supply = self.producer.supply().clone();
        for (place, rung) in self.rungs.iter_mut().enumerate() {
            if rung.lane.is_none() && rung.rests <= from && is_watched(&supply, place) {
                rung.lane = self.followers.follow(place, start);
                tracing::debug!(stream = %self.producer.name(), rung = place, from, "a rung is followed");
            }
        }
    }

    /// Ends to follow what nobody watches any more.
    fn leave(&mut self) {
        let supply = self.producer.supply().clone();
        for (place, rung) in self.rungs.iter_mut().enumerate() {
            if rung.lane.is_some() && !is_watched(&supply, place) {
                rung.lane = None;
                tracing::debug!(stream = %self.producer.name(), rung = place, "a rung is not followed any more");
            }
        }
    }

    /// The parts of what was fetched whole, as far as it has any; what came as a part is one.
    async fn pieces(&mut self, shares: Shares) -> Result<Vec<Shares>, Lost> {
        let (rungs, sounds) = &shares;
        let lead = rungs.first().and_then(Option::as_ref);
        let Some(lead) = lead.filter(|lead| lead.whole && self.inits.mold.is_none()) else {
            return Ok(vec![shares]);
        };
        let init = self.init(&lead.segment, sounds).await?;
        Ok(pieces(&shares, &init, self.format.part).unwrap_or_else(|| vec![shares]))
    }

    async fn publish(
        &mut self,
        shares: Vec<Option<Share>>,
        sounds: Vec<Share>,
    ) -> Result<(), Lost> {
        let Some(Some(lead)) = shares.first() else {
            return Err(Lost::Follower);
        };
        if lead.part == 0 {
            let head = self.head(&lead.segment, &sounds).await?;
            self.producer.open(head)?;
        }
        for range in std::mem::take(&mut self.told)
            .iter()
            .chain(&lead.segment.ranges)
        {
            self.producer.mark(range.clone())?;
        }
        let duration = self.exact(lead.duration);
        if lead.gap || sounds.iter().any(|share| share.gap) {
            let number = lead.segment.number;
            let head = self.head(&lead.segment, &sounds).await?;
            self.producer.skip(head, duration)?;
            // Nobody is told of them.
            self.captions(number).await?;
            return Ok(());
        }
        // Any rung can be begun with a segment.
        let open = Part::open_in(shares.iter().map(|share| match share {
            Some(share) => share.independent,
            None => lead.part == 0,
        }));
        let mut sounds = sounds.into_iter().map(|share| share.media);
        let renditions = self.format.renditions.others.iter();
        let renditions = renditions.map(|rendition| match rendition.kind {
            Kind::Audio => sounds.next().unwrap_or_default(),
            Kind::Subtitles => Bytes::new(),
        });
        let mut renditions: Vec<_> = renditions.collect();
        // Published as such, so that nobody is told of a further part.
        let last = shares.iter().flatten().any(|share| share.last);
        if last {
            let number = lead.segment.number;
            for (place, text) in self.captions(number).await? {
                renditions[place] = text;
            }
        }
        let part = Part {
            duration,
            open,
            media: shares
                .into_iter()
                .map(|share| share.map(|share| share.media).unwrap_or_default())
                .collect(),
            renditions,
        };
        Ok(self.producer.push(part, last)?)
    }

    /// Closes a segment, if that is news.
    async fn complete(&mut self, number: u64) -> Result<(), Lost> {
        let window = self.producer.window();
        if window.and_then(Window::open_segment).is_none() {
            return Ok(());
        }
        for (place, text) in self.captions(number).await? {
            self.producer.caption(place, text)?;
        }
        self.producer.close();
        Ok(())
    }

    /// A segment's subtitles, which are listed when it is complete, and which rendition each is of.
    async fn captions(&mut self, number: u64) -> Result<Vec<(usize, Bytes)>, Lost> {
        let mut captions = Vec::new();
        let places = self.format.renditions.others.iter().enumerate();
        let places = places.filter(|(_, rendition)| rendition.kind == Kind::Subtitles);
        for ((place, _), lane) in places.zip(&mut self.texts) {
            loop {
                match self.followers.next(lane).await? {
                    Item::Part(share) if share.segment.number == number => {
                        captions.push((place, share.media));
                    }
                    Item::Complete { number: done } if done == number => break,
                    Item::Part(_) | Item::Complete { .. } | Item::Ended => {
                        return Err(Lost::Segment {
                            number,
                            why: "its subtitles are of other segments",
                        });
                    }
                }
            }
        }
        Ok(captions)
    }

    async fn head(&mut self, segment: &ListedSegment, sounds: &[Share]) -> Result<Head, Lost> {
        let (number, timeline) = (segment.number, segment.timeline);
        let last = self
            .producer
            .window()
            .and_then(|window| window.segments().next_back());
        let follows_on = last.map(|last| last.head.date_time.later(last.duration()));
        let uri = segment
            .uri
            .as_deref()
            .or(segment.parts.first().map(|part| part.uri.as_str()));
        let init = self.init(segment, sounds).await?;
        let named = uri.filter(|_| self.inits.mold.is_none());
        Ok(Head {
            number,
            // What has names of others is as its init section is.
            epoch: named.and_then(epoch_in).unwrap_or(init.epoch),
            init,
            // Its number counts this break; where the window begins with it there is nothing to break with,
            // but players that come from another node must find the same.
            discontinuity: segment.discontinuity,
            timeline,
            date_time: segment.date_time.or(follows_on).unwrap_or_else(wall),
        })
    }

    async fn init(&mut self, segment: &ListedSegment, sounds: &[Share]) -> Result<Arc<Init>, Lost> {
        let map = |segment: &ListedSegment| {
            segment.map.clone().ok_or(Lost::Segment {
                number: segment.number,
                why: "no EXT-X-MAP",
            })
        };
        let lead = map(segment)?;
        let mut sounds = sounds.iter();
        let mut beside = Vec::new();
        for rendition in &self.format.renditions.others {
            let share = match rendition.kind {
                Kind::Audio => sounds.next(),
                Kind::Subtitles => None,
            };
            beside.push(share.map(|share| map(&share.segment)).transpose()?);
        }
        self.inits.of(lead, beside, segment.timeline).await
    }

    fn exact(&self, duration: MediaTime) -> MediaTime {
        exact(duration, self.format.ladder.top().frame_rate)
    }
}

/// What every rung that is followed brought, and all sound.
struct Items {
    lead: Item,
    /// Of the rungs above the first.
    others: Vec<Option<Item>>,
    sounds: Vec<Item>,
}

enum Joined {
    /// Of every rung that is followed, and of all sound.
    Part(Vec<Option<Share>>, Vec<Share>),
    /// The segment has no more parts.
    Complete(u64),
}

/// Of which segment it is, and of which part. A whole segment is none of its parts, be it the first piece that came: a rung
/// that has fallen behind finds no parts listed any more.
fn place(item: &Item) -> (u64, Option<(usize, bool)>) {
    match item {
        Item::Part(share) => (share.segment.number, Some((share.part, share.whole))),
        Item::Complete { number } => (*number, None),
        Item::Ended => (u64::MAX, None),
    }
}

/// Whether it is one without anything to play.
fn is_gap(item: &Item) -> bool {
    matches!(item, Item::Part(share) if share.gap)
}

/// Shares of one part, or the word that the segment is complete.
fn shares(items: Items) -> Result<Joined, Lost> {
    let at = place(&items.lead);
    if items.sounds.iter().any(|item| place(item) != at) {
        return Err(Lost::Segment {
            number: at.0,
            why: "its sound is not made of the same parts",
        });
    }
    let share = |item: Item| match item {
        Item::Part(share) => Some(share),
        Item::Complete { .. } | Item::Ended => None,
    };
    let Some(lead) = share(items.lead) else {
        return Ok(Joined::Complete(at.0));
    };
    let others = items.others.into_iter().map(|item| share(item?));
    Ok(Joined::Part(
        [Some(lead)].into_iter().chain(others).collect(),
        items.sounds.into_iter().filter_map(share).collect(),
    ))
}

/// The init sections seen so far, by URI; there are as many as the upstream had different encoders.
struct Inits {
    fetcher: Fetcher,
    index: Url,
    /// How the rungs' is made, if it is not theirs as it is.
    mold: Option<Mold>,
    known: BTreeMap<(String, Vec<Option<String>>), Arc<Init>>,
}

impl Inits {
    /// The rungs' section at `lead`, and the renditions' at `beside`, where they have one.
    async fn of(
        &mut self,
        lead: String,
        beside: Vec<Option<String>>,
        timeline: u64,
    ) -> Result<Arc<Init>, Lost> {
        let key = (lead, beside);
        if let Some(init) = self.known.get(&key) {
            return Ok(init.clone());
        }
        let mut renditions = Vec::new();
        let made = |place| self.mold.as_ref().and_then(|mold| mold.made(place));
        for (place, uri) in (1..).zip(&key.1) {
            renditions.push(match (made(place), uri) {
                (Some(made), _) => made,
                (None, Some(uri)) => self.fetch(uri).await?,
                (None, None) => Bytes::new(),
            });
        }
        let media = match made(0) {
            Some(made) => made,
            None => self.fetch(&key.0).await?,
        };
        let (epoch, media) = match &self.mold {
            Some(mold) => mold.of(media)?,
            None => (epoch_in(&key.0).unwrap_or(Epoch(timeline)), media),
        };
        let init = Arc::new(Init {
            epoch,
            media,
            renditions,
        });
        self.known.insert(key, init.clone());
        Ok(init)
    }

    async fn fetch(&self, uri: &str) -> Result<Bytes, Lost> {
        let url = join(&self.index, uri)?;
        Ok(self.fetcher.media(url, PATIENCE).await?)
    }
}

/// So much a rung may be behind the cheapest, however short segments are.
const AT_LEAST: Duration = Duration::from_secs(1);

/// For so many segments a rung that failed is left alone.
const RESTS: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn share(part: usize, whole: bool) -> Item {
        Item::Part(Share {
            part,
            whole,
            segment: ListedSegment {
                number: 7,
                ..ListedSegment::default()
            },
            duration: MediaTime::ZERO,
            independent: true,
            last: whole,
            gap: false,
            media: Bytes::from_static(b"media"),
        })
    }

    #[test]
    fn a_whole_segment_is_not_its_first_part() {
        assert_ne!(place(&share(0, true)), place(&share(0, false)));
        let items = Items {
            lead: share(0, false),
            others: vec![None],
            sounds: vec![share(0, true)],
        };
        assert!(matches!(
            shares(items),
            Err(Lost::Segment { number: 7, .. })
        ));
        let items = Items {
            lead: share(1, false),
            others: vec![None, Some(share(1, false))],
            sounds: vec![share(1, false)],
        };
        let Ok(Joined::Part(rungs, sounds)) = shares(items) else {
            panic!("they are of one part")
        };
        assert_eq!(
            (rungs.len(), rungs.iter().flatten().count(), sounds.len()),
            (3, 2, 1)
        );
    }
}
