//! The viewers of this node: who they are, what each was given, and when each was last seen.
//!
//! A viewer exists from its first segment on, not from its first playlist, so that whoever only
//! looks costs nothing and counts for nothing; it is gone after three target durations of silence.
//! What rung a viewer gets is `adaptation`'s business.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use adaptation::{Demand, Fixed, Offer, Pin, Reason, Rule, Viewer, region::Region};
use dashmap::{DashMap, Entry};
use playlists::Bitrate;
use serde::Serialize;

use super::{meter::Meter, seat::Seat};
use crate::{control::RegionLoad, store::StreamName};

/// What a viewer asks for, and under what limits.
#[derive(Debug)]
pub struct Ask<'a> {
    pub number: u64,
    pub offer: Offer<'a>,
    pub ceiling: usize,
    /// The dearest rung on offer is the one that the viewer named, whatever its path.
    pub fixed: bool,
    /// When the node's egress was last shared out; `None` if there is enough for everybody.
    pub shared: Option<Instant>,
    /// What another node knew of this viewer's path, should it be new here.
    pub hint: Option<Bitrate>,
    /// Three target durations: how long a silence ends the viewing.
    pub patience: Duration,
}

/// Every viewer of the node.
#[derive(Debug)]
pub struct Viewers {
    seats: DashMap<Seat, Seated>,
    /// How many are taken. Beyond `most`, who asks for media gets the cheapest rung and no seat.
    taken: AtomicUsize,
    most: usize,
    /// Ever seated, by region; at most [`REGIONS`].
    arrivals: DashMap<Region, u64>,
    rule: Box<dyn Rule>,
    /// Octets that viewers have acknowledged.
    pub egress: AtomicU64,
}

#[derive(Debug)]
struct Seated {
    viewer: Viewer,
    /// As it is counted.
    region: Region,
    since: Instant,
    seen: Instant,
    patience: Duration,
    octets: u64,
    segments: u64,
    ceiling: usize,
    /// Sent elsewhere since this node drains; it keeps asking here, but it is not watching here.
    moved: bool,
    outstanding: Vec<Weak<Meter>>,
}

impl Viewers {
    pub fn new(rule: Box<dyn Rule>, most: usize) -> Self {
        Self {
            seats: DashMap::new(),
            taken: AtomicUsize::new(0),
            most,
            arrivals: DashMap::new(),
            rule,
            egress: AtomicU64::new(0),
        }
    }

    /// The rung of a segment for a viewer, who takes a seat with the first.
    pub fn decide(&self, seat: &Seat, ask: &Ask<'_>, now: Instant) -> (Pin, Option<Bitrate>) {
        let mut seated = match self.seats.entry(seat.clone()) {
            Entry::Occupied(seated) => seated.into_ref(),
            Entry::Vacant(vacant) => {
                if self.taken.fetch_add(1, Relaxed) >= self.most {
                    self.taken.fetch_sub(1, Relaxed);
                    return (NO_SEAT, None);
                }
                vacant.insert(Seated::new(ask, self.arrive(&seat.viewer.region), now))
            }
        };
        seated.seen = now;
        // Who came after the last sharing has no share yet, and must not take that of others.
        let newcomer = ask.shared.is_some_and(|shared| seated.since > shared);
        let ceiling = if newcomer {
            ask.ceiling.min(ask.offer.start)
        } else {
            ask.ceiling
        };
        seated.ceiling = ceiling;
        seated.moved = false;
        let in_flight = seated.pace(now);
        let rule: &dyn Rule = if ask.fixed { &Fixed } else { &*self.rule };
        let pin = seated
            .viewer
            .decide(ask.number, &ask.offer, ceiling, in_flight, rule);
        seated.segments += u64::from(pin.fresh);
        (pin, seated.viewer.estimate().map(|estimate| estimate.rate))
    }

    /// Counts an arrival. Regions are what clients call them: when there are too many, the rest is one.
    fn arrive(&self, region: &Region) -> Region {
        let known = self.arrivals.contains_key(region) || self.arrivals.len() < REGIONS;
        let region = if known {
            region.clone()
        } else {
            Region::default()
        };
        *self.arrivals.entry(region.clone()).or_default() += 1;
        region
    }

    /// Notes a sign of life. Says nothing of who never took a seat.
    pub fn touch(&self, seat: &Seat, now: Instant) {
        if let Some(mut seated) = self.seats.get_mut(seat) {
            seated.seen = now;
        }
    }

    /// Notes that a viewer was sent elsewhere; returns what is known of its path.
    pub fn moved(&self, seat: &Seat, now: Instant) -> Option<Bitrate> {
        let mut seated = self.seats.get_mut(seat)?;
        seated.seen = now;
        seated.moved = true;
        seated.viewer.estimate().map(|estimate| estimate.rate)
    }

