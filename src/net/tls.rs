//! TLS on accepted connections, with a certificate that may be exchanged while they go on.
//! Where certificates come from is said by `certificate` (files) and `acme` (an authority).

use std::{collections::HashMap, fmt, io, path::Path, sync::Arc};

use anyhow::Context as _;
use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// What is spoken once the handshake is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    /// HTTP/1.1.
    First,
    /// HTTP/2.
    Second,
    /// Nothing: an authority wanted to see a certificate (RFC 8737).
    Challenge,
}

/// The server side of TLS. Clones share the certificate.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    presented: Arc<Presented>,
    /// Of clients, too, a certificate is asked.
    asks: bool,
}

/// What is presented to clients. Connections that are open keep what they were opened with.
#[derive(Debug, Default)]
pub(super) struct Presented {
    current: ArcSwapOption<CertifiedKey>,
    /// To authorities, by the name that they ask for.
    challenges: ArcSwap<HashMap<String, Arc<CertifiedKey>>>,
}

impl Tls {
    /// Presents nothing yet, so that every handshake fails.
    pub fn new() -> anyhow::Result<Self> {
        let presented = Arc::new(Presented::default());
        let mut config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .context("TLS")?
            .with_no_client_auth()
            .with_cert_resolver(presented.clone());
        // In the order of our preference. The last is chosen by none but an authority.
        config.alpn_protocols = [HTTP_2, HTTP_1, CHALLENGE].map(<[u8]>::to_vec).into();
        // Whoever comes back is known without a table of sessions.
        config.ticketer = aws_lc_rs::Ticketer::new().context("TLS session tickets")?;
        let acceptor = Arc::new(config).into();
        Ok(Self {
            acceptor,
            presented,
            asks: false,
        })
    }

    /// The same, and whoever connects has to show a certificate that one of `authorities` (PEM) issued.
    pub(super) fn asking(authorities: &Path) -> anyhow::Result<Self> {
        let told = || authorities.display().to_string();
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_file_iter(authorities).with_context(told)? {
            roots
                .add(authority.with_context(told)?)
                .with_context(told)?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
            .build()
            .with_context(|| format!("{}: there is no authority in it", authorities.display()))?;
        let presented = Arc::new(Presented::default());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("TLS")?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(presented.clone());
        config.alpn_protocols = [HTTP_2, HTTP_1].map(<[u8]>::to_vec).into();
        let acceptor = Arc::new(config).into();
        Ok(Self {
            acceptor,
            presented,
            asks: true,
        })
    }

    pub(super) fn asks(&self) -> bool {
        self.asks
    }

    pub(super) fn presented(&self) -> &Arc<Presented> {
        &self.presented
    }

    /// Shakes hands. However long that takes is the caller's to bound.
    pub(super) async fn accept<I>(&self, io: I) -> io::Result<(TlsStream<I>, Protocol)>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = self.acceptor.accept(io).await?;
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(HTTP_2) => Protocol::Second,
            Some(CHALLENGE) => Protocol::Challenge,
            // Who offers nothing speaks the oldest.
            _ => Protocol::First,
        };
        Ok((stream, protocol))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Presented {
    pub(super) fn present(&self, certificate: Arc<CertifiedKey>) {
        self.current.store(Some(certificate));
    }

    /// Presents `challenges` to authorities, instead of those before.
    pub(super) fn challenge(&self, challenges: HashMap<String, Arc<CertifiedKey>>) {
        self.challenges.store(Arc::new(challenges));
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let challenged = hello
            .alpn()
            .is_some_and(|mut offered| offered.next() == Some(CHALLENGE));
        if challenged {
            return self.challenges.load().get(hello.server_name()?).cloned();
        }
        self.current.load_full()
    }
}

const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";
const CHALLENGE: &[u8] = b"acme-tls/1";
