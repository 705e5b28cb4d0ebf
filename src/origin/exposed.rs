//! A node's metrics: its viewers and egress, what was asked of it, and how the source of each stream goes.
//!
//! All of it is read when it is asked for. Labels are streams, rungs, regions and what has a few values by its nature, so that the
//! number of series does not hang on that of viewers.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use axum::{Extension, extract::State};
use playlists::Bitrate;

use super::{Origin, Stance};
use crate::{
    metrics::{Exposition, Family},
    store::{Alert, Consumer, Health, InputHealth, InputState, OnAir, StreamName},
    webhook::Hooks,
};

/// Metrics for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, description = "Text exposition format 0.0.4.", body = String, content_type = "text/plain")))]
pub(super) async fn metrics(
    State(origin): State<Arc<Origin>>,
    hooks: Option<Extension<Hooks>>,
) -> Exposition {
    let mut page = Exposition::default();
    node(&origin, &mut page);
    told(&origin, &mut page);
    let streams: Vec<_> = origin.store.streams().into_iter().collect();
    published(&origin, &streams, &mut page);
    sources(&streams, &mut page);
    if let Some(Extension(hooks)) = hooks {
        hooks.expose(&mut page);
    }
    page
}

fn node(origin: &Origin, page: &mut Exposition) {
    let viewers = &origin.viewers;
    let (census, share) = (viewers.census(), origin.share.load());
    page.gauge("spillway_build_info", "Always 1; its label is the version.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let draining = matches!(**origin.stance.load(), Stance::Draining { .. });
    page.gauge(
        "spillway_draining",
        "1 while viewers are sent to another node.",
    )
    .is(flag(draining));
    page.gauge("spillway_viewers_max", "Viewers that there is room for.")
        .is(origin.terms.max_viewers as f64);
    let mut regions = page.gauge(
        "spillway_region_viewers",
        "Viewers by the region that they say they are in.",
    );
    for (region, load) in &census.regions {
        regions.sample(&[("region", region)], load.viewers.into());
    }
    page.gauge(
        "spillway_viewers_moved",
        "Viewers sent elsewhere who still ask here for the way.",
    )
    .is(census.moved.into());
    page.counter("spillway_viewers_seen_total", "Viewers who took anything.")
        .is(viewers.arrivals() as f64);
    let (refused, sent_on) = viewers.turned();
    page.counter("spillway_joins_total", "Joins, by what came of them.")
        .sample(&[("result", "let_in")], viewers.joins() as f64)
        .sample(&[("result", "refused")], refused as f64)
        .sample(&[("result", "sent_on")], sent_on as f64);
    page.counter(
        "spillway_sent_bytes_total",
        "Octets of media that viewers have acknowledged.",
    )
    .is(viewers.egress.load(Relaxed) as f64);
    page.gauge(
        "spillway_egress_bytes_per_second",
        "The same as a rate over the last seconds.",
    )
    .is(octets(share.egress));
    if let Some(budget) = share.budget.or(origin.terms.budget) {
        page.gauge(
            "spillway_egress_budget_bytes_per_second",
            "Egress that viewers share, given or learnt; absent if it is unlimited.",
        )
        .is(octets(budget));
    }
    page.gauge(
        "spillway_congestion_price",
        "Utility per Mbit/s that one more bit would buy; 0 when the budget holds nobody down.",
    )
    .is(share.price());
    let mut requests = page.counter(
        "spillway_requests_total",
        "Requests of viewers and relays, by what was asked for and the class of the status.",
    );
    for (kind, status, count) in origin.requests.all() {
        requests.sample(&[("kind", kind), ("status", status)], count as f64);
    }
    let (fetched, failed, octets) = origin.pulled.fetches();
    page.counter("spillway_fetches_total", "Requests to other nodes.")
        .sample(&[("result", "ok")], fetched as f64)
        .sample(&[("result", "failed")], failed as f64);
    page.counter("spillway_fetched_bytes_total", "Octets from other nodes.")
        .is(octets as f64);
}

/// What is told of viewers, for analytics.
fn told(origin: &Origin, page: &mut Exposition) {
    let upload = &origin.upload;
    let lost = upload.lost.load(Relaxed) + origin.viewers.leavers.lost.load(Relaxed);
    page.counter(
        "spillway_visits_told_total",
        "Visits that who keeps them has taken, as often as they were told.",
    )
    .is(upload.taken.load(Relaxed) as f64);
    page.gauge("spillway_visits_waiting", "Visits that wait to be told.")
        .is(upload.waiting.load(Relaxed) as f64);
    page.counter(
        "spillway_visits_lost_total",
        "Visits whose end was given up, since too many waited.",
    )
    .is(lost as f64);
}

/// What each stream is to its viewers.
fn published(origin: &Origin, streams: &[(StreamName, Consumer)], page: &mut Exposition) {
    let census = origin.viewers.census();
    let mut viewers = page.gauge("spillway_viewers", "Viewers now, by stream.");
    for (name, _) in streams {
        let count = census.streams.get(name.as_str()).copied().unwrap_or(0);
        viewers.sample(&[("stream", name.as_str())], count.into());
    }
    let mut decisions = page.counter(
        "spillway_decisions_total",
        "Segments and parts whose rung was chosen here, by that rung.",
    );
    let windows = streams
        .iter()
        .filter_map(|(name, stream)| Some((name, stream.now()?)));
    let windows: Vec<_> = windows.collect();
    for (name, window) in &windows {
        let Some(decided) = origin.viewers.decided(name) else {
            continue;
        };
        for (rung, count) in window.format().ladder.rungs().iter().zip(decided) {
            let labels = [("stream", name.as_str()), ("rung", rung.name.as_str())];
            decisions.sample(&labels, count as f64);
        }
    }
    let mut rates = page.gauge(
        "spillway_rung_bytes_per_second",
        "What a rung takes, over the segments that are listed.",
    );
    for (name, window) in &windows {
        for (rung, rate) in window.format().ladder.rungs().iter().zip(window.rates()) {
            let labels = [("stream", name.as_str()), ("rung", rung.name.as_str())];
            rates.sample(&labels, octets(rate));
        }
    }
    let mut last = page.gauge(
        "spillway_last_segment",
        "Media sequence number of the last complete segment; it stands still when nothing comes.",
    );
    for (name, window) in &windows {
        if let Some(segment) = window.last_complete() {
            last.sample(&[("stream", name.as_str())], segment.number() as f64);
        }
    }
}

/// How a metric is read off a report.
type Read = fn(&Health) -> f64;

/// How the segmenters and their inputs go, as they say once a second.
fn sources(streams: &[(StreamName, Consumer)], page: &mut Exposition) {
    let mut runs = page.counter(
        "spillway_segmenter_runs_total",
        "How often a segmenter was started; 0 for a stream of another node.",
    );
    for (name, stream) in streams {
        runs.sample(&[("stream", name.as_str())], stream.intake().runs as f64);
    }
    let healths: Vec<_> = streams
        .iter()
        .filter_map(|(name, stream)| Some((name.as_str(), stream.intake().health.clone()?)))
        .collect();
    let gauges: [(&'static str, &str, Read); 6] = [
        (
            "spillway_encoder_speed_ratio",
            "Media seconds made per second; below 1 the encoder falls behind.",
            |health| health.speed,
        ),
        (
            "spillway_encoder_frames_per_second",
            "Pictures out of the ladder.",
            |health| health.fps,
        ),
        (
            "spillway_encoder_lead_seconds",
            "Media made less time passed; below 0 it is behind real time.",
            |health| health.lead_ms as f64 / 1000.0,
        ),
        (
            "spillway_encoder_lag_seconds",
            "How much less that is than it was at its best of late.",
            |health| health.lag_ms as f64 / 1000.0,
        ),
        (
            "spillway_rungs_dropped",
            "Rungs, the dearest, that are not encoded for want of time.",
            |health| health.rungs_dropped.into(),
        ),
        (
            "spillway_encoder_alerts",
            "How many alerts hold.",
            |health| health.alerts.len() as f64,
        ),
    ];
    for (name, help, read) in gauges {
        each(page.gauge(name, help), &healths, read);
    }
    let counters: [(&'static str, &str, Read); 3] = [
        (
            "spillway_frames_dropped_total",
            "Input pictures left out to hold the rate, in this run of the segmenter.",
            |health| health.dropped as f64,
        ),
        (
            "spillway_frames_repeated_total",
            "Pictures repeated to hold the rate, in this run of the segmenter.",
            |health| health.repeated as f64,
        ),
        (
            "spillway_segments_unpictured_total",
            "Segments without stills for want of time, in this run of the segmenter.",
            |health| health.unpictured as f64,
        ),
    ];
    for (name, help, read) in counters {
        each(page.counter(name, help), &healths, read);
    }
    let mut on_air = page.gauge("spillway_on_air", "1 for whose pictures go out.");
    for (stream, health) in &healths {
        for (source, name) in SOURCES {
            let there = source != OnAir::Backup || health.backup.is_some();
            if there {
                let labels = [("stream", *stream), ("source", name)];
                on_air.sample(&labels, flag(health.on_air == source));
            }
        }
    }
    inputs(&healths, page);
    let mut alerts = page.gauge("spillway_alert", "1 while the alert of that name holds.");
    for (stream, health) in &healths {
        for alert in Alert::ALL {
            let labels = [("stream", *stream), ("alert", alert.name())];
            alerts.sample(&labels, flag(health.alerts.contains(&alert)));
        }
    }
}

fn each(mut family: Family<'_>, healths: &[(&str, Health)], read: Read) {
    for (stream, health) in healths {
        family.sample(&[("stream", stream)], read(health));
    }
}

fn inputs(healths: &[(&str, Health)], page: &mut Exposition) {
    type ReadInput = fn(&InputHealth) -> Option<f64>;
    let metrics: [(&'static str, &str, ReadInput); 4] = [
        (
            "spillway_input_live",
            "1 while an input gives pictures.",
            |input| Some(flag(input.state == InputState::Live)),
        ),
        (
            "spillway_input_frames_per_second",
            "Pictures that an input brings.",
            |input| Some(input.fps),
        ),
        (
            "spillway_input_bytes_per_second",
            "All that an input brings.",
            |input| Some(input.kbps * 1000.0 / 8.0),
        ),
        (
            "spillway_input_keyframe_interval_seconds",
            "From one key frame of an input to the next; absent where there are none.",
            |input| input.keyframe_s,
        ),
    ];
    let all = |family: Family<'_>, read: ReadInput| {
        let mut family = family;
        for (stream, health) in healths {
            let named = [
                ("main", Some(&health.main)),
                ("backup", health.backup.as_ref()),
            ];
            for (name, input) in named {
                if let Some(value) = input.and_then(read) {
                    family.sample(&[("stream", stream), ("input", name)], value);
                }
            }
        }
    };
    for (name, help, read) in metrics {
        all(page.gauge(name, help), read);
    }
    let opened = page.counter(
        "spillway_input_opened_total",
        "How often an input was opened, in this run of the segmenter.",
    );
    all(opened, |input| Some(input.opened as f64));
}

fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

fn octets(rate: Bitrate) -> f64 {
    rate.bps() as f64 / 8.0
}

const SOURCES: [(OnAir, &str); 3] = [
    (OnAir::Main, "main"),
    (OnAir::Backup, "backup"),
    (OnAir::Slate, "slate"),
];
