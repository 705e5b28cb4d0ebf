//! What figures are drawn with: a few shapes of SVG, and axes that are divided at round numbers. What is drawn is
//! `plot`'s and the lab's business.

use std::fmt::Write as _;

/// The next round number.
pub fn nice(most: f64) -> f64 {
    round(most, &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0])
}

/// 1, 2 or 5 times a power of ten, not less than `least`.
pub fn step(least: f64) -> f64 {
    round(least, &[1.0, 2.0, 5.0, 10.0])
}

/// About `count` round numbers from 0 to `most`.
pub fn ticks(most: f64, count: usize) -> impl Iterator<Item = f64> {
    let step = step(most / count as f64);
    (0..)
        .map(move |index| f64::from(index) * step)
        .take_while(move |tick| *tick <= most * 1.0001)
}

/// The least of these times a power of ten that is not less than `least`.
fn round(least: f64, factors: &[f64]) -> f64 {
    let unit = 10f64.powf(least.max(1e-9).log10().floor());
    let round = factors.iter().map(|factor| factor * unit);
    round
        .clone()
        .find(|round| least <= *round)
        .unwrap_or(10.0 * unit)
}

/// A drawing in the making.
#[derive(Debug)]
pub struct Svg(String);

impl Svg {
    pub fn new(width: f64, height: f64) -> Self {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             font-family=\"Helvetica, Arial, DejaVu Sans, sans-serif\" fill=\"#222\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"
        );
        Self(text)
    }

    pub fn line(&mut self, points: &[(f64, f64)], colour: &str, width: f64, dashes: &str) {
        let _ = writeln!(
            self.0,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" stroke-dasharray=\"{dashes}\" stroke-linejoin=\"round\"/>",
            listed(points)
        );
    }

    pub fn area(&mut self, points: &[(f64, f64)], colour: &str) {
        let _ = writeln!(
            self.0,
            "<polygon points=\"{}\" fill=\"{colour}\"/>",
            listed(points)
        );
    }

    pub fn rect(
        &mut self,
        (x, y): (f64, f64),
        (width, height): (f64, f64),
        colour: &str,
        opacity: f64,
    ) {
        let _ = writeln!(
            self.0,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\" fill-opacity=\"{opacity}\"/>"
        );
    }

    pub fn text(&mut self, (x, y): (f64, f64), anchor: &str, size: u32, text: &str) {
        let _ = writeln!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{}</text>",
            escaped(text)
        );
    }

    pub fn title(&mut self, (x, y): (f64, f64), text: &str) {
        let _ = writeln!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"12\" font-weight=\"bold\">{}</text>",
            escaped(text)
        );
    }

    /// `path` around this point; `style` is attributes.
    pub fn path(&mut self, (x, y): (f64, f64), path: &str, style: &str) {
        let _ = writeln!(
            self.0,
            "<path transform=\"translate({x:.1} {y:.1})\" d=\"{path}\" {style}/>"
        );
    }

    /// What is drawn by `draw`, with its origin here.
    pub fn within(&mut self, (x, y): (f64, f64), draw: impl FnOnce(&mut Self)) {
        let _ = writeln!(self.0, "<g transform=\"translate({x:.1} {y:.1})\">");
        draw(self);
        self.0.push_str("</g>\n");
    }

    /// Read from below.
    pub fn turned(&mut self, (x, y): (f64, f64), size: u32, text: &str) {
        let _ = writeln!(
            self.0,
            "<text transform=\"translate({x:.1} {y:.1}) rotate(-90)\" text-anchor=\"middle\" font-size=\"{size}\">{}</text>",
            escaped(text)
        );
    }

    pub fn done(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

fn listed(points: &[(f64, f64)]) -> String {
    let points: Vec<_> = points
        .iter()
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    points.join(" ")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_and_are_divided_at_round_numbers() {
        assert_eq!(nice(5250.0), 6000.0);
        assert_eq!(nice(0.9), 1.0);
        assert_eq!(
            ticks(6000.0, 4).collect::<Vec<_>>(),
            [0.0, 2000.0, 4000.0, 6000.0]
        );
        assert_eq!(ticks(60.0, 12).last(), Some(60.0));
    }

    #[test]
    fn a_name_cannot_break_the_drawing() {
        let mut svg = Svg::new(10.0, 10.0);
        svg.text((0.0, 0.0), "start", 10, "<a> & b");
        assert!(svg.done().contains("&lt;a&gt; &amp; b"));
    }
}
