//! What regions and nodes were like, for charts: the last quarter of an hour in steps of two seconds, the last day in
//! steps of a minute. A step keeps the most that was seen in it, so that no peak is lost.
//!
//! In memory only, and bounded: of regions and of nodes [`MOST`] each; who has been gone for longest gives way.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant, SystemTime},
};

use serde::{Deserialize, Serialize};
use tokio::time::{Interval, MissedTickBehavior, interval_at};
use utoipa::ToSchema;

use super::view::{self, Overview};

/// How far back, and how closely.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, ToSchema)]
pub(super) enum Span {
    #[default]
    #[serde(rename = "15m")]
    Quarter,
    #[serde(rename = "24h")]
    Day,
}

/// Both spans of everything.
#[derive(Debug)]
pub(super) struct Past {
    quarter: Tables,
    day: Tables,
}

#[derive(Debug)]
struct Tables {
    regions: Table,
    nodes: Table,
    all: Table,
}

/// Columns of one length, whose last step is now.
#[derive(Debug)]
struct Table {
    step: Duration,
    keep: usize,
    slot: u64,
    length: usize,
    columns: BTreeMap<String, Column>,
}

#[derive(Debug)]
struct Column {
    /// When it was heard last.
    slot: u64,
    steps: VecDeque<Step>,
}

/// Three values of one moment; NaN is nothing.
type Step = [f32; 3];

/// What is drawn.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Past)]
pub(super) struct Told {
    interval_s: f64,
    /// Of the last step.
    until: String,
    regions: BTreeMap<String, RegionTold>,
    nodes: BTreeMap<String, NodeTold>,
    all: AllTold,
}

#[derive(Debug, Serialize, ToSchema)]
struct RegionTold {
    viewers: Vec<Option<u64>>,
    on_relays: Vec<Option<u64>>,
    egress_bps: Vec<Option<u64>>,
}

#[derive(Debug, Serialize, ToSchema)]
struct NodeTold {
    viewers: Vec<Option<u64>>,
    egress_bps: Vec<Option<u64>>,
    price: Vec<Option<f32>>,
}

#[derive(Debug, Serialize, ToSchema)]
struct AllTold {
    viewers: Vec<Option<u64>>,
    relays: Vec<Option<u64>>,
    egress_bps: Vec<Option<u64>>,
}

impl Past {
    pub(super) fn new() -> Self {
        Self {
            quarter: Tables::new(STEP, 450),
            day: Tables::new(Duration::from_secs(60), 1440),
        }
    }

    /// When it wants to be told, by a manager that was started then: as each step begins. Who comes late to one comes to the
    /// next in time, so that none is left out.
    pub(super) fn steps(started: Instant) -> Interval {
        let mut steps = interval_at(started.into(), STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Skip);
        steps
    }

    /// As it is `now`, which is the time since this manager was started.
    pub(super) fn note(&mut self, overview: &Overview, now: Duration) {
        for tables in [&mut self.quarter, &mut self.day] {
            tables.note(overview, now);
        }
    }

    pub(super) fn tell(&self, span: Span) -> Told {
        match span {
            Span::Quarter => self.quarter.tell(),
            Span::Day => self.day.tell(),
        }
    }
}

impl Tables {
    fn new(step: Duration, keep: usize) -> Self {
        let table = || Table {
            step,
            keep,
            slot: 0,
            length: 0,
            columns: BTreeMap::new(),
        };
        Self {
            regions: table(),
            nodes: table(),
            all: table(),
        }
    }

    fn note(&mut self, overview: &Overview, now: Duration) {
        for table in [&mut self.regions, &mut self.nodes, &mut self.all] {
            table.advance(now);
        }
        for region in &overview.regions {
            let step = [
                region.viewers as f32,
                region.on_relays as f32,
                region.egress_bps as f32,
            ];
            self.regions.put(&region.region, step);
        }
        let mut all = [0.0; 3];
        for node in &overview.nodes {
            let (viewers, egress) = (node.viewers as f32, node.egress_bps as f32);
            self.nodes
                .put(&node.node, [viewers, egress, node.price as f32]);
            let works =
                node.kind == "relay" && (node.state == "active" || node.state == "draining");
            all = [
                all[0] + viewers,
                all[1] + f32::from(u8::from(works)),
                all[2] + egress,
            ];
        }
        self.all.put("", all);
    }

    fn tell(&self) -> Told {
        let whole = |column: &Column, i: usize| {
            let steps = column.steps.iter();
            // Whole and not negative: made from such.
            steps
                .map(|step| step[i].is_finite().then_some(step[i] as u64))
                .collect::<Vec<_>>()
        };
        let regions = self.regions.columns.iter().map(|(name, column)| {
            let told = RegionTold {
                viewers: whole(column, 0),
                on_relays: whole(column, 1),
                egress_bps: whole(column, 2),
            };
            (name.clone(), told)
        });
        let nodes = self.nodes.columns.iter().map(|(name, column)| {
            let price = column
                .steps
                .iter()
                .map(|step| Some(step[2]).filter(|price| price.is_finite()));
            let told = NodeTold {
                viewers: whole(column, 0),
                egress_bps: whole(column, 1),
                price: price.collect(),
            };
            (name.clone(), told)
        });
        let all = self.all.columns.get("");
        let of_all = |i| all.map_or_else(Vec::new, |all| whole(all, i));
        Told {
            interval_s: self.all.step.as_secs_f64(),
            until: view::utc(SystemTime::now()),
            regions: regions.collect(),
            nodes: nodes.collect(),
            all: AllTold {
                viewers: of_all(0),
                relays: of_all(1),
                egress_bps: of_all(2),
            },
        }
    }
}

