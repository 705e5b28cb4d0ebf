//! Whom viewers believe, and what they speak over TLS: HTTP/2 or HTTP/1.1 (ALPN). Each connection has a whole handshake, as
//! it is with viewers who were never here before.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_rustls::TlsConnector;

use super::{Broken, Stream, link::Paced};

/// Whose certificates are believed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Trust {
    /// Of the authorities of this system.
    #[default]
    System,
    /// Of the authorities in this file (PEM), and those in it themselves.
    File(PathBuf),
    /// Anybody's.
    Anybody,
}

/// TLS for all viewers of a run.
#[derive(Clone)]
pub struct Tls {
    modern: TlsConnector,
    plain: TlsConnector,
    config: Arc<ClientConfig>,
}

impl Tls {
    pub fn trusting(trust: &Trust) -> anyhow::Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions()?;
        let believing = |whom| {
            Arc::new(Believing {
                whom,
                provider: provider.clone(),
            })
        };
        let builder = match trust {
            Trust::System => builder.with_platform_verifier()?,
            Trust::File(path) => {
                let listed = Whom::listed(path, provider.clone());
                let listed = listed.with_context(|| path.display().to_string())?;
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(believing(listed))
            }
            Trust::Anybody => builder
                .dangerous()
                .with_custom_certificate_verifier(believing(Whom::Anybody)),
        };
        let mut config = builder.with_no_client_auth();
        config.resumption = Resumption::disabled();
        let speaking = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            TlsConnector::from(Arc::new(config))
        };
        Ok(Self {
            modern: speaking(&[b"h2", b"http/1.1"]),
            plain: speaking(&[b"http/1.1"]),
            config: Arc::new(config),
        })
    }

    /// For other clients of the run.
    pub fn config(&self) -> ClientConfig {
        (*self.config).clone()
    }

    /// The connection, encrypted, and whether HTTP/2 is spoken on it.
    pub(super) async fn around(
        &self,
        stream: Paced,
        host: &str,
        modern: bool,
    ) -> Result<(Stream, bool), Broken> {
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
        let name = name.map_err(|_| "no name for a certificate")?;
        let connector = if modern { &self.modern } else { &self.plain };
        let stream = connector.connect(name, stream).await?;
        let spoken = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Box::new(stream), spoken))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Believes others than this system's authorities; what is signed has to be signed with the certificate all the same.
#[derive(Debug)]
struct Believing {
    whom: Whom,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum Whom {
    Anybody,
    /// What is in a file: its authorities about others, and each of its certificates about itself. A server's
    /// self-made certificate often says that it is an authority, and no authority may be a server.
    Listed {
        certificates: Vec<CertificateDer<'static>>,
        authorities: Arc<WebPkiServerVerifier>,
    },
}

impl Whom {
    fn listed(path: &Path, provider: Arc<CryptoProvider>) -> anyhow::Result<Self> {
        let (mut certificates, mut roots) = (Vec::new(), RootCertStore::empty());
        for certificate in CertificateDer::pem_file_iter(path)? {
            let certificate = certificate?;
            roots.add(certificate.clone())?;
            certificates.push(certificate);
        }
        anyhow::ensure!(!roots.is_empty(), "there is no certificate in it");
        let authorities = WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
        Ok(Self::Listed {
            certificates,
            authorities: authorities.build()?,
        })
    }
}

impl ServerCertVerifier for Believing {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.whom {
            Whom::Listed {
                certificates,
                authorities,
            } if !certificates.iter().any(|known| known == certificate) => {
                authorities.verify_server_cert(certificate, chain, name, ocsp, now)
            }
            Whom::Listed { .. } | Whom::Anybody => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
