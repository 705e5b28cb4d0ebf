//! Whether the machine was the limit: a round in which it was says nothing of links. How busy it is is only told; what
//! counts is what came late.

use std::{fs, time::Duration};

use serde::Serialize;
use tokio::{sync::oneshot, task::JoinHandle, time::Instant};

/// The machine during one round.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Machine {
    pub cores: usize,
    /// Share of its time that was taken, by whomever.
    pub busy: Option<f64>,
    /// By how much a timer of the lab's own was late, in the worst of a hundred times.
    pub late_ms: f64,
    /// In what it was the limit; empty if in nothing.
    pub limits: Vec<String>,
}

/// Looks on for as long as a round lasts.
#[derive(Debug)]
pub struct Watch {
    stop: oneshot::Sender<()>,
    late: JoinHandle<Vec<f64>>,
    before: Option<Times>,
}

impl Watch {
    pub fn start() -> Self {
        let (stop, stopped) = oneshot::channel();
        Self {
            stop,
            late: tokio::spawn(lateness(stopped)),
            before: Times::now(),
        }
    }

    pub async fn end(self) -> Machine {
        // Whoever is gone needs no word.
        let _ = self.stop.send(());
        let mut late = self.late.await.unwrap_or_default();
        let late_ms = worst(&mut late);
        let busy = self
            .before
            .zip(Times::now())
            .and_then(|(before, after)| after.since(&before));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut machine = Machine {
            cores,
            busy,
            late_ms,
            limits: Vec::new(),
        };
        machine.held("the lab", late_ms);
        machine
    }
}

impl Machine {
    /// `who` was kept waiting for a processor by `late_ms`, in the worst of a hundred times.
    pub fn held(&mut self, who: &str, late_ms: f64) {
        if late_ms > LATE_MS {
            self.limits
                .push(format!("{who} was held up by {late_ms:.0} ms"));
        }
    }
}

/// The worst but for one in a hundred.
pub fn worst(late_ms: &mut [f64]) -> f64 {
    late_ms.sort_by(f64::total_cmp);
    let index = (late_ms.len() * 99 / 100).min(late_ms.len().saturating_sub(1));
    late_ms.get(index).copied().unwrap_or(0.0)
}

async fn lateness(mut stopped: oneshot::Receiver<()>) -> Vec<f64> {
    let mut late = Vec::new();
    loop {
        let due = Instant::now() + EVERY;
        tokio::select! {
            () = tokio::time::sleep_until(due) => late.push(due.elapsed().as_secs_f64() * 1000.0),
            _ = &mut stopped => return late,
        }
    }
}

/// Processor time since the machine started, over all cores (proc(5)).
#[derive(Clone, Copy, Debug)]
struct Times {
    idle: f64,
    all: f64,
}

impl Times {
    fn now() -> Option<Self> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let ticks = stat
            .lines()
            .next()?
            .strip_prefix("cpu ")?
            .split_whitespace();
        let ticks: Vec<f64> = ticks
            .take(8)
            .filter_map(|ticks| ticks.parse().ok())
            .collect();
        Some(Self {
            idle: ticks.get(3)? + ticks.get(4)?,
            all: ticks.iter().sum(),
        })
    }

    fn since(&self, before: &Self) -> Option<f64> {
        let all = self.all - before.all;
        (all > 0.0).then(|| 1.0 - (self.idle - before.idle) / all)
    }
}

const EVERY: Duration = Duration::from_millis(50);
/// A player that is held up for so long may stand still without its link's doing.
const LATE_MS: f64 = 300.0;
