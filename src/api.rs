//! What the JSON interfaces of nodes and of the traffic manager have in common: they are described by OpenAPI 3.1, from the
//! handlers themselves, and they refuse alike. What they say is theirs.

use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{FromRequestParts, path::ErrorKind, rejection::PathRejection},
    http::{
        HeaderValue, Method, StatusCode, Uri,
        header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

/// An answer that is no success: a status, and one line that says why.
#[derive(Debug)]
pub struct Problem(pub StatusCode, pub String);

/// What was wrong, for people: one line.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Told {
    error: String,
}

impl Problem {
    pub fn not_found(told: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, told.into())
    }

    pub fn bad_request(told: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, told.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self(status, error) = self;
        let mut answer = (status, Json(Told { error })).into_response();
        let helps = match status {
            StatusCode::SERVICE_UNAVAILABLE => Some((RETRY_AFTER, "1")),
            StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, "Bearer")),
            _ => None,
        };
        if let Some((name, value)) = helps {
            let value = HeaderValue::from_static(value);
            answer.headers_mut().entry(name).or_insert(value);
        }
        answer
    }
}

/// What is asked for in the query; what cannot be read is told as a [`Problem`].
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let asked = axum::extract::Query::from_request_parts(parts, state).await;
        match asked {
            Ok(axum::extract::Query(asked)) => Ok(Self(asked)),
            Err(error) => Err(Problem::bad_request(error.body_text())),
        }
    }
}

/// What is named in the path, likewise.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(named)) => Ok(Self(named)),
            Err(PathRejection::FailedToDeserializePathParams(error))
                if matches!(error.kind(), ErrorKind::InvalidUtf8InPathParam { .. }) =>
            {
                Err(Problem::bad_request("what the path names is no text"))
            }
            Err(error) => Err(Problem(error.status(), error.body_text())),
        }
    }
}

/// An interface: what it is in general, by `D`, and its routes. All of it is served, with its description.
pub fn described<D: OpenApi>(routes: OpenApiRouter) -> Router {
    let own = OpenApiRouter::with_openapi(D::openapi()).routes(routes!(document));
    let (router, document) = own.merge(routes).split_for_parts();
    // It is made of what was compiled in, so that it can be written.
    let text = document.to_json().unwrap_or_default();
    router
        .method_not_allowed_fallback(wrong_method)
        .layer(Extension(Description(text.into())))
}

#[derive(Clone, Debug)]
struct Description(Bytes);

/// This document
#[utoipa::path(get, path = "/v1/openapi.json", tag = "health",
    responses((status = 200, description = "An OpenAPI 3.1 document.", body = serde_json::Value)))]
async fn document(Extension(Description(text)): Extension<Description>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], text)
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let told = format!("{method} is not for {}", uri.path());
    Problem(StatusCode::METHOD_NOT_ALLOWED, told)
}
