//! One viewer's state: what is known of its path, and which rung each of its segments was pinned to.
//!
//! A pin, once made, is repeated for every retry, range and part of that segment until it is
//! forgotten. Who the viewer is, when it was last seen and what it is sent are the origin's business.

use playlists::{Bitrate, MediaTime};

use crate::{
    rule::{self, Choice, Reason, Rule, Situation},
    throughput::{Delivery, Estimate, Evidence, Throughput},
};

/// A segment as it is offered to a viewer.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// True octets of the segment in every rung, cheapest first.
    pub sizes: &'a [u64],
    pub duration: MediaTime,
    /// Where a viewer of whom nothing is known begins.
    pub start: usize,
}

/// The rung of one segment for one viewer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pin {
    pub rung: usize,
    pub reason: Reason,
    /// Decided now, not repeated.
    pub fresh: bool,
}

/// Half a kilobyte: a node may hold 100,000.
#[derive(Clone, Debug)]
pub struct Viewer {
    throughput: Throughput,
    pins: Pins,
    last: Option<Last>,
    switches: u32,
}

/// The newest decision, and what bounded it.
#[derive(Clone, Copy, Debug)]
struct Last {
    choice: Choice,
    ceiling: usize,
    top: usize,
}

impl Viewer {
    /// `hint` is what another node knew of this viewer's path.
    pub fn new(hint: Option<Bitrate>) -> Self {
        Self {
            throughput: hint.map_or_else(Throughput::new, Throughput::with_hint),
            pins: Pins::default(),
            last: None,
            switches: 0,
        }
    }

    /// The rung of segment `number`: as pinned, else chosen by `rule` under `ceiling` and pinned.
    /// `in_flight` is the pace of a delivery to this viewer that is outstanding for long enough.
    pub fn decide(
        &mut self,
        number: u64,
        offer: &Offer<'_>,
        ceiling: usize,
        in_flight: Option<Bitrate>,
        rule: &dyn Rule,
    ) -> Pin {
        if let Some(Choice { rung, reason }) = self.pins.find(number) {
            return Pin {
                rung,
                reason,
                fresh: false,
            };
        }
        let top = offer.sizes.len().saturating_sub(1);
        let ceiling = ceiling.min(top);
        let mut choice = rule.choose(&Situation {
            number,
            sizes: offer.sizes,
            duration: offer.duration,
            estimate: self.estimate(),
            in_flight,
            previous: self.current(),
            ceiling,
            start: offer.start,
        });
        choice.rung = choice.rung.min(ceiling);
        self.switches += u32::from(self.current().is_some_and(|rung| rung != choice.rung));
        self.last = Some(Last {
            choice,
            ceiling,
            top,
        });
        self.pins.push(number, choice);
        Pin {
            rung: choice.rung,
            reason: choice.reason,
            fresh: true,
        }
    }

    /// The pin of a segment whose rung was told before it was asked for.
    pub fn repeat(&self, rung: usize) -> Pin {
        Pin {
            rung,
            reason: self.reason().unwrap_or(Reason::Steady),
            fresh: false,
        }
    }

    /// Learns from a delivery; returns what was taken from it.
    pub fn delivered(&mut self, delivery: &Delivery) -> Option<Evidence> {
        self.throughput.observe(delivery)
    }

