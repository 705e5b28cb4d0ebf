//! A certificate and its key in PEM files: read, checked, and read again when they change.
//! A new one that is no good is said and left alone; what was there before stays.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, anyhow, ensure};
use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::tls::Presented;

/// Where a certificate and its key are; both may be in one file.
#[derive(Clone, Debug)]
pub struct Files {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// A certificate that can be presented, and what it says of itself.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub(super) certified: Arc<CertifiedKey>,
    /// Host names and addresses, in its order.
    pub(super) names: Vec<String>,
    pub(super) from: SystemTime,
    pub(super) until: SystemTime,
    /// What it was read from, to see whether that has changed.
    source: Source,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Source {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    /// Reads both, and checks that they belong together.
    pub(super) async fn read(&self) -> anyhow::Result<Certificate> {
        self.parse(self.source().await?)
    }

    async fn source(&self) -> anyhow::Result<Source> {
        let read = async |path: &Path| {
            let content = tokio::fs::read(path).await;
            content.with_context(|| format!("cannot read {}", path.display()))
        };
        Ok(Source {
            certificate: read(&self.certificate).await?,
            key: read(&self.key).await?,
        })
    }

    fn parse(&self, source: Source) -> anyhow::Result<Certificate> {
        let (chain_at, key_at) = (self.certificate.display(), self.key.display());
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(&source.certificate).collect();
        let chain = chain.map_err(|error| anyhow!("{chain_at}: not PEM: {error}"))?;
        let first = chain
            .first()
            .with_context(|| format!("{chain_at}: there is no certificate in it"))?
            .clone();
        let key = PrivateKeyDer::from_pem_slice(&source.key)
            .map_err(|_| anyhow!("{key_at}: there is no unencrypted private key in it"))?;
        let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    anyhow!("the key in {key_at} is not that of the certificate in {chain_at}")
                }
                error => anyhow!("{chain_at} with {key_at}: {error}"),
            })?;
        let (_, parsed) = X509Certificate::from_der(&first)
            .map_err(|error| anyhow!("{chain_at}: not a certificate: {error}"))?;
        let time = |time: x509_parser::time::ASN1Time| {
            let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
            SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
        };
        let validity = parsed.validity();
        let (from, until) = (time(validity.not_before), time(validity.not_after));
        ensure!(
            until > SystemTime::now(),
            "{chain_at}: it expired on {}",
            validity.not_after
        );
        Ok(Certificate {
            certified: Arc::new(certified),
            names: names(&parsed),
            from,
            until,
            source,
        })
    }
}

impl Certificate {
    /// How long it is still good for.
    pub(super) fn left(&self) -> Duration {
        let left = self.until.duration_since(SystemTime::now());
        left.unwrap_or_default()
    }

    /// From its first moment to its last.
    pub(super) fn life(&self) -> Duration {
        let life = self.until.duration_since(self.from);
        life.unwrap_or_default()
    }

    /// Presents it, and says so.
    pub(super) fn present(&self, presented: &Presented, what: &str) {
        presented.present(self.certified.clone());
        let days = self.left().as_secs() / DAY.as_secs();
        tracing::info!(names = ?self.names, days, "certificate {what}");
        if self.left() < SOON {
            tracing::warn!(names = ?self.names, days, "certificate expires soon");
        }
    }
}

/// Presents what is in `files` whenever it changes and whenever the process is sent SIGHUP.
/// `current` is what was read from them last.
pub(super) async fn watch(
    files: Files,
    mut current: Certificate,
    presented: Arc<Presented>,
    stop: CancellationToken,
) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => Some(hangup),
        Err(error) => {
            tracing::warn!(%error, "cannot wait for SIGHUP; certificates are read again when they change");
            None
        }
    };
    let (mut refused, mut warned) = (None, SystemTime::now());
    loop {
        let asked = tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => false,
            () = hung_up(&mut hangup) => true,
            () = stop.cancelled() => return,
        };
        if current.left() < SOON && warned.elapsed().is_ok_and(|since| since > DAY) {
            warned = SystemTime::now();
            tracing::warn!(names = ?current.names, left = ?current.left(), "certificate expires soon");
        }
        let mut found = files.source().await;
        if !asked {
            if matches!(&found, Ok(source) if *source == current.source) {
                refused = None;
                continue;
            }
            found = settled(&files, found).await;
        }
        match found.and_then(|source| files.parse(source)) {
            Ok(certificate) => {
                certificate.present(&presented, "read again");
                (current, refused) = (certificate, None);
            }
            Err(error) => {
                // The same trouble is said once, or whenever somebody asks.
                let told = format!("{error:#}");
                if asked || refused.as_ref() != Some(&told) {
                    tracing::error!("{told}; the certificate of before stays");
                }
                refused = Some(told);
            }
        }
    }
}

async fn hung_up(hangup: &mut Option<Signal>) {
    if let Some(hangup) = hangup
        && hangup.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

/// What is in the files, once nobody is writing to them: two files are not replaced at once.
async fn settled(files: &Files, mut before: anyhow::Result<Source>) -> anyhow::Result<Source> {
    for _ in 0..SETTLES {
        tokio::time::sleep(SETTLE).await;
        let now = files.source().await;
        let same = matches!((&before, &now), (Ok(before), Ok(now)) if before == now);
        before = now;
        if same {
            break;
        }
    }
    before
}

/// Whose certificate it is: its subject's name, which is how our own authority names a node, and the names it is
/// good for. Nothing, if it cannot be read.
pub(super) fn subjects(shown: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(shown) else {
        return Vec::new();
    };
    let subject = certificate.subject().iter_common_name();
    let own = subject.filter_map(|name| name.as_str().ok().map(str::to_owned));
    own.chain(names(&certificate)).collect()
}

/// What a certificate is for; its subject's name has not counted for long (RFC 9525).
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension
        .iter()
        .flat_map(|names| &names.value.general_names);
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(octets) => match octets.len() {
                4 => <[u8; 4]>::try_from(*octets)
                    .ok()
                    .map(|ip| std::net::IpAddr::from(ip).to_string()),
                _ => <[u8; 16]>::try_from(*octets)
                    .ok()
                    .map(|ip| std::net::IpAddr::from(ip).to_string()),
            },
            _ => None,
        })
        .collect()
}

/// A certificate that came minutes ago has not been missed; files are small.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Whoever replaces two files has done so within this.
const SETTLE: Duration = Duration::from_millis(300);
const SETTLES: usize = 10;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Whoever renews certificates has done so by then.
const SOON: Duration = Duration::from_secs(7 * 24 * 3600);
