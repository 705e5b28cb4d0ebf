//! Who is not to stay: everybody when the node drains; on a relay, as many as there is room for again elsewhere; on a primary, all of a
//! region that an operator wants on a relay.
//!
//! Whoever was sent away is sent away again as often as it asks, since most players ask where they began for as long
//! as they play. That this is done is the manager's word; how it is told (a redirect, a steering manifest) is the
//! handlers' business.

use std::time::Instant;

use axum::{http::Uri, response::Response};
use playlists::Bitrate;

use super::{Origin, Stance, playlist, seat::Seat};

/// Where a viewer goes on.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// Base URL of a node.
    pub(super) to: String,
    /// What is known of the viewer's path.
    pub(super) known: Option<Bitrate>,
}

impl Way {
    /// To what was asked for, there.
    pub(super) fn redirect(&self, uri: &Uri) -> Response {
        let mark = match self.known {
            Some(rate) => format!("{SEEN}{}", rate.kbps()),
            None => SENT.to_owned(),
        };
        playlist::elsewhere(&self.to, uri, Some(mark))
    }
}

/// Whether another node has sent the viewer here with this request: what it knows of the viewer is in it, or at least that it
/// knows nothing.
fn is_sent(uri: &Uri) -> bool {
    let mut query = uri.query().into_iter().flat_map(|query| query.split('&'));
    query.any(is_mark)
}

/// What is said of a viewer in a request that a node sends elsewhere.
pub(super) fn is_mark(pair: &str) -> bool {
    pair == SENT || pair.starts_with(SEEN)
}

impl Origin {
    /// Where this viewer is to go on; `None`: here. Who is sent away counts here no more.
    pub(super) fn way(&self, seat: &Seat, uri: &Uri, now: Instant) -> Option<Way> {
        match &**self.stance.load() {
            Stance::Serving => None,
            // The one there may not want it any more, of which this one has not heard yet.
            Stance::Sending { .. } if is_sent(uri) => None,
            Stance::Sending { to } => to.get(&seat.viewer.region).map(|to| Way {
                to: to.clone(),
                known: self.viewers.moved(seat, now),
            }),
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
            Stance::Draining { .. } | Stance::Sending { .. } => false,
            Stance::Giving { keep, .. } => self.viewers.keeps_all(*keep),
        }
    }
}

/// What the node before measured to a viewer, kbit/s.
const SEEN: &str = "seen=";

/// It measured nothing.
const SENT: &str = "sent=1";
