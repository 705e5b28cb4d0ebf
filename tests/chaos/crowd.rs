//! The viewers of a site: whether they play on, and what they notice.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use serde_json::Value;

use super::common::Viewer;

pub(crate) struct Crowd(Vec<Watched>);

/// A viewer, and how much of what it said was looked at.
struct Watched {
    viewer: Viewer,
    read: usize,
}

impl Crowd {
    pub(crate) fn of(viewers: Vec<Viewer>) -> Self {
        let watched = |viewer| Watched { viewer, read: 0 };
        Self(viewers.into_iter().map(watched).collect())
    }

    /// Waits until everybody has had two more segments; returns how long that took the slowest.
    pub(crate) async fn plays_on(&mut self, what: &str) -> Duration {
        self.plays(2, what).await
    }

    /// The same with so many segments.
    pub(crate) async fn plays(&mut self, more: usize, what: &str) -> Duration {
        let segments = |watched: &Watched| count(&watched.viewer.program.said(), "segment");
        let before: Vec<_> = self.0.iter().map(segments).collect();
        let began = Instant::now();
        for (watched, before) in self.0.iter().zip(before) {
            while segments(watched) < before + more {
                let said = watched.viewer.program.said();
                let last: Vec<_> = said.iter().rev().take(8).collect();
                assert!(
                    began.elapsed() < STUCK,
                    "{what}: a viewer is stuck; it said {last:#?}"
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        began.elapsed()
    }

    /// What they have noticed since this was asked last.
    pub(crate) fn noticed(&mut self) -> String {
        let (mut stalls, mut stalled, mut joins, mut breaks) = (0, 0.0, 0, 0);
        for Watched { viewer, read } in &mut self.0 {
            let said = viewer.program.said();
            let fresh = &said[*read..];
            *read = said.len();
            stalls += count(fresh, "stalled");
            joins += count(fresh, "rejoining");
            for event in fresh.iter().filter_map(|line| event(line)) {
                stalled += match event["event"].as_str() {
                    Some("resumed") => event["after"].as_f64().unwrap_or(0.0),
                    _ => 0.0,
                };
                breaks += usize::from(event["discontinuity"] == true);
            }
        }
        let all = self.0.len();
        format!(
            "{stalls} stalls of {all} viewers, {stalled:.1} s in all, {breaks} discontinuities, {joins} joined again"
        )
    }

    pub(crate) async fn goes(self) {
        for Watched { mut viewer, .. } in self.0 {
            viewer.program.stop().await.unwrap();
        }
    }
}

fn event(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok()
}

fn count(said: &[String], what: &str) -> usize {
    let marked = format!("\"event\":\"{what}\"");
    said.iter().filter(|line| line.contains(&marked)).count()
}

/// Nobody may have nothing for longer.
const STUCK: Duration = Duration::from_secs(60);
