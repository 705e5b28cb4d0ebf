//! When a certificate is ordered from an authority, and where it is kept: in a folder that several
//! processes may share, of which one at a time orders. How to order is `acme`'s business.
//!
//! The folder has one for each authority, so that trying with one does not spoil what another issued:
//! `account.json`, `certificate.pem` (key and chain, replaced as one) and `lock`.

use std::{
    fs::{File, TryLockError},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;

use super::{
    acme::{self, Authority, Tokens},
    certificate::{Certificate, Files},
    tls::Presented,
};

/// A certificate that is kept good.
#[derive(Debug)]
pub(super) struct Renewal {
    authority: Authority,
    folder: PathBuf,
    files: Files,
    presented: Arc<Presented>,
    tokens: Tokens,
    current: Option<Certificate>,
    /// When the authority was asked for its opinion last, and what it said.
    suggested: Option<(SystemTime, SystemTime)>,
    ask_again: SystemTime,
}

/// Whether there was something to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Did {
    Nothing,
    Ordered,
    /// Another process is at it.
    Left,
}

impl Renewal {
    /// Presents what is in the folder already, if it is for these names.
    pub(super) async fn open(
        authority: Authority,
        state: &Path,
        presented: Arc<Presented>,
        tokens: Tokens,
    ) -> anyhow::Result<Self> {
        let folder = state.join(folder_name(&authority.directory));
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("acme-state: cannot make {}", folder.display()))?;
        let certificate = folder.join("certificate.pem");
        let mut renewal = Self {
            authority,
            files: Files {
                key: certificate.clone(),
                certificate,
            },
            folder,
            presented,
            tokens,
            current: None,
            suggested: None,
            ask_again: SystemTime::UNIX_EPOCH,
        };
        renewal.look().await;
        Ok(renewal)
    }

    /// Where the certificate is, once there is one.
    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    /// Orders whenever it is time, until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut failures = 0;
        loop {
            let turn = tokio::select! {
                turn = tokio::time::timeout(ORDER, self.turn()) => turn,
                () = stop.cancelled() => return,
            };
            let wait = match turn.unwrap_or_else(|_| bail_late()) {
                Ok(did) => {
                    if did == Did::Ordered {
                        failures = 0;
                    }
                    self.look_every()
                }
                Err(error) => {
                    failures += 1;
                    let wait = back_off(failures);
                    self.complain(&error, wait);
                    wait
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Looks whether a certificate is due, and orders it if nobody else does.
    async fn turn(&mut self) -> anyhow::Result<Did> {
        self.look().await;
        if !self.is_due().await {
            return Ok(Did::Nothing);
        }
        let path = self.folder.join("lock");
        let lock =
            File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Did::Left),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        // Whoever had the lock until now has ordered, as often as not.
        self.look().await;
        if !self.is_due().await {
            return Ok(Did::Nothing);
        }
        let account = self.account().await?;
        let (old, tokens) = (self.current.as_ref(), &self.tokens);
        let issued = self.authority.order(&account, old, &self.presented, tokens);
        let issued = issued.await;
        if issued.as_ref().is_err_and(acme::forgot_us) {
            // The next turn makes another.
            tokio::fs::remove_file(self.folder.join("account.json")).await?;
        }
        keep(&self.files.certificate, issued?.pem).await?;
        self.suggested = None;
        self.ask_again = SystemTime::UNIX_EPOCH;
        let certificate = self.files.read().await?;
        certificate.present(&self.presented, "issued");
        self.current = Some(certificate);
        drop(lock);
        Ok(Did::Ordered)
    }

    async fn account(&self) -> anyhow::Result<instant_acme::Account> {
        let file = self.folder.join("account.json");
        let account = self.authority.account(&file).await;
        account.with_context(|| format!("account at {}", self.authority.directory))
    }

    /// Often enough for what lives for minutes only.
    fn look_every(&self) -> Duration {
        let life = self.current.as_ref().map(Certificate::life);
        life.map_or(LOOK_EVERY, |life| (life / 24).min(LOOK_EVERY))
    }

    /// Takes up what is in the folder, whoever put it there.
    async fn look(&mut self) {
        let Ok(found) = self.files.read().await else {
            return;
        };
        let names = &self.authority.names;
        if !names.iter().all(|name| found.names.contains(name)) {
            return;
        }
        let known = self.current.as_ref();
        if known.is_none_or(|known| known.certified.cert != found.certified.cert) {
            found.present(&self.presented, "found");
            (self.current, self.suggested) = (Some(found), None);
        }
    }

    /// A third of its life before a certificate ends, or when its authority says so.
    async fn is_due(&mut self) -> bool {
        let now = SystemTime::now();
        let Some(current) = &self.current else {
            return true;
        };
        if current.left() < current.life() / 3 {
            return true;
        }
        if now >= self.ask_again {
            self.ask_again = now + ASK_EVERY;
            let file = self.folder.join("account.json");
            if let Ok(account) = self.authority.account(&file).await
                && let Some((start, end, again)) = acme::suggested(&account, current).await
            {
                let width = end.duration_since(start).unwrap_or_default();
                self.suggested = Some((start + width.mul_f64(random()), end));
                self.ask_again = now + again.clamp(Duration::from_secs(60), ASK_EVERY * 4);
            }
        }
        self.suggested.is_some_and(|(at, _)| now >= at)
    }

    /// Trouble is nobody's business until it threatens the service.
    fn complain(&self, error: &anyhow::Error, again: Duration) {
        let (names, left) = (&self.authority.names, self.current.as_ref());
        match left.map(Certificate::left) {
            Some(left) if left > URGENT => {
                tracing::warn!(?names, ?left, ?again, "no new certificate: {error:#}");
            }
            left => tracing::error!(?names, ?left, ?again, "no new certificate: {error:#}"),
        }
    }
}

fn bail_late<T>() -> anyhow::Result<T> {
    bail!("the authority took longer than {ORDER:?}")
}

/// Writes a file that is whole or not there, and nobody else's to read.
pub(super) async fn keep(path: &Path, content: String) -> anyhow::Result<()> {
    let (path, fresh) = (path.to_owned(), path.with_extension("new"));
    let write = move || -> std::io::Result<()> {
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, &path).map_err(|error| {
            std::io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })
    };
    tokio::task::spawn_blocking(write)
        .await
        .context("writing was cut short")?
        .context("cannot keep what the authority issued")
}

