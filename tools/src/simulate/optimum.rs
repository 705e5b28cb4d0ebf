//! The best that a viewer could have had who knew the path beforehand: dynamic programming over segments,
//! lateness and rungs, for the linear QoE over bitrates. Beside it who knows only the next seconds of the path, and plans
//! anew with each segment, as model-predictive control would with a perfect forecast (Yin et al. 2015): what is between
//! the two no forecast of so far would bring.
//!
//! All that was lost of the playback by some time is how late the latest segment until then was against a
//! playhead that never stops. So it takes, besides the time and the last rung, the lateness until now.
//! Times are rounded up to a grid: the plan can be kept, and what it is worth in the simulation is never
//! less than was reckoned. That is also why it may be missed by what the grid costs.

use std::collections::BTreeMap;

use super::{
    link::{Connection, Link},
    single::{Occasion, Setting},
    stream::Stream,
    trace::Cursor,
};

/// After a segment: when the next can be asked for is the key that it is kept under.
#[derive(Clone, Copy, Debug)]
struct State {
    /// Quality less its changes.
    gained: f64,
    /// Seconds without a picture until now.
    lost: f64,
    /// Where in `steps`.
    step: usize,
}

/// For each rung of the last segment, what none other is better than.
type Cell = Vec<Vec<State>>;

struct Search<'a> {
    stream: &'a Stream,
    setting: &'a Setting,
    occasion: &'a Occasion,
    /// Mbit/s of each rung.
    quality: Vec<f64>,
    /// What a second without a picture costs.
    mu: f64,
    first: u64,
    /// The rung before the first that is planned.
    before: Option<usize>,
    /// Each state's rung, and the state before.
    steps: Vec<(usize, u8)>,
}

/// Where a plan begins.
struct Start {
    number: u64,
    /// When it is asked for.
    asked: f64,
    /// Seconds without a picture until then.
    lost: f64,
}

/// The rungs to be asked for, one after the other.
pub fn plan(stream: &Stream, setting: &Setting, occasion: &Occasion) -> Vec<usize> {
    let search = Search::new(stream, setting, occasion, None);
    let start = Start {
        number: search.first,
        asked: occasion.joined + 2.0 * setting.rtt,
        lost: 0.0,
    };
    let cursor = occasion.trace.cursor(occasion.joined, occasion.offset);
    search.run(&start, cursor, occasion.joined + setting.seconds)
}

/// Knows the path for so many seconds ahead.
#[derive(Debug)]
pub struct Foresight {
    seconds: f64,
    setting: Setting,
    occasion: Occasion,
    cursor: Cursor,
    before: Option<usize>,
}

impl Foresight {
    pub fn new(seconds: f64, setting: &Setting, occasion: &Occasion) -> Self {
        Self {
            seconds,
            setting: setting.clone(),
            occasion: occasion.clone(),
            cursor: occasion.trace.cursor(occasion.joined, occasion.offset),
            before: None,
        }
    }

    /// The rung of `number`, whose request has arrived by `now`, of a viewer who was without a picture for `lost` seconds.
    pub fn next(&mut self, stream: &Stream, number: u64, lost: f64, now: f64) -> usize {
        self.cursor.go(now);
        let search = Search::new(stream, &self.setting, &self.occasion, self.before);
        let asked = now - self.setting.rtt / 2.0;
        let start = Start {
            number,
            asked,
            lost,
        };
        let over = self.occasion.joined + self.setting.seconds;
        // One segment at least, however late it is.
        let end = (now + self.seconds)
            .min(over)
            .max(search.known(number) + GRID);
        let rung = search.run(&start, self.cursor.clone(), end);
        let rung = rung.first().copied().unwrap_or(0);
        self.before = Some(rung);
        rung
    }
}

impl<'a> Search<'a> {
    fn new(
        stream: &'a Stream,
        setting: &'a Setting,
        occasion: &'a Occasion,
        before: Option<usize>,
    ) -> Self {
        let quality: Vec<f64> = stream.rates.iter().map(|rate| rate / 1e6).collect();
        Self {
            stream,
            setting,
            occasion,
            mu: quality[stream.top()],
            quality,
            first: setting.habits.first(stream, occasion.joined),
            before,
            steps: Vec::new(),
        }
    }

