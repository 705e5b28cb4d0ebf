//! One viewer's state: what is known of its path and of its buffer, and which rung each of its segments
//! was pinned to.
//!
//! A pin, once made, is repeated for every retry and range of that segment, or of that part, until it is
//! forgotten. Whoever takes a segment in parts goes on in the rung that it began with, unless the rule wants one that
//! begins with a key frame there. Who the viewer is, when it was last seen and what it is sent are the origin's business.

use std::time::{Duration, Instant};

use playlists::{Bitrate, MediaTime};

use crate::{
    buffer::{Buffer, Level},
    hint::Hint,
    offer::{Flight, Limits, Offer},
    pins::{Pins, Place},
    rule::{self, Choice, Reason, Rule, Situation, Standing},
    throughput::{Delivery, Estimate, Evidence, Throughput},
    wish::Wish,
};

/// The rung of one segment for one viewer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pin {
    pub rung: usize,
    pub reason: Reason,
    /// Decided now, not repeated.
    pub fresh: bool,
}

/// What was decided, and from what.
#[derive(Clone, Copy, Debug)]
pub struct Decided<'a> {
    pub pin: Pin,
    /// What the rule was asked; `None` of a pin that is repeated.
    pub because: Option<Situation<'a>>,
    /// What it would have, were it at hand.
    pub wished: Option<usize>,
}

/// Half a kilobyte: a node may hold 100,000.
#[derive(Clone, Debug)]
pub struct Viewer {
    throughput: Throughput,
    buffer: Buffer,
    pins: Pins,
    last: Option<Last>,
    switches: u32,
    since_switch: u32,
    /// The dearest rate that the player wants, by its own word.
    wanted: Option<Bitrate>,
    /// Of what a delivery was broken off: the low half of the segment's number, and the part.
    abandoned: Option<(u32, Place)>,
    /// It takes parts, or did.
    close: bool,
    /// When a delivery to it was over last.
    informed: Option<Instant>,
}

/// The newest decision, and what bounded it.
#[derive(Clone, Copy, Debug)]
struct Last {
    choice: Choice,
    ceiling: usize,
    top: usize,
}

impl Viewer {
    /// `known` is what another node knew of this viewer's path.
    pub fn new(known: Option<Bitrate>, now: Instant) -> Self {
        Self {
            throughput: known.map_or_else(Throughput::new, Throughput::with_hint),
            buffer: Buffer::new(now),
            pins: Pins::default(),
            last: None,
            switches: 0,
            since_switch: 0,
            wanted: None,
            abandoned: None,
            close: false,
            informed: None,
        }
    }

