//! One round: a link for each player, all of which carry the same trace at the same time, and what came of it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use tokio::{task::JoinSet, time::Instant};

use super::{
    chosen::Chosen,
    machine::{self, Watch},
    player::{Player, Span},
    report::{About, Played, Round, Together},
    seen::Fetched,
    sizes::Sizes,
    stage::Stage,
    trace::Trace,
};
use crate::link::Link;

/// Plays `trace` to all `players` for as long as `about` says: each behind a link of its own, or all behind one.
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
    for _ in 0..if about.shared { 1 } else { players.len() } {
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

    let (mut narrowing, mut playing) = (JoinSet::new(), JoinSet::new());
    for (index, link) in links.iter().enumerate() {
        let (link, steps) = (link.clone(), steps.clone());
        narrowing.spawn(async move {
            let mut applied = Vec::new();
            let note = |at: Duration, kbps| applied.push((millis(at), kbps));
            link.play(span.start, steps, note).await?;
            anyhow::Ok((index, applied))
        });
    }
    for (index, player) in players.iter().enumerate() {
        let link = links[index % links.len()].clone();
        let query = player.query(&region(index));
        let address = format!("{}:{}", link.host(), stage.port);
        let url = format!("http://{address}/live/live/index.m3u8{query}");
        let player = player.clone();
        playing.spawn(async move { anyhow::Ok((index, player.play(&link, &url, span).await)) });
    }
    tokio::time::sleep_until(span.start).await;
    let watch = Watch::start();
    tokio::time::sleep_until(span.start + length).await;
    let mut machine = watch.end().await;
    let (applied, seen) = (all(narrowing).await?, all(playing).await?);

    let said = stage.said().split_off(before);
    if said.iter().any(|line| line.contains(BEHIND)) {
        let why = "the segmenter fell behind real time";
        machine.limits.push(why.into());
    }
    let sizes = stage.follower.sizes(span.start_ms, length);
    let mut played = Vec::new();
    for (index, mut seen) in seen.into_iter().enumerate() {
        let player = &players[index];
        machine.held(&player.name, machine::worst(&mut seen.late_ms));
        if !player.says_what_it_fetches() {
            seen.segments = decided(&said, &region(index), span.start_ms, &sizes);
        }
        // What is asked for after the end is nobody's.
        seen.segments.retain(|fetched| fetched.t < about.seconds);
        let link = applied[index % links.len()].clone();
        played.push(Played::new(&player.name, seen, link, about));
    }
    let mean_kbps = trace.mean_kbps(length);
    Ok(Round {
        together: about
            .shared
            .then(|| Together::of(&played, mean_kbps * about.seconds)),
        mean_kbps,
        trace: cut(trace, &steps, length),
        run,
        sizes,
        machine,
        players: played,
    })
}

/// What all tasks have to say, in their order.
async fn all<T: 'static>(mut tasks: JoinSet<anyhow::Result<(usize, T)>>) -> anyhow::Result<Vec<T>> {
    let mut all = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        all.push(ended??);
    }
    all.sort_by_key(|(index, _)| *index);
    Ok(all.into_iter().map(|(_, said)| said).collect())
}

/// What the viewer of `region` fetched, by what the primary decided.
fn decided(said: &[String], region: &str, began: i64, sizes: &Sizes) -> Vec<Fetched> {
    let chosen = Chosen::all(said, region);
    let fetched = chosen.iter().map(|chosen| Fetched {
        octets: sizes.octets(chosen.segment, &chosen.rung),
        ..chosen.fetched(began)
    });
    fetched.collect()
}

fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1000.0).round() / 1000.0
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
