//! One node as the balancer sees it: what it reported, what it is meant to do, and the viewers on
//! their way to it. What follows from that for its region is `balancer`'s business.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use super::{Kind, Region, Report, State};

/// What a node is meant to do.
#[derive(Clone, Debug, Eq, PartialEq)]
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

#[derive(Debug)]
pub(super) struct Node {
    /// `None`: launched, and not heard yet.
    pub(super) report: Option<Report>,
    pub(super) phase: Phase,
    /// Start of the phase; in `Serving`, also when it last ceased to be active.
    pub(super) since: Instant,
    pub(super) heard: Instant,
    /// Serving and reported active, from then on.
    pub(super) active_since: Option<Instant>,
    /// Three heartbeats missed; a primary's phase does not change for that.
    pub(super) silent: bool,
    /// Joins sent here that no report shows yet, oldest first.
    expected: BTreeMap<Region, VecDeque<Instant>>,
}

impl Node {
    pub(super) fn launching(region: Region, now: Instant) -> Self {
        Self::new(None, Phase::Serving(region), now)
    }

    pub(super) fn heard(report: Report, phase: Phase, now: Instant) -> Self {
        let mut node = Self::new(Some(report), phase, now);
        node.note_activity(now);
        node
    }

    fn new(report: Option<Report>, phase: Phase, now: Instant) -> Self {
        Self {
            report,
            phase,
            since: now,
            heard: now,
            active_since: None,
            silent: false,
            expected: BTreeMap::new(),
        }
    }

    /// Takes a report of a node already known. The joins that its count of arrivals shows are
    /// expected no longer.
    pub(super) fn update(&mut self, report: Report, now: Instant) {
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
        self.silent = false;
        self.note_activity(now);
    }

    pub(super) fn turn(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.since = now;
        self.active_since = None;
        self.note_activity(now);
    }

    pub(super) fn expect(&mut self, region: Region, now: Instant) {
        self.expected.entry(region).or_default().push_back(now);
    }

    /// Gives up on joins that never arrived.
    pub(super) fn forget_joins(&mut self, older_than: Duration, now: Instant) {
        self.expected.retain(|_, queue| {
            while queue
                .front()
                .is_some_and(|&at| now.duration_since(at) >= older_than)
            {
                queue.pop_front();
            }
            !queue.is_empty()
        });
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

    /// May be sent viewers.
    pub(super) fn ready(&self) -> bool {
        self.active_since.is_some()
    }

    /// On its way to serving. One that was told to serve and goes on draining is leaving instead.
    pub(super) fn pending(&self, patience: Duration, now: Instant) -> bool {
        let leaving = self.state() == Some(State::Draining);
        matches!(self.phase, Phase::Serving(_))
            && !self.ready()
            && (!leaving || now.duration_since(self.since) < patience)
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

    fn note_activity(&mut self, now: Instant) {
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
