//! One node as the balancer sees it: what it reported, what it is meant to do, and the viewers on
//! their way to it. What follows from that for its region is `balancer`'s business.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Kind, Moment, Region, Report, State, refuge::Refuge};

/// What a node is meant to do.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) enum Phase {
    Primary,
    Standby,
    /// Serves the region, or is on its way there.
    Serving(Region),
    Draining(Region),
    Retiring,
    /// Not heard for three heartbeats.
    Lost,
}

/// A node's standing, in one word for people.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    Standby,
    Launching,
    Filling,
    Active,
    Draining,
    Lost,
}

impl Standing {
    pub fn name(self) -> &'static str {
        match self {
            Self::Standby => "standby",
            Self::Launching => "launching",
            Self::Filling => "filling",
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Lost => "lost",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Node {
    /// `None`: launched, and not heard yet.
    pub(super) report: Option<Report>,
    pub(super) phase: Phase,
    /// Start of the phase; in `Serving`, also when it last ceased to be active.
    pub(super) since: Moment,
    pub(super) heard: Moment,
    /// Serving and reported active, from then on.
    pub(super) active_since: Option<Moment>,
    /// Three heartbeats missed; a primary's phase does not change for that.
    pub(super) silent: bool,
    /// As silent, but the last of its region, and so it is not taken for lost.
    pub(super) doubted: bool,
    /// Its egress has been short since then.
    pub(super) short_since: Option<Moment>,
    /// Whether it says that something is the matter with it, and since when that is so, or not.
    #[serde(default)]
    ill: (bool, Moment),
    /// Where its viewers go while it drains.
    #[serde(default)]
    pub(super) refuge: Option<Refuge>,
    /// What one of its viewers takes, in bit/s, over the last reports.
    pub(super) rate: Option<f64>,
    /// Joins sent here that no report shows yet, oldest first.
    expected: BTreeMap<Region, VecDeque<Moment>>,
}

impl Node {
    pub(super) fn launching(region: Region, now: Moment) -> Self {
        Self::new(None, Phase::Serving(region), now)
    }

    pub(super) fn heard(report: Report, phase: Phase, now: Moment) -> Self {
        let mut node = Self::new(Some(report), phase, now);
        node.note_activity(now);
        node.note_rate();
        node.note_health(now);
        node
    }

    fn new(report: Option<Report>, phase: Phase, now: Moment) -> Self {
        Self {
            report,
            phase,
            since: now,
            heard: now,
            active_since: None,
            silent: false,
            doubted: false,
            short_since: None,
            ill: (false, now),
            refuge: None,
            rate: None,
            expected: BTreeMap::new(),
        }
    }

    /// Takes a report of a node already known. The joins that its count of arrivals shows are
    /// expected no longer.
    pub(super) fn update(&mut self, report: Report, now: Moment) {
        match &self.report {
            Some(old) if old.instance == report.instance => {
                for (region, load) in &report.regions {
                    let before = old.regions.get(region).map_or(0, |load| load.arrivals);
                    let arrived = load.arrivals.saturating_sub(before);
                    if let Some(queue) = self.expected.get_mut(region) {
                        let arrived = usize::try_from(arrived).unwrap_or(usize::MAX);
                        queue.drain(..arrived.min(queue.len()));
                    }
                }
            }
            // Another run: it knows nothing of what the last one was to expect.
            Some(_) => {
                self.expected.clear();
                self.active_since = None;
                self.since = now;
            }
            None => {}
        }
        self.report = Some(report);
        self.heard = now;
        (self.silent, self.doubted) = (false, false);
        self.note_activity(now);
        self.note_rate();
        self.note_health(now);
    }

    pub(super) fn turn(&mut self, phase: Phase, now: Moment) {
        self.phase = phase;
        self.since = now;
        (self.active_since, self.refuge) = (None, None);
        self.note_activity(now);
    }

    pub(super) fn expect(&mut self, region: &Region, viewers: u32, now: Moment) {
        let places = (0..viewers).map(|_| now);
        match self.expected.get_mut(region) {
            Some(queue) => queue.extend(places),
            None => drop(self.expected.insert(region.clone(), places.collect())),
        }
    }

    /// Who is expected and has not come so far.
    pub(super) fn waits_for_some(&self) -> bool {
        !self.expected.is_empty()
    }

    /// Gives up on joins that never arrived.
    pub(super) fn forget_joins(&mut self, older_than: Duration, now: Moment) {
        self.expected.retain(|_, queue| {
            while queue
                .front()
                .is_some_and(|&at| now.saturating_sub(at) >= older_than)
            {
                queue.pop_front();
            }
            !queue.is_empty()
        });
    }

    /// Its viewers count: it is not known to be gone.
    pub(super) fn counts(&self) -> bool {
        self.phase != Phase::Lost
    }

    pub(super) fn is_primary(&self) -> bool {
        self.phase == Phase::Primary
    }

    pub(super) fn serves(&self, region: &Region) -> bool {
        matches!(&self.phase, Phase::Serving(served) if served == region)
    }

    pub(super) fn drains(&self, region: &Region) -> bool {
        matches!(&self.phase, Phase::Draining(served) if served == region)
    }

    /// Somebody watches this stream there.
    pub(super) fn has(&self, stream: &str) -> bool {
        let streams = self.report.as_ref().map(|report| &report.streams);
        streams.is_some_and(|streams| streams.get(stream).is_some_and(|viewers| *viewers > 0))
    }

    /// May be sent viewers.
    pub(super) fn ready(&self) -> bool {
        self.active_since.is_some()
    }

    /// On its way to serving. One that was told to serve and goes on draining is leaving instead.
    pub(super) fn pending(&self, patience: Duration, now: Moment) -> bool {
        let leaving = self.state() == Some(State::Draining);
        matches!(self.phase, Phase::Serving(_))
            && !self.ready()
            && (!leaving || now.saturating_sub(self.since) < patience)
    }

    /// Takes part in the work: counts towards the limit on relays.
    pub(super) fn employed(&self) -> bool {
        match self.phase {
            Phase::Serving(_) | Phase::Draining(_) => true,
            Phase::Retiring => self.launched(),
            Phase::Primary | Phase::Standby | Phase::Lost => false,
        }
    }

    pub(super) fn region(&self) -> Option<&Region> {
        match &self.phase {
            Phase::Serving(region) | Phase::Draining(region) => Some(region),
            _ => self
                .report
                .as_ref()
                .and_then(|report| report.region.as_ref()),
        }
    }

    pub(super) fn state(&self) -> Option<State> {
        self.report.as_ref().map(|report| report.state)
    }

    pub(super) fn launched(&self) -> bool {
        self.report.as_ref().is_none_or(|report| report.launched)
    }

    /// Viewers of one region as last reported.
    pub(super) fn counted(&self, region: &Region) -> u32 {
        self.report
            .as_ref()
            .and_then(|report| report.regions.get(region))
            .map_or(0, |load| load.viewers)
    }

    /// Viewers of one region, with those on their way.
    pub(super) fn viewers(&self, region: &Region) -> u32 {
        let expected = self.expected.get(region).map_or(0, VecDeque::len);
        self.counted(region)
            .saturating_add(u32::try_from(expected).unwrap_or(u32::MAX))
    }

    /// Viewers by region, with those on their way, where there are any; of a node that counts.
    pub(super) fn viewers_by_region(&self) -> impl Iterator<Item = (&Region, u32)> {
        let reported = self.report.as_ref().map(|report| &report.regions);
        let here = reported.into_iter().flat_map(BTreeMap::keys);
        let coming = self.expected.keys();
        let coming = coming
            .filter(move |region| reported.is_none_or(|reported| !reported.contains_key(*region)));
        let counts = self.counts();
        here.chain(coming)
            .map(|region| (region, self.viewers(region)))
            .filter(move |(_, viewers)| counts && *viewers > 0)
    }

    /// Viewers of all regions, with those on their way.
    pub(super) fn total(&self) -> u32 {
        let expected: usize = self.expected.values().map(VecDeque::len).sum();
        let counted = self
            .report
            .iter()
            .flat_map(|report| report.regions.values());
        counted.map(|load| load.viewers).fold(
            u32::try_from(expected).unwrap_or(u32::MAX),
            u32::saturating_add,
        )
    }

    /// Players sent elsewhere that still ask here for the way.
    pub(super) fn moved(&self) -> u32 {
        self.report.as_ref().map_or(0, |report| report.moved)
    }

    pub(super) fn standing(&self) -> Standing {
        if self.silent || self.phase == Phase::Lost {
            return Standing::Lost;
        }
        match (&self.phase, self.state()) {
            (_, None) => Standing::Launching,
            (Phase::Primary | Phase::Serving(_), Some(State::Active)) => Standing::Active,
            (Phase::Primary | Phase::Serving(_), Some(_)) => Standing::Filling,
            (Phase::Draining(_) | Phase::Retiring, _) => Standing::Draining,
            (_, Some(_)) => Standing::Standby,
        }
    }

    /// What one of its viewers takes, smoothed over some reports: rungs come and go.
    fn note_rate(&mut self) {
        let Some(report) = &self.report else { return };
        let viewers: u32 = report
            .regions
            .values()
            .map(|load| load.viewers)
            .fold(0, u32::saturating_add);
        if viewers == 0 || report.egress.bps() == 0 {
            return;
        }
        let rate = report.egress.bps() as f64 / f64::from(viewers);
        self.rate = Some(match self.rate {
            Some(known) => known + (rate - known) / SMOOTH,
            None => rate,
        });
    }

    fn note_health(&mut self, now: Moment) {
        let report = self.report.as_ref();
        let ill = report.is_some_and(|report| report.trouble.is_some());
        if ill != self.ill.0 {
            self.ill = (ill, now);
        }
    }

    pub(super) fn is_ill(&self) -> bool {
        self.ill.0
    }

    /// Whether it has been so, well or ill, for that long.
    pub(super) fn has_been(&self, ill: bool, span: Duration, now: Moment) -> bool {
        self.ill.0 == ill && now.saturating_sub(self.ill.1) >= span
    }

    fn note_activity(&mut self, now: Moment) {
        let active = matches!(self.phase, Phase::Serving(_)) && self.state() == Some(State::Active);
        match (active, self.active_since) {
            (true, None) => self.active_since = Some(now),
            (false, Some(_)) => {
                self.active_since = None;
                self.since = now;
            }
            _ => {}
        }
    }
}

impl Report {
    /// The phase of a node that nobody has told anything yet.
    pub(super) fn phase(&self) -> Phase {
        if self.kind == Kind::Primary {
            return Phase::Primary;
        }
        match self.state {
            State::Standby => Phase::Standby,
            State::Filling | State::Active => Phase::Serving(self.home()),
            State::Draining => Phase::Draining(self.home()),
        }
    }

    /// The region it says it serves, else the one that most of its viewers are of.
    fn home(&self) -> Region {
        let busiest = || self.regions.iter().max_by_key(|(_, load)| load.viewers);
        self.region
            .clone()
            .or_else(|| busiest().map(|(region, _)| region.clone()))
            .unwrap_or_default()
    }
}

/// Reports.
const SMOOTH: f64 = 4.0;
