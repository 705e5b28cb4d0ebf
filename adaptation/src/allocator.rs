//! How a node's egress budget is shared: one price for all, and from it a ceiling for each viewer.
//!
//! Maximises the sum of `weight * utility` over all viewers while their rates sum to no more than
//! the budget; the utility of a rung is the logarithm of its rate, unless it is known how good it looks. Going up one
//! rung is a step with a gain and a cost; because the utility is concave, or made so, taking all viewers' steps in the order of falling gain per cost (the slope) until the budget is
//! full is the optimum of the linear relaxation, and the slope at which it became full is the price.
//! The critical steps, which not everybody can have, go to as many viewers as fit *exactly*, in the
//! order of the viewers' places on a circle; where on the circle that begins moves with the turn, so
//! that over the turns all have their share of it.
//!
//! Knows of viewers only a key and the rung that their own path allows. Counting them, and holding
//! them to their ceilings, is the origin's business; so is refusing whom even the cheapest rung is
//! too much for.

mod circle;

use playlists::Bitrate;

use self::circle::{Arc, Grant, Taker, place};

/// Viewers with the same ladder and weight, usually those of one stream.
#[derive(Clone, Debug, Default)]
pub struct Class {
    /// Measured rate of each rung, cheapest first. Smooth them: they move ceilings.
    pub rates: Vec<Bitrate>,
    /// How much each rung is worth to who watches it, in units of what e times the rate brings; empty: the
    /// logarithm of its rate.
    pub worth: Vec<f32>,
    /// How much a viewer here counts against one elsewhere; 1 is usual.
    pub weight: f64,
    pub viewers: Vec<Demand>,
}

/// One viewer's part in the demand.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// The same at every tick: any stable number of the viewer, such as a hash of its id.
    pub key: u64,
    /// The highest rung that its own path allows.
    pub cap: usize,
}

/// The node's egress budget, and how it was shared last.
///
/// Each tick the node walks its viewers into classes ([`crate::Viewer::own_cap`] is the cap), calls
/// [`Allocator::allocate`], and holds each to [`Allocation::ceiling`] until the next.
#[derive(Clone, Debug)]
pub struct Allocator {
    /// What the node may send; `None` is unlimited.
    pub budget: Option<Bitrate>,
    /// The share of the budget to hand out. The rest is for playlists, retransmissions, headers
    /// and for those who join between two ticks.
    pub eta: f64,
    last: Option<(u64, Allocation)>,
}

/// What came of it: ceilings, valid until the next. The default holds nobody down.
#[derive(Clone, Debug)]
pub struct Allocation {
    /// The congestion price: the utility per Mbit/s that the first step not granted to all would
    /// have brought. 0 when nobody is held down.
    pub price: f64,
    /// Share of the viewers at the critical step who have it in this turn; 1 when nobody is held down.
    pub fraction: f64,
    /// Everybody at their own cap.
    pub demand: Bitrate,
    /// Everybody at the lower of ceiling and own cap.
    pub granted: Bitrate,
    /// Even with everybody at the cheapest rung the budget is exceeded.
    pub overload: bool,
    bounds: Vec<Bounds>,
    arc: Option<Arc>,
}

impl Allocator {
    pub fn new(budget: Option<Bitrate>) -> Self {
        Self {
            budget,
            eta: ETA,
            last: None,
        }
    }

    /// Shares the budget among `classes`, which come in the same order at every tick. `turn` counts
    /// up, say every 60 s; with each, the critical step passes on from a seventh of the viewers to
    /// others.
    ///
    /// Within a turn, ceilings that still fit are kept until a tighter budget would give more, so that
    /// measured rates that tremble move nobody. O(viewers), and a sort of those at the critical step.
    pub fn allocate(&mut self, classes: &[Class], turn: u64) -> Allocation {
        let crowd = Crowd::of(classes);
        let budget = self
            .budget
            .map_or(u128::MAX, |budget| budget.scale(self.eta).bps().into());
        let allocation = match self.last.take() {
            Some((then, last)) if then == turn => crowd.keep(last, budget, turn),
            _ => crowd.share(budget, turn),
        };
        self.last = Some((turn, allocation.clone()));
        allocation
    }
}

impl Allocation {
    /// The highest rung for the viewer `key` of the class at `class` of those that were allocated.
    /// O(1). A class that was not there is not held down, nor are those who joined since then
    /// beyond what holds for their class.
    pub fn ceiling(&self, class: usize, key: u64) -> usize {
        match self.bounds.get(class) {
            Some(bounds)
                if bounds.best > bounds.sure
                    && self.arc.is_some_and(|arc| arc.holds(place(key))) =>
            {
                bounds.best
            }
            Some(bounds) => bounds.sure,
            None => usize::MAX,
        }
    }
}