impl Table {
    /// Begins the step that `now` is in, if it has not begun.
    fn advance(&mut self, now: Duration) {
        let slot = (now.as_millis() / self.step.as_millis().max(1)) as u64;
        let new = match self.length {
            0 => 1,
            // A time in which nobody looked has its steps as well.
            _ => usize::try_from(slot.saturating_sub(self.slot))
                .unwrap_or(self.keep)
                .min(self.keep),
        };
        if new == 0 {
            return;
        }
        self.slot = slot;
        self.length = (self.length + new).min(self.keep);
        let (length, keep) = (self.length, self.keep as u64);
        self.columns.retain(|_, column| {
            column.steps.extend(std::iter::repeat_n(NOTHING, new));
            let over = column.steps.len().saturating_sub(length);
            column.steps.drain(..over);
            slot - column.slot < keep
        });
    }

    fn put(&mut self, name: &str, step: Step) {
        let slot = self.slot;
        if !self.columns.contains_key(name) {
            if self.columns.len() >= MOST && !self.make_room() {
                return;
            }
            let steps = std::iter::repeat_n(NOTHING, self.length).collect();
            self.columns.insert(name.to_owned(), Column { slot, steps });
        }
        let Some(column) = self.columns.get_mut(name) else {
            return;
        };
        column.slot = slot;
        if let Some(last) = column.steps.back_mut() {
            // What is nothing yields to anything.
            *last = std::array::from_fn(|i| last[i].max(step[i]));
        }
    }

    /// Who has been gone for longest goes, if anybody has gone.
    fn make_room(&mut self) -> bool {
        let oldest = self.columns.iter().min_by_key(|(_, column)| column.slot);
        let Some((name, _)) = oldest.filter(|(_, column)| column.slot < self.slot) else {
            return false;
        };
        let name = name.clone();
        self.columns.remove(&name).is_some()
    }
}

/// The finest there is.
const STEP: Duration = Duration::from_secs(2);

const NOTHING: Step = [f32::NAN; 3];

/// Regions, and nodes, whose past is kept: six megabytes of it.
const MOST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn table(keep: usize) -> Table {
        Table {
            keep,
            ..Tables::new(Duration::from_secs(2), keep).all
        }
    }

    fn steps(table: &Table, name: &str) -> Vec<Option<f32>> {
        let steps = table.columns[name].steps.iter();
        steps
            .map(|step| Some(step[0]).filter(|value| value.is_finite()))
            .collect()
    }

    #[test]
    fn a_step_has_the_most_that_was_seen_in_it_and_silence_is_a_gap() {
        let mut table = table(5);
        for (at, value) in [(0, 1.0), (1, 7.0), (2, 3.0), (9, 4.0)] {
            table.advance(Duration::from_secs(at));
            table.put("paris", [value; 3]);
        }
        assert_eq!(
            steps(&table, "paris"),
            [Some(7.0), Some(3.0), None, None, Some(4.0)]
        );
        table.advance(Duration::from_secs(10));
        table.put("rome", [1.0; 3]);
        assert_eq!(steps(&table, "rome"), [None, None, None, None, Some(1.0)]);
        assert_eq!(
            steps(&table, "paris"),
            [Some(3.0), None, None, Some(4.0), None]
        );
        table.advance(Duration::from_secs(100));
        assert!(table.columns.is_empty(), "{table:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_late_to_a_step_leaves_none_out() {
        let (mut table, started) = (table(100), tokio::time::Instant::now());
        let mut clock = Past::steps(started.into_std());
        let late = [0, 1, 700, 0, 1999, 1500, 999, 3, 1998, 0, 1];
        for late in late.map(Duration::from_millis) {
            clock.tick().await;
            tokio::time::advance(late).await;
            table.advance(started.elapsed());
            table.put("paris", [1.0; 3]);
        }
        assert_eq!(steps(&table, "paris"), [Some(1.0); 11]);
    }

    #[test]
    fn who_is_gone_for_longest_gives_way_and_nobody_else() {
        let mut table = table(100);
        table.advance(Duration::ZERO);
        for i in 0..=MOST {
            table.put(&format!("{i}"), [1.0; 3]);
        }
        assert_eq!(table.columns.len(), MOST, "nobody has gone");
        table.advance(Duration::from_secs(2));
        for i in 1..MOST {
            table.put(&format!("{i}"), [1.0; 3]);
        }
        table.put("new", [1.0; 3]);
        assert!(table.columns.contains_key("new") && !table.columns.contains_key("0"));
    }
}
