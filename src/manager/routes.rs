//! The manager's HTTP: parse, ask the desk, answer.

use std::{convert::Infallible, sync::Arc, time::Duration};

use adaptation::region::Region;
use axum::{
    Json, Router,
    extract::{Path, RawQuery, State},
    http::{
        HeaderValue, Method, StatusCode, Uri,
        header::{
            ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, LOCATION,
            RETRY_AFTER,
        },
    },
    response::{
        IntoResponse, Response, Sse,
        sse::{self, KeepAlive},
    },
    routing::get,
};
use futures_util::{Stream, stream};
use tokio::sync::broadcast;

use super::{
    address,
    desk::{Closed, Desk, Join, Joined},
    exposed::exposed,
    view::{Decision, NodeView, Overview, RegionView},
};
use crate::metrics::Exposition;

pub(super) fn router(desk: Desk) -> Router {
    Router::new()
        .route("/watch/{playlist}", get(watch))
        .route("/v1/overview", get(overview))
        .route("/metrics", get(metrics))
        .route("/v1/regions", get(regions))
        .route("/v1/nodes", get(nodes))
        .route("/v1/decisions", get(decisions))
        .route("/v1/events", get(events))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .method_not_allowed_fallback(wrong_method)
        .fallback(nothing_there)
        .with_state(desk)
}

/// A viewer wants to watch: sent to the node that serves its region.
async fn watch(
    State(desk): State<Desk>,
    method: Method,
    Path(playlist): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let answer = redirect(&desk, &method, &playlist, &query).await;
    // Players in browsers follow a redirect only if it lets them; each join is decided anew.
    let open = [
        (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        (ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (open, answer).into_response()
}

async fn redirect(
    desk: &Desk,
    method: &Method,
    playlist: &str,
    query: &str,
) -> Result<Response, Problem> {
    let stream = playlist
        .strip_suffix(".m3u8")
        .filter(|stream| address::is_stream(stream));
    let Some(stream) = stream else {
        return Err(Problem::not_found(format!(
            "{playlist:?} is no stream: /watch/STREAM.m3u8, with 1 to 64 letters, digits, '-' and '_'"
        )));
    };
    let (declared, rest) = split(query);
    let region = Region::new(declared);
    // HEAD asks where a viewer would go; no viewer comes of it.
    let join = Join::new(stream.to_owned(), region, *method != Method::HEAD);
    match desk.join(join).await {
        Joined::To { url, region } => {
            let location = format!("{url}/live/{stream}/index.m3u8?{rest}region={region}");
            Ok((StatusCode::TEMPORARY_REDIRECT, [(LOCATION, location)]).into_response())
        }
        Joined::NoStream => Err(Problem::not_found(format!(
            "the primary has no stream {stream:?}"
        ))),
        Joined::Wait => Err(Problem::closing()),
    }
}

/// The value of `region`, and the rest of the query as it was, ready for something to follow it.
fn split(query: &str) -> (&str, String) {
    let mut region = "";
    let mut rest = String::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.strip_prefix("region=") {
            Some(declared) => region = declared,
            None => rest.extend([pair, "&"]),
        }
    }
    (region, rest)
}

async fn overview(State(desk): State<Desk>) -> Result<Json<Overview>, Problem> {
    Ok(Json(desk.overview().await?))
}

async fn metrics(State(desk): State<Desk>) -> Result<Exposition, Problem> {
    Ok(exposed(&desk.overview().await?))
}

async fn regions(State(desk): State<Desk>) -> Result<Json<Vec<RegionView>>, Problem> {
    Ok(Json(desk.overview().await?.regions))
}

async fn nodes(State(desk): State<Desk>) -> Result<Json<Vec<NodeView>>, Problem> {
    Ok(Json(desk.overview().await?.nodes))
}

async fn decisions(State(desk): State<Desk>) -> Result<Json<Vec<Decision>>, Problem> {
    Ok(Json(desk.overview().await?.decisions))
}

/// An overview each second, and each decision as it is made.
async fn events(
    State(desk): State<Desk>,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let mut seconds = tokio::time::interval(OVERVIEW_EVERY);
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let reader = Reader {
        decisions: desk.decisions(),
        seconds,
        desk,
    };
    let events = stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok(event), reader))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

struct Reader {
    desk: Desk,
    decisions: broadcast::Receiver<Arc<Decision>>,
    seconds: tokio::time::Interval,
}

impl Reader {
    /// `None` when the manager stops, so that no open page holds it up.
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            tokio::select! {
                decision = self.decisions.recv() => match decision {
                    Ok(decision) => return event("decision", &*decision),
                    // Too slow: it goes on with the oldest there is.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                _ = self.seconds.tick() => {
                    return event("overview", &self.desk.overview().await.ok()?);
                }
                () = self.desk.stop.cancelled() => return None,
            }
        }
    }
}

fn event(name: &str, data: &impl serde::Serialize) -> Option<sse::Event> {
    sse::Event::default().event(name).json_data(data).ok()
}

async fn health() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "status": "ok" }))
}

async fn ready(State(desk): State<Desk>) -> (StatusCode, Json<serde_json::Value>) {
    if desk.routing().borrow().ready {
        (StatusCode::OK, Json(serde_json::json!({ "ready": true })))
    } else {
        let why = serde_json::json!({ "ready": false, "reason": "a full round of heartbeats was not heard yet" });
        (StatusCode::SERVICE_UNAVAILABLE, Json(why))
    }
}

async fn nothing_there(uri: Uri) -> Problem {
    let told = format!(
        "nothing at {}; there are /watch/STREAM.m3u8 and /v1/overview",
        uri.path()
    );
    Problem::not_found(told)
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let told = format!("{method} is not for {}", uri.path());
    Problem(StatusCode::METHOD_NOT_ALLOWED, told)
}

/// An answer that is no success: one line of JSON that says why.
#[derive(Debug)]
pub(super) struct Problem(pub(super) StatusCode, pub(super) String);

impl Problem {
    fn not_found(told: String) -> Self {
        Self(StatusCode::NOT_FOUND, told)
    }

    fn closing() -> Self {
        Self(
            StatusCode::SERVICE_UNAVAILABLE,
            "the traffic manager is stopping".into(),
        )
    }
}

impl From<Closed> for Problem {
    fn from(_: Closed) -> Self {
        Self::closing()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self(status, told) = self;
        let body = Json(serde_json::json!({ "error": told }));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return (status, [(RETRY_AFTER, "1")], body).into_response();
        }
        (status, body).into_response()
    }
}

const OVERVIEW_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn the_region_is_taken_out_of_the_query_and_the_rest_kept() {
        assert_eq!(split(""), ("", String::new()));
        assert_eq!(split("region=paris"), ("paris", String::new()));
        assert_eq!(
            split("max=720&region=paris&&abr=client"),
            ("paris", "max=720&abr=client&".into())
        );
    }
}