    /// The rung of a segment: as pinned, else chosen by `rule` within `limits` and pinned.
    pub fn decide<'a>(
        &mut self,
        offer: &Offer<'a>,
        limits: Limits,
        in_flight: Option<Flight>,
        rule: &dyn Rule,
        now: Instant,
    ) -> Decided<'a> {
        let place = offer.part.map(|part| part.index);
        if let Some(Choice { rung, reason }) = self.pins.find(offer.number, place) {
            let pin = Pin {
                rung,
                reason,
                fresh: false,
            };
            return Decided {
                pin,
                because: None,
                wished: None,
            };
        }
        self.close |= place.is_some();
        self.buffer.asked(offer.number, offer.ahead, now);
        let begun = self.pins.before(offer.number, place);
        let situation = self.situation(offer, begun, limits, in_flight, now);
        let Choice { rung, reason } = rule.choose(&situation);
        let choice = situation.within(rung, reason);
        let wished = (choice.reason == Reason::Absent).then(|| {
            let mut at_hand = situation;
            at_hand.viewer.absent = 0;
            rule.choose(&at_hand).rung
        });
        self.pin(&situation, choice, begun.is_some());
        let pin = Pin {
            rung: choice.rung,
            reason: choice.reason,
            fresh: true,
        };
        Decided {
            pin,
            because: Some(situation),
            wished,
        }
    }

    fn situation<'a>(
        &self,
        offer: &Offer<'a>,
        begun: Option<Choice>,
        limits: Limits,
        in_flight: Option<Flight>,
        now: Instant,
    ) -> Situation<'a> {
        let top = offer.sizes.rungs().saturating_sub(1);
        // What is before it in its segment came from elsewhere, in a rung that is not known here.
        let unknown = offer.part.filter(|part| part.index > 0 && begun.is_none());
        let shown = unknown.map(|part| usize::from(part.open).saturating_sub(1));
        let viewer = Standing {
            close: self.close,
            estimate: self.estimate_at(now),
            recent: self.throughput.recent(),
            rtt: self.throughput.rtt(),
            in_flight,
            buffer: self.buffer.level(now),
            previous: begun.map(|begun| begun.rung).or(self.current()),
            since_switch: self.since_switch,
            since_stall: self.buffer.since_stall(now),
            ceiling: limits
                .ceiling
                .min(top)
                .min(self.playable(offer))
                .min(shown.unwrap_or(top)),
            price: limits.price,
            absent: if self.can_wait(limits.wait, now) {
                0
            } else {
                limits.absent
            },
        };
        Situation {
            offer: *offer,
            viewer,
        }
    }

    /// Whether it would still be playing after the node has fetched something. Who has nothing yet waits for
    /// whatever it begins with.
    fn can_wait(&self, wait: Duration, now: Instant) -> bool {
        let spare = wait * 2 + AT_LEAST;
        let level = self.buffer.level(now);
        level.is_none_or(|level| level.media >= spare)
    }

    /// The dearest rung that the player wants, by its own word.
    fn playable(&self, offer: &Offer<'_>) -> usize {
        let Some(wanted) = self.wanted else {
            return usize::MAX;
        };
        let room = wanted.octets_in(offer.duration.duration());
        let fits = |octets: &u64| *octets <= room;
        offer.expected.iter().rposition(fits).unwrap_or(0)
    }

    fn pin(&mut self, situation: &Situation<'_>, choice: Choice, goes_on: bool) {
        let switched = self.current().is_some_and(|rung| rung != choice.rung);
        self.switches += u32::from(switched);
        self.since_switch = if switched {
            0
        } else {
            self.since_switch.saturating_add(u32::from(!goes_on))
        };
        self.last = Some(Last {
            choice,
            ceiling: situation.viewer.ceiling,
            top: situation.top(),
        });
        let place = situation.offer.part.map(|part| part.index);
        self.pins.push(situation.offer.number, place, choice);
    }

    /// The pin of a segment whose rung was told before it was asked for.
    pub fn repeat(&self, rung: usize) -> Pin {
        Pin {
            rung,
            reason: self.reason().unwrap_or(Reason::Steady),
            fresh: false,
        }
    }

    /// Learns from a delivery that is over; returns what was taken from it.
    pub fn delivered(&mut self, delivery: &Delivery, now: Instant) -> Option<Evidence> {
        let Delivery {
            number,
            begins,
            media,
            ..
        } = *delivery;
        if delivery.complete {
            self.buffer.arrived(number, begins, media, now);
        } else {
            self.buffer.broken(number, begins);
        }
        // What says nothing new says that the path is as it was.
        self.informed = Some(now);
        self.throughput.observe(delivery)
    }

    /// It has had all of segment `number` since then, though nobody saw how that came.
    pub fn has(&mut self, number: u64, media: MediaTime, since: Instant) {
        self.buffer.arrived(number, MediaTime::ZERO, media, since);
    }

    /// Learns from a delivery of segment `delivery.number`, or of a `part` of it, that was broken off because it was
    /// [lost](crate::abandon::Outstanding::is_lost). When all of that is asked for the next time, its rung
    /// is chosen anew.
    pub fn abandoned(
        &mut self,
        delivery: &Delivery,
        part: Option<u8>,
        now: Instant,
    ) -> Option<Evidence> {
        self.abandoned = Some((delivery.number as u32, part));
        self.delivered(delivery, now)
    }

    /// All of segment `number`, or of this `part` of it, is asked for, not the rest: whoever got half of it in another
    /// rung has thrown that away.
    pub fn asked_anew(&mut self, number: u64, part: Option<u8>) {
        let this = (number as u32, part);
        if self
            .abandoned
            .take_if(|abandoned| *abandoned == this)
            .is_some()
        {
            self.pins.forget(number, part);
        }
    }

    /// Takes a player at its word, within limits; `measured` if its path is measured here.
    pub fn hinted(&mut self, hint: &Hint, measured: bool, now: Instant) {
        if hint.starved {
            self.buffer.starved(now);
        }
        if let Some(media) = hint.buffer {
            self.buffer.told(media, now);
        }
        if let Some(rate) = hint.throughput.filter(|_| !measured) {
            self.throughput.told(rate);
        }
        self.wanted = hint.requested.into_iter().chain(hint.top).min();
    }

    /// What the viewer has ahead; `None` before anything has arrived.
    pub fn buffer(&self, now: Instant) -> Option<Level> {
        self.buffer.level(now)
    }

    /// Its stalls by our account, and the time spent in those that are over.
    pub fn stalls(&self) -> (u32, Duration) {
        self.buffer.stalls()
    }

    /// Smallest round trip of the connection that was measured last; zero before.
    pub fn rtt(&self) -> Duration {
        self.throughput.rtt()
    }

    /// Whether it stands at a ceiling below the dearest rung on offer.
    pub fn is_held(&self) -> bool {
        self.wish().held
    }

    pub fn estimate(&self) -> Option<Estimate> {
        self.throughput.estimate()
    }

    /// The estimate as it is worth at `now`: what was measured long ago, before a pause, is less certain.
    fn estimate_at(&self, now: Instant) -> Option<Estimate> {
        let age = self.informed.map(|at| now.saturating_duration_since(at));
        let stale = age.map_or(0.0, |age| age.saturating_sub(FRESH).as_secs_f64() * STALE);
        self.estimate().map(|estimate| Estimate {
            deviation: estimate.deviation.hypot(stale).min(1.0),
            ..estimate
        })
    }

    /// The rung decided last.
    pub fn current(&self) -> Option<usize> {
        self.last.map(|last| last.choice.rung)
    }

    /// Why it was.
    pub fn reason(&self) -> Option<Reason> {
        self.last.map(|last| last.choice.reason)
    }

    /// How often a segment's rung was not its predecessor's.
    pub fn switches(&self) -> u32 {
        self.switches
    }

    /// What this viewer would take if it were alone, for the allocator's demand.
    pub fn wish(&self) -> Wish {
        let held = |last: Last| last.choice.rung >= last.ceiling && last.ceiling < last.top;
        let room = self
            .estimate()
            .map(|known| known.rate.scale(rule::SAFETY).bps());
        Wish {
            // No estimate is so low that it would be none, or too high to be said in 32 bits.
            room: room.map_or(0, |bps| u32::try_from(bps).unwrap_or(u32::MAX).max(1)),
            has: self
                .current()
                .map_or(0, |rung| u8::try_from(rung).unwrap_or(u8::MAX)),
            held: self.last.is_some_and(held),
            most: self
                .last
                .map_or(u8::MAX, |last| u8::try_from(last.top).unwrap_or(u8::MAX)),
        }
    }

    /// The highest rung that this viewer's own path would allow: see [`Wish::cap`].
    pub fn own_cap(&self, rates: &[Bitrate]) -> usize {
        self.wish().cap(rates)
    }
}

