//! What becomes of viewers, told in virtual time; and all sums against a list that is counted anew.

use adaptation::{Offer, Rate};
use playlists::MediaTime;

use proptest::prelude::*;

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
        offer: Offer::new(number, &SIZES, MediaTime::from_ticks(2, 1)),
        ceiling: 2,
        price: 0.0,
        absent: 0,
        wait: Duration::ZERO,
        fixed: false,
        shared: None,
        known: None,
        patience: Duration::from_secs(6),
        listed: None,
        taken: None,
        table: None,
        hint: None,
        measured: true,
        whole: true,
        place: 0,
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
        known: Some(Bitrate::from_kbps(90_000)),
        ..ask(1)
    };
    let early = Ask {
        shared: Some(now - Duration::from_secs(1)),
        ..fast
    };
    assert_eq!(viewers.decide(&seat(1, "paris"), &early, now).0.rung, 1);
    let later = Ask {
        offer: ask(2).offer,
        shared: Some(now + Duration::from_secs(1)),
        ..early
    };
    assert_eq!(viewers.decide(&seat(1, "paris"), &later, now).0.rung, 2);
}

fn viewers() -> (Viewers, Instant) {
    let viewers = Viewers::new(Box::new(Rate::default()), 100_000);
    let now = Instant::now();
    // Its ticks are the stories'.
    *viewers.silences() = Wheel::new(LOOK_EVERY, now);
    (viewers, now)
}

fn sums(viewers: &Viewers) -> (u32, u32, u32) {
    let census = viewers.census();
    let regions = census.regions.values();
    (
        census.streams.values().sum(),
        regions.map(|region| region.viewers).sum(),
        census.moved,
    )
}

/// As the node does, every half second until `seconds` have passed.
fn pass(viewers: &Viewers, from: Instant, seconds: u64) -> Instant {
    for half in 1..=seconds * 2 {
        viewers.expire(from + Duration::from_millis(half * 500));
    }
    from + Duration::from_secs(seconds)
}

#[test]
fn as_many_as_watch_are_reported_and_none_after_their_patience() {
    let (viewers, now) = viewers();
    for key in 0..500 {
        viewers.touch(&seat(key, "paris"), now);
    }
    assert_eq!(sums(&viewers), (0, 0, 0), "who only looks is no viewer");
    for key in 0..500 {
        viewers.decide(&seat(key, "paris"), &ask(1), now);
    }
    assert_eq!(sums(&viewers), (500, 500, 0));
    let now = pass(&viewers, now, 5);
    assert_eq!(sums(&viewers), (500, 500, 0));
    pass(&viewers, now, 2);
    assert_eq!((sums(&viewers), viewers.count()), ((0, 0, 0), 0));
    assert_eq!(viewers.census().regions["paris"].arrivals, 500);
}

#[test]
fn whoever_is_seen_stays() {
    let (viewers, mut now) = viewers();
    viewers.decide(&seat(1, "paris"), &ask(1), now);
    viewers.decide(&seat(2, "paris"), &ask(1), now);
    for _ in 0..10 {
        now = pass(&viewers, now, 4);
        viewers.touch(&seat(1, "paris"), now);
    }
    assert_eq!(sums(&viewers), (1, 1, 0));
    assert!(viewers.look(2, now).is_empty());
    pass(&viewers, now, 7);
    assert_eq!(viewers.count(), 0);
}

#[test]
fn a_viewer_is_one_whatever_else_its_urls_say() {
    let (viewers, now) = viewers();
    let first = viewers.decide(&seat(1, "paris"), &ask(1), now).0;
    let again = viewers.decide(&seat(1, "rome"), &ask(1), now).0;
    assert!(first.fresh && !again.fresh, "the pin holds");
    assert_eq!(sums(&viewers), (1, 1, 0));
    assert_eq!(viewers.look(1, now)[0].region, "paris");
}

#[test]
fn whoever_is_sent_elsewhere_is_counted_apart_until_it_is_back() {
    let (viewers, now) = viewers();
    viewers.decide(&seat(1, "paris"), &ask(1), now);
    viewers.moved(&seat(1, "paris"), now);
    viewers.moved(&seat(1, "paris"), now);
    assert_eq!(sums(&viewers), (0, 0, 1));
    assert!(viewers.moved(&seat(2, "paris"), now).is_none());
    viewers.decide(&seat(1, "paris"), &ask(2), now);
    assert_eq!(sums(&viewers), (1, 1, 0));
    viewers.moved(&seat(1, "paris"), now);
    pass(&viewers, now, 7);
    assert_eq!((sums(&viewers), viewers.count()), ((0, 0, 0), 0));
}

#[test]
fn a_stream_that_comes_back_finds_its_viewers_and_one_that_does_not_leaves_nothing() {
    let (viewers, now) = viewers();
    viewers.decide(&seat(1, "paris"), &ask(1), now);
    viewers.forget(|_| false);
    viewers.decide(&seat(1, "paris"), &ask(2), now);
    assert_eq!(viewers.look(1, now)[0].segments, 2);
    let now = pass(&viewers, now, 7);
    viewers.forget(|_| true);
    assert_eq!(viewers.rooms.load().len(), 1);
    viewers.forget(|_| false);
    assert_eq!(viewers.rooms.load().len(), 0);
    viewers.decide(&seat(1, "paris"), &ask(3), now);
    assert_eq!(sums(&viewers), (1, 1, 0));
}

