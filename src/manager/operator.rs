//! What operators may say: drain this node, hold that region to so many relays; and what they may ask: what would become
//! of that, and after viewers. Only with the token that the manager was started with; without one, nobody may.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use adaptation::region::{Override, Pin, Premise, Refused, Region};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    routing::{get, post, put},
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{
    desk::{Desk, Look},
    routes::Problem,
    view::{Decision, Lookup},
};
use crate::analytics::Guard;

/// Who may. What is kept is the digest of the token, so that comparing takes as long whatever is sent.
#[derive(Debug, Default)]
pub struct Operator(Option<[u8; 32]>);

impl Operator {
    pub fn with(token: &str) -> Result<Self, String> {
        if token.len() < 16 {
            return Err("an operator's token has at least 16 characters".into());
        }
        Ok(Self(Some(digest(token))))
    }

    /// Who may look at what is more than how it goes now: who has the token, or where there is none, who is on this machine.
    pub(super) fn guard(operator: Arc<Self>) -> Guard {
        Arc::new(move |headers, local| match &operator.0 {
            None if local => Ok(()),
            None => {
                let told =
                    "without --operator-token-file this is told on the manager's own machine only";
                Err((StatusCode::FORBIDDEN, told.to_owned()))
            }
            Some(_) => operator
                .check(headers)
                .map_err(|Problem(status, told)| (status, told)),
        })
    }

    pub(super) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(ours) = &self.0 else {
            let told = "this manager was started without --operator-token-file, so that nobody may change anything";
            return Err(Problem(StatusCode::FORBIDDEN, told.into()));
        };
        let theirs = headers.get(AUTHORIZATION);
        let theirs = theirs.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        match theirs {
            Some(token) if digest(token.trim()) == *ours => Ok(()),
            _ => {
                let told = "this takes the operator's token, as `Authorization: Bearer TOKEN`";
                Err(Problem(StatusCode::UNAUTHORIZED, told.into()))
            }
        }
    }
}

#[derive(Clone)]
struct Counter {
    desk: Desk,
    operator: Arc<Operator>,
}

pub(super) fn router(desk: Desk, operator: Arc<Operator>) -> Router {
    Router::new()
        .route("/v1/operator", get(known))
        .route("/v1/foresight", post(foresee))
        .route("/v1/viewers/{viewer}", get(viewer))
        .route("/v1/nodes/{node}/viewers", get(viewers))
        .route("/v1/nodes/{node}/drain", post(drain).delete(undrain))
        .route("/v1/nodes/{node}/weight", put(weigh))
        .route("/v1/regions/{region}/pin", put(pin).delete(unpin))
        .layer(DefaultBodyLimit::max(4096))
        .with_state(Counter { desk, operator })
}

type Answer = Result<Json<serde_json::Value>, Problem>;

/// Whether the token is right.
async fn known(State(counter): State<Counter>, headers: HeaderMap) -> Answer {
    counter.operator.check(&headers)?;
    Ok(Json(serde_json::json!({ "done": true })))
}

/// What would be otherwise.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Supposed {
    overrides: Vec<Override>,
    /// Viewers of regions, on whatever node.
    viewers: BTreeMap<String, u32>,
    seconds: u64,
}

impl Default for Supposed {
    fn default() -> Self {
        Self {
            overrides: Vec::new(),
            viewers: BTreeMap::new(),
            seconds: 60,
        }
    }
}

/// What would be decided within a minute, and nothing is done.
async fn foresee(
    State(counter): State<Counter>,
    headers: HeaderMap,
    body: Result<Json<Supposed>, JsonRejection>,
) -> Answer {
    counter.operator.check(&headers)?;
    let supposed = read(body)?;
    let viewers = supposed.viewers.iter();
    let viewers: Result<_, Problem> = viewers
        .map(|(region, viewers)| Ok((named(region)?, *viewers)))
        .collect();
    let premise = Premise {
        overrides: supposed.overrides,
        viewers: viewers?,
    };
    let present = counter.desk.present().await?.map_err(refused)?;
    let span = Duration::from_secs(supposed.seconds.clamp(1, 600));
    let foreseen = tokio::task::spawn_blocking(move || {
        present
            .balancer
            .foresee(present.nodes, premise, present.now, span)
    });
    let foreseen = foreseen.await.map_err(|error| {
        let told = format!("it could not be foreseen: {error}");
        Problem(StatusCode::INTERNAL_SERVER_ERROR, told)
    })?;
    let foreseen = foreseen.map_err(refused)?.into_iter();
    let foreseen = foreseen.map(|(after, action)| {
        let decision = Decision {
            at: String::new(),
            region: action.region.map(|region| region.to_string()),
            node: action.node,
            action: action.what.name().into(),
            reason: action.reason,
        };
        serde_json::json!({ "after_ms": after.as_millis() as u64, "decision": decision })
    });
    Ok(Json(
        serde_json::json!({ "foreseen": foreseen.collect::<Vec<_>>() }),
    ))
}

