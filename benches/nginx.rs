//! What a viewer costs beside nginx, which is what people would otherwise serve HLS with: the same octets, on the
//! same core, asked for by the same load on another core. nginx serves them from files, by sendfile and tuned; it
//! need not choose, pin or measure.
//!
//! The figure is CPU time of the server's process, kernel included. Rounds alternate in one run, so what the machine
//! does meanwhile hits both alike; the ratio is the median of theirs, round by round.
//!
//!     cargo bench --bench nginx [-- SCENARIO...]

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(clippy::print_stdout, reason = "it is what a bench is for")]

#[path = "nginx/live.rs"]
mod live;
#[path = "nginx/load.rs"]
mod load;
#[path = "../tests/common/node.rs"]
mod node;
#[path = "nginx/servers.rs"]
mod servers;

use std::{
    cell::RefCell,
    collections::HashMap,
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use load::Load;
use node::FIRST;
use playlists::MediaTime;
use rustls::ClientConfig;
use segmenter::Synthetic;
use servers::{Root, SERVE, Server};

/// Segments that there are.
pub(crate) const SEGMENTS: u64 = 6;

/// One rung, so that whatever is chosen is the same octets as nginx' file: 2 s at 4 Mbit/s, in four parts.
pub(crate) fn media() -> Synthetic {
    Synthetic::new(&[("only", 4000)], MediaTime::from_ticks(1, 2), 4).unwrap()
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    if arguments.first().is_some_and(|first| first == SERVE) {
        return servers::serve();
    }
    let asked = |name: &str| {
        arguments.is_empty()
            || arguments
                .iter()
                .any(|argument| name.contains(argument.as_str()))
    };
    let me = std::process::id().to_string();
    Command::new("taskset")
        .args(["-p", "-c", servers::LOAD, &me])
        .output()
        .unwrap();
    let root = Root::new();
    let tls = load::tls(servers::certificate(&root.0));
    let ours = Server::ours(&root.0);
    fs::write(
        root.0.join("index.m3u8"),
        ours.get(&format!("/live/demo/v/{}/index.m3u8", viewer(0))),
    )
    .unwrap();
    for number in FIRST..FIRST + SEGMENTS {
        let path = format!("/live/demo/v/{}/{number}.m4s", viewer(0));
        fs::write(root.0.join(format!("{number}.m4s")), ours.get(&path)).unwrap();
    }
    let Some(nginx) = Server::nginx(&root.0) else {
        println!("SKIPPED: nginx is not installed (Debian: apt install nginx-light)");
        return;
    };
    let pair = Pair { ours, nginx };
    for connections in [100, 1_000, 10_000] {
        if asked(&format!("playlist-{connections}")) {
            let count = (40_000).max(connections * 4);
            pair.compare(
                &format!("playlist-{connections}"),
                (connections, None),
                count,
                &reload,
                &|_, _, out| ask("/index.m3u8", out),
            );
        }
    }
    let viewings = Viewings::default();
    for (name, tls) in [("segment", None), ("tls", Some(&tls))] {
        for connections in [100, 1_000] {
            if asked(&format!("{name}-{connections}")) {
                pair.compare(
                    &format!("{name}-{connections}"),
                    (connections, tls),
                    // Whoever receives TLS works as much as who sends.
                    if tls.is_some() { 500 } else { 2_000 }.max(connections),
                    &|connection, _, out| viewings.ask(connection, out),
                    &|_, index, out| {
                        ask(&format!("/{}.m4s", number(index)), out);
                    },
                );
            }
        }
    }
    if asked("live") {
        pair.live(&root.0);
    }
    if asked("idle") {
        pair.idle();
    }
}

struct Pair {
    ours: Server,
    nginx: Server,
}

type Request<'a> = &'a dyn Fn(usize, usize, &mut Vec<u8>);

impl Pair {
    fn compare(
        &self,
        name: &str,
        (connections, tls): (usize, Option<&Arc<ClientConfig>>),
        count: usize,
        ours: Request<'_>,
        nginx: Request<'_>,
    ) {
        let mut sides = [(&self.ours, ours), (&self.nginx, nginx)].map(|(server, request)| {
            server.rest();
            (server, request, None, Vec::new())
        });
        let mut octets = 0;
        // The first round warms up.
        for round in 0..=ROUNDS {
            for (server, request, kept, seen) in &mut sides {
                let load = match kept {
                    Some(load) => load,
                    None => {
                        let address = tls.map_or(server.address, |_| server.secure);
                        kept.insert(Load::connect(address, connections, tls).unwrap())
                    }
                };
                let before = server.cpu();
                let mut got = load.run(count, *request);
                let cpu = server.cpu() - before;
                octets = got.octets;
                if connections > BOTH {
                    *kept = None;
                    server.rest();
                }
                if round > 0 {
                    seen.push([
                        cpu / count as u32,
                        got.percentile(0.5),
                        got.percentile(0.99),
                    ]);
                }
            }
        }
        let [ours, nginx] = sides.map(|(.., seen)| seen);
        let ratio = |what: usize| {
            let pairs = ours.iter().zip(&nginx);
            median(pairs.map(|(ours, nginx)| ours[what].as_secs_f64() / nginx[what].as_secs_f64()))
        };
        let ratios = [0, 2].map(ratio);
        let [ours, nginx] = [&ours, &nginx]
            .map(|seen| [0, 1, 2].map(|what| median(seen.iter().map(|seen| seen[what]))));
        let gigabytes = octets as f64 / 1e9 / count as f64;
        println!(
            "{name}: CPU {:.1?} an answer, nginx {:.1?}, ratio {:.2} ({:.2} s and {:.2} s a GB); median {:.1?} and {:.1?}; p99 {:.1?} and {:.1?}, ratio {:.2}",
            ours[0],
            nginx[0],
            ratios[0],
            ours[0].as_secs_f64() / gigabytes,
            nginx[0].as_secs_f64() / gigabytes,
            ours[1],
            nginx[1],
            ours[2],
            nginx[2],
            ratios[1],
        );
    }

    /// Viewers of a stream that goes on, and of the same as files that are written as it does, which is how
    /// nginx-rtmp serves HLS (without what receiving the stream takes, on either side).
    fn live(&self, root: &Path) {
        const VIEWERS: usize = 1_000;
        let (folder, over) = (root.join("live"), AtomicBool::new(false));
        fs::create_dir(&folder).unwrap();
        let sides = [&self.ours, &self.nginx].map(|server| {
            (
                server,
                Load::connect(server.address, VIEWERS, None).unwrap(),
                Vec::new(),
            )
        });
        std::thread::scope(|scope| {
            let path = format!("/live/live/v/{}.n", viewer(VIEWERS));
            let over = &over;
            let folder = &folder;
            scope.spawn(move || {
                live::mirror(&self.ours, &path, folder, &|| over.load(Relaxed));
            });
            while !folder.join("index.m3u8").exists() {
                std::thread::sleep(Duration::from_millis(10));
            }
            let mut sides = sides;
            for _ in 0..LIVE {
                for (nth, (server, load, seen)) in sides.iter_mut().enumerate() {
                    let before = server.cpu();
                    let played = live::play(load, TURN, SEGMENT, &|index| match nth {
                        0 => format!("/live/live/v/{}.n", viewer(index)),
                        _ => "/live".to_owned(),
                    });
                    seen.push((server.cpu() - before, played));
                }
            }
            over.store(true, Relaxed);
            let sums = sides.map(|(_, _, seen)| {
                let cpu: Duration = seen.iter().map(|(cpu, _)| *cpu).sum();
                let octets: u64 = seen.iter().map(|(_, played)| played.octets).sum();
                let asked = |(_, played): &(_, live::Played)| played.reloads + played.segments;
                let asked: usize = seen.iter().map(asked).sum();
                (cpu.as_secs_f64(), octets as f64 / 1e9, asked)
            });
            let [
                (ours, our_octets, our_asked),
                (nginx, its_octets, its_asked),
            ] = sums;
            let span = TURN.as_secs_f64() * LIVE as f64;
            println!(
                "live-{VIEWERS}: CPU {:.1} % of a core, nginx {:.1} %, ratio {:.2}; {our_asked} and {its_asked} answers, {:.2} s and {:.2} s a GB, ratio {:.2}",
                ours / span * 100.0,
                nginx / span * 100.0,
                ours / nginx,
                ours / our_octets,
                nginx / its_octets,
                (ours / our_octets) / (nginx / its_octets),
            );
        });
    }

    /// Connections that were used once and wait.
    fn idle(&self) {
        const COUNT: usize = 10_000;
        for (name, server, request) in [
            ("ours", &self.ours, &reload as Request<'_>),
            ("nginx", &self.nginx, &|_, _, out: &mut Vec<u8>| {
                ask("/index.m3u8", out)
            }),
        ] {
            let before = server.memory();
            let mut load = Load::connect(server.address, COUNT, None).unwrap();
            load.run(COUNT, request);
            let after = server.memory();
            let each = after.saturating_sub(before) as f64 / load.len() as f64;
            println!(
                "idle-{COUNT}: {name} {:.1} kB a connection ({} MB in all)",
                each / 1e3,
                after >> 20
            );
        }
    }
}

fn median<T: Copy + PartialOrd>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap());
    values[values.len() / 2]
}

