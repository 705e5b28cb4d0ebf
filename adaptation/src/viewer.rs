//! One viewer's state: what is known of its path, and which rung each of its segments was pinned to.
//!
//! A pin, once made, is repeated for every retry, range and part of that segment until it is
//! forgotten. Who the viewer is, when it was last seen and what it is sent are the origin's business.

use playlists::{Bitrate, MediaTime};

use crate::{
    rule::{Choice, Reason, Rule, Situation},
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

    /// The highest rung that this viewer's own path would allow, for the allocator's demand.
    /// `rates` are the rungs', cheapest first.
    ///
    /// Never below what the viewer has. Where it stands at a ceiling, its path was measured as a
    /// share of the node's and may carry more, so one rung more is demanded than was seen.
    pub fn own_cap(&self, rates: &[Bitrate]) -> usize {
        let top = rates.len().saturating_sub(1);
        let current = self.current().unwrap_or(FIRST);
        let seen = match self.estimate() {
            Some(known) => {
                let room = known.rate.scale(SHARE);
                rates
                    .iter()
                    .rposition(|rate| *rate <= room)
                    .unwrap_or(0)
                    .max(self.current().unwrap_or(0))
            }
            None => current,
        };
        let held = self
            .last
            .is_some_and(|last| last.choice.rung >= last.ceiling && last.ceiling < last.top);
        (seen + usize::from(held)).min(top)
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

/// Where a viewer begins of whom nothing is known: the second rung.
const FIRST: usize = 1;

/// Of the estimate, what a rung may take: as the default rule has it.
const SHARE: f64 = 0.85;
