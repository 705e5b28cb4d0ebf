//! A node under viewers who come and go, for as long as it is told, and whether its memory grows.
//!
//! Over real sockets on loopback, in real time: joins, blocked reloads, segments, viewers that leave
//! without a word, answers that are not read to their end, connections that are given up, wrong requests,
//! operators who look. Resident memory (that of the generator is in it) is sampled; a line is fitted to
//! what comes after the first fifth. Ends with 1 if it rises by more than a fiftieth of the whole in that time.
//!
//!     cargo bench --bench soak -- --minutes 20      # one minute if it is not said

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(clippy::print_stdout, reason = "it is what a bench is for")]

#[path = "../tests/common/node.rs"]
mod node;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use node::{TestNode, patient, short};
use playlists::{Bitrate, parse};
use reqwest::{Client, Url};
use spillway::{net, origin::Terms, origin::ops};

/// Viewers at a time, and how many of them share a client with its connections.
const VIEWERS: u64 = 400;
const TOGETHER: u64 = 10;

/// After what did not work.
const PAUSE: Duration = Duration::from_millis(200);

#[tokio::main(worker_threads = 2)]
async fn main() {
    let minutes = argument("--minutes").unwrap_or(1);
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let terms = Terms {
        budget: Some(Bitrate::from_kbps(300_000)),
        ..Terms::default()
    };
    let node = TestNode::on("soak", terms, patient()).await;
    let mut feed = node.feed(short());
    feed.segments(4);
    let feeding = feed.live();
    let private = net::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let operator = format!("http://{}", private.local_addr().unwrap());
    let ops = ops::private(node.origin.clone());
    tokio::spawn(net::serve(private, ops, patient(), node.stop.clone()));

    let done = Arc::new(AtomicU64::new(0));
    let crowds: Vec<_> = (0..VIEWERS / TOGETHER)
        .map(|crowd| tokio::spawn(crowded(node.url.clone(), crowd, end, done.clone())))
        .collect();
    let mut samples = Vec::new();
    let start = Instant::now();
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let page = reqwest::get(format!("{operator}/v1/viewers?limit=100"))
            .await
            .unwrap();
        let page: serde_json::Value = page.json().await.unwrap();
        let (minute, kib) = (start.elapsed().as_secs_f64() / 60.0, resident_kib());
        samples.push((minute, kib));
        if samples.len() % 12 == 0 {
            println!(
                "{minute:.1} min: {kib:.0} KiB, {} watching, {} requests",
                page["watching"],
                done.load(Relaxed)
            );
        }
    }
    for crowd in crowds {
        crowd.await.unwrap();
    }
    feeding.abort();
    let settled: Vec<_> = samples.iter().skip(samples.len() / 5).copied().collect();
    let (slope, mean) = fit(&settled);
    let risen = slope * (settled[settled.len() - 1].0 - settled[0].0);
    println!(
        "{} requests in {minutes} min; resident memory {mean:.0} KiB, {slope:+.1} KiB a minute after the first fifth ({:+.2} % in all)",
        done.load(Relaxed),
        risen / mean * 100.0
    );
    if risen > mean / 50.0 {
        println!("it grows");
        std::process::exit(1);
    }
}

/// Some viewers who share a client, one after another; the client is a new one every so often.
async fn crowded(url: String, crowd: u64, end: Instant, done: Arc<AtomicU64>) {
    let mut round = crowd;
    while Instant::now() < end {
        let client = Client::builder().build().unwrap();
        // Some stay longer than others.
        let leaves = (Instant::now() + Duration::from_secs(8 + round % 45)).min(end);
        let viewers = (0..TOGETHER).map(|nth| {
            tokio::spawn(viewer(
                client.clone(),
                url.clone(),
                round * TOGETHER + nth,
                leaves,
                done.clone(),
            ))
        });
        for viewer in viewers.collect::<Vec<_>>() {
            viewer.await.unwrap();
        }
        round += 101;
    }
}

/// Joins, plays until it leaves, and does now and then what players should not.
async fn viewer(client: Client, url: String, nth: u64, leaves: Instant, done: Arc<AtomicU64>) {
    let get = async |url: Url| {
        done.fetch_add(1, Relaxed);
        client.get(url).send().await.ok()
    };
    let join: Url = format!("{url}/live/demo/index.m3u8?region=r{}", nth % 90)
        .parse()
        .unwrap();
    let Some(answer) = get(join.clone()).await else {
        return;
    };
    let text = answer.text().await.unwrap_or_default();
    let Some(variant) = parse::multivariant(&text)
        .ok()
        .and_then(|list| list.into_iter().next())
    else {
        return;
    };
    let list = join.join(&variant.uri).unwrap();
    let mut taken = 0;
    while Instant::now() < leaves {
        let mut reload = list.clone();
        if taken > 0 {
            reload.set_query(Some(&format!("_HLS_msn={}", taken + 1)));
        }
        let Some(answer) = get(reload).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let text = answer.text().await.unwrap_or_default();
        let Ok(playlist) = parse::media(&text) else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Some(newest) = playlist
            .segments
            .iter()
            .rfind(|segment| segment.uri.is_some())
        else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        taken = newest.number;
        let segment = list.join(&format!("{taken}.m4s")).unwrap();
        match (nth + taken) % 50 {
            // Given up after its head.
            0 => drop(get(segment).await),
            // Not there.
            1 => drop(get(list.join("1.m4s").unwrap()).await),
            2 => drop(get(format!("{url}/live/none-{nth}/v/x/1.m4s").parse().unwrap()).await),
            _ => {
                if let Some(answer) = get(segment).await {
                    let _ = answer.bytes().await;
                }
            }
        }
    }
}

/// Slope and mean of the line through samples, by least squares.
fn fit(samples: &[(f64, f64)]) -> (f64, f64) {
    let count = samples.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let (mut products, mut squares) = (0.0, 0.0);
    for sample in samples {
        products += (sample.0 - x) * (sample.1 - y);
        squares += (sample.0 - x) * (sample.0 - x);
    }
    (products / squares, y)
}

fn resident_kib() -> f64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find(|line| line.starts_with("Rss:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn argument(name: &str) -> Option<u64> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)?.parse().ok()
}
