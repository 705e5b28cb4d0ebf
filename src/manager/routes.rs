//! The manager's HTTP: parse, ask the desk, answer.

use std::{convert::Infallible, sync::Arc, time::Duration};

use adaptation::region::Region;
use axum::{
    Extension, Json, Router,
    extract::{RawQuery, State},
    http::{
        HeaderValue, Method, StatusCode, Uri,
        header::{
            ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, LOCATION,
        },
    },
    response::{
        IntoResponse, Response, Sse,
        sse::{self, KeepAlive},
    },
};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use utoipa::{IntoParams, OpenApi, ToSchema};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt as _},
    routes,
};

use super::{
    address,
    desk::{Closed, Desk, Join, Joined},
    exposed::exposed,
    lease::Tenure,
    operator::Bearer,
    past::{self, Span},
    places::Places,
    sessions,
    view::{Decision, NodeView, Overview, RegionView},
};
use crate::{
    analytics::Keeper,
    api::{self, Path, Problem, Query},
    metrics::Exposition,
    net::Client,
    webhook::Hooks,
};

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
    operator: OpenApiRouter,
) -> Router {
    let door = Door {
        desk: desk.clone(),
        places,
    };
    let seen = OpenApiRouter::new()
        .routes(routes!(overview))
        .routes(routes!(metrics).layer(Extension(keeper)))
        .routes(routes!(regions))
        .routes(routes!(nodes))
        .routes(routes!(decisions))
        .routes(routes!(history))
        .routes(routes!(events))
        .routes(routes!(health))
        .routes(routes!(ready))
        .with_state(desk);
    let joins = OpenApiRouter::new().routes(routes!(watch)).with_state(door);
    api::described::<Description>(joins.merge(seen).merge(operator)).fallback(nothing_there)
}

/// What the document says of all of it.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Spillway: traffic manager",
        description = "\
Where viewers join, what operators see, and what they may say.

Times are UTC as in RFC 3339, or whole units that the name of a field ends with: `_ms`, `_s`, `_bps` (bits per second), `_kbps`. \
Viewers are counted as nodes report them, once a heartbeat. Fields may be added; who reads ignores what it does not know.

Whoever reaches the listener may read. What changes something takes the operator's token (`--operator-token-file`), as \
`Authorization: Bearer TOKEN`. An answer that is no success is `{\"error\": \"one line that says why\"}`; 503 says with `Retry-After` when to ask again.

Heartbeats of nodes (`/v1/heartbeat`), what they tell of visits (`/v1/visits`) and their answers (`/v1/answer`) are between programs of one version, and are not described here."
    ),
    tags(
        (name = "viewers", description = "Where to watch."),
        (name = "state", description = "Regions, nodes, decisions."),
        (name = "operator", description = "What operators may say."),
        (name = "health", description = "For those who look after this program.")
    ),
    modifiers(&Bearer)
)]
struct Description;

/// A viewer wants to watch: sent to the node that serves its region
///
/// The redirect keeps what else is in the query, and says the region that was found. HEAD tells where a viewer would go, and none is counted.
#[utoipa::path(get, path = "/watch/{playlist}", tag = "viewers",
    params(
        ("playlist" = String, Path, description = "`STREAM.m3u8`"),
        ("region" = Option<String>, Query, description = "Where the viewer is; else it is told by its address"),
        ("session" = Option<String>, Query, description = "What the player calls its session: who comes again is sent where it was"),
    ),
    responses(
        (status = 307, description = "`Location` is the playlist at the node that serves it.", headers(("location" = String))),
        (status = 400, description = "The path is no text.", body = api::Told),
        (status = 404, description = "There is no such stream.", body = api::Told),
        (status = 503, description = "Nobody decides just now; ask again.", body = api::Told),
    ))]
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
        Joined::Elsewhere(None) => return Err(undecided()),
        Joined::NoStream => {
            let told = format!("the primary has no stream {stream:?}");
            return Err(Problem::not_found(told));
        }
        Joined::Wait => return Err(closing()),
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

/// All that is known, as of now
#[utoipa::path(get, path = "/v1/overview", tag = "state",
    responses((status = 200, description = "All of it.", body = Overview), (status = 503, description = "The manager is stopping.", body = api::Told)))]
async fn overview(State(desk): State<Desk>) -> Result<Json<Overview>, Problem> {
    Ok(Json(desk.overview().await?))
}

/// Metrics for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, description = "Text exposition format 0.0.4.", body = String, content_type = "text/plain"), (status = 503, description = "The manager is stopping.", body = api::Told)))]
async fn metrics(
    State(desk): State<Desk>,
    Extension(keeper): Extension<Option<Keeper>>,
    hooks: Option<Extension<Hooks>>,
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
    if let Some(Extension(hooks)) = hooks {
        hooks.expose(&mut page);
    }
    Ok(page)
}

