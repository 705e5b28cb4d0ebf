//! What a relay adds: how much later a part is there than at the node it follows, what one cold segment costs that many
//! want at once, and how often each object is taken from upstream. Both ways in one run, so that what the machine does
//! meanwhile hits both alike.
//!
//!     cargo bench --bench relay [-- --seconds 60]

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(clippy::print_stdout, reason = "it is what a bench is for")]

#[path = "../tests/relaying/counting.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod counting;
#[path = "../tests/common/node.rs"]
mod node;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use counting::Counting;
use node::{FIRST, TestNode};
use playlists::{MediaTime, Window};
use reqwest::Client;
use segmenter::Synthetic;
use spillway::{
    net::{Fetcher, Limits},
    source::upstream::{self, Upstream},
};
use tokio_util::sync::{CancellationToken, DropGuard};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let seconds = arguments.windows(2).find(|pair| pair[0] == "--seconds");
    let seconds = seconds.map_or(30, |pair| pair[1].parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        lag(Duration::from_secs(seconds)).await;
        crowd().await;
        hits(1).await;
        hits(200).await;
    });
}

struct Relay {
    node: TestNode,
    _stop: DropGuard,
}

async fn relay(name: &str, of: &str) -> Relay {
    let node = TestNode::start(name, None, Limits::default()).await;
    let upstream = Upstream::node(of.parse().unwrap(), Fetcher::new().unwrap(), 6);
    let stop = CancellationToken::new();
    let store = node.origin.store.clone();
    tokio::spawn(upstream::run(upstream, store, stop.clone()));
    Relay {
        node,
        _stop: stop.drop_guard(),
    }
}

