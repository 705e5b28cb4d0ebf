//! What many viewers cost: 50,000 of them on one node, by their requests, without sockets, in one
//! process with whoever makes the requests.
//!
//! Memory is what the kernel counts as resident (so whatever allocator holds it), beside what a
//! viewer's own state is in size. Rates are of all cores together, generator included.
//!
//!     cargo bench --bench scale            # or -- --viewers 100000

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(clippy::print_stdout, reason = "it is what a bench is for")]

#[path = "../tests/common/node.rs"]
mod node;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use adaptation::{Allocator, Class, region::Region};
use axum::{Router, body::Body};
use http_body::Body as _;
use node::{FIRST, Feed, short};
use playlists::Bitrate;
use spillway::{
    analytics::{Keeper, Retention, Where},
    control::visits::Visits,
    net::{Connection, socket},
    origin::{
        self, Origin, Terms,
        profile::Profile,
        seat::{Seat, ViewerId},
        visits::Sweeper,
    },
    store::{Store, StreamName},
    token::keys::{self, Keys},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Segments for each viewer: more than it has pins, so that no more memory comes.
const SEGMENTS: usize = 34;
const WAITING: usize = 10_000;
const UNDER_WAY: usize = 2_500;

#[derive(Clone)]
struct Bench {
    app: Router,
    origin: Arc<Origin>,
    /// One that has ended: there is nothing that a kernel could say of it.
    connection: Arc<Connection>,
    /// Stands before `/live`.
    prefix: String,
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let viewers = argument("--viewers").unwrap_or(50_000);
    let terms = Terms {
        max_viewers: usize::MAX,
        ..Terms::default()
    };
    let bench = Bench::new(terms, Store::default(), String::new()).await;
    let mut feed = Feed::new(
        bench.origin.store.create(&"demo".parse().unwrap()).unwrap(),
        short(),
    );
    feed.segments(6);
    // Whatever is there only once is there before anything is measured.
    bench.play(&mut feed, 1_000_000..1_001_000, 8).await;

    let before = resident();
    let rates = bench.play(&mut feed, 0..viewers, SEGMENTS).await;
    let after = resident();
    println!(
        "viewers: {viewers} on {} cores",
        std::thread::available_parallelism().unwrap()
    );
    println!(
        "memory: {} octets of resident memory for each viewer ({:.1} MiB before, {:.1} MiB after)",
        (after - before) / viewers,
        before as f64 / 1_048_576.0,
        after as f64 / 1_048_576.0
    );
    println!("playlist reloads: {:.0} a second", rates.0);
    println!(
        "segments chosen, pinned and sent to nowhere: {:.0} a second",
        rates.1
    );
    bench.tick(viewers);
    bench.sweep().await;
    let listed = bench.guarded(&mut feed).await;
    println!("playlist reloads that bring a token: {listed:.0} a second");
    bench.blocked(&mut feed).await;
}

impl Bench {
    async fn new(terms: Terms, store: Store, prefix: String) -> Self {
        let origin = Origin::new("bench".into(), store, terms);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let peer = socket::Peer {
            address,
            direct: true,
            local: true,
        };
        let stream = socket::Stream::new(stream, peer, Duration::from_secs(1));
        Self {
            app: origin::public(origin.clone()).into_router(),
            origin,
            connection: stream.connection().clone(),
            prefix,
        }
    }

    /// What it costs to look at everybody for analytics, to write that down as it is sent, and to keep it.
    async fn sweep(&self) {
        let mut sweeper = Sweeper::new(self.origin.clone(), 1);
        let mut looked = Vec::new();
        let mut spans = Vec::new();
        for _ in 0..5 {
            let started = Instant::now();
            looked = sweeper.sweep(None).await;
            spans.push(started.elapsed());
        }
        spans.sort();
        let visits: usize = looked.iter().map(Visits::len).sum();
        let started = Instant::now();
        let octets: usize = looked
            .iter()
            .map(|all| serde_json::to_vec(all).unwrap().len())
            .sum();
        println!(
            "analytics: {visits} viewers looked at in {:.1} ms (median of 5), written in {:.1} ms as {} octets each",
            spans[2].as_secs_f64() * 1e3,
            started.elapsed().as_secs_f64() * 1e3,
            octets / visits.max(1)
        );
        let path = std::env::temp_dir().join(format!("spillway-scale-{}.db", std::process::id()));
        let stop = CancellationToken::new();
        let place = Where::Sqlite(path.clone());
        let (keeper, task) = Keeper::open(&place, Retention::default(), stop)
            .await
            .unwrap();
        for what in ["new", "known"] {
            let started = Instant::now();
            for all in &looked {
                keeper.take(Arc::new(all.clone())).await.unwrap();
            }
            let took = started.elapsed().as_secs_f64() * 1e6 / visits.max(1) as f64;
            println!("analytics: {took:.0} us to keep a visit that is {what}, in SQLite");
        }
        drop(keeper);
        task.await.unwrap();
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", path.display()));
        }
    }

    /// Each viewer reloads its playlist and takes the newest segment, for as many segments; returns how many of
    /// both were answered in a second.
    async fn play(
        &self,
        feed: &mut Feed,
        keys: std::ops::Range<usize>,
        segments: usize,
    ) -> (f64, f64) {
        let (mut reloading, mut taking) = (Duration::ZERO, Duration::ZERO);
        let requests = keys.len() * segments;
        for _ in 0..segments {
            feed.segments(1);
            let newest = feed
                .producer
                .window()
                .unwrap()
                .last_complete()
                .unwrap()
                .number();
            reloading += self.each(keys.clone(), |_| "index.m3u8".into()).await;
            // Not all at once: a delivery is looked at for 50 ms at least, and of those who take a
            // segment of two seconds only so many are under way at a time.
            for first in keys.clone().step_by(UNDER_WAY) {
                let some = first..keys.end.min(first + UNDER_WAY);
                taking += self.each(some, move |key| segment(key, newest)).await;
                self.over().await;
            }
        }
        let rate = |took: Duration| requests as f64 / took.as_secs_f64();
        (rate(reloading), rate(taking))
    }

    /// Makes a request of every viewer, on all cores; returns how long that took.
    async fn each(
        &self,
        keys: std::ops::Range<usize>,
        name: impl Fn(usize) -> String + Clone + Send + 'static,
    ) -> Duration {
        let (start, next) = (Instant::now(), Arc::new(AtomicUsize::new(keys.start)));
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let (bench, next, name, end) = (self.clone(), next.clone(), name.clone(), keys.end);
                tokio::spawn(async move {
                    loop {
                        let key = next.fetch_add(1, Relaxed);
                        if key >= end {
                            return;
                        }
                        bench
                            .get(&format!("v/{key:016x}.region-{}/{}", key % 7, name(key)))
                            .await;
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await.unwrap();
        }
        start.elapsed()
    }

    /// Waits until what was delivered is known to be over.
    async fn over(&self) {
        // A writer would say so.
        self.connection.flushed();
        // Each delivery that is looked at holds on to the viewers; beside it only their node does.
        while Arc::strong_count(&self.origin.viewers) > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Asks for a name of the stream, and takes all of the answer.
    async fn get(&self, name: &str) {
        let request = axum::http::Request::builder()
            .uri(format!("{}/live/demo/{name}", self.prefix))
            .extension(self.connection.clone())
            .body(Body::empty())
            .unwrap();
        let answer = self.app.clone().oneshot(request).await.unwrap();
        assert!(answer.status().is_success(), "{name}: {}", answer.status());
        let mut body = std::pin::pin!(answer.into_body());
        while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            frame.unwrap();
        }
    }

    fn touch(&self, key: usize) {
        self.origin.viewers.touch(&seat(key), Instant::now());
    }

    /// What is done every half second: looking for the silent, hearing everybody's demand, sharing.
    fn tick(&self, viewers: usize) {
        let window = self.origin.store.stream("demo").unwrap().now().unwrap();
        let rates = BTreeMap::from([("demo".parse().unwrap(), window.rates())]);
        // Enough for half of what they would take.
        let mut demand = self.origin.viewers.demand(&rates, 1);
        let all = Allocator::new(None)
            .allocate(&classes(&rates, &mut demand), 0)
            .demand;
        let mut allocator = Allocator::new(Some(all.scale(0.5)));
        // Nobody has been looked at so far, so that the first look is at everybody.
        (0..viewers).for_each(|key| self.touch(key));
        let (mut looking, mut asking, mut sharing) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..40 {
            let start = Instant::now();
            self.origin.viewers.expire(start);
            looking.push(start.elapsed());
            let start = Instant::now();
            let mut demand = self.origin.viewers.demand(&rates, 1);
            asking.push(start.elapsed());
            assert!(
                demand["demo"][0].len() >= viewers,
                "everybody is still there"
            );
            let start = Instant::now();
            // A new turn with every fourth: then all is shared anew.
            allocator.allocate(&classes(&rates, &mut demand), round / 4);
            sharing.push(start.elapsed());
        }
        for (what, took) in [
            ("to look for the silent", looking),
            ("to hear everybody's demand", asking),
            ("to share the egress", sharing),
        ] {
            let (median, worst) = spread(took);
            println!("{viewers} viewers, {what}: {median:.1?} (worst {worst:.1?})");
        }
    }

    /// The same reloads where tokens are asked for.
    async fn guarded(&self, feed: &mut Feed) -> f64 {
        let file = std::env::temp_dir().join(format!("spillway-scale-{}.keys", std::process::id()));
        std::fs::write(&file, keys::new_key("k1").unwrap()).unwrap();
        let keys = Arc::new(Keys::load(&file, Duration::from_secs(3600)).unwrap());
        std::fs::remove_file(&file).unwrap();
        let terms = Terms {
            max_viewers: usize::MAX,
            keys: Some(keys.clone()),
            ..Terms::default()
        };
        let prefix = format!("/~{}", keys.session("demo", None, 0));
        let guarded = Self::new(terms, self.origin.store.clone(), prefix).await;
        feed.segments(1);
        let rounds = 4;
        let mut took = Duration::ZERO;
        for _ in 0..rounds {
            took += guarded.each(0..50_000, |_| "index.m3u8".into()).await;
        }
        f64::from(rounds) * 50_000.0 / took.as_secs_f64()
    }

    /// How long until the last of many has been answered whom one part releases.
    async fn blocked(&self, feed: &mut Feed) {
        let mut answered = Vec::new();
        for _ in 0..5 {
            // The first part of the next segment; what they wait for is its second and last.
            feed.part().unwrap();
            let open = feed
                .producer
                .window()
                .unwrap()
                .open_segment()
                .unwrap()
                .number();
            let waiting: Vec<_> = (0..WAITING)
                .map(|key| {
                    let bench = self.clone();
                    tokio::spawn(async move {
                        let name =
                            format!("v/{key:016x}.paris/index.m3u8?_HLS_msn={open}&_HLS_part=1");
                        bench.get(&name).await;
                        Instant::now()
                    })
                })
                .collect();
            // All of them wait by then.
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
            let released = Instant::now();
            feed.part().unwrap();
            let mut last = released;
            for waiting in waiting {
                last = last.max(waiting.await.unwrap());
            }
            answered.push(last - released);
        }
        let (median, worst) = spread(answered);
        println!(
            "{WAITING} reloads that one part releases: the last is answered after {median:.1?} (worst {worst:.1?})"
        );
        let newest = feed
            .producer
            .window()
            .unwrap()
            .last_complete()
            .unwrap()
            .number();
        assert!(newest > FIRST);
    }
}

/// A segment, with what another node knew of the path: between one and eight Mbit/s.
fn segment(key: usize, number: u64) -> String {
    format!("{number}.m4s?seen={}", 1_000 + key * 7919 % 7_000)
}

fn seat(key: usize) -> Seat {
    let viewer = ViewerId {
        key: key as u64,
        region: Region::default(),
        profile: Profile::default(),
    };
    let stream: StreamName = "demo".parse().unwrap();
    Seat { stream, viewer }
}

fn classes(
    rates: &BTreeMap<StreamName, Vec<Bitrate>>,
    demand: &mut BTreeMap<StreamName, Vec<Vec<adaptation::Demand>>>,
) -> Vec<Class> {
    let class = |(name, rates): (&StreamName, &Vec<Bitrate>)| Class {
        rates: rates.clone(),
        worth: Vec::new(),
        weight: 1.0,
        viewers: demand.remove(name).unwrap_or_default().concat(),
    };
    rates.iter().map(class).collect()
}

/// Median and worst.
fn spread(mut took: Vec<Duration>) -> (Duration, Duration) {
    took.sort_unstable();
    (took[took.len() / 2], took[took.len() - 1])
}

/// Resident memory, in octets.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find(|line| line.starts_with("Rss:")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

fn argument(name: &str) -> Option<usize> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)?.parse().ok()
}
