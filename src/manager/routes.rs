//! The manager's HTTP: parse, ask the desk, answer.

use std::{convert::Infallible, sync::Arc, time::Duration};

use adaptation::region::Region;
use axum::{
    Extension, Json, Router,
    extract::{Path, Query, RawQuery, State, rejection::QueryRejection},
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
use serde::Deserialize;
use tokio::sync::broadcast;

use super::{
    address,
    desk::{Closed, Desk, Join, Joined},
    exposed::exposed,
    lease::Tenure,
    past::{Span, Told},
    places::Places,
    sessions,
    view::{Decision, NodeView, Overview, RegionView},
};
use crate::{analytics::Keeper, metrics::Exposition, net::Client};

/// What joins need.
#[derive(Clone)]
struct Door {
    desk: Desk,
    places: Arc<Places>,
}

pub(super) fn router(
    desk: Desk,
    places: Arc<Places>,
    keeper: Option<Keeper>,
    operator: Router,
) -> Router {
    let door = Door {
        desk: desk.clone(),
        places,
    };
    let joins = Router::new().route("/watch/{playlist}", get(watch));
    Router::new()
        .route("/v1/overview", get(overview))
        .route("/metrics", get(metrics).layer(Extension(keeper)))
        .route("/v1/regions", get(regions))
        .route("/v1/nodes", get(nodes))
        .route("/v1/decisions", get(decisions))
        .route("/v1/history", get(history))
        .route("/v1/events", get(events))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .method_not_allowed_fallback(wrong_method)
        .fallback(nothing_there)
        .with_state(desk)
        .merge(
            joins
                .method_not_allowed_fallback(wrong_method)
                .with_state(door),
        )
        .merge(operator)
}

/// A viewer wants to watch: sent to the node that serves its region.
async fn watch(
    State(door): State<Door>,
    client: Option<Extension<Client>>,
    method: Method,
    Path(playlist): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let client = client.map(|Extension(client)| client.address);
    let asked = Asked::new(&query);
    let region = door.places.region(asked.region, client);
    // HEAD asks where a viewer would go; no viewer comes of it.
    let counts = method != Method::HEAD;
    let answer = redirect(&door.desk, &playlist, (&query, asked), region, counts).await;
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
    playlist: &str,
    (query, asked): (&str, Asked<'_>),
    region: Region,
    counts: bool,
) -> Result<Response, Problem> {
    let stream = playlist
        .strip_suffix(".m3u8")
        .filter(|stream| address::is_stream(stream));
    let Some(stream) = stream else {
        return Err(Problem::not_found(format!(
            "{playlist:?} is no stream: /watch/STREAM.m3u8, with 1 to 64 letters, digits, '-' and '_'"
        )));
    };
    let session = asked.session.map(str::to_owned);
    let join = Join {
        session: session.filter(|session| session.len() <= sessions::LONGEST),
        ..Join::new(stream.to_owned(), region, counts)
    };
    let location = match desk.join(join).await {
        Joined::To { url, region } => {
            format!(
                "{url}/live/{stream}/index.m3u8?{}region={region}",
                asked.rest
            )
        }
        Joined::Elsewhere(Some(url)) => format!("{url}/watch/{stream}.m3u8?{query}"),
        Joined::Elsewhere(None) => return Err(Problem::undecided()),
        Joined::NoStream => {
            let told = format!("the primary has no stream {stream:?}");
            return Err(Problem::not_found(told));
        }
        Joined::Wait => return Err(Problem::closing()),
    };
    Ok((StatusCode::TEMPORARY_REDIRECT, [(LOCATION, location)]).into_response())
}

/// What a join says in its query that is for the manager, and the rest of it as it was, ready for something to
/// follow.
struct Asked<'a> {
    region: &'a str,
    session: Option<&'a str>,
    rest: String,
}

impl<'a> Asked<'a> {
    fn new(query: &'a str) -> Self {
        let mut asked = Self {
            region: "",
            session: None,
            rest: String::new(),
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("region", declared)) => asked.region = declared,
                Some(("session", session)) => asked.session = Some(session),
                _ => asked.rest.extend([pair, "&"]),
            }
        }
        asked
    }
}

