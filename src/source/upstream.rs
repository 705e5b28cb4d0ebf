//! Streams from elsewhere: another node, whose canonical rungs are followed under the same numbers, times and names; or
//! an HLS origin that is none of ours. Every object is fetched once and published here.
//!
//! Each rung that somebody watches is followed by a task of its own; a part is published when all of them have it. What
//! nobody watches is brought (`bringing`) when somebody asks for it.

mod assembly;
mod bringing;
mod describe;
mod lanes;
mod pieces;
mod place;
mod plain;
mod rung;
mod transport;
mod turns;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use playlists::{
    DateRange, Ladder, LadderError, Renditions, Window, WindowError,
    parse::{self, MediaPlaylist, ParseError},
};
use reqwest::Url;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use self::place::{Place, PlaceError};
use self::{
    assembly::Assembly,
    bringing::Branch,
    describe::{Named, format, listen, renditions, rung_of},
    lanes::Followers,
    plain::{Mold, Shape},
    transport::Clock,
    turns::Turns,
};
use crate::{
    net::{FetchError, Fetcher},
    store::{Consumer, Producer, Store, StreamName},
};

/// What to follow, and how.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Where streams are to be had, in order of preference.
    pub places: Vec<Place>,
    pub fetcher: Fetcher,
    /// How many segments playlists list.
    pub listed: usize,
    /// Is told of the node that is followed now.
    pub following: Arc<watch::Sender<Option<Url>>>,
}

impl Upstream {
    /// Follows one of `places`, the first if that can be had.
    pub fn new(places: Vec<Place>, fetcher: Fetcher, listed: usize) -> Self {
        Self {
            places,
            fetcher,
            listed,
            following: Arc::new(watch::channel(None).0),
        }
    }

    /// Follows the node at this base URL.
    pub fn node(base: Url, fetcher: Fetcher, listed: usize) -> Self {
        Self::new(vec![Place::Node(base)], fetcher, listed)
    }
}

