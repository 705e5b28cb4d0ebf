//! What nodes say over HTTP: heartbeats, and answers to an operator's questions, which are handed to the desk and answered in the same
//! encoding; and what is told of viewers, for who keeps it. All are let in by the `gate`, read, and their answers sealed. The same routes
//! stand on the public listener, or on one for nodes alone.

use std::sync::Arc;

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State},
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_TYPE, HeaderValue},
    },
    response::{IntoResponse as _, Response},
    routing::post,
};

use super::{
    desk::Desk,
    gate::{Caller, Gate, Pass, Refusal},
    lease::Tenure,
    report,
    routes::undecided,
};
use crate::{
    analytics::Keeper,
    api::Problem,
    control::{
        ANSWER_PATH, Answer, Encoding, HEARTBEAT_PATH, HeartbeatReply, LONGEST, Noted, Unreadable,
        VERSION,
        proof::Said,
        visits::{VISITS_LIMIT, VISITS_PATH},
    },
    net::{Client, Connection},
};

pub(super) fn router(desk: Desk, keeper: Option<Keeper>, gate: Gate) -> Router {
    let heartbeats = post(heartbeat).layer(DefaultBodyLimit::max(LONGEST));
    let answers = post(answer).layer(DefaultBodyLimit::max(LONGEST));
    let visits = post(visits).layer(DefaultBodyLimit::max(VISITS_LIMIT));
    Router::new()
        .route(HEARTBEAT_PATH, heartbeats)
        .route(ANSWER_PATH, answers)
        .route(VISITS_PATH, visits)
        .with_state(Arc::new(Hearing { desk, keeper, gate }))
}

#[derive(Debug)]
struct Hearing {
    desk: Desk,
    keeper: Option<Keeper>,
    gate: Gate,
}

/// What is said, as far as that matters before it is read.
struct Message<'a> {
    path: &'static str,
    caller: &'a Caller<'a>,
    body: &'a [u8],
}

/// An answer, written, and how.
type Reply = Result<(Encoding, Vec<u8>), Problem>;

async fn heartbeat(
    State(hearing): State<Arc<Hearing>>,
    connection: Option<Extension<Arc<Connection>>>,
    client: Option<Extension<Client>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let caller = caller(connection.as_ref(), client, &headers);
    let message = Message {
        path: HEARTBEAT_PATH,
        caller: &caller,
        body: &body,
    };
    let hear = async |encoding| {
        let reply = hearing.hear(&caller, encoding, &body).await?;
        Ok((encoding, encoding.write(&reply)))
    };
    hearing.answer(message, hear).await
}

/// What an operator asked for, of one node.
async fn answer(
    State(hearing): State<Arc<Hearing>>,
    connection: Option<Extension<Arc<Connection>>>,
    client: Option<Extension<Client>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let caller = caller(connection.as_ref(), client, &headers);
    let message = Message {
        path: ANSWER_PATH,
        caller: &caller,
        body: &body,
    };
    let note = async |encoding| {
        hearing.note(&caller, encoding, &body).await?;
        Ok((encoding, encoding.write(&Noted { version: VERSION })))
    };
    hearing.answer(message, note).await
}

async fn visits(
    State(hearing): State<Arc<Hearing>>,
    connection: Option<Extension<Arc<Connection>>>,
    client: Option<Extension<Client>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let caller = caller(connection.as_ref(), client, &headers);
    let message = Message {
        path: VISITS_PATH,
        caller: &caller,
        body: &body,
    };
    let keep = async |encoding| {
        hearing.keep(&caller, encoding, &body).await?;
        Ok((Encoding::Json, b"{}".to_vec()))
    };
    hearing.answer(message, keep).await
}

fn caller<'a>(
    connection: Option<&'a Extension<Arc<Connection>>>,
    client: Option<Extension<Client>>,
    headers: &'a HeaderMap,
) -> Caller<'a> {
    Caller {
        connection: connection.map(|connection| &*connection.0),
        client: client.map(|client| client.0),
        headers,
    }
}

impl Hearing {
    async fn answer(
        &self,
        message: Message<'_>,
        hear: impl AsyncFnOnce(Encoding) -> Reply,
    ) -> Response {
        let (pass, answer) = self.admitted(message, hear).await;
        let (mut head, octets) = match answer {
            Ok((encoding, octets)) => {
                let kind = HeaderValue::from_static(encoding.content_type());
                let mut head = Response::new(());
                head.headers_mut().insert(CONTENT_TYPE, kind);
                (head, Bytes::from(octets))
            }
            Err(problem) => {
                let (parts, body) = problem.into_response().into_parts();
                let octets = axum::body::to_bytes(body, LONGEST).await;
                (Response::from_parts(parts, ()), octets.unwrap_or_default())
            }
        };
        self.gate.mark(head.headers_mut(), pass.as_ref(), &octets);
        head.map(|()| Body::from(octets))
    }

