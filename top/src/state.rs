//! What is known and what is looked at: news and keys in, nothing out but what is drawn.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use spillway::manager::view::{Decision, Overview};

use crate::feed::News;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) manager: String,
    /// `None` before anything is heard.
    pub(crate) overview: Option<Overview>,
    pub(crate) heard: Option<Instant>,
    /// Why nothing is heard.
    pub(crate) lost: Option<String>,
    /// Newest first; those of a manager that was started again are kept.
    pub(crate) decisions: VecDeque<Decision>,
    /// Of all viewers, a value each two seconds.
    pub(crate) viewers: VecDeque<u64>,
    sampled: Option<Instant>,
    pub(crate) list: List,
    /// Rows that are scrolled past, of each list.
    pub(crate) passed: [usize; 3],
    pub(crate) held: bool,
}

/// Which list the arrows move.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum List {
    Regions,
    Nodes,
    Decisions,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Turn {
    On,
    End,
}

impl State {
    pub(crate) fn new(manager: String) -> Self {
        Self {
            manager,
            overview: None,
            heard: None,
            lost: None,
            decisions: VecDeque::new(),
            viewers: VecDeque::new(),
            sampled: None,
            list: List::Regions,
            passed: [0; 3],
            held: false,
        }
    }

    pub(crate) fn hear(&mut self, news: News, now: Instant) {
        match news {
            News::Lost(why) => self.lost = Some(why),
            _ if self.held => {}
            News::Decision(decision) => self.add(decision),
            News::Overview(mut overview) => {
                (self.heard, self.lost) = (Some(now), None);
                for decision in overview
                    .decisions
                    .take()
                    .unwrap_or_default()
                    .into_iter()
                    .rev()
                {
                    self.add(decision);
                }
                if self.sampled.is_none_or(|sampled| now - sampled >= STEP) {
                    self.sampled = Some(now);
                    self.viewers.truncate(KEPT - 1);
                    self.viewers.push_front(viewers(&overview));
                }
                overview.regions.sort_by(|a, b| {
                    b.viewers
                        .cmp(&a.viewers)
                        .then_with(|| a.region.cmp(&b.region))
                });
                let rank = |kind: &str| u8::from(kind != "primary");
                overview.nodes.sort_by(|a, b| {
                    (rank(&a.kind), &a.region, &a.node).cmp(&(rank(&b.kind), &b.region, &b.node))
                });
                self.overview = Some(*overview);
            }
        }
    }

    fn add(&mut self, decision: Decision) {
        let same = |known: &Decision| {
            (&known.at, &known.action, &known.node, &known.region)
                == (
                    &decision.at,
                    &decision.action,
                    &decision.node,
                    &decision.region,
                )
        };
        if !self.decisions.iter().any(same) {
            self.decisions.truncate(DECISIONS - 1);
            self.decisions.push_front(decision);
        }
    }

    pub(crate) fn press(&mut self, key: KeyEvent) -> Turn {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Turn::End,
            KeyCode::Char('c') if control => return Turn::End,
            KeyCode::Char('p') => self.held = !self.held,
            KeyCode::Tab => self.list = self.list.next(),
            KeyCode::BackTab => self.list = self.list.next().next(),
            KeyCode::Down | KeyCode::Char('j') => self.scroll(1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll(-1),
            KeyCode::PageDown => self.scroll(10),
            KeyCode::PageUp => self.scroll(-10),
            KeyCode::Home => self.scroll(isize::MIN),
            _ => {}
        }
        Turn::On
    }

    fn scroll(&mut self, rows: isize) {
        let overview = self.overview.as_ref();
        let length = match self.list {
            List::Regions => overview.map_or(0, |overview| overview.regions.len()),
            List::Nodes => overview.map_or(0, |overview| overview.nodes.len()),
            List::Decisions => self.decisions.len(),
        };
        let passed = &mut self.passed[self.list as usize];
        *passed = passed
            .saturating_add_signed(rows)
            .min(length.saturating_sub(1));
    }
}

impl List {
    fn next(self) -> Self {
        match self {
            Self::Regions => Self::Nodes,
            Self::Nodes => Self::Decisions,
            Self::Decisions => Self::Regions,
        }
    }
}

pub(crate) fn viewers(overview: &Overview) -> u64 {
    overview
        .nodes
        .iter()
        .map(|node| u64::from(node.viewers))
        .sum()
}

/// As many as the manager keeps.
const DECISIONS: usize = 200;
/// A quarter of an hour.
const KEPT: usize = 450;
const STEP: Duration = Duration::from_secs(2);
