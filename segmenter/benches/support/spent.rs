//! What a program took: CPU time by the kernel's account, and the most memory.

use std::{fs, process::Command, thread, time::Duration};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// Seconds.
    pub(crate) cpu: f64,
    /// Most memory that was resident, in kB.
    pub(crate) peak: u64,
}

/// Runs it to its end, which must be a good one.
pub(crate) fn run(command: &mut Command) -> Spent {
    let before = of_children();
    let mut child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let end = loop {
        // The high-water mark only rises, so the last look before the end is good enough.
        let said = fs::read_to_string(&status).unwrap_or_default();
        let mark = said.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let mark = mark.and_then(|mark| mark.split_whitespace().next()?.parse().ok());
        peak = peak.max(mark.unwrap_or(0));
        match child.try_wait().unwrap() {
            Some(end) => break end,
            None => thread::sleep(Duration::from_millis(10)),
        }
    };
    assert!(end.success(), "{command:?}");
    Spent {
        cpu: of_children() - before,
        peak,
    }
}

/// CPU seconds of all children that were waited for (proc(5): `cutime`, `cstime`, in hundredths).
fn of_children() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit_once(')').unwrap().1;
    let ticks = fields.split_whitespace().skip(13).take(2);
    ticks
        .map(|ticks| ticks.parse::<f64>().unwrap() / 100.0)
        .sum()
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
