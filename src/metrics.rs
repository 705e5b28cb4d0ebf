//! What programs count, as Prometheus reads it (text exposition format 0.0.4).
//!
//! There is no registry: nearly all of it is kept by somebody anyway, and is read when it is asked for, so that what is counted
//! in two places cannot differ. What there is belongs to who keeps it; here is how it is written.

use std::fmt::Write as _;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};

/// A page of metrics.
#[derive(Debug, Default)]
pub struct Exposition(String);

/// The samples of one metric.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Exposition {
    /// Something that only rises; its name ends with `_total`.
    pub fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    /// Something that is as it is now.
    pub fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // A String takes all text.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family {
            text: &mut self.0,
            name,
        }
    }
}

impl Family<'_> {
    /// One sample. Labels are of what is bounded: streams, rungs, regions, nodes; never of viewers.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        let _ = write!(self.text, "{}", self.name);
        for (place, (label, said)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let said = said
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(self.text, "{before}{label}=\"{said}\"");
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = match value {
            f64::INFINITY => writeln!(self.text, "{after} +Inf"),
            f64::NEG_INFINITY => writeln!(self.text, "{after} -Inf"),
            value => writeln!(self.text, "{after} {value}"),
        };
        self
    }

    /// The one sample of a metric without labels.
    pub fn is(&mut self, value: f64) {
        self.sample(&[], value);
    }
}

impl IntoResponse for Exposition {
    fn into_response(self) -> Response {
        let kind = [
            (
                header::CONTENT_TYPE,
                "text/plain; version=0.0.4; charset=utf-8",
            ),
            (header::CACHE_CONTROL, "no-store"),
        ];
        (kind, self.0).into_response()
    }
}

impl std::fmt::Display for Exposition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_what_prometheus_reads() {
        let mut page = Exposition::default();
        page.counter("spillway_things_total", "Things, of\nall kinds.")
            .sample(&[("stream", "a\"b\\c\n"), ("rung", "480p")], 3.0)
            .sample(&[], 0.25);
        page.gauge("spillway_level", "A level.").is(f64::INFINITY);
        assert_eq!(
            page.to_string(),
            "# HELP spillway_things_total Things, of\\nall kinds.\n# TYPE spillway_things_total counter\n\
             spillway_things_total{stream=\"a\\\"b\\\\c\\n\",rung=\"480p\"} 3\nspillway_things_total 0.25\n\
             # HELP spillway_level A level.\n# TYPE spillway_level gauge\nspillway_level +Inf\n"
        );
    }
}
