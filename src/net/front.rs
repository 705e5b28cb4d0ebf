//! The options of a public listener, and what comes of them: the listener itself, the plain one
//! beside it that sends everybody to https, and the certificate that is kept fresh meanwhile.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use axum::{
    Router,
    extract::{Path, State},
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use ipnet::IpNet;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    App, ForwardedBy, Limits, PerAddress, Server, Tls, Trust,
    acme::{Authority, Challenge, Tokens},
    bind,
    certificate::{self, Certificate, Files},
    renewal::Renewal,
};

/// How a public listener is reached: with TLS or without, through proxies or not.
#[derive(Clone, Debug, Default, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct FrontConfig {
    /// Certificate chain (PEM) to serve https and HTTP/2 with; read again when it changes, and on SIGHUP
    #[arg(long, env = "SPILLWAY_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key (PEM) [default: the file of --tls-cert]
    #[arg(long, env = "SPILLWAY_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Host name to get a certificate for by ACME, whose authority's terms you thereby accept; repeat it for more names
    #[arg(
        long,
        env = "SPILLWAY_ACME_DOMAIN",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub acme_domain: Vec<String>,
    /// Where the authority may write to about it [default: nowhere]
    #[arg(long, env = "SPILLWAY_ACME_EMAIL", value_name = "ADDRESS")]
    pub acme_email: Option<String>,
    /// Folder for the account and certificates; may be shared by programs of one machine [default: acme]
    #[arg(long, env = "SPILLWAY_ACME_STATE", value_name = "FOLDER")]
    pub acme_state: Option<PathBuf>,
    /// URL of the authority's directory, or `staging` for Let's Encrypt's trial one [default: Let's Encrypt]
    #[arg(long, env = "SPILLWAY_ACME_DIRECTORY", value_name = "URL")]
    pub acme_directory: Option<String>,
    /// Whom to trust about the authority itself (PEM) [default: whom the system trusts]
    #[arg(long, env = "SPILLWAY_ACME_CA", value_name = "FILE")]
    pub acme_ca: Option<PathBuf>,
    /// How to show that the name is ours [default: http-01 with --http-listen, else tls-alpn-01]
    #[arg(long, env = "SPILLWAY_ACME_CHALLENGE", value_name = "KIND")]
    pub acme_challenge: Option<Challenge>,
    /// Address of a plain listener that sends everybody to https (and answers http-01), such as `[::]:80`
    #[arg(long, env = "SPILLWAY_HTTP_LISTEN", value_name = "IP:PORT")]
    pub http_listen: Option<SocketAddr>,
    /// Network of proxies whose word is taken for who the client is; repeat it for more [default: none]
    #[arg(
        long,
        env = "SPILLWAY_TRUSTED_PROXY",
        value_name = "CIDR",
        value_delimiter = ',',
        value_parser = network
    )]
    pub trusted_proxy: Vec<IpNet>,
    /// Trusted proxies begin each connection with the PROXY protocol, version 1 or 2
    #[arg(long, env = "SPILLWAY_PROXY_PROTOCOL", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub proxy_protocol: Option<bool>,
    /// Header in which trusted proxies name the client [default: x-forwarded-for]
    #[arg(long, env = "SPILLWAY_FORWARDED_BY", value_name = "HEADER")]
    pub forwarded_by: Option<ForwardedBy>,
    /// Connections at a time; more wait to be accepted [default: 20000]
    #[arg(long, env = "SPILLWAY_MAX_CONNECTIONS", value_name = "COUNT")]
    pub max_connections: Option<usize>,
    /// Connections of one address (IPv6: of its /64) at a time, but for trusted proxies; more are
    /// closed [default: a quarter of --max-connections, and this machine as many as it likes]
    #[arg(
        long,
        env = "SPILLWAY_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "COUNT"
    )]
    pub max_connections_per_address: Option<usize>,
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let one = || text.parse::<IpAddr>().map(IpNet::from);
    let network = text.parse::<IpNet>().or_else(|_| one());
    network.map_err(|_| "neither a network such as 10.0.0.0/8 nor an address".to_owned())
}

/// A listener that is ready to serve.
#[derive(Debug)]
pub struct Front {
    pub server: Server,
    plain: Option<(TcpListener, Tokens)>,
    keeper: Option<Keeper>,
    /// For whom the certificate is.
    names: Vec<String>,
}

/// Who sees to it that the certificate stays good.
#[derive(Debug)]
enum Keeper {
    Files(Files, Certificate),
    Authority(Box<Renewal>),
}

