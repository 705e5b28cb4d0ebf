//! What an answer says of how it came about: `Spillway-` headers for people and our own players, CMSD
//! for any player. What was decided, and why, is said by whoever decided.

use std::{
    fmt::{Display, Write as _},
    time::Instant,
};

use adaptation::Pin;
use axum::http::{HeaderMap, HeaderValue};
use playlists::{Bitrate, MediaTime};

use super::{Origin, cmsd, viewers::Known};
use crate::{net::Connection, store::Published};

/// One answer to one viewer.
#[derive(Debug)]
pub(super) struct Told<'a> {
    pub window: &'a Published,
    pub pin: Pin,
    pub known: Known,
    /// Index of the rung that is sent.
    pub rung: usize,
    /// Of what is sent.
    pub media: MediaTime,
    /// When it was asked for.
    pub asked: Instant,
    /// The player chose by itself. To any other its one variant is all there is, and it must not be told that this is too
    /// much: Shaka would be left with none.
    pub adapts: bool,
}

impl Told<'_> {
    /// Adds it to the `answer` to a request with the headers `asked`.
    pub(super) fn put(&self, origin: &Origin, asked: &HeaderMap, answer: &mut HeaderMap) {
        let explain = asked.contains_key(EXPLAIN);
        self.say(origin, explain, |name, value| {
            put(answer, name, &value.to_string());
        });
    }

    /// What the answer says, line by line; with `explain`, also what the decision was made from.
    pub(super) fn say(
        &self,
        origin: &Origin,
        explain: bool,
        mut put: impl FnMut(&'static str, &dyn Display),
    ) {
        let Some(rung) = self.window.format().ladder.rungs().get(self.rung) else {
            return;
        };
        put("spillway-rung", &rung.name);
        put("spillway-reason", &self.pin.reason);
        put("spillway-node", &origin.node);
        if let Some(estimate) = self.known.estimate {
            put("spillway-estimate", &estimate.kbps());
        }
        let share = origin.share.load();
        if explain {
            put("spillway-decision", &self.decision(share.price()));
        }
        put(cmsd::STATIC, &object(self.window, self.rung, self.media));
        let dynamic = cmsd::Dynamic {
            node: &origin.node,
            throughput: self.known.estimate,
            round_trip: Some(self.known.rtt),
            most: self.adapts.then(|| self.ceiling()),
            delay: self.asked.elapsed(),
            duress: share.is_overloaded(),
        };
        put(cmsd::DYNAMIC, &dynamic);
    }

    /// Of the rung that is sent.
    pub(super) fn name(&self) -> &str {
        let rungs = self.window.format().ladder.rungs();
        rungs.get(self.rung).map_or("", |rung| rung.name.as_str())
    }

    /// The declared rate of the dearest rung that it may have: what players compare with `BANDWIDTH`.
    fn ceiling(&self) -> Bitrate {
        let rungs = self.window.format().ladder.rungs();
        let ceiling = self.known.ceiling.min(rungs.len() - 1);
        rungs[ceiling].bandwidth
    }

    /// A dictionary of RFC 8941: what the decision was made from, in short.
    fn decision(&self, price: f64) -> String {
        let Known {
            buffer,
            ceiling,
            deviation,
            arm,
            rule,
            ..
        } = self.known;
        let mut text = format!("rule={rule}, ceiling={ceiling}, price={price:.3}");
        // Writing to a String does not fail.
        if let Some(arm) = arm {
            let _ = write!(text, ", arm={arm}");
        }
        if let Some(level) = buffer {
            let _ = write!(text, ", buffer={}", level.media.as_millis());
            text.push_str(if level.playing { "" } else { ", playing=?0" });
        }
        let _ = write!(text, ", deviation={deviation:.3}");
        text
    }
}

/// Holds a viewer to its ceiling by how fast it is sent to, while the node has less than all would take. On
/// a connection that ends at a proxy there may be others.
pub(super) fn pace(origin: &Origin, window: &Published, known: &Known, connection: &Connection) {
    let Some(times) = origin.terms.pace.filter(|_| connection.peer.direct) else {
        return;
    };
    let rungs = window.format().ladder.rungs();
    let ceiling = &rungs[known.ceiling.min(rungs.len() - 1)];
    connection.pace(known.held.then(|| ceiling.bandwidth.scale(times)));
}

/// The value of `CMSD-Static` of a segment or part of the length `media` in one rung.
pub(super) fn object(window: &Published, rung: usize, media: MediaTime) -> cmsd::Static {
    let format = window.format();
    let rate = format.ladder.rungs().get(rung).map(|rung| rung.average);
    cmsd::Static {
        rate: rate.unwrap_or_default(),
        duration: media,
        sound: !format.renditions.apart(),
        parts: format.part < format.segment,
        ended: window.has_ended(),
    }
}

/// Names and numbers are all that is ever put here; what could not be a header is left out.
pub(super) fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Who sends this wants to know what a decision was made from.
const EXPLAIN: &str = "spillway-explain";
