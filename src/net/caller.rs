//! Messages to one other program and its answers: over one connection that stays, HTTP/2 where there
//! is TLS, with a certificate of our own if it asks for one.
//!
//! What is said is the caller's business. Media comes by [`super::Fetcher`], which wants a connection
//! for each thing at a time.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use reqwest::{
    Certificate, Client, Identity, RequestBuilder, StatusCode, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect,
};

use super::fetch::{FetchError, cause};

/// A way to others; clones do not share connections.
pub struct Caller {
    trust: Trusted,
    client: Mutex<Client>,
}

/// Whom to believe that it is whom we call, and what to show.
#[derive(Clone, Debug, Default)]
pub struct Trusted {
    /// Authorities (PEM) to trust beside those of the system; alone, if there is a certificate to show.
    pub authorities: Option<PathBuf>,
    /// Certificate and key (PEM).
    pub own: Option<(PathBuf, PathBuf)>,
}

/// What came back, whatever the status.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Caller {
    pub fn new(trust: Trusted) -> anyhow::Result<Self> {
        let client = Mutex::new(trust.client()?);
        Ok(Self { trust, client })
    }

    /// Posts `body`. Redirects are not followed: whoever was called is meant.
    pub async fn post(
        &self,
        url: &Url,
        headers: &[(&'static str, &str)],
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<Answer, FetchError> {
        let client = self.lock().clone();
        let mut request = client.post(url.clone()).body(body).timeout(patience);
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(|_| FetchError::Client {
                why: format!("what is to go into {name} cannot"),
            })?;
            request = request.header(HeaderName::from_static(name), value);
        }
        self.sent(url, request).await
    }

    async fn sent(&self, url: &Url, request: RequestBuilder) -> Result<Answer, FetchError> {
        read(request).await.map_err(|why| {
            self.renew();
            let url = Box::new(url.clone());
            FetchError::Transport { url, why }
        })
    }

    /// Posts what somebody else has written, with all its headers.
    #[cfg(feature = "otel")]
    pub async fn post_written(
        &self,
        written: axum::http::Request<Bytes>,
        patience: Duration,
    ) -> Result<Answer, FetchError> {
        let client = |error: reqwest::Error| FetchError::Client { why: cause(&error) };
        let request = reqwest::Request::try_from(written).map_err(client)?;
        let url = request.url().clone();
        let request = RequestBuilder::from_parts(self.lock().clone(), request);
        self.sent(&url, request.timeout(patience)).await
    }

    /// What failed may have failed for a certificate that ran out, and there may be another by now.
    fn renew(&self) {
        if self.trust.own.is_none() {
            return;
        }
        match self.trust.client() {
            Ok(client) => *self.lock() = client,
            Err(error) => tracing::debug!("certificates stay as they are: {error:#}"),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Client> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Caller");
        shown.field("trust", &self.trust).finish_non_exhaustive()
    }
}

impl Trusted {
    fn client(&self) -> anyhow::Result<Client> {
        let authorities = match &self.authorities {
            Some(path) => {
                bundle(path).with_context(|| format!("authorities {}", path.display()))?
            }
            None => Vec::new(),
        };
        let identity = self.own.as_ref().map(|(certificate, key)| {
            identity(certificate, key).with_context(|| {
                format!(
                    "certificate {} with {}",
                    certificate.display(),
                    key.display()
                )
            })
        });
        let identity = identity.transpose()?;
        let builder = || {
            let builder = Client::builder()
                .connect_timeout(CONNECT)
                .redirect(redirect::Policy::none())
                .pool_max_idle_per_host(1)
                .pool_idle_timeout(IDLE)
                .user_agent(concat!("spillway/", env!("CARGO_PKG_VERSION")));
            match identity.clone() {
                Some(identity) => builder.identity(identity),
                None => builder,
            }
        };
        let alone = || builder().tls_certs_only(authorities.clone()).build();
        let client = if self.own.is_some() {
            alone()
        } else {
            // A system without any authorities can still do without TLS, or with those it was given.
            builder()
                .tls_certs_merge(authorities.clone())
                .build()
                .or_else(|_| alone())
        };
        client.context("no HTTP client")
    }
}

fn bundle(path: &Path) -> anyhow::Result<Vec<Certificate>> {
    let certificates = Certificate::from_pem_bundle(&std::fs::read(path)?)?;
    anyhow::ensure!(!certificates.is_empty(), "there is no certificate in it");
    Ok(certificates)
}

fn identity(certificate: &Path, key: &Path) -> anyhow::Result<Identity> {
    let mut pem = std::fs::read(certificate)?;
    if key != certificate {
        pem.push(b'\n');
        pem.extend(std::fs::read(key)?);
    }
    Ok(Identity::from_pem(&pem)?)
}

async fn read(request: RequestBuilder) -> Result<Answer, String> {
    let told = |error: reqwest::Error| cause(&error);
    let mut answer = request.send().await.map_err(told)?;
    let (status, headers) = (answer.status(), std::mem::take(answer.headers_mut()));
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(told)? {
        if body.len() + chunk.len() > MOST {
            return Err(format!("its answer is longer than {MOST} octets"));
        }
        body.extend_from_slice(&chunk);
    }
    let body = body.freeze();
    Ok(Answer {
        status,
        headers,
        body,
    })
}

const CONNECT: Duration = Duration::from_secs(3);

/// Shorter than the time for which our servers keep an idle connection; see [`super::Fetcher`].
const IDLE: Duration = Duration::from_secs(15);

/// No answer to a message is longer.
const MOST: usize = 1 << 20;
