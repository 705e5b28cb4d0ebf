//! How messages become octets and back: JSON or Protobuf, as the content type says.
//!
//! Pure. The version is read before anything else, since the rest of another version may look
//! different; so whoever is of another release is told that, and not that a field is missing.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{VERSION, visits::Visits};

/// How a node writes; it is answered alike.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// For people to read on the wire
    #[default]
    Json,
    /// A third of the octets
    Protobuf,
}

/// What can be sent.
pub trait Message: Serialize + DeserializeOwned {
    /// What it is, in errors.
    const NAME: &'static str;
    /// As Protobuf has it.
    type Wire: prost::Message + Default + From<Self> + TryInto<Self, Error = String>;
}

/// Octets that are no such message.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unreadable {
    #[error("{what} cannot be read: {why}")]
    Broken { what: &'static str, why: String },
    #[error(
        "{what} is of version {found}, this program speaks version {VERSION}; run the same release on all nodes"
    )]
    Version { what: &'static str, found: u32 },
}

impl Encoding {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/x-protobuf",
        }
    }

    /// Of a message with this content type; parameters say nothing.
    pub fn of(content_type: &str) -> Option<Self> {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        [Self::Json, Self::Protobuf]
            .into_iter()
            .find(|encoding| kind.eq_ignore_ascii_case(encoding.content_type()))
    }

    pub fn write<M: Message + Clone>(self, message: &M) -> Vec<u8> {
        match self {
            // Maps with text for keys and numbers that are none (NaN is null): nothing can fail.
            Self::Json => serde_json::to_vec(message).unwrap_or_default(),
            Self::Protobuf => prost::Message::encode_to_vec(&M::Wire::from(message.clone())),
        }
    }

    /// What is told of viewers, which is JSON always.
    pub fn read_visits(octets: &[u8]) -> Result<Visits, Unreadable> {
        json("what is told of viewers", octets)
    }

    pub fn read<M: Message>(self, octets: &[u8]) -> Result<M, Unreadable> {
        match self {
            Self::Json => json(M::NAME, octets),
            Self::Protobuf => protobuf(octets),
        }
    }
}

fn json<T: DeserializeOwned>(what: &'static str, octets: &[u8]) -> Result<T, Unreadable> {
    let broken = |error: serde_json::Error| Unreadable::Broken {
        what,
        why: error.to_string(),
    };
    let Versioned { version } = serde_json::from_slice(octets).map_err(broken)?;
    ours(what, version)?;
    serde_json::from_slice(octets).map_err(broken)
}

fn protobuf<M: Message>(octets: &[u8]) -> Result<M, Unreadable> {
    let broken = |why: String| Unreadable::Broken { what: M::NAME, why };
    let unread = |error: prost::DecodeError| broken(error.to_string());
    let WireVersioned { version } = prost::Message::decode(octets).map_err(unread)?;
    ours(M::NAME, version)?;
    let wire = <M::Wire as prost::Message>::decode(octets).map_err(unread)?;
    wire.try_into().map_err(broken)
}

/// Before the rest is read, which another version may have otherwise.
fn ours(what: &'static str, found: u32) -> Result<(), Unreadable> {
    match found == u32::from(VERSION) {
        true => Ok(()),
        false => Err(Unreadable::Version { what, found }),
    }
}

/// All that messages of every version have.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct WireVersioned {
    #[prost(uint32, tag = "1")]
    version: u32,
}
