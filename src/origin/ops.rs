//! What an operator asks a node, on a listener of its own that is loopback by default.

mod told;

use std::{sync::Arc, time::Instant};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use told::{ArmsReport, Explanation, Format, Ready, StreamReport, ViewersPage, Which, Written};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Origin, Stance, exposed,
    viewers::{Mark, ViewerReport},
};
use crate::{
    api::{self, Path, Problem, Query},
    store::StreamName,
};

pub fn private(origin: Arc<Origin>) -> Router {
    private_with(origin, OpenApiRouter::new())
}

/// The same, and what else is there to ask at this node.
pub fn private_with(origin: Arc<Origin>, more: OpenApiRouter) -> Router {
    let routes = OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(ready))
        .routes(routes!(exposed::metrics))
        .routes(routes!(streams))
        .routes(routes!(viewers))
        .routes(routes!(viewer))
        .routes(routes!(decisions))
        .routes(routes!(arms))
        .with_state(origin);
    api::described::<Description>(routes.merge(more)).fallback(nothing_there)
}

/// What the document says of all of it.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Spillway: node",
        description = "\
What a node (primary or relay) tells its operator: streams and their sources, viewers, why each got the rung it got.

Whoever reaches this listener (`--private-listen`, loopback unless it is said otherwise) may read all of it; nothing can be changed here. \
Times are in what the name of a field ends with (`_ms`, `_s`), rates in kbit/s (`_kbps`), rungs by their place in the ladder, 0 the cheapest. \
Fields may be added; who reads ignores what it does not know.

An answer that is no success is `{\"error\": \"one line that says why\"}`. Playlists and media are on the viewers' listener."
    ),
    tags(
        (name = "streams", description = "What is published, and how its source goes."),
        (name = "viewers", description = "Who watches, and what was decided for them."),
        (name = "health", description = "For those who look after this program.")
    )
)]
struct Description;

/// Whether the program answers
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, description = "`ok`", body = String, content_type = "text/plain")))]
async fn health() -> &'static str {
    "ok\n"
}

/// Whether this node should be sent viewers: it is not draining, and something can be watched
#[utoipa::path(get, path = "/ready", tag = "health",
    responses((status = 200, description = "They are.", body = Ready), (status = 503, description = "Not now, and why.", body = Ready)))]
async fn ready(State(origin): State<Arc<Origin>>) -> (StatusCode, Json<Ready>) {
    let draining = matches!(**origin.stance.load(), Stance::Draining { .. });
    let streams = origin.store.streams();
    let waiting: Vec<_> = streams
        .iter()
        .filter(|(_, stream)| !stream.now().is_some_and(|now| now.is_playable()))
        .map(|(name, _)| name.to_string())
        .collect();
    let ready = !draining && !streams.is_empty() && waiting.is_empty();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let told = Ready {
        ready,
        draining,
        streams: streams.len(),
        without_media: waiting,
    };
    (status, Json(told))
}

/// Streams, their rungs, and how their sources go
#[utoipa::path(get, path = "/v1/streams", tag = "streams", responses((status = 200, description = "In the order of their names.", body = Vec<StreamReport>)))]
async fn streams(State(origin): State<Arc<Origin>>) -> Json<Vec<StreamReport>> {
    let census = origin.viewers.census();
    let streams = origin.store.streams().into_iter();
    let streams = streams.map(|(name, stream)| {
        let viewers = census.streams.get(name.as_str()).copied().unwrap_or(0);
        StreamReport::of(&name, &stream, viewers)
    });
    Json(streams.collect())
}

/// A page of the viewers, and sums over all of them
#[utoipa::path(get, path = "/v1/viewers", tag = "viewers", params(Which),
    responses((status = 200, description = "A page.", body = ViewersPage), (status = 400, description = "The query cannot be read.", body = api::Told)))]
async fn viewers(
    State(origin): State<Arc<Origin>>,
    Query(which): Query<Which>,
) -> Result<Json<ViewersPage>, Problem> {
    let after = which.after.as_deref().map(str::parse::<Mark>);
    let after = after.transpose().map_err(Problem::bad_request)?;
    let stream = which.stream.as_ref().map(StreamName::as_str);
    let limit = which.limit.unwrap_or(PAGE);
    if !(1..=LONGEST_PAGE).contains(&limit) {
        let told = format!("limit={limit}: a page is of 1 to {LONGEST_PAGE} viewers");
        return Err(Problem::bad_request(told));
    }
    let now = Instant::now();
    let mut page = origin.viewers.page(stream, after.as_ref(), limit, now);
    name_classes(&origin, &mut page.viewers);
    let next = page.last.map(|last| last.to_string());
    Ok(Json(ViewersPage::of(&origin, page.viewers, next)))
}