    pub fn estimate(&self) -> Option<Estimate> {
        self.throughput.estimate()
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

/// What a viewer would take if it were alone. Small, so that a node can keep those of all its
/// viewers side by side and go through them at every sharing of its egress.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wish {
    /// What its path carries safely, in bit/s; 0 if nothing is known of it.
    room: u32,
    /// The rung that it has.
    has: u8,
    /// It stands at a ceiling.
    held: bool,
    /// The highest rung that is offered to it, which its own wish may have bounded.
    most: u8,
}

impl Wish {
    /// The highest of the rungs with these rates, cheapest first, that the viewer's path would allow.
    ///
    /// A viewer of whom nothing is known may turn out to have any path within a second, and the
    /// budget has to hold then too: it counts for the dearest rung.
    ///
    /// Never below what the viewer has. Where it stands at a ceiling, its path was measured as a
    /// share of the node's and may carry more, so one rung more is demanded than was seen. But
    /// never more than what is offered to it.
    pub fn cap(self, rates: &[Bitrate]) -> usize {
        let top = rates.len().saturating_sub(1).min(self.most.into());
        if self.room == 0 {
            return top;
        }
        let room = Bitrate::from_bps(self.room.into());
        let seen = rates.iter().rposition(|rate| *rate <= room).unwrap_or(0);
        let seen = seen.max(self.has.into());
        (seen + usize::from(self.held)).min(top)
    }

    /// In 49 bits.
    pub fn to_bits(self) -> u64 {
        let (has, most) = (u64::from(self.has) << 32, u64::from(self.most) << 40);
        u64::from(self.room) | has | most | u64::from(self.held) << 48
    }

    /// Of what [`Wish::to_bits`] gave; higher bits do not matter.
    pub fn from_bits(bits: u64) -> Self {
        Self {
            room: bits as u32,
            has: (bits >> 32) as u8,
            most: (bits >> 40) as u8,
            held: bits & (1 << 48) != 0,
        }
    }
}

/// The last [`KEPT`] pins in the order of their making: a player that seeks comes back to numbers
/// far from the newest, so this is not a window of numbers.
#[derive(Clone, Debug)]
struct Pins {
    numbers: [u64; KEPT],
    choices: [(u8, Reason); KEPT],
    made: usize,
}

impl Pins {
    fn find(&self, number: u64) -> Option<Choice> {
        let live = self.made.min(KEPT);
        let at = self.numbers[..live]
            .iter()
            .position(|pinned| *pinned == number)?;
        let (rung, reason) = self.choices[at];
        Some(Choice {
            rung: rung.into(),
            reason,
        })
    }

    fn push(&mut self, number: u64, choice: Choice) {
        let at = self.made % KEPT;
        self.numbers[at] = number;
        self.choices[at] = (u8::try_from(choice.rung).unwrap_or(u8::MAX), choice.reason);
        self.made += 1;
    }
}

impl Default for Pins {
    fn default() -> Self {
        Self {
            numbers: [0; KEPT],
            choices: [(0, Reason::Start); KEPT],
            made: 0,
        }
    }
}

/// More than any player retries; a window of 32 two-second segments is over a minute.
const KEPT: usize = 32;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rule::{Fixed, Rate};

    const SIZES: [u64; 3] = [100_000, 200_000, 400_000];

