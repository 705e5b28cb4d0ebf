//! Who is not to stay: everybody when the node drains; on a relay, as many as there is room for again elsewhere.
//!
//! Whoever was sent away is sent away again as often as it asks, since most players ask where they began for as long
//! as they play. That this is done is the manager's word; how it is told (a redirect, a steering manifest) is the
//! handlers' business.

use std::time::Instant;

use playlists::Bitrate;

use super::{Origin, Stance, seat::Seat};

/// Where a viewer goes on.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// Base URL of a node.
    pub(super) to: String,
    /// What is known of the viewer's path.
    pub(super) known: Option<Bitrate>,
}

impl Origin {
    /// Where this viewer is to go on; `None`: here. Who is sent away counts here no more.
    pub(super) fn way(&self, seat: &Seat, now: Instant) -> Option<Way> {
        match &**self.stance.load() {
            Stance::Serving => None,
            Stance::Draining { to } => Some(Way {
                to: to.clone(),
                known: self.viewers.moved(seat, now),
            }),
            Stance::Giving { to, keep } => {
                let known = self.viewers.given(seat, *keep, now)?;
                tracing::debug!(viewer = %seat.viewer, to, "sent back");
                Some(Way {
                    to: to.clone(),
                    known,
                })
            }
        }
    }

    /// Whether nobody is sent anywhere, so that nobody has to be looked up.
    pub(super) fn keeps_all(&self) -> bool {
        match &**self.stance.load() {
            Stance::Serving => true,
            Stance::Draining { .. } => false,
            Stance::Giving { keep, .. } => self.viewers.keeps_all(*keep),
        }
    }
}
