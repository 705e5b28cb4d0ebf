//! The report as a picture: for each round, what the link carried, and for each player its rungs as steps, its stalls
//! and its buffer, all over the same seconds. SVG, by hand; every panel is as wide as the page.
//!
//! Colours are those of Okabe and Ito, which colour-blind people tell apart; what differs differs in shape as well.

use super::report::{About, Played, Report, Round};
use crate::drawing::{Svg, nice, ticks};

/// The whole report, its rounds from top to bottom.
pub fn draw(report: &Report) -> String {
    let heights = report
        .rounds
        .iter()
        .map(|round| TITLE + PANEL * round.players.len() as f64 + FOOT);
    let height: f64 = HEAD + heights.sum::<f64>();
    let mut svg = Svg::new(WIDTH, height);
    legend(&mut svg, &report.about);
    let mut top = HEAD;
    for round in &report.rounds {
        top = draw_round(&mut svg, &report.about, round, top);
    }
    svg.done()
}

fn legend(svg: &mut Svg, about: &About) {
    let (mut x, y) = (LEFT, 24.0);
    let mut entry = |svg: &mut Svg, text: &str, width: f64, mark: &dyn Fn(&mut Svg, f64)| {
        mark(svg, x);
        svg.text((x + 30.0, y + 4.0), "start", 13, text);
        x += width;
    };
    entry(svg, "the link carries", 150.0, &|svg, x| {
        svg.rect((x, y - 7.0), (24.0, 14.0), LINK, 1.0);
    });
    entry(svg, "rung asked for", 145.0, &|svg, x| {
        svg.line(&[(x, y), (x + 24.0, y)], RUNG, 3.0, "");
    });
    entry(svg, "buffer (right)", 140.0, &|svg, x| {
        svg.line(&[(x, y), (x + 24.0, y)], BUFFER, 1.5, "5 3");
    });
    entry(svg, "stall", 90.0, &|svg, x| {
        stall_mark(svg, (x, y - 8.0), (24.0, 16.0), true);
    });
    entry(
        svg,
        "stands still with a buffer: not the link's doing",
        345.0,
        &|svg, x| {
            stall_mark(svg, (x, y - 8.0), (24.0, 16.0), false);
        },
    );
    entry(svg, "before the first picture", 200.0, &|svg, x| {
        svg.rect((x, y - 7.0), (24.0, 14.0), START, 0.6);
    });
    let rungs = about
        .rungs
        .iter()
        .map(|rung| format!("{} {:.2}", rung.name, rung.kbps as f64 / 1000.0));
    let rungs = rungs.collect::<Vec<_>>().join(", ");
    let rule = about
        .rule
        .as_deref()
        .map_or(String::new(), |rule| format!("; rule {rule}"));
    let words =
        format!("rungs, by their average rates in Mbit/s (ticks at the left): {rungs}{rule}");
    svg.text((LEFT, y + 28.0), "start", 12, &words);
}

fn draw_round(svg: &mut Svg, about: &About, round: &Round, top: f64) -> f64 {
    let title = format!(
        "{} (run {}): {:.2} Mbit/s in the mean",
        shortened(&round.trace.name),
        round.run,
        round.mean_kbps / 1000.0
    );
    svg.text((LEFT, top + 18.0), "start", 16, &title);
    if !round.machine.limits.is_empty() {
        let why = format!(
            "the machine was the limit, this does not count: {}",
            round.machine.limits.join("; ")
        );
        svg.text((WIDTH - RIGHT, top + 18.0), "end", 13, &why);
    }
    let mut at = top + TITLE;
    for (index, played) in round.players.iter().enumerate() {
        let last = index + 1 == round.players.len();
        panel(svg, about, round, played, at, last);
        at += PANEL;
    }
    at + FOOT
}

/// Where a second and a rate are in a panel.
struct Axes {
    top: f64,
    seconds: f64,
    most_kbps: f64,
    most_buffer: f64,
}

