//! The ladder: every encoding of one stream, cheapest first. What is in each segment is `segment`'s business.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::time::Bitrate;

/// One encoding of the stream.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Rung {
    /// Names the rung in URLs and logs, such as `480p`.
    pub name: RungName,
    pub width: u32,
    pub height: u32,
    /// Peak segment bitrate, audio and container included (RFC 8216bis, `BANDWIDTH`).
    pub bandwidth: Bitrate,
    /// Average segment bitrate, audio and container included (`AVERAGE-BANDWIDTH`).
    pub average: Bitrate,
    /// RFC 6381 codecs, such as `avc1.4D401F,mp4a.40.2`.
    pub codecs: String,
    /// Frames per second.
    pub frame_rate: f64,
    /// How good it looks against the others, by whatever measure (RFC 8216bis, `SCORE`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
}

/// A name that is one safe path segment: 1 to 32 of `a-z A-Z 0-9 - _`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct RungName(String);

impl RungName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RungName {
    type Error = LadderError;

    fn try_from(name: String) -> Result<Self, LadderError> {
        if is_path_safe(&name) {
            Ok(Self(name))
        } else {
            Err(LadderError::Name { name })
        }
    }
}

impl From<RungName> for String {
    fn from(name: RungName) -> Self {
        name.0
    }
}

impl std::fmt::Display for RungName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `name` can be a segment of a URL path, a metric label and a log field without escaping.
pub fn is_path_safe(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// At least one rung, cheapest first by average bitrate, no two of one name.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "Vec<Rung>", into = "Vec<Rung>")]
pub struct Ladder(Vec<Rung>);

impl Ladder {
    pub fn new(mut rungs: Vec<Rung>) -> Result<Self, LadderError> {
        rungs.sort_by_key(|rung| (rung.average, rung.bandwidth));
        let mut names = HashSet::new();
        if let Some(twice) = rungs.iter().find(|rung| !names.insert(&rung.name)) {
            return Err(LadderError::Twice {
                name: twice.name.to_string(),
            });
        }
        if rungs.is_empty() || rungs.len() > MAX_RUNGS {
            return Err(LadderError::Count { count: rungs.len() });
        }
        Ok(Self(rungs))
    }

    pub fn rungs(&self) -> &[Rung] {
        &self.0
    }

    /// Rungs are counted from the cheapest, which is 0.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|rung| rung.name.as_str() == name)
    }

    pub fn top(&self) -> &Rung {
        &self.0[self.0.len() - 1]
    }

    /// How much more each rung is worth to who watches it than the cheapest, by their scores; scaled so that
    /// the dearest is worth as much more as the logarithm of its rate says. Empty where a rung has no score, or where
    /// one that costs more has less.
    pub fn worth(&self) -> Vec<f32> {
        let scores: Option<Vec<f32>> = self.0.iter().map(|rung| rung.score).collect();
        let scores = scores
            .filter(|scores| scores.is_sorted())
            .unwrap_or_default();
        let (Some(least), Some(most)) = (scores.first(), scores.last()) else {
            return Vec::new();
        };
        let rate = |rung: &Rung| rung.average.bps().max(1) as f32;
        let scale = (rate(self.top()) / rate(&self.0[0])).ln() / (most - least);
        if !scale.is_finite() {
            return Vec::new();
        }
        scores.iter().map(|score| (score - least) * scale).collect()
    }
}

impl TryFrom<Vec<Rung>> for Ladder {
    type Error = LadderError;

    fn try_from(rungs: Vec<Rung>) -> Result<Self, LadderError> {
        Self::new(rungs)
    }
}

impl From<Ladder> for Vec<Rung> {
    fn from(ladder: Ladder) -> Self {
        ladder.0
    }
}

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LadderError {
    #[error("rung name {name:?} is not 1 to 32 letters, digits, '-' or '_'")]
    Name { name: String },
    #[error("two rungs are called {name:?}; every rung needs a name of its own")]
    Twice { name: String },
    #[error("a ladder has 1 to {MAX_RUNGS} rungs, not {count}")]
    Count { count: usize },
}

/// More rungs than this help no viewer, and a rung's index stays a byte.
pub const MAX_RUNGS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn worth(scores: &[Option<f32>]) -> Vec<f32> {
        let rung = |(index, score): (u64, &Option<f32>)| Rung {
            name: RungName::try_from(format!("r{index}")).unwrap(),
            width: 640,
            height: 360,
            bandwidth: Bitrate::from_kbps(1000 << index),
            average: Bitrate::from_kbps(1000 << index),
            codecs: String::new(),
            frame_rate: 30.0,
            score: *score,
        };
        Ladder::new((0..).zip(scores).map(rung).collect())
            .unwrap()
            .worth()
    }

    #[test]
    fn scores_are_scaled_to_what_the_rates_promise() {
        let ln4 = 4f32.ln();
        assert_eq!(
            worth(&[Some(60.0), Some(90.0), Some(100.0)]),
            [0.0, 0.75 * ln4, ln4]
        );
        for unknown in [
            &[None, None][..],
            &[Some(60.0), None],
            &[Some(60.0), Some(50.0)],
            &[Some(60.0), Some(60.0)],
            &[Some(60.0)],
        ] {
            assert_eq!(worth(unknown), [0.0; 0], "{unknown:?}");
        }
    }
}