    /// Of all segments that are known of before `end`; `cursor` is at the start or before it.
    fn run(mut self, start: &Start, mut cursor: Cursor, end: f64) -> Vec<usize> {
        let rtt = self.setting.rtt;
        // Asked for in cells of time after the segment is known, or after joining.
        let mut number = start.number;
        let mut cells: BTreeMap<u32, Cell> = BTreeMap::new();
        let root = State {
            gained: 0.0,
            lost: start.lost,
            step: usize::MAX,
        };
        let wait = start.asked - self.known(number);
        cells.insert(cell(wait), vec![vec![root]]);
        while self.known(number) < end {
            let mut next = BTreeMap::new();
            // Within a segment from cell to cell; the next begins before the last of these.
            let mut ahead: Option<Cursor> = None;
            for (at, from) in &cells {
                let asked = self.known(number) + f64::from(*at) * GRID;
                let begins = asked + rtt / 2.0;
                ahead.get_or_insert_with(|| {
                    cursor.go(begins);
                    cursor.clone()
                });
                if let Some(cursor) = &mut ahead {
                    cursor.go(begins);
                    self.expand(number, begins, from, cursor, &mut next);
                }
            }
            number += 1;
            let earliest = next.keys().next().copied().unwrap_or(0);
            next.retain(|at, _| *at <= earliest + WIDEST);
            cells = next;
        }
        let worth = |state: &State| state.gained - self.mu * state.lost;
        let all = cells.values().flatten().flatten();
        let best = all.max_by(|a, b| worth(a).total_cmp(&worth(b)));
        let mut plan = Vec::new();
        let mut step = best.map_or(usize::MAX, |state| state.step);
        while let Some((before, rung)) = self.steps.get(step) {
            plan.push(usize::from(*rung));
            step = *before;
        }
        plan.reverse();
        plan
    }

    /// From all states whose request for `number` arrives at the time `begins`, where `cursor` is.
    fn expand(
        &mut self,
        number: u64,
        begins: f64,
        from: &Cell,
        cursor: &Cursor,
        next: &mut BTreeMap<u32, Cell>,
    ) {
        let rtt = self.setting.rtt;
        let mut connection = Connection::new(rtt, f64::INFINITY, self.setting.restarts);
        if number > self.first {
            connection.warm(cursor.now().0);
        }
        // A playhead that never stops would be at this segment by then.
        let needed = self.occasion.joined + (number - self.first) as f64 * self.stream.duration;
        for rung in 0..self.stream.rungs() {
            let octets = self.stream.sizes(number)[rung];
            let sent =
                Link::at(cursor.clone(), begins).alone(octets, connection, begins + GIVEN_UP);
            let arrives = sent + rtt / 2.0;
            let late = arrives - needed;
            let to = next
                .entry(cell(arrives - self.known(number + 1)))
                .or_insert_with(|| vec![Vec::new(); self.stream.rungs()]);
            for (previous, states) in from.iter().enumerate() {
                for state in states {
                    let previous = match state.step {
                        usize::MAX => self.before,
                        _ => Some(previous),
                    };
                    let change = |previous: usize| self.quality[rung] - self.quality[previous];
                    let changed = previous.map_or(0.0, |previous| change(previous).abs());
                    let state = State {
                        gained: state.gained + self.quality[rung] - changed,
                        lost: state.lost.max(late),
                        step: state.step,
                    };
                    if keep(&mut to[rung], state, self.mu, self.steps.len()) {
                        self.steps.push((state.step, rung as u8));
                    }
                }
            }
        }
    }

    fn known(&self, number: u64) -> f64 {
        self.stream.published(number, self.stream.parts - 1) + self.setting.rtt / 2.0
    }
}

/// Adds `state` unless another is as good in all; says whether it did, as the one whose step is `step`.
fn keep(states: &mut Vec<State>, state: State, mu: f64, step: usize) -> bool {
    // To have lost more is better where all else is the same: what is to come is lost already.
    let worth = |state: &State| state.gained - mu * state.lost;
    let beats = |a: &State, b: &State| worth(a) >= worth(b) && a.lost >= b.lost - GRID / 2.0;
    if states.iter().any(|other| beats(other, &state)) {
        return false;
    }
    states.retain(|other| !beats(&state, other));
    states.push(State { step, ..state });
    if states.len() > ALIKE {
        let worst = states
            .iter()
            .enumerate()
            .min_by(|a, b| worth(a.1).total_cmp(&worth(b.1)));
        if let Some((worst, _)) = worst {
            states.swap_remove(worst);
        }
    }
    true
}

/// The first cell at or after so many seconds.
fn cell(seconds: f64) -> u32 {
    (seconds / GRID - 1e-6).ceil().max(0.0) as u32
}

/// Seconds.
const GRID: f64 = 0.1;

/// States later than the earliest by more cells are not followed.
const WIDEST: u32 = 150;

/// States of one cell and rung.
const ALIKE: usize = 4;

/// Seconds after which nobody waits for a segment.
const GIVEN_UP: f64 = 1e4;
