//! Requests that fail: how long to pause, when a node counts as lost, what ends a viewing.

use std::{
    fmt,
    time::{Duration, Instant},
};

use playlists::parse::ParseError;
use reqwest::Url;

use super::PlayerError;
use crate::net::FetchError;

/// Why one answer was of no use.
#[derive(Debug)]
pub(super) enum Failure {
    Fetch(FetchError),
    Playlist { url: Box<Url>, error: ParseError },
    NoVariant(Box<Url>),
}

impl Failure {
    /// Whether a first join is worth another try.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Fetch(FetchError::Status { status, .. }) => status.is_server_error(),
            Self::Fetch(FetchError::Late { .. }) => true,
            Self::Fetch(_) | Self::Playlist { .. } | Self::NoVariant(_) => false,
        }
    }

    /// What a first join that failed so ends with.
    pub(super) fn fatal(self, start: &Url) -> PlayerError {
        match self {
            Self::Fetch(FetchError::Status { url, status, said })
                if status == reqwest::StatusCode::NOT_FOUND =>
            {
                PlayerError::NotFound {
                    url,
                    said: plain(&said),
                }
            }
            Self::Fetch(FetchError::Status { url, status, said }) => PlayerError::Refused {
                url,
                status,
                said: plain(&said),
            },
            Self::Fetch(FetchError::Transport { why, .. } | FetchError::Client { why }) => {
                PlayerError::Unreachable {
                    url: Box::new(start.clone()),
                    why,
                }
            }
            Self::Fetch(FetchError::Late { url, patience }) => PlayerError::GaveUp {
                after: patience,
                why: format!("{url} does not answer"),
            },
            Self::Fetch(
                FetchError::NotText { url }
                | FetchError::TooLong { url }
                | FetchError::Endless { url },
            ) => PlayerError::NotAPlaylist {
                url,
                why: "not a playlist: it is not text".into(),
            },
            Self::Playlist { url, error } => PlayerError::NotAPlaylist {
                url,
                why: error.to_string(),
            },
            Self::NoVariant(url) => PlayerError::NotAPlaylist {
                url,
                why: "it lists no variant to play".into(),
            },
        }
    }

    fn is_refused_connection(&self) -> bool {
        // The kind of the error is not kept on its way here, its text is.
        matches!(self, Self::Fetch(FetchError::Transport { why, .. }) if why.contains("refused"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetch(error) => error.fmt(f),
            Self::Playlist { url, error } => write!(f, "{url}: {error}"),
            Self::NoVariant(url) => write!(f, "{url}: lists no variant to play"),
        }
    }
}

/// Failures in a row, without anything that went well and is as far on the way as they are.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    now: Option<Spell>,
    /// A segment, and how often it was refused.
    refused: (u64, u32),
}

#[derive(Clone, Copy, Debug)]
struct Spell {
    began: Instant,
    /// At this node.
    here: Instant,
    failures: u32,
    /// The farthest that failed.
    weight: u8,
    pause: Instant,
}

impl Trouble {
    pub(super) fn add(&mut self, weight: u8, now: Instant) {
        let spell = self.now.get_or_insert(Spell {
            began: now,
            here: now,
            failures: 0,
            weight,
            pause: now,
        });
        spell.failures += 1;
        spell.weight = spell.weight.max(weight);
    }

    /// Something went well. A playlist that does is no comfort if segments do not.
    pub(super) fn over(&mut self, weight: u8) {
        match &mut self.now {
            Some(spell) if spell.weight > weight => {}
            spell => *spell = None,
        }
    }

    pub(super) fn lasted(&self, now: Instant) -> Duration {
        self.now.map_or(Duration::ZERO, |spell| {
            now.saturating_duration_since(spell.began)
        })
    }

    /// No request before this.
    pub(super) fn pause(&self) -> Option<Instant> {
        self.now.map(|spell| spell.pause)
    }

    /// Sets the pause, which doubles from failure to failure.
    pub(super) fn back_off(&mut self, now: Instant) -> Duration {
        let Some(spell) = &mut self.now else {
            return Duration::ZERO;
        };
        let pause = BACK_OFF_MIN * (1 << spell.failures.saturating_sub(1).min(8));
        let pause = pause.min(BACK_OFF_MAX);
        spell.pause = now + pause;
        pause
    }

    /// Whether the node is to be given up: it takes no connection, does not answer, or has failed
    /// for as long as `patience`.
    pub(super) fn means_lost(&self, failure: &Failure, patience: Duration, now: Instant) -> bool {
        let Some(spell) = self.now else { return false };
        let lasted = now.saturating_duration_since(spell.here);
        match failure {
            Failure::Fetch(FetchError::Late { .. }) => true,
            _ if spell.failures < 2 => false,
            failure => failure.is_refused_connection() || lasted >= patience,
        }
    }

    /// The next request goes to another node, at once.
    pub(super) fn elsewhere(&mut self, now: Instant) {
        if let Some(spell) = &mut self.now {
            (spell.here, spell.failures, spell.pause) = (now, 0, now);
        }
    }

    /// How often segment `number` was refused, this time included.
    pub(super) fn refused(&mut self, number: u64) -> u32 {
        if self.refused.0 != number {
            self.refused = (number, 0);
        }
        self.refused.1 += 1;
        self.refused.1
    }
}

/// What a server said, out of the JSON that it may have said it in.
fn plain(said: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(said).ok();
    let error = json.as_ref().and_then(|json| json["error"].as_str());
    error.unwrap_or(said).to_owned()
}

const BACK_OFF_MIN: Duration = Duration::from_millis(250);
const BACK_OFF_MAX: Duration = Duration::from_secs(2);