impl Axes {
    /// The same for all panels of a round, so that they can be compared.
    fn of(about: &About, round: &Round, top: f64) -> Self {
        let players = || round.players.iter();
        let carried =
            players().flat_map(|played| played.link.iter().map(|(_, kbps)| f64::from(*kbps)));
        let asked = players().flat_map(|played| &played.segments);
        let asked = asked.filter_map(|fetched| Some(about.kbps(fetched.rung.as_deref()?)? as f64));
        let dearest = about.rungs.iter().map(|rung| rung.kbps).max().unwrap_or(1) as f64;
        // A link that is far wider than anything that can go over it would flatten the rest.
        let carried = carried.fold(0.0, f64::max).min(dearest * 1.6);
        let buffers = players().flat_map(|played| played.buffer.iter().map(|(_, ahead)| *ahead));
        Self {
            top,
            seconds: about.seconds,
            most_kbps: nice(asked.fold(carried, f64::max) * 1.03),
            most_buffer: nice(buffers.fold(8.0, f64::max)),
        }
    }

    fn x(&self, second: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (second / self.seconds).clamp(0.0, 1.0)
    }

    fn y(&self, kbps: f64) -> f64 {
        self.bottom() - PLOT * (kbps / self.most_kbps).clamp(0.0, 1.0)
    }

    fn y_buffer(&self, ahead: f64) -> f64 {
        self.bottom() - PLOT * (ahead / self.most_buffer).clamp(0.0, 1.0)
    }

    fn bottom(&self) -> f64 {
        self.top + CAPTION + PLOT
    }
}

fn panel(svg: &mut Svg, about: &About, round: &Round, played: &Played, top: f64, last: bool) {
    let axes = Axes::of(about, round, top);
    let carried = played.link.iter().map(|(_, kbps)| f64::from(*kbps));
    let widest = carried.fold(0.0, f64::max);
    let mut caption = caption(played);
    if widest > axes.most_kbps {
        caption += &format!("; the link carries up to {:.1} Mbit/s", widest / 1000.0);
    }
    svg.text((LEFT, top + 13.0), "start", 13, &caption);

    let start = played.summary.startup_s.unwrap_or(about.seconds);
    area(svg, &axes, &played.link);
    svg.rect(
        (axes.x(0.0), axes.bottom() - PLOT),
        (axes.x(start) - axes.x(0.0), PLOT),
        START,
        0.6,
    );
    grid(svg, &axes, about, last);
    for stall in &played.stalls {
        let (from, to) = (axes.x(stall.at), axes.x(stall.at + stall.seconds));
        stall_mark(
            svg,
            (from, axes.bottom() - PLOT),
            ((to - from).max(2.0), PLOT),
            stall.link,
        );
    }
    if !played.buffer.is_empty() {
        let points: Vec<_> = thinned(&played.buffer)
            .map(|(t, ahead)| (axes.x(t), axes.y_buffer(ahead)))
            .collect();
        svg.line(&points, BUFFER, 1.5, "5 3");
    }
    svg.line(&rungs(about, played, &axes), RUNG, 2.5, "");
}

/// Names of traces are those of files somewhere, and some have no end.
fn shortened(name: &str) -> String {
    match name.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("{}...", &name[..end]),
        None => name.to_owned(),
    }
}

fn caption(played: &Played) -> String {
    let summary = &played.summary;
    let bitrate = summary.bitrate_kbps.map_or("no bitrate".into(), |kbps| {
        format!("{:.2} Mbit/s", kbps / 1000.0)
    });
    let start = summary.startup_s.map_or("never began".into(), |start| {
        format!("began after {start:.1} s")
    });
    let behind = summary
        .age_s
        .map_or(String::new(), |age| format!(", {age:.1} s behind live"));
    format!(
        "{}: {bitrate}, stalls: {} ({:.1} s, {:.1} % of the time), {:.1} switches/min, {start}{behind}",
        played.player,
        summary.stalls,
        summary.stalled_s,
        summary.stall_ratio * 100.0,
        summary.switches_per_minute
    )
}

/// What the link carried, as steps that are filled.
fn area(svg: &mut Svg, axes: &Axes, link: &[(f64, u32)]) {
    let mut points = vec![(axes.x(0.0), axes.bottom())];
    for (index, (t, kbps)) in link.iter().enumerate() {
        let end = link.get(index + 1).map_or(axes.seconds, |(t, _)| *t);
        let y = axes.y(f64::from(*kbps));
        points.extend([(axes.x(*t), y), (axes.x(end), y)]);
    }
    points.push((points.last().map_or(0.0, |(x, _)| *x), axes.bottom()));
    svg.area(&points, LINK);
}

