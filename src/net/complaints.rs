//! What is worth a line in the log at warning, and what was said a moment ago: whoever is refused
//! comes again and again, and is not to fill the disk.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The last complaint about each address. Bounded; when it is full all of it is forgotten, and some is said again.
#[derive(Debug, Default)]
pub struct Complaints(Mutex<HashMap<IpAddr, (Instant, String)>>);

impl Complaints {
    /// Whether `what` was not said of `from` within the last minute.
    pub fn is_news(&self, from: IpAddr, what: &str, now: Instant) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, last)) = said.get(&from)
            && last == what
            && now.saturating_duration_since(*at) < AGAIN
        {
            return false;
        }
        if said.len() >= MOST {
            said.clear();
        }
        said.insert(from, (now, what.to_owned()));
        true
    }
}

const AGAIN: Duration = Duration::from_secs(60);

const MOST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_a_minute_and_what_is_new_at_once() {
        let (complaints, t0) = (Complaints::default(), Instant::now());
        let (one, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        assert!(complaints.is_news(one, "a", t0));
        assert!(!complaints.is_news(one, "a", t0 + AGAIN / 2));
        assert!(complaints.is_news(one, "b", t0 + AGAIN / 2));
        assert!(complaints.is_news(other, "a", t0));
        assert!(complaints.is_news(one, "b", t0 + 2 * AGAIN));
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_room() {
        let (complaints, t0) = (Complaints::default(), Instant::now());
        for address in 0..10_000_u32 {
            let from = std::net::Ipv4Addr::from_bits(address).into();
            assert!(complaints.is_news(from, "a", t0));
        }
        assert!(complaints.0.lock().unwrap().len() <= MOST);
    }
}