impl FrontConfig {
    /// Reads certificates and binds the plain listener; every fault is said here.
    pub async fn open(&self) -> anyhow::Result<Front> {
        let (trust, limits) = (self.trust()?, self.limits()?);
        let mut server = Server {
            limits,
            trust: Arc::new(trust),
            ..Server::default()
        };
        let tokens = Tokens::default();
        let (mut keeper, mut names) = (None, Vec::new());
        if let Some(files) = self.files()? {
            let (tls, certificate) = (Tls::new()?, files.read().await.context("tls-cert")?);
            certificate.present(tls.presented(), "read");
            names = certificate.names.clone();
            server.tls = Some(tls);
            keeper = Some(Keeper::Files(files, certificate));
        } else if let Some(authority) = self.authority()? {
            let tls = Tls::new()?;
            names = authority.names.clone();
            let state = self.acme_state.clone().unwrap_or_else(|| "acme".into());
            let presented = tls.presented().clone();
            let renewal = Renewal::open(authority, &state, presented, tokens.clone()).await?;
            server.tls = Some(tls);
            keeper = Some(Keeper::Authority(Box::new(renewal)));
        }
        let plain = match self.http_listen {
            Some(address) => {
                ensure!(
                    server.tls.is_some(),
                    "http-listen is for sending viewers to https, but there is no certificate; give tls-cert or acme-domain, or leave it out"
                );
                Some((bind(address).await.context("http-listen")?, tokens))
            }
            None => None,
        };
        Ok(Front {
            server,
            plain,
            keeper,
            names,
        })
    }

    fn trust(&self) -> anyhow::Result<Trust> {
        let proxy_protocol = self.proxy_protocol.unwrap_or(false);
        ensure!(
            !(proxy_protocol && self.trusted_proxy.is_empty()),
            "proxy-protocol is believed from trusted proxies only; say which with trusted-proxy"
        );
        Ok(Trust {
            proxies: self.trusted_proxy.clone(),
            proxy_protocol,
            header: self.forwarded_by.unwrap_or_default(),
        })
    }

    fn limits(&self) -> anyhow::Result<Limits> {
        let mut limits = Limits::default();
        if let Some(most) = self.max_connections {
            ensure!(most > 0, "max-connections is 0; 1 is the least");
            limits.connections = most;
        }
        limits.per_address = Some(match self.max_connections_per_address {
            Some(most) => {
                ensure!(most > 0, "max-connections-per-address is 0; 1 is the least");
                PerAddress {
                    most,
                    spare_loopback: false,
                }
            }
            None => PerAddress {
                most: (limits.connections / 4).max(1),
                spare_loopback: true,
            },
        });
        Ok(limits)
    }

    fn files(&self) -> anyhow::Result<Option<Files>> {
        let Some(certificate) = &self.tls_cert else {
            ensure!(
                self.tls_key.is_none(),
                "tls-key without tls-cert; a key is nothing without its certificate"
            );
            return Ok(None);
        };
        ensure!(
            self.acme_domain.is_empty(),
            "both tls-cert and acme-domain; a certificate comes from a file or from an authority"
        );
        Ok(Some(Files {
            certificate: certificate.clone(),
            key: self.tls_key.clone().unwrap_or_else(|| certificate.clone()),
        }))
    }

    fn authority(&self) -> anyhow::Result<Option<Authority>> {
        if self.acme_domain.is_empty() {
            return Ok(None);
        }
        for name in &self.acme_domain {
            ensure!(
                is_host(name),
                "acme-domain {name:?} is not a host name that an authority could look at"
            );
        }
        let directory = match self.acme_directory.as_deref() {
            None => instant_acme::LetsEncrypt::Production.url(),
            Some("staging") => instant_acme::LetsEncrypt::Staging.url(),
            Some(url) => url,
        };
        let url: Url = directory
            .parse()
            .with_context(|| format!("acme-directory {directory:?} is not a URL"))?;
        ensure!(
            url.scheme() == "https",
            "acme-directory {directory} is not https; authorities are asked over TLS only"
        );
        let challenge = self.acme_challenge.unwrap_or(match self.http_listen {
            Some(_) => Challenge::Http,
            None => Challenge::Tls,
        });
        ensure!(
            challenge == Challenge::Tls || self.http_listen.is_some(),
            "acme-challenge http-01 is answered on a plain listener; give http-listen as well"
        );
        Ok(Some(Authority {
            names: self.acme_domain.clone(),
            email: self.acme_email.clone(),
            directory: directory.to_owned(),
            root: self.acme_ca.clone(),
            challenge,
        }))
    }
}

