//! A stream of short synthetic segments for players, on nodes that share it, and somebody who
//! sends players to one of them.
//!
//! Media is `segmenter::synthetic`'s; publishing is paced by this file, not by a segmenter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
    routing::get,
};
use playlists::{Epoch, Format, Head, Init, MediaTime, Part, Renditions, WallTime};
use reqwest::Url;
use segmenter::{synthetic::Synthetic, wire::Frame};
use spillway::{
    net::{self, Front, FrontConfig, Limits},
    origin::{self, Origin, Terms},
    store::{Producer, Store},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const STREAM: &str = "live";

/// How much there is when the first player comes: more than it starts behind the edge.
const BEFORE: u64 = 24;

/// One stream in the store that all nodes share: the same numbers everywhere.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) store: Store,
    publisher: JoinHandle<()>,
}

impl Stream {
    /// Live, in segments of 200 ms.
    pub(crate) fn live() -> Self {
        Self::of(Synthetic::new(&RUNGS, part(), PARTS).unwrap())
    }

    /// Over after `segments`, all of which are there from the start.
    pub(crate) fn ended(segments: u64) -> Self {
        assert!(segments <= BEFORE);
        Self::of(
            Synthetic::new(&RUNGS, part(), PARTS)
                .unwrap()
                .segments(segments),
        )
    }

    fn of(media: Synthetic) -> Self {
        let store = Store::default();
        let mut producer = store.create(&STREAM.parse().unwrap()).unwrap();
        let length = media.hello().segment;
        let began = now().later(MediaTime::ZERO - length * BEFORE as i64);
        let (ladder, part) = (media.hello().ladder.clone(), media.hello().part);
        producer.begin(Format {
            ladder,
            renditions: Renditions::default(),
            segment: length,
            part,
            listed: 20,
        });
        let mut run = Run {
            media,
            producer,
            init: None,
            began,
            last: false,
        };
        // What was there before anybody looked.
        while run.published() < BEFORE && run.part() {}
        let publisher = tokio::spawn(async move {
            let mut pace = tokio::time::interval(length.duration() / u32::from(PARTS));
            while !run.last {
                pace.tick().await;
                run.part();
            }
            // Its window stays for as long as its producer does.
            std::future::pending::<()>().await;
        });
        Self { store, publisher }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.publisher.abort();
    }
}

struct Run {
    media: Synthetic,
    producer: Producer,
    init: Option<Arc<Init>>,
    /// When its first picture was live.
    began: WallTime,
    last: bool,
}

impl Run {
    fn published(&self) -> u64 {
        let complete = self
            .producer
            .window()
            .and_then(|window| window.last_complete());
        complete.map_or(0, |segment| segment.number() - FIRST + 1)
    }

    /// Publishes the next part in all rungs; `false` at the end.
    fn part(&mut self) -> bool {
        let mut media = Vec::new();
        loop {
            let part = match self.media.next() {
                Some(Frame::Part(part)) => part,
                Some(Frame::Init(media)) => {
                    self.init = Some(Arc::new(Init {
                        epoch: Epoch(7),
                        media,
                        renditions: Vec::new(),
                    }));
                    continue;
                }
                Some(Frame::End(_)) | None => {
                    self.producer.end();
                    self.last = true;
                    return false;
                }
                Some(_) => continue,
            };
            if part.rung == 0 && part.index == 0 {
                self.open(part.segment);
            }
            media.push(part.media);
            if media.len() == RUNGS.len() {
                let (duration, independent) = (part.duration, part.independent);
                self.producer
                    .push(
                        Part {
                            duration,
                            open: if independent { usize::MAX } else { 0 },
                            media,
                            renditions: Vec::new(),
                        },
                        part.last,
                    )
                    .unwrap();
                return true;
            }
        }
    }

