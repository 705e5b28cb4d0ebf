//! Decisions of a log made again from their inputs: the same, or which are not.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::Path,
    time::Duration,
};

use adaptation::region::{Action, Ask, Balancer};
use anyhow::Context as _;

use super::journal::Line;
use crate::logfile;

/// What came of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Replayed {
    pub sections: usize,
    pub events: usize,
    pub decisions: usize,
    pub joins: usize,
    /// Where another decision was made than then, in words; at most [`MOST_TOLD`] of them.
    pub differences: Vec<String>,
    /// How many there were.
    pub differing: usize,
}

/// The log at `path`. If no section begins in it, for it was begun a moment ago, behind the one that was moved out of its way.
pub fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let open = |path: &Path| File::open(path).map(BufReader::new);
    let begins = |line: &str| {
        let line = serde_json::from_str::<Line>(line);
        line.is_ok_and(|line| line.state.is_some())
    };
    let mut lines = open(path)?.lines();
    if lines.any(|line| line.is_ok_and(|line| begins(&line))) {
        return Ok(Box::new(open(path)?));
    }
    match open(&logfile::moved(path)) {
        Ok(before) => Ok(Box::new(before.chain(open(path)?))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Box::new(open(path)?)),
        Err(error) => Err(error),
    }
}

/// Makes every decision of `log` again; `told` hears each of them, with the time at which it was made.
pub fn replay(
    log: impl BufRead,
    mut told: impl FnMut(Duration, &Action),
) -> anyhow::Result<Replayed> {
    let mut replayed = Replayed::default();
    let mut balancer: Option<Balancer> = None;
    let mut read = 0;
    for (number, line) in (1..).zip(log.lines()) {
        let line = line.context("the log cannot be read")?;
        // The last line of a manager that was killed may be half of one.
        let Ok(line) = serde_json::from_str::<Line>(&line) else {
            balancer = None;
            continue;
        };
        read += 1;
        let now = Duration::from_micros(line.us);
        if let Some(state) = line.state {
            balancer = Some(*state);
            replayed.sections += 1;
            continue;
        }
        // Behind a gap, until the next section.
        let Some(balancer) = &mut balancer else {
            continue;
        };
        if let Some(event) = line.event {
            // Who was refused then is refused again.
            let _ = balancer.handle(event, now);
            let decided: Vec<_> = std::iter::from_fn(|| balancer.poll()).collect();
            decided.iter().for_each(|action| told(now, action));
            replayed.events += 1;
            replayed.decisions += decided.len();
            if decided != line.decided {
                replayed.differ(number, &line.decided, &decided);
            }
        } else if let Some((join, route)) = line.join.zip(line.route) {
            let ask = Ask {
                region: &join.region,
                stream: join.stream.as_deref(),
                before: join.before.as_deref(),
            };
            let again = match join.patient {
                true => balancer.route(ask, now),
                false => balancer.route_now(ask, now),
            };
            replayed.joins += 1;
            if again != route {
                replayed.differ(number, &route, &again);
            }
        }
    }
    anyhow::ensure!(
        replayed.sections > 0 || read == 0,
        "its {read} lines go on with a section that began before it, and nothing can be made again without that; it is in the log that was moved away before this one, which is FILE.1 where the manager moved it"
    );
    anyhow::ensure!(
        replayed.sections > 0,
        "there is no section in it that begins with a `state` of this release; is it a log of its --decisions-log?"
    );
    Ok(replayed)
}

impl Replayed {
    fn differ(&mut self, line: usize, then: &impl std::fmt::Debug, now: &impl std::fmt::Debug) {
        self.differing += 1;
        if self.differences.len() < MOST_TOLD {
            let told = format!("line {line}: then {then:?}, now {now:?}");
            self.differences.push(told);
        }
    }
}

/// Differences that are told in full.
pub const MOST_TOLD: usize = 10;