impl Front {
    /// For members only: whoever connects shows a certificate that one of `authorities` issued.
    pub async fn for_members(files: Files, authorities: &std::path::Path) -> anyhow::Result<Self> {
        let tls = Tls::asking(authorities).context("control-ca")?;
        let certificate = files.read().await.context("control-cert")?;
        certificate.present(tls.presented(), "read");
        let names = certificate.names.clone();
        Ok(Self {
            server: Server {
                tls: Some(tls),
                ..Server::default()
            },
            plain: None,
            keeper: Some(Keeper::Files(files, certificate)),
            names,
        })
    }

    /// Where what listens on `address` is reached: by the first name of its certificate, or at `ip`.
    pub fn url(&self, address: SocketAddr, ip: IpAddr) -> anyhow::Result<Url> {
        let port = address.port();
        let url = if self.server.tls.is_none() {
            format!("http://{}/", SocketAddr::new(ip, port))
        } else {
            match self.names.iter().find(|name| !name.starts_with('*')) {
                Some(name) if name.contains(':') => format!("https://[{name}]:{port}/"),
                Some(name) => format!("https://{name}:{port}/"),
                None => format!("https://{}/", SocketAddr::new(ip, port)),
            }
        };
        url.parse().with_context(|| format!("{url} is not a URL"))
    }

    /// The options by which a program beside this one presents the same certificate; `None`
    /// without TLS.
    pub fn files(&self) -> Option<Vec<(&'static str, PathBuf)>> {
        let files = match self.keeper.as_ref()? {
            Keeper::Files(files, _) => files,
            Keeper::Authority(renewal) => renewal.files(),
        };
        Some(vec![
            ("--tls-cert", files.certificate.clone()),
            ("--tls-key", files.key.clone()),
        ])
    }

    /// Serves `app`, which viewers reach at `url`, until `stop`.
    pub async fn serve(
        self,
        listener: TcpListener,
        app: impl Into<App>,
        url: &Url,
        stop: CancellationToken,
    ) {
        let plain = self.plain.map(|(listener, tokens)| {
            let limits = self.server.limits;
            super::serve(listener, sends_on(url, tokens), limits, stop.clone())
        });
        let presented = self.server.tls.as_ref().map(|tls| tls.presented().clone());
        let kept = async {
            match (self.keeper, presented) {
                (Some(Keeper::Files(files, certificate)), Some(presented)) => {
                    certificate::watch(files, certificate, presented, stop.clone()).await;
                }
                (Some(Keeper::Authority(renewal)), _) => renewal.run(stop.clone()).await,
                _ => {}
            }
        };
        let plain = async {
            if let Some(plain) = plain {
                plain.await;
            }
        };
        tokio::join!(self.server.serve(listener, app, stop.clone()), plain, kept);
    }
}

/// Answers authorities, and sends everybody else to the same place over https.
fn sends_on(url: &Url, tokens: Tokens) -> Router {
    let challenge = async |State(tokens): State<Tokens>, Path(token): Path<String>| match tokens
        .answer(&token)
    {
        Some(answer) => {
            ([(header::CONTENT_TYPE, "application/octet-stream")], answer).into_response()
        }
        None => (StatusCode::NOT_FOUND, "no such token\n").into_response(),
    };
    let to = url.as_str().trim_end_matches('/').to_owned();
    Router::new()
        .route("/.well-known/acme-challenge/{token}", get(challenge))
        .with_state(tokens)
        .fallback(async move |method: Method, uri: Uri| redirect(&to, &method, &uri))
}

fn redirect(to: &str, method: &Method, uri: &Uri) -> Response {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    // The oldest kind, which every player follows; but it turns what is posted into a GET.
    let status = match *method {
        Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
        _ => StatusCode::PERMANENT_REDIRECT,
    };
    let headers = [
        (header::LOCATION, format!("{to}{path}")),
        // Without it a browser would keep it for good, even if the node moves.
        (header::CACHE_CONTROL, "max-age=300".to_owned()),
    ];
    (status, headers).into_response()
}

/// Labels of letters, digits and hyphens. What authorities issue is theirs to say.
fn is_host(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    name.len() <= 253 && name.split('.').all(label) && name.parse::<IpAddr>().is_err()
}
