//! The origin's side of one viewer: the same viewer and the same rules as in production, offered what the
//! origin would offer and told what the kernel would tell.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use adaptation::{
    Choice, Decision, Delivery, Limits, Offer, Rule, Sizes, Viewer,
    abandon::{Instead, Outstanding, patience, telling},
};
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
    /// It breaks off answers that are lost: see [`Origin::cuts`].
    pub cuts: bool,
}

/// A response that is not through yet, over the last stretch of it.
#[derive(Clone, Copy, Debug)]
pub struct Underway {
    pub number: u64,
    /// Of the segment, if it is not all of it.
    pub part: Option<usize>,
    /// Octets.
    pub left: f64,
    /// Octets, and how long they took.
    pub sent: f64,
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

    /// The rung of segment `number`, or of a part of it, asked for at `now`.
    pub fn decide(&mut self, stream: &Stream, number: u64, part: Option<usize>, now: f64) -> usize {
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
            part: part.map(|part| stream.offered(number, part, now)),
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

    /// All of a response was sent: `media` of segment `number`, in seconds from its beginning. The last
    /// acknowledgement will say so.
    pub fn sent(&mut self, done: &Done, number: u64, octets: u64, media: Range<f64>) {
        let rtt = done.connection.rtt;
        let delivery = Delivery {
            number,
            octets,
            begins: MediaTime::from_seconds(media.start),
            media: MediaTime::from_seconds(media.end - media.start),
            elapsed: Duration::from_secs_f64(done.at - done.began + rtt),
            min_rtt: Duration::from_secs_f64(rtt),
            capacity: done.capacity.map(|bps| Bitrate::from_bps(bps as u64)),
            receiver_limited: 0.0,
            complete: true,
        };
        self.pending = Some((done.at + rtt, delivery));
    }

    /// Whether an answer is broken off that is lost; the player asks again for all of the segment then, and
    /// is given another rung.
    pub fn cuts(&mut self, underway: &Underway, stream: &Stream, now: f64) -> bool {
        let Underway {
            number,
            part,
            left,
            sent,
            seconds,
            rtt,
            again,
        } = *underway;
        let media = if part.is_some() {
            stream.part()
        } else {
            stream.duration
        };
        let telling = telling(Duration::from_secs_f64(media));
        // What could not be begun at this part would be asked for in vain.
        let open = part.is_none_or(|part| part == 0 || stream.open > 0);
        if !self.tells.cuts || !open || seconds < telling.as_secs_f64() {
            return false;
        }
        let at = instant(self.epoch, now);
        let outstanding = Outstanding {
            left: left as u64,
            stuck: 0,
            pace: Bitrate::from_bps((sent * 8.0 / seconds) as u64),
            rtt: Duration::from_secs_f64(rtt),
        };
        let instead = Instead {
            octets: match part {
                Some(part) => stream.octets(number, 0, part..part + 1),
                None => stream.sizes(number)[0],
            },
            after: Duration::from_secs_f64(again),
            patience: if part.is_some() {
                patience(Duration::from_secs_f64(media))
            } else {
                Duration::MAX
            },
        };
        let level = self.viewer.buffer(at);
        if !level.is_some_and(|level| outstanding.is_lost(level, instead)) {
            return false;
        }
        let delivery = Delivery {
            number,
            octets: sent as u64,
            begins: MediaTime::ZERO,
            // What was looked at is a stretch of the segment, and so it weighs.
            media: MediaTime::from_seconds(media * sent / (sent + left).max(1.0)),
            elapsed: Duration::from_secs_f64(seconds),
            min_rtt: Duration::from_secs_f64(rtt),
            capacity: None,
            receiver_limited: 0.0,
            complete: false,
        };
        let part = part.map(|part| u8::try_from(part).unwrap_or(u8::MAX));
        self.viewer.abandoned(&delivery, part, at);
        self.viewer.asked_anew(number, part);
        true
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
