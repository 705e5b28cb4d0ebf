//! How many bits per second a playlist's segments take, against what its variant declares (section 4.4.6.2).

use std::collections::VecDeque;

use super::{
    finding::{Findings, Place},
    rule,
    variants::Variant,
};

/// The rates of one playlist's segments.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Octets and seconds of the latest consecutive segments.
    run: VecDeque<(u64, f64)>,
    next: Option<u64>,
    octets: u64,
    seconds: f64,
    segments: u64,
    /// Bits per second.
    peak: f64,
}

impl Rates {
    /// Segment `number` is that many octets for that many seconds.
    pub fn segment(&mut self, number: u64, octets: u64, seconds: f64, target: f64) {
        if seconds <= 0.0 {
            return;
        }
        if self.next != Some(number) {
            self.run.clear();
        }
        self.next = Some(number + 1);
        self.run.push_back((octets, seconds));
        while self.run.len() > LONGEST {
            self.run.pop_front();
        }
        self.octets += octets;
        self.seconds += seconds;
        self.segments += 1;
        // The peak is that of any run between half and one and a half target durations.
        let (mut octets, mut seconds) = (0, 0.0);
        for (more, longer) in self.run.iter().rev() {
            octets += more;
            seconds += longer;
            if seconds > 1.5 * target {
                break;
            }
            if seconds >= 0.5 * target {
                self.peak = self.peak.max(octets as f64 * 8.0 / seconds);
            }
        }
    }

    /// Bits per second; `None` before there is a segment.
    pub fn peak(&self) -> Option<f64> {
        (self.peak > 0.0).then_some(self.peak)
    }

    pub fn average(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.octets as f64 * 8.0 / self.seconds)
    }

    pub fn segments(&self) -> u64 {
        self.segments
    }

    /// Compares with what `variant` declares. What is made while it is sent is hard to foresee, so that `live` has a
    /// wider margin; `alone`, it is not chosen by its rate.
    pub fn check(
        &self,
        variant: &Variant,
        place: &Place,
        live: bool,
        alone: bool,
        findings: &mut Findings,
    ) {
        let margin = if live { LIVE } else { STORED };
        let (Some(peak), Some(average)) = (self.peak(), self.average()) else {
            return;
        };
        let Some(declared) = variant.bandwidth else {
            return;
        };
        let words =
            |rate: f64, what: &str| format!("{rate:.0} bit/s {what} of {} segments", self.segments);
        if peak > declared as f64 * margin {
            let expected = format!(
                "BANDWIDTH={declared}, by at most {:.0} % more",
                (margin - 1.0) * 100.0
            );
            findings.say(
                &rule::BANDWIDTH,
                place.clone(),
                words(peak, "at the peak"),
                expected,
            );
        }
        if self.segments < ENOUGH {
            return;
        }
        if let Some(said) = variant
            .average
            .filter(|said| average > *said as f64 * margin)
        {
            let expected = format!(
                "AVERAGE-BANDWIDTH={said}, by at most {:.0} % more",
                (margin - 1.0) * 100.0
            );
            findings.say(
                &rule::AVERAGE,
                place.clone(),
                words(average, "on average"),
                expected,
            );
        }
        if !alone && peak * 2.0 < declared as f64 {
            let expected = format!("BANDWIDTH={declared}, or less of it");
            findings.say(
                &rule::BANDWIDTH_WASTE,
                place.clone(),
                words(peak, "at the peak"),
                expected,
            );
        }
    }
}

const LIVE: f64 = 1.25;
const STORED: f64 = 1.1;
/// Segments that make an average.
const ENOUGH: u64 = 10;
const LONGEST: usize = 64;
