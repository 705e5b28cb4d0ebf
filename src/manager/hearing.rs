//! What nodes say over HTTP: heartbeats, and answers to an operator's questions, which are handed to the desk and answered in the same
//! encoding; and what is told of viewers, for who keeps it. All are let in by the `gate`, read, and their answers sealed. The same routes
//! stand on the public listener, or on one for nodes alone.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, FromRequest, Request, State, rejection::BytesRejection},
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

/// What was posted, and by whom.
struct Post {
    connection: Option<Arc<Connection>>,
    client: Option<Client>,
    headers: HeaderMap,
    body: Bytes,
}

/// An answer, written, and how.
type Reply = Result<(Encoding, Vec<u8>), Problem>;

async fn heartbeat(State(hearing): State<Arc<Hearing>>, post: Post) -> Response {
    let hear = async |encoding| {
        let reply = hearing.hear(&post, encoding).await?;
        Ok((encoding, encoding.write(&reply)))
    };
    hearing.answer(HEARTBEAT_PATH, &post, hear).await
}

/// What an operator asked for, of one node.
async fn answer(State(hearing): State<Arc<Hearing>>, post: Post) -> Response {
    let note = async |encoding| {
        hearing.note(&post, encoding).await?;
        Ok((encoding, encoding.write(&Noted { version: VERSION })))
    };
    hearing.answer(ANSWER_PATH, &post, note).await
}

async fn visits(State(hearing): State<Arc<Hearing>>, post: Post) -> Response {
    let keep = async |encoding| {
        hearing.keep(&post, encoding).await?;
        Ok((Encoding::Json, b"{}".to_vec()))
    };
    hearing.answer(VISITS_PATH, &post, keep).await
}

impl<S: Send + Sync> FromRequest<S> for Post {
    type Rejection = BytesRejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, BytesRejection> {
        let known = request.extensions();
        Ok(Self {
            connection: known.get::<Arc<Connection>>().cloned(),
            client: known.get::<Client>().copied(),
            headers: request.headers().clone(),
            body: Bytes::from_request(request, state).await?,
        })
    }
}

impl Post {
    fn caller(&self) -> Caller<'_> {
        Caller {
            connection: self.connection.as_deref(),
            client: self.client,
            headers: &self.headers,
        }
    }
}

impl Hearing {
    async fn answer(
        &self,
        path: &'static str,
        post: &Post,
        hear: impl AsyncFnOnce(Encoding) -> Reply,
    ) -> Response {
        let (pass, answer) = self.admitted(path, post, hear).await;
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
        path: &'static str,
        post: &Post,
        hear: impl AsyncFnOnce(Encoding) -> Reply,
    ) -> (Option<Pass>, Reply) {
        let kind = post.headers.get(CONTENT_TYPE);
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
            body: &post.body,
        };
        let caller = post.caller();
        match self.gate.admit(&caller, &said) {
            Ok(pass) => (Some(pass), hear(encoding).await),
            Err(refusal) => {
                self.gate.complain(&caller, None, &refusal);
                (None, Err(refusal.into()))
            }
        }
    }

    async fn hear(&self, post: &Post, encoding: Encoding) -> Result<HeartbeatReply, Problem> {
        let read = report::read(encoding, &post.body);
        let heartbeat = self.vouched(post, read, |heartbeat| &heartbeat.node)?;
        let node = heartbeat.node.clone();
        match self.desk.heartbeat(heartbeat).await? {
            Ok(mut reply) => {
                reply.visits = self.keeper.is_some() && !reply.standby;
                Ok(reply)
            }
            Err(refused) => {
                let told = format!("{node}: {refused}");
                let refusal = Refusal(StatusCode::CONFLICT, told);
                Err(self.refuse(post, Some(&node), refusal))
            }
        }
    }

    async fn note(&self, post: &Post, encoding: Encoding) -> Result<(), Problem> {
        let read: Result<Answer, Unreadable> = encoding.read(&post.body);
        let read = read.map_err(|why| why.to_string());
        let answer = self.vouched(post, read, |answer| &answer.node)?;
        Ok(self.desk.note(answer).await?)
    }

    /// What is told of viewers; it is there for good once this returns.
    async fn keep(&self, post: &Post, encoding: Encoding) -> Result<(), Problem> {
        let Some(keeper) = &self.keeper else {
            let told = "this manager keeps no analytics (--analytics)";
            return Err(Problem::not_found(told));
        };
        if encoding != Encoding::Json {
            let told = format!("visits are sent as {}", Encoding::Json.content_type());
            return Err(Problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, told));
        }
        let read = report::visits(&post.body);
        let visits = self.vouched(post, read, |visits| &visits.node)?;
        if !self.desk.routing().borrow().tenure.is_active() {
            return Err(undecided());
        }
        let kept = keeper.take(Arc::new(visits)).await;
        Ok(kept?)
    }

    /// What was read, if it could be, and if whoever said it may be the node that it names.
    fn vouched<M>(
        &self,
        post: &Post,
        read: Result<M, String>,
        node: fn(&M) -> &str,
    ) -> Result<M, Problem> {
        let message = read.map_err(|told| {
            let refusal = Refusal(StatusCode::BAD_REQUEST, told);
            self.refuse(post, None, refusal)
        })?;
        let node = node(&message);
        match self.gate.may_be(&post.caller(), node) {
            Ok(()) => Ok(message),
            Err(refusal) => Err(self.refuse(post, Some(node), refusal)),
        }
    }

    fn refuse(&self, post: &Post, node: Option<&str>, refusal: Refusal) -> Problem {
        self.gate.complain(&post.caller(), node, &refusal);
        refusal.into()
    }
}

impl From<Refusal> for Problem {
    fn from(Refusal(status, told): Refusal) -> Self {
        Self(status, told)
    }
}
