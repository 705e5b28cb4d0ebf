//! What the followers of one stream bring, put together again: a part is published once every rung
//! and all sound have brought their share of it, a segment once its subtitles are here as well.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use playlists::{
    DateRange, Epoch, Format, Head, Init, MediaTime, Part, WallTime, Window, parse::ListedSegment,
    rendition::Kind,
};
use reqwest::Url;
use tokio::sync::mpsc;

use super::{
    Lost, PATIENCE,
    describe::{epoch_in, exact},
    join,
    rung::{Item, Share},
};
use crate::{net::Fetcher, store::Producer};

type Queue = mpsc::Receiver<Item>;

pub(super) struct Assembly<'a> {
    producer: &'a mut Producer,
    /// Of every rung, then of all sound: these go part by part.
    parts: Vec<Queue>,
    /// Of subtitles, which go segment by segment.
    texts: Vec<Queue>,
    format: Arc<Format>,
    inits: Inits,
    /// What is to be told with the first part.
    told: Vec<DateRange>,
}

impl<'a> Assembly<'a> {
    /// `queues`: of every rung, then of every rendition, in the order of the format that `producer` has begun.
    pub(super) fn new(
        mut queues: Vec<Queue>,
        fetcher: Fetcher,
        index: Url,
        producer: &'a mut Producer,
    ) -> Self {
        let format = producer
            .window()
            .expect("a stream is followed once it has begun")
            .format()
            .clone();
        let beside = queues.split_off(format.ladder.rungs().len().min(queues.len()));
        let (mut parts, mut texts) = (queues, Vec::new());
        for (rendition, queue) in format.renditions.others.iter().zip(beside) {
            match rendition.kind {
                Kind::Audio => parts.push(queue),
                Kind::Subtitles => texts.push(queue),
            }
        }
        Self {
            producer,
            parts,
            texts,
            format,
            inits: Inits {
                fetcher,
                index,
                known: BTreeMap::new(),
            },
            told: Vec::new(),
        }
    }

    /// Beside what comes, tells of these.
    pub(super) fn telling(self, told: Vec<DateRange>) -> Self {
        Self { told, ..self }
    }

    /// Until the stream has ended.
    pub(super) async fn run(mut self) -> Result<(), Lost> {
        loop {
            let mut items = Vec::with_capacity(self.parts.len());
            for queue in &mut self.parts {
                items.push(next(queue).await);
            }
            if items.iter().all(|item| matches!(item, Item::Ended)) {
                return Ok(());
            }
            match shares(items)? {
                Joined::Part(shares) => self.publish(shares).await?,
                Joined::Complete(number) => self.complete(number).await?,
            }
        }
    }

    async fn publish(&mut self, mut shares: Vec<Share>) -> Result<(), Lost> {
        let rungs = self.format.ladder.rungs().len();
        let sounds = shares.split_off(rungs);
        let lead = &shares[0];
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
        let open = Part::open_in(shares.iter().map(|share| share.independent));
        let mut sounds = sounds.into_iter().map(|share| share.media);
        let renditions = self.format.renditions.others.iter();
        let renditions = renditions.map(|rendition| match rendition.kind {
            Kind::Audio => sounds.next().unwrap_or_default(),
            Kind::Subtitles => Bytes::new(),
        });
        let mut renditions: Vec<_> = renditions.collect();
        // Published as such, so that nobody is told of a further part.
        let last = shares.iter().any(|share| share.last);
        if last {
            for (place, text) in self.captions(lead.segment.number).await? {
                renditions[place] = text;
            }
        }
        let part = Part {
            duration,
            open,
            media: shares.into_iter().map(|share| share.media).collect(),
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
        for ((place, _), queue) in places.zip(&mut self.texts) {
            loop {
                match next(queue).await {
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
        Ok(Head {
            number,
            epoch: uri.and_then(epoch_in).unwrap_or(Epoch(timeline)),
            init: self.init(segment, sounds).await?,
            // Its number counts this break; where the window begins with it there is nothing to break with,
            // but players that come from another node must find the same.
            discontinuity: segment.discontinuity,
            timeline,
            date_time: segment
                .date_time
                .or(follows_on)
                .unwrap_or(WallTime::from_millis(0)),
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

async fn next(queue: &mut Queue) -> Item {
    match queue.recv().await {
        Some(item) => item,
        // Its follower failed; why is on its way.
        None => std::future::pending().await,
    }
}

enum Joined {
    Part(Vec<Share>),
    /// The segment has no more parts.
    Complete(u64),
}

/// What every rung brought: its share of one part, or the word that the segment is complete.
fn shares(items: Vec<Item>) -> Result<Joined, Lost> {
    let place = |item: &Item| match item {
        Item::Part(share) => (share.segment.number, Some(share.part)),
        Item::Complete { number } => (*number, None),
        Item::Ended => (u64::MAX, None),
    };
    let (number, _) = place(&items[0]);
    if items.iter().any(|item| place(item) != place(&items[0])) {
        return Err(Lost::Segment {
            number,
            why: "its rungs are not made of the same parts",
        });
    }
    let shares = items.into_iter().map(|item| match item {
        Item::Part(share) => Some(share),
        Item::Complete { .. } | Item::Ended => None,
    });
    Ok(match shares.collect() {
        Some(shares) => Joined::Part(shares),
        None => Joined::Complete(number),
    })
}

/// The init sections seen so far, by URI; there are as many as the upstream had different encoders.
struct Inits {
    fetcher: Fetcher,
    index: Url,
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
        for uri in &key.1 {
            renditions.push(match uri {
                Some(uri) => self.fetch(uri).await?,
                None => Bytes::new(),
            });
        }
        let init = Arc::new(Init {
            epoch: epoch_in(&key.0).unwrap_or(Epoch(timeline)),
            media: self.fetch(&key.0).await?,
            renditions,
        });
        self.known.insert(key, init.clone());
        Ok(init)
    }

    async fn fetch(&self, uri: &str) -> Result<Bytes, Lost> {
        let url = join(&self.index, uri)?;
        Ok(self.fetcher.get(url, PATIENCE).await?.body)
    }
}
