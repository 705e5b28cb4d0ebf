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
use reqwest::{Certificate, Client, StatusCode, Url, header::HeaderMap};

use crate::traces::{self, Span, Tracer};

/// A client; clones share its connections.
#[derive(Clone)]
pub struct Fetcher {
    client: Client,
    bearer: Option<Bearer>,
    header: Option<(&'static str, &'static str)>,
    counts: Arc<Counts>,
    tracer: Tracer,
}

/// Of a client and all its clones.
#[derive(Debug, Default)]
struct Counts {
    fetched: AtomicU64,
    failed: AtomicU64,
    octets: AtomicU64,
}

/// How one GET goes. One that is given up has failed.
#[derive(Debug)]
struct Tally {
    counts: Arc<Counts>,
    over: bool,
    octets: u64,
    span: Option<Span>,
}

impl Tally {
    fn came(&mut self, octets: u64) {
        if !self.over {
            self.counts.octets.fetch_add(octets, Relaxed);
            self.octets += octets;
        }
    }

    /// Why it is about to fail.
    fn fails(&self, kind: &str, why: &str) {
        if let Some(span) = &self.span {
            span.fails(kind, why);
        }
    }

    fn end(&mut self, well: bool) {
        if !std::mem::replace(&mut self.over, true) {
            let count = match well {
                true => &self.counts.fetched,
                false => &self.counts.failed,
            };
            count.fetch_add(1, Relaxed);
            if !well {
                self.fails("broken_off", "not all of it came");
            }
            if let Some(span) = self.span.take() {
                span.counts("http.response.body.size", self.octets);
            }
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.end(false);
    }
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
    #[error(
        "{url}: answered without a Content-Length and not in chunks, so that nobody can tell whether it is all there"
    )]
    Endless { url: Box<Url> },
    #[error("{url}: not text")]
    NotText { url: Box<Url> },
    #[error("{url}: no answer within {patience:?}")]
    Late { url: Box<Url>, patience: Duration },
}

/// An answer, and where it came from once redirects were followed.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub url: Url,
    pub headers: HeaderMap,
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
                tracer: Tracer::default(),
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

    /// The same, with spans of this one for its GETs.
    pub fn traced(self, tracer: Tracer) -> Self {
        Self { tracer, ..self }
    }

    /// The body of `url`, in full, within `patience`.
    pub async fn get(&self, url: Url, patience: Duration) -> Result<Fetched, FetchError> {
        match tokio::time::timeout(patience, self.get_in_time(url.clone())).await {
            Ok(result) => result,
            Err(_) => Err(FetchError::Late {
                url: name(&url),
                patience,
            }),
        }
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

    /// The same of media, of which half is worse than nothing.
    pub async fn media(&self, url: Url, patience: Duration) -> Result<Bytes, FetchError> {
        let whole = async {
            let mut incoming = self.open(url.clone()).await?;
            if !incoming.ends_for_certain() {
                return Err(FetchError::Endless {
                    url: name(&incoming.url),
                });
            }
            let mut body = BytesMut::with_capacity(incoming.length.unwrap_or(0) as usize);
            while let Some(chunk) = incoming.chunk().await? {
                body.extend_from_slice(&chunk);
            }
            Ok(body.freeze())
        };
        let late = |_| FetchError::Late {
            url: name(&url),
            patience,
        };
        tokio::time::timeout(patience, whole).await.map_err(late)?
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
        let mut incoming = self.open(url).await?;
        let mut body = BytesMut::with_capacity(incoming.length.unwrap_or(0) as usize);
        while let Some(chunk) = incoming.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched {
            url: incoming.url,
            headers: incoming.headers,
            body: body.freeze(),
        })
    }

    /// The answer to a GET, as it comes. The caller sets the deadline.
    pub async fn open(&self, url: Url) -> Result<Incoming, FetchError> {
        let mut headers = HeaderMap::new();
        let tally = Tally {
            counts: self.counts.clone(),
            over: false,
            octets: 0,
            span: self.tracer.asking(&mut headers),
        };
        if let Some(span) = &tally.span {
            asks(span, &url);
        }
        let mut request = self.client.get(url.clone()).headers(headers);
        if let Some(bearer) = &self.bearer {
            request = request.bearer_auth(bearer());
        }
        if let Some((name, value)) = self.header {
            request = request.header(name, value);
        }
        let sent = request.send().await;
        let answer = sent.map_err(|error| {
            let why = cause(&error);
            tally.fails("transport", &why);
            let url = name(error.url().unwrap_or(&url));
            FetchError::Transport { url, why }
        })?;
        let status = answer.status();
        if let Some(span) = &tally.span {
            answered(span, status);
        }
        let mut incoming = Incoming {
            url: answer.url().clone(),
            headers: answer.headers().clone(),
            length: answer.content_length(),
            taken: 0,
            tally,
            answer,
        };
        if incoming.length.is_some_and(|length| length > MAX_BODY) {
            return Err(FetchError::TooLong {
                url: name(&incoming.url),
            });
        }
        if status.is_success() {
            return Ok(incoming);
        }
        incoming.tally.end(false);
        let mut said = BytesMut::new();
        while let Ok(Some(chunk)) = incoming.chunk().await
            && said.len() < SAID
        {
            said.extend_from_slice(&chunk);
        }
        Err(FetchError::Status {
            url: name(&incoming.url),
            status,
            said: String::from_utf8_lossy(&said)
                .trim()
                .chars()
                .take(SAID)
                .collect(),
        })
    }
}

/// An answer that is still coming.
#[derive(Debug)]
pub struct Incoming {
    pub url: Url,
    pub headers: HeaderMap,
    /// As it was announced.
    pub length: Option<u64>,
    taken: u64,
    tally: Tally,
    answer: reqwest::Response,
}

impl Incoming {
    /// The next octets; `None` at the end. A body that breaks off is an error here: hyper knows its length.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        let chunk = self.answer.chunk().await;
        let chunk = chunk.map_err(|error| FetchError::Transport {
            url: name(&self.url),
            why: cause(&error),
        })?;
        let octets = chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        self.taken += octets;
        self.tally.came(octets);
        if chunk.is_none() {
            self.tally.end(true);
        }
        if self.taken > MAX_BODY {
            return Err(FetchError::TooLong {
                url: name(&self.url),
            });
        }
        Ok(chunk)
    }

    /// Whether its end is told: by its length or in chunks. Else an answer that breaks off looks like one that is
    /// over, and may not be taken for all of something.
    pub fn ends_for_certain(&self) -> bool {
        self.length.is_some()
            || self
                .headers
                .contains_key(reqwest::header::TRANSFER_ENCODING)
    }
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Fetcher");
        shown.field("bears", &self.bearer.is_some());
        shown.finish_non_exhaustive()
    }
}

/// What is asked for, without what only the two of them may know.
fn asks(span: &Span, url: &Url) {
    let (host, path) = (url.host_str().unwrap_or_default(), traces::told(url.path()));
    let port = url.port_or_known_default().unwrap_or_default();
    span.says("http.request.method", "GET");
    span.says(
        "url.full",
        format!("{}://{host}:{port}{path}", url.scheme()),
    );
    span.says("server.address", host);
    span.counts("server.port", port.into());
}

fn answered(span: &Span, status: StatusCode) {
    span.counts("http.response.status_code", status.as_u16().into());
    if !status.is_success() {
        span.fails(
            status.as_str(),
            status.canonical_reason().unwrap_or_default(),
        );
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

/// So much is shown of what a node said beside an error.
const SAID: usize = 200;
