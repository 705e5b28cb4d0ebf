//! What is told of the requests that are traced: what was asked for, what the answer says of it, and whether all of it
//! was sent. No handler knows of it, for the path and the head of the answer have all that there is to tell.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_LENGTH, USER_AGENT},
    },
    middleware::Next,
    response::Response,
};
use http_body::{Frame, SizeHint};

use super::{counted::Kind, media::File};
use crate::{
    net::Connection,
    traces::{self, Lot, Span, Tracer},
};

/// Around all that is routed.
pub(super) async fn tracing(
    State(tracer): State<Tracer>,
    request: Request,
    next: Next,
) -> Response {
    let Some(span) = begun(&tracer, &request) else {
        return next.run(request).await;
    };
    let response = span.within(next.run(request)).await;
    answered(&span, response.status(), response.headers());
    let length = text(response.headers(), CONTENT_LENGTH.as_str());
    let length = length.and_then(|length| length.parse().ok());
    response.map(|body| {
        Body::new(Sent {
            length: length.or(body.size_hint().exact()),
            body,
            span,
            octets: 0,
            ended: false,
        })
    })
}

fn begun(tracer: &Tracer, request: &Request) -> Option<Span> {
    let path = request.uri().path();
    let name = match Kind::of(path) {
        Kind::Join => "GET join",
        Kind::Playlist => "GET playlist",
        Kind::Segment => "GET segment",
        Kind::Part => "GET part",
        Kind::Init => "GET init",
        Kind::Still => "GET still",
        Kind::Other => return None,
    };
    let connection = request.extensions().get::<std::sync::Arc<Connection>>();
    let (headers, none) = (request.headers(), Lot::default());
    let lot = connection.map_or(&none, |connection| &connection.lot);
    let span = tracer.answering(name, headers, lot)?;
    span.says("http.request.method", request.method().as_str());
    span.says("url.path", traces::told(path));
    span.says("network.protocol.name", "http");
    if let Some(player) = text(headers, USER_AGENT.as_str()) {
        span.says("user_agent.original", player);
    }
    asked(&span, path);
    Some(span)
}

/// What the path says: `.../live/{stream}/.../{rung}/{number}[.{part}].m4s`, where there is a rung in it.
fn asked(span: &Span, path: &str) {
    let Some((_, rest)) = path.split_once("/live/") else {
        return;
    };
    let names: Vec<_> = rest.split('/').collect();
    span.says("spillway.stream", names[0]);
    let Some(file) = names.last().and_then(|name| File::named(name).ok()) else {
        return;
    };
    span.counts("spillway.segment", file.number);
    if let Some(part) = file.part {
        span.counts("spillway.part", part as u64);
    }
    if let [_, _, rung, _] | [_, "v", _, _, rung, _] = names[..]
        && names[1] != "v"
    {
        span.says("spillway.rung", rung);
    }
}

/// What the head of the answer says; what was chosen, and why, if something was.
fn answered(span: &Span, status: StatusCode, headers: &HeaderMap) {
    span.counts("http.response.status_code", status.as_u16().into());
    for (key, name) in TOLD {
        if let Some(value) = text(headers, name) {
            span.says(key, value);
        }
    }
    if status.is_server_error() {
        span.fails(
            status.as_str(),
            status.canonical_reason().unwrap_or_default(),
        );
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The body of an answer, which belongs to the span until the last of it was taken.
struct Sent {
    body: Body,
    span: Span,
    /// All that there is of it, if that is known.
    length: Option<u64>,
    octets: u64,
    ended: bool,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let sent = &mut *self;
        // What is still to be brought is brought for it.
        let polled = sent.span.enter(|| Pin::new(&mut sent.body).poll_frame(cx));
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                sent.octets += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            Poll::Ready(Some(Err(_))) => sent.span.fails("broken_off", "there is no more of it"),
            Poll::Ready(None) => sent.ended = true,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.span.counts("http.response.body.size", self.octets);
        // Nobody asks for an end who knows that it is there.
        let all = self.length.is_some_and(|length| self.octets >= length);
        if self.octets > 0 && !all && !self.ended && !self.body.is_end_stream() {
            self.span.fails("broken_off", "not all of it was taken");
        }
    }
}

const TOLD: [(&str, &str); 3] = [
    ("spillway.rung", "spillway-rung"),
    ("spillway.reason", "spillway-reason"),
    ("spillway.estimate_kbps", "spillway-estimate"),
];
