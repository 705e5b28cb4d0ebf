//! The report as a table on a terminal.

use std::fmt;

use super::report::{Report, Summary, Together, Total};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for round in &self.rounds {
            writeln!(
                f,
                "{} (run {}, {:.2} Mbit/s in the mean, {:.0} s)",
                round.trace.name,
                round.run,
                round.mean_kbps / 1000.0,
                self.about.seconds
            )?;
            heading(f)?;
            for played in &round.players {
                let summary = &played.summary;
                row(f, &played.player, summary)?;
                if let Some(failed) = &summary.failed {
                    writeln!(f, "    failed: {failed}")?;
                }
                if summary.held_s > 0.0 {
                    writeln!(
                        f,
                        "    stood still for {:.1} s more with media in its buffer: not the link's",
                        summary.held_s
                    )?;
                }
                for trouble in played.troubles.iter().take(3) {
                    writeln!(f, "    {trouble}")?;
                }
            }
            if let Some(together) = &round.together {
                let Together { jain, utilization } = together;
                let share = utilization * 100.0;
                writeln!(
                    f,
                    "  behind one link: Jain's index of bitrates {jain:.3}, {share:.0} % of the link used"
                )?;
            }
            for limit in &round.machine.limits {
                writeln!(
                    f,
                    "  THE MACHINE WAS THE LIMIT, and this round does not count: {limit}"
                )?;
            }
            writeln!(f)?;
        }
        if self.rounds.len() > 1 {
            let left_out = self.totals.first().map_or(0, |total| total.left_out);
            let counted = self.rounds.len() - left_out;
            writeln!(
                f,
                "all: {counted} rounds, {left_out} left out as the machine was the limit"
            )?;
            heading(f)?;
            for total in &self.totals {
                row(f, &total.player, &total.as_summary())?;
            }
            writeln!(f)?;
        }
        for pair in &self.against {
            let bitrate = pair
                .bitrate
                .map_or("-".into(), |ratio| format!("{ratio:.2} times the bitrate"));
            writeln!(
                f,
                "{} against {}: {bitrate}, stall ratio {:+.2} points",
                pair.player,
                pair.against,
                pair.stall_ratio * 100.0
            )?;
        }
        Ok(())
    }
}

fn heading(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(
        f,
        "  {:<14} {:>8} {:>7} {:>8} {:>8} {:>8} {:>9} {:>8} {:>8}",
        "player",
        "Mbit/s",
        "stalls",
        "stalled",
        "stall %",
        "start",
        "switches",
        "behind",
        "skipped"
    )?;
    writeln!(
        f,
        "  {:<14} {:>8} {:>7} {:>8} {:>8} {:>8} {:>9} {:>8} {:>8}",
        "", "", "", "s", "", "s", "/min", "live s", "s"
    )
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, seen: &Summary) -> fmt::Result {
    let maybe = |value: Option<f64>, places: usize| {
        value.map_or("-".to_owned(), |value| format!("{value:.places$}"))
    };
    writeln!(
        f,
        "  {name:<14} {:>8} {:>7} {:>8.1} {:>8.2} {:>8} {:>9.1} {:>8} {:>8.1}",
        maybe(seen.bitrate_kbps.map(|kbps| kbps / 1000.0), 2),
        seen.stalls,
        seen.stalled_s,
        seen.stall_ratio * 100.0,
        maybe(seen.startup_s, 2),
        seen.switches_per_minute,
        maybe(seen.age_s, 1),
        seen.skipped_s,
    )
}

impl Total {
    fn as_summary(&self) -> Summary {
        Summary {
            startup_s: self.startup_s,
            stalls: self.stalls,
            stalled_s: self.stalled_s,
            stall_ratio: self.stall_ratio,
            bitrate_kbps: self.bitrate_kbps,
            switches_per_minute: self.switches_per_minute,
            age_s: self.age_s,
            skipped_s: self.skipped_s,
            ..Summary::default()
        }
    }
}
