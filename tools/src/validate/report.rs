//! What was found, for people and for programs.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::{
    checker::{Checker, Summary},
    finding::Broken,
    rule::Severity,
};

/// All that a run has found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub url: String,
    pub seconds: f64,
    /// How many different things are wrong.
    pub breaches: u64,
    pub warnings: u64,
    pub playlists: Vec<Summary>,
    /// Breaches first.
    pub findings: Vec<Broken>,
}

impl Report {
    pub fn new(url: &str, span: Duration, checker: &Checker) -> Self {
        Self {
            url: url.to_owned(),
            seconds: (span.as_secs_f64() * 10.0).round() / 10.0,
            breaches: checker.findings.count(Severity::Breach),
            warnings: checker.findings.count(Severity::Warning),
            playlists: checker.summaries(),
            findings: checker.findings.all().cloned().collect(),
        }
    }

    /// 0 if nothing is wrong, 1 if something is. Warnings are advice.
    pub fn exit_code(&self) -> u8 {
        u8::from(self.breaches > 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for broken in &self.findings {
            let severity = match broken.rule.severity {
                Severity::Breach => "BREACH ",
                Severity::Warning => "warning",
                Severity::Note => "note   ",
            };
            let times = if broken.count > 1 {
                format!(" ({} times)", broken.count)
            } else {
                String::new()
            };
            writeln!(
                f,
                "{severity} {}{times}: {}",
                broken.rule.id, broken.rule.source
            )?;
            for finding in &broken.examples {
                writeln!(
                    f,
                    "    at {:.1} s in {}",
                    finding.at.as_secs_f64(),
                    finding.place
                )?;
                writeln!(f, "        found {}", finding.found)?;
                writeln!(f, "        expected {}", finding.expected)?;
            }
            if broken.count > broken.examples.len() as u64 {
                writeln!(
                    f,
                    "    and {} more",
                    broken.count - broken.examples.len() as u64
                )?;
            }
        }
        for playlist in &self.playlists {
            write!(f, "{}: {} reloads", playlist.url, playlist.reloads)?;
            if let (Some(first), Some(last)) = (playlist.first, playlist.last) {
                write!(f, ", at last segments {first} to {last}")?;
            }
            write!(f, ", {} segments fetched", playlist.segments_fetched)?;
            for (what, measured, declared) in [
                ("peak", playlist.peak, playlist.declared_peak),
                ("average", playlist.average, playlist.declared_average),
            ] {
                let Some(measured) = measured else { continue };
                write!(f, ", {what} {} kbit/s", measured / 1000)?;
                if let Some(declared) = declared {
                    write!(f, " of {} declared", declared / 1000)?;
                }
            }
            writeln!(f)?;
        }
        write!(
            f,
            "{} in {:.1} s: {} breaches, {} warnings",
            self.url, self.seconds, self.breaches, self.warnings
        )
    }
}
