//! A node under viewers who come and go, for as long as it is told, and whether its memory grows.
//!
//! Over real sockets on loopback, in real time: joins, blocked reloads, segments, viewers that leave
//! without a word, answers that are not read to their end, connections that are given up, wrong requests,
//! operators who look. The node is a process of its own; what it holds is sampled, its own memory and the media
//! that it keeps in files without a name.
//!
//! The first half is for warming up: tables reach the size of their crowd, and the allocator its shape. What
//! counts is the second: the median of the slopes between all pairs of its samples (Theil and Sen), which a
//! hump does not bend as it bends a line of least squares. Ends with 1 if that rises by more than a fiftieth of
//! the whole within the half.
//!
//!     cargo bench --bench soak -- --minutes 20      # one minute if it is not said

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(clippy::print_stdout, reason = "it is what a bench is for")]

#[path = "../tests/common/node.rs"]
mod node;

use std::{
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::MetadataExt as _,
    process::{Command, Stdio},
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

/// What a child of this program is told, so that it serves.
const SERVE: &str = "serve";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    if std::env::args().any(|argument| argument == SERVE) {
        return runtime.block_on(serve());
    }
    let grew = runtime.block_on(soak(Duration::from_secs(
        argument("--minutes").unwrap_or(1) * 60,
    )));
    if grew {
        println!("it grows");
        std::process::exit(1);
    }
}

/// The node. Says where it is, and ends with its stdin.
async fn serve() {
    let terms = Terms {
        budget: Some(Bitrate::from_kbps(300_000)),
        ..Terms::default()
    };
    let node = TestNode::on("soak", terms, patient()).await;
    let mut feed = node.feed(short());
    feed.segments(4);
    let feeding = feed.live();
    let private = net::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    println!("{} http://{}", node.url, private.local_addr().unwrap());
    let ops = ops::private(node.origin.clone());
    tokio::spawn(net::serve(private, ops, patient(), node.stop.clone()));
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let _ = ended.await;
    feeding.abort();
}

/// Whether the memory of a node grows.
async fn soak(length: Duration) -> bool {
    let end = Instant::now() + length;
    let mut node = Command::new(std::env::current_exe().unwrap())
        .arg(SERVE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut out = BufReader::new(node.stdout.take().unwrap());
    out.read_line(&mut said).unwrap();
    let (url, operator) = said
        .trim()
        .split_once(' ')
        .expect("a node says where it is");

    let done = Arc::new(AtomicU64::new(0));
    let crowds: Vec<_> = (0..VIEWERS / TOGETHER)
        .map(|crowd| tokio::spawn(crowded(url.to_owned(), crowd, end, done.clone())))
        .collect();
    let mut samples = Vec::new();
    let start = Instant::now();
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let page = reqwest::get(format!("{operator}/v1/viewers?limit=100"))
            .await
            .unwrap();
        let page: serde_json::Value = page.json().await.unwrap();
        let (minute, kib) = (start.elapsed().as_secs_f64() / 60.0, held_kib(node.id()));
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
    drop(node.stdin.take());
    node.wait().unwrap();
    println!(
        "{} requests in {:.0} min",
        done.load(Relaxed),
        length.as_secs_f64() / 60.0
    );
    let (warming, settled) = samples.split_at(samples.len() / 2);
    judged("first half, warming up", warming);
    judged("second half", settled) > 1.0 / 50.0
}

/// Says how `samples` go; returns by what share they rise.
fn judged(what: &str, samples: &[(f64, f64)]) -> f64 {
    let (first, last) = (samples[0], samples[samples.len() - 1]);
    let middle = median(samples.iter().map(|(_, kib)| *kib));
    let pairs = samples.iter().enumerate().flat_map(|(nth, one)| {
        let later = samples[nth + 1..].iter();
        later.map(move |other| (other.1 - one.1) / (other.0 - one.0))
    });
    let slope = median(pairs);
    let risen = slope * (last.0 - first.0) / middle;
    println!(
        "{what}: median {middle:.0} KiB, {slope:+.1} KiB a minute ({:+.2} % in all)",
        risen * 100.0
    );
    risen
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
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

/// What a process holds: memory of its own, and the file without a name that it keeps media in. (Pages of its
/// program come and go with what else the machine does.)
fn held_kib(process: u32) -> f64 {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap();
    let own = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"));
    let own = own.unwrap().trim().trim_end_matches(" kB");
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let paths = open.flatten().map(|file| file.path());
    let media = paths.filter(|path| {
        let target = std::fs::read_link(path).unwrap_or_default();
        target.to_string_lossy().starts_with("/memfd:media")
    });
    let blocks = media.filter_map(|path| Some(std::fs::metadata(path).ok()?.blocks()));
    own.parse::<f64>().unwrap() + blocks.sum::<u64>() as f64 / 2.0
}

fn argument(name: &str) -> Option<u64> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)?.parse().ok()
}
