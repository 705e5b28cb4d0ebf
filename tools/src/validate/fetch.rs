//! One GET with a deadline and a bound, and all that is to be known of it afterwards.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::{exchange::Exchange, listing::Range};

/// Fetches, and tells the time since the start.
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: reqwest::Client,
    start: Instant,
}

/// What one answer may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub octets: usize,
    pub time: Duration,
}

impl Fetcher {
    /// `headers` are sent with each request, as `Name: value`.
    pub fn new(headers: &[String]) -> anyhow::Result<Self> {
        let mut all = HeaderMap::new();
        // As a page would, so that what it would be told is seen.
        all.insert(
            "origin",
            HeaderValue::from_static("https://validate.invalid"),
        );
        for header in headers {
            let (name, value) = header
                .split_once(':')
                .with_context(|| format!("header {header:?} is not of the form Name: value"))?;
            let name: HeaderName = name
                .trim()
                .parse()
                .with_context(|| format!("header name {name:?}"))?;
            let value = value
                .trim()
                .parse()
                .with_context(|| format!("value of header {name}"))?;
            all.insert(name, value);
        }
        let client = reqwest::Client::builder()
            .user_agent(concat!("spillway-validate/", env!("CARGO_PKG_VERSION")))
            .default_headers(all)
            .connect_timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::limited(10))
            .build()
            .context("setting up HTTP")?;
        Ok(Self {
            client,
            start: Instant::now(),
        })
    }

    /// Since the start.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// What fails is said in the exchange.
    pub async fn get(&self, url: &Url, range: Option<Range>, bound: Bound) -> (Exchange, Vec<u8>) {
        let mut exchange = Exchange {
            url: url.to_string(),
            final_url: url.to_string(),
            range,
            asked: self.now(),
            ..Exchange::default()
        };
        let mut body = Vec::new();
        let answer = self.read(url, bound.octets, &mut exchange, &mut body);
        match tokio::time::timeout(bound.time, answer).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => exchange.error = Some(chain(&error)),
            Err(_) => {
                exchange.error = Some(format!("not whole after {:.1} s", bound.time.as_secs_f64()))
            }
        }
        exchange.octets = body.len() as u64;
        exchange.came = self.now();
        (exchange, body)
    }

    async fn read(
        &self,
        url: &Url,
        most: usize,
        exchange: &mut Exchange,
        body: &mut Vec<u8>,
    ) -> reqwest::Result<()> {
        let mut request = self.client.get(url.clone());
        if let Some(range) = exchange.range {
            let last = range.offset.saturating_add(range.length).saturating_sub(1);
            request = request.header("range", format!("bytes={}-{last}", range.offset));
        }
        let mut answer = request.send().await?;
        exchange.status = answer.status().as_u16();
        exchange.final_url = answer.url().to_string();
        for (name, value) in answer.headers() {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            exchange.headers.insert(name.as_str().to_owned(), value);
        }
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > most {
                exchange.truncated = true;
                break;
            }
            body.extend_from_slice(&chunk);
        }
        Ok(())
    }
}

/// An error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let causes: Vec<_> = causes.map(ToString::to_string).collect();
    match causes.last() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
