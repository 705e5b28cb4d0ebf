//! Drawings of measurements as SVG: panels side by side, each of marks with their intervals. A mark is told
//! by its shape as well as by its colour, so that no colour has to be seen.
//!
//! Knows nothing of what is drawn.

use crate::drawing::{Svg, step};

/// What is known of one value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

/// One mark: which of the legend, and where.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    pub mark: usize,
    pub x: Span,
    pub y: Span,
}

/// An axis from `from` to `to`, in which distances are those of the `power`s of its values.
#[derive(Clone, Debug)]
pub struct Axis {
    pub name: String,
    pub from: f64,
    pub to: f64,
    pub power: f64,
    pub ticks: Vec<f64>,
}

#[derive(Clone, Debug)]
pub struct Panel {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub points: Vec<Point>,
}

impl Axis {
    /// From 0 to beyond `most`, evenly.
    pub fn even(name: &str, most: f64) -> Self {
        let step = step(most / 4.0);
        let count = (most / step).ceil().max(1.0);
        Self {
            name: name.to_owned(),
            from: 0.0,
            to: count * step,
            power: 1.0,
            ticks: (0..=count as u32)
                .map(|tick| f64::from(tick) * step)
                .collect(),
        }
    }

    /// From 0 to beyond `most`, with more room for what is small.
    pub fn rooted(name: &str, most: f64) -> Self {
        let all = [0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
        let end = all
            .iter()
            .position(|tick| *tick >= most)
            .unwrap_or(all.len() - 1)
            .max(2);
        Self {
            name: name.to_owned(),
            from: 0.0,
            to: all[end],
            power: 0.5,
            ticks: all[..=end].to_vec(),
        }
    }

    /// From 0 to 1, if it is on the axis.
    fn place(&self, value: f64) -> f64 {
        let bent = |value: f64| value.max(0.0).powf(self.power);
        let span = (bent(self.to) - bent(self.from)).max(f64::MIN_POSITIVE);
        ((bent(value) - bent(self.from)) / span).clamp(0.0, 1.0)
    }
}

/// The panels in rows of `columns`, the legend above them.
pub fn draw(title: &str, legend: &[String], panels: &[Panel], columns: usize) -> String {
    let columns = columns.clamp(1, panels.len().max(1));
    let rows = panels.len().div_ceil(columns);
    let (width, top) = (
        columns as f64 * WIDTH,
        58.0 + 20.0 * (legend.len() * 120).div_ceil((columns as f64 * WIDTH) as usize) as f64,
    );
    let mut svg = Svg::new(width, top + rows as f64 * HEIGHT);
    svg.text((16.0, 26.0), "start", 16, title);
    let (mut x, mut y) = (24.0, 50.0);
    for (number, name) in legend.iter().enumerate() {
        let wide = 36.0 + 7.5 * name.chars().count() as f64;
        if x + wide > width {
            (x, y) = (24.0, y + 20.0);
        }
        mark(&mut svg, number, (x, y - 4.0));
        svg.text((x + 12.0, y), "start", 12, name);
        x += wide;
    }
    for (number, panel) in panels.iter().enumerate() {
        let (column, row) = (number % columns, number / columns);
        let at = (column as f64 * WIDTH, top + row as f64 * HEIGHT);
        svg.within(at, |svg| panel.draw(svg));
    }
    svg.done()
}

impl Panel {
    fn draw(&self, svg: &mut Svg) {
        let (inner_width, inner_height) = (WIDTH - LEFT - 16.0, HEIGHT - ABOVE - BELOW);
        let across = |value: f64| LEFT + self.x.place(value) * inner_width;
        let up = |value: f64| ABOVE + (1.0 - self.y.place(value)) * inner_height;
        let (floor, end) = (ABOVE + inner_height, LEFT + inner_width);
        svg.title((LEFT, ABOVE - 8.0), &self.title);
        for tick in &self.x.ticks {
            let x = across(*tick);
            svg.line(&[(x, ABOVE), (x, floor)], GRID, 1.0, "");
            svg.text((x, floor + 14.0), "middle", 10, &tick.to_string());
        }
        for tick in &self.y.ticks {
            let y = up(*tick);
            svg.line(&[(LEFT, y), (end, y)], GRID, 1.0, "");
            svg.text((LEFT - 6.0, y + 3.5), "end", 10, &short(*tick));
        }
        svg.line(
            &[(LEFT, ABOVE), (LEFT, floor), (end, floor)],
            FRAME,
            1.0,
            "",
        );
        let (middle, beside) = (f64::midpoint(LEFT, end), f64::midpoint(ABOVE, floor));
        svg.text((middle, floor + 30.0), "middle", 11, &self.x.name);
        svg.turned((14.0, beside), 11, &self.y.name);
        for Point { mark, x, y } in &self.points {
            let (_, _, colour) = style(*mark);
            let (at, path) = (
                (across(x.mean), up(y.mean)),
                format!(
                    "M{:.1} 0H{:.1}M0 {:.1}V{:.1}",
                    across(x.low) - across(x.mean),
                    across(x.high) - across(x.mean),
                    up(y.low) - up(y.mean),
                    up(y.high) - up(y.mean)
                ),
            );
            let stroke = format!("stroke=\"{colour}\" stroke-width=\"1.4\" stroke-opacity=\".6\"");
            svg.path(at, &path, &stroke);
        }
        for Point { mark: number, x, y } in &self.points {
            mark(svg, *number, (across(x.mean), up(y.mean)));
        }
    }
}

/// Of the mark with this number: its outline around 0, whether it is filled, its colour.
fn style(number: usize) -> (&'static str, bool, &'static str) {
    // Okabe & Ito's colours, and shapes that go round at another pace.
    const COLOURS: [&str; 7] = [
        "#000000", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
    ];
    const SHAPES: [&str; 6] = [
        "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z",
        "M-5 -5H5V5H-5Z",
        "M0 -6L6 5H-6Z",
        "M0 -7L6 0L0 7L-6 0Z",
        "M0 6L6 -5H-6Z",
        "M-5 -5L5 5M5 -5L-5 5",
    ];
    let round = number / SHAPES.len();
    (
        SHAPES[number % SHAPES.len()],
        round.is_multiple_of(2),
        COLOURS[number % COLOURS.len()],
    )
}

fn mark(svg: &mut Svg, number: usize, at: (f64, f64)) {
    let (shape, filled, colour) = style(number);
    let fill = if filled { colour } else { "#fff" };
    let style = format!("fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"2\"");
    svg.path(at, shape, &style);
}

fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 52.0;
const ABOVE: f64 = 26.0;
const BELOW: f64 = 44.0;

const GRID: &str = "#e4e4e4";
const FRAME: &str = "#888";
