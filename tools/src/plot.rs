//! Drawings of measurements as SVG: panels side by side, each of marks with their intervals. A mark is told
//! by its shape as well as by its colour, so that no colour has to be seen.
//!
//! Knows nothing of what is drawn.

use std::fmt::Write as _;

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
    let height = top + rows as f64 * HEIGHT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    let _ = writeln!(
        svg,
        "<text x=\"16\" y=\"26\" font-size=\"16\">{}</text>",
        escaped(title)
    );
    let (mut x, mut y) = (24.0, 50.0);
    for (number, name) in legend.iter().enumerate() {
        let wide = 36.0 + 7.5 * name.chars().count() as f64;
        if x + wide > width {
            (x, y) = (24.0, y + 20.0);
        }
        mark(&mut svg, number, x, y - 4.0);
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
            x + 12.0,
            escaped(name)
        );
        x += wide;
    }
    for (number, panel) in panels.iter().enumerate() {
        let (column, row) = (number % columns, number / columns);
        let _ = writeln!(
            svg,
            "<g transform=\"translate({:.1} {:.1})\">",
            column as f64 * WIDTH,
            top + row as f64 * HEIGHT
        );
        panel.draw(&mut svg);
        svg.push_str("</g>\n");
    }
    svg + "</svg>\n"
}

impl Panel {
    fn draw(&self, svg: &mut String) {
        let (inner_width, inner_height) = (WIDTH - LEFT - 16.0, HEIGHT - ABOVE - BELOW);
        let across = |value: f64| LEFT + self.x.place(value) * inner_width;
        let up = |value: f64| ABOVE + (1.0 - self.y.place(value)) * inner_height;
        let (floor, end) = (ABOVE + inner_height, LEFT + inner_width);
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"{:.1}\" font-weight=\"bold\">{}</text>",
            ABOVE - 8.0,
            escaped(&self.title)
        );
        for tick in &self.x.ticks {
            let x = across(*tick);
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {ABOVE}V{floor}\" stroke=\"#e4e4e4\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"10\">{tick}</text>",
                floor + 14.0
            );
        }
        for tick in &self.y.ticks {
            let y = up(*tick);
            let _ = writeln!(
                svg,
                "<path d=\"M{LEFT} {y:.1}H{end}\" stroke=\"#e4e4e4\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" font-size=\"10\">{}</text>",
                LEFT - 6.0,
                y + 3.5,
                short(*tick)
            );
        }
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {ABOVE}V{floor}H{end}\" fill=\"none\" stroke=\"#888\"/>"
        );
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"11\">{}</text>",
            f64::midpoint(LEFT, end),
            floor + 30.0,
            escaped(&self.x.name)
        );
        let middle = f64::midpoint(ABOVE, floor);
        let _ = writeln!(
            svg,
            "<text transform=\"translate(14 {middle:.1}) rotate(-90)\" text-anchor=\"middle\" font-size=\"11\">{}</text>",
            escaped(&self.y.name)
        );
        for Point { mark: number, x, y } in &self.points {
            let (_, _, colour) = style(*number);
            let _ = writeln!(
                svg,
                "<path d=\"M{:.1} {:.1}H{:.1}M{:.1} {:.1}V{:.1}\" stroke=\"{colour}\" stroke-width=\"1.4\" stroke-opacity=\".6\"/>",
                across(x.low),
                up(y.mean),
                across(x.high),
                across(x.mean),
                up(y.low),
                up(y.high)
            );
        }
        for Point { mark: number, x, y } in &self.points {
            mark(svg, *number, across(x.mean), up(y.mean));
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

fn mark(svg: &mut String, number: usize, x: f64, y: f64) {
    let (shape, filled, colour) = style(number);
    let fill = if filled { colour } else { "#fff" };
    let _ = writeln!(
        svg,
        "<path transform=\"translate({x:.1} {y:.1})\" d=\"{shape}\" fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"2\"/>"
    );
}

/// 1, 2 or 5 times a power of ten, not less than `least`.
fn step(least: f64) -> f64 {
    let power = 10.0_f64.powf(least.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= least)
        .unwrap_or(10.0 * power)
}

fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 52.0;
const ABOVE: f64 = 26.0;
const BELOW: f64 = 44.0;
