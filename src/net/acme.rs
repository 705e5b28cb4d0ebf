//! How a certificate is ordered from an authority (ACME, RFC 8555): the account, the proof that a
//! name is ours, the order. When to order one is `renewal`'s business.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, anyhow, bail, ensure};
use arc_swap::ArcSwap;
use instant_acme::{
    Account, AccountBuilder, AccountCredentials, AuthorizationStatus, CertificateIdentifier,
    ChallengeType, Identifier, KeyAuthorization, NewAccount, NewOrder, Order, OrderStatus,
    RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::{
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};
use serde::{Deserialize, Serialize};

use super::{certificate::Certificate, tls::Presented};

/// How an authority is shown that a name is ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Challenge {
    /// On port 443, in a handshake of TLS (RFC 8737)
    #[value(name = "tls-alpn-01")]
    #[serde(rename = "tls-alpn-01")]
    Tls,
    /// On port 80, in the answer to a request (RFC 8555 section 8.3)
    #[value(name = "http-01")]
    #[serde(rename = "http-01")]
    Http,
}

/// What is ordered, and from whom.
#[derive(Clone, Debug)]
pub struct Authority {
    pub names: Vec<String>,
    pub email: Option<String>,
    /// URL of the authority's directory.
    pub directory: String,
    /// Whom to trust about the authority itself, as a PEM file; else those that the system trusts.
    pub root: Option<PathBuf>,
    pub challenge: Challenge,
}

/// What is answered to an authority that asks over HTTP, by the token that it asks for.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Arc<ArcSwap<HashMap<String, String>>>);

impl Tokens {
    pub fn answer(&self, token: &str) -> Option<String> {
        self.0.load().get(token).cloned()
    }
}

/// A key and the chain of its certificate, in PEM.
pub(super) struct Issued {
    pub(super) pem: String,
}

