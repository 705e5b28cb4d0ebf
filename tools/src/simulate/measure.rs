//! What a viewing was worth: the figures of one session.

use serde::Serialize;

use super::{stream::Stream, viewer::Viewer};

/// One viewing, measured from joining to its end.
#[derive(Clone, Debug, Serialize)]
pub struct Session {
    /// Since joining.
    pub seconds: f64,
    /// To the first picture.
    pub startup: f64,
    pub stalls: u32,
    pub stalled: f64,
    /// Behind what is broadcast, at the end.
    pub latency: f64,
    pub switches: u32,
    /// Mean of the segments' rungs, in Mbit/s.
    pub bitrate: f64,
    /// Mean of ln(rate / cheapest rate).
    pub utility: f64,
    /// Linear QoE per segment, over bitrates in Mbit/s.
    pub qoe: f64,
    /// The same over VMAF, where it is known.
    pub vmaf: Option<Vmaf>,
    pub octets: u64,
    pub wasted: f64,
    pub rungs: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Vmaf {
    pub mean: f64,
    pub qoe: f64,
}

impl Session {
    /// Of a viewer who joined at `joined` and watched until `end`.
    pub fn of(viewer: &Viewer, stream: &Stream, joined: f64, end: f64) -> Self {
        let taken = &viewer.taken;
        let (playback, count) = (&viewer.playback, taken.len().max(1) as f64);
        let rate = |rung: usize| stream.rates[rung] / 1e6;
        let lost = playback.stalled + playback.startup;
        let bitrates: Vec<f64> = taken.iter().map(|taken| rate(taken.rung)).collect();
        let quality = taken.iter().map(|taken| {
            let quality = stream.quality(taken.number);
            quality.get(taken.rung).map(|vmaf| f64::from(*vmaf) * 100.0)
        });
        let vmaf = quality
            .collect::<Option<Vec<f64>>>()
            .filter(|vmaf| !vmaf.is_empty());
        let utility = bitrates.iter().map(|mbps| (mbps / rate(0)).ln());
        Self {
            seconds: end - joined,
            startup: playback.startup,
            stalls: playback.stalls,
            stalled: playback.stalled,
            latency: playback.latency(),
            switches: taken
                .windows(2)
                .filter(|pair| pair[0].rung != pair[1].rung)
                .count() as u32,
            bitrate: bitrates.iter().sum::<f64>() / count,
            utility: utility.sum::<f64>() / count,
            qoe: linear(&bitrates, lost, rate(stream.top())),
            vmaf: vmaf.map(|vmaf| Vmaf {
                mean: vmaf.iter().sum::<f64>() / count,
                qoe: linear(&vmaf, lost, 100.0),
            }),
            octets: taken.iter().map(|taken| taken.octets).sum(),
            wasted: viewer.wasted,
            rungs: taken.iter().map(|taken| taken.rung as u8).collect(),
        }
    }

    /// Share of the time since the first picture in which nothing moved.
    pub fn stall_ratio(&self) -> f64 {
        self.stalled / (self.seconds - self.startup).max(1.0)
    }
}

/// The linear QoE of the MPC paper (Yin, Jindal, Sekar & Sinopoli 2015), per segment: quality, less its
/// changes, less `mu` for every second without a picture, the start included.
pub fn linear(quality: &[f64], lost: f64, mu: f64) -> f64 {
    let changes = quality.windows(2).map(|pair| (pair[1] - pair[0]).abs());
    (quality.iter().sum::<f64>() - changes.sum::<f64>() - mu * lost) / quality.len().max(1) as f64
}