    /// A delivery begins.
    pub fn delivering(&self, seat: &Seat, meter: &Arc<Meter>) {
        if let Some(mut seated) = self.seats.get_mut(seat) {
            seated.outstanding.retain(|meter| meter.strong_count() > 0);
            seated.outstanding.push(Arc::downgrade(meter));
        }
    }

    /// A delivery is over; `delivery` is what it says of the viewer's path, if anything.
    pub fn delivered(
        &self,
        seat: &Seat,
        octets: u64,
        delivery: Option<&adaptation::Delivery>,
        now: Instant,
    ) {
        if let Some(mut seated) = self.seats.get_mut(seat) {
            seated.seen = now;
            seated.octets += octets;
            let Some(delivery) = delivery else { return };
            let evidence = seated.viewer.delivered(delivery);
            tracing::debug!(viewer = %seat.viewer, ?delivery, ?evidence, estimate = ?seated.viewer.estimate(), "delivered");
        }
    }

    /// Adds what viewers have acknowledged to the node's account.
    pub fn acknowledged(&self, octets: u64) {
        self.egress.fetch_add(octets, Relaxed);
    }

    /// Forgets who has been silent for too long.
    pub fn expire(&self, now: Instant) {
        self.seats.retain(|seat, seated| {
            // Whoever is still being sent something has not been silent.
            let stays = now.saturating_duration_since(seated.seen) <= seated.patience
                || seated
                    .outstanding
                    .iter()
                    .any(|meter| meter.strong_count() > 0);
            if !stays {
                self.taken.fetch_sub(1, Relaxed);
                tracing::debug!(viewer = %seat.viewer, stream = %seat.stream, "viewer gone");
            }
            stays
        });
    }

    /// The demand of each stream's viewers: what their own paths would allow, given its rungs' rates.
    pub fn demand(
        &self,
        rates: &BTreeMap<StreamName, Vec<Bitrate>>,
    ) -> BTreeMap<StreamName, Vec<Demand>> {
        let mut demand: BTreeMap<_, Vec<_>> = rates
            .keys()
            .map(|name| (name.clone(), Vec::new()))
            .collect();
        for seated in &self.seats {
            let stream = &seated.key().stream;
            if let (Some(rates), Some(demand), false) =
                (rates.get(stream), demand.get_mut(stream), seated.moved)
            {
                demand.push(Demand {
                    key: seated.key().viewer.key,
                    cap: seated.viewer.own_cap(rates),
                });
            }
        }
        demand
    }

    pub fn count(&self) -> usize {
        self.taken.load(Relaxed)
    }

    /// Who is watching, by region and by stream, and how many are only still asking.
    pub fn census(&self) -> Census {
        let arrivals = self.arrivals.iter();
        let mut census = Census {
            regions: arrivals
                .map(|arrived| {
                    (
                        arrived.key().to_string(),
                        RegionLoad {
                            viewers: 0,
                            arrivals: *arrived,
                        },
                    )
                })
                .collect(),
            ..Census::default()
        };
        for seated in &self.seats {
            if seated.moved {
                census.moved += 1;
                continue;
            }
            let seat = seated.key();
            census
                .regions
                .entry(seated.region.to_string())
                .or_default()
                .viewers += 1;
            *census.streams.entry(seat.stream.to_string()).or_default() += 1;
        }
        census
    }

    /// Everything known of each viewer, for operators.
    pub fn report(&self, now: Instant) -> Vec<ViewerReport> {
        self.seats
            .iter()
            .map(|seated| seated.report(seated.key(), now))
            .collect()
    }
}

#[derive(Clone, Debug, Default)]
pub struct Census {
    pub regions: BTreeMap<String, RegionLoad>,
    pub streams: BTreeMap<String, u32>,
    /// Sent elsewhere, but still asking here for the way.
    pub moved: u32,
}

/// One viewer as `/v1/viewers` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct ViewerReport {
    pub viewer: String,
    pub stream: StreamName,
    pub region: String,
    /// Index of the rung decided last; 0 is the cheapest.
    pub rung: Option<usize>,
    pub reason: Option<adaptation::Reason>,
    /// Highest rung that the node's budget allows this viewer.
    pub ceiling: usize,
    pub estimate_kbps: Option<u64>,
    pub switches: u32,
    pub segments: u64,
    pub octets: u64,
    pub moved: bool,
    pub since_s: u64,
    pub silent_ms: u64,
}

