//! The origin's side of one viewer: the same viewer and the same rules as in production, offered what the
//! origin would offer and told what the kernel would tell.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use adaptation::{Delivery, Offer, Rule, Viewer};
use playlists::{Bitrate, MediaTime};

use super::{link::Done, mind::instant, stream::Stream};

/// See the module.
#[derive(Debug)]
pub struct Origin {
    pub viewer: Viewer,
    rule: Arc<dyn Rule>,
    epoch: Instant,
    /// What the kernel has not told yet, and when it will.
    pending: Option<(f64, Delivery)>,
}

impl Origin {
    pub fn new(rule: Arc<dyn Rule>, epoch: Instant) -> Self {
        Self {
            viewer: Viewer::new(None),
            rule,
            epoch,
            pending: None,
        }
    }

    /// The rung of segment `number`, asked for at `now`.
    pub fn decide(&mut self, stream: &Stream, number: u64, ceiling: usize, now: f64) -> usize {
        self.hear(now);
        let _ = instant(self.epoch, now);
        let offer = Offer {
            sizes: stream.sizes(number),
            duration: stream.media(),
            start: START.min(stream.top()),
        };
        self.viewer
            .decide(number, &offer, ceiling, None, &*self.rule)
            .rung
    }

    /// All of a response was sent; the last acknowledgement will say so.
    pub fn sent(&mut self, done: &Done, octets: u64, media: f64) {
        let rtt = done.connection.rtt;
        let delivery = Delivery {
            octets,
            media: MediaTime::from_seconds(media),
            elapsed: Duration::from_secs_f64(done.at - done.began + rtt),
            min_rtt: Duration::from_secs_f64(rtt),
            capacity: done.capacity.map(|bps| Bitrate::from_bps(bps as u64)),
            receiver_limited: 0.0,
            complete: true,
        };
        self.pending = Some((done.at + rtt, delivery));
    }

    /// What the kernel has told by `now`.
    pub fn hear(&mut self, now: f64) {
        if let Some((at, delivery)) = &self.pending
            && *at <= now + 1e-9
        {
            self.viewer.delivered(delivery);
            self.pending = None;
        }
    }
}

/// The origin's: the second rung.
const START: usize = 1;
