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
        let what = "what is told of viewers";
        let broken = |error: serde_json::Error| Unreadable::Broken {
            what,
            why: error.to_string(),
        };
        let Versioned { version: found } = serde_json::from_slice(octets).map_err(broken)?;
        if found != u32::from(VERSION) {
            return Err(Unreadable::Version { what, found });
        }
        serde_json::from_slice(octets).map_err(broken)
    }

    pub fn read<M: Message>(self, octets: &[u8]) -> Result<M, Unreadable> {
        let broken = |why: String| Unreadable::Broken { what: M::NAME, why };
        let found = match self {
            Self::Json => serde_json::from_slice::<Versioned>(octets)
                .map(|said| said.version)
                .map_err(|error| broken(error.to_string()))?,
            Self::Protobuf => <WireVersioned as prost::Message>::decode(octets)
                .map(|said| said.version)
                .map_err(|error| broken(error.to_string()))?,
        };
        if found != u32::from(VERSION) {
            let what = M::NAME;
            return Err(Unreadable::Version { what, found });
        }
        match self {
            Self::Json => serde_json::from_slice(octets).map_err(|error| broken(error.to_string())),
            Self::Protobuf => <M::Wire as prost::Message>::decode(octets)
                .map_err(|error| broken(error.to_string()))?
                .try_into()
                .map_err(broken),
        }
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
