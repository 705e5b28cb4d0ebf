//! The comparison as text: a line per rule and family, with intervals over traces, and the difference
//! from hls.js on the same occasions.

use std::fmt::Write as _;

use serde::Serialize;

use super::{
    many::{Crowd, Told},
    measure::Session,
    single::Results,
    statistics::Interval,
};

/// What came of one rule on one family.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub family: String,
    pub rule: String,
    pub hours: f64,
    /// Mbit/s.
    pub bitrate: Interval,
    pub utility: Interval,
    /// Per cent of the time since the first picture.
    pub stalled: Interval,
    pub stalls_an_hour: Interval,
    pub switches_a_minute: Interval,
    pub startup: Interval,
    pub latency: Interval,
    pub qoe: Interval,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vmaf: Option<Interval>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vmaf_qoe: Option<Interval>,
    /// Of the optimum's QoE, in per cent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_optimum: Option<f64>,
    /// Paired with hls.js: bitrate in per cent, stalled time in percentage points, QoE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Against {
    pub bitrate: Interval,
    pub stalled: Interval,
    pub qoe: Interval,
}

/// Of each trace, the sum of `of` over its sessions.
fn per_trace(results: &Results, of: impl Fn(&Session) -> f64) -> Vec<f64> {
    results
        .traces
        .iter()
        .map(|sessions| sessions.iter().map(&of).sum())
        .collect()
}

fn mean(results: &Results, of: impl Fn(&Session) -> f64) -> Interval {
    Interval::ratio(&per_trace(results, of), &per_trace(results, |_| 1.0))
}

impl Summary {
    /// `all` are those of the same run, among which are the ones to compare with.
    pub fn of(results: &Results, all: &[Results]) -> Self {
        let rival = |rule: &str| {
            all.iter()
                .find(|other| other.family == results.family && other.rule == rule)
        };
        let watched = per_trace(results, |session| {
            (session.seconds - session.startup).max(1.0)
        });
        let over = |per: f64, of: &dyn Fn(&Session) -> f64| {
            let above: Vec<f64> = per_trace(results, of).iter().map(|sum| sum * per).collect();
            Interval::ratio(&above, &watched)
        };
        let qoe = mean(results, |session| session.qoe);
        let known = results
            .traces
            .iter()
            .flatten()
            .all(|session| session.vmaf.is_some());
        let vmaf = |of: fn(&super::measure::Vmaf) -> f64| {
            known.then(|| mean(results, |session| session.vmaf.as_ref().map_or(0.0, of)))
        };
        Self {
            family: results.family.clone(),
            rule: results.rule.clone(),
            hours: results
                .traces
                .iter()
                .flatten()
                .map(|session| session.seconds)
                .sum::<f64>()
                / 3600.0,
            bitrate: mean(results, |session| session.bitrate),
            utility: mean(results, |session| session.utility),
            stalled: over(100.0, &|session| session.stalled),
            stalls_an_hour: over(3600.0, &|session| f64::from(session.stalls)),
            switches_a_minute: over(60.0, &|session| f64::from(session.switches)),
            startup: mean(results, |session| session.startup),
            latency: mean(results, |session| session.latency),
            qoe,
            vmaf: vmaf(|vmaf| vmaf.mean),
            vmaf_qoe: vmaf(|vmaf| vmaf.qoe),
            of_optimum: rival("optimum")
                .map(|best| 100.0 * qoe.mean / mean(best, |session| session.qoe).mean),
            against: rival("hls.js").map(|rival| Against::of(results, rival)),
        }
    }
}

impl Against {
    fn of(results: &Results, rival: &Results) -> Self {
        let differences = |of: &dyn Fn(&Session) -> f64| -> Vec<f64> {
            let ours = per_trace(results, of);
            ours.iter()
                .zip(per_trace(rival, of))
                .map(|(ours, theirs)| ours - theirs)
                .collect()
        };
        let sessions = per_trace(results, |_| 1.0);
        let rate = |session: &Session| session.bitrate;
        let ratio = Interval::ratio(&differences(&rate), &per_trace(rival, rate));
        let percent = |at: f64| at * 100.0;
        Self {
            bitrate: Interval {
                mean: percent(ratio.mean),
                low: percent(ratio.low),
                high: percent(ratio.high),
            },
            stalled: Interval::ratio(
                &differences(&|session| 100.0 * session.stall_ratio()),
                &sessions,
            ),
            qoe: Interval::ratio(&differences(&|session| session.qoe), &sessions),
        }
    }
}

/// All of it, family after family.
pub fn table(summaries: &[Summary]) -> String {
    let mut text = String::new();
    let mut family = "";
    for summary in summaries {
        if summary.family != family {
            family = &summary.family;
            head(&mut text, summary);
        }
        line(&mut text, summary);
    }
    text
}

