//! A bar for who waits at a terminal; nothing where nobody does.

use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

#[derive(Debug)]
pub struct Progress {
    span: Duration,
    shown: bool,
}

impl Progress {
    pub fn new(wanted: bool, span: Duration) -> Self {
        Self {
            span,
            shown: wanted && std::io::stderr().is_terminal(),
        }
    }

    pub fn show(&mut self, elapsed: Duration, line: &str) {
        if self.shown {
            let text = bar(elapsed.as_secs_f64() / self.span.as_secs_f64().max(0.001));
            let left = self.span.saturating_sub(elapsed).as_secs();
            // Somebody who has closed the terminal does not want it.
            let _ = write!(
                std::io::stderr(),
                "\r\x1b[K[{text}] {left:>4} s left  {line}"
            );
        }
    }

    pub fn done(&mut self, line: &str) {
        if self.shown {
            let _ = writeln!(std::io::stderr(), "\r\x1b[K{line}");
        }
    }
}

fn bar(share: f64) -> String {
    let full = (share.clamp(0.0, 1.0) * WIDE as f64) as usize;
    format!("{}{}", "#".repeat(full), "-".repeat(WIDE - full))
}

const WIDE: usize = 30;

#[cfg(test)]
mod tests {
    #[test]
    fn a_bar_is_as_long_at_any_time() {
        let bars = [-1.0, 0.0, 0.5, 1.0, 7.0].map(super::bar);
        assert!(bars.iter().all(|bar| bar.len() == super::WIDE));
        assert_eq!(bars[2].matches('#').count(), super::WIDE / 2);
    }
}
