//! A node's face to its viewers: playlists, and media in the rung that each viewer can have.
//!
//! Knows the store, not who fills it; obeys a [`Stance`], not the manager that may be behind it.

mod abandoning;
mod account;
pub mod admission;
pub mod announcing;
pub mod arms;
mod asking;
pub mod beside;
mod cadence;
pub mod cmcd;
pub mod cmsd;
mod counted;
pub mod delivery;
pub mod derived;
pub mod edge;
pub mod explain;
mod exposed;
mod flights;
mod gate;
mod inquiry;
pub mod journal;
mod lacking;
mod ledger;
mod listening;
pub mod media;
pub mod meter;
mod moving;
pub mod ops;
pub mod outbox;
mod own;
pub mod piece;
pub mod playlist;
pub mod profile;
pub mod pulled;
pub mod reporter;
mod rewind;
mod room;
mod rounds;
pub mod seat;
mod seated;
pub mod share;
mod shortcut;
mod shown;
mod signalling;
mod steering;
mod stills;
pub mod strain;
mod streams;
mod telling;
mod traced;
pub mod uploading;
pub mod viewers;
pub mod visits;
pub mod weights;
pub mod wheel;

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use adaptation::{Rate, region::Region};
use arc_swap::{ArcSwap, ArcSwapOption};
use axum::{
    Router,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use playlists::Bitrate;
use tokio_util::sync::CancellationToken;
use tower_http::cors::{Any, CorsLayer};

use self::{
    admission::Overflow,
    counted::Requests,
    derived::Derived,
    profile::Latency,
    pulled::Pulled,
    share::Share,
    shortcut::Sooner,
    uploading::Upload,
    viewers::{Rules, Viewers},
    weights::Weights,
};
use crate::{net::App, store::Store, token::keys::Keys, traces::Tracer};

/// What a node does with viewers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Stance {
    #[default]
    Serving,
    /// Serves, but sends viewers of these regions to the nodes at these base URLs.
    Sending { to: BTreeMap<Region, String> },
    /// Serves, but has sent some to the node at this base URL; with `keep`, whoever is beyond so many goes there.
    Giving { to: String, keep: Option<u32> },
    /// Sends everybody to the node at this base URL.
    Draining { to: String },
}

impl Stance {
    /// Where viewers would be sent, if it is known: what a manager said of it last.
    pub fn elsewhere(&self) -> Option<&str> {
        match self {
            Self::Serving | Self::Sending { .. } => None,
            Self::Giving { to, .. } | Self::Draining { to } => Some(to),
        }
    }
}

/// What a node grants its viewers.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Egress to share among all viewers; `None` if there is enough for everybody.
    pub budget: Option<Bitrate>,
    /// The budget is to be learnt from when more could not be sent.
    pub budget_learnt: bool,
    /// How much viewers count where the budget is short.
    pub weights: Weights,
    /// Who is held down by the budget is sent no faster than so many times the rate of its ceiling.
    pub pace: Option<f64>,
    /// Deliveries that are lost are broken off, to players that ask again.
    pub abandon: bool,
    /// Viewers at a time; beyond it, who joins is asked to come back later.
    pub max_viewers: usize,
    /// For viewers who ask for nothing, and whose player is not known to ignore parts.
    pub latency: Latency,
    /// Viewers come through a cache that keeps what may be kept.
    pub behind_cdn: bool,
    /// Where joins go that there is no room for; `None`: they are asked to come back later.
    pub overflow: Option<Overflow>,
    /// What playback tokens are signed with; `None` lets everybody in.
    pub keys: Option<Arc<Keys>>,
    /// Who is told what becomes of requests.
    pub tracer: Tracer,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            budget: None,
            budget_learnt: false,
            weights: Weights::default(),
            pace: None,
            abandon: true,
            max_viewers: 10_000,
            latency: Latency::Low,
            behind_cdn: false,
            overflow: None,
            keys: None,
            tracer: Tracer::default(),
        }
    }
}

/// All that the handlers share.
#[derive(Debug)]
pub struct Origin {
    pub node: String,
    pub store: Store,
    pub viewers: Arc<Viewers>,
    pub share: Arc<ArcSwap<Share>>,
    pub stance: ArcSwap<Stance>,
    pub terms: Terms,
    pub derived: Derived,
    /// Base URL under which viewers reach this node, once that is known.
    pub address: OnceLock<String>,
    /// Base URL of the node that keeps more than what is live, if this one follows it.
    pub keeper: ArcSwapOption<String>,
    /// What is taken from there when it is asked for.
    pub pulled: Pulled,
    pub requests: Arc<Requests>,
    /// How it goes with what is told of viewers.
    pub upload: Arc<Upload>,
}