fn head(text: &mut String, summary: &Summary) {
    let vmaf = if summary.vmaf.is_some() {
        "  VMAF  QoE(VMAF)"
    } else {
        ""
    };
    let _ = writeln!(
        text,
        "\n{}: {:.1} hours for each rule\n{:<14} {:>17} {:>19} {:>8} {:>7} {:>6} {:>16} {:>5} {:>17} {:>21} {:>21}{vmaf}",
        summary.family,
        summary.hours,
        "",
        "Mbit/s",
        "stalled %",
        "stalls/h",
        "sw/min",
        "start",
        "QoE",
        "opt%",
        "Mbit/s % vs hls",
        "stalled pp vs hls",
        "QoE vs hls",
    );
}

fn line(text: &mut String, summary: &Summary) {
    let Interval { mean, low, high } = summary.bitrate;
    let _ = write!(
        text,
        "{:<14} {mean:5.2} [{low:4.2}, {high:4.2}]",
        summary.rule
    );
    let Interval { mean, low, high } = summary.stalled;
    let _ = write!(text, " {mean:5.2} [{low:5.2},{high:5.2}]");
    let _ = write!(
        text,
        " {:8.1} {:7.2} {:6.2}",
        summary.stalls_an_hour.mean, summary.switches_a_minute.mean, summary.startup.mean
    );
    let Interval { mean, low, high } = summary.qoe;
    let _ = write!(text, " {mean:5.2} [{low:4.2},{high:4.2}]");
    match summary.of_optimum {
        Some(share) => _ = write!(text, " {share:5.0}"),
        None => text.push_str("     -"),
    }
    if let Some(Against {
        bitrate,
        stalled,
        qoe,
    }) = summary.against
    {
        let Interval { mean, low, high } = bitrate;
        let _ = write!(text, " {mean:+5.0} [{low:+4.0},{high:+4.0}]");
        for Interval { mean, low, high } in [stalled, qoe] {
            let _ = write!(text, " {mean:+6.2} [{low:+5.2},{high:+5.2}]");
        }
    }
    if let (Some(vmaf), Some(qoe)) = (summary.vmaf, summary.vmaf_qoe) {
        let _ = write!(text, " {:6.1} {:6.1}", vmaf.mean, qoe.mean);
    }
    text.push('\n');
}

/// What came of one crowd, over its seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub rule: String,
    pub allocated: bool,
    /// Per cent.
    pub load: f64,
    pub halved: bool,
    pub bitrate: Interval,
    pub jain: Interval,
    pub utilization: Interval,
    pub instability: Interval,
    pub switches_a_minute: Interval,
    pub stalls_an_hour: Interval,
    pub stalled: Interval,
    /// In all runs.
    pub stalls: u32,
}

impl Row {
    pub fn of(rule: String, crowd: &Crowd, told: &[Told]) -> Self {
        let over = |of: fn(&Told) -> f64| Interval::of(&told.iter().map(of).collect::<Vec<_>>());
        Self {
            rule,
            allocated: crowd.allocated,
            load: crowd.load * 100.0,
            halved: crowd.halved,
            bitrate: over(|told| told.bitrate),
            jain: over(|told| told.jain),
            utilization: over(|told| told.utilization),
            instability: over(|told| told.instability),
            switches_a_minute: over(|told| told.switches_a_minute),
            stalls_an_hour: over(|told| told.stalls_an_hour),
            stalled: over(|told| told.stalled),
            stalls: told.iter().map(|told| told.stalls).sum(),
        }
    }
}

/// Load after load.
pub fn crowd_table(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut loads: Vec<(f64, bool)> = rows.iter().map(|row| (row.load, row.halved)).collect();
    loads.sort_by(|a, b| a.1.cmp(&b.1).then(a.0.total_cmp(&b.0)));
    loads.dedup();
    for (load, halved) in loads {
        let halved_too = if halved {
            ", and half of the bottleneck lost"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "\n{load:.0} % load{halved_too}\n{:<24} {:>7} {:>20} {:>20} {:>8} {:>19} {:>9} {:>7}",
            "",
            "Mbit/s",
            "Jain of utility",
            "utilization",
            "instab.",
            "switches/viewer-min",
            "stalls/h",
            "stalls"
        );
        for row in rows
            .iter()
            .filter(|row| (row.load, row.halved) == (load, halved))
        {
            let shared = if row.allocated { " + allocator" } else { "" };
            let _ = write!(
                text,
                "{:<24} {:7.2}",
                format!("{}{shared}", row.rule),
                row.bitrate.mean
            );
            for Interval { mean, low, high } in [row.jain, row.utilization] {
                let _ = write!(text, " {mean:6.3} [{low:.3},{high:.3}]");
            }
            let Interval { mean, low, high } = row.switches_a_minute;
            let _ = writeln!(
                text,
                " {:8.4}  {mean:6.2} [{low:4.2},{high:4.2}] {:9.1} {:7}",
                row.instability.mean, row.stalls_an_hour.mean, row.stalls
            );
        }
    }
    text
}
