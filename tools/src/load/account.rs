//! What all viewers saw, in sums and second by second. Whoever runs the crowd calls; no clock is read here but for when a
//! node first served somebody.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::Serialize;
use spillway::player::{SegmentReport, Summary};

/// One account for a run. Of one thread, as the crowd is.
#[derive(Debug, Default)]
pub struct Account(RefCell<Sums>);

#[derive(Debug, Default)]
struct Sums {
    regions: Vec<Region>,
    /// Who is watching where, now.
    nodes: BTreeMap<String, Node>,
    moves: u64,
    first: BTreeMap<String, Instant>,
    rejoined: u64,
    gave_up: u64,
    /// Why, and how often.
    troubles: BTreeMap<String, u64>,
    seconds: Vec<Second>,
}

#[derive(Clone, Debug, Default)]
struct Region {
    name: String,
    watching: u64,
    joins: u64,
    joined_in: Vec<f32>,
    segments: u64,
    parts: u64,
    octets: u64,
    media: Duration,
    stalls: u64,
    stalls_moved: u64,
    stalled: Duration,
    latency: Vec<f32>,
    rungs: BTreeMap<String, u64>,
    nodes: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    watching: i64,
    octets: u64,
    segments: u64,
}

/// One second of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Second {
    pub at: f64,
    /// Viewers by region, and by the node of their last segment.
    pub regions: BTreeMap<String, u64>,
    pub nodes: BTreeMap<String, i64>,
    /// Media that each node sent, Mbit/s.
    pub mbps: BTreeMap<String, f64>,
    /// Stalls so far.
    pub stalls: u64,
}

impl Account {
    pub fn of(regions: impl IntoIterator<Item = String>) -> Self {
        let named = |name| Region {
            name,
            ..Region::default()
        };
        Self(RefCell::new(Sums {
            regions: regions.into_iter().map(named).collect(),
            ..Sums::default()
        }))
    }

    pub fn joined(&self, region: usize) {
        self.region(region, |region| {
            region.joins += 1;
            region.watching += 1;
        });
    }

    pub(super) fn started(&self, region: usize, after: Duration) {
        self.region(region, |region| region.joined_in.push(after.as_secs_f32()));
    }

    pub(super) fn segment(&self, region: usize, report: &SegmentReport) {
        self.region(region, |region| {
            region.segments += u64::from(report.begins());
            region.parts += u64::from(report.part.is_some());
            region.octets += report.octets;
            region.media += report.duration;
            if let Some(latency) = report.latency.filter(|_| region.latency.len() < SAMPLES) {
                region.latency.push(latency.as_secs_f32());
            }
            if report.begins() {
                count(&mut region.rungs, report.rung.as_deref().unwrap_or("?"));
                count(&mut region.nodes, &report.node);
            }
        });
        let mut sums = self.0.borrow_mut();
        if !sums.nodes.contains_key(&report.node) {
            sums.nodes.insert(report.node.clone(), Node::default());
        }
        if let Some(node) = sums.nodes.get_mut(&report.node) {
            node.octets += report.octets;
            node.segments += u64::from(report.begins());
        }
    }

    /// Somebody's last segment came from `to`, and the one before it from `from`.
    pub(super) fn at(&self, from: Option<&str>, to: &str) {
        let mut sums = self.0.borrow_mut();
        if let Some(node) = from.and_then(|from| sums.nodes.get_mut(from)) {
            node.watching -= 1;
        }
        sums.nodes.entry(to.to_owned()).or_default().watching += 1;
        sums.first.entry(to.to_owned()).or_insert_with(Instant::now);
    }

    /// `moved`: it was served by another node a moment ago.
    pub(super) fn stalled(&self, region: usize, moved: bool) {
        self.region(region, |region| {
            region.stalls += 1;
            region.stalls_moved += u64::from(moved);
        });
    }

    pub(super) fn moved(&self) {
        self.0.borrow_mut().moves += 1;
    }

    pub(super) fn rejoined(&self, why: &str) {
        self.0.borrow_mut().rejoined += 1;
        self.trouble("joined again", why);
    }

    pub(super) fn fault(&self, what: &str) {
        self.trouble("fault", what);
    }

    pub(super) fn failed(&self, why: &str) {
        self.trouble("failed", why);
    }

    pub(super) fn gave_up(&self, why: &str) {
        self.0.borrow_mut().gave_up += 1;
        self.trouble("gave up", why);
    }

    /// What differs in numbers only is counted together.
    fn trouble(&self, kind: &str, why: &str) {
        let mut plain = String::from(kind);
        plain.push_str(": ");
        let mut digits = false;
        for letter in why.chars().take(200) {
            if letter.is_ascii_hexdigit() && (digits || letter.is_ascii_digit()) {
                if !digits {
                    plain.push('#');
                }
                digits = true;
            } else {
                digits = false;
                plain.push(letter);
            }
        }
        let mut sums = self.0.borrow_mut();
        if sums.troubles.len() < TROUBLES || sums.troubles.contains_key(&plain) {
            *sums.troubles.entry(plain).or_default() += 1;
        }
    }

    pub(super) fn left(&self, region: usize, node: Option<&str>, summary: &Summary) {
        self.region(region, |region| {
            region.watching = region.watching.saturating_sub(1);
            region.stalled += summary.stalled;
        });
        let mut sums = self.0.borrow_mut();
        if let Some(node) = node.and_then(|node| sums.nodes.get_mut(node)) {
            node.watching -= 1;
        }
    }