impl Seated {
    fn new(ask: &Ask<'_>, region: Region, now: Instant) -> Self {
        Self {
            viewer: Viewer::new(ask.hint),
            region,
            since: now,
            seen: now,
            patience: ask.patience,
            octets: 0,
            segments: 0,
            ceiling: ask.ceiling,
            moved: false,
            outstanding: Vec::new(),
        }
    }

    /// The pace of the slowest delivery that has been outstanding for long enough to tell.
    fn pace(&mut self, now: Instant) -> Option<Bitrate> {
        self.outstanding.retain(|meter| meter.strong_count() > 0);
        self.outstanding
            .iter()
            .filter_map(|meter| meter.upgrade()?.pace(now))
            .min()
    }

    fn report(&self, seat: &Seat, now: Instant) -> ViewerReport {
        ViewerReport {
            viewer: seat.viewer.to_string(),
            stream: seat.stream.clone(),
            region: self.region.to_string(),
            rung: self.viewer.current(),
            reason: self.viewer.reason(),
            ceiling: self.ceiling,
            estimate_kbps: self.viewer.estimate().map(|estimate| estimate.rate.kbps()),
            switches: self.viewer.switches(),
            segments: self.segments,
            octets: self.octets,
            moved: self.moved,
            since_s: now.saturating_duration_since(self.since).as_secs(),
            silent_ms: now.saturating_duration_since(self.seen).as_millis() as u64,
        }
    }
}

/// What is sent to whom there is no seat for: a listed segment is never refused.
const NO_SEAT: Pin = Pin {
    rung: 0,
    reason: Reason::Ceiling,
    fresh: false,
};

/// More regions than an operator could look at.
const REGIONS: usize = 64;

#[cfg(test)]
mod tests {
    use adaptation::Rate;
    use playlists::MediaTime;

    use super::*;
    use crate::origin::{profile::Profile, seat::ViewerId};

    const SIZES: [u64; 3] = [50_000, 200_000, 500_000];

    fn seat(key: u64, region: &str) -> Seat {
        let viewer = ViewerId {
            key,
            region: Region::new(region),
            profile: Profile::default(),
        };
        Seat {
            stream: "demo".parse().unwrap(),
            viewer,
        }
    }

    fn ask(number: u64) -> Ask<'static> {
        Ask {
            number,
            offer: Offer {
                sizes: &SIZES,
                duration: MediaTime::from_ticks(2, 1),
                start: 1,
            },
            ceiling: 2,
            fixed: false,
            shared: None,
            hint: None,
            patience: Duration::from_secs(6),
        }
    }

    #[test]
    fn whoever_finds_no_seat_gets_the_cheapest_rung_and_leaves_nothing() {
        let (viewers, now) = (Viewers::new(Box::new(Rate::default()), 2), Instant::now());
        for key in 0..2 {
            assert_eq!(viewers.decide(&seat(key, "paris"), &ask(1), now).0.rung, 1);
        }
        assert_eq!(viewers.decide(&seat(7, "paris"), &ask(1), now).0, NO_SEAT);
        assert_eq!(viewers.count(), 2);
        viewers.expire(now + Duration::from_secs(7));
        assert_eq!(viewers.count(), 0);
        assert_eq!(viewers.decide(&seat(7, "paris"), &ask(2), now).0.rung, 1);
    }

    #[test]
    fn invented_regions_do_not_grow_the_account() {
        let (viewers, now) = (
            Viewers::new(Box::new(Rate::default()), 1000),
            Instant::now(),
        );
        for key in 0..200 {
            viewers.decide(&seat(key, &format!("made-up-{key}")), &ask(1), now);
        }
        let census = viewers.census();
        assert!(
            census.regions.len() <= REGIONS + 1,
            "{}",
            census.regions.len()
        );
        assert_eq!(
            census
                .regions
                .values()
                .map(|region| region.viewers)
                .sum::<u32>(),
            200
        );
        assert_eq!(census.regions["default"].arrivals, 200 - REGIONS as u64);
    }

    #[test]
    fn a_newcomer_waits_for_its_share() {
        let (viewers, now) = (Viewers::new(Box::new(Rate::default()), 10), Instant::now());
        let fast = Ask {
            hint: Some(Bitrate::from_kbps(90_000)),
            ..ask(1)
        };
        let early = Ask {
            shared: Some(now - Duration::from_secs(1)),
            ..fast
        };
        assert_eq!(viewers.decide(&seat(1, "paris"), &early, now).0.rung, 1);
        let later = Ask {
            number: 2,
            shared: Some(now + Duration::from_secs(1)),
            ..early
        };
        assert_eq!(viewers.decide(&seat(1, "paris"), &later, now).0.rung, 2);
    }
}