impl Default for Allocation {
    fn default() -> Self {
        Self {
            price: 0.0,
            fraction: 1.0,
            demand: Bitrate::ZERO,
            granted: Bitrate::ZERO,
            overload: false,
            bounds: Vec::new(),
            arc: None,
        }
    }
}

/// The ceilings of a class: for all, and for those to whom the critical steps went.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    sure: usize,
    best: usize,
}

impl Bounds {
    fn all(rung: usize) -> Self {
        Self {
            sure: rung,
            best: rung,
        }
    }
}

/// A class, counted.
struct Shape {
    weight: f64,
    /// What a viewer costs who may go up to this rung: the dearest of those up to it, in bit/s. It
    /// never falls.
    costs: Vec<u64>,
    /// What such a viewer has of it: by what is known of the rungs, else the logarithm of the cost.
    utility: Vec<f64>,
    /// How many viewers' own paths allow this rung.
    reached: Vec<u128>,
}

impl Shape {
    fn of(class: &Class) -> Self {
        let costs: Vec<u64> = class
            .rates
            .iter()
            .scan(CHEAPEST, |dearest, rate| {
                *dearest = (*dearest).max(rate.bps());
                Some(*dearest)
            })
            .collect();
        let mut reached = vec![0; costs.len()];
        for viewer in &class.viewers {
            if let Some(count) = reached.get_mut(viewer.cap.min(costs.len().saturating_sub(1))) {
                *count += 1;
            }
        }
        for rung in (1..reached.len()).rev() {
            reached[rung - 1] += reached[rung];
        }
        let weight = if class.weight.is_nan() {
            1.0
        } else {
            class.weight.clamp(LIGHTEST, HEAVIEST)
        };
        let utility = if class.worth.len() == costs.len() {
            class.worth.iter().copied().map(f64::from).collect()
        } else {
            costs.iter().map(|cost| (*cost as f64).ln()).collect()
        };
        Self {
            weight,
            costs,
            utility,
            reached,
        }
    }

    /// Utility per Mbit/s of each step from rung to rung, after the upper concave hull: a step that brings more for
    /// its cost than those before it goes with them, as does one that costs nothing.
    fn slopes(&self) -> Vec<f64> {
        // Gain, cost, and how many steps go together.
        let mut hull: Vec<(f64, u64, usize)> = Vec::new();
        let slope = |(gain, cost, _): (f64, u64, usize)| match cost {
            0 => f64::MAX,
            cost => self.weight * gain * 1e6 / cost as f64,
        };
        for (cost, utility) in self.costs.windows(2).zip(self.utility.windows(2)) {
            let mut step = ((utility[1] - utility[0]).max(0.0), cost[1] - cost[0], 1);
            while let Some(before) = hull.pop_if(|before| slope(*before) < slope(step)) {
                step = (before.0 + step.0, before.1 + step.1, before.2 + step.2);
            }
            hull.push(step);
        }
        let all = hull.into_iter();
        all.flat_map(|run| std::iter::repeat_n(slope(run), run.2))
            .collect()
    }

    fn top(&self) -> usize {
        self.costs.len().saturating_sub(1)
    }

    fn cost(&self, rung: usize) -> u64 {
        self.costs.get(rung.min(self.top())).copied().unwrap_or(0)
    }

    /// With everybody at the cheapest rung.
    fn floor(&self) -> u128 {
        self.reached
            .first()
            .map_or(0, |viewers| viewers * u128::from(self.cost(0)))
    }
}

/// All who are to be served, counted.
struct Crowd<'a> {
    classes: &'a [Class],
    shapes: Vec<Shape>,
    steps: Vec<Step>,
    /// Everybody at the cheapest rung, and everybody at their own cap, in bit/s.
    floor: u128,
    demand: u128,
}

impl<'a> Crowd<'a> {
    fn of(classes: &'a [Class]) -> Self {
        let shapes: Vec<Shape> = classes.iter().map(Shape::of).collect();
        let steps = steps(&shapes);
        let floor = shapes.iter().map(Shape::floor).sum();
        let demand = floor + steps.iter().map(|step| step.cost).sum::<u128>();
        Self {
            classes,
            shapes,
            steps,
            floor,
            demand,
        }
    }

    /// The last allocation while it fits and one that leaves something over gives no more.
    fn keep(&self, last: Allocation, budget: u128, turn: u64) -> Allocation {
        let spent = self.cost(&last);
        if last.bounds.len() != self.classes.len() || spent > budget {
            return self.share(budget, turn);
        }
        if spent == self.demand {
            return self.open();
        }
        let tighter = self.share(budget - budget / SPARE, turn);
        if tighter.granted > rate(spent) {
            return tighter;
        }
        Allocation {
            demand: rate(self.demand),
            granted: rate(spent),
            overload: false,
            ..last
        }
    }

