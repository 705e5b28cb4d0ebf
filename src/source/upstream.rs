//! Streams from another node: its canonical rungs are followed, every object is fetched once and
//! published here under the same numbers, times and names.
//!
//! Each rung is followed by a task of its own; a part is published when all rungs have it.

mod assembly;
mod describe;
mod rung;

use std::time::Duration;

use playlists::{
    DateRange, Ladder, LadderError, Renditions, Window, WindowError,
    parse::{self, MediaPlaylist, ParseError},
};
use reqwest::Url;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::{
    assembly::Assembly,
    describe::{format, listen, renditions, rung_of},
    rung::Follower,
};
use crate::{
    net::{FetchError, Fetcher},
    store::{Producer, Store, StreamName},
};

/// What to follow, and how.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Base URL of the node to follow.
    pub base: Url,
    pub fetcher: Fetcher,
    /// How many segments playlists list.
    pub listed: usize,
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
    #[error("a rung's follower ended without a word")]
    Follower,
}

/// Follows every stream of the upstream node until `stop`; streams that are new there are found
/// within seconds.
pub async fn run(upstream: Upstream, store: Store, stop: CancellationToken) {
    let mut streams: JoinSet<()> = JoinSet::new();
    let mut trouble = false;
    loop {
        match streams_of(&upstream).await {
            Ok(names) => {
                trouble = false;
                for producer in names.iter().filter_map(|name| store.create(name)) {
                    tracing::info!(stream = %producer.name(), upstream = %upstream.base, "following");
                    streams.spawn(stream(upstream.clone(), producer, stop.clone()));
                }
            }
            Err(error) if !trouble => {
                trouble = true;
                tracing::warn!(%error, "the upstream node does not say what it streams; asking on");
            }
            Err(_) => {}
        }
        let pause = if trouble || streams.is_empty() {
            BACK_OFF_MIN
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

async fn streams_of(upstream: &Upstream) -> Result<Vec<StreamName>, FetchError> {
    #[derive(serde::Deserialize)]
    struct Listing {
        streams: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        name: StreamName,
    }
    let url = join(&upstream.base, "live").map_err(|_| FetchError::NotText {
        url: upstream.base.clone().into(),
    })?;
    let (url, text) = upstream.fetcher.text(url, PATIENCE).await?;
    let listing: Listing = serde_json::from_str(&text).map_err(|error| FetchError::Transport {
        url: url.into(),
        why: error.to_string(),
    })?;
    Ok(listing
        .streams
        .into_iter()
        .map(|entry| entry.name)
        .collect())
}

/// Follows one stream until `stop`. The window stays while the upstream is away.
async fn stream(upstream: Upstream, mut producer: Producer, stop: CancellationToken) {
    let mut back_off = BACK_OFF_MIN;
    loop {
        let before = edge(&producer);
        let result = tokio::select! {
            result = follow(&upstream, &mut producer) => result,
            () = stop.cancelled() => return,
        };
        match result {
            Ok(()) => {
                tracing::info!(stream = %producer.name(), "the stream has ended upstream");
                producer.end();
                tokio::select! {
                    () = begun_anew(&upstream, producer.name()) => {}
                    () = stop.cancelled() => return,
                }
                tracing::info!(stream = %producer.name(), "another programme has begun upstream");
                producer.begin_anew();
                continue;
            }
            Err(error) => {
                if edge(&producer) > before {
                    back_off = BACK_OFF_MIN;
                }
                producer.abandon();
                if let Lost::Window(_) = error {
                    // It would not follow the next time either.
                    producer.begin_anew();
                }
                tracing::warn!(stream = %producer.name(), %error, again_in = ?back_off, "lost the upstream; following anew");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(back_off) => back_off = (back_off * 2).min(BACK_OFF_MAX),
            () = stop.cancelled() => return,
        }
    }
}

/// Until the stream that has ended upstream is another programme, which has not.
async fn begun_anew(upstream: &Upstream, stream: &StreamName) {
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        match look(upstream, stream).await {
            Ok(Glance { list, .. }) if !list.ended => return,
            // Between two programmes there may be nothing of it.
            Ok(_) | Err(_) => {}
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
    /// Of each rung and rendition.
    urls: Vec<Url>,
    /// Of the first rung.
    list: MediaPlaylist,
}

/// Learns the ladder, and where the stream stands.
async fn look(upstream: &Upstream, stream: &StreamName) -> Result<Glance, Lost> {
    let index = join(
        &upstream.base,
        &format!("live/{stream}/index.m3u8?abr=client&names=canonical"),
    )?;
    let (index, text) = upstream.fetcher.text(index, JOIN_PATIENCE).await?;
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
        urls.push(join(&index, &format!("{}.m3u8", rung.name))?);
    }
    let mut beside = renditions(&alternatives, closed);
    for variant in &sound {
        listen(variant, &mut beside)?;
    }
    let (renditions, uris) = beside;
    for uri in &uris {
        urls.push(join(&index, uri)?);
    }
    let (url, text) = upstream.fetcher.text(urls[0].clone(), PATIENCE).await?;
    let list = parse::media(&text).map_err(|error| Lost::Playlist {
        url: url.into(),
        error,
    })?;
    Ok(Glance {
        index,
        ladder,
        renditions,
        urls,
        list,
    })
}

/// One attempt: starts a follower for each rung and rendition, joins what they bring.
async fn follow(upstream: &Upstream, producer: &mut Producer) -> Result<(), Lost> {
    let Glance {
        index,
        ladder,
        renditions,
        urls,
        list,
    } = look(upstream, producer.name()).await?;
    let start = Start::choose(&list, edge(producer));
    producer.begin(format(ladder, renditions, &list, upstream.listed));
    if edge(producer).is_some_and(|edge| edge + 1 != start.from) {
        tracing::warn!(stream = %producer.name(), from = start.from, "the upstream has moved on; starting over there");
        producer.begin_anew();
    }

    let mut followers = JoinSet::new();
    let mut queues = Vec::new();
    for url in urls {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let follower = Follower {
            url,
            fetcher: upstream.fetcher.clone(),
            start,
        };
        followers.spawn(follower.run(sender));
        queues.push(receiver);
    }
    let fetcher = upstream.fetcher.clone();
    let told = earlier(&list, start.from);
    tokio::select! {
        joined = Assembly::new(queues, fetcher, index, producer).telling(told).run() => joined,
        lost = first_failure(&mut followers) => Err(lost),
    }
}

/// What is told of spans before the segment that is followed first, and may go on.
fn earlier(list: &MediaPlaylist, from: u64) -> Vec<DateRange> {
    let before = list
        .segments
        .iter()
        .take_while(|segment| segment.number < from);
    before.flat_map(|segment| segment.ranges.clone()).collect()
}

async fn first_failure(followers: &mut JoinSet<Result<(), Lost>>) -> Lost {
    while let Some(ended) = followers.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(lost)) => return lost,
            Err(_) => return Lost::Follower,
        }
    }
    // All ended well: what they brought is still being joined.
    std::future::pending().await
}

/// Where the followers of one attempt begin, the same for all rungs.
#[derive(Clone, Copy, Debug)]
struct Start {
    from: u64,
    /// Segments before this one are fetched whole, from it on part by part.
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
const BACK_OFF_MIN: Duration = Duration::from_millis(250);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// For an answer that should come at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// A stream that has just begun holds its joins back until it can be played.
const JOIN_PATIENCE: Duration = Duration::from_secs(15);

/// Complete segments to begin with: enough for a player to start on.
const BEHIND: usize = 4;

/// Parts that one rung may be ahead of another before it has to wait.
const QUEUE: usize = 32;