#[test]
fn pages_tell_of_everybody_once() {
    let (viewers, now) = viewers();
    for key in 0..700 {
        let mut seat = seat(key, "paris");
        if key % 3 == 0 {
            seat.stream = "other".parse().unwrap();
        }
        viewers.decide(&seat, &ask(1), now);
    }
    for (stream, count) in [(None, 700), (Some("other"), 234), (Some("none"), 0)] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = viewers.page(stream, after.as_ref(), 100, now);
            assert!(page.viewers.len() <= 100);
            seen.extend(page.viewers.into_iter().map(|report| report.viewer));
            after = page.last.map(|last| last.to_string().parse().unwrap());
            if after.is_none() {
                break;
            }
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count, "{stream:?}");
    }
}

#[test]
fn whoever_is_told_of_rungs_counts_once_it_asks_again() {
    let (viewers, now) = viewers();
    let list = |key, first| {
        let segments = [(first, false), (first + 1, false)];
        viewers.list(&seat(key, "paris"), &segments, &ask(first + 1), None, now);
    };
    list(1, 7);
    list(2, 7);
    assert_eq!(sums(&viewers), (0, 0, 0), "they have only looked");
    list(1, 8);
    viewers.decide(&seat(2, "paris"), &ask(8), now);
    assert_eq!(sums(&viewers), (2, 2, 0));
    list(3, 8);
    pass(&viewers, now, 7);
    assert_eq!((sums(&viewers), viewers.count()), ((0, 0, 0), 0));
}

#[test]
fn demand_is_of_those_who_watch() {
    let (viewers, now) = viewers();
    let rates = BTreeMap::from([("demo".parse().unwrap(), vec![Bitrate::from_kbps(100); 3])]);
    for key in 0..5 {
        viewers.decide(&seat(key, "paris"), &ask(1), now);
    }
    viewers.moved(&seat(3, "paris"), now);
    let demand = viewers.demand(&rates, 1);
    let keys: Vec<_> = demand["demo"][0].iter().map(|demand| demand.key).collect();
    assert_eq!(keys, [0, 1, 2, 4]);
}

/// What happens at a node.
#[derive(Clone, Debug)]
enum Act {
    Segment(u64),
    Look(u64),
    Move(u64),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0u64..12).prop_map(Act::Segment),
        2 => (0u64..12).prop_map(Act::Look),
        1 => (0u64..12).prop_map(Act::Move),
        3 => (1u64..18).prop_map(|ticks| Act::Pass(ticks * 500)),
    ]
}

/// A viewer as a list has it: when it was last seen, and whether it was sent elsewhere.
type Listed = BTreeMap<u64, (u64, bool)>;

fn on_list(list: &mut Listed, act: &Act, now: u64) {
    match act {
        Act::Segment(key) => _ = list.insert(*key, (now, false)),
        Act::Look(key) => {
            list.entry(*key).and_modify(|(seen, _)| *seen = now);
        }
        Act::Move(key) => {
            list.entry(*key).and_modify(|seen| *seen = (now, true));
        }
        Act::Pass(_) => {}
    }
}

proptest! {
    /// After whatever happened, the sums are those of a list that is walked from end to end.
    #[test]
    fn sums_are_what_counting_would_find(acts in prop::collection::vec(act(), 0..150)) {
        let (viewers, start) = viewers();
        let region = |key: u64| if key.is_multiple_of(2) { "paris" } else { "rome" };
        let (mut list, mut now) = (Listed::new(), 0);
        for act in acts {
            on_list(&mut list, &act, now);
            let at = start + Duration::from_millis(now);
            match act {
                Act::Segment(key) => _ = viewers.decide(&seat(key, region(key)), &ask(now), at),
                Act::Look(key) => viewers.touch(&seat(key, region(key)), at),
                Act::Move(key) => _ = viewers.moved(&seat(key, region(key)), at),
                Act::Pass(millis) => {
                    now += millis;
                    // In whole ticks, so that there is no doubt when a silence of six seconds ends.
                    viewers.expire(start + Duration::from_millis(now));
                    list.retain(|_, (seen, _)| *seen + 6_000 > now);
                }
            }
            let watching = list.values().filter(|(_, moved)| !moved).count() as u32;
            prop_assert_eq!(viewers.count(), list.len());
            prop_assert_eq!(sums(&viewers), (watching, watching, list.len() as u32 - watching));
            for name in ["paris", "rome"] {
                let here = |(key, (_, moved)): (&u64, &(u64, bool))| !moved && region(*key) == name;
                let expected = list.iter().filter(|listed| here(*listed)).count() as u32;
                let region = viewers.census().regions.get(name).map_or(0, |load| load.viewers);
                prop_assert_eq!(region, expected);
            }
        }
    }
}
