//! What hls.js in Chromium says of its round, read: the lines of `tests/players/page/adapting.js`.

use serde::Deserialize;

use super::seen::{Clock, Fetched, Seen, Shown};

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    Loaded { version: String, late: bool },
    Look(Look),
    Fetched(Load),
    Shown(Shown),
    Aborted { octets: u64 },
    Event { t: f64, what: String },
    Trouble { t: f64, what: String },
    Done {},
}

#[derive(Debug, Deserialize)]
struct Look {
    t: f64,
    position: f64,
    ahead: f64,
    age: Option<f64>,
    late: f64,
    dropped: u64,
    frames: u64,
}

#[derive(Debug, Deserialize)]
struct Load {
    segment: u64,
    part: Option<u64>,
    rung: Option<String>,
    octets: u64,
    asked: f64,
    first: f64,
    done: f64,
    reason: Option<String>,
    estimate: Option<u64>,
}

/// What the page whose `lines` these are has seen.
pub fn seen(lines: &[String]) -> Seen {
    let (mut seen, mut looks, mut done) = (Seen::default(), Vec::<Look>::new(), false);
    for line in lines.iter().filter(|line| line.starts_with('{')) {
        match serde_json::from_str(line) {
            Ok(Line::Loaded { version, late }) => {
                seen.version = Some(format!("hls.js {version}"));
                if late {
                    let why = "it was loaded only after the beginning: the machine is too slow";
                    seen.failed = Some(why.into());
                }
            }
            Ok(Line::Look(look)) => looks.push(look),
            Ok(Line::Fetched(load)) => seen.segments.push(load.into()),
            Ok(Line::Shown(shown)) => seen.shown.push(shown),
            Ok(Line::Aborted { octets }) => seen.wasted += octets,
            Ok(Line::Event { t, what }) => match what.as_str() {
                "playing" => seen.began = seen.began.or(Some(t)),
                "waiting" | "seeking" => {}
                _ => seen.troubles.push(format!("{t:.1} s: {what}")),
            },
            Ok(Line::Trouble { t, what }) => seen.troubles.push(format!("{t:.1} s: {what}")),
            Ok(Line::Done {}) => done = true,
            Err(error) => seen.troubles.push(format!("{error} in {line}")),
        }
    }
    if !done && seen.failed.is_none() {
        seen.failed = Some("the page did not come to its end".into());
    }
    let began = seen.began.unwrap_or(f64::INFINITY);
    let playing = || looks.iter().filter(|look| look.t >= began);
    let positions: Vec<_> = playing().map(|look| (look.t, look.position)).collect();
    seen.buffer = playing().map(|look| (look.t, look.ahead)).collect();
    seen.age = playing()
        .filter_map(|look| Some((look.t, look.age?)))
        .collect();
    (seen.stalls, seen.skipped) = CLOCK.stalls(&positions, &seen.buffer);
    seen.dropped = looks.last().map(|look| (look.dropped, look.frames));
    seen.late_ms.extend(looks.iter().map(|look| look.late));
    seen
}

impl From<Load> for Fetched {
    fn from(load: Load) -> Self {
        Self {
            t: load.asked,
            segment: load.segment,
            part: load.part,
            rung: load.rung,
            octets: Some(load.octets),
            first_ms: Some((load.first - load.asked) * 1000.0),
            delivered_ms: Some((load.done - load.asked) * 1000.0),
            reason: load.reason,
            estimate_kbps: load.estimate,
        }
    }
}

/// It looks ten times a second, and its clock goes by the sound it has given away.
const CLOCK: Clock = Clock {
    step: 0.0,
    blur: 0.25,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_line_by_line_and_what_it_does_not_say_is_told() {
        let lines = r#"{"kind":"loaded","t":-3.2,"version":"1.7.4","late":false}
{"kind":"fetched","t":0.9,"segment":7,"part":null,"rung":"360p","octets":9000,"asked":0.5,"first":0.6,"done":0.9}
{"kind":"event","t":1,"what":"playing"}
{"kind":"shown","t":1,"segment":7,"rung":"360p"}
{"kind":"look","t":1.0,"position":4,"ahead":2,"readyState":4,"paused":false,"age":6.5,"late":0,"dropped":0,"frames":1}
{"kind":"look","t":2.0,"position":5,"ahead":1,"readyState":4,"paused":false,"age":null,"late":3,"dropped":1,"frames":30}
{"kind":"nonsense"}"#;
        let lines: Vec<_> = lines.lines().map(str::to_owned).collect();
        let seen = seen(&lines);
        assert_eq!(
            (seen.began, seen.dropped, seen.stalls.len()),
            (Some(1.0), Some((1, 30)), 0)
        );
        assert_eq!(seen.segments[0].delivered_ms, Some(400.0));
        assert_eq!(seen.age, [(1.0, 6.5)]);
        assert!(
            seen.failed.is_some() && seen.troubles.len() == 1,
            "{seen:?}"
        );
    }
}
