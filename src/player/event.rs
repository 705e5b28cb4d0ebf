//! What a player tells: what happens as it happens, and the sums of it all. As lines for people
//! and as JSON for programs.

use std::{fmt, time::Duration};

use playlists::{Bitrate, WallTime};
use serde_json::{Value, json};

use super::sound::Fault;

/// Something that happened to a viewer.
#[derive(Clone, Debug)]
pub enum Event {
    /// A node has said what there is to play.
    Joined {
        node: String,
        url: String,
        target: Duration,
    },
    Started {
        after: Duration,
    },
    Segment(Box<SegmentReport>),
    /// Media comes from another node than before.
    Moved {
        from: String,
        to: String,
    },
    Stalled {
        stalls: u32,
    },
    Resumed {
        after: Duration,
    },
    Fault(Fault),
    /// A request failed; it is made again.
    Retry {
        error: String,
        again_in: Duration,
    },
    /// The node is gone; the player joins anew where it joined first.
    Rejoining {
        node: String,
        error: String,
    },
    /// The stream has ended and was played to its end.
    Finished,
}

/// A segment, or a part of one, that has come, and what the server said of it.
#[derive(Clone, Debug)]
pub struct SegmentReport {
    pub at: WallTime,
    /// Media sequence number.
    pub number: u64,
    /// Which part of the segment this is, from 0; `None`: all of it.
    pub part: Option<usize>,
    /// `Spillway-Node`, or else the host that answered.
    pub node: String,
    /// `Spillway-Rung`.
    pub rung: Option<String>,
    /// `Spillway-Reason`.
    pub reason: Option<String>,
    /// `Spillway-Estimate`: what the server believes that this viewer's path can carry.
    pub estimate: Option<Bitrate>,
    /// `Spillway-Decision` and `CMSD-Dynamic`: what the decision was made from, if that was asked for.
    pub explained: Option<String>,
    /// Length of the media.
    pub duration: Duration,
    pub octets: u64,
    /// From the request until the last octet.
    pub elapsed: Duration,
    /// Media ahead of the playhead, this segment included.
    pub buffer: Duration,
    /// From when the picture on screen was live until now, by `EXT-X-PROGRAM-DATE-TIME` and this
    /// machine's clock.
    pub latency: Option<Duration>,
    /// Since the player was opened.
    pub stalls: u32,
    pub stalled: Duration,
    /// The timeline broke before this segment.
    pub discontinuity: bool,
}

impl SegmentReport {
    /// Whether a segment begins with it.
    pub fn begins(&self) -> bool {
        self.part.is_none_or(|part| part == 0)
    }

    /// Bitrate of the media.
    pub fn rate(&self) -> Bitrate {
        Bitrate::of(self.octets, self.duration)
    }

    /// Rate of the download.
    pub fn throughput(&self) -> Bitrate {
        Bitrate::of(self.octets, self.elapsed)
    }
}

impl Event {
    /// One object; `event` says which. Times are in seconds, rates in kbit/s.
    pub fn json(&self) -> Value {
        match self {
            Self::Joined { node, url, target } => {
                json!({ "event": "joined", "node": node, "url": url, "target_duration": target.as_secs_f64() })
            }
            Self::Started { after } => json!({ "event": "started", "after": rounded(*after) }),
            Self::Segment(report) => report.json(),
            Self::Moved { from, to } => json!({ "event": "moved", "from": from, "to": to }),
            Self::Stalled { stalls } => json!({ "event": "stalled", "stalls": stalls }),
            Self::Resumed { after } => json!({ "event": "resumed", "after": rounded(*after) }),
            Self::Fault(fault) => json!({ "event": "fault", "fault": fault.to_string() }),
            Self::Retry { error, again_in } => {
                json!({ "event": "retry", "error": error, "again_in": rounded(*again_in) })
            }
            Self::Rejoining { node, error } => {
                json!({ "event": "rejoining", "node": node, "error": error })
            }
            Self::Finished => json!({ "event": "finished" }),
        }
    }
}

impl SegmentReport {
    fn json(&self) -> Value {
        json!({
            "event": "segment",
            "at": self.at.to_string(),
            "number": self.number,
            "part": self.part,
            "node": self.node,
            "rung": self.rung,
            "reason": self.reason,
            "kbps": self.rate().kbps(),
            "download_kbps": self.throughput().kbps(),
            "estimate_kbps": self.estimate.map(Bitrate::kbps),
            "duration": rounded(self.duration),
            "octets": self.octets,
            "elapsed": rounded(self.elapsed),
            "buffer": rounded(self.buffer),
            "latency": self.latency.map(rounded),
            "stalls": self.stalls,
            "stalled": rounded(self.stalled),
            "discontinuity": self.discontinuity,
            "explained": self.explained,
        })
    }
}

/// One line, without its end.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined { node, url, target } => {
                write!(f, "-- joined {node}: {url}, target duration {target:?}")
            }
            Self::Started { after } => write!(
                f,
                "-- playing, {:.2} s after the start",
                after.as_secs_f64()
            ),
            Self::Segment(report) => report.fmt(f),
            Self::Moved { from, to } => write!(f, "-- moved from {from} to {to}"),
            Self::Stalled { stalls } => write!(f, "-- stalled for want of media; stall {stalls}"),
            Self::Resumed { after } => write!(f, "-- playing again after {}", Seconds(*after)),
            Self::Fault(fault) => write!(f, "-- fault: {fault}"),
            Self::Retry { error, again_in } => {
                write!(f, "-- {error}; trying again in {}", Seconds(*again_in))
            }
            Self::Rejoining { node, error } => {
                write!(f, "-- {node} is gone ({error}); joining again")
            }
            Self::Finished => write!(f, "-- the stream has ended and was played to its end"),
        }
    }
}

/// The columns of [`HEADER`].
impl fmt::Display for SegmentReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.to_string();
        let time = at.get(11..19).unwrap_or(&at);
        let rung = self.rung.as_deref().unwrap_or("-");
        let estimate = self
            .estimate
            .map_or("-".into(), |rate| rate.kbps().to_string());
        let latency = self
            .latency
            .map_or("-".into(), |latency| Seconds(latency).to_string());
        write!(
            f,
            "{time} {:>10} {:<16} {rung:<8} {:>7} {:>9} {estimate:>8} {:>8} {latency:>8} {:>6}  {}{}",
            self.number,
            self.node,
            self.rate().kbps(),
            self.throughput().kbps(),
            Seconds(self.buffer).to_string(),
            self.stalls,
            self.reason.as_deref().unwrap_or("-"),
            if self.discontinuity {
                ", discontinuity"
            } else {
                ""
            },
        )?;
        match &self.explained {
            Some(explained) => write!(f, "\n         because {explained}"),
            None => Ok(()),
        }
    }
}

/// Names the columns of a segment's line; times are UTC, rates in kbit/s.
pub const HEADER: &str = "time UTC    segment node             rung        kbps  download estimate   buffer  latency stalls  reason";

/// Seconds with one decimal.
pub(super) struct Seconds(pub Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}

/// Seconds to the millisecond.
pub(super) fn rounded(span: Duration) -> f64 {
    (span.as_secs_f64() * 1000.0).round() / 1000.0
}