impl Origin {
    pub fn new(node: String, store: Store, terms: Terms) -> Arc<Self> {
        Self::ruled_by(Box::new(Rate::default()), node, store, terms)
    }

    /// With other rules for choosing rungs.
    pub fn ruled_by(
        rules: impl Into<Rules>,
        node: String,
        store: Store,
        terms: Terms,
    ) -> Arc<Self> {
        Arc::new(Self {
            node,
            store,
            viewers: Arc::new(Viewers::new(rules, terms.max_viewers)),
            share: Arc::default(),
            stance: ArcSwap::default(),
            terms,
            derived: Derived::default(),
            address: OnceLock::new(),
            keeper: ArcSwapOption::empty(),
            pulled: Pulled::default(),
            requests: Arc::default(),
            upload: Arc::default(),
        })
    }

    /// The work that goes on beside the requests: sharing the egress, forgetting the silent.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        share::run(
            self.store.clone(),
            self.viewers.clone(),
            &self.terms,
            self.share.clone(),
            stop,
        )
        .await;
    }
}

/// What viewers, relays and players reach.
pub fn public(origin: Arc<Origin>) -> App {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(Any)
        .allow_headers(Any)
        .expose_headers(EXPOSED.map(HeaderName::from_static))
        .max_age(Duration::from_secs(86_400));
    let inside = Router::new()
        .route("/live", get(streams::list))
        .route("/live/{stream}/index.m3u8", get(playlist::join))
        .route("/live/{stream}/{playlist}", get(playlist::canonical))
        .route(
            "/live/{stream}/v/{viewer}/index.m3u8",
            get(playlist::viewer),
        )
        .route(
            "/live/{stream}/v/{viewer}/steering.json",
            get(steering::manifest),
        )
        .route("/live/{stream}/v/{viewer}/{name}", get(media::chosen))
        .route("/live/{stream}/v/{viewer}/{epoch}/init.mp4", get(own::init))
        .route(
            "/live/{stream}/v/{viewer}/{epoch}/{rung}/{name}",
            get(own::taken),
        )
        .route("/live/{stream}/{epoch}/init.mp4", get(media::init))
        .route("/live/{stream}/poster.jpg", get(stills::jpeg))
        .route("/live/{stream}/poster.webp", get(stills::webp))
        .route("/live/{stream}/storyboard.vtt", get(stills::storyboard))
        .route(
            "/live/{stream}/{epoch}/storyboard/{name}",
            get(stills::sprite),
        )
        .route(
            "/live/{stream}/{epoch}/{rung}/{name}",
            get(media::canonical),
        )
        .with_state(origin.clone());
    let router = match &origin.terms.keys {
        Some(keys) => gate::before(inside, keys.clone()),
        None => inside,
    };
    // Outermost, so that a page may read why it was refused, and asks before without a token.
    let requests = middleware::from_fn_with_state(origin.requests.clone(), counted::counting);
    let mut router = router.layer(cors).layer(requests);
    let tracer = &origin.terms.tracer;
    if tracer.is_on() {
        router = router.layer(middleware::from_fn_with_state(
            tracer.clone(),
            traced::tracing,
        ));
    }
    match Sooner::of(&origin) {
        Some(sooner) => App::new(router, Arc::new(sooner)),
        None => router.into(),
    }
}

/// What a page may read of an answer, beside the usual.
const EXPOSED: [&str; 10] = [
    "accept-ranges",
    "content-range",
    "etag",
    "spillway-rung",
    "spillway-reason",
    "spillway-estimate",
    "spillway-node",
    "spillway-decision",
    cmsd::STATIC,
    cmsd::DYNAMIC,
];

/// An answer that says what was wrong, in one line.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    why: String,
    /// Seconds until it is worth asking again.
    again: Option<u32>,
}

impl Refusal {
    fn of(status: StatusCode, why: impl Into<String>) -> Self {
        Self {
            status,
            why: why.into(),
            again: None,
        }
    }

    fn not_found(why: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            why: why.into(),
            again: None,
        }
    }

    fn bad_request(why: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            why: why.into(),
            again: None,
        }
    }

    fn later(why: impl Into<String>, again: u32) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            why: why.into(),
            again: Some(again),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (
            self.status,
            [(header::CACHE_CONTROL, NO_STORE)],
            self.why + "\n",
        )
            .into_response();
        if let Some(seconds) = self.again {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Depends on who asks and when.
const NO_STORE: &str = "private, no-store";
