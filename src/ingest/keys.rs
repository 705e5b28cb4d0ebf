//! What publishers have to know: keys, how they are read, compared and kept out of logs, and how a publisher says
//! which stream it means.

use std::{fmt, path::Path};

use anyhow::Context as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// A stream's key. Comparing takes as long for a wrong one as for the right one, and nothing prints it.
#[derive(Clone)]
pub struct Key(String);

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    #[error("the key is empty")]
    Empty,
    #[error("the key is longer than {MOST} characters")]
    Long,
    #[error(
        "the key has a character that does not go into every publisher's URL; letters, digits and -_.~!@$*+:;= do"
    )]
    Character,
}

impl Key {
    pub fn new(text: &str) -> Result<Self, KeyError> {
        let fits = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.~!@$*+:;=".contains(&octet);
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        if text.len() > MOST {
            return Err(KeyError::Long);
        }
        if !text.bytes().all(fits) {
            return Err(KeyError::Character);
        }
        Ok(Self(text.to_owned()))
    }

    /// The first line of a file, which should be readable for nobody else.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read the key file {}", path.display()))?;
        let line = text.lines().next().unwrap_or_default().trim();
        Self::new(line).with_context(|| format!("{}", path.display()))
    }

    pub fn is(&self, given: &str) -> bool {
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(CONTEXT) else {
            return false;
        };
        // Signatures of both are compared, in constant time and whatever their lengths.
        let theirs = mac.clone().chain_update(given).finalize().into_bytes();
        mac.chain_update(&self.0).verify_slice(&theirs).is_ok()
    }

    /// For a protocol that makes its own keys of it. Never for a log.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// What a publisher says that it may publish.
#[derive(Clone, Eq, PartialEq)]
pub struct Claim {
    /// Without it, the key alone has to say which stream it is.
    pub name: Option<String>,
    pub key: String,
}

impl Claim {
    /// What OBS calls a stream key: `NAME?key=SECRET`, or the secret alone.
    pub fn of_stream_key(text: &str) -> Self {
        let Some((name, query)) = text.split_once('?') else {
            return Self {
                name: None,
                key: text.to_owned(),
            };
        };
        let mut fields = query.split('&').filter_map(|field| field.split_once('='));
        let key = fields.find(|(field, _)| *field == "key");
        Self {
            name: Some(name.to_owned()),
            key: key.map_or_else(String::new, |(_, key)| key.to_owned()),
        }
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claim({:?}, ..)", self.name)
    }
}

const MOST: usize = 128;
const CONTEXT: &[u8] = b"spillway publisher";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_itself_and_nothing_else_and_is_not_printed() {
        let key = Key::new("s3cr3t").unwrap();
        assert!(key.is("s3cr3t"));
        for wrong in ["", "s3cr3", "s3cr3t ", "s3cr3tt", "S3cr3t", "s3cr3t\0"] {
            assert!(!key.is(wrong), "{wrong:?}");
        }
        assert!(!format!("{key:?}").contains("s3cr3t"));
        assert!(!format!("{:?}", Claim::of_stream_key("talk?key=s3cr3t")).contains("s3cr3t"));
    }

    #[test]
    fn what_does_not_go_into_a_url_is_no_key() {
        assert_eq!(Key::new("").unwrap_err(), KeyError::Empty);
        assert_eq!(Key::new(&"k".repeat(129)).unwrap_err(), KeyError::Long);
        for wrong in ["a b", "a?b", "a&b", "a/b", "a#b", "a,b", "ä"] {
            assert_eq!(Key::new(wrong).unwrap_err(), KeyError::Character, "{wrong}");
        }
    }

    #[test]
    fn a_stream_key_names_its_stream_or_is_the_key_alone() {
        let claim = |text| {
            let Claim { name, key } = Claim::of_stream_key(text);
            (name, key)
        };
        assert_eq!(claim("s3cr3t="), (None, "s3cr3t=".into()));
        assert_eq!(claim("talk?key=s3=3"), (Some("talk".into()), "s3=3".into()));
        assert_eq!(claim("talk?x=1&key=k"), (Some("talk".into()), "k".into()));
        assert_eq!(claim("talk?"), (Some("talk".into()), String::new()));
    }
}
