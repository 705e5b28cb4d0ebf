//! What a controller was told and what it said, so that the real one can be told the same.

use serde::Serialize;

use super::{Level, Progress};

/// One call of a controller, and its answer.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    Next {
        buffer: f64,
        level: usize,
    },
    Playlist {
        seconds: f64,
    },
    Loading {
        level: usize,
        duration: f64,
    },
    Check {
        level: usize,
        progress: Progress,
        lower: Option<usize>,
        estimate: f64,
    },
    Loaded {
        level: usize,
        first_byte: f64,
        elapsed: f64,
        octets: f64,
        estimate: f64,
        first_byte_estimate: f64,
    },
}

/// One player's.
#[derive(Clone, Debug, Serialize)]
pub struct Recording {
    pub levels: Vec<Level>,
    pub first: usize,
    pub steps: Vec<Step>,
}
