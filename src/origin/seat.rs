//! Who a viewer is, and what it watches: the names that its URLs carry.

use std::{fmt, str::FromStr};

use adaptation::region::Region;

use super::profile::Profile;
use crate::{clock::since_1970, store::StreamName};

/// Who a viewer is, as its URLs say it: `{16 hex digits}.{region}`, and `.{profile}` if it asked
/// for anything. It carries all that another node needs to go on with a viewer that it never saw.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ViewerId {
    pub key: u64,
    pub region: Region,
    pub profile: Profile,
}

impl ViewerId {
    pub fn mint(region: Region, profile: Profile) -> Self {
        // Without randomness from the system a time in nanoseconds still tells viewers apart.
        let key = getrandom::u64().unwrap_or_else(|_| since_1970().as_nanos() as u64);
        Self {
            key,
            region,
            profile,
        }
    }
}

impl fmt::Display for ViewerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.{}", self.key, self.region)?;
        if !self.profile.is_plain() {
            write!(f, ".{}", self.profile)?;
        }
        Ok(())
    }
}

impl FromStr for ViewerId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: &str = "a viewer id is 16 hexadecimal digits, a dot and a region";
        let (key, rest) = text.split_once('.').ok_or(SHAPE)?;
        let (region, profile) = rest.split_once('.').unwrap_or((rest, ""));
        let hex = key.len() == 16 && key.bytes().all(|b| b.is_ascii_hexdigit());
        let key = hex
            .then(|| u64::from_str_radix(key, 16).ok())
            .flatten()
            .ok_or(SHAPE)?;
        Ok(Self {
            key,
            region: Region::new(region),
            profile: profile.parse()?,
        })
    }
}

/// One viewer of one stream.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Seat {
    pub stream: StreamName,
    pub viewer: ViewerId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_url_and_says_its_region() {
        let id: ViewerId = "00000000000a11ce.Paris".parse().unwrap();
        assert_eq!(id.to_string(), "00000000000a11ce.paris");
        for wrong in [
            "",
            "x.paris",
            "00000000000a11ce",
            "+0000000000a11ce.paris",
            "00000000000a11ce.paris.q",
        ] {
            assert!(wrong.parse::<ViewerId>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_a_viewer_asked_for_rides_in_its_id() {
        let text = "00000000000a11ce.paris.n.m720";
        let id: ViewerId = text.parse().unwrap();
        assert_eq!(id.profile.ceiling, Some(720));
        assert_eq!(id.to_string(), text);
    }
}
