//! What the rungs have really taken: peaks and averages over all segments of a window's life, and the ladder that is told by
//! them. Which segments there were is `window`'s business.

use crate::{
    ladder::Rung,
    segment::Segment,
    time::{Bitrate, MediaTime},
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measure {
    /// Of each rung, cheapest first.
    rungs: Vec<Taken>,
    span: MediaTime,
    segments: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Taken {
    octets: u64,
    peak: Bitrate,
}

impl Measure {
    /// A complete segment; `target` is the stream's target duration. Gaps tell nothing.
    pub fn take(&mut self, segment: &Segment, target: MediaTime) {
        let length = segment.duration();
        if segment.gap || length <= MediaTime::ZERO {
            return;
        }
        let rungs = segment.rungs();
        self.rungs.resize(rungs, Taken::default());
        self.span += length;
        self.segments = self.segments.saturating_add(1);
        for (rung, taken) in self.rungs.iter_mut().enumerate() {
            let octets = segment.octets(rung);
            taken.octets += octets;
            // Shorter stretches than half a target duration are no peak (RFC 8216bis section 4.1).
            if length * 2 >= target {
                taken.peak = taken.peak.max(Bitrate::of(octets, length.duration()));
            }
        }
    }

    /// `rungs` of a ladder, as a player is to be told of them.
    ///
    /// Of what is all made, exactly what it takes (RFC 8216bis section 4.4.6.2, `BANDWIDTH`). Of what goes on, what was promised
    /// until enough was made to be representative; then the peak so far with a margin for what is yet to come, which is not more than
    /// the encoder can make at all. What costs more never says less.
    pub fn told(&self, rungs: &[(usize, &Rung)], is_all: bool) -> Vec<Rung> {
        let enough = if is_all { 1 } else { ENOUGH };
        let (mut peak, mut average) = (Bitrate::ZERO, Bitrate::ZERO);
        let told = rungs.iter().map(|(index, rung)| {
            let mut rung = Rung::clone(rung);
            let taken = self.rungs.get(*index).filter(|_| self.segments >= enough);
            if let Some(taken) = taken {
                let yet = if is_all {
                    taken.peak
                } else {
                    taken.peak.scale(MARGIN)
                };
                rung.bandwidth = coarse(yet.min(rung.bandwidth).max(taken.peak));
                rung.average = coarse(Bitrate::of(taken.octets, self.span.duration()));
            }
            (peak, average) = (peak.max(rung.bandwidth), average.max(rung.average));
            (rung.bandwidth, rung.average) = (peak, average);
            rung
        });
        told.collect()
    }
}

/// Rounded up to 10 kbit/s, so that a text does not change with every segment.
fn coarse(rate: Bitrate) -> Bitrate {
    Bitrate::from_kbps(rate.bps().div_ceil(10_000) * 10)
}

/// Segments that are representative: a minute, in segments of two seconds.
const ENOUGH: u32 = 30;
const MARGIN: f64 = 1.1;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::{Epoch, Head, Init, Part, RungName, WallTime};

    const LENGTH: MediaTime = MediaTime::from_flicks(2 * MediaTime::PER_SECOND);

    /// So many kbit/s of each rung, for `length`.
    fn segment(kbps: [u64; 2], length: MediaTime) -> Segment {
        let mut segment = Segment::new(Head {
            number: 1,
            epoch: Epoch(1),
            init: Arc::new(Init {
                epoch: Epoch(1),
                media: Bytes::new(),
                renditions: Vec::new(),
            }),
            discontinuity: false,
            timeline: 0,
            date_time: WallTime::from_millis(0),
        });
        let octets = |kbps| Bitrate::from_kbps(kbps).octets_in(length.duration()) as usize;
        segment.push(Part {
            duration: length,
            open: 2,
            media: kbps.map(|kbps| vec![0; octets(kbps)].into()).to_vec(),
            renditions: Vec::new(),
        });
        segment
    }

    /// Peak and average of both rungs in kbit/s, where 500/400 and 2000/1500 were promised.
    fn told(measure: &Measure, is_all: bool) -> Vec<(u64, u64)> {
        let rung = |name: &str, bandwidth, average| Rung {
            name: RungName::try_from(name.to_owned()).unwrap(),
            width: 640,
            height: 360,
            bandwidth: Bitrate::from_kbps(bandwidth),
            average: Bitrate::from_kbps(average),
            codecs: String::new(),
            frame_rate: 30.0,
            score: None,
        };
        let (cheap, dear) = (rung("a", 500, 400), rung("b", 2000, 1500));
        let told = measure.told(&[(0, &cheap), (1, &dear)], is_all);
        let rates = told
            .iter()
            .map(|rung| (rung.bandwidth.kbps(), rung.average.kbps()));
        rates.collect()
    }

    #[test]
    fn a_minute_has_to_be_made_before_it_counts_for_more_than_the_promise() {
        let mut measure = Measure::default();
        for _ in 1..ENOUGH {
            measure.take(&segment([300, 1000], LENGTH), LENGTH);
        }
        assert_eq!(told(&measure, false), [(500, 400), (2000, 1500)]);
        measure.take(&segment([330, 1000], LENGTH), LENGTH);
        assert_eq!(told(&measure, false), [(370, 310), (1100, 1000)]);
        assert_eq!(told(&measure, true), [(330, 310), (1000, 1000)]);
    }

    #[test]
    fn the_margin_ends_at_the_promise_and_what_was_measured_above_it_is_said() {
        let mut measure = Measure::default();
        for kbps in (0..ENOUGH).map(|number| {
            if number == 7 {
                [490, 2100]
            } else {
                [400, 1500]
            }
        }) {
            measure.take(&segment(kbps, LENGTH), LENGTH);
        }
        assert_eq!(told(&measure, false), [(500, 410), (2100, 1520)]);
    }

    #[test]
    fn a_stub_of_a_segment_is_no_peak_and_a_gap_nothing_at_all() {
        let mut measure = Measure::default();
        measure.take(&segment([400, 1500], LENGTH), LENGTH);
        measure.take(&segment([900, 4000], MediaTime::from_ticks(1, 4)), LENGTH);
        let mut gap = segment([400, 1500], LENGTH);
        gap.gap = true;
        measure.take(&gap, LENGTH);
        assert_eq!(
            told(&measure, true)
                .iter()
                .map(|told| told.0)
                .collect::<Vec<_>>(),
            [400, 1500]
        );
        assert_eq!(measure.segments, 2);
    }

    #[test]
    fn what_costs_more_never_says_less() {
        let mut measure = Measure::default();
        measure.take(&segment([410, 390], LENGTH), LENGTH);
        assert_eq!(told(&measure, true), [(410, 410), (410, 410)]);
    }
}
