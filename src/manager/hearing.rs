//! Heartbeats, and answers to an operator's questions, over HTTP: let in by the `gate`, read, handed to the desk, answered in the same
//! encoding and sealed. The same routes stand on the public listener, or on one for nodes alone.

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
    report,
    routes::Problem,
};
use crate::{
    control::{
        ANSWER_PATH, Answer, Encoding, HEARTBEAT_PATH, HeartbeatReply, LONGEST, Message, Noted,
        Unreadable, VERSION, proof::Said,
    },
    net::{Client, Connection},
};

pub(super) fn router(desk: Desk, gate: Gate) -> Router {
    Router::new()
        .route(HEARTBEAT_PATH, post(heartbeat))
        .route(ANSWER_PATH, post(answer))
        .layer(DefaultBodyLimit::max(LONGEST))
        .with_state(Arc::new(Hearing { desk, gate }))
}

#[derive(Debug)]
struct Hearing {
    desk: Desk,
    gate: Gate,
}

async fn heartbeat(
    State(hearing): State<Arc<Hearing>>,
    connection: Option<Extension<Arc<Connection>>>,
    client: Option<Extension<Client>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let caller = Caller::new(connection.as_ref(), client, &headers);
    let (pass, admitted) = hearing.admit(&caller, HEARTBEAT_PATH, &body);
    let reply = match admitted {
        Ok(encoding) => hearing.hear(&caller, encoding, &body).await,
        Err(problem) => Err(problem),
    };
    hearing.sealed(pass, reply).await
}

/// What an operator asked for, of one node.
async fn answer(
    State(hearing): State<Arc<Hearing>>,
    connection: Option<Extension<Arc<Connection>>>,
    client: Option<Extension<Client>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let caller = Caller::new(connection.as_ref(), client, &headers);
    let (pass, admitted) = hearing.admit(&caller, ANSWER_PATH, &body);
    let reply = match admitted {
        Ok(encoding) => hearing.note(&caller, encoding, &body).await,
        Err(problem) => Err(problem),
    };
    hearing.sealed(pass, reply).await
}

type Reply<M> = Result<(Encoding, M), Problem>;

impl Hearing {
    /// With the pass of who is heard, as also a refusal that comes later is for nobody else.
    fn admit(
        &self,
        caller: &Caller<'_>,
        path: &str,
        body: &[u8],
    ) -> (Option<Pass>, Result<Encoding, Problem>) {
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
            Ok(pass) => (Some(pass), Ok(encoding)),
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
    ) -> Reply<HeartbeatReply> {
        let read = report::read(encoding, body);
        let heartbeat = self.known(caller, read, |heartbeat| &heartbeat.node)?;
        let node = heartbeat.node.clone();
        match self.desk.heartbeat(heartbeat).await? {
            Ok(reply) => Ok((encoding, reply)),
            Err(refused) => {
                let told = format!("{node}: {refused}");
                Err(self.refuse(caller, Some(&node), Refusal(StatusCode::CONFLICT, told)))
            }
        }
    }

    async fn note(&self, caller: &Caller<'_>, encoding: Encoding, body: &[u8]) -> Reply<Noted> {
        let read = encoding
            .read(body)
            .map_err(|error: Unreadable| error.to_string());
        let answer = self.known(caller, read, |answer: &Answer| &answer.node)?;
        self.desk.note(answer).await?;
        Ok((encoding, Noted { version: VERSION }))
    }

    /// What was read, if its sender may say it under that name.
    fn known<M>(
        &self,
        caller: &Caller<'_>,
        read: Result<M, String>,
        node: impl Fn(&M) -> &String,
    ) -> Result<M, Problem> {
        let said =
            read.map_err(|told| self.refuse(caller, None, Refusal(StatusCode::BAD_REQUEST, told)))?;
        match self.gate.may_be(caller, node(&said)) {
            Ok(()) => Ok(said),
            Err(refusal) => Err(self.refuse(caller, Some(node(&said)), refusal)),
        }
    }

    fn refuse(&self, caller: &Caller<'_>, node: Option<&str>, refusal: Refusal) -> Problem {
        self.gate.complain(caller, node, &refusal);
        refusal.into()
    }

    /// In the encoding of the question, with the proof that it is we who answer.
    async fn sealed<M: Message + Clone>(&self, pass: Option<Pass>, reply: Reply<M>) -> Response {
        let (mut head, octets) = match reply {
            Ok((encoding, reply)) => {
                let kind = HeaderValue::from_static(encoding.content_type());
                let mut head = Response::new(());
                head.headers_mut().insert(CONTENT_TYPE, kind);
                (head, Bytes::from(encoding.write(&reply)))
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
}

impl<'a> Caller<'a> {
    fn new(
        connection: Option<&'a Extension<Arc<Connection>>>,
        client: Option<Extension<Client>>,
        headers: &'a HeaderMap,
    ) -> Self {
        Self {
            connection: connection.map(|connection| &*connection.0),
            client: client.map(|client| client.0),
            headers,
        }
    }
}

impl From<Refusal> for Problem {
    fn from(Refusal(status, told): Refusal) -> Self {
        Self(status, told)
    }
}
