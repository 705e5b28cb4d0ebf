//! What is wrong, where, and by which rule; each thing once, with how often it was seen. Which rules there are
//! is `rule`'s business.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use serde::{Serialize, Serializer};

use super::rule::{Rule, Severity};

/// Where something is wrong.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq, Serialize)]
pub struct Place {
    /// The playlist, or what was fetched because of it.
    pub url: String,
    /// Line of the playlist's text, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Media sequence number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Place of the part in its segment, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<usize>,
    /// The media itself, if it is the media that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media: Option<String>,
}

impl Place {
    pub fn of(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            ..Self::default()
        }
    }

    pub fn line(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }

    pub fn segment(mut self, number: u64) -> Self {
        self.number = Some(number);
        self
    }

    pub fn part(mut self, index: usize) -> Self {
        self.part = Some(index);
        self
    }

    pub fn media(mut self, url: &str) -> Self {
        self.media = Some(url.to_owned());
        self
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.url)?;
        if let Some(line) = self.line {
            write!(f, " line {line}")?;
        }
        if let Some(number) = self.number {
            write!(f, " segment {number}")?;
        }
        if let Some(part) = self.part {
            write!(f, " part {part}")?;
        }
        if let Some(media) = &self.media {
            write!(f, " ({media})")?;
        }
        Ok(())
    }
}

/// One thing that is wrong in one place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    pub place: Place,
    pub found: String,
    pub expected: String,
    /// Since the start, when it was first seen.
    #[serde(serialize_with = "seconds")]
    pub at: Duration,
}

/// All that breaks one rule in one playlist.
#[derive(Clone, Debug, Serialize)]
pub struct Broken {
    #[serde(flatten)]
    pub rule: &'static Rule,
    pub url: String,
    /// How many different things break it.
    pub count: u64,
    /// How often that was seen, the same thing again included: a wrong line is in every reload.
    pub seen: u64,
    /// The first few.
    pub examples: Vec<Finding>,
    #[serde(skip)]
    known: HashSet<u64>,
}

/// All findings of a run, by severity, rule and playlist.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    broken: BTreeMap<(Severity, &'static str, String), Broken>,
    now: Duration,
}

impl Findings {
    /// What is said from now on was seen this long after the start.
    pub fn at(&mut self, now: Duration) {
        self.now = now;
    }

    pub fn now(&self) -> Duration {
        self.now
    }

    /// `rule` is broken at `place`. Said twice, it counts once.
    pub fn say(
        &mut self,
        rule: &'static Rule,
        place: Place,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) {
        let finding = Finding {
            found: found.into(),
            expected: expected.into(),
            at: self.now,
            place,
        };
        let key = (rule.severity, rule.id, finding.place.url.clone());
        let broken = self.broken.entry(key).or_insert_with(|| Broken {
            rule,
            url: finding.place.url.clone(),
            count: 0,
            seen: 0,
            examples: Vec::new(),
            known: HashSet::new(),
        });
        broken.seen += 1;
        // What is remembered has a bound; beyond it, a repetition would count as another thing.
        if broken.known.len() >= KNOWN || !broken.known.insert(finding.identity()) {
            return;
        }
        broken.count += 1;
        if broken.examples.len() < EXAMPLES {
            broken.examples.push(finding);
        }
    }

    /// Breaches first.
    pub fn all(&self) -> impl Iterator<Item = &Broken> {
        self.broken.values()
    }

    /// How many different things there are of `severity`.
    pub fn count(&self, severity: Severity) -> u64 {
        let of = self
            .broken
            .values()
            .filter(|broken| broken.rule.severity == severity);
        of.map(|broken| broken.count).sum()
    }

    /// The rules that are broken, breaches first.
    pub fn rules(&self) -> Vec<&'static str> {
        let mut rules: Vec<_> = self.broken.values().map(|broken| broken.rule.id).collect();
        rules.dedup();
        rules
    }
}

impl Finding {
    /// The line does not count: as a window moves, so do the lines of what stays in it.
    fn identity(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.place.number, self.place.part, &self.place.media).hash(&mut hasher);
        (&self.found, &self.expected).hash(&mut hasher);
        hasher.finish()
    }
}

fn seconds<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64((span.as_secs_f64() * 1000.0).round() / 1000.0)
}

const EXAMPLES: usize = 3;

/// Enough for hours of a playlist in which everything is wrong.
const KNOWN: usize = 100_000;
