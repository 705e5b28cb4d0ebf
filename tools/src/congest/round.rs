//! One round: a link for each player, all of which carry the same trace at the same time, and what came of it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use tokio::{task::JoinSet, time::Instant};

use super::{
    chosen::Chosen,
    machine::{self, Watch},
    player::{Player, Span},
    report::{About, Played, Round},
    seen::Seen,
    stage::Stage,
    trace::Trace,
};
use crate::link::Link;

/// Plays `trace` to all `players` for as long as `about` says.
pub async fn play(
    stage: &Stage,
    about: &About,
    players: &[Player],
    (trace, run): (&Trace, u32),
) -> anyhow::Result<Round> {
    let length = Duration::from_secs_f64(about.seconds);
    let steps: Vec<_> = trace
        .steps(length)
        .into_iter()
        .map(|(at, kbps)| (at, kbps.max(LEAST)))
        .collect();
    let first = steps.first().context("the trace has no points")?.1;
    let mut links = Vec::new();
    for _ in players {
        links.push(Arc::new(Link::new(first).await?));
    }
    let before = stage.said().len();
    let lead = if players.iter().any(Player::is_slow_to_start) {
        SLOW
    } else {
        QUICK
    };
    let span = Span {
        start: Instant::now() + lead,
        start_ms: wall_ms() + lead.as_millis() as i64,
        length,
    };

    let mut tasks = JoinSet::new();
    let applied: Vec<Applied> = players.iter().map(|_| Applied::default()).collect();
    for (index, (player, link)) in players.iter().zip(&links).enumerate() {
        let url = format!(
            "http://{}:{}/live/live/index.m3u8{}",
            link.host(),
            stage.port,
            player.query(&region(index))
        );
        let (player, link, steps, applied) = (
            player.clone(),
            link.clone(),
            steps.clone(),
            applied[index].clone(),
        );
        tasks.spawn(async move {
            let narrowed = link.play(span.start, steps, |at, kbps| applied.note(at, kbps));
            let (seen, narrowed) = tokio::join!(player.play(&link, &url, span), narrowed);
            narrowed.map(|()| (index, seen))
        });
    }
    tokio::time::sleep_until(span.start).await;
    let watch = Watch::start();
    tokio::time::sleep_until(span.start + length).await;
    let mut machine = watch.end().await;
    let mut all: Vec<(usize, Seen)> = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        all.push(ended??);
    }
    all.sort_by_key(|(index, _)| *index);

    let said = stage.said().split_off(before);
    if said.iter().any(|line| line.contains(BEHIND)) {
        machine
            .limits
            .push("the segmenter fell behind real time".into());
    }
    let sizes = stage.follower.sizes(span.start_ms, length);
    let mut played = Vec::new();
    for (index, mut seen) in all {
        let player = &players[index];
        machine.held(&player.name, machine::worst(&mut seen.late_ms));
        if !player.says_what_it_fetches() {
            let chosen = Chosen::all(&said, &region(index));
            seen.segments = chosen
                .iter()
                .map(|chosen| chosen.fetched(span.start_ms))
                .collect();
            for fetched in &mut seen.segments {
                fetched.octets = fetched
                    .rung
                    .as_ref()
                    .and_then(|rung| sizes.octets(fetched.segment, rung));
            }
        }
        // What is asked for after the end is nobody's.
        seen.segments.retain(|fetched| fetched.t < about.seconds);
        played.push(Played::new(
            &player.name,
            seen,
            applied[index].taken(),
            about,
        ));
    }
    Ok(Round {
        mean_kbps: trace.mean_kbps(length),
        trace: cut(trace, &steps, length),
        run,
        sizes,
        machine,
        players: played,
    })
}

/// What a link carried, and since when.
#[derive(Clone, Debug, Default)]
struct Applied(Arc<Mutex<Vec<(f64, u32)>>>);

impl Applied {
    fn note(&self, at: Duration, kbps: u32) {
        let at = (at.as_secs_f64() * 1000.0).round() / 1000.0;
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((at, kbps));
    }

    fn taken(&self) -> Vec<(f64, u32)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The trace as it was played: without an end after the round's.
fn cut(trace: &Trace, steps: &[(Duration, u32)], length: Duration) -> Trace {
    let ends = steps.iter().skip(1).map(|(at, _)| *at).chain([length]);
    let points = steps
        .iter()
        .zip(ends)
        .map(|((at, kbps), end)| ((end - *at).as_millis() as u64, *kbps));
    Trace {
        name: trace.name.clone(),
        points: points.collect(),
    }
}

/// By what the primary's log tells the viewers apart.
fn region(index: usize) -> String {
    format!("lab-{index}")
}

fn wall_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis() as i64
}

/// A token bucket carries something or is down; in kbit/s.
const LEAST: u32 = 16;
/// For a browser to start, before it is to begin.
const SLOW: Duration = Duration::from_secs(8);
const QUICK: Duration = Duration::from_millis(500);
/// What a segmenter says, ours or the one that stands in for it.
const BEHIND: &str = "cannot keep up with real time";
