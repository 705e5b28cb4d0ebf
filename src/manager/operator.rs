//! What operators may say: drain this node, hold that region to so many relays. Only with the token that the
//! manager was started with; without one, nobody may.

use std::sync::Arc;

use adaptation::region::{Override, Pin, Refused, Region};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    routing::{post, put},
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{desk::Desk, routes::Problem};
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
        .route("/v1/nodes/{node}/drain", post(drain).delete(undrain))
        .route("/v1/nodes/{node}/weight", put(weigh))
        .route("/v1/regions/{region}/pin", put(pin).delete(unpin))
        .layer(DefaultBodyLimit::max(4096))
        .with_state(Counter { desk, operator })
}

type Answer = Result<Json<serde_json::Value>, Problem>;

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
        match self.desk.obey(wanted).await? {
            Ok(()) => Ok(Json(serde_json::json!({ "done": true }))),
            Err(refused) => {
                let status = match refused {
                    Refused::Unknown { .. } => StatusCode::NOT_FOUND,
                    Refused::Wrong { .. } => StatusCode::BAD_REQUEST,
                    _ => StatusCode::CONFLICT,
                };
                Err(Problem(status, refused.to_string()))
            }
        }
    }
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
