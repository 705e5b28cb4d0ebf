//! Who may publish what, and who does: the streams that publishers can be on the air with, each with one seat.
//! Where media goes from a seat is `feed`'s business.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::keys::{Claim, Key};
use crate::store::StreamName;

/// What becomes of a second publisher of the same stream.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Second {
    /// It is told that somebody is on the air.
    #[default]
    Refuse,
    /// Whoever is on the air is cut off.
    TakeOver,
}

/// A stream that is published to.
#[derive(Debug)]
pub struct Channel {
    pub name: StreamName,
    /// The application that it belongs to, where the protocol has such.
    pub app: String,
    pub key: Key,
    /// What SRT is encrypted with.
    pub passphrase: Option<Key>,
    pub second: Second,
    /// Where the segmenter finds the publisher's media.
    pub socket: PathBuf,
    seat: Arc<Semaphore>,
    /// How long whoever is cut off has to be gone.
    leaving: Duration,
    sitting: Mutex<Option<Sitting>>,
    /// Whoever is on the air, to be cut off.
    pub(super) on_air: watch::Sender<Option<CancellationToken>>,
}

#[derive(Clone, Debug)]
struct Sitting {
    from: SocketAddr,
    cut: CancellationToken,
    /// When something of it last came.
    heard: Instant,
}

/// The right to be on the air with a stream. Dropping it gives it up.
#[derive(Debug)]
pub struct Seat {
    pub channel: Arc<Channel>,
    /// Cancelled when whoever sits here has to go.
    pub cut: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

/// Why somebody does not get on the air. Publishers are told less: whether a name exists is nobody's business.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Denied {
    #[error("there is no application {0:?} here")]
    App(String),
    #[error("there is no stream {0:?}")]
    Name(String),
    #[error("wrong key for stream {0}")]
    Key(StreamName),
    #[error("the key is no stream's")]
    NoOnes,
    #[error("several streams have this key, and none is named")]
    Ambiguous,
    #[error("stream {stream} is being published from {by}")]
    Busy { stream: StreamName, by: SocketAddr },
    #[error("stream {stream} is being published from {by}, who does not go")]
    Stays { stream: StreamName, by: SocketAddr },
}

impl Denied {
    /// What the publisher is told.
    pub fn told(&self) -> &'static str {
        match self {
            Self::App(_) => "there is no such application",
            Self::Name(_) | Self::Key(_) | Self::NoOnes | Self::Ambiguous => {
                "wrong stream key; it is NAME?key=SECRET, or the secret alone"
            }
            Self::Busy { .. } | Self::Stays { .. } => "somebody is publishing this stream already",
        }
    }
}

impl Channel {
    pub fn new(name: StreamName, app: String, key: Key, socket: PathBuf) -> Self {
        Self {
            name,
            app,
            key,
            passphrase: None,
            second: Second::default(),
            socket,
            seat: Arc::new(Semaphore::new(1)),
            leaving: LEAVING,
            sitting: Mutex::default(),
            on_air: watch::Sender::new(None),
        }
    }

    /// Whoever is on the air, for the source that follows.
    pub fn on_air(&self) -> watch::Receiver<Option<CancellationToken>> {
        self.on_air.subscribe()
    }

    /// Seats a publisher, or says who sits there. Waits for who is cut off to be gone.
    pub async fn sit(self: &Arc<Self>, from: SocketAddr) -> Result<Seat, Denied> {
        let permit = match self.seat.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.unseat(from).await?,
        };
        let cut = CancellationToken::new();
        *self.sitting() = Some(Sitting {
            from,
            cut: cut.clone(),
            heard: Instant::now(),
        });
        Ok(Seat {
            channel: self.clone(),
            cut,
            _permit: permit,
        })
    }

    /// To be called when something comes from whoever sits here.
    pub fn heard(&self) {
        if let Some(sitting) = &mut *self.sitting() {
            sitting.heard = Instant::now();
        }
    }

    async fn unseat(&self, from: SocketAddr) -> Result<OwnedSemaphorePermit, Denied> {
        let (stream, sitting) = (self.name.clone(), self.sitting().clone());
        let by = sitting.as_ref().map_or(from, |sitting| sitting.from);
        if let Some(Sitting { cut, heard, .. }) = sitting {
            // A publisher that comes back after its path has died finds itself on the air.
            let silent = heard.elapsed();
            if self.second == Second::Refuse && silent < SILENT {
                return Err(Denied::Busy { stream, by });
            }
            tracing::warn!(%stream, %by, %from, ?silent, "another publisher takes over");
            cut.cancel();
        }
        let waiting = self.seat.clone().acquire_owned();
        match tokio::time::timeout(self.leaving, waiting).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Denied::Stays { stream, by }),
        }
    }

    fn sitting(&self) -> std::sync::MutexGuard<'_, Option<Sitting>> {
        self.sitting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All streams that are published to.
#[derive(Clone, Debug, Default)]
pub struct Desk(Arc<[Arc<Channel>]>);

impl Desk {
    pub fn new(channels: impl IntoIterator<Item = Arc<Channel>>) -> Self {
        Self(channels.into_iter().collect())
    }

