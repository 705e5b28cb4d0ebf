//! The name of a region, from whatever a client or a node calls it.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// 1 to 32 of `a-z`, `0-9` and `-`. What is no such name is `default`.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Region(Arc<str>);

impl From<String> for Region {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<Region> for String {
    fn from(region: Region) -> Self {
        region.as_str().to_owned()
    }
}

impl Region {
    /// Case does not matter. A client cannot be told that its region is misspelt, so it gets one.
    pub fn new(text: &str) -> Self {
        let name = text.to_ascii_lowercase();
        let valid = (1..=32).contains(&name.len())
            && name
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if valid {
            Self(name.into())
        } else {
            Self::default()
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Region {
    fn default() -> Self {
        Self("default".into())
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_lower_case_and_what_is_no_name_is_default() {
        for (text, name) in [
            ("Paris", "paris"),
            ("us-east-1", "us-east-1"),
            ("", "default"),
            ("../etc", "default"),
            ("münchen", "default"),
            ("abcdefghijklmnopqrstuvwxyz0123456", "default"),
        ] {
            assert_eq!(Region::new(text).as_str(), name, "{text}");
        }
    }
}
