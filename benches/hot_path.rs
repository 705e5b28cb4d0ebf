//! What a viewer costs: the two requests that every viewer makes again and again, each beside the
//! least that any server on this stack has to do for it (the same octets from a fixed handler).
//!
//! Over loopback, on connections that stay open; the figure is the CPU time of the serving thread,
//! kernel included. Rounds alternate in one run, so what the machine does meanwhile hits both
//! alike; the ratio of the medians is what to quote.
//!
//!     cargo bench --bench hot_path

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(clippy::print_stdout, reason = "it is what a bench is for")]

#[path = "../tests/common/node.rs"]
mod node;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
    time::Duration,
};

use axum::{Router, body::Bytes, extract::Path, routing::get};
use node::{FIRST, Feed};
use playlists::MediaTime;
use segmenter::Synthetic;
use spillway::{
    net::{self, Limits},
    origin::{self, Origin, Terms},
    store::Store,
};
use tokio_util::sync::CancellationToken;

const ROUNDS: usize = 15;
const REQUESTS: usize = 3_000;

fn main() {
    let (sender, served) = mpsc::channel();
    std::thread::spawn(move || serve(&sender));
    let (address, thread, origin) = served.recv().unwrap();
    let mut client = Client::new(address, thread);

    // Every viewer gets the same text, and each a segment of its own choosing.
    let viewer = |index: usize| format!("{:016x}.paris", index % 1000);
    let reload = |index: usize| format!("/live/demo/v/{}/index.m3u8", viewer(index));
    let number = |index: usize| FIRST + (index / 1000 % 6) as u64;
    let segment = |index: usize| format!("/live/demo/v/{}/{}.m4s", viewer(index), number(index));
    let fixed = |index: usize| format!("/fixed/segment/{}", number(index));
    client.compare("playlist reload", reload, |_| "/fixed/playlist".into());
    client.compare("segment GET (choose, pin, measure, send)", segment, fixed);
    println!("{} viewers seated", origin.viewers.count());
}

/// One rung, so that whatever is chosen is the same octets as what is fixed.
fn media() -> Synthetic {
    Synthetic::new(&[("only", 800)], MediaTime::from_ticks(2, 5), 2).unwrap()
}

/// A node on a thread of its own, and beside it what is fixed.
fn serve(ready: &mpsc::Sender<(SocketAddr, std::path::PathBuf, std::sync::Arc<Origin>)>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let origin = Origin::new(
            "bench".into(),
            Store::default(),
            Terms {
                max_viewers: usize::MAX,
                ..Terms::default()
            },
        );
        let mut feed = Feed::new(
            origin.store.create(&"demo".parse().unwrap()).unwrap(),
            media(),
        );
        feed.segments(6);
        let stream = origin.store.stream("demo").unwrap().now().unwrap();
        let text = stream.playlist(
            playlists::render::View::Viewer { parts: true },
            playlists::render::Skip::Nothing,
        );
        let whole = |number| -> Vec<u8> {
            stream
                .segment(number)
                .unwrap()
                .media(0)
                .flatten()
                .copied()
                .collect()
        };
        let media: Vec<Bytes> = (FIRST..FIRST + 6)
            .map(|number| Bytes::from(whole(number)))
            .collect();
        let segment = async move |Path(number): Path<u64>| media[(number - FIRST) as usize].clone();
        let fixed = Router::new()
            .route("/fixed/playlist", get(async move || text.clone()))
            .route("/fixed/segment/{number}", get(segment));
        let listener = net::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let thread = std::fs::canonicalize("/proc/thread-self")
            .unwrap()
            .join("schedstat");
        ready
            .send((listener.local_addr().unwrap(), thread, origin.clone()))
            .unwrap();
        let app = origin::public(origin).merge(fixed);
        net::serve(listener, app, Limits::default(), CancellationToken::new()).await;
    });
}

/// One connection that stays open, and the serving thread's CPU time.
struct Client {
    stream: BufReader<TcpStream>,
    thread: std::path::PathBuf,
}

impl Client {
    fn new(address: SocketAddr, thread: std::path::PathBuf) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
            thread,
        }
    }

    fn compare(
        &mut self,
        what: &str,
        ours: impl Fn(usize) -> String,
        fixed: impl Fn(usize) -> String,
    ) {
        let (mut took, mut octets) = ([Vec::new(), Vec::new()], [0, 0]);
        for round in 0..ROUNDS {
            for (side, path) in [&ours as &dyn Fn(usize) -> String, &fixed]
                .into_iter()
                .enumerate()
            {
                let before = self.cpu();
                octets[side] = (0..REQUESTS)
                    .map(|index| self.get(&path(round * REQUESTS + index)))
                    .sum();
                took[side].push((self.cpu() - before) / REQUESTS as u32);
            }
        }
        took.iter_mut().for_each(|took| took.sort_unstable());
        let [ours, fixed] = took.map(|took| took[ROUNDS / 2]);
        let ratio = ours.as_secs_f64() / fixed.as_secs_f64();
        println!(
            "{what}: {ours:.1?} of CPU for {} octets; fixed answer {fixed:.1?} for {}; ratio {ratio:.2}",
            octets[0] / REQUESTS,
            octets[1] / REQUESTS
        );
    }

    /// Gets `path`; returns the length of its body.
    fn get(&mut self, path: &str) -> usize {
        write!(
            self.stream.get_mut(),
            "GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n"
        )
        .unwrap();
        let (mut length, mut line) = (0, String::new());
        loop {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            let lower = line.to_ascii_lowercase();
            assert!(
                !lower.starts_with("http/1.1 4") && !lower.starts_with("http/1.1 5"),
                "{path}: {line}"
            );
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let copied = std::io::copy(&mut self.stream.by_ref().take(length), &mut std::io::sink());
        usize::try_from(copied.unwrap()).unwrap()
    }

    fn cpu(&self) -> Duration {
        let line = std::fs::read_to_string(&self.thread).unwrap();
        Duration::from_nanos(line.split(' ').next().unwrap().parse().unwrap())
    }
}
