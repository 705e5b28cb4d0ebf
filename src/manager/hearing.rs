//! Heartbeats over HTTP: let in by the `gate`, read, handed to the desk, answered in the same
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
};
use crate::{
    api::Problem,
    control::{Encoding, HEARTBEAT_PATH, HeartbeatReply, proof::Said},
    net::{Client, Connection},
};

pub(super) fn router(desk: Desk, gate: Gate) -> Router {
    let heartbeats = post(heartbeat).layer(DefaultBodyLimit::max(HEARTBEAT_LIMIT));
    Router::new()
        .route(HEARTBEAT_PATH, heartbeats)
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
    let caller = Caller {
        connection: connection.as_ref().map(|connection| &*connection.0),
        client: client.map(|client| client.0),
        headers: &headers,
    };
    let (pass, answer) = hearing.answer(&caller, &body).await;
    let (mut head, octets) = match answer {
        Ok((encoding, reply)) => {
            let kind = HeaderValue::from_static(encoding.content_type());
            let mut head = Response::new(());
            head.headers_mut().insert(CONTENT_TYPE, kind);
            (head, Bytes::from(encoding.write(&reply)))
        }
        Err(problem) => {
            let (parts, body) = problem.into_response().into_parts();
            let octets = axum::body::to_bytes(body, HEARTBEAT_LIMIT).await;
            (Response::from_parts(parts, ()), octets.unwrap_or_default())
        }
    };
    hearing
        .gate
        .mark(head.headers_mut(), pass.as_ref(), &octets);
    head.map(|()| Body::from(octets))
}

impl Hearing {
    /// With the pass of who is heard, as also a refusal that comes later is for nobody else.
    async fn answer(
        &self,
        caller: &Caller<'_>,
        body: &[u8],
    ) -> (Option<Pass>, Result<(Encoding, HeartbeatReply), Problem>) {
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
            path: HEARTBEAT_PATH,
            content_type,
            body,
        };
        match self.gate.admit(caller, &said) {
            Ok(pass) => {
                let reply = self.hear(caller, encoding, body).await;
                (Some(pass), reply.map(|reply| (encoding, reply)))
            }
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
        let refuse = |node: Option<&str>, refusal: Refusal| {
            self.gate.complain(caller, node, &refusal);
            Err(refusal.into())
        };
        let heartbeat = match report::read(encoding, body) {
            Ok(heartbeat) => heartbeat,
            Err(told) => return refuse(None, Refusal(StatusCode::BAD_REQUEST, told)),
        };
        let node = heartbeat.node.clone();
        if let Err(refusal) = self.gate.may_be(caller, &node) {
            return refuse(Some(&node), refusal);
        }
        match self.desk.heartbeat(heartbeat).await? {
            Ok(reply) => Ok(reply),
            Err(refused) => {
                let told = format!("{node}: {refused}");
                refuse(Some(&node), Refusal(StatusCode::CONFLICT, told))
            }
        }
    }
}

impl From<Refusal> for Problem {
    fn from(Refusal(status, told): Refusal) -> Self {
        Self(status, told)
    }
}

/// Some thousand streams and all regions fit.
const HEARTBEAT_LIMIT: usize = 256 * 1024;