impl Relay {
    async fn holds(&self, number: u64) {
        loop {
            if let Some(mut stream) = self.node.origin.store.stream("demo") {
                let there = |window: &Window| {
                    let last = window.last_complete();
                    last.is_some_and(|last| last.number() >= number)
                };
                stream.wait(there).await.unwrap();
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

type Published = Arc<Mutex<BTreeMap<(u64, usize), Instant>>>;

/// From when a part is published by the primary until a player has it that waits for it: at the primary, at a relay, and at a
/// relay of that.
async fn lag(span: Duration) {
    let media = Synthetic::new(
        &[("low", 400), ("top", 3000)],
        MediaTime::from_ticks(1, 4),
        4,
    );
    let primary = TestNode::start("primary", None, Limits::default()).await;
    let one = relay("one", &primary.url).await;
    let two = relay("two", &one.node.url).await;
    let mut feed = primary.feed(media.unwrap());
    feed.segments(5);
    two.holds(FIRST + 4).await;
    // Somebody watches the dearer rung as well, everywhere.
    for url in [&primary.url, &one.node.url, &two.node.url] {
        let path = format!("{url}/live/demo/7/top/{}.m4s", FIRST + 4);
        reqwest::get(path).await.unwrap();
    }
    let published: Published = Arc::default();
    let publish = {
        let published = published.clone();
        tokio::spawn(async move {
            let mut due = tokio::time::Instant::now();
            loop {
                due += feed.part().unwrap().duration();
                let now = Instant::now();
                let window = feed.producer.window().unwrap();
                let last = window.last_part().unwrap();
                published
                    .lock()
                    .unwrap()
                    .insert((last.number, last.part), now);
                tokio::time::sleep_until(due).await;
            }
        })
    };
    let nodes = [
        ("primary", &primary.url),
        ("relay", &one.node.url),
        ("its relay", &two.node.url),
    ];
    let watching = nodes.map(|(_, url)| tokio::spawn(watch(url.clone(), published.clone(), span)));
    let mut seen = Vec::new();
    for watching in watching {
        seen.push(watching.await.unwrap());
    }
    publish.abort();
    println!("a part of 250 ms, from its publication until a player has it that waits for it, ms:");
    for ((name, _), lags) in nodes.iter().zip(&seen) {
        let mut all: Vec<f64> = lags.values().copied().collect();
        println!("  {name:<10} {}", told(&mut all));
    }
    for (name, lags) in [("the relay", &seen[1]), ("both", &seen[2])] {
        let mut added: Vec<f64> = lags
            .iter()
            .filter_map(|(part, lag)| Some(lag - seen[0].get(part)?))
            .collect();
        println!("  added by {name}: {}", told(&mut added));
    }
}

/// As a player with parts does: a reload that is held, then the part.
async fn watch(url: String, published: Published, span: Duration) -> BTreeMap<(u64, usize), f64> {
    let (client, end) = (Client::new(), Instant::now() + span);
    let mut seen = BTreeMap::new();
    let first = published.lock().unwrap().keys().next_back().copied();
    let (mut number, mut part) = first.map_or((FIRST + 5, 1), |(number, part)| (number, part + 1));
    while Instant::now() < end {
        if part == 4 {
            (number, part) = (number + 1, 0);
        }
        let list = format!("{url}/live/demo/top.m3u8?_HLS_msn={number}&_HLS_part={part}");
        client
            .get(list)
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        let media = format!("{url}/live/demo/7/top/{number}.{part}.m4s");
        let answer = client.get(media).send().await.unwrap();
        if answer.status().is_success() {
            answer.bytes().await.unwrap();
            let at = published.lock().unwrap().get(&(number, part)).copied();
            if let Some(at) = at {
                seen.insert((number, part), at.elapsed().as_secs_f64() * 1e3);
            }
        }
        part += 1;
    }
    seen
}

/// 200 who ask at once for one segment of 300 kB: at the primary, and at a relay that has to fetch it.
async fn crowd() {
    let primary = TestNode::start("primary", None, Limits::default()).await;
    let relay = relay("relay", &primary.url).await;
    let media = Synthetic::new(
        &[("low", 200), ("top", 1900)],
        MediaTime::from_ticks(1, 1),
        1,
    );
    let mut feed = primary.feed_listing(media.unwrap(), 20);
    feed.segments(12);
    relay.holds(FIRST + 11).await;
    let clients: Vec<Client> = (0..200).map(|_| Client::new()).collect();
    let all = async |base: &str, number: u64| {
        let began = Instant::now();
        let asked: Vec<_> = clients
            .iter()
            .map(|client| {
                let url = format!("{base}/live/demo/7/top/{number}.m4s");
                let asked = client.get(url).send();
                tokio::spawn(async move { asked.await.unwrap().bytes().await.unwrap().len() })
            })
            .collect();
        let mut octets = 0;
        for asked in asked {
            octets = asked.await.unwrap();
        }
        (began.elapsed().as_secs_f64() * 1e3, octets)
    };
    // Connections are there before.
    for base in [&primary.url, &relay.node.url] {
        all(base, FIRST + 11).await;
    }
    let (mut ratios, mut direct, mut cold, mut size) = (Vec::new(), Vec::new(), Vec::new(), 0);
    // Those that the relay began with: it has none of them in the dearer rung.
    for number in FIRST + 8..FIRST + 11 {
        let (by_primary, octets) = all(&primary.url, number).await;
        let (by_relay, _) = all(&relay.node.url, number).await;
        ratios.push(by_relay / by_primary);
        direct.push(by_primary);
        cold.push(by_relay);
        size = octets;
    }
    println!("200 who ask at once for {size} octets that are cold, until the last has them, ms:");
    println!("  primary    {}", told(&mut direct));
    println!("  relay      {}", told(&mut cold));
    println!(
        "  ratio      {:.2} (median of {})",
        middle(&mut ratios),
        ratios.len()
    );
}

/// So many viewers of eight segments: how often each object was taken from upstream.
async fn hits(viewers: usize) {
    let primary = TestNode::start("primary", None, Limits::default()).await;
    let front = Counting::before(&primary.url).await;
    let relay = relay("relay", &front.url).await;
    let mut feed = primary.feed(node::short());
    feed.segments(4);
    relay.holds(FIRST + 3).await;
    let client = Client::new();
    for number in FIRST + 4..FIRST + 12 {
        feed.segments(1);
        relay.holds(number).await;
        let asked: Vec<_> = (0..viewers)
            .map(|viewer| {
                let rung = ["low", "mid", "top"][viewer % 3];
                let url = format!("{}/live/demo/7/{rung}/{number}.m4s", relay.node.url);
                let asked = client.get(url).send();
                tokio::spawn(async move { asked.await.unwrap().bytes().await.unwrap() })
            })
            .collect();
        for asked in asked {
            asked.await.unwrap();
        }
    }
    let seen = front.seen();
    let (objects, requests) = (seen.len(), seen.values().sum::<u32>());
    println!(
        "{viewers} viewers of 8 segments: {} requests of theirs, {objects} objects from upstream, {:.2} requests for each (at most {})",
        viewers * 8,
        f64::from(requests) / objects as f64,
        front.most()
    );
}

fn told(values: &mut [f64]) -> String {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        values.get(((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1)))
    };
    let at = |share: f64| at(share).copied().unwrap_or(f64::NAN);
    format!(
        "median {:.1}, 99th percentile {:.1}, most {:.1} ({} seen)",
        at(0.5),
        at(0.99),
        at(1.0),
        values.len()
    )
}

fn middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
