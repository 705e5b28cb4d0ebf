//! Analytics over HTTP: parse, ask, answer. Who may is the caller's to say.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::stream;
use serde::Deserialize;

use super::{
    Export, Form, Keeper, Unkept, What,
    ask::{Asked, Question},
    moment, now_ms,
};
use crate::net::Connection;

/// Whether who sends these headers, from this machine or not, may look; why not otherwise.
pub type Guard = Arc<dyn Fn(&HeaderMap, bool) -> Result<(), (StatusCode, String)> + Send + Sync>;

/// `/v1/analytics/...`, for whom `guard` lets in.
pub fn router(keeper: Keeper, guard: Guard) -> Router {
    Router::new()
        .route("/v1/analytics/now", get(now))
        .route("/v1/analytics/series", get(series))
        .route("/v1/analytics/rungs", get(rungs))
        .route("/v1/analytics/totals", get(totals))
        .route("/v1/analytics/export", get(export))
        .layer(middleware::from_fn_with_state(guard, guarded))
        .with_state(keeper)
}

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
        Err((status, told)) => problem(status, &told),
    }
}

type Asking = Result<Query<Asked>, QueryRejection>;

async fn now(State(keeper): State<Keeper>) -> Response {
    answered(keeper.ask(Question::Now).await)
}

async fn series(State(keeper): State<Keeper>, asked: Asking) -> Response {
    ask(keeper, asked, Question::Series).await
}

async fn rungs(State(keeper): State<Keeper>, asked: Asking) -> Response {
    ask(keeper, asked, Question::Rungs).await
}

async fn totals(State(keeper): State<Keeper>, asked: Asking) -> Response {
    ask(keeper, asked, Question::Totals).await
}

async fn ask(keeper: Keeper, asked: Asking, question: fn(Asked) -> Question) -> Response {
    match asked {
        Ok(Query(asked)) => answered(keeper.ask(question(asked)).await),
        Err(wrong) => problem(StatusCode::BAD_REQUEST, &wrong.body_text()),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    from: Option<String>,
    to: Option<String>,
    #[serde(default)]
    what: What,
    #[serde(default)]
    format: Form,
}

/// All of it as it comes, however long it is. What fails under way breaks off, so that nobody takes it for whole.
async fn export(
    State(keeper): State<Keeper>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(wrong) => return problem(StatusCode::BAD_REQUEST, &wrong.body_text()),
    };
    let time = |text: &Option<String>, usual| text.as_deref().map_or(Ok(usual), moment);
    let until = time(&wanted.to, now_ms() / 1000 + 60);
    let since = until
        .clone()
        .and_then(|until| time(&wanted.from, until - 86_400));
    let (from, to) = match (since, until) {
        (Ok(from), Ok(to)) => (from, to),
        (Err(told), _) | (_, Err(told)) => return problem(StatusCode::BAD_REQUEST, &told),
    };
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
    (head, Body::from_stream(pages)).into_response()
}

fn answered(answer: Result<serde_json::Value, Unkept>) -> Response {
    match answer {
        Ok(answer) => ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response(),
        Err(unkept) => problem(unkept.status(), &unkept.to_string()),
    }
}

fn problem(status: StatusCode, told: &str) -> Response {
    let body = Json(serde_json::json!({ "error": told }));
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            (status, [(header::RETRY_AFTER, "1")], body).into_response()
        }
        _ => (status, body).into_response(),
    }
}

impl Unkept {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Wrong(_) => StatusCode::BAD_REQUEST,
            Self::Database(_) | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}
