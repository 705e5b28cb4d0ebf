//! What operators may say: drain this node, hold that region to so many relays. Only with the token that the
//! manager was started with; without one, nobody may.

use std::sync::Arc;

use adaptation::region::{Override, Pin, Refused, Region};
use axum::{
    Json,
    extract::{DefaultBodyLimit, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::{
    IntoResponses, Modify, ToSchema,
    openapi::{
        OpenApi,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::desk::Desk;
use crate::{
    analytics::Guard,
    api::{Path, Problem, Told},
};

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

pub(super) fn router(desk: Desk, operator: Arc<Operator>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(drain, undrain))
        .routes(routes!(weigh))
        .routes(routes!(pin, unpin))
        .layer(DefaultBodyLimit::max(4096))
        .with_state(Counter { desk, operator })
}

/// How the token is asked for, in the description.
pub(super) struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut OpenApi) {
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The token in the file of `--operator-token-file`."));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("operator", SecurityScheme::Http(token.build()));
    }
}

type Answer = Result<Json<Done>, Problem>;

/// It was taken, and is decided with from now on.
#[derive(Serialize, ToSchema)]
struct Done {
    done: bool,
}

/// No more joins for this node, and its viewers are moved elsewhere
#[utoipa::path(post, path = "/v1/nodes/{node}/drain", tag = "operator", security(("operator" = [])),
    params(("node" = String, Path, description = "As `/v1/nodes` calls it")), responses(Taken))]
async fn drain(
    State(counter): State<Counter>,
    Path(node): Path<String>,
    headers: HeaderMap,
) -> Answer {
    counter.obey(&headers, Override::Drain { node }).await
}

/// Takes it back
#[utoipa::path(delete, path = "/v1/nodes/{node}/drain", tag = "operator", security(("operator" = [])),
    params(("node" = String, Path, description = "As `/v1/nodes` calls it")), responses(Taken))]
async fn undrain(
    State(counter): State<Counter>,
    Path(node): Path<String>,
    headers: HeaderMap,
) -> Answer {
    counter.obey(&headers, Override::Undrain { node }).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Weight {
    /// 1 is usual.
    #[schema(minimum = 0, maximum = 1000)]
    weight: f64,
}

/// How many of the joins a node has, beside others of its region
#[utoipa::path(put, path = "/v1/nodes/{node}/weight", tag = "operator", security(("operator" = [])), request_body = Weight,
    params(("node" = String, Path, description = "As `/v1/nodes` calls it")), responses(Taken))]
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

/// At least one of the two.
#[derive(Default, Deserialize, ToSchema)]
#[schema(min_properties = 1)]
#[serde(default, deny_unknown_fields)]
struct Held {
    /// No fewer relays and no more.
    #[schema(nullable = false)]
    relays: Option<usize>,
    /// Joins go to this node while it serves, whatever its region.
    #[schema(nullable = false)]
    node: Option<String>,
}

/// Holds a region to so many relays, or to one node
#[utoipa::path(put, path = "/v1/regions/{region}/pin", tag = "operator", security(("operator" = [])), request_body = Held,
    params(("region" = String, Path, pattern = "^[A-Za-z0-9-]{1,32}$")), responses(Taken))]
async fn pin(
    State(counter): State<Counter>,
    Path(region): Path<String>,
    headers: HeaderMap,
    body: Result<Json<Held>, JsonRejection>,
) -> Answer {
    counter.operator.check(&headers)?;
    let (region, Held { relays, node }) = (named(&region)?, read(body)?);
    let pin = Pin { relays, node };
    counter.obey(&headers, Override::Pin { region, pin }).await
}

/// Lets it go as it goes
#[utoipa::path(delete, path = "/v1/regions/{region}/pin", tag = "operator", security(("operator" = [])),
    params(("region" = String, Path, pattern = "^[A-Za-z0-9-]{1,32}$")), responses(Taken))]
async fn unpin(
    State(counter): State<Counter>,
    Path(region): Path<String>,
    headers: HeaderMap,
) -> Answer {
    counter.operator.check(&headers)?;
    let region = named(&region)?;
    counter.obey(&headers, Override::Unpin { region }).await
}

/// What comes of an operator's word, for the description.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described")]
enum Taken {
    /// Taken.
    #[response(status = 200)]
    Done(#[to_schema] Done),
    /// It makes no sense, and why.
    #[response(status = 400)]
    Wrong(#[to_schema] Told),
    /// Without the token.
    #[response(status = 401)]
    Unknown(#[to_schema] Told),
    /// This manager has no token, so that nobody may.
    #[response(status = 403)]
    Never(#[to_schema] Told),
    /// There is no such node.
    #[response(status = 404)]
    Nobody(#[to_schema] Told),
    /// It cannot be done to this one.
    #[response(status = 409)]
    Refused(#[to_schema] Told),
    /// The manager is stopping.
    #[response(status = 503)]
    Closing(#[to_schema] Told),
}

impl Counter {
    async fn obey(&self, headers: &HeaderMap, wanted: Override) -> Answer {
        self.operator.check(headers)?;
        match self.desk.obey(wanted).await? {
            Ok(()) => Ok(Json(Done { done: true })),
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
