//! The sums of a viewing: what a summary says at its end.

use std::{fmt, time::Duration};

use playlists::Bitrate;
use serde_json::{Value, json};

use super::event::{Seconds, SegmentReport, rounded};

/// A viewing so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    pub segments: u64,
    pub octets: u64,
    /// Length of the media that has come.
    pub media: Duration,
    /// Time that was spent downloading segments.
    pub downloading: Duration,
    /// Segments by rung, in the order in which the rungs came.
    pub rungs: Vec<(String, u64)>,
    /// Segments by node, in the order in which the nodes came.
    pub nodes: Vec<(String, u64)>,
    /// Changes of the rung.
    pub switches: u64,
    pub startup: Option<Duration>,
    pub played: Duration,
    pub stalls: u32,
    pub stalled: Duration,
    pub latency: Option<Duration>,
    /// Times that the player joined, the first included.
    pub joins: u32,
    pub retries: u64,
    pub faults: u64,
    pub discontinuities: u64,
    /// The rung of the last segment.
    pub(super) last: Option<String>,
}

impl Summary {
    /// Mean bitrate of the media that has come.
    pub fn rate(&self) -> Bitrate {
        mean(self.octets, self.media)
    }

    /// Mean rate while downloading.
    pub fn throughput(&self) -> Bitrate {
        mean(self.octets, self.downloading)
    }

    pub(super) fn count(&mut self, segment: &SegmentReport) {
        self.segments += u64::from(segment.begins());
        self.octets += segment.octets;
        self.media += segment.duration;
        self.downloading += segment.elapsed;
        self.discontinuities += u64::from(segment.discontinuity);
        if segment.begins() {
            tick(&mut self.nodes, &segment.node);
        }
        let Some(rung) = &segment.rung else { return };
        if segment.begins() {
            tick(&mut self.rungs, rung);
        }
        if self.last.as_ref().is_some_and(|last| last != rung) {
            self.switches += 1;
        }
        self.last = Some(rung.clone());
    }

    /// One object. Times are in seconds, rates in kbit/s.
    pub fn json(&self) -> Value {
        let counts = |counts: &[(String, u64)]| -> serde_json::Map<String, Value> {
            let pairs = counts
                .iter()
                .map(|(name, count)| (name.clone(), json!(count)));
            pairs.collect()
        };
        json!({
            "event": "summary",
            "segments": self.segments,
            "octets": self.octets,
            "kbps": self.rate().kbps(),
            "download_kbps": self.throughput().kbps(),
            "rungs": counts(&self.rungs),
            "nodes": counts(&self.nodes),
            "switches": self.switches,
            "startup": self.startup.map(rounded),
            "played": rounded(self.played),
            "stalls": self.stalls,
            "stalled": rounded(self.stalled),
            "latency": self.latency.map(rounded),
            "joins": self.joins,
            "retries": self.retries,
            "faults": self.faults,
            "discontinuities": self.discontinuities,
        })
    }
}

/// Some lines, the last without its end.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let startup = match self.startup {
            Some(startup) => format!("{:.2} s", startup.as_secs_f64()),
            None => "never".into(),
        };
        let latency = self
            .latency
            .map_or("-".into(), |latency| Seconds(latency).to_string());
        let (played, stalled) = (Seconds(self.played), Seconds(self.stalled));
        writeln!(
            f,
            "segments    {} ({} octets), discontinuities {}",
            self.segments, self.octets, self.discontinuities
        )?;
        writeln!(
            f,
            "rungs       {}; switches {}",
            listed(&self.rungs),
            self.switches
        )?;
        writeln!(
            f,
            "nodes       {}; joins {}",
            listed(&self.nodes),
            self.joins
        )?;
        writeln!(
            f,
            "rate        {} mean, downloaded at {}",
            self.rate(),
            self.throughput()
        )?;
        writeln!(
            f,
            "played      {played}; startup {startup}, latency {latency}"
        )?;
        writeln!(f, "stalls      {}, {stalled}", self.stalls)?;
        write!(f, "retries     {}, faults {}", self.retries, self.faults)
    }
}

fn listed(counts: &[(String, u64)]) -> String {
    if counts.is_empty() {
        return "none".into();
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(name, count)| format!("{name} x {count}"))
        .collect();
    counts.join(", ")
}

fn tick(counts: &mut Vec<(String, u64)>, name: &str) {
    match counts.iter_mut().find(|(known, _)| known == name) {
        Some((_, count)) => *count += 1,
        None => counts.push((name.to_owned(), 1)),
    }
}

fn mean(octets: u64, span: Duration) -> Bitrate {
    if span.is_zero() {
        Bitrate::ZERO
    } else {
        Bitrate::of(octets, span)
    }
}
