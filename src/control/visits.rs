//! What nodes tell of their viewers for analytics: who was there (by a name that says nothing of anybody), for how long, and what
//! it took. Posted apart from heartbeats, which never carry what is a viewer's own.
//!
//! Numbers are sums since the visit began, not what is new: so a message that comes twice or late does no harm, and one
//! that is lost is made good by the next.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Where visits are posted, as JSON.
pub const VISITS_PATH: &str = "/v1/visits";

/// Some of a node's visits, as they were when it looked.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Visits {
    pub version: u16,
    pub node: String,
    /// Start of this run of the node, Unix milliseconds.
    pub instance: u64,
    /// When it looked, Unix milliseconds.
    pub at_ms: u64,
    /// Octets that viewers of this run have acknowledged, all together.
    pub sent: u64,
    /// Of those, octets of viewers that there was no seat for; they are in no visit.
    pub seatless: u64,
    /// By stream.
    pub streams: BTreeMap<String, OfStream>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct OfStream {
    /// Names of its rungs, cheapest first.
    pub rungs: Vec<String>,
    pub visits: Vec<Visit>,
}

/// One viewer at one node, from its first segment there until it goes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Visit {
    pub session: Session,
    pub region: String,
    /// Unix milliseconds.
    pub began_ms: u64,
    /// From its first request to its last, without the time when it was sent elsewhere.
    pub watched_ms: u64,
    /// By the node's account of its buffer, and what its player says.
    pub stalls: u32,
    pub stalled_ms: u64,
    /// How often its player said that it had run dry (CMCD `bs`).
    pub starved: u32,
    /// Acknowledged octets by rung, cheapest first; dearer ones of which there are none are left out.
    pub octets: Vec<u64>,
    /// Octets of no rung: sound alone.
    pub other: u64,
    /// How it ended, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
}

/// Why a visit is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The viewer has asked for nothing for three target durations.
    Left,
    /// The same, and the stream has ended.
    Over,
    /// It was sent to another node.
    Moved,
    /// The node was stopped.
    Stopped,
}

impl End {
    pub const ALL: [Self; 4] = [Self::Left, Self::Over, Self::Moved, Self::Stopped];

    pub fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Over => "over",
            Self::Moved => "moved",
            Self::Stopped => "stopped",
        }
    }
}

/// A viewer of a stream, the same on every node, and no way back to the name that its URLs carry.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Session(pub u64);

impl Session {
    /// Of the viewer `key` of a stream. That is 64 random bits, made anew with each join.
    pub fn of(stream: &str, key: u64) -> Self {
        let digest = Sha256::new()
            .chain_update(CONTEXT)
            .chain_update(key.to_be_bytes())
            .chain_update(stream)
            .finalize();
        let first = digest.iter().take(8);
        Self(first.fold(0, |sum, octet| sum << 8 | u64::from(*octet)))
    }
}

impl std::fmt::Display for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl From<Session> for String {
    fn from(session: Session) -> Self {
        session.to_string()
    }
}

impl TryFrom<String> for Session {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let hex = text.len() == 16 && text.bytes().all(|octet| octet.is_ascii_hexdigit());
        let parsed = hex.then(|| u64::from_str_radix(&text, 16).ok()).flatten();
        parsed
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no session: 16 hexadecimal digits"))
    }
}

impl Visits {
    pub fn len(&self) -> usize {
        self.streams.values().map(|of| of.visits.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Visits in one message, at most; then it is a third of what is taken.
pub const AT_ONCE: usize = 1000;

/// Octets of a message, at most.
pub const VISITS_LIMIT: usize = 1 << 20;

/// So that the same octets hashed elsewhere are something else.
const CONTEXT: &[u8] = b"spillway session 1\0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_of_a_viewer_and_a_stream_and_does_not_show_the_viewers_name() {
        let key = 0x0123_4567_89ab_cdef;
        let session = Session::of("demo", key);
        assert_eq!(session, Session::of("demo", key));
        assert_ne!(session, Session::of("other", key));
        assert_ne!(session.0, key);
        assert_eq!(String::from(session).try_into(), Ok(session));
        assert!(Session::try_from("+123456789abcdef".to_owned()).is_err());
    }
}
