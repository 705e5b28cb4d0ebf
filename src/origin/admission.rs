//! Whether a node takes one more viewer, and what becomes of whom it does not.
//!
//! Rungs shrink first: a node has room for as long as everybody could have the cheapest. Then who
//! joins is sent on to another node, if one is known, and else asked to come back. Only joins are
//! ever refused: whoever has a playlist gets what it lists.

use axum::{
    http::{Uri, header},
    response::{IntoResponse as _, Response},
};
use playlists::Bitrate;
use reqwest::Url;

use super::{NO_STORE, Origin, Refusal};
use crate::store::StreamName;

/// A node at the moment of a join.
#[derive(Clone, Copy, Debug)]
pub struct House {
    pub viewers: usize,
    /// Joined in the last seconds, and not among the viewers yet.
    pub expected: usize,
    /// Seats.
    pub most: usize,
    /// What all viewers and those expected take if each has the cheapest rung there is for it.
    pub floor: Bitrate,
    /// Of the stream that is joined.
    pub cheapest: Bitrate,
    /// What may be handed out; `None` if there is enough for everybody.
    pub budget: Option<Bitrate>,
}

/// What a node has no more of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Full {
    Seats,
    Egress,
}

impl House {
    /// What there is not enough of for one more.
    pub fn full(&self) -> Option<Full> {
        let fits =
            |budget: Bitrate| self.floor.bps().saturating_add(self.cheapest.bps()) <= budget.bps();
        if self.viewers.saturating_add(self.expected) >= self.most {
            Some(Full::Seats)
        } else if self.budget.is_some_and(|budget| !fits(budget)) {
            Some(Full::Egress)
        } else {
            None
        }
    }
}

/// Where joins go that a node has no room for.
#[derive(Clone, Debug)]
pub struct Overflow(Url);

impl Overflow {
    /// The base URL of a node, or that of a traffic manager with its `/watch`.
    pub fn new(url: Url) -> Result<Self, String> {
        if url.has_host() && url.query().is_none() && url.fragment().is_none() {
            Ok(Self(url))
        } else {
            Err(format!(
                "overflow-url {url} is no base URL of a node, such as http://b.example.org:8080, or of a traffic manager, such as http://tm.example.org:9000/watch"
            ))
        }
    }

    /// Where a join of `stream` with this query goes; `None` if it was sent on once already, lest two
    /// full nodes send it to and fro.
    fn of(&self, stream: &StreamName, query: &str) -> Option<String> {
        if query.split('&').any(|pair| pair == SENT_ON) {
            return None;
        }
        let base = self.0.as_str().trim_end_matches('/');
        let path = if base.ends_with("/watch") {
            format!("{stream}.m3u8")
        } else {
            format!("live/{stream}/index.m3u8")
        };
        let and = if query.is_empty() { "" } else { "&" };
        Some(format!("{base}/{path}?{query}{and}{SENT_ON}"))
    }
}

impl Origin {
    /// `None`: there is room. Else where to go instead, or when to come back.
    pub(super) fn turn_away(
        &self,
        stream: &StreamName,
        cheapest: Bitrate,
        uri: &Uri,
    ) -> Option<Result<Response, Refusal>> {
        let house = self.house(cheapest);
        let Some(full) = house.full() else {
            self.viewers.joined();
            return None;
        };
        tracing::debug!(%stream, ?full, ?house, "no room for a join");
        let overflow = self.terms.overflow.as_ref();
        let to = overflow.and_then(|overflow| overflow.of(stream, uri.query().unwrap_or_default()));
        self.viewers.turned_away(to.is_some());
        Some(match to {
            Some(to) => Ok((
                axum::http::StatusCode::TEMPORARY_REDIRECT,
                [
                    (header::LOCATION, to),
                    (header::CACHE_CONTROL, NO_STORE.to_owned()),
                ],
            )
                .into_response()),
            None => Err(Refusal::later(self.why(full), COME_BACK)),
        })
    }

