//! What a traffic manager is told that asks for its operator: one viewer with its last decisions, or some of the viewers
//! there are. In short, as it goes with every node that is asked; the whole of it is on this node's own listener (`ops`).

use std::time::Instant;

use serde_json::{Value, json};

use super::{Origin, explain::Explained, ops};
use crate::store::StreamName;

/// `None`: there is no such viewer here.
pub(super) fn answer(origin: &Origin, viewer: Option<&str>) -> Option<Value> {
    let now = Instant::now();
    let Some(id) = viewer else {
        let mut page = origin.viewers.page(None, None, SOME, now);
        ops::name_classes(origin, &mut page.viewers);
        let more = page.viewers.len() == SOME;
        return Some(json!({ "viewers": page.viewers, "more": more }));
    };
    let key = ops::key(id)?;
    let mut reports = origin.viewers.look(key, now);
    if reports.is_empty() {
        return None;
    }
    ops::name_classes(origin, &mut reports);
    let explained = origin.viewers.explain(key).into_iter();
    let streams = explained.map(|(stream, kept)| {
        let ladder = ladder(origin, &stream);
        let decisions: Option<Vec<_>> = kept.map(|kept| kept.iter().map(short).collect());
        json!({ "stream": stream, "ladder": ladder, "decisions": decisions })
    });
    let streams: Vec<_> = streams.collect();
    Some(json!({ "viewers": reports, "streams": streams }))
}

/// Names and rates of the rungs that decisions speak of by their numbers.
fn ladder(origin: &Origin, stream: &StreamName) -> Vec<Value> {
    let Some((_, window)) = origin.store.published(stream.as_str()) else {
        return Vec::new();
    };
    let rungs = window.format().ladder.rungs().iter();
    let rungs = rungs.map(|rung| json!({ "name": rung.name, "kbps": rung.average.kbps() }));
    rungs.collect()
}

/// What was chosen, and from what.
fn short(explained: &Explained) -> Value {
    let (decision, viewer) = (&explained.decision, &explained.decision.viewer);
    json!({
        "at_ms": explained.at_ms,
        "number": decision.number,
        "rule": decision.rule,
        "rung": decision.rung,
        "reason": decision.reason,
        "estimate_kbps": viewer.estimate.map(|estimate| estimate.rate.kbps()),
        "deviation": viewer.estimate.map(|estimate| estimate.deviation),
        "buffer_ms": viewer.buffer.map(|level| level.media.as_millis()),
        "playing": viewer.buffer.is_some_and(|level| level.playing),
        "ceiling": viewer.ceiling,
        "price": viewer.price,
    })
}

/// Of the viewers that nobody has named.
const SOME: usize = 100;
