//! Decisions that somebody logged, made again: a rule that is pure must come to the same rung.

use std::io::BufRead;

use adaptation::Decision;
use anyhow::Context as _;

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    pub same: usize,
    /// Numbers of lines, and what is wrong with each.
    pub different: Vec<(usize, String)>,
}

/// Of JSON lines; empty ones do not count.
pub fn replay(lines: impl BufRead) -> anyhow::Result<Replay> {
    let mut replay = Replay::default();
    for (number, line) in (1..).zip(lines.lines()) {
        let line = line.with_context(|| format!("line {number}"))?;
        if line.trim().is_empty() {
            continue;
        }
        match again(&line) {
            Ok(()) => replay.same += 1,
            Err(error) => replay.different.push((number, format!("{error:#}"))),
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
