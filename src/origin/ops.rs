//! What an operator asks a node, on a listener of its own that is loopback by default.

use std::{sync::Arc, time::Instant};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Origin, Stance, exposed,
    journal::Journal,
    viewers::{Mark, ViewerReport},
};
use crate::store::StreamName;

pub fn private(origin: Arc<Origin>) -> Router {
    Router::new()
        .route("/health", get(async || "ok\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(exposed::metrics))
        .route("/v1/streams", get(streams))
        .route("/v1/viewers", get(viewers))
        .route("/v1/viewers/{viewer}", get(viewer))
        .route("/v1/viewers/{viewer}/decisions", get(decisions))
        .route("/v1/arms", get(arms))
        .with_state(origin)
}

/// Whether this node should be sent viewers: it is not draining, and something can be watched.
async fn ready(State(origin): State<Arc<Origin>>) -> Response {
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
    let body = json!({ "ready": ready, "draining": draining, "streams": streams.len(), "without_media": waiting });
    (status, Json(body)).into_response()
}

async fn streams(State(origin): State<Arc<Origin>>) -> Json<Value> {
    let census = origin.viewers.census();
    let streams = origin.store.streams().into_iter();
    let streams = streams.map(|(name, stream)| {
        let Some(window) = stream.now() else {
            return json!({ "stream": name, "viewers": 0, "source": *stream.intake() });
        };
        let rates = window.rates();
        let rungs = window.format().ladder.rungs().iter().zip(rates);
        json!({
            "stream": name,
            "viewers": census.streams.get(name.as_str()).copied().unwrap_or(0),
            "ended": window.has_ended(),
            "first": window.listed().next().map(|segment| segment.number()),
            "last": window.last_complete().map(|segment| segment.number()),
            "segment_s": window.format().segment.seconds(),
            "source": *stream.intake(),
            "rungs": rungs.map(|(rung, rate)| json!({
                "rung": rung.name, "width": rung.width, "height": rung.height,
                "declared_kbps": rung.average.kbps(), "measured_kbps": rate.kbps(),
                "score": rung.score,
            })).collect::<Vec<_>>(),
        })
    });
    Json(streams.collect())
}

/// Which viewers to tell of.
#[derive(Debug, Deserialize)]
struct Which {
    stream: Option<StreamName>,
    /// Viewers at most, [`PAGE`] if it is not said.
    limit: Option<usize>,
    /// The `next` of the page before.
    after: Option<String>,
}

/// A page of the viewers, and sums over all of them.
async fn viewers(State(origin): State<Arc<Origin>>, Query(which): Query<Which>) -> Response {
    let after: Option<Mark> = match which.after.as_deref().map(str::parse).transpose() {
        Ok(after) => after,
        Err(why) => return (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
    };
    let stream = which.stream.as_ref().map(StreamName::as_str);
    let limit = which.limit.unwrap_or(PAGE).clamp(1, LONGEST_PAGE);
    let (mut page, census) = (
        origin
            .viewers
            .page(stream, after.as_ref(), limit, Instant::now()),
        origin.viewers.census(),
    );
    name_classes(&origin, &mut page.viewers);
    let share = origin.share.load();
    let (refused, sent_on) = origin.viewers.turned();
    let journal = origin.viewers.rules.journal.as_ref();
    let (written, left_out) = journal.map(Journal::counts).unzip();
    Json(json!({
        "node": origin.node,
        "egress_kbps": share.egress.kbps(),
        "budget_kbps": share.budget.or(origin.terms.budget).map(|budget| budget.kbps()),
        "budget_learnt": origin.terms.budget_learnt,
        "price": share.price(),
        "watching": census.streams.values().sum::<u32>(),
        "moved": census.moved,
        "decisions": {
            "explained_viewers": origin.viewers.rules.explained,
            "written": written,
            "left_out": left_out,
        },
        "joins": { "let_in": origin.viewers.joins(), "refused": refused, "sent_on": sent_on },
        "viewers": page.viewers,
        "next": page.last.map(|last| last.to_string()),
    }))
    .into_response()
}

/// One viewer by its id, or by the 16 digits that its id begins with.
async fn viewer(State(origin): State<Arc<Origin>>, Path(id): Path<String>) -> Response {
    match key(&id).map(|key| origin.viewers.look(key, Instant::now())) {
        Some(mut reports) if !reports.is_empty() => {
            name_classes(&origin, &mut reports);
            Json(reports).into_response()
        }
        _ => no_viewer(&id),
    }
}

pub(super) fn name_classes(origin: &Origin, reports: &mut [ViewerReport]) {
    for report in reports {
        let class = origin.terms.weights.class(report.place);
        report.class = class.map(str::to_owned);
    }
}

/// How decisions are to be written.
#[derive(Debug, Deserialize)]
struct Format {
    format: Option<String>,
}

/// The last decisions for one viewer, with all that they were made from; as `?format=jsonl` a line each, of
/// which they can be made again.
async fn decisions(
    State(origin): State<Arc<Origin>>,
    Path(id): Path<String>,
    Query(Format { format }): Query<Format>,
) -> Response {
    let explained = key(&id).map(|key| origin.viewers.explain(key));
    let Some(explained) = explained.filter(|explained| !explained.is_empty()) else {
        return no_viewer(&id);
    };
    let all = explained.iter().filter_map(|(_, kept)| kept.as_deref());
    match format.as_deref() {
        Some("jsonl") => {
            let lines = all
                .flatten()
                .filter_map(|one| serde_json::to_string(one).ok());
            let text: String = lines.flat_map(|line| [line, "\n".into()]).collect();
            ([(header::CONTENT_TYPE, "application/jsonl")], text).into_response()
        }
        None | Some("json") => {
            let streams = explained.iter().map(|(stream, kept)| match kept {
                Some(kept) => json!({ "stream": stream, "decisions": kept }),
                None => json!({
                    "stream": stream,
                    "decisions": [],
                    "note": format!(
                        "of at most {} viewers decisions are kept (--explained-viewers), and this was none of them; it is from now on, if there is room for one more",
                        origin.viewers.rules.explained
                    ),
                }),
            });
            Json(streams.collect::<Value>()).into_response()
        }
        Some(other) => {
            let why = format!("format={other:?} is neither \"json\" nor \"jsonl\"\n");
            (StatusCode::BAD_REQUEST, why).into_response()
        }
    }
}

/// What came of each rule that viewers have.
async fn arms(State(origin): State<Arc<Origin>>) -> impl IntoResponse {
    Json(json!({ "node": origin.node, "arms": origin.viewers.arms() }))
}

/// A viewer's id, or the 16 digits that it begins with.
pub(super) fn key(id: &str) -> Option<u64> {
    let digits = id.split('.').next().filter(|digits| digits.len() == 16);
    digits.and_then(|digits| u64::from_str_radix(digits, 16).ok())
}

fn no_viewer(id: &str) -> Response {
    let why = format!("no viewer {id:?} on this node\n");
    (StatusCode::NOT_FOUND, why).into_response()
}

/// Viewers on a page: as long as they are many, nobody waits for all of them.
const PAGE: usize = 1000;
const LONGEST_PAGE: usize = 10_000;
