//! Where sessions were sent before, for those that name themselves (`?session=`). What was not used for a
//! while is forgotten, and a crowd of made-up names only makes that sooner.

use std::{
    collections::HashMap,
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

/// In two generations: what is used moves to the younger, and the older is dropped as a whole.
#[derive(Debug)]
pub(super) struct Sessions {
    young: HashMap<String, Arc<str>>,
    old: HashMap<String, Arc<str>>,
    turned: Instant,
}

impl Sessions {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            turned: now,
        }
    }

    /// The node that the session was sent to last.
    pub(super) fn node(&self, session: &str) -> Option<&str> {
        let node = self.young.get(session).or_else(|| self.old.get(session));
        node.map(AsRef::as_ref)
    }

    pub(super) fn sent(&mut self, session: &str, node: &str, now: Instant) {
        if self.young.len() >= MOST || now.duration_since(self.turned) >= GENERATION {
            self.old = mem::take(&mut self.young);
            self.turned = now;
        }
        self.young.insert(session.to_owned(), node.into());
    }
}

/// A session's name is believed up to this length.
pub(super) const LONGEST: usize = 64;

/// Of a generation. Both together are some 30 MB at the most.
const MOST: usize = 100_000;

const GENERATION: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_known_for_a_generation_at_least_and_two_at_most() {
        let now = Instant::now();
        let mut sessions = Sessions::new(now);
        sessions.sent("a", "relay-1", now);
        sessions.sent("b", "relay-2", now + GENERATION);
        assert_eq!(sessions.node("a"), Some("relay-1"));
        assert_eq!(sessions.node("c"), None);
        sessions.sent("b", "relay-3", now + GENERATION * 2);
        assert_eq!(sessions.node("a"), None);
        assert_eq!(sessions.node("b"), Some("relay-3"));
    }

    #[test]
    fn made_up_names_do_not_fill_the_memory() {
        let now = Instant::now();
        let mut sessions = Sessions::new(now);
        for n in 0..MOST * 3 {
            sessions.sent(&n.to_string(), "relay", now);
        }
        assert!(sessions.young.len() + sessions.old.len() <= MOST * 2);
    }
}
