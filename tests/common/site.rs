//! A node's public listener in this process, with whatever options a test wants it to have, and
//! an authority of the test's own.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{Router, extract::Extension, routing::get};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use spillway::{
    assets,
    net::{self, Client, Connection, Front, FrontConfig},
    origin::{self, Origin, Terms},
    store::Store,
};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::node::{Feed, short};

/// A listener that serves `demo`; stopped when dropped.
pub(crate) struct Site {
    pub(crate) origin: Arc<Origin>,
    pub(crate) address: SocketAddr,
    /// As a client that trusts the test's authority reaches it.
    pub(crate) url: String,
    pub(crate) serving: JoinHandle<()>,
    pub(crate) stop: CancellationToken,
    _guard: DropGuard,
}

impl Site {
    /// On loopback, with four segments.
    pub(crate) async fn open(config: &FrontConfig) -> Self {
        Self::start(config.open().await.unwrap(), "127.0.0.1:0").await
    }

    pub(crate) async fn start(mut front: Front, listen: &str) -> Self {
        let listener = net::bind(listen.parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = match front.server.tls {
            Some(_) => "https",
            None => "http",
        };
        let url = format!("{scheme}://localhost:{}", address.port());
        front.server.limits.shutdown = Duration::from_secs(2);
        let origin = Origin::new("site".into(), Store::default(), Terms::default());
        let mut feed = Feed::new(
            origin.store.create(&"demo".parse().unwrap()).unwrap(),
            short(),
        );
        feed.segments(4);
        // Its end would take the stream with it.
        std::mem::forget(feed);
        let app = origin::public(origin.clone())
            .merge(assets::player())
            .merge(Router::new().route("/who", get(who)));
        let stop = CancellationToken::new();
        let (base, end) = (url.parse().unwrap(), stop.clone());
        let serving = tokio::spawn(async move { front.serve(listener, app, &base, end).await });
        Self {
            origin,
            address,
            url,
            serving,
            stop: stop.clone(),
            _guard: stop.drop_guard(),
        }
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}/{}", self.url, path.trim_start_matches('/'))
    }
}

/// Says who asks: the client, the end of the connection, and whether that is the same.
async fn who(
    Extension(client): Extension<Client>,
    Extension(connection): Extension<Arc<Connection>>,
) -> String {
    let peer = connection.peer;
    format!("{} {} {}", client.address, peer.address.ip(), peer.direct)
}

/// Issues certificates that clients of [`Ca::client`] trust.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
    folder: PathBuf,
}

impl Ca {
    /// With a folder of its own, called after the test.
    pub(crate) fn new(test: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("http-{test}"));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
            folder,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Puts a certificate for `localhost` where [`Ca::config`] says that it is.
    pub(crate) fn issue(&self) {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path("key.pem"), key.serialize_pem()).unwrap();
        std::fs::write(self.path("cert.pem"), certificate.pem()).unwrap();
    }

    /// Options of a listener that presents what was issued.
    pub(crate) fn config(&self) -> FrontConfig {
        FrontConfig {
            tls_cert: Some(self.path("cert.pem")),
            tls_key: Some(self.path("key.pem")),
            ..FrontConfig::default()
        }
    }

    pub(crate) fn client(&self) -> reqwest::ClientBuilder {
        client(&self.pem)
    }

    /// Shakes hands, with what is offered for ALPN.
    pub(crate) async fn shake(&self, to: SocketAddr, alpn: &[u8]) -> TlsStream<TcpStream> {
        let authority = Authority(self.pem.clone());
        authority.try_shake(to, alpn).await.unwrap()
    }

    /// Whoever trusts only those in `pem`.
    pub(crate) fn trusting(pem: &str) -> Authority {
        Authority(pem.to_owned())
    }
}

/// An authority as those see it who trust it.
pub(crate) struct Authority(String);

impl Authority {
    pub(crate) async fn shake(&self, to: SocketAddr, alpn: &[u8]) -> TlsStream<TcpStream> {
        self.try_shake(to, alpn).await.unwrap()
    }

    pub(crate) async fn try_shake(
        &self,
        to: SocketAddr,
        alpn: &[u8],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.0.as_bytes()).unwrap();
        roots.add(root).unwrap();
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let stream = TcpStream::connect(to).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await
    }
}

/// Trusts those who are in `pem`, and nobody else.
pub(crate) fn client(pem: &str) -> reqwest::ClientBuilder {
    let root = reqwest::Certificate::from_pem(pem.as_bytes()).unwrap();
    reqwest::Client::builder()
        .tls_certs_only([root])
        .redirect(reqwest::redirect::Policy::none())
        .no_gzip()
}

/// The certificate that the other end presented.
pub(crate) fn presented(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    let (_, session) = stream.get_ref();
    session.peer_certificates().unwrap()[0].to_vec()
}
