//! A node in this process, on a free port, and synthetic media to feed it with.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use playlists::{Bitrate, Epoch, Format, Head, Init, MediaTime, Part, WallTime};
use segmenter::{Synthetic, wire::Frame};
use spillway::{
    clock,
    net::{self, Limits},
    origin::{self, Origin, Terms},
    store::{Producer, Store},
};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A node that serves; stopped when dropped.
pub(crate) struct TestNode {
    pub(crate) origin: Arc<Origin>,
    pub(crate) url: String,
    pub(crate) serving: JoinHandle<()>,
    pub(crate) stop: CancellationToken,
    _guard: DropGuard,
}

impl TestNode {
    pub(crate) async fn start(name: &str, budget: Option<Bitrate>, limits: Limits) -> Self {
        let terms = Terms {
            budget,
            max_viewers: 1000,
            ..Terms::default()
        };
        Self::on(name, terms, limits).await
    }

    /// One on these terms.
    pub(crate) async fn on(name: &str, terms: Terms, limits: Limits) -> Self {
        Self::of(Origin::new(name.into(), Store::default(), terms), limits).await
    }

    /// One with these rules.
    pub(crate) async fn of(origin: Arc<Origin>, limits: Limits) -> Self {
        let listener = net::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(origin.clone().run(stop.clone()));
        let serving = tokio::spawn(net::serve(
            listener,
            origin::public(origin.clone()),
            limits,
            stop.clone(),
        ));
        Self {
            origin,
            url,
            serving,
            stop: stop.clone(),
            _guard: stop.drop_guard(),
        }
    }

    /// A stream called `demo`, with nothing in it.
    pub(crate) fn feed(&self, media: Synthetic) -> Feed {
        self.feed_listing(media, LISTED)
    }

    /// The same with playlists of `listed` segments.
    pub(crate) fn feed_listing(&self, media: Synthetic, listed: usize) -> Feed {
        let producer = self.origin.store.create(&"demo".parse().unwrap()).unwrap();
        Feed::listing(producer, media, listed)
    }
}

/// Publishes synthetic media, as fast or as slow as a test wants.
pub(crate) struct Feed {
    pub(crate) producer: Producer,
    media: Synthetic,
    init: Option<Arc<Init>>,
    /// When media time 0 was live.
    zero: WallTime,
}

/// The number of the first segment of every feed.
pub(crate) const FIRST: u64 = 1000;

const LISTED: usize = 6;

const EPOCH: Epoch = Epoch(7);

impl Feed {
    pub(crate) fn new(producer: Producer, media: Synthetic) -> Self {
        Self::listing(producer, media, LISTED)
    }

    fn listing(mut producer: Producer, media: Synthetic, listed: usize) -> Self {
        let hello = media.hello();
        producer.begin(Format {
            ladder: hello.ladder.clone(),
            renditions: hello.renditions.clone(),
            segment: hello.segment,
            part: hello.part,
            listed,
        });
        Self {
            producer,
            media,
            init: None,
            zero: clock::wall(),
        }
    }

    /// Publishes one part; returns its length, or `None` at the end.
    pub(crate) fn part(&mut self) -> Option<MediaTime> {
        let (rungs, all) = {
            let hello = self.media.hello();
            (hello.ladder.rungs().len(), hello.shares())
        };
        let (mut shares, mut inits) = (Vec::new(), Vec::new());
        for frame in self.media.by_ref() {
            match frame {
                Frame::Init(media) => inits.push(media),
                Frame::Part(share) => {
                    shares.push(share);
                    if shares.len() == all {
                        break;
                    }
                }
                _ => {}
            }
        }
        if !inits.is_empty() {
            self.init = Some(Arc::new(Init {
                epoch: EPOCH,
                renditions: inits.split_off(1),
                media: inits.remove(0),
            }));
        }
        let lead = shares.first()?.clone();
        if lead.index == 0 {
            let head = Head {
                number: FIRST + lead.segment,
                epoch: EPOCH,
                init: self.init.clone().unwrap(),
                discontinuity: false,
                timeline: 1,
                date_time: self.zero.later(lead.start),
            };
            self.producer.open(head).unwrap();
        }
        let open = shares.iter().take(rungs).map(|share| share.independent);
        let open = Part::open_in(open);
        let mut media: Vec<_> = shares.into_iter().map(|share| share.media).collect();
        let renditions = media.split_off(rungs);
        let part = Part {
            duration: lead.duration,
            open,
            media,
            renditions,
        };
        self.producer.push(part, lead.last).unwrap();
        Some(lead.duration)
    }

    /// Publishes whole segments.
    pub(crate) fn segments(&mut self, count: usize) {
        for _ in 0..count {
            while self.part().is_some() && self.producer.window().unwrap().open_segment().is_some()
            {
            }
        }
    }

    /// Goes on in real time until the media ends or the task is dropped.
    pub(crate) fn live(mut self) -> JoinHandle<()> {
        tokio::spawn(async move {
            let mut due = tokio::time::Instant::now();
            while let Some(length) = self.part() {
                due += length.duration();
                tokio::time::sleep_until(due).await;
            }
        })
    }
}

/// The parts that a segment of synthetic media is made of.
pub(crate) fn parts(media: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut parts) = (media, Vec::new());
    while let Some(length) = rest.first_chunk::<4>() {
        let (part, after) = rest.split_at(u32::from_be_bytes(*length) as usize);
        parts.push(part.to_vec());
        rest = after;
    }
    parts
}

/// Segments of 0.8 s in two parts: short, so that tests are; rungs of 200, 800 and 2000 kbit/s.
pub(crate) fn short() -> Synthetic {
    Synthetic::new(
        &[("low", 200), ("mid", 800), ("top", 2000)],
        MediaTime::from_ticks(2, 5),
        2,
    )
    .unwrap()
}

pub(crate) fn patient() -> Limits {
    Limits {
        shutdown: Duration::from_millis(300),
        ..Limits::default()
    }
}