    /// As it is now: what was counted when the egress was last shared out, and who came since.
    fn house(&self, cheapest: Bitrate) -> House {
        let (share, viewers) = (self.share.load(), self.viewers.count());
        let joined = self.viewers.joins().wrapping_sub(share.before.joins);
        let arrived = self.viewers.arrivals().wrapping_sub(share.before.arrivals);
        let expected = joined.saturating_sub(arrived) as usize;
        let since = viewers.saturating_sub(share.counted) + expected;
        let more = cheapest.bps().saturating_mul(since as u64);
        House {
            viewers,
            expected,
            most: self.terms.max_viewers,
            floor: Bitrate::from_bps(share.floor.bps().saturating_add(more)),
            cheapest,
            budget: share.room,
        }
    }

    fn why(&self, full: Full) -> String {
        match (full, self.share.load().budget.or(self.terms.budget)) {
            (Full::Egress, Some(budget)) => format!(
                "this node's {} kbit/s are full, even with the cheapest rung for everybody; try again shortly",
                budget.kbps()
            ),
            _ => format!(
                "this node has its {} viewers; try again shortly",
                self.terms.max_viewers
            ),
        }
    }
}

/// In the query of a join that another node had no room for.
const SENT_ON: &str = "full=1";

/// Seconds. Those who left in this time have made room by then.
const COME_BACK: u32 = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn house() -> House {
        House {
            viewers: 8,
            expected: 1,
            most: 10,
            floor: Bitrate::from_kbps(900),
            cheapest: Bitrate::from_kbps(100),
            budget: Some(Bitrate::from_kbps(1000)),
        }
    }

    #[test]
    fn there_is_room_while_everybody_could_have_the_cheapest_rung() {
        assert_eq!(house().full(), None);
        let dearer = House {
            cheapest: Bitrate::from_kbps(101),
            ..house()
        };
        assert_eq!(dearer.full(), Some(Full::Egress));
        assert_eq!(
            House {
                budget: None,
                ..dearer
            }
            .full(),
            None
        );
    }

    #[test]
    fn who_has_joined_has_a_seat_before_it_takes_it() {
        assert_eq!(
            House {
                expected: 2,
                ..house()
            }
            .full(),
            Some(Full::Seats)
        );
        assert_eq!(
            House {
                viewers: usize::MAX,
                ..house()
            }
            .full(),
            Some(Full::Seats)
        );
    }

    #[test]
    fn a_join_is_sent_on_once() {
        let stream = "demo".parse().unwrap();
        for (url, query, to) in [
            (
                "http://b:8080",
                "region=paris",
                "http://b:8080/live/demo/index.m3u8?region=paris&full=1",
            ),
            (
                "http://b:8080/sub/",
                "",
                "http://b:8080/sub/live/demo/index.m3u8?full=1",
            ),
            (
                "http://tm:9000/watch",
                "token=x",
                "http://tm:9000/watch/demo.m3u8?token=x&full=1",
            ),
        ] {
            let overflow = Overflow::new(url.parse().unwrap()).unwrap();
            assert_eq!(overflow.of(&stream, query).as_deref(), Some(to));
            assert_eq!(overflow.of(&stream, "a=b&full=1"), None);
        }
        assert!(Overflow::new("data:x".parse().unwrap()).is_err());
        assert!(Overflow::new("http://b/?x=y".parse().unwrap()).is_err());
    }

    proptest! {
        /// Whoever is let in one after another never brings the node above its budget or its seats.
        #[test]
        fn a_node_is_never_overrun(most in 0usize..50, budget in 0u64..5_000, joins in prop::collection::vec(1u64..500, 0..100)) {
            let mut house = House {
                viewers: 0, expected: 0, most, floor: Bitrate::ZERO,
                cheapest: Bitrate::ZERO, budget: Some(Bitrate::from_kbps(budget)),
            };
            for cheapest in joins {
                house.cheapest = Bitrate::from_kbps(cheapest);
                if house.full().is_none() {
                    house.expected += 1;
                    house.floor = Bitrate::from_bps(house.floor.bps() + house.cheapest.bps());
                }
                prop_assert!(house.expected <= most && house.floor.kbps() <= budget);
            }
        }
    }
}
