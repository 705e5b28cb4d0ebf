//! Analytics over HTTP: parse, ask, answer. Who may is the caller's to say.

use std::sync::Arc;

use axum::{
    Extension, Json,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::Deserialize;
use utoipa::{IntoParams, OpenApi};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Export, Form, Keeper, Moment, Unkept, What,
    ask::{Asked, Question},
    now_ms,
    told::{NowTold, Octets, Refusals, Series, Totals},
};
use crate::{
    api::{Problem, Query},
    net::Connection,
};

/// Whether who sends these headers, from this machine or not, may look; why not otherwise.
pub type Guard = Arc<dyn Fn(&HeaderMap, bool) -> Result<(), (StatusCode, String)> + Send + Sync>;

/// `/v1/analytics/...`, for whom `guard` lets in.
pub fn router(keeper: Keeper, guard: Guard) -> OpenApiRouter {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(now))
        .routes(routes!(series))
        .routes(routes!(rungs))
        .routes(routes!(totals))
        .routes(routes!(export))
        .layer(middleware::from_fn_with_state(guard, guarded))
        .with_state(keeper)
}

/// What these routes add to the document of whoever has them.
#[derive(OpenApi)]
#[openapi(tags((name = "analytics", description = "What became of viewers, with `--analytics`. A traffic manager tells it to who has the operator's token, as \
`Authorization: Bearer TOKEN`, and without a token only on its own machine.")))]
struct Description;

async fn guarded(
    State(guard): State<Guard>,
    connection: Option<Extension<Arc<Connection>>>,
    request: Request,
    next: Next,
) -> Response {
    // One that came through a proxy of this machine is somebody else's.
    let local =
        connection.is_some_and(|connection| connection.peer.local && connection.peer.direct);
    match guard(request.headers(), local) {
        Ok(()) => next.run(request).await,
        Err((status, told)) => Problem(status, told).into_response(),
    }
}

type Answer = Result<Response, Problem>;

/// Who watches now
#[utoipa::path(get, path = "/v1/analytics/now", tag = "analytics", responses((status = 200, description = "As of what nodes told last.", body = NowTold), Refusals))]
async fn now(State(keeper): State<Keeper>) -> Answer {
    answer(&keeper, Question::Now).await
}

/// How it was over a time, step by step
#[utoipa::path(get, path = "/v1/analytics/series", tag = "analytics", params(Asked),
    responses((status = 200, description = "In the order of time; steps in which nobody watched are not there.", body = Series), Refusals))]
async fn series(State(keeper): State<Keeper>, Query(asked): Query<Asked>) -> Answer {
    answer(&keeper, Question::Series(asked)).await
}

/// Octets by rung, step by step
#[utoipa::path(get, path = "/v1/analytics/rungs", tag = "analytics", params(Asked),
    responses((status = 200, description = "In the order of time.", body = Octets), Refusals))]
async fn rungs(State(keeper): State<Keeper>, Query(asked): Query<Asked>) -> Answer {
    answer(&keeper, Question::Rungs(asked)).await
}

/// Sums over a time, and whether they add up
#[utoipa::path(get, path = "/v1/analytics/totals", tag = "analytics", params(Asked),
    responses((status = 200, description = "Of all of the time.", body = Totals), Refusals))]
async fn totals(State(keeper): State<Keeper>, Query(asked): Query<Asked>) -> Answer {
    answer(&keeper, Question::Totals(asked)).await
}

async fn answer(keeper: &Keeper, question: Question) -> Answer {
    let told = keeper.ask(question).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(told)).into_response())
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Unix time in seconds, or as `2026-11-29T20:00:00Z`; a day before `to` if it is not said.
    #[param(inline, nullable = false)]
    from: Option<Moment>,
    /// Now if it is not said.
    #[param(inline, nullable = false)]
    to: Option<Moment>,
    #[serde(default)]
    #[param(inline)]
    what: What,
    #[serde(default)]
    #[param(inline)]
    format: Form,
}

/// All of it as it comes, however long it is
///
/// What fails under way breaks off, so that nobody takes it for whole.
#[utoipa::path(get, path = "/v1/analytics/export", tag = "analytics", params(Wanted),
    responses((status = 200, description = "A line for each.", content((String = "text/csv"), (String = "application/jsonl"))), Refusals))]
async fn export(State(keeper): State<Keeper>, Query(wanted): Query<Wanted>) -> Answer {
    let (from, to) = Moment::span(wanted.from, wanted.to, now_ms() / 1000);
    let (kind, name) = match wanted.format {
        Form::Csv => ("text/csv; charset=utf-8", "csv"),
        Form::Jsonl => ("application/jsonl", "jsonl"),
    };
    let first = Export::new(wanted.what, wanted.format, from, to);
    let pages = stream::try_unfold(Some(first), move |next| {
        let keeper = keeper.clone();
        async move {
            let Some(export) = next else { return Ok(None) };
            let page = keeper.export(export).await?;
            Ok::<_, Unkept>(Some((page.text, page.next)))
        }
    });
    let head = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"spillway-analytics.{name}\""),
        ),
    ];
    Ok((head, Body::from_stream(pages)).into_response())
}

impl From<Unkept> for Problem {
    fn from(unkept: Unkept) -> Self {
        Self(unkept.status(), unkept.to_string())
    }
}

impl Unkept {
    fn status(&self) -> StatusCode {
        match self {
            Self::Wrong(_) => StatusCode::BAD_REQUEST,
            Self::Database(_) | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}