impl Authority {
    /// The account at this authority, from `file`; or a new one, which is kept there.
    pub(super) async fn account(&self, file: &Path) -> anyhow::Result<Account> {
        match tokio::fs::read(file).await {
            Ok(kept) => {
                let known: AccountCredentials = serde_json::from_slice(&kept)
                    .with_context(|| format!("{}: not an account", file.display()))?;
                Ok(self.client()?.from_credentials(known).await?)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let contact = self.email.as_ref().map(|email| format!("mailto:{email}"));
                let contact: Vec<_> = contact.as_deref().into_iter().collect();
                let new = NewAccount {
                    contact: &contact,
                    terms_of_service_agreed: true,
                    only_return_existing: false,
                };
                let client = self.client()?;
                let (account, credentials) =
                    client.create(&new, self.directory.clone(), None).await?;
                super::renewal::keep(file, serde_json::to_string(&credentials)?).await?;
                tracing::info!(authority = self.directory, "account made");
                Ok(account)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    fn client(&self) -> anyhow::Result<AccountBuilder> {
        Ok(match &self.root {
            Some(root) => Account::builder_with_root(root)
                .with_context(|| format!("acme-ca {}", root.display()))?,
            None => Account::builder()?,
        })
    }

    /// Orders a certificate in place of `old`. Takes as long as the authority does.
    pub(super) async fn order(
        &self,
        account: &Account,
        old: Option<&Certificate>,
        presented: &Presented,
        tokens: &Tokens,
    ) -> anyhow::Result<Issued> {
        let names: Vec<_> = self.names.iter().cloned().map(Identifier::Dns).collect();
        let replaced = old.and_then(identify);
        let mut new = NewOrder::new(&names);
        if let Some(replaced) = replaced {
            new = new.replaces(replaced);
        }
        let order = match account.new_order(&new).await {
            // An authority may not know what is to be replaced, or not want it replaced.
            Err(error) if old.is_some() => {
                tracing::debug!(%error, "ordering without naming the old certificate");
                account.new_order(&NewOrder::new(&names)).await
            }
            order => order,
        };
        let mut order = order.context("the authority takes no order")?;
        let proven = self.prove(&mut order, presented, tokens).await;
        let issued = match proven {
            Ok(()) => finish(&mut order).await,
            Err(error) => Err(error),
        };
        presented.challenge(HashMap::new());
        tokens.0.store(Arc::default());
        issued
    }

    /// Has the authority convince itself that every name is ours.
    async fn prove(
        &self,
        order: &mut Order,
        presented: &Presented,
        tokens: &Tokens,
    ) -> anyhow::Result<()> {
        let kind = match self.challenge {
            Challenge::Tls => ChallengeType::TlsAlpn01,
            Challenge::Http => ChallengeType::Http01,
        };
        let (mut certificates, mut answers) = (HashMap::new(), HashMap::new());
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            match authorization.status {
                AuthorizationStatus::Pending => {}
                AuthorizationStatus::Valid => continue,
                status => bail!("an authorization is {status:?} before it began"),
            }
            let mut challenge = authorization
                .challenge(kind.clone())
                .with_context(|| format!("the authority does not offer {kind:?}"))?;
            let name = challenge.identifier().to_string();
            let answer = challenge.key_authorization();
            match self.challenge {
                Challenge::Tls => {
                    let certificate = proof(&name, &answer)?;
                    certificates.insert(name, Arc::new(certificate));
                    presented.challenge(certificates.clone());
                }
                Challenge::Http => {
                    answers.insert(challenge.token.clone(), answer.as_str().to_owned());
                    tokens.0.store(Arc::new(answers.clone()));
                }
            }
            challenge.set_ready().await?;
        }
        let status = order.poll_ready(&PATIENT).await;
        ensure!(
            status.context("the authority did not accept the proof")? == OrderStatus::Ready,
            "the authority did not accept the proof: {}",
            complaint(order).await
        );
        Ok(())
    }
}

async fn finish(order: &mut Order) -> anyhow::Result<Issued> {
    let key = order.finalize().await.context("finishing the order")?;
    let chain = order.poll_certificate(&PATIENT).await;
    let chain = chain.context("fetching the certificate")?;
    Ok(Issued { pem: key + &chain })
}

/// Whether the authority does not know the account any more, which it may (staging ones do).
pub(super) fn forgot_us(error: &anyhow::Error) -> bool {
    let problem = error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(instant_acme::Error::Api(problem)) => problem.r#type.as_deref(),
        _ => None,
    });
    problem.is_some_and(|kind| kind.ends_with(":accountDoesNotExist"))
}

/// What the authority has to say about the names of a refused order.
async fn complaint(order: &mut Order) -> String {
    let mut complaints = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        let name = authorization.identifier().to_string();
        let errors = authorization.challenges.iter();
        let errors = errors.filter_map(|challenge| challenge.error.as_ref());
        complaints.extend(errors.map(|error| format!("{name}: {error}")));
    }
    complaints.join("; ")
}

/// A certificate that shows nothing but that we know the answer (RFC 8737 section 3).
fn proof(name: &str, answer: &KeyAuthorization) -> anyhow::Result<CertifiedKey> {
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(
        answer.digest().as_ref(),
    )];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = aws_lc_rs::sign::any_supported_type(&key)
        .map_err(|error| anyhow!("a certificate for the proof: {error}"))?;
    // Not checked against one another: what makes it a proof is critical, and unknown to others.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

/// When the authority would like `certificate` to be renewed (RFC 9773), and when to ask again.
/// `None`: it has no opinion.
pub(super) async fn suggested(
    account: &Account,
    certificate: &Certificate,
) -> Option<(SystemTime, SystemTime, Duration)> {
    let id = identify(certificate)?;
    match account.renewal_info(&id).await {
        Ok((info, again)) => {
            let window = info.suggested_window;
            Some((window.start.into(), window.end.into(), again))
        }
        Err(error) => {
            tracing::debug!(%error, "the authority does not say when to renew");
            None
        }
    }
}

fn identify(certificate: &Certificate) -> Option<CertificateIdentifier<'static>> {
    let leaf = certificate.certified.cert.first()?;
    let id = CertificateIdentifier::try_from(leaf).ok()?;
    Some(id.into_owned())
}

/// Authorities look at a name from several places, one after the other.
const PATIENT: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(90));