#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("{url}: {error}")]
    Playlist { url: Box<Url>, error: ParseError },
    #[error("its ladder: {0}")]
    Ladder(#[from] LadderError),
    #[error("{0}")]
    Window(#[from] WindowError),
    #[error("{what} {text:?} is not a relative or absolute URL")]
    Url { what: &'static str, text: String },
    #[error("segment {number}: {why}")]
    Segment { number: u64, why: &'static str },
    #[error(
        "its playlist ends with segment {last}, after {wanted} was the next; it has begun anew"
    )]
    Rewound { last: u64, wanted: u64 },
    #[error("this stream cannot be relayed: {0}")]
    Unfit(String),
    #[error("segment {number} cannot be played: {error}")]
    Unplayable { number: u64, error: media::Error },
    #[error("{place} has nothing new, and does not answer")]
    Silent { place: Place },
    #[error("{place} can be followed again, and is preferred")]
    Preferred { place: Place, index: usize },
    #[error("a rung's follower ended without a word")]
    Follower,
}

/// Follows every stream of the upstream until `stop`; streams that are new there are found within seconds.
pub async fn run(upstream: Upstream, store: Store, stop: CancellationToken) {
    let mut streams: JoinSet<()> = JoinSet::new();
    let mut trouble = false;
    loop {
        match streams_of(&upstream).await {
            Ok(found) => {
                trouble = false;
                for (name, places) in found {
                    let Some(producer) = store.create(&name) else {
                        continue;
                    };
                    let Some(consumer) = store.stream(name.as_str()) else {
                        continue;
                    };
                    tracing::info!(stream = %name, upstream = ?places, "following");
                    let one = Stream {
                        upstream: upstream.clone(),
                        name,
                        places,
                        consumer,
                        anew: 0,
                        clock: Arc::default(),
                    };
                    let stop = stop.clone();
                    streams.spawn(async move { one.run(producer, stop).await });
                }
            }
            Err(error) if !trouble => {
                trouble = true;
                tracing::warn!(%error, "the upstream node does not say what it streams; asking on");
            }
            Err(_) => {}
        }
        let pause = if trouble || streams.is_empty() {
            ASK_AGAIN
        } else {
            LOOK_AGAIN
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => break,
        }
    }
    while streams.join_next().await.is_some() {}
}

/// Looks at the first place once, and says why what is there cannot be followed; a node is only asked what it has.
pub async fn try_once(upstream: &Upstream) -> Result<(), String> {
    let fetcher = &upstream.fetcher;
    match upstream.places.first() {
        Some(Place::Playlist { url, .. }) => {
            let looked = plain::look(fetcher, url, (0, &Arc::default()), None)
                .await
                .map(drop);
            looked.map_err(|lost| lost.to_string())
        }
        Some(Place::Node(base)) => {
            let listed = place::listing(base, fetcher).await.map(drop);
            listed.map_err(|error| error.to_string())
        }
        None => Err("there is no place to follow".to_owned()),
    }
}

/// Where each stream is to be had. An error if no node says what it has, and nothing else is known.
async fn streams_of(upstream: &Upstream) -> Result<BTreeMap<StreamName, Vec<Place>>, FetchError> {
    let mut names: Vec<StreamName> = Vec::new();
    let mut wrong = None;
    let mut answered = false;
    for place in &upstream.places {
        match place {
            Place::Playlist { stream, .. } => names.push(stream.clone()),
            // What the first that answers has, the others are taken to have as well.
            Place::Node(base) if !answered => match place::listing(base, &upstream.fetcher).await {
                Ok(listed) => {
                    answered = !listed.is_empty();
                    names.extend(listed);
                }
                Err(error) => wrong = Some(error),
            },
            Place::Node(_) => {}
        }
    }
    if let (true, Some(error)) = (names.is_empty(), wrong) {
        return Err(error);
    }
    let of = |name: &StreamName| {
        let has = |place: &&Place| match place {
            Place::Node(_) => true,
            Place::Playlist { stream, .. } => stream == name,
        };
        upstream.places.iter().filter(has).cloned().collect()
    };
    Ok(names
        .into_iter()
        .map(|name| (name.clone(), of(&name)))
        .collect())
}

/// One stream, and where it is to be had.
struct Stream {
    upstream: Upstream,
    name: StreamName,
    places: Vec<Place>,
    consumer: Consumer,
    /// How often what came did not follow what was there.
    anew: u64,
    /// When segments begin that say so themselves.
    clock: Arc<Clock>,
}

impl Stream {
    /// Follows it until `stop`. The window stays while the upstream is away.
    async fn run(mut self, mut producer: Producer, stop: CancellationToken) {
        let mut turns = Turns::new(self.places.len());
        loop {
            let before = edge(&producer);
            let at = turns.at();
            let place = self.places[at].clone();
            let result = tokio::select! {
                result = self.follow(&place, &mut producer) => result,
                lost = self.silent(&place) => Err(lost),
                lost = self.preferred(at) => Err(lost),
                () = stop.cancelled() => return,
            };
            let again_in = match result {
                Ok(()) => {
                    tracing::info!(stream = %producer.name(), "the stream has ended upstream");
                    producer.end();
                    tokio::select! {
                        () = self.begun_anew(&place, producer.name()) => {}
                        () = stop.cancelled() => return,
                    }
                    tracing::info!(stream = %producer.name(), "another programme has begun upstream");
                    producer.begin_anew();
                    continue;
                }
                Err(Lost::Preferred { place, index }) => {
                    producer.abandon();
                    tracing::info!(stream = %producer.name(), upstream = %place, "can be followed again; going back to it");
                    turns.prefer(index);
                    continue;
                }
                Err(error) => {
                    producer.abandon();
                    let again_in = turns.lost(edge(&producer) > before);
                    if let Lost::Window(_) | Lost::Rewound { .. } = error {
                        // It would not follow the next time either.
                        producer.begin_anew();
                        self.anew += 1;
                        self.clock = Arc::default();
                    }
                    let next = &self.places[turns.at()];
                    tracing::warn!(stream = %producer.name(), %error, upstream = %place, %next, ?again_in, "lost the upstream; following anew");
                    again_in
                }
            };
            tokio::select! {
                () = tokio::time::sleep(again_in) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// One attempt: follows what is watched, joins what comes.
    async fn follow(&self, place: &Place, producer: &mut Producer) -> Result<(), Lost> {
        let fetcher = &self.upstream.fetcher;
        let Glance {
            index,
            ladder,
            renditions,
            urls,
            list,
            mold,
        } = self.look(place, producer.name(), edge(producer)).await?;
        let start = Start::choose(&list, edge(producer));
        self.clock.forget_from(start.from);
        if let Place::Node(base) = place {
            self.upstream.following.send_replace(Some(base.clone()));
        }
        producer.supply().by(Branch {
            fetcher: fetcher.clone(),
            index: index.clone(),
            ladder: ladder.clone(),
            from: urls.clone(),
        });
        producer.begin(format(ladder, renditions, &list, self.upstream.listed));
        if edge(producer).is_some_and(|edge| edge + 1 != start.from) {
            tracing::warn!(stream = %producer.name(), from = start.from, "the upstream has moved on; starting over there");
            producer.begin_anew();
        }
        let followers = Followers::new(fetcher.clone(), urls);
        let told = earlier(&list, start.from);
        let assembly = Assembly::new(followers, start, (index, mold), producer);
        assembly.ok_or(Lost::Follower)?.telling(told).run().await
    }

    async fn look(
        &self,
        place: &Place,
        stream: &StreamName,
        edge: Option<u64>,
    ) -> Result<Glance, Lost> {
        let fetcher = &self.upstream.fetcher;
        match place {
            Place::Node(base) => look(fetcher, base, stream).await,
            Place::Playlist { url, .. } => {
                plain::look(fetcher, url, (self.anew, &self.clock), edge).await
            }
        }
    }

    /// Until `place` has had nothing new for a while and does not even answer: a process that has stopped, or a path that is
    /// cut, says nothing by itself. A source that is late is another matter.
    async fn silent(&self, place: &Place) -> Lost {
        let mut consumer = self.consumer.clone();
        loop {
            let now = consumer.now();
            let last = now.as_ref().and_then(|now| now.last_part());
            let usual = now.as_ref().map_or(START, |now| {
                Duration::from_secs(now.format().target_duration()) + LATE
            });
            let news = consumer.wait(|window| window.last_part() != last);
            match tokio::time::timeout(usual, news).await {
                Ok(Some(_)) => continue,
                // The stream is taken off this node.
                Ok(None) => std::future::pending().await,
                Err(_) => {}
            }
            if !place.answers(&self.upstream.fetcher, ANSWERS).await {
                return Lost::Silent {
                    place: place.clone(),
                };
            }
        }
    }

    /// Until a place that is preferred to the one at `index` can be followed.
    async fn preferred(&self, index: usize) -> Lost {
        loop {
            if index == 0 {
                std::future::pending().await
            }
            tokio::time::sleep(PREFER).await;
            for (index, place) in self.places[..index].iter().enumerate() {
                let have = self.consumer.now();
                let have = have.as_ref().and_then(|now| now.last_complete());
                let edge = have.map(|last| last.number());
                let have = edge.unwrap_or(0);
                let looked = self.look(place, &self.name, edge);
                let glance = tokio::time::timeout(PATIENCE, looked).await;
                let level = |glance: &Glance| {
                    let last = glance.list.segments.last();
                    last.is_some_and(|last| last.number >= have) && !glance.list.ended
                };
                if glance.is_ok_and(|glance| glance.is_ok_and(|glance| level(&glance))) {
                    let place = place.clone();
                    return Lost::Preferred { place, index };
                }
            }
        }
    }

    /// Until the stream that has ended at `place` is another programme, which has not.
    async fn begun_anew(&self, place: &Place, stream: &StreamName) {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            match self.look(place, stream, None).await {
                Ok(Glance { list, .. }) if !list.ended => return,
                // Between two programmes there may be nothing of it.
                Ok(_) | Err(_) => {}
            }
        }
    }
}

fn edge(producer: &Producer) -> Option<u64> {
    producer
        .window()
        .and_then(Window::last_complete)
        .map(|last| last.number())
}

/// What a stream is upstream, as far as one rung says it.
struct Glance {
    index: Url,
    ladder: Ladder,
    renditions: Renditions,
    /// Of each rung and rendition, its playlist and what its segments are made into.
    urls: Vec<(Url, Option<Arc<Shape>>)>,
    /// Of the first rung.
    list: MediaPlaylist,
    /// How the init section is made that all rungs share.
    mold: Option<Mold>,
}

/// Learns the ladder of a stream of the node at `base`, and where it stands.
async fn look(fetcher: &Fetcher, base: &Url, stream: &StreamName) -> Result<Glance, Lost> {
    let index = join(
        base,
        &format!("live/{stream}/index.m3u8?abr=client&names=canonical"),
    )?;
    let (index, text) = fetcher.text(index, JOIN_PATIENCE).await?;
    let said = parse::multivariant(&text)
        .and_then(|variants| Ok((variants, parse::alternatives(&text)?, parse::closed(&text)?)));
    let (variants, alternatives, closed) = said.map_err(|error| Lost::Playlist {
        url: index.clone().into(),
        error,
    })?;
    let (sound, pictures): (Vec<_>, Vec<_>) =
        variants.into_iter().partition(parse::Variant::is_sound);
    let ladder = Ladder::new(pictures.iter().map(rung_of).collect::<Result<_, _>>()?)?;
    let mut urls = Vec::new();
    for rung in ladder.rungs() {
        urls.push((join(&index, &format!("{}.m3u8", rung.name))?, None));
    }
    let mut beside = renditions(&alternatives, closed, Named::ByFile);
    for variant in &sound {
        listen(variant, &mut beside)?;
    }
    let (renditions, uris) = beside;
    for uri in &uris {
        urls.push((join(&index, uri)?, None));
    }
    let list = lists(fetcher, urls[0].0.clone(), PATIENCE).await?;
    Ok(Glance {
        index,
        ladder,
        renditions,
        urls,
        list,
        mold: None,
    })
}

/// What a media playlist lists.
async fn lists(fetcher: &Fetcher, url: Url, patience: Duration) -> Result<MediaPlaylist, Lost> {
    let (url, text) = fetcher.text(url, patience).await?;
    parse::media(&text).map_err(|error| Lost::Playlist {
        url: url.into(),
        error,
    })
}

/// What is told of spans before the segment that is followed first, and may go on.
fn earlier(list: &MediaPlaylist, from: u64) -> Vec<DateRange> {
    let before = list
        .segments
        .iter()
        .take_while(|segment| segment.number < from);
    before.flat_map(|segment| segment.ranges.clone()).collect()
}

/// Where the followers of one attempt begin, the same for all rungs.
#[derive(Clone, Copy, Debug)]
struct Start {
    from: u64,
    /// Segments before this one are fetched whole, and taken apart here; from it on part by part.
    parts_from: u64,
}

impl Start {
    /// Right behind what is held already, if that is still listed; else as far back from the edge
    /// as a player starts.
    fn choose(list: &MediaPlaylist, edge: Option<u64>) -> Self {
        let complete: Vec<u64> = list
            .segments
            .iter()
            .filter(|segment| segment.uri.is_some())
            .map(|segment| segment.number)
            .collect();
        let parts_from = complete.last().map_or_else(
            || list.segments.first().map_or(0, |first| first.number),
            |last| last + 1,
        );
        let behind = edge
            .map(|edge| edge + 1)
            .filter(|next| *next == parts_from || complete.contains(next));
        let first = complete.len().saturating_sub(BEHIND);
        Self {
            from: behind
                .or(complete.get(first).copied())
                .unwrap_or(parts_from),
            parts_from,
        }
    }
}

fn join(base: &Url, reference: &str) -> Result<Url, Lost> {
    base.join(reference).map_err(|_| Lost::Url {
        what: "URI",
        text: reference.to_owned(),
    })
}

const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// While there is nothing to follow.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// For an answer that should come at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// A stream that has just begun holds its joins back until it can be played.
const JOIN_PATIENCE: Duration = Duration::from_secs(15);

/// Complete segments to begin with: enough for a player to start on.
const BEHIND: usize = 4;

/// How much later than a target duration news may be before it is asked whether anybody is there, and how late they may be
/// at the very beginning.
const LATE: Duration = Duration::from_millis(500);
const START: Duration = Duration::from_secs(15);

/// So long an upstream may take to say that it is there.
const ANSWERS: Duration = Duration::from_secs(1);

/// How often it is looked whether a preferred place is there again.
const PREFER: Duration = Duration::from_secs(5);
