//! Whom viewers believe, and what they speak over TLS: HTTP/2 or HTTP/1.1 (ALPN). Each connection has a whole handshake, as
//! it is with viewers who were never here before.

use std::{fmt, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption,
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
    /// Of those in this file (PEM).
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
        let mut config = match trust {
            Trust::System => builder.with_platform_verifier()?.with_no_client_auth(),
            Trust::File(path) => {
                let read = || -> anyhow::Result<RootCertStore> {
                    let mut roots = RootCertStore::empty();
                    for certificate in CertificateDer::pem_file_iter(path)? {
                        roots.add(certificate?)?;
                    }
                    anyhow::ensure!(!roots.is_empty(), "there is no certificate in it");
                    Ok(roots)
                };
                let roots = read().with_context(|| path.display().to_string())?;
                builder.with_root_certificates(roots).with_no_client_auth()
            }
            Trust::Anybody => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
                .with_no_client_auth(),
        };
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

/// Believes every certificate; what is signed has to be signed with it all the same.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
