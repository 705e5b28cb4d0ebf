//! The comparison as a drawing: per family, what each rule reaches against what it stalls.

use super::{statistics::Interval, table::Summary};
use crate::plot::{self, Axis, Panel, Point, Span};

/// As SVG. Rules that stall for more than a fifth of the time are not worth the room, and left out.
pub fn draw(summaries: &[Summary]) -> String {
    let mut legend: Vec<String> = Vec::new();
    for summary in summaries {
        if worth_it(summary) && !legend.contains(&summary.rule) {
            legend.push(summary.rule.clone());
        }
    }
    let mut panels: Vec<Panel> = Vec::new();
    for family in summaries.chunk_by(|a, b| a.family == b.family) {
        let points: Vec<Point> = family
            .iter()
            .filter(|summary| worth_it(summary))
            .filter_map(|summary| {
                let mark = legend.iter().position(|rule| *rule == summary.rule)?;
                Some(Point {
                    mark,
                    x: span(summary.stalled),
                    y: span(summary.bitrate),
                })
            })
            .collect();
        let most = |of: fn(&Point) -> f64| points.iter().map(of).fold(0.1, f64::max);
        panels.push(Panel {
            title: format!("{} ({:.1} h each)", family[0].family, family[0].hours),
            x: Axis::rooted("stalled, % of the time", most(|point| point.x.high)),
            y: Axis::even("Mbit/s", most(|point| point.y.high)),
            points,
        });
    }
    let title = "Bitrate against stalls, with 95 % intervals over traces (better: up and left)";
    plot::draw(title, &legend, &panels, 4)
}

fn worth_it(summary: &Summary) -> bool {
    summary.stalled.mean <= 20.0
}

fn span(interval: Interval) -> Span {
    Span {
        mean: interval.mean,
        low: interval.low,
        high: interval.high,
    }
}
