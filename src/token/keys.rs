//! A file of keys, read again whenever it changes: how nodes and signers come to the same ring.
//!
//! A line for each key, its id and at least 16 octets in hexadecimal; the first signs, all verify.
//! Empty lines and what begins with `#` are left out.

use std::{
    fs::Metadata,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use arc_swap::{ArcSwap, Guard};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Ring, Token, is_id};
use crate::clock;

/// The ring of a file as it is now, and for how long who has joined may play.
#[derive(Debug)]
pub struct Keys {
    path: PathBuf,
    ring: ArcSwap<Ring>,
    /// As the file was just before it was read first.
    stamp: Option<Stamp>,
    session: Duration,
}

/// What changes when a file is written or replaced.
type Stamp = (SystemTime, u64);

impl Keys {
    pub fn load(path: &Path, session: Duration) -> anyhow::Result<Self> {
        let stamp = std::fs::metadata(path).ok().and_then(|about| stamp(&about));
        let ring = read(path)?;
        Ok(Self {
            path: path.to_owned(),
            ring: ArcSwap::new(Arc::new(ring)),
            stamp,
            session,
        })
    }

    pub fn ring(&self) -> Guard<Arc<Ring>> {
        self.ring.load()
    }

    /// A token to play with for who joined with one of this class that lasts until `joined`: for a session, or
    /// for as long as that one, whichever is longer.
    pub fn session(&self, scope: &str, class: Option<&str>, joined: u64) -> String {
        let expires = joined.max(now().saturating_add(self.session.as_secs()));
        self.ring().sign_all(&Token {
            scope,
            class,
            expires,
        })
    }

    /// A token for a node that follows another, good for a few minutes.
    pub fn errand(&self) -> String {
        self.ring().sign("*", now() + ERRAND.as_secs())
    }

    /// Reads the file again when it changes, and at every SIGHUP, until `stop`. What cannot be read
    /// changes nothing.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => hangups,
            Err(error) => {
                return tracing::error!(%error, "cannot wait for SIGHUP; keys are not read again");
            }
        };
        let mut known = self.stamp;
        loop {
            let told = tokio::select! {
                _ = hangups.recv() => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
                () = stop.cancelled() => return,
            };
            let about = tokio::fs::metadata(&self.path).await;
            let now = about.ok().and_then(|about| stamp(&about));
            if !told && now == known {
                continue;
            }
            known = now;
            let path = self.path.clone();
            match tokio::task::spawn_blocking(move || read(&path)).await {
                Ok(Ok(ring)) => {
                    tracing::info!(file = %self.path.display(), keys = ring.0.len(), signs = ring.0[0].id, "token keys were read again");
                    self.ring.store(Arc::new(ring));
                }
                Ok(Err(error)) => {
                    tracing::error!(error = format!("{error:#}"), "token keys stay as they were")
                }
                Err(error) => tracing::error!(%error, "token keys stay as they were"),
            }
        }
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    clock::since_1970().as_secs()
}

/// A line for a file of keys: a new key called `id`.
pub fn new_key(id: &str) -> anyhow::Result<String> {
    anyhow::ensure!(
        is_id(id),
        "{id:?} is not 1 to 32 letters, digits, '-' or '_'"
    );
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).context("randomness from the system")?;
    let digits: String = secret.iter().map(|octet| format!("{octet:02x}")).collect();
    Ok(format!("{id} {digits}"))
}

/// The ring in the file at `path`.
pub fn read(path: &Path) -> anyhow::Result<Ring> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the token keys {}", path.display()))?;
    parse(&text).with_context(|| format!("token keys {}", path.display()))
}

fn parse(text: &str) -> anyhow::Result<Ring> {
    let mut keys: Vec<(String, Vec<u8>)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // The line itself is not told: it is a secret.
        let key = line.split_once(char::is_whitespace);
        let key = key.and_then(|(id, digits)| Some((id, octets(digits.trim())?)));
        let (id, secret) = key.filter(|(id, secret)| is_id(id) && secret.len() >= SHORTEST).with_context(|| {
            format!("line {number} is not an id (letters, digits, '-', '_') and {SHORTEST} octets or more in hexadecimal")
        })?;
        anyhow::ensure!(
            keys.iter().all(|(other, _)| other != id),
            "line {number}: there is a key {id} already"
        );
        keys.push((id.to_owned(), secret));
    }
    Ring::new(keys).context("there is no key in it; `primary token --new-key ID` makes one")
}

fn octets(digits: &str) -> Option<Vec<u8>> {
    let hex = digits.len().is_multiple_of(2) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let octets = digits.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    octets.collect::<Option<Vec<_>>>().filter(|_| hex)
}

fn stamp(about: &Metadata) -> Option<Stamp> {
    Some((about.modified().ok()?, about.len()))
}

/// As many octets as are left of a mac: more would not be harder to guess.
const SHORTEST: usize = 16;

const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long a node's own token lasts; each request has a new one or one that is hardly older.
const ERRAND: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_made_can_be_read() {
        let (new, old) = (new_key("new").unwrap(), new_key("old").unwrap());
        let ring = parse(&format!("# keys\n\n{new}\n  {old}  \n")).unwrap();
        assert!(ring.sign("demo", 7).starts_with("new.7.demo."));
        let before = parse(&old).unwrap().sign("demo", 7);
        assert!(ring.verify(&before, 0).is_ok());
        assert!(new_key("../x").is_err());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_without_its_secrets() {
        let good = new_key("k1").unwrap();
        for (text, why) in [
            (String::new(), "there is no key"),
            ("k1".into(), "line 1 is not"),
            ("\nk1 c0ffee".into(), "line 2 is not"),
            (
                "k1 zz5f1c0ffee0000000000000000000000".into(),
                "line 1 is not",
            ),
            (
                format!("{good}\n{good}"),
                "line 2: there is a key k1 already",
            ),
        ] {
            let said = format!("{:#}", parse(&text).unwrap_err());
            assert!(said.contains(why), "{said}");
            assert!(!said.contains("c0ffee"), "{said}");
        }
    }

    #[test]
    fn a_session_outlasts_the_token_that_it_was_joined_with() {
        let file = std::env::temp_dir().join(format!("spillway-keys-{}", std::process::id()));
        std::fs::write(&file, new_key("k1").unwrap()).unwrap();
        let keys = Keys::load(&file, Duration::from_secs(1000)).unwrap();
        std::fs::remove_file(&file).unwrap();
        let until = |joined| {
            let text = keys.session("demo~ladder", None, joined);
            keys.ring().verify(&text, 0).unwrap().expires
        };
        assert!(until(now() + 5) >= now() + 999);
        assert_eq!(until(now() + 5000), now() + 5000);
    }
}
