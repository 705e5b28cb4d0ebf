//! A run as a figure: who was where, what the primary sent, what stalled, over time. Knows nothing of how it came about.

use std::collections::{BTreeMap, BTreeSet};

use super::{account::Second, crowd::Outcome, seen::Seen};
use crate::drawing::{Svg, nice, ticks};

/// The figure as SVG.
pub fn draw(title: &str, outcome: &Outcome) -> String {
    let seconds = &outcome.report.seconds;
    let mut svg = Svg::new(WIDTH, TOP + 3.0 * PANEL + 10.0);
    svg.text((16.0, 26.0), "start", 16, title);
    let over = |pick: &dyn Fn(&Second) -> BTreeMap<String, f64>| {
        let names: BTreeSet<_> = seconds
            .iter()
            .flat_map(|second| pick(second).into_keys())
            .collect();
        let line = |name: String| {
            let points = seconds
                .iter()
                .map(|second| (second.at, pick(second).get(&name).copied().unwrap_or(0.0)));
            (name.clone(), points.collect())
        };
        names.into_iter().map(line).collect::<Vec<_>>()
    };
    let end = seconds.last().map_or(1.0, |last| last.at);
    let regions = over(&|second| {
        second
            .regions
            .iter()
            .map(|(name, count)| (name.clone(), *count as f64))
            .collect()
    });
    let mut above = regions.clone();
    above.extend(thresholds(&outcome.seen, &regions, end));
    panel(&mut svg, 0, "viewers by region", end, &above);
    let nodes = over(&|second| {
        second
            .nodes
            .iter()
            .map(|(name, count)| (name.clone(), *count as f64))
            .collect()
    });
    panel(
        &mut svg,
        1,
        "viewers by the node that serves them",
        end,
        &nodes,
    );
    let mut sent = over(&|second| {
        second
            .mbps
            .iter()
            .map(|(name, mbps)| (name.clone(), *mbps))
            .collect()
    });
    for (_, points) in &mut sent {
        smooth(points);
    }
    let stalls = outcome
        .report
        .regions
        .values()
        .map(|region| region.stalls)
        .sum::<u64>();
    if sent.len() > 1 {
        sent.push((ALONE.to_owned(), summed(&sent)));
    }
    let title = format!("Mbit/s of media to viewers, by node; {stalls} stalls in all");
    panel(&mut svg, 2, &title, end, &sent);
    marks(&mut svg, end, &outcome.seen);
    svg.done()
}

/// What the primary takes of each region that ever had more.
fn thresholds(seen: &Seen, regions: &[Line], end: f64) -> Vec<Line> {
    let crossed = regions.iter().filter_map(|(name, points)| {
        let threshold = *seen.thresholds.get(name)? as f64;
        let over = points.iter().any(|(_, viewers)| *viewers > threshold);
        let line = vec![(0.0, threshold), (end, threshold)];
        over.then(|| (format!("{THRESHOLD} of {name}"), line))
    });
    crossed.collect()
}

/// What all of them send together.
fn summed(sent: &[Line]) -> Vec<(f64, f64)> {
    let first = sent.first().map(|(_, points)| points.clone());
    let mut sum = first.unwrap_or_default();
    for (_, points) in &sent[1.min(sent.len())..] {
        for ((_, all), (_, one)) in sum.iter_mut().zip(points) {
            *all += one;
        }
    }
    sum
}

type Line = (String, Vec<(f64, f64)>);

fn panel(svg: &mut Svg, row: usize, title: &str, end: f64, lines: &[Line]) {
    let (left, above) = (56.0, TOP + row as f64 * PANEL);
    let (width, height) = (WIDTH - left - 170.0, PANEL - 52.0);
    let most = lines
        .iter()
        .flat_map(|(_, points)| points)
        .map(|(_, value)| *value)
        .fold(1.0, f64::max);
    let top = nice(most);
    let across = |at: f64| left + at / end.max(0.001) * width;
    let up = |value: f64| above + height - value / top * height;
    svg.title((left, above - 8.0), title);
    for tick in ticks(top, 4) {
        svg.line(
            &[(left, up(tick)), (left + width, up(tick))],
            "#ddd",
            1.0,
            "",
        );
        svg.text((left - 6.0, up(tick) + 4.0), "end", 11, &format!("{tick}"));
    }
    for tick in ticks(end, 8) {
        svg.text(
            (across(tick), above + height + 16.0),
            "middle",
            11,
            &format!("{tick} s"),
        );
    }
    for (index, (name, points)) in lines.iter().enumerate() {
        let (colour, dashes) = style(index, name);
        let drawn: Vec<_> = points
            .iter()
            .map(|(at, value)| (across(*at), up(*value)))
            .collect();
        svg.line(&drawn, colour, 1.8, dashes);
        if index < NAMED {
            let y = above + 8.0 + 15.0 * index as f64;
            svg.line(
                &[(left + width + 10.0, y), (left + width + 28.0, y)],
                colour,
                1.8,
                dashes,
            );
            svg.text((left + width + 32.0, y + 4.0), "start", 11, name);
        }
    }
}

/// Of a line that stands for a region or a node, or else for what is held against those.
fn style(index: usize, name: &str) -> (&'static str, &'static str) {
    if name == ALONE || name.starts_with(THRESHOLD) {
        return ("#888888", "6 3");
    }
    let dashes = DASHES[index / COLOURS.len() % DASHES.len()];
    (COLOURS[index % COLOURS.len()], dashes)
}

/// When relays were started and drained.
fn marks(svg: &mut Svg, end: f64, seen: &Seen) {
    let (left, above) = (56.0, TOP + PANEL);
    let (width, height) = (WIDTH - left - 170.0, PANEL - 52.0);
    let mut before = BTreeMap::new();
    for look in &seen.looks {
        let states: BTreeMap<_, _> = look
            .nodes
            .iter()
            .map(|(name, node)| (name.clone(), node.state.clone()))
            .collect();
        for (name, state) in &states {
            let news = before.get(name) != Some(state);
            if news && (state == "active" || state == "draining") && !before.is_empty() {
                let x = left + look.at / end.max(0.001) * width;
                let dashes = if state == "active" { "4 3" } else { "1 3" };
                svg.line(&[(x, above), (x, above + height)], "#999", 1.0, dashes);
            }
        }
        before = states;
    }
}

/// Media comes by segments, for all at the same time; seven seconds of it are a rate.
fn smooth(points: &mut [(f64, f64)]) {
    let raw: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    for (index, (_, value)) in points.iter_mut().enumerate() {
        let around = &raw[index.saturating_sub(3)..(index + 4).min(raw.len())];
        *value = around.iter().sum::<f64>() / around.len() as f64;
    }
}

const WIDTH: f64 = 860.0;
const PANEL: f64 = 200.0;
const TOP: f64 = 60.0;
/// Names that have room beside a panel.
const NAMED: usize = 9;
/// The line of what the primary would have to send if there were no relays.
const ALONE: &str = "all of them together";
const THRESHOLD: &str = "threshold";
const COLOURS: [&str; 6] = [
    "#1b6ca8", "#c8553d", "#3a7d44", "#8e5ea2", "#b8860b", "#555555",
];
const DASHES: [&str; 3] = ["", "6 3", "2 2"];