async fn overview(State(desk): State<Desk>) -> Result<Json<Overview>, Problem> {
    Ok(Json(desk.overview().await?))
}

async fn metrics(
    State(desk): State<Desk>,
    Extension(keeper): Extension<Option<Keeper>>,
) -> Result<Exposition, Problem> {
    let mut page = exposed(&desk.overview().await?);
    if let Some((taken, failed)) = keeper.map(|keeper| keeper.counts()) {
        let (taken, failed) = (taken as f64, failed as f64);
        let help = "Visits taken for analytics, as often as nodes told them.";
        page.counter("spillway_visits_kept_total", help).is(taken);
        let help = "Messages of visits that the analytics database did not take.";
        page.counter("spillway_visits_refused_total", help)
            .is(failed);
    }
    Ok(page)
}

async fn regions(State(desk): State<Desk>) -> Result<Json<Vec<RegionView>>, Problem> {
    Ok(Json(desk.overview().await?.regions))
}

async fn nodes(State(desk): State<Desk>) -> Result<Json<Vec<NodeView>>, Problem> {
    Ok(Json(desk.overview().await?.nodes))
}

async fn decisions(State(desk): State<Desk>) -> Result<Json<Vec<Decision>>, Problem> {
    Ok(Json(desk.overview().await?.decisions.unwrap_or_default()))
}

#[derive(Debug, Deserialize)]
struct Wanted {
    #[serde(default)]
    span: Span,
}

/// What regions and nodes were like, for charts.
async fn history(
    State(desk): State<Desk>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Told>, Problem> {
    let Ok(Query(wanted)) = wanted else {
        let told = "the past is there for span=15m and span=24h";
        return Err(Problem(StatusCode::BAD_REQUEST, told.into()));
    };
    Ok(Json(desk.past(wanted.span).await?))
}

/// An overview each second, the first one with the last decisions; and each decision as it is made.
async fn events(
    State(desk): State<Desk>,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let mut seconds = tokio::time::interval(OVERVIEW_EVERY);
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let reader = Reader {
        decisions: desk.decisions(),
        seconds,
        desk,
        first: true,
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
    first: bool,
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
                    let mut overview = self.desk.overview().await.ok()?;
                    if !std::mem::take(&mut self.first) {
                        overview.decisions = None;
                    }
                    return event("overview", &overview);
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
    let routing = desk.routing().borrow().clone();
    let reason = match &routing.tenure {
        _ if routing.ready => {
            return (StatusCode::OK, Json(serde_json::json!({ "ready": true })));
        }
        Tenure::Active { .. } => "a full round of heartbeats was not heard yet".to_owned(),
        Tenure::Standby { active: Some(url) } => format!("in standby; {url} decides"),
        Tenure::Standby { active: None } => "in standby; who decides is not known".to_owned(),
    };
    let why = serde_json::json!({ "ready": false, "reason": reason });
    (StatusCode::SERVICE_UNAVAILABLE, Json(why))
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

    pub(super) fn undecided() -> Self {
        let told = "this manager is in standby, and no other decides just now; ask again";
        Self(StatusCode::SERVICE_UNAVAILABLE, told.into())
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
    use super::Asked;

    #[test]
    fn what_is_for_the_manager_is_taken_out_of_the_query_and_the_rest_kept() {
        for (query, region, session, rest) in [
            ("", "", None, ""),
            ("region=paris", "paris", None, ""),
            (
                "max=720&region=paris&&session=a1&abr=client",
                "paris",
                Some("a1"),
                "max=720&abr=client&",
            ),
        ] {
            let asked = Asked::new(query);
            assert_eq!((asked.region, asked.session), (region, session), "{query}");
            assert_eq!(asked.rest, rest);
        }
    }
}