/// The host and port of an authority, as a name of a folder.
fn folder_name(directory: &str) -> String {
    let host = directory
        .split_once("://")
        .map_or(directory, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default();
    host.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || ".-".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect()
}

/// Doubles from half a minute, so that an authority's limit of failures (Let's Encrypt: five an
/// hour for a name) is met early and not hammered on; with a quarter of chance.
fn back_off(failures: u32) -> Duration {
    let doubled = FIRST_WAIT * 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    doubled.min(LONGEST_WAIT).mul_f64(0.75 + random() / 4.0)
}

/// 0 to 1.
fn random() -> f64 {
    let bits = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(bits) / f64::from(u32::MAX)
}

/// Another process may have renewed; files are small.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// From the order to the certificate.
const ORDER: Duration = Duration::from_secs(300);

/// For the authority's opinion, unless it says how often.
const ASK_EVERY: Duration = Duration::from_secs(6 * 3600);

const FIRST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(6 * 3600);

/// With less than this left somebody should look after it.
const URGENT: Duration = Duration::from_secs(5 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_have_an_end() {
        for (failures, least, most) in [
            (1, 22, 30),
            (2, 45, 60),
            (5, 360, 480),
            (40, 16_200, 21_600),
        ] {
            let wait = back_off(failures).as_secs_f64();
            assert!(
                (f64::from(least)..=f64::from(most)).contains(&wait),
                "{failures}: {wait}"
            );
        }
    }

    #[test]
    fn an_authority_has_a_folder_of_its_own() {
        let name = folder_name("https://acme-v02.api.letsencrypt.org/directory");
        assert_eq!(name, "acme-v02.api.letsencrypt.org");
        assert_eq!(
            folder_name("https://127.0.0.1:14000/dir"),
            "127.0.0.1-14000"
        );
        assert_eq!(folder_name("https://x/../../etc"), "x");
    }
}