/// One viewer, by its id or by the 16 digits that its id begins with; once for each stream that it watches
#[utoipa::path(get, path = "/v1/viewers/{viewer}", tag = "viewers",
    params(("viewer" = String, Path, description = "As `/v1/viewers` calls it")),
    responses(
        (status = 200, description = "One for each stream that it watches.", body = Vec<ViewerReport>),
        (status = 400, description = "The path is no text.", body = api::Told),
        (status = 404, description = "There is no such viewer.", body = api::Told),
    ))]
async fn viewer(
    State(origin): State<Arc<Origin>>,
    Path(id): Path<String>,
) -> Result<Json<Vec<ViewerReport>>, Problem> {
    match key(&id).map(|key| origin.viewers.look(key, Instant::now())) {
        Some(mut reports) if !reports.is_empty() => {
            name_classes(&origin, &mut reports);
            Ok(Json(reports))
        }
        _ => Err(no_viewer(&id)),
    }
}

pub(super) fn name_classes(origin: &Origin, reports: &mut [ViewerReport]) {
    for report in reports {
        let class = origin.terms.weights.class(report.place);
        report.class = class.map(str::to_owned);
    }
}

/// The last decisions for one viewer, with all that they were made from
///
/// Kept of so many viewers (`--explained-viewers`), and of whoever was asked after.
#[utoipa::path(get, path = "/v1/viewers/{viewer}/decisions", tag = "viewers",
    params(("viewer" = String, Path, description = "As `/v1/viewers` calls it"), Format),
    responses(
        (status = 200, description = "One for each stream that it watches; as lines, all of them.", content((Vec<Explanation> = "application/json"), (String = "application/jsonl"))),
        (status = 400, description = "The query or the path cannot be read.", body = api::Told),
        (status = 404, description = "There is no such viewer.", body = api::Told),
    ))]
async fn decisions(
    State(origin): State<Arc<Origin>>,
    Path(id): Path<String>,
    Query(Format { format }): Query<Format>,
) -> Result<Response, Problem> {
    let explained = key(&id).map(|key| origin.viewers.explain(key));
    let explained = explained.filter(|explained| !explained.is_empty());
    let explained = explained.ok_or_else(|| no_viewer(&id))?;
    Ok(match format {
        Written::Jsonl => {
            let all = explained.iter().filter_map(|(_, kept)| kept.as_deref());
            let lines = all
                .flatten()
                .filter_map(|one| serde_json::to_string(one).ok());
            let text: String = lines.flat_map(|line| [line, "\n".into()]).collect();
            ([(header::CONTENT_TYPE, "application/jsonl")], text).into_response()
        }
        Written::Json => {
            let streams = explained.into_iter().map(|(stream, kept)| Explanation {
                stream: stream.to_string(),
                note: kept.is_none().then(|| unexplained(&origin)),
                decisions: kept.unwrap_or_default(),
            });
            Json(streams.collect::<Vec<_>>()).into_response()
        }
    })
}

fn unexplained(origin: &Origin) -> String {
    format!(
        "of at most {} viewers decisions are kept (--explained-viewers), and this was none of them; it is from now on, if there is room for one more",
        origin.viewers.rules.explained
    )
}

/// What came of each rule that viewers have
#[utoipa::path(get, path = "/v1/arms", tag = "viewers", responses((status = 200, description = "One for each rule.", body = ArmsReport)))]
async fn arms(State(origin): State<Arc<Origin>>) -> Json<ArmsReport> {
    Json(ArmsReport {
        node: origin.node.clone(),
        arms: origin.viewers.arms(),
    })
}

/// A viewer's id, or the 16 digits that it begins with.
pub(super) fn key(id: &str) -> Option<u64> {
    let digits = id.split('.').next().filter(|digits| digits.len() == 16);
    digits.and_then(|digits| u64::from_str_radix(digits, 16).ok())
}

fn no_viewer(id: &str) -> Problem {
    Problem::not_found(format!("no viewer {id:?} on this node"))
}

async fn nothing_there(uri: Uri) -> Problem {
    let told = format!(
        "nothing at {}; /v1/openapi.json lists what there is",
        uri.path()
    );
    Problem::not_found(told)
}

/// Viewers on a page: as long as they are many, nobody waits for all of them.
const PAGE: usize = 1000;
const LONGEST_PAGE: usize = 10_000;
