//! What is made of the store's media only when somebody asks for it: a rung's own init section,
//! segments as MPEG-TS, and sprites of tiles. Made once, shared by all who ask, and forgotten when nobody does.
//!
//! How it is made is `media`'s business, whether anybody is told of it the playlists'.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use media::Init;
use moka::future::Cache;
use playlists::{Epoch, Segment, still::Sprite};

use crate::store::{self, StreamName};

/// The makings of all streams of a node. When there are too many octets of them, those go that were not asked for.
#[derive(Debug)]
pub struct Derived(Cache<Key, Bytes>);

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Key {
    stream: StreamName,
    epoch: Epoch,
    rung: usize,
    what: What,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum What {
    Init,
    /// The segment of this number.
    Transport(u64),
    /// The tiles of these segments.
    Sprite {
        first: u64,
        last: u64,
    },
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum DerivedError {
    #[error(transparent)]
    Media(#[from] media::Error),
    #[error("cannot be read back from the DVR: {0}")]
    Disk(#[from] std::io::Error),
    #[error("the node is stopping")]
    Stopping,
}

impl Default for Derived {
    fn default() -> Self {
        let weight = |_: &Key, octets: &Bytes| u32::try_from(octets.len()).unwrap_or(u32::MAX);
        let cache = Cache::builder()
            .weigher(weight)
            .max_capacity(MOST_OCTETS)
            .time_to_idle(UNASKED);
        Self(cache.build())
    }
}

impl Derived {
    /// The init section of `rung` alone, as `segment` is coded in it.
    pub async fn init(
        &self,
        stream: &StreamName,
        segment: &Arc<Segment>,
        rung: usize,
    ) -> Result<Bytes, Arc<DerivedError>> {
        let epoch = segment.head.init.epoch;
        self.make(stream, (epoch, What::Init), segment, rung, move |segment| {
            let first = segment.media(rung).next();
            let first = first.map_or(&[][..], |first| &first[..]);
            media::init_of_rung(&segment.head.init.media, first)
        })
        .await
    }

    /// `segment` in `rung`, as MPEG-TS.
    pub async fn transport(
        &self,
        stream: &StreamName,
        segment: &Arc<Segment>,
        rung: usize,
    ) -> Result<Bytes, Arc<DerivedError>> {
        let what = What::Transport(segment.number());
        self.make(
            stream,
            (segment.head.epoch, what),
            segment,
            rung,
            move |segment| {
                let init = Init::parse(&segment.head.init.media)?;
                if segment.gap {
                    return Ok(media::transmux_nothing(&init));
                }
                let parts: Vec<_> = segment.media(rung).map(|part| &part[..]).collect();
                media::transmux(&init, &parts)
            },
        )
        .await
    }

    /// `tiles` as one picture.
    pub async fn sprite(
        &self,
        stream: &StreamName,
        Sprite { epoch, first, last }: Sprite,
        tiles: Vec<Bytes>,
    ) -> Result<Bytes, Arc<DerivedError>> {
        let key = Key {
            stream: stream.clone(),
            epoch,
            rung: 0,
            what: What::Sprite { first, last },
        };
        let stacked = move || {
            tiles.iter().try_for_each(|tile| store::populate(tile))?;
            Ok(media::jpeg::stack(&tiles)?)
        };
        self.keep(key, stacked).await
    }

    /// Whoever asks for what is in the making waits for it. It copies megabytes and may read from
    /// disk, so it is not done where requests are answered.
    async fn make(
        &self,
        stream: &StreamName,
        (epoch, what): (Epoch, What),
        segment: &Arc<Segment>,
        rung: usize,
        making: impl FnOnce(&Segment) -> Result<Vec<u8>, media::Error> + Send + 'static,
    ) -> Result<Bytes, Arc<DerivedError>> {
        let key = Key {
            stream: stream.clone(),
            epoch,
            rung,
            what,
        };
        let segment = segment.clone();
        let made = move || {
            // What is on a disk that fails is an error here, where a first touch would be a signal.
            segment
                .media(rung)
                .try_for_each(|media| store::populate(media))?;
            making(&segment).map_err(DerivedError::from)
        };
        self.keep(key, made).await
    }

    async fn keep(
        &self,
        key: Key,
        making: impl FnOnce() -> Result<Vec<u8>, DerivedError> + Send + 'static,
    ) -> Result<Bytes, Arc<DerivedError>> {
        let made = async {
            let made = tokio::task::spawn_blocking(making).await;
            Ok(made.map_err(|_| DerivedError::Stopping)??.into())
        };
        self.0.try_get_with(key, made).await
    }
}

/// Of some ten streams with five rungs each, the windows.
const MOST_OCTETS: u64 = 256 << 20;
/// Viewers of one stream ask for the same within a window.
const UNASKED: Duration = Duration::from_secs(60);