    fn offer() -> Offer<'static> {
        Offer {
            sizes: &SIZES,
            duration: MediaTime::from_seconds(2.0),
            start: 1,
        }
    }

    fn rates() -> [Bitrate; 3] {
        SIZES.map(|octets| Bitrate::of(octets, Duration::from_secs(2)))
    }

    fn delivered_in(viewer: &mut Viewer, octets: u64, elapsed: Duration) {
        let media = MediaTime::from_seconds(2.0);
        let min_rtt = Duration::from_millis(1);
        viewer.delivered(&Delivery {
            octets,
            media,
            elapsed,
            min_rtt,
            capacity: None,
            receiver_limited: 0.0,
            complete: true,
        });
    }

    #[test]
    fn a_pin_outlives_every_change_of_mind() {
        let (rule, mut viewer) = (Rate::default(), Viewer::new(None));
        let first = viewer.decide(7, &offer(), 2, None, &rule);
        assert_eq!(
            first,
            Pin {
                rung: 1,
                reason: Reason::Start,
                fresh: true
            }
        );
        delivered_in(&mut viewer, 200_000, Duration::from_millis(50));
        assert_eq!(viewer.decide(8, &offer(), 2, None, &rule).rung, 2);
        for _ in 0..3 {
            assert_eq!(
                viewer.decide(7, &offer(), 0, None, &rule),
                Pin {
                    fresh: false,
                    ..first
                }
            );
        }
        assert_eq!((viewer.current(), viewer.switches()), (Some(2), 1));
    }

    #[test]
    fn the_last_thirty_two_pins_are_kept_even_across_a_seek() {
        let (rule, mut viewer) = (Rate::default(), Viewer::new(None));
        let numbers: Vec<u64> = (1000..1016).chain(10..26).collect();
        for number in numbers.iter().rev() {
            viewer.decide(*number, &offer(), 2, None, &rule);
        }
        for number in &numbers {
            assert!(
                !viewer.decide(*number, &offer(), 2, None, &rule).fresh,
                "{number}"
            );
        }
        assert!(viewer.decide(0, &offer(), 2, None, &rule).fresh);
        assert!(
            viewer.decide(25, &offer(), 2, None, &rule).fresh,
            "the oldest made room"
        );
    }

    #[test]
    fn own_cap_is_the_top_until_something_is_known() {
        let viewer = Viewer::new(None);
        assert_eq!(viewer.own_cap(&rates()), 2);
        assert_eq!(viewer.own_cap(&rates()[..1]), 0);
        assert_eq!(viewer.own_cap(&[]), 0);
        let hinted = Viewer::new(Some(Bitrate::from_kbps(900)));
        assert!(hinted.own_cap(&rates()) < 2);
    }

    #[test]
    fn a_viewer_held_down_asks_for_one_rung_more_than_it_has() {
        let (rule, mut viewer) = (Rate::default(), Viewer::new(None));
        viewer.decide(1, &offer(), 0, None, &rule);
        delivered_in(&mut viewer, 100_000, Duration::from_millis(1500));
        viewer.decide(2, &offer(), 0, None, &rule);
        assert_eq!(viewer.own_cap(&rates()), 1);
        viewer.decide(3, &offer(), 2, None, &rule);
        assert_eq!(viewer.own_cap(&rates()), 0, "nothing held it any more");
    }

    #[test]
    fn nobody_demands_more_than_it_wants() {
        let (rule, mut viewer) = (Rate::default(), Viewer::new(None));
        let modest = Offer {
            sizes: &SIZES[..2],
            ..offer()
        };
        viewer.decide(1, &modest, 1, None, &rule);
        assert_eq!(viewer.own_cap(&rates()), 1);
        delivered_in(&mut viewer, 400_000, Duration::from_millis(50));
        viewer.decide(2, &modest, 1, None, &rule);
        assert_eq!(viewer.own_cap(&rates()), 1);
    }

    #[test]
    fn a_fixed_rung_is_kept_on_any_path_but_not_above_the_ceiling() {
        let mut viewer = Viewer::new(Some(Bitrate::from_kbps(100)));
        let pin = viewer.decide(1, &offer(), 2, None, &Fixed);
        assert_eq!((pin.rung, pin.reason), (2, Reason::Fixed));
        assert_eq!(viewer.own_cap(&rates()), 2);
        let pin = viewer.decide(2, &offer(), 1, None, &Fixed);
        assert_eq!((pin.rung, pin.reason), (1, Reason::Ceiling));
    }

    #[test]
    fn a_wish_survives_being_packed() {
        for (room, has, most, held) in [
            (0, 0, 255, false),
            (1, 255, 0, true),
            (u32::MAX, 7, 9, false),
        ] {
            let wish = Wish {
                room,
                has,
                held,
                most,
            };
            assert_eq!(Wish::from_bits(wish.to_bits()), wish);
            assert_eq!(Wish::from_bits(wish.to_bits() | 0xff << 49), wish);
        }
    }

    #[test]
    fn a_hundred_thousand_viewers_take_fifty_megabytes() {
        assert!(size_of::<Viewer>() <= 500, "{}", size_of::<Viewer>());
    }
}
