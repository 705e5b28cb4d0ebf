//! What operators may say: drain this node, hold that region to so many relays; and what they may ask: what would become
//! of that, and after viewers. Only with the token that the manager was started with; without one, nobody may.

mod words;

use std::{sync::Arc, time::Duration};

use adaptation::region::{Override, Refused};
use axum::{
    Json,
    extract::{DefaultBodyLimit, Request, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    middleware::{self, Next},
    response::Response,
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use utoipa::{
    IntoResponses, Modify, ToSchema,
    openapi::{
        OpenApi,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::words::{Held, Supposed, Weight, named, read};
use super::{
    desk::{Desk, Look},
    view::{Decision, Lookup},
};
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

pub(super) fn router(desk: Desk, operator: Arc<Operator>) -> OpenApiRouter {
    let counter = Counter { desk, operator };
    let allowed = middleware::from_fn_with_state(counter.clone(), allowed);
    OpenApiRouter::new()
        .routes(routes!(known))
        .routes(routes!(foresee))
        .routes(routes!(viewer))
        .routes(routes!(viewers))
        .routes(routes!(drain, undrain))
        .routes(routes!(weigh))
        .routes(routes!(pin, unpin))
        .layer(DefaultBodyLimit::max(4096))
        .route_layer(allowed)
        .with_state(counter)
}

/// Before anything else is looked at.
async fn allowed(
    State(counter): State<Counter>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    counter.operator.check(request.headers())?;
    Ok(next.run(request).await)
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

/// Whether the token is right
#[utoipa::path(get, path = "/v1/operator", tag = "operator", security(("operator" = [])), responses(Taken, Refusals))]
async fn known() -> Json<Done> {
    Json(Done { done: true })
}

/// What would be decided, in the order of time.
#[derive(Serialize, ToSchema)]
struct Foreseen {
    foreseen: Vec<Ahead>,
}

/// A decision, and how long from now.
#[derive(Serialize, ToSchema)]
struct Ahead {
    after_ms: u64,
    decision: Decision,
}

/// What would be decided within a minute, or so many seconds; nothing is done
#[utoipa::path(post, path = "/v1/foresight", tag = "operator", security(("operator" = [])), request_body = Supposed,
    responses((status = 200, description = "In the order of time.", body = Foreseen), (status = 500, description = "It could not be foreseen.", body = Told), Refusals))]
async fn foresee(
    State(counter): State<Counter>,
    body: Result<Json<Supposed>, JsonRejection>,
) -> Result<Json<Foreseen>, Problem> {
    let supposed = read(body)?;
    let span = Duration::from_secs(u64::from(supposed.seconds).clamp(1, 600));
    let premise = supposed.into();
    let present = counter.desk.present().await?.map_err(refused)?;
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
        let after_ms = after.as_millis() as u64;
        Ahead { after_ms, decision }
    });
    let foreseen = foreseen.collect();
    Ok(Json(Foreseen { foreseen }))
}

/// One viewer, as the nodes know it that have viewers
#[utoipa::path(get, path = "/v1/viewers/{viewer}", tag = "operator", security(("operator" = [])),
    params(("viewer" = String, Path, pattern = "^[0-9A-Fa-f]{16}([.][A-Za-z0-9._-]*)?$", max_length = 200,
        description = "An id, which is in the URLs of the viewer's playlists, or its first 16 digits")),
    responses((status = 200, description = "What nodes say.", body = Lookup), Refusals))]
async fn viewer(
    State(counter): State<Counter>,
    Path(viewer): Path<String>,
) -> Result<Json<Lookup>, Problem> {
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

/// Some of a node's viewers
#[utoipa::path(get, path = "/v1/nodes/{node}/viewers", tag = "operator", security(("operator" = [])),
    params(("node" = String, Path, description = "As `/v1/nodes` calls it")),
    responses((status = 200, description = "What the node says.", body = Lookup), Refusals))]
