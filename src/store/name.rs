//! What a stream is called in URLs, logs and files. Nothing of what is in it.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// The name of a stream in URLs: 1 to 64 of `a-z A-Z 0-9 - _`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamName(Arc<str>);

#[derive(Debug, thiserror::Error)]
#[error("stream name {0:?} is not 1 to 64 letters, digits, '-' or '_'")]
pub struct StreamNameError(String);

impl StreamName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for StreamName {
    type Err = StreamNameError;

    fn from_str(name: &str) -> Result<Self, StreamNameError> {
        let fits = (1..=64).contains(&name.len());
        if fits
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        {
            Ok(Self(name.into()))
        } else {
            Err(StreamNameError(name.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for StreamName {
    type Error = StreamNameError;

    fn try_from(name: String) -> Result<Self, StreamNameError> {
        name.parse()
    }
}

impl From<StreamName> for String {
    fn from(name: StreamName) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// So that a table of streams can be asked by text; both order alike.
impl std::borrow::Borrow<str> for StreamName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