    /// With the pass of who is heard, as also a refusal that comes later is for nobody else.
    async fn admitted(
        &self,
        Message { path, caller, body }: Message<'_>,
        hear: impl AsyncFnOnce(Encoding) -> Reply,
    ) -> (Option<Pass>, Reply) {
        let kind = caller.headers.get(CONTENT_TYPE);
        let content_type = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        // A web page cannot send these types to another site unasked, so none can pose as a node.
        let Some(encoding) = Encoding::of(content_type) else {
            let told = format!(
                "a heartbeat is sent as content-type {} or {}",
                Encoding::Json.content_type(),
                Encoding::Protobuf.content_type()
            );
            return (None, Err(Problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, told)));
        };
        let said = Said {
            path,
            content_type,
            body,
        };
        match self.gate.admit(caller, &said) {
            Ok(pass) => (Some(pass), hear(encoding).await),
            Err(refusal) => {
                self.gate.complain(caller, None, &refusal);
                (None, Err(refusal.into()))
            }
        }
    }

    async fn hear(
        &self,
        caller: &Caller<'_>,
        encoding: Encoding,
        body: &[u8],
    ) -> Result<HeartbeatReply, Problem> {
        let heartbeat = match report::read(encoding, body) {
            Ok(heartbeat) => heartbeat,
            Err(told) => return self.refuse(caller, None, Refusal(StatusCode::BAD_REQUEST, told)),
        };
        let node = heartbeat.node.clone();
        if let Err(refusal) = self.gate.may_be(caller, &node) {
            return self.refuse(caller, Some(&node), refusal);
        }
        match self.desk.heartbeat(heartbeat).await? {
            Ok(mut reply) => {
                reply.visits = self.keeper.is_some() && !reply.standby;
                Ok(reply)
            }
            Err(refused) => {
                let told = format!("{node}: {refused}");
                self.refuse(caller, Some(&node), Refusal(StatusCode::CONFLICT, told))
            }
        }
    }

    async fn note(
        &self,
        caller: &Caller<'_>,
        encoding: Encoding,
        body: &[u8],
    ) -> Result<(), Problem> {
        let read: Result<Answer, Unreadable> = encoding.read(body);
        let answer = match read {
            Ok(answer) => answer,
            Err(why) => {
                let refusal = Refusal(StatusCode::BAD_REQUEST, why.to_string());
                return self.refuse(caller, None, refusal);
            }
        };
        if let Err(refusal) = self.gate.may_be(caller, &answer.node) {
            return self.refuse(caller, Some(&answer.node), refusal);
        }
        Ok(self.desk.note(answer).await?)
    }

    /// What is told of viewers; it is there for good once this returns.
    async fn keep(
        &self,
        caller: &Caller<'_>,
        encoding: Encoding,
        body: &[u8],
    ) -> Result<(), Problem> {
        let Some(keeper) = &self.keeper else {
            let told = "this manager keeps no analytics (--analytics)";
            return Err(Problem(StatusCode::NOT_FOUND, told.to_owned()));
        };
        if encoding != Encoding::Json {
            let told = format!("visits are sent as {}", Encoding::Json.content_type());
            return Err(Problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, told));
        }
        let visits = match report::visits(body) {
            Ok(visits) => visits,
            Err(told) => return self.refuse(caller, None, Refusal(StatusCode::BAD_REQUEST, told)),
        };
        let node = visits.node.clone();
        if let Err(refusal) = self.gate.may_be(caller, &node) {
            return self.refuse(caller, Some(&node), refusal);
        }
        if !matches!(self.desk.routing().borrow().tenure, Tenure::Active { .. }) {
            return Err(undecided());
        }
        let kept = keeper.take(Arc::new(visits)).await;
        Ok(kept?)
    }

    fn refuse<T>(
        &self,
        caller: &Caller<'_>,
        node: Option<&str>,
        refusal: Refusal,
    ) -> Result<T, Problem> {
        self.gate.complain(caller, node, &refusal);
        Err(refusal.into())
    }
}

impl From<Refusal> for Problem {
    fn from(Refusal(status, told): Refusal) -> Self {
        Self(status, told)
    }
}