async fn viewers(
    State(counter): State<Counter>,
    Path(node): Path<String>,
) -> Result<Json<Lookup>, Problem> {
    let lookup = counter.look(Look::Node(node.clone())).await?;
    if lookup.asked == 0 {
        return Err(refused(Refused::Unknown { node }));
    }
    Ok(Json(lookup))
}

/// No more joins for this node, and its viewers are moved elsewhere
#[utoipa::path(post, path = "/v1/nodes/{node}/drain", tag = "operator", security(("operator" = [])),
    params(("node" = String, Path, description = "As `/v1/nodes` calls it")), responses(Taken, Refusals))]
async fn drain(State(counter): State<Counter>, Path(node): Path<String>) -> Answer {
    counter.obey(Override::Drain { node }).await
}

/// Takes it back
#[utoipa::path(delete, path = "/v1/nodes/{node}/drain", tag = "operator", security(("operator" = [])),
    params(("node" = String, Path, description = "As `/v1/nodes` calls it")), responses(Taken, Refusals))]
async fn undrain(State(counter): State<Counter>, Path(node): Path<String>) -> Answer {
    counter.obey(Override::Undrain { node }).await
}

/// How many of the joins a node has, beside others of its region
#[utoipa::path(put, path = "/v1/nodes/{node}/weight", tag = "operator", security(("operator" = [])), request_body = Weight,
    params(("node" = String, Path, description = "As `/v1/nodes` calls it")), responses(Taken, Refusals))]
async fn weigh(
    State(counter): State<Counter>,
    Path(node): Path<String>,
    body: Result<Json<Weight>, JsonRejection>,
) -> Answer {
    let weight = read(body)?.weight;
    counter.obey(Override::Weigh { node, weight }).await
}

/// Holds a region to so many relays, or to one node
#[utoipa::path(put, path = "/v1/regions/{region}/pin", tag = "operator", security(("operator" = [])), request_body = Held,
    params(("region" = String, Path, pattern = "^[A-Za-z0-9-]{1,32}$")), responses(Taken, Refusals))]
async fn pin(
    State(counter): State<Counter>,
    Path(region): Path<String>,
    body: Result<Json<Held>, JsonRejection>,
) -> Answer {
    let (region, pin) = (named(region)?, read(body)?.into());
    counter.obey(Override::Pin { region, pin }).await
}

/// Lets it go as it goes
#[utoipa::path(delete, path = "/v1/regions/{region}/pin", tag = "operator", security(("operator" = [])),
    params(("region" = String, Path, pattern = "^[A-Za-z0-9-]{1,32}$")), responses(Taken, Refusals))]
async fn unpin(State(counter): State<Counter>, Path(region): Path<String>) -> Answer {
    let region = named(region)?;
    counter.obey(Override::Unpin { region }).await
}

/// What comes of an operator's word, for the description.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described")]
#[response(status = 200, description = "Taken.")]
struct Taken(#[to_schema] Done);

/// Why nothing comes of it, for the description.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described")]
enum Refusals {
    /// It makes no sense, and why.
    #[response(status = 400)]
    Wrong(#[to_schema] Told),
    /// Without the token.
    #[response(status = 401)]
    Unknown(#[to_schema] Told),
    /// This manager has no token, so that nobody may.
    #[response(status = 403)]
    Never(#[to_schema] Told),
    /// There is none of that name.
    #[response(status = 404)]
    Nobody(#[to_schema] Told),
    /// It cannot be done to this one, or not now.
    #[response(status = 409)]
    Refused(#[to_schema] Told),
    /// The manager is stopping, or too much is asked already; ask again.
    #[response(status = 503)]
    Closing(#[to_schema] Told),
}

impl Counter {
    async fn obey(&self, wanted: Override) -> Answer {
        self.desk.obey(wanted).await?.map_err(refused)?;
        Ok(Json(Done { done: true }))
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

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