    pub fn channels(&self) -> &[Arc<Channel>] {
        &self.0
    }

    /// Whether there is anything to publish to in an application.
    pub fn app(&self, app: &str) -> Result<(), Denied> {
        let known = self.0.iter().any(|channel| channel.app == app);
        known
            .then_some(())
            .ok_or_else(|| Denied::App(shortened(app)))
    }

    /// The stream of this name, whoever asks: for protocols that prove the key otherwise.
    pub fn named(&self, name: &str) -> Option<Arc<Channel>> {
        let mut channels = self.0.iter();
        channels
            .find(|channel| channel.name.as_str() == name)
            .cloned()
    }

    /// The stream that `claim` is right about; `app` is `None` where the protocol has none.
    pub fn channel(&self, app: Option<&str>, claim: &Claim) -> Result<Arc<Channel>, Denied> {
        let here = |channel: &&Arc<Channel>| app.is_none_or(|app| channel.app == app);
        let channels = self.0.iter().filter(here);
        match &claim.name {
            Some(name) => {
                let mut named = channels.filter(|channel| channel.name.as_str() == name);
                let channel = named.next().ok_or_else(|| Denied::Name(shortened(name)))?;
                if !channel.key.is(&claim.key) {
                    return Err(Denied::Key(channel.name.clone()));
                }
                Ok(channel.clone())
            }
            None => {
                let fits: Vec<_> = channels
                    .filter(|channel| channel.key.is(&claim.key))
                    .collect();
                match fits[..] {
                    [] => Err(Denied::NoOnes),
                    [channel] => Ok(channel.clone()),
                    _ => Err(Denied::Ambiguous),
                }
            }
        }
    }
}

/// What a stranger says, short enough for a log.
fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

/// One who publishes says something each second, be it only sound.
const SILENT: Duration = Duration::from_secs(2);

/// As long as a segmenter may hold a publisher up, and the end of it is told, in all but the worst case.
const LEAVING: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str, key: &str) -> Channel {
        let key = Key::new(key).unwrap();
        Channel::new(name.parse().unwrap(), "live".into(), key, PathBuf::new())
    }

    fn here() -> SocketAddr {
        ([192, 0, 2, 1], 5000).into()
    }

    #[test]
    fn a_key_opens_its_stream_only() {
        let desk = Desk::new([
            Arc::new(channel("a", "alpha")),
            Arc::new(channel("b", "beta")),
            Arc::new(channel("c", "beta")),
        ]);
        let opens = |key: &str| {
            let claim = Claim::of_stream_key(key);
            desk.channel(Some("live"), &claim)
                .map(|channel| channel.name.to_string())
        };
        assert_eq!(opens("a?key=alpha"), Ok("a".into()));
        assert_eq!(opens("alpha"), Ok("a".into()));
        assert_eq!(opens("b?key=beta"), Ok("b".into()));
        assert_eq!(opens("beta"), Err(Denied::Ambiguous));
        assert_eq!(opens("a?key=beta"), Err(Denied::Key("a".parse().unwrap())));
        assert_eq!(opens("a"), Err(Denied::NoOnes));
        assert_eq!(opens("z?key=alpha"), Err(Denied::Name("z".into())));
        assert_eq!(opens(""), Err(Denied::NoOnes));
        assert!(
            desk.channel(Some("other"), &Claim::of_stream_key("alpha"))
                .is_err()
        );
        assert!(desk.app("live").is_ok() && desk.app("other").is_err());
        // Whether the name or the key was wrong is not for the publisher to know.
        assert_eq!(Denied::Name("z".into()).told(), Denied::NoOnes.told());
    }

    #[tokio::test]
    async fn a_second_publisher_is_refused_until_the_first_has_gone() {
        let channel = Arc::new(channel("a", "alpha"));
        let first = channel.sit(here()).await.unwrap();
        let second = channel.sit(here()).await.unwrap_err();
        assert!(matches!(second, Denied::Busy { .. }));
        assert!(!first.cut.is_cancelled());
        drop(first);
        let second = channel.sit(here()).await.unwrap();
        // One that says nothing any more has gone as well, whether it knows or not.
        if let Some(sitting) = &mut *channel.sitting() {
            sitting.heard -= SILENT;
        }
        let going = second.cut.clone();
        tokio::spawn(async move {
            let seat = second;
            seat.cut.cancelled().await;
        });
        assert!(channel.sit(here()).await.is_ok() && going.is_cancelled());
    }

    #[tokio::test]
    async fn a_second_publisher_takes_over_once_the_first_has_gone() {
        let mut channel = channel("a", "alpha");
        channel.second = Second::TakeOver;
        channel.leaving = Duration::from_millis(50);
        let channel = Arc::new(channel);
        let first = channel.sit(here()).await.unwrap();
        let cut = first.cut.clone();
        let going = tokio::spawn(async move {
            let seat = first;
            seat.cut.cancelled().await;
        });
        let second = channel.sit(here()).await.unwrap();
        assert!(cut.is_cancelled() && going.is_finished());
        // One who does not go keeps the seat.
        let third = channel.sit(here()).await.unwrap_err();
        assert!(matches!(third, Denied::Stays { .. }) && second.cut.is_cancelled());
    }
}