    /// A second is over.
    pub fn second(&self, at: f64, octets_before: &mut BTreeMap<String, u64>, took: Duration) {
        let mut sums = self.0.borrow_mut();
        let mut second = Second {
            at,
            ..Second::default()
        };
        for region in &sums.regions {
            second.regions.insert(region.name.clone(), region.watching);
            second.stalls += region.stalls;
        }
        for (name, node) in &sums.nodes {
            let before = octets_before.insert(name.clone(), node.octets).unwrap_or(0);
            let mbps = (node.octets - before) as f64 * 8e-6 / took.as_secs_f64().max(0.001);
            second.nodes.insert(name.clone(), node.watching);
            second.mbps.insert(name.clone(), rounded(mbps));
        }
        sums.seconds.push(second);
    }

    /// When `node` was first heard to have served somebody.
    pub fn first_served_by(&self, node: &str) -> Option<Instant> {
        self.0.borrow().first.get(node).copied()
    }

    /// A line for who waits.
    pub fn line(&self) -> String {
        let sums = self.0.borrow();
        let watching: u64 = sums.regions.iter().map(|region| region.watching).sum();
        let stalls: u64 = sums.regions.iter().map(|region| region.stalls).sum();
        let nodes = sums.nodes.values().filter(|node| node.watching > 0).count();
        format!(
            "{watching} viewers on {nodes} nodes, {stalls} stalls, {} moved, {} gave up",
            sums.moves, sums.gave_up
        )
    }

    pub fn report(&self) -> Report {
        let sums = self.0.borrow();
        let regions = sums.regions.iter();
        Report {
            regions: regions
                .map(|region| (region.name.clone(), region.report()))
                .collect(),
            nodes: sums
                .nodes
                .iter()
                .map(|(name, node)| (name.clone(), node.segments))
                .collect(),
            moves: sums.moves,
            rejoined: sums.rejoined,
            gave_up: sums.gave_up,
            troubles: sums.troubles.clone(),
            seconds: sums.seconds.clone(),
        }
    }

    fn region(&self, region: usize, change: impl FnOnce(&mut Region)) {
        if let Some(region) = self.0.borrow_mut().regions.get_mut(region) {
            change(region);
        }
    }
}

/// All of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub regions: BTreeMap<String, RegionReport>,
    /// Segments by node.
    pub nodes: BTreeMap<String, u64>,
    /// Viewers who were served by another node than before.
    pub moves: u64,
    /// Viewers whose node was gone, and who joined again.
    pub rejoined: u64,
    /// Viewers who saw nothing any more.
    pub gave_up: u64,
    pub troubles: BTreeMap<String, u64>,
    pub seconds: Vec<Second>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct RegionReport {
    pub joins: u64,
    pub segments: u64,
    /// Of those who play by parts.
    pub parts: u64,
    /// From the join to the first picture, seconds.
    pub join_time: Percentiles,
    pub kbps: f64,
    pub latency: Percentiles,
    pub stalls: u64,
    /// Of these, within ten seconds after the viewer was moved to another node.
    pub stalls_after_move: u64,
    pub stalled_seconds: f64,
    pub rungs: BTreeMap<String, u64>,
    /// Segments by node.
    pub nodes: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub most: f64,
}

impl Percentiles {
    pub fn of(mut values: Vec<f32>) -> Self {
        values.sort_by(f32::total_cmp);
        let at = |share: f64| {
            let index = (values.len() as f64 * share) as usize;
            let value = values.get(index.min(values.len().saturating_sub(1)));
            rounded(value.copied().map_or(0.0, f64::from))
        };
        Self {
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            most: at(1.0),
        }
    }
}

impl Region {
    fn report(&self) -> RegionReport {
        RegionReport {
            joins: self.joins,
            segments: self.segments,
            parts: self.parts,
            join_time: Percentiles::of(self.joined_in.clone()),
            kbps: rounded(self.octets as f64 * 0.008 / self.media.as_secs_f64().max(0.001)),
            latency: Percentiles::of(self.latency.clone()),
            stalls: self.stalls,
            stalls_after_move: self.stalls_moved,
            stalled_seconds: rounded(self.stalled.as_secs_f64()),
            rungs: self.rungs.clone(),
            nodes: self.nodes.clone(),
        }
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => drop(counts.insert(name.to_owned(), 1)),
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// More of one region are not needed to tell its percentiles.
const SAMPLES: usize = 1_000_000;

/// Different troubles that are told apart.
const TROUBLES: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_there() {
        let all = Percentiles::of((1..=100).map(|value| value as f32).collect());
        assert_eq!(
            (all.p50, all.p95, all.p99, all.most),
            (51.0, 96.0, 100.0, 100.0)
        );
        assert_eq!(Percentiles::of(vec![]), Percentiles::default());
    }

    #[test]
    fn troubles_that_differ_in_numbers_are_one() {
        let account = Account::of(["paris".to_owned()]);
        for port in [4711, 4712] {
            account.failed(&format!("http://127.0.0.1:{port}/live: connection refused"));
        }
        let troubles = account.report().troubles;
        assert_eq!(troubles.len(), 1, "{troubles:?}");
        assert_eq!(troubles.values().sum::<u64>(), 2);
    }

    #[test]
    fn who_is_where_adds_up_and_comes_to_nothing() {
        let account = Account::of(["paris".to_owned()]);
        account.joined(0);
        account.at(None, "primary");
        account.at(Some("primary"), "relay");
        account.second(1.0, &mut BTreeMap::new(), Duration::from_secs(1));
        account.left(0, Some("relay"), &Summary::default());
        account.second(2.0, &mut BTreeMap::new(), Duration::from_secs(1));
        let seconds = account.report().seconds;
        assert_eq!(
            (seconds[0].nodes["primary"], seconds[0].nodes["relay"]),
            (0, 1)
        );
        assert_eq!(
            (seconds[1].nodes["relay"], seconds[1].regions["paris"]),
            (0, 0)
        );
    }
}
