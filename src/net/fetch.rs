//! HTTP GETs to other nodes: with a deadline, a bound on length, and errors that say who and what.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use reqwest::{Certificate, Client, StatusCode, Url};

/// A client; clones share its connections.
#[derive(Clone)]
pub struct Fetcher {
    client: Client,
    bearer: Option<Bearer>,
    header: Option<(&'static str, &'static str)>,
    counts: Arc<Counts>,
}

/// Of a client and all its clones.
#[derive(Debug, Default)]
struct Counts {
    fetched: AtomicU64,
    failed: AtomicU64,
    octets: AtomicU64,
}

/// Makes the token of a request.
pub type Bearer = Arc<dyn Fn() -> String + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("no HTTP client: {why}")]
    Client { why: String },
    #[error("{url}: {why}")]
    Transport { url: Box<Url>, why: String },
    #[error("{url}: answered {status}{}{}", if said.is_empty() { "" } else { ": " }, said)]
    Status {
        url: Box<Url>,
        status: StatusCode,
        said: String,
    },
    #[error("{url}: longer than {MAX_BODY} octets")]
    TooLong { url: Box<Url> },
    #[error("{url}: not text")]
    NotText { url: Box<Url> },
    #[error("{url}: no answer within {patience:?}")]
    Late { url: Box<Url>, patience: Duration },
}

/// An answer, and where it came from once redirects were followed.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub url: Url,
    pub headers: reqwest::header::HeaderMap,
    pub body: Bytes,
}

impl Fetcher {
    /// Trusts the authorities that this system trusts.
    pub fn new() -> Result<Self, FetchError> {
        Self::with(Vec::new())
    }

    /// Trusts those in the PEM file `authorities` as well, if there is one.
    pub fn trusting(authorities: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = authorities else {
            return Ok(Self::new()?);
        };
        let read = || -> anyhow::Result<Vec<Certificate>> {
            let certificates = Certificate::from_pem_bundle(&std::fs::read(path)?)?;
            anyhow::ensure!(!certificates.is_empty(), "there is no certificate in it");
            Ok(certificates)
        };
        let certificates = read().with_context(|| format!("ca-file {}", path.display()))?;
        Ok(Self::with(certificates)?)
    }

    fn with(authorities: Vec<Certificate>) -> Result<Self, FetchError> {
        let builder = || {
            Client::builder()
                .connect_timeout(CONNECT)
                .pool_idle_timeout(IDLE)
                // What is fetched at a time comes over a connection each, so that a segment that
                // loses packets does not hold up the playlist.
                .http1_only()
                .user_agent(concat!("spillway/", env!("CARGO_PKG_VERSION")))
        };
        let client = builder().tls_certs_merge(authorities.clone()).build();
        // A system without any authorities can still do without TLS, or with those it was given.
        client
            .or_else(|_| builder().tls_certs_only(authorities).build())
            .map(|client| Self {
                client,
                bearer: None,
                header: None,
                counts: Arc::default(),
            })
            .map_err(|error| FetchError::Client { why: cause(&error) })
    }

    /// The same, with a token in the `Authorization` of every GET. Not for whom a redirect leads to.
    pub fn bearing(self, bearer: Bearer) -> Self {
        Self {
            bearer: Some(bearer),
            ..self
        }
    }

    /// The same, with this header in every GET.
    pub fn saying(self, name: &'static str, value: &'static str) -> Self {
        Self {
            header: Some((name, value)),
            ..self
        }
    }

    /// The body of `url`, in full, within `patience`.
    pub async fn get(&self, url: Url, patience: Duration) -> Result<Fetched, FetchError> {
        let fetched = match tokio::time::timeout(patience, self.get_in_time(url.clone())).await {
            Ok(result) => result,
            Err(_) => Err(FetchError::Late {
                url: name(&url),
                patience,
            }),
        };
        match &fetched {
            Ok(fetched) => {
                self.counts.fetched.fetch_add(1, Relaxed);
                let octets = fetched.body.len() as u64;
                self.counts.octets.fetch_add(octets, Relaxed);
            }
            Err(_) => _ = self.counts.failed.fetch_add(1, Relaxed),
        }
        fetched
    }

    /// GETs that succeeded, ones that failed, and octets that came.
    pub fn counts(&self) -> (u64, u64, u64) {
        let Counts {
            fetched,
            failed,
            octets,
        } = &*self.counts;
        (
            fetched.load(Relaxed),
            failed.load(Relaxed),
            octets.load(Relaxed),
        )
    }

    /// The same, as text.
    pub async fn text(&self, url: Url, patience: Duration) -> Result<(Url, String), FetchError> {
        let fetched = self.get(url, patience).await?;
        match String::from_utf8(fetched.body.into()) {
            Ok(text) => Ok((fetched.url, text)),
            Err(_) => Err(FetchError::NotText {
                url: name(&fetched.url),
            }),
        }
    }

    async fn get_in_time(&self, url: Url) -> Result<Fetched, FetchError> {
        let transport = |error: reqwest::Error| FetchError::Transport {
            url: name(error.url().unwrap_or(&url)),
            why: cause(&error),
        };
        let mut request = self.client.get(url.clone());
        if let Some(bearer) = &self.bearer {
            request = request.bearer_auth(bearer());
        }
        if let Some((name, value)) = self.header {
            request = request.header(name, value);
        }
        let mut answer = request.send().await.map_err(transport)?;
        let (from, status, headers) = (
            answer.url().clone(),
            answer.status(),
            answer.headers().clone(),
        );
        let expected = answer.content_length().unwrap_or(0);
        if expected > MAX_BODY {
            return Err(FetchError::TooLong { url: name(&from) });
        }
        let mut body = BytesMut::with_capacity(expected as usize);
        // A body that breaks off is an error here: hyper knows its length.
        while let Some(chunk) = answer.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > MAX_BODY as usize {
                return Err(FetchError::TooLong { url: name(&from) });
            }
            body.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            let said = String::from_utf8_lossy(&body)
                .trim()
                .chars()
                .take(200)
                .collect();
            return Err(FetchError::Status {
                url: name(&from),
                status,
                said,
            });
        }
        Ok(Fetched {
            url: from,
            headers,
            body: body.freeze(),
        })
    }
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Fetcher");
        shown.field("bears", &self.bearer.is_some());
        shown.finish_non_exhaustive()
    }
}

fn name(url: &Url) -> Box<Url> {
    Box::new(url.clone())
}

/// The innermost cause: "connection refused" says more than "error sending request".
pub(super) fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

const CONNECT: Duration = Duration::from_secs(3);

/// Shorter than the time for which our servers keep an idle connection, so that they rarely
/// close one just as it is used.
const IDLE: Duration = Duration::from_secs(15);

const MAX_BODY: u64 = 64 << 20;
