//! A stand-in for an upstream node: hands on what that answers, counts what is asked of it, and fails when it is told to.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) struct Counting {
    pub(crate) url: String,
    /// So many media objects are broken off in the middle.
    pub(crate) breaks: Arc<AtomicU32>,
    shared: Arc<Shared>,
    _guard: DropGuard,
}

struct Shared {
    to: String,
    /// What was answered, and how often. Not what was refused, nor what is refused here.
    seen: Mutex<BTreeMap<String, u32>>,
    mood: watch::Sender<Mood>,
    breaks: Arc<AtomicU32>,
    asked: watch::Sender<Vec<String>>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Mood {
    Well,
    Cut,
    Frozen,
    /// What has this in its name waits.
    Holds(String),
}

impl Counting {
    pub(crate) async fn before(to: &str) -> Self {
        let breaks = Arc::new(AtomicU32::new(0));
        let shared = Arc::new(Shared {
            to: to.to_owned(),
            seen: Mutex::default(),
            mood: watch::channel(Mood::Well).0,
            breaks: breaks.clone(),
            asked: watch::channel(Vec::new()).0,
        });
        let app = Router::new().fallback(pass).with_state(shared.clone());
        let listener = spillway::net::bind(([127, 0, 0, 1], 0).into())
            .await
            .unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(spillway::net::serve(
            listener,
            app,
            spillway::net::Limits::default(),
            stop.clone(),
        ));
        Self {
            url,
            breaks,
            shared,
            _guard: stop.drop_guard(),
        }
    }

    /// How often each object of media was asked for.
    pub(crate) fn seen(&self) -> BTreeMap<String, u32> {
        let seen = self.shared.seen.lock().unwrap();
        let media = seen.iter().filter(|(path, _)| path.ends_with(".m4s"));
        media.map(|(path, times)| (path.clone(), *times)).collect()
    }

    /// How often objects were asked for that have this in their name.
    pub(crate) fn media(&self, part: &str) -> u32 {
        let seen = self.seen();
        let like = seen.iter().filter(|(path, _)| path.contains(part));
        like.map(|(_, times)| times).sum()
    }

    /// How often the one was asked for that was asked for most.
    pub(crate) fn most(&self) -> u32 {
        self.seen().values().copied().max().unwrap_or(0)
    }

    /// Refuses everything, and ends what it was about to answer.
    pub(crate) fn cut(&self) {
        self.shared.mood.send_replace(Mood::Cut);
    }

    pub(crate) fn freeze(&self) {
        self.shared.mood.send_replace(Mood::Frozen);
    }

    pub(crate) fn mend(&self) {
        self.shared.mood.send_replace(Mood::Well);
    }

    pub(crate) fn release(&self) {
        self.mend();
    }

    pub(crate) fn hold(&self, part: &str) {
        self.shared.mood.send_replace(Mood::Holds(part.to_owned()));
    }

    /// Waits until something is asked for that has this in its name.
    pub(crate) async fn asked(&self, part: &str) {
        let mut asked = self.shared.asked.subscribe();
        let like = |all: &Vec<String>| all.iter().any(|path| path.contains(part));
        asked.wait_for(like).await.unwrap();
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().to_string();
    shared.asked.send_modify(|asked| asked.push(path.clone()));
    let mut mood = shared.mood.subscribe();
    let through = |mood: &Mood| match mood {
        Mood::Well | Mood::Cut => true,
        Mood::Frozen => false,
        Mood::Holds(part) => !path.contains(part),
    };
    if *mood.wait_for(through).await.unwrap() == Mood::Cut {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let traced = request.headers().get("traceparent").cloned();
    let answered = async {
        let mut asking = reqwest::Client::new().get(format!("{}{path}", shared.to));
        if let Some(trace) = traced {
            asking = asking.header("traceparent", trace);
        }
        let answer = asking.send().await.unwrap();
        let (status, kind) = (
            answer.status(),
            answer.headers().get(header::CONTENT_TYPE).cloned(),
        );
        (status, kind, answer.bytes().await.unwrap())
    };
    let (status, kind, octets) = tokio::select! {
        answered = answered => answered,
        _ = mood.wait_for(|mood| *mood == Mood::Cut) => return StatusCode::BAD_GATEWAY.into_response(),
    };
    // What was on its way when it froze does not come either.
    if *mood.wait_for(|mood| *mood != Mood::Frozen).await.unwrap() == Mood::Cut {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    if status.is_success() {
        *shared.seen.lock().unwrap().entry(path.clone()).or_default() += 1;
    }
    let breaks = path.ends_with(".m4s")
        && path.contains("/top/")
        && shared
            .breaks
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
            .is_ok();
    let length = octets.len();
    let body = if breaks {
        let half = octets.slice(..length / 2);
        let chunks = [Ok(half), Err(std::io::Error::other("cut"))];
        Body::from_stream(futures_util::stream::iter::<[Result<Bytes, _>; 2]>(chunks))
    } else {
        Body::from(octets)
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length.into());
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}