/// What a viewer must have ahead beyond twice the time that a fetch usually takes.
const AT_LEAST: Duration = Duration::from_millis(500);

/// For so long evidence is as good as new: longer than any segment takes.
const FRESH: Duration = Duration::from_secs(10);

/// Standard deviation of ln(rate) that each second adds after that; after a minute it is a factor of 1.6.
const STALE: f64 = 0.01;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        offer::Part,
        rule::{Fixed, Rate},
    };

    const SIZES: [u64; 3] = [100_000, 200_000, 400_000];

    fn offer(number: u64) -> Offer<'static> {
        Offer::new(number, &SIZES, MediaTime::from_seconds(2.0))
    }

    fn limited(ceiling: usize) -> Limits {
        Limits::ceiling(ceiling)
    }

    /// None of these stories is about time.
    fn now() -> Instant {
        static NOW: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *NOW.get_or_init(Instant::now)
    }

    fn rates() -> [Bitrate; 3] {
        SIZES.map(|octets| Bitrate::of(octets, Duration::from_secs(2)))
    }

    fn delivered_in(viewer: &mut Viewer, octets: u64, elapsed: Duration) {
        let media = MediaTime::from_seconds(2.0);
        let min_rtt = Duration::from_millis(1);
        let delivery = Delivery {
            number: 1,
            octets,
            begins: MediaTime::ZERO,
            media,
            elapsed,
            min_rtt,
            capacity: None,
            receiver_limited: 0.0,
            complete: true,
        };
        viewer.delivered(&delivery, now());
    }

    #[test]
    fn a_pin_outlives_every_change_of_mind() {
        let (rule, mut viewer) = (Rate::default(), Viewer::new(None, now()));
        let first = viewer.decide(&offer(7), limited(2), None, &rule, now()).pin;
        assert_eq!(
            first,
            Pin {
                rung: 1,
                reason: Reason::Start,
                fresh: true
            }
        );
        delivered_in(&mut viewer, 200_000, Duration::from_millis(50));
        assert_eq!(
            viewer
                .decide(&offer(8), limited(2), None, &rule, now())
                .pin
                .rung,
            2
        );
        for _ in 0..3 {
            assert_eq!(
                viewer.decide(&offer(7), limited(0), None, &rule, now()).pin,
                Pin {
                    fresh: false,
                    ..first
                }
            );
        }
        assert_eq!((viewer.current(), viewer.switches()), (Some(2), 1));
    }

    #[test]
    fn who_cannot_wait_for_a_rung_gets_the_next_lower_that_is_at_hand() {
        let (rule, mut viewer) = (Rate::default(), Viewer::new(None, now()));
        let limits = Limits {
            absent: 0b110,
            wait: Duration::from_millis(100),
            ..Limits::NONE
        };
        // Who has nothing yet waits for what it begins with.
        let first = viewer.decide(&offer(7), limits, None, &rule, now());
        assert_eq!((first.pin.rung, first.wished), (1, None));
        delivered_in(&mut viewer, 200_000, Duration::from_millis(50));
        viewer.has(7, MediaTime::from_seconds(2.0), now());
        let ahead = viewer.decide(&offer(8), limits, None, &rule, now());
        assert_eq!((ahead.pin.rung, ahead.wished), (2, None), "2 s last");
        let slow = Limits {
            wait: Duration::from_secs(1),
            ..limits
        };
        let held = viewer.decide(&offer(9), slow, None, &rule, now());
        assert_eq!((held.pin.rung, held.pin.reason), (0, Reason::Absent));
        assert_eq!(held.wished, Some(2));
    }

    #[test]
    fn the_last_thirty_two_pins_are_kept_even_across_a_seek() {
        let (rule, mut viewer) = (Rate::default(), Viewer::new(None, now()));
        let numbers: Vec<u64> = (1000..1016).chain(10..26).collect();
        for number in numbers.iter().rev() {
            viewer.decide(&offer(*number), limited(2), None, &rule, now());
        }
        for number in &numbers {
            assert!(
                !viewer
                    .decide(&offer(*number), limited(2), None, &rule, now())
                    .pin
                    .fresh,
                "{number}"
            );
        }
        assert!(
            viewer
                .decide(&offer(0), limited(2), None, &rule, now())
                .pin
                .fresh
        );
        assert!(
            viewer
                .decide(&offer(25), limited(2), None, &rule, now())
                .pin
                .fresh,
            "the oldest made room"
        );
    }

    /// A part of four, of which only the cheapest rung begins with a key frame if it is not the first.
    fn part(number: u64, index: u8) -> Offer<'static> {
        let part = Part {
            index,
            of: 4,
            there: 1,
            open: if index == 0 { 3 } else { 1 },
            later: 1,
        };
        Offer {
            part: Some(part),
            ..offer(number)
        }
    }

    /// Wants one rung, whatever can be had.
    #[derive(Debug)]
    struct Wants(usize);

    impl Rule for Wants {
        fn name(&self) -> &'static str {
            "wants"
        }

        fn choose(&self, _: &Situation<'_>) -> Choice {
            Choice {
                rung: self.0,
                reason: Reason::Steady,
            }
        }
    }

    #[test]
    fn in_the_middle_of_a_segment_there_is_a_way_down_and_no_other() {
        let mut viewer = Viewer::new(None, now());
        let mut get = |number, index, wants, ceiling| {
            let (offer, limits) = (part(number, index), limited(ceiling));
            let decided = viewer.decide(&offer, limits, None, &Wants(wants), now());
            (decided.pin.rung, decided.pin.fresh)
        };
        assert_eq!(get(7, 0, 2, 2), (2, true));
        assert_eq!(
            get(7, 1, 1, 2),
            (2, true),
            "the middle rung does not begin here"
        );
        assert_eq!(get(7, 2, 2, 1), (2, true), "nor can a ceiling make it");
        assert_eq!(get(7, 3, 0, 2), (0, true), "the cheapest does");
        assert_eq!(get(8, 0, 1, 2), (1, true), "and a segment begins in any");
        for (index, rung) in [(0, 2), (1, 2), (2, 2), (3, 0)] {
            assert_eq!(
                get(7, index, 1, 0),
                (rung, false),
                "a retry of part {index}"
            );
        }
        let whole = viewer.decide(&offer(7), limited(0), None, &Wants(0), now());
        assert_eq!(whole.pin.rung, 2, "all of it is as it began");
        assert_eq!((viewer.switches(), viewer.current()), (2, Some(1)));
    }

    #[test]
    fn who_comes_in_the_middle_of_a_segment_gets_what_can_be_shown() {
        let mut viewer = Viewer::new(None, now());
        let mut get = |number, index| {
            let offer = part(number, index);
            viewer
                .decide(&offer, limited(2), None, &Wants(2), now())
                .pin
                .rung
        };
        assert_eq!((get(7, 2), get(7, 3), get(8, 0)), (0, 0, 2));
        assert_eq!(get(7, 1), 0, "what was before it goes with it");
    }

    #[test]
    fn a_part_that_was_broken_off_is_chosen_anew_and_those_before_it_stay() {
        let mut viewer = Viewer::new(None, now());
        for index in 0..3 {
            viewer.decide(&part(7, index), limited(2), None, &Wants(2), now());
        }
        let delivery = Delivery {
            number: 7,
            octets: 10_000,
            begins: MediaTime::ZERO,
            media: MediaTime::from_seconds(0.1),
            elapsed: Duration::from_secs(1),
            min_rtt: Duration::from_millis(1),
            capacity: None,
            receiver_limited: 0.0,
            complete: false,
        };
        viewer.abandoned(&delivery, Some(2), now());
        viewer.asked_anew(7, Some(1));
        let mut get = |index| {
            let decided = viewer.decide(&part(7, index), limited(2), None, &Wants(0), now());
            (decided.pin.rung, decided.pin.fresh)
        };
        assert_eq!(get(2), (2, false), "nobody asked for all of it again");
        viewer.asked_anew(7, Some(2));
        let mut get = |index| {
            let decided = viewer.decide(&part(7, index), limited(2), None, &Wants(0), now());
            (decided.pin.rung, decided.pin.fresh)
        };
        assert_eq!(get(2), (0, true));
        assert_eq!([get(0), get(1)], [(2, false), (2, false)]);
    }

    #[test]
    fn what_was_seen_before_a_long_pause_is_less_certain() {
        let mut viewer = Viewer::new(None, now());
        delivered_in(&mut viewer, 400_000, Duration::from_millis(500));
        let deviation = |seconds| {
            let at = now() + Duration::from_secs(seconds);
            viewer.estimate_at(at).map(|estimate| estimate.deviation)
        };
        assert_eq!(deviation(0), deviation(10));
        assert!(deviation(60) > deviation(10).map(|fresh| fresh + 0.2));
        assert_eq!(deviation(100_000), Some(1.0));
    }

    #[test]
    fn own_cap_is_the_top_until_something_is_known() {
        let viewer = Viewer::new(None, now());
        assert_eq!(viewer.own_cap(&rates()), 2);
        assert_eq!(viewer.own_cap(&rates()[..1]), 0);
        assert_eq!(viewer.own_cap(&[]), 0);
        let hinted = Viewer::new(Some(Bitrate::from_kbps(900)), now());
        assert!(hinted.own_cap(&rates()) < 2);
    }

    #[test]
    fn a_viewer_held_down_asks_for_one_rung_more_than_it_has() {
        let (rule, mut viewer) = (Rate::default(), Viewer::new(None, now()));
        viewer.decide(&offer(1), limited(0), None, &rule, now());
        delivered_in(&mut viewer, 100_000, Duration::from_millis(1500));
        viewer.decide(&offer(2), limited(0), None, &rule, now());
        assert_eq!(viewer.own_cap(&rates()), 1);
        viewer.decide(&offer(3), limited(2), None, &rule, now());
        assert_eq!(viewer.own_cap(&rates()), 0, "nothing held it any more");
    }

    #[test]
    fn nobody_demands_more_than_it_wants() {
        let (rule, mut viewer) = (Rate::default(), Viewer::new(None, now()));
        let modest = |number| Offer::new(number, &SIZES[..2], MediaTime::from_seconds(2.0));
        viewer.decide(&modest(1), limited(1), None, &rule, now());
        assert_eq!(viewer.own_cap(&rates()), 1);
        delivered_in(&mut viewer, 400_000, Duration::from_millis(50));
        viewer.decide(&modest(2), limited(1), None, &rule, now());
        assert_eq!(viewer.own_cap(&rates()), 1);
    }

    #[test]
    fn a_fixed_rung_is_kept_on_any_path_but_not_above_the_ceiling() {
        let mut viewer = Viewer::new(Some(Bitrate::from_kbps(100)), now());
        let pin = viewer
            .decide(&offer(1), limited(2), None, &Fixed, now())
            .pin;
        assert_eq!((pin.rung, pin.reason), (2, Reason::Fixed));
        assert_eq!(viewer.own_cap(&rates()), 2);
        let pin = viewer
            .decide(&offer(2), limited(1), None, &Fixed, now())
            .pin;
        assert_eq!((pin.rung, pin.reason), (1, Reason::Ceiling));
    }

    #[test]
    fn a_hundred_thousand_viewers_take_fifty_megabytes() {
        assert!(size_of::<Viewer>() <= 500, "{}", size_of::<Viewer>());
    }
}