/// One viewer, as the nodes know it that have viewers.
async fn viewer(
    State(counter): State<Counter>,
    Path(viewer): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Lookup>, Problem> {
    counter.operator.check(&headers)?;
    let digits = viewer.split('.').next().unwrap_or_default();
    if viewer.len() > 200 || digits.len() != 16 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        let told =
            "a viewer's id begins with 16 hexadecimal digits; it is in the URLs of its playlists";
        return Err(Problem(StatusCode::BAD_REQUEST, told.into()));
    }
    let lookup = counter.look(Look::Viewer(viewer)).await?;
    if lookup.found.is_empty() {
        let silent = match lookup.silent.is_empty() {
            true => String::new(),
            false => format!("; {} did not answer", lookup.silent.join(", ")),
        };
        let told = format!(
            "none of {} nodes with viewers has this one{silent}",
            lookup.asked
        );
        return Err(Problem(StatusCode::NOT_FOUND, told));
    }
    Ok(Json(lookup))
}

/// Some of a node's viewers.
async fn viewers(
    State(counter): State<Counter>,
    Path(node): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Lookup>, Problem> {
    counter.operator.check(&headers)?;
    let lookup = counter.look(Look::Node(node.clone())).await?;
    if lookup.asked == 0 {
        return Err(refused(Refused::Unknown { node }));
    }
    Ok(Json(lookup))
}

async fn drain(
    State(counter): State<Counter>,
    Path(node): Path<String>,
    headers: HeaderMap,
) -> Answer {
    counter.obey(&headers, Override::Drain { node }).await
}

async fn undrain(
    State(counter): State<Counter>,
    Path(node): Path<String>,
    headers: HeaderMap,
) -> Answer {
    counter.obey(&headers, Override::Undrain { node }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Weight {
    weight: f64,
}

async fn weigh(
    State(counter): State<Counter>,
    Path(node): Path<String>,
    headers: HeaderMap,
    body: Result<Json<Weight>, JsonRejection>,
) -> Answer {
    counter.operator.check(&headers)?;
    let weight = read(body)?.weight;
    counter
        .obey(&headers, Override::Weigh { node, weight })
        .await
}

async fn pin(
    State(counter): State<Counter>,
    Path(region): Path<String>,
    headers: HeaderMap,
    body: Result<Json<Pin>, JsonRejection>,
) -> Answer {
    counter.operator.check(&headers)?;
    let (region, pin) = (named(&region)?, read(body)?);
    counter.obey(&headers, Override::Pin { region, pin }).await
}

async fn unpin(
    State(counter): State<Counter>,
    Path(region): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let region = named(&region)?;
    counter.obey(&headers, Override::Unpin { region }).await
}

impl Counter {
    async fn obey(&self, headers: &HeaderMap, wanted: Override) -> Answer {
        self.operator.check(headers)?;
        self.desk.obey(wanted).await?.map_err(refused)?;
        Ok(Json(serde_json::json!({ "done": true })))
    }

    async fn look(&self, look: Look) -> Result<Lookup, Problem> {
        self.desk.look(look).await?.ok_or_else(|| {
            let told = "as much is asked of nodes already as they answer at a time; ask again";
            Problem(StatusCode::SERVICE_UNAVAILABLE, told.into())
        })
    }
}

fn refused(refused: Refused) -> Problem {
    let status = match refused {
        Refused::Unknown { .. } => StatusCode::NOT_FOUND,
        Refused::Wrong { .. } => StatusCode::BAD_REQUEST,
        _ => StatusCode::CONFLICT,
    };
    Problem(status, refused.to_string())
}

/// An operator is told of a name that is none, where a viewer gets the default.
fn named(text: &str) -> Result<Region, Problem> {
    let region = Region::new(text);
    if region.as_str() == text.to_ascii_lowercase() {
        return Ok(region);
    }
    let told = format!("{text:?} is no region: 1 to 32 letters, digits and '-'");
    Err(Problem(StatusCode::BAD_REQUEST, told))
}

fn read<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    match body {
        Ok(Json(value)) => Ok(value),
        Err(error) => Err(Problem(StatusCode::BAD_REQUEST, error.body_text())),
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