fn viewer(key: usize) -> String {
    format!("{key:016x}.paris")
}

fn reload(connection: usize, _: usize, out: &mut Vec<u8>) {
    ask(
        &format!("/live/demo/v/{}/index.m3u8", viewer(connection)),
        out,
    );
}

/// What each connection asks for: the segments one after the other, each of them once, as one viewer on one connection
/// does; then as the next viewer. So each is chosen and pinned anew.
#[derive(Default)]
struct Viewings(RefCell<HashMap<usize, usize>>);

impl Viewings {
    fn ask(&self, connection: usize, out: &mut Vec<u8>) {
        let mut asked = self.0.borrow_mut();
        let asked = asked.entry(connection).or_default();
        let viewer = viewer(*asked / SEGMENTS as usize * MOST + connection);
        ask(
            &format!("/live/demo/v/{viewer}/{}.m4s", number(*asked)),
            out,
        );
        *asked += 1;
    }
}

/// More connections than there ever are.
const MOST: usize = 1 << 20;

fn number(index: usize) -> u64 {
    FIRST + index as u64 % SEGMENTS
}

fn ask(path: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"GET ");
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\nHost: bench\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\n\r\n");
}

/// Many short ones: what a neighbour on the machine does lasts for some of them.
const ROUNDS: usize = 21;

/// Turns of live viewing on each side, and how long one is.
const LIVE: usize = 3;
const TURN: Duration = Duration::from_secs(8);

/// As [`media`] has it.
const SEGMENT: Duration = Duration::from_secs(2);

/// Connections to one server while those to the other stay open too; with more, descriptors run out.
const BOTH: usize = 4_000;
