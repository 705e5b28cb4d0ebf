//! The origin's side of one viewer: the same viewer and the same rules as in production, offered what the
//! origin would offer and told what the kernel would tell.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use adaptation::{Choice, Decision, Delivery, Limits, Offer, Rule, Sizes, Viewer};
use playlists::{Bitrate, MediaTime};

use super::{link::Done, mind::instant, stream::Stream};

/// See the module.
#[derive(Debug)]
pub struct Origin {
    pub viewer: Viewer,
    /// What the node's budget allows.
    pub limits: Limits,
    /// What was decided from what, if anybody wants to know.
    pub log: Option<Vec<Decision>>,
    rule: Arc<dyn Rule>,
    pub tells: Tells,
    epoch: Instant,
    /// Octets of the usual segment, in every rung.
    usual: Vec<u64>,
    /// What the kernel has not told yet, and when it will.
    pending: Option<(f64, Delivery)>,
}

/// What the origin does beyond telling a rule the segment's own sizes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tells {
    /// The sizes of the segments behind it that exist.
    pub behind: bool,
    /// How good each rung looks, where it is known.
    pub quality: bool,
    /// It breaks off answers that come too late: see [`Origin::cut`].
    pub cuts: bool,
}

/// A response that is not through yet.
#[derive(Clone, Copy, Debug)]
pub struct Underway {
    pub number: u64,
    pub rung: usize,
    pub octets: u64,
    pub sent: f64,
    /// Since it began.
    pub seconds: f64,
    pub rtt: f64,
    /// What it would take to be asked again.
    pub again: f64,
}

impl Origin {
    pub fn new(rule: Arc<dyn Rule>, tells: Tells, epoch: Instant, now: f64) -> Self {
        Self {
            viewer: Viewer::new(None, instant(epoch, now)),
            limits: Limits::NONE,
            log: None,
            rule,
            tells,
            epoch,
            usual: Vec::new(),
            pending: None,
        }
    }

    /// The rung of segment `number`, asked for at `now`.
    pub fn decide(&mut self, stream: &Stream, number: u64, now: f64) -> usize {
        self.hear(now);
        let ahead = stream.complete(now).saturating_sub(number);
        stream.usual(now, &mut self.usual);
        // Of a segment that is still open nobody knows the size.
        let complete = stream.complete(now) >= number;
        let own = if complete {
            stream.sizes(number)
        } else {
            &self.usual
        };
        let sizes = if self.tells.behind && complete {
            let rungs = stream.rungs();
            Sizes::of(stream.table(number, ahead), rungs, rungs)
        } else {
            Sizes::one(own)
        };
        let quality = if self.tells.quality {
            stream.worth(number)
        } else {
            &[]
        };
        let offer = Offer {
            sizes,
            quality,
            expected: &self.usual,
            ahead: MediaTime::from_seconds(ahead as f64 * stream.duration),
            ..Offer::new(number, own, stream.media())
        };
        let at = instant(self.epoch, now);
        let decided = self
            .viewer
            .decide(&offer, self.limits, None, &*self.rule, at);
        let (rung, reason) = (decided.pin.rung, decided.pin.reason);
        if let (Some(log), Some(because)) = (&mut self.log, &decided.because) {
            log.push(Decision::of(
                self.rule.name(),
                because,
                Choice { rung, reason },
            ));
        }
        rung
    }

    /// All of a response was sent: `media` seconds of segment `number`. The last acknowledgement will say so.
    pub fn sent(&mut self, done: &Done, number: u64, octets: u64, media: f64) {
        let rtt = done.connection.rtt;
        let delivery = Delivery {
            number,
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

    /// What if the origin broke off an answer that comes too late, so that the player asks again, and then
    /// pinned another rung? Says which: the dearest that is there before the viewer has run dry, or the cheapest
    /// if none is; but only where even that saves half of the wait. No origin does so yet.
    pub fn cut(&mut self, underway: &Underway, stream: &Stream, now: f64) -> Option<usize> {
        let Underway {
            number,
            rung,
            octets,
            sent,
            seconds,
            rtt,
            again,
        } = *underway;
        if !self.tells.cuts || rung == 0 || seconds < TELLING {
            return None;
        }
        let pace = (sent / seconds).max(1.0);
        let rest = (octets as f64 - sent) / pace;
        let at = instant(self.epoch, now);
        let level = self.viewer.buffer(at);
        let buffer = level.map_or(0.0, |level| level.media.as_secs_f64());
        let sizes = stream.sizes(number);
        let anew = |rung: usize| again + sizes[rung] as f64 / pace;
        if rest <= buffer || anew(0) * 2.0 > rest {
            return None;
        }
        let delivery = Delivery {
            number,
            octets: sent as u64,
            media: stream.media(),
            elapsed: Duration::from_secs_f64(seconds),
            min_rtt: Duration::from_secs_f64(rtt),
            capacity: None,
            receiver_limited: 0.0,
            complete: false,
        };
        self.viewer.delivered(&delivery, at);
        Some(
            (0..rung)
                .rev()
                .find(|rung| anew(*rung) < buffer)
                .unwrap_or(0),
        )
    }

    /// What the kernel has told by `now`.
    pub fn hear(&mut self, now: f64) {
        if let Some((at, delivery)) = &self.pending
            && *at <= now + 1e-9
        {
            self.viewer.delivered(delivery, instant(self.epoch, *at));
            self.pending = None;
        }
    }
}

/// Before so many seconds a pace says nothing.
const TELLING: f64 = 0.5;