fn grid(svg: &mut Svg, axes: &Axes, about: &About, last: bool) {
    let (left, right) = (axes.x(0.0), axes.x(axes.seconds));
    for tick in ticks(axes.most_kbps, 4) {
        let y = axes.y(tick);
        svg.line(&[(left, y), (right, y)], GRID, 0.6, "");
        svg.text(
            (left - 6.0, y + 4.0),
            "end",
            11,
            &format!("{}", tick / 1000.0),
        );
    }
    for tick in ticks(axes.most_buffer, 4) {
        svg.text(
            (right + 6.0, axes.y_buffer(tick) + 4.0),
            "start",
            11,
            &format!("{tick}"),
        );
    }
    let reached = |kbps: u64| kbps as f64 <= axes.most_kbps;
    for rung in about.rungs.iter().filter(|rung| reached(rung.kbps)) {
        // Where the steps can be: a tick at the side, so that the plot stays clear.
        let y = axes.y(rung.kbps as f64);
        svg.line(&[(left - 3.0, y), (left + 5.0, y)], RUNG, 1.5, "");
    }
    svg.line(
        &[(left, axes.bottom()), (right, axes.bottom())],
        AXIS,
        1.0,
        "",
    );
    for second in ticks(axes.seconds, 12) {
        let x = axes.x(second);
        svg.line(
            &[(x, axes.bottom()), (x, axes.bottom() + 4.0)],
            AXIS,
            1.0,
            "",
        );
        if last {
            svg.text(
                (x, axes.bottom() + 17.0),
                "middle",
                11,
                &format!("{second}"),
            );
        }
    }
    if last {
        svg.text(
            ((left + right) / 2.0, axes.bottom() + 34.0),
            "middle",
            12,
            "seconds since the players were started",
        );
    }
    svg.turned((14.0, axes.bottom() - PLOT / 2.0), 12, "Mbit/s");
    svg.turned((WIDTH - 10.0, axes.bottom() - PLOT / 2.0), 12, "buffer, s");
}

/// What was asked for, from when on, as steps.
fn rungs(about: &About, played: &Played, axes: &Axes) -> Vec<(f64, f64)> {
    let asked = played
        .segments
        .iter()
        .filter(|fetched| fetched.part.is_none_or(|part| part == 0));
    let known =
        asked.filter_map(|fetched| Some((fetched.t, about.kbps(fetched.rung.as_deref()?)? as f64)));
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (t, kbps) in known {
        let (x, y) = (axes.x(t), axes.y(kbps));
        if let Some((_, before)) = points.last().copied() {
            points.push((x, before));
        }
        points.push((x, y));
    }
    if let Some((_, y)) = points.last().copied() {
        points.push((axes.x(axes.seconds), y));
    }
    points
}

fn stall_mark(svg: &mut Svg, (x, y): (f64, f64), (width, height): (f64, f64), link: bool) {
    let colour = if link { STALL } else { HELD };
    svg.rect((x, y), (width, height), colour, 0.35);
    svg.line(
        &[(x, y), (x, y + height)],
        colour,
        1.2,
        if link { "" } else { "2 3" },
    );
    svg.line(
        &[(x + width, y), (x + width, y + height)],
        colour,
        1.2,
        if link { "" } else { "2 3" },
    );
}

/// Two looks a second are as many as can be seen.
fn thinned(samples: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> {
    let mut next = f64::NEG_INFINITY;
    samples.iter().copied().filter(move |(t, _)| {
        let take = *t >= next;
        if take {
            next = t + 0.4;
        }
        take
    })
}

const LONGEST_NAME: usize = 44;
const WIDTH: f64 = 1200.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 52.0;
/// The legend.
const HEAD: f64 = 70.0;
const TITLE: f64 = 30.0;
const CAPTION: f64 = 22.0;
const PLOT: f64 = 150.0;
const PANEL: f64 = CAPTION + PLOT + 16.0;
/// The axis' words, and space to the next round.
const FOOT: f64 = 44.0;

const LINK: &str = "#dbe9f4";
const RUNG: &str = "#0072b2";
const BUFFER: &str = "#009e73";
const STALL: &str = "#d55e00";
const HELD: &str = "#666666";
const START: &str = "#f0e442";
const GRID: &str = "#b8b8b8";
const AXIS: &str = "#222222";
