//! To whom traces are told, and how many: as options say it, or the environment as OpenTelemetry's own programs read it.
//! Every program has the options, so that one file of settings is for all; one that cannot do what they ask for says so.

use anyhow::ensure;
use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::{net::caller::Trusted, traces::Tracer};

/// Which requests are traced, and who is told.
#[derive(Clone, Debug, Default, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TracesConfig {
    /// Post traces to this OpenTelemetry collector, by OTLP over HTTP; to /v1/traces of it, if the URL has no path. For programs that
    /// are built with the feature `otel` [default: as OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT
    /// says, else nowhere]
    #[arg(long, env = "SPILLWAY_TRACES_ENDPOINT", value_name = "URL")]
    pub traces_endpoint: Option<Url>,
    /// Of requests that come without a `traceparent`, the share that is traced, 0 to 1 [default: 0.01]
    #[arg(long, env = "SPILLWAY_TRACES_SAMPLE", value_name = "SHARE")]
    pub traces_sample: Option<f64>,
}

impl TracesConfig {
    /// What makes the traces of `node`, which runs as this program.
    pub fn open(&self, program: &str, node: &str, trust: Trusted) -> anyhow::Result<Tracer> {
        let share = self.traces_sample.unwrap_or(USUAL);
        ensure!(
            (0.0..=1.0).contains(&share),
            "traces-sample is {share}; it has to be 0 to 1"
        );
        self.told(share, (program, node), trust)
    }

    #[cfg(feature = "otel")]
    fn told(&self, share: f64, who: (&str, &str), trust: Trusted) -> anyhow::Result<Tracer> {
        let endpoint = match &self.traces_endpoint {
            Some(url) => Some(completed(url.clone())),
            None => by_convention(|name| std::env::var(name).ok())?,
        };
        let Some(endpoint) = endpoint else {
            return Ok(Tracer::default());
        };
        ensure!(
            ["http", "https"].contains(&endpoint.scheme()),
            "traces-endpoint begins with {}:; it has to be http or https",
            endpoint.scheme()
        );
        super::exporting::tracer(endpoint, share, who, trust)
    }

    #[cfg(not(feature = "otel"))]
    fn told(&self, _: f64, _: (&str, &str), _: Trusted) -> anyhow::Result<Tracer> {
        ensure!(
            self.traces_endpoint.is_none(),
            "traces-endpoint is given, and this program is built without traces; build it with the feature `otel` (cargo build --features otel)"
        );
        Ok(Tracer::default())
    }
}

/// Collectors take traces there.
#[cfg(feature = "otel")]
fn completed(mut url: Url) -> Url {
    if url.path() == "/" {
        url.set_path("/v1/traces");
    }
    url
}

/// What is for traces alone is meant as it is; what is for all signals, as a folder.
#[cfg(feature = "otel")]
fn by_convention(said: impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<Url>> {
    use anyhow::Context as _;

    let said = |name: &'static str| {
        let text = said(name).filter(|text| !text.is_empty())?;
        Some((name, text))
    };
    let (name, text) = match (said("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), said(ALL)) {
        (Some(own), _) => own,
        (None, Some((name, base))) => (name, format!("{}/v1/traces", base.trim_end_matches('/'))),
        (None, None) => return Ok(None),
    };
    let url = text.parse();
    let url = url.with_context(|| format!("{name} says {text}, which is not a URL"));
    url.map(Some)
}

#[cfg(feature = "otel")]
const ALL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

const USUAL: f64 = 0.01;

#[cfg(test)]
mod tests {
    use super::*;

    fn open(config: &TracesConfig) -> Result<Tracer, String> {
        let opened = config.open("primary", "one", Trusted::default());
        opened.map_err(|error| error.to_string())
    }

    #[test]
    fn a_share_is_a_share() {
        let config = TracesConfig {
            traces_sample: Some(7.0),
            ..TracesConfig::default()
        };
        let why = open(&config).expect_err("refused");
        assert_eq!(why, "traces-sample is 7; it has to be 0 to 1");
    }

    #[cfg(not(feature = "otel"))]
    #[test]
    fn a_program_without_traces_says_how_to_have_one_with() {
        let config = TracesConfig {
            traces_endpoint: "http://collector:4318".parse().ok(),
            ..TracesConfig::default()
        };
        let why = open(&config).expect_err("refused");
        assert!(why.contains("--features otel"), "{why}");
        assert!(open(&TracesConfig::default()).is_ok());
    }

    #[cfg(feature = "otel")]
    #[test]
    fn the_environment_is_read_as_by_other_programs() {
        let read = |pairs: &[(&str, &str)]| {
            let of = |name: &str| pairs.iter().find(|(known, _)| *known == name);
            let url = by_convention(|name| of(name).map(|(_, text)| (*text).to_owned()));
            url.map(|url| url.map(String::from))
                .map_err(|error| error.to_string())
        };
        let own = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        let all = |url| read(&[(ALL, url)]);
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(all(""), Ok(None));
        assert_eq!(
            all("http://c:4318"),
            Ok(Some("http://c:4318/v1/traces".into()))
        );
        assert_eq!(all("http://c/a/"), Ok(Some("http://c/a/v1/traces".into())));
        assert_eq!(
            read(&[(ALL, "http://c:4318"), (own, "http://d/")]),
            Ok(Some("http://d/".into()))
        );
        assert!(all("collector").is_err());
    }

    #[cfg(feature = "otel")]
    #[test]
    fn what_cannot_be_posted_to_is_refused() {
        let config = TracesConfig {
            traces_endpoint: "grpc://collector:4317".parse().ok(),
            ..TracesConfig::default()
        };
        let why = open(&config).expect_err("refused");
        assert!(why.ends_with("it has to be http or https"), "{why}");
        let of = |url: &str| completed(url.parse().expect("a URL")).to_string();
        assert_eq!(of("http://c:4318"), "http://c:4318/v1/traces");
        assert_eq!(of("http://c:4318/tenant/"), "http://c:4318/tenant/");
    }
}