    fn share(&self, budget: u128, turn: u64) -> Allocation {
        if self.demand <= budget {
            return self.open();
        }
        let mut bounds = vec![Bounds::all(0); self.shapes.len()];
        let mut spent = self.floor;
        let mut price = 0.0;
        let mut critical = Grant::NONE;
        for run in alike(&self.steps) {
            let whole: u128 = run.iter().map(|step| step.cost).sum();
            for step in run {
                bounds[step.class].best = step.rung;
            }
            if spent + whole > budget {
                price = run[0].slope;
                critical = Grant::of(self.takers(&bounds), budget.saturating_sub(spent), turn);
                break;
            }
            spent += whole;
            bounds
                .iter_mut()
                .for_each(|bounds| bounds.sure = bounds.best);
        }
        Allocation {
            price,
            fraction: critical.fraction,
            demand: rate(self.demand),
            granted: rate(spent + critical.cost),
            overload: self.floor > budget,
            bounds,
            arc: critical.arc,
        }
    }

    /// Nobody is held down.
    fn open(&self) -> Allocation {
        Allocation {
            demand: rate(self.demand),
            granted: rate(self.demand),
            bounds: self
                .shapes
                .iter()
                .map(|shape| Bounds::all(shape.top()))
                .collect(),
            ..Allocation::default()
        }
    }

    /// Those who may have the critical steps of their class, as far as their own paths allow.
    fn takers(&self, bounds: &[Bounds]) -> Vec<Taker> {
        let mut takers = Vec::new();
        for ((class, shape), bounds) in self.classes.iter().zip(&self.shapes).zip(bounds) {
            let has = shape.cost(bounds.sure);
            for viewer in &class.viewers {
                let cost = shape.cost(viewer.cap.min(bounds.best)).saturating_sub(has);
                if cost > 0 {
                    takers.push(Taker {
                        place: place(viewer.key),
                        cost: cost.into(),
                    });
                }
            }
        }
        takers
    }

    /// What these viewers take under the ceilings of `allocation`, in bit/s.
    fn cost(&self, allocation: &Allocation) -> u128 {
        let mut cost = 0;
        for (index, (class, shape)) in self.classes.iter().zip(&self.shapes).enumerate() {
            for viewer in &class.viewers {
                cost +=
                    u128::from(shape.cost(viewer.cap.min(allocation.ceiling(index, viewer.key))));
            }
        }
        cost
    }
}

/// From one rung to the next, for all viewers of a class whose own paths allow it.
struct Step {
    class: usize,
    rung: usize,
    /// Utility per Mbit/s.
    slope: f64,
    cost: u128,
}

/// All steps by falling slope; those of one class in their order.
fn steps(shapes: &[Shape]) -> Vec<Step> {
    let mut steps = Vec::new();
    for (class, shape) in shapes.iter().enumerate() {
        for (rung, slope) in (1..).zip(shape.slopes()) {
            let cost = shape.costs[rung] - shape.costs[rung - 1];
            steps.push(Step {
                class,
                rung,
                slope,
                cost: shape.reached[rung] * u128::from(cost),
            });
        }
    }
    steps.sort_by(|a, b| {
        b.slope
            .total_cmp(&a.slope)
            .then(a.class.cmp(&b.class))
            .then(a.rung.cmp(&b.rung))
    });
    steps
}

/// Runs of steps whose slopes are about that of the run's first. Of these none goes first: else all
/// viewers of one stream were served before any of another's, and noise in the measured rates would
/// swap the two.
fn alike(mut steps: &[Step]) -> impl Iterator<Item = &[Step]> {
    std::iter::from_fn(move || {
        let least = steps.first()?.slope * ALIKE;
        let (run, rest) = steps.split_at(steps.partition_point(|step| step.slope >= least));
        steps = rest;
        Some(run)
    })
}

fn rate(bps: u128) -> Bitrate {
    Bitrate::from_bps(u64::try_from(bps).unwrap_or(u64::MAX))
}

const ETA: f64 = 0.97;

/// One part in so many is left over where an allocation is to change within a turn.
const SPARE: u128 = 50;

/// Slopes within this factor of one another are alike.
const ALIKE: f64 = 0.9;

/// So that a rung not measured yet has a logarithm, in bit/s.
const CHEAPEST: u64 = 1000;

const LIGHTEST: f64 = 1e-3;
const HEAVIEST: f64 = 1e3;
