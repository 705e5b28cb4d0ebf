//! What the traffic manager costs with 1,000 nodes and 1,000,000 viewers: a join, a heartbeat, a decision.
//!
//! Figures are of the CPU time of the one thread that serves, as the kernel counts it: HTTP, JSON and decisions, whoever
//! else is on the machine. Who asks has threads of its own.
//!
//!     cargo bench --bench manager            # or -- --nodes 4000

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(clippy::print_stdout, reason = "it is what a bench is for")]

use std::{
    hint::black_box,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use adaptation::region::{self, Balancer, Event, Kind, Region, Report, State};
use playlists::Bitrate;
use spillway::{
    control::{Heartbeat, Load, NodeKind, NodeState, RegionLoad, VERSION},
    manager::{Config, Manager, Means, Members},
    net::{self, Limits},
};
use tokio_util::sync::CancellationToken;

const REGIONS: usize = 64;
const VIEWERS: u32 = 1_000_000;
const HEARTBEAT: Duration = Duration::from_secs(2);

fn main() {
    let nodes = argument("--nodes").unwrap_or(1000);
    println!("{nodes} nodes in {REGIONS} regions, {VIEWERS} viewers");
    decide(nodes);
    let server = Server::start();
    server.heartbeats(nodes);
    server.joins(
        "a join that the primary takes",
        "/watch/demo.m3u8?region=nowhere",
    );
    server.joins(
        "a join that goes to one of its region's relays",
        "/watch/demo.m3u8?region=r1",
    );
    server.stop.cancel();
    server.thread.join().unwrap();
}

fn name(node: usize) -> String {
    format!("relay-{node}")
}

fn settings() -> region::Config {
    region::Config {
        relays: 100_000,
        relays_per_region: 100_000,
        heartbeat: HEARTBEAT,
        launcher: false,
        ..region::Config::default()
    }
}

/// The balancer alone.
fn decide(nodes: usize) {
    let mut balancer = Balancer::new(settings(), Duration::ZERO);
    let mut primary = Report::new("primary", 1, Kind::Primary, State::Active);
    let mut reports = Vec::new();
    for node in 0..nodes {
        let region = Region::new(&format!("r{}", node % REGIONS));
        let mut report = Report::new(&name(node), 1, Kind::Relay, State::Active);
        report.region = Some(region.clone());
        let load = report.regions.entry(region.clone()).or_default();
        load.viewers = VIEWERS / u32::try_from(nodes).unwrap();
        primary.regions.entry(region).or_default().viewers = 100;
        reports.push(report);
    }
    reports.push(primary);
    let mut now = Duration::ZERO;
    let round = |balancer: &mut Balancer, now: Duration| {
        for report in &reports {
            balancer
                .handle(Event::Heartbeat(report.clone()), now)
                .unwrap();
        }
        drain(balancer);
    };
    for _ in 0..4 {
        now += HEARTBEAT;
        round(&mut balancer, now);
        balancer.handle(Event::Tick, now).unwrap();
    }
    let taken = timed(20, || {
        now += HEARTBEAT;
        round(&mut balancer, now);
    });
    let each = taken / u32::try_from(nodes + 1).unwrap();
    println!("a round of reports decided: {taken:.1?}, {each:.2?} for each");
    let taken = timed(200, || {
        now += Duration::from_millis(1);
        balancer.handle(Event::Tick, now).unwrap();
        drain(&mut balancer);
    });
    println!("a tick, which looks at every node and region: {taken:.1?}");
    for (what, region) in [("on the primary", "nowhere"), ("among relays", "r1")] {
        let region = Region::new(region);
        let taken = timed(100_000, || drop(black_box(balancer.route(&region, now))));
        println!("where a join goes, {what}: {taken:.2?}");
    }
    let (region, node) = (Region::new("r1"), name(1));
    let taken = timed(100_000, || {
        let (region, node) = (region.clone(), node.clone());
        balancer
            .handle(Event::Joined { region, node }, now)
            .unwrap();
    });
    println!("a join taken note of, and its region looked at: {taken:.2?}");
}

fn drain(balancer: &mut Balancer) {
    while let Some(action) = balancer.poll() {
        black_box(action);
    }
}

/// Of the fastest of five runs, for one.
fn timed(times: u32, mut run: impl FnMut()) -> Duration {
    let best = (0..5).map(|_| {
        let begun = Instant::now();
        (0..times).for_each(|_| run());
        begun.elapsed() / times
    });
    best.min().unwrap()
}

/// A manager on a thread of its own.
struct Server {
    address: SocketAddr,
    /// Where the kernel keeps the thread's account.
    account: PathBuf,
    stop: CancellationToken,
    thread: thread::JoinHandle<()>,
}

impl Server {
    fn start() -> Self {
        let (ready, started) = mpsc::channel();
        let stop = CancellationToken::new();
        let end = stop.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut config = Config::new("http://primary.test".into());
                config.balancer = settings();
                let manager = Manager::start(config, Means::plain(None), end.clone());
                let listener = net::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
                let account = std::fs::canonicalize("/proc/thread-self").unwrap();
                let account = account.join("schedstat");
                ready
                    .send((listener.local_addr().unwrap(), account))
                    .unwrap();
                let limits = Limits::default();
                let heard = manager.control(Members::default()).unwrap();
                net::serve(listener, manager.public().merge(heard), limits, end).await;
                manager.ended().await;
            });
        });
        let (address, account) = started.recv().unwrap();
        Self {
            address,
            account,
            stop,
            thread,
        }
    }

    /// As all nodes send them, one after another on a few connections.
    fn heartbeats(&self, nodes: usize) {
        let share = VIEWERS / u32::try_from(nodes).unwrap();
        let bodies: Vec<_> = (0..=nodes)
            .map(|node| {
                let heartbeat = match node.checked_sub(1) {
                    None => heartbeat("primary".into(), NodeKind::Primary, None, 100),
                    Some(node) => {
                        let region = format!("r{}", node % REGIONS);
                        heartbeat(name(node), NodeKind::Relay, Some(region), share)
                    }
                };
                let body = serde_json::to_string(&heartbeat).unwrap();
                format!(
                    "POST /v1/heartbeat HTTP/1.1\r\nhost: m\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                )
            })
            .collect();
        let mut connection = self.connect();
        // Until a full round was heard, nothing is decided.
        for _ in 0..4 {
            for body in &bodies {
                ask(&mut connection, body, "200");
            }
            thread::sleep(HEARTBEAT / 2);
        }
        let before = spent(&self.account);
        const ROUNDS: usize = 5;
        for _ in 0..ROUNDS {
            for body in &bodies {
                ask(&mut connection, body, "200");
            }
        }
        let each = (spent(&self.account) - before) / u32::try_from(ROUNDS * bodies.len()).unwrap();
        let share = each.as_secs_f64() * bodies.len() as f64 / HEARTBEAT.as_secs_f64();
        println!(
            "a heartbeat, by HTTP: {each:.1?} of CPU; all of them, each {HEARTBEAT:?}: {:.1} % of a core",
            share * 100.0
        );
    }

    fn joins(&self, what: &str, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: m\r\n\r\n");
        let (going, count) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let askers: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let (going, count) = (going.clone(), count.clone());
                let (mut connection, request) = (self.connect(), request.clone());
                thread::spawn(move || {
                    while going.load(Relaxed) {
                        ask(&mut connection, &request, "307");
                        count.fetch_add(1, Relaxed);
                    }
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(300));
        let (begun, spent_before, asked) =
            (Instant::now(), spent(&self.account), count.load(Relaxed));
        thread::sleep(Duration::from_secs(3));
        let cpu = spent(&self.account) - spent_before;
        let joins = count.load(Relaxed) - asked;
        let took = begun.elapsed();
        going.store(false, Relaxed);
        askers.into_iter().for_each(|asker| asker.join().unwrap());
        println!(
            "{what}: {:.1?} of CPU, {:.0} redirects a second and core ({:.0} a second were asked for)",
            cpu / u32::try_from(joins).unwrap(),
            joins as f64 / cpu.as_secs_f64(),
            joins as f64 / took.as_secs_f64(),
        );
    }

    fn connect(&self) -> TcpStream {
        let connection = TcpStream::connect(self.address).unwrap();
        connection.set_nodelay(true).unwrap();
        connection
    }
}

fn heartbeat(node: String, kind: NodeKind, region: Option<String>, viewers: u32) -> Heartbeat {
    let load = RegionLoad {
        viewers,
        arrivals: viewers.into(),
    };
    let regions = match &region {
        Some(region) => [(region.clone(), load)].into(),
        None => (0..REGIONS).map(|n| (format!("r{n}"), load)).collect(),
    };
    Heartbeat {
        version: VERSION,
        url: format!("http://{node}.test"),
        node,
        instance: 1,
        kind,
        state: NodeState::Active,
        region,
        launched: false,
        software: "bench".into(),
        load: Load {
            regions,
            streams: [("demo".to_owned(), viewers)].into(),
            egress: Bitrate::from_kbps(2000 * u64::from(viewers)),
            ..Load::default()
        },
    }
}

/// One request and its answer, whose body is as long as it says.
fn ask(connection: &mut TcpStream, request: &str, status: &str) {
    connection.write_all(request.as_bytes()).unwrap();
    let (mut answer, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let read = connection.read(&mut chunk).unwrap();
        assert!(read > 0, "the manager closed");
        answer.extend_from_slice(&chunk[..read]);
        let Some(head) = answer.windows(4).position(|end| end == b"\r\n\r\n") else {
            continue;
        };
        let text = std::str::from_utf8(&answer[..head]).unwrap();
        assert_eq!(text.split(' ').nth(1), Some(status), "{text}");
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse().ok())?
        });
        if answer.len() >= head + 4 + length.unwrap_or(0) {
            return;
        }
    }
}

/// CPU time of the thread.
fn spent(account: &Path) -> Duration {
    let text = std::fs::read_to_string(account).unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn argument(name: &str) -> Option<usize> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)?.parse().ok()
}

/// Enough to keep one core busy.
const CONNECTIONS: usize = 24;
