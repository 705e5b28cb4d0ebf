//! Decisions that somebody logged, made again: a rule that is pure must come to the same rung.

use std::io::BufRead;

use adaptation::Decision;
use anyhow::Context as _;
use serde::Serialize;

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Replay {
    pub same: usize,
    pub different: Vec<Different>,
}

/// The number of a line, and what is wrong with it.
#[derive(Clone, Debug, Serialize)]
pub struct Different {
    pub line: usize,
    pub why: String,
}

/// Of JSON lines; empty ones do not count.
pub fn replay(lines: impl BufRead) -> anyhow::Result<Replay> {
    let mut replay = Replay::default();
    for (line, text) in (1..).zip(lines.lines()) {
        let text = text.with_context(|| format!("line {line}"))?;
        if text.trim().is_empty() {
            continue;
        }
        match again(&text) {
            Ok(()) => replay.same += 1,
            Err(error) => {
                let why = format!("{error:#}");
                replay.different.push(Different { line, why });
            }
        }
    }
    Ok(replay)
}

fn again(line: &str) -> anyhow::Result<()> {
    let decision: Decision = serde_json::from_str(line).context("is no decision")?;
    let choice = decision
        .again()
        .with_context(|| format!("there is no rule {:?}", decision.rule))?;
    anyhow::ensure!(
        choice.rung == decision.rung,
        "segment {}: {} chose rung {} ({}), and now {} ({})",
        decision.number,
        decision.rule,
        decision.rung,
        decision.reason,
        choice.rung,
        choice.reason
    );
    Ok(())
}