    fn open(&mut self, segment: u64) {
        let length = self.media.hello().segment;
        let head = Head {
            number: FIRST + segment,
            epoch: Epoch(7),
            init: self.init.clone().unwrap(),
            discontinuity: false,
            timeline: 3,
            date_time: self.began.later(length * segment as i64),
        };
        self.producer.open(head).unwrap();
    }
}

/// An origin on a port of its own.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) origin: Arc<Origin>,
    pub(crate) url: Url,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Node {
    pub(crate) async fn start(name: &str, stream: &Stream) -> Self {
        Self::of(name, stream, None).await
    }

    /// Over TLS, with what `config` presents to who asks for `localhost`.
    #[allow(dead_code, reason = "each test file uses a part of it")]
    pub(crate) async fn encrypted(name: &str, stream: &Stream, config: &FrontConfig) -> Self {
        Self::of(name, stream, Some(config.open().await.unwrap())).await
    }

    async fn of(name: &str, stream: &Stream, front: Option<Front>) -> Self {
        let origin = Origin::new(name.into(), stream.store.clone(), Terms::default());
        let stop = CancellationToken::new();
        let app = origin::public(origin.clone());
        let (url, server) = match front {
            None => serve(app, stop.clone()).await,
            Some(front) => {
                let listener = net::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
                let port = listener.local_addr().unwrap().port();
                let url: Url = format!("https://localhost:{port}/").parse().unwrap();
                let (base, stop) = (url.clone(), stop.clone());
                let serving = async move { front.serve(listener, app, &base, stop).await };
                (url, tokio::spawn(serving))
            }
        };
        let tasks = vec![server, tokio::spawn(origin.clone().run(stop.clone()))];
        Self {
            origin,
            url,
            stop,
            tasks,
        }
    }

    pub(crate) fn base(&self) -> String {
        self.url.as_str().trim_end_matches('/').to_owned()
    }

    pub(crate) fn index(&self) -> Url {
        self.url
            .join(&format!("/live/{STREAM}/index.m3u8"))
            .unwrap()
    }
}

impl Node {
    /// Takes no connection any more, and ends those it has.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// Sends every join to the node that it was told of last, as a traffic manager does.
#[derive(Debug)]
pub(crate) struct Manager {
    pub(crate) url: Url,
    to: Arc<Mutex<String>>,
}

impl Manager {
    pub(crate) async fn start(node: &Node) -> Self {
        let to = Arc::new(Mutex::new(node.base()));
        let app = Router::new()
            .route("/watch/{playlist}", get(watch))
            .with_state(to.clone());
        let (url, _) = serve(app, CancellationToken::new()).await;
        Self { url, to }
    }

    pub(crate) fn send_to(&self, node: &Node) {
        *self.to.lock().unwrap() = node.base();
    }

    pub(crate) fn watch(&self, stream: &str) -> Url {
        self.url
            .join(&format!("/watch/{stream}.m3u8?region=paris"))
            .unwrap()
    }
}

async fn watch(State(to): State<Arc<Mutex<String>>>, Path(playlist): Path<String>) -> Response {
    let stream = playlist.trim_end_matches(".m3u8");
    if stream != STREAM {
        let told = format!(r#"{{"error":"the primary has no stream \"{stream}\""}}"#);
        return (StatusCode::NOT_FOUND, told).into_response();
    }
    let node = to.lock().unwrap().clone();
    Redirect::temporary(&format!("{node}/live/{stream}/index.m3u8?region=paris")).into_response()
}

async fn serve(
    app: impl Into<net::App> + Send + 'static,
    stop: CancellationToken,
) -> (Url, JoinHandle<()>) {
    let listener = net::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let task = tokio::spawn(net::serve(listener, app, Limits::default(), stop));
    (url.parse().unwrap(), task)
}

fn part() -> MediaTime {
    MediaTime::from_ticks(1, 10)
}

fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    WallTime::from_millis(since.as_millis() as i64)
}

const RUNGS: [(&str, u64); 3] = [("240p", 300), ("480p", 900), ("720p", 2000)];
const PARTS: u16 = 2;
const FIRST: u64 = 1000;