/// Regions, as in the overview
#[utoipa::path(get, path = "/v1/regions", tag = "state",
    responses((status = 200, description = "In the order of their names.", body = Vec<RegionView>), (status = 503, description = "The manager is stopping.", body = api::Told)))]
async fn regions(State(desk): State<Desk>) -> Result<Json<Vec<RegionView>>, Problem> {
    Ok(Json(desk.overview().await?.regions))
}

/// Nodes, as in the overview
#[utoipa::path(get, path = "/v1/nodes", tag = "state",
    responses((status = 200, description = "In the order of their names.", body = Vec<NodeView>), (status = 503, description = "The manager is stopping.", body = api::Told)))]
async fn nodes(State(desk): State<Desk>) -> Result<Json<Vec<NodeView>>, Problem> {
    Ok(Json(desk.overview().await?.nodes))
}

/// The last decisions, newest first
#[utoipa::path(get, path = "/v1/decisions", tag = "state",
    responses((status = 200, description = "At most 200.", body = Vec<Decision>), (status = 503, description = "The manager is stopping.", body = api::Told)))]
async fn decisions(State(desk): State<Desk>) -> Result<Json<Vec<Decision>>, Problem> {
    Ok(Json(desk.overview().await?.decisions.unwrap_or_default()))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// The last quarter of an hour in steps of two seconds, or the last day in steps of a minute.
    #[serde(default)]
    #[param(inline)]
    span: Span,
}

/// What regions and nodes were like, for charts
#[utoipa::path(get, path = "/v1/history", tag = "state", params(Wanted),
    responses((status = 200, description = "Columns of one length; `null` where nothing is known.", body = past::Told), (status = 400, description = "There is no such span.", body = api::Told), (status = 503, description = "The manager is stopping.", body = api::Told)))]
async fn history(
    State(desk): State<Desk>,
    wanted: Result<Query<Wanted>, Problem>,
) -> Result<Json<past::Told>, Problem> {
    let Ok(Query(wanted)) = wanted else {
        let told = "the past is there for span=15m and span=24h";
        return Err(Problem::bad_request(told));
    };
    Ok(Json(desk.past(wanted.span).await?))
}

/// An overview each second, and each decision as it is made
///
/// Server-sent events `overview` and `decision`; their data are those two as JSON. Only the first overview has the last decisions. A reader that is too slow
/// misses decisions, and finds them at `/v1/decisions`.
#[utoipa::path(get, path = "/v1/events", tag = "state",
    responses((status = 200, description = "Does not end before the manager does.", body = String, content_type = "text/event-stream")))]
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

/// Whether the program answers
#[utoipa::path(get, path = "/health", tag = "health",
    responses((status = 200, description = "It does.", body = Health)))]
async fn health() -> Json<Health> {
    Json(Health { status: "ok" })
}

#[derive(Serialize, ToSchema)]
struct Health {
    /// `ok`
    status: &'static str,
}

#[derive(Serialize, ToSchema)]
struct Ready {
    ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Whether viewers are to be sent here: this manager decides, and has heard its nodes
#[utoipa::path(get, path = "/ready", tag = "health",
    responses((status = 200, description = "They are.", body = Ready), (status = 503, description = "Not now, and why.", body = Ready)))]
async fn ready(State(desk): State<Desk>) -> (StatusCode, Json<Ready>) {
    let routing = desk.routing().borrow().clone();
    let reason = match &routing.tenure {
        _ if routing.ready => None,
        Tenure::Active { .. } => Some("a full round of heartbeats was not heard yet".to_owned()),
        Tenure::Standby { active: Some(url) } => Some(format!("in standby; {url} decides")),
        Tenure::Standby { active: None } => Some("in standby; who decides is not known".to_owned()),
    };
    let ready = reason.is_none();
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(Ready { ready, reason }))
}

async fn nothing_there(uri: Uri) -> Problem {
    let told = format!(
        "nothing at {}; there are /watch/STREAM.m3u8 and /v1/overview",
        uri.path()
    );
    Problem::not_found(told)
}

pub(super) fn undecided() -> Problem {
    let told = "this manager is in standby, and no other decides just now; ask again";
    Problem(StatusCode::SERVICE_UNAVAILABLE, told.into())
}

fn closing() -> Problem {
    let told = "the traffic manager is stopping";
    Problem(StatusCode::SERVICE_UNAVAILABLE, told.into())
}

impl From<Closed> for Problem {
    fn from(_: Closed) -> Self {
        closing()
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
