//! Stories of viewings in virtual time, on paths that nobody had to record.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use tools::simulate::{
    contender::{self, Contender},
    hls::record::Recording,
    link::{Connection, Link},
    measure::Session,
    mind::Mind,
    origin::Tells,
    replay::replay,
    single::{Occasion, Setting},
    stream::{LADDER, Stream},
    trace::{Family, Trace},
    viewer::{Habits, Viewer},
    world::World,
};

fn stream() -> Stream {
    Stream::synthetic(&LADDER.map(|mbps| mbps * 1e6), 2.0, 0.2, 1)
}

fn setting() -> Setting {
    Setting {
        seconds: 120.0,
        rtt: 0.04,
        habits: Habits {
            hold_back: 6.0,
            goal: 30.0,
            asks_again: Habits::HLS_JS_ASKS_AGAIN,
        },
        seeds: 1,
        restarts: false,
        tells: Tells::default(),
    }
}

#[test]
fn the_account_of_hls_js_is_what_hls_js_does() {
    let library = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../web/node_modules/hls.js/dist/hls.mjs"
    );
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/simulate/hls/against.mjs");
    let node = Command::new("node").arg("--version").output();
    if !std::path::Path::new(library).exists() || node.is_err() {
        eprintln!("NOT TESTED: there is no node, or no {library} (npm ci in web/)");
        return;
    }
    let mut recordings = Vec::new();
    for peak in [1.0, 1.3] {
        let mut stream = stream();
        stream.peak = peak;
        for family in Family::synthetic(3, 12).expect("synthetic traces are well formed") {
            for trace in &family.traces {
                let occasion = &setting().occasions(trace, &stream)[0];
                let hls = Contender::named("hls").expect("is there");
                let mut mind = hls.mind(&setting(), &stream, occasion, Instant::now());
                if let Mind::Hls(abr) = &mut mind {
                    abr.record = Some(Vec::new());
                }
                let (_, viewer) = setting().view(&stream, occasion, mind);
                let Mind::Hls(abr) = viewer.mind else {
                    panic!("{:?}", viewer.mind)
                };
                recordings.push(Recording {
                    levels: contender::levels(&stream),
                    first: 0,
                    steps: abr.record.unwrap_or_default(),
                });
            }
        }
    }
    let mut child = Command::new("node")
        .args([script, library])
        .stdin(Stdio::piped())
        .spawn()
        .expect("node was there before");
    let json = serde_json::to_vec(&recordings).expect("numbers and names");
    child
        .stdin
        .take()
        .expect("is piped")
        .write_all(&json)
        .expect("node reads all of it first");
    assert!(child.wait().expect("it was started").success());
}

#[test]
fn a_wide_path_stalls_nobody() {
    let trace = Arc::new(Trace::steady(50e6).expect("carries something"));
    let stream = stream();
    for name in RULES {
        let occasion = Occasion {
            trace: Arc::clone(&trace),
            offset: 0.0,
            joined: 101.0,
        };
        let session = view(&setting(), &stream, &occasion, name);
        assert_eq!(session.stalls, 0, "{name}: {session:?}");
        assert!(session.startup < 0.5, "{name}: {session:?}");
    }
}

#[test]
fn every_octet_that_was_sent_was_played_given_up_or_is_on_its_way() {
    let stream = stream();
    for (trace, occasion) in occasions(&stream) {
        for name in RULES {
            let contender = Contender::named(name).expect("is there");
            let mind = contender.mind(&setting(), &stream, &occasion, Instant::now());
            let link = Link::new(&trace, occasion.offset, occasion.joined);
            let connection = Connection::new(0.04, f64::INFINITY, false);
            let (habits, joined) = (setting().habits, occasion.joined);
            let viewer = Viewer::new(0, mind, connection, habits, &stream, joined);
            let mut world = World::new(std::slice::from_ref(&stream), link, vec![viewer]);
            world.run(joined + 120.0);
            let viewer = &world.viewers[0];
            let played: u64 = viewer.taken.iter().map(|taken| taken.octets).sum();
            let flying = world.link.carried / 8.0 - played as f64 - viewer.wasted;
            let most = stream.sizes(0)[stream.top()] * 3;
            assert!(
                (-1.0..most as f64).contains(&flying),
                "{name} on {}: {flying} octets are missing",
                trace.name
            );
            assert!(world.link.carried <= world.link.could * (1.0 + 1e-9));
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_viewing() {
    let stream = stream();
    for (_, occasion) in occasions(&stream) {
        for name in RULES {
            let twice = [0, 1].map(|_| view(&setting(), &stream, &occasion, name));
            assert_eq!(
                twice
                    .each_ref()
                    .map(|session| (session.qoe.to_bits(), &session.rungs)),
                [(twice[0].qoe.to_bits(), &twice[0].rungs); 2],
                "{name}"
            );
        }
    }
}

#[test]
fn foresight_of_everything_is_the_optimum_and_that_of_less_is_less() {
    let stream = stream();
    let setting = Setting {
        seconds: 30.0,
        ..setting()
    };
    let (mut all, mut near, mut blind) = (0.0, 0.0, 0.0);
    for (_, occasion) in occasions(&stream) {
        let qoe = |name| view(&setting, &stream, &occasion, name).qoe;
        let optimum = qoe("optimum");
        let seer = qoe("foresight:1000");
        assert!((seer - optimum).abs() <= SEERS_COST, "{seer} {optimum}");
        all += seer;
        near += qoe("foresight:6");
        blind += qoe("fixed:0");
    }
    assert!(
        all + SEERS_COST >= near && near > blind,
        "{all} {near} {blind}"
    );
}

#[test]
fn no_rule_beats_the_optimum() {
    let stream = stream();
    for (trace, occasion) in occasions(&stream) {
        let optimum = view(&setting(), &stream, &occasion, "optimum");
        for name in RULES {
            let session = view(&setting(), &stream, &occasion, name);
            assert!(
                session.qoe <= optimum.qoe + GRID_COSTS,
                "{name} on {}: {} against {}",
                trace.name,
                session.qoe,
                optimum.qoe
            );
        }
    }
}

#[test]
fn what_was_decided_is_decided_again() {
    let stream = stream();
    let families = Family::synthetic(4, 1).expect("synthetic traces are well formed");
    let contenders = ["mpc", "rate", "robust-mpc", "bba", "bola"]
        .map(|name| Contender::named(name).expect("is there"));
    let log = setting()
        .decisions(&stream, &families, &contenders)
        .expect("is plain data");
    let again = replay(log.as_bytes()).expect("can be read");
    assert!(again.same > 1000, "{again:?}");
    assert!(again.different.is_empty(), "{again:?}");

    let forged = log
        .lines()
        .next()
        .expect("there is one")
        .replace("\"rung\":1", "\"rung\":4");
    let again = replay(forged.as_bytes()).expect("can be read");
    assert_eq!((again.same, again.different.len()), (0, 1));
    assert_eq!(again.different[0].line, 1);
}

#[test]
fn what_is_broken_off_in_time_stalls_for_less() {
    let stretches = [(60.0, 12e6), (10.0, 0.4e6)];
    let trace = Arc::new(Trace::new("fading", &stretches).expect("carries something"));
    let stream = stream();
    let occasion = Occasion {
        trace,
        offset: 0.0,
        joined: 101.0,
    };
    let (waits, cuts) = (
        view(&setting(), &stream, &occasion, "mpc"),
        view(&setting(), &stream, &occasion, "mpc+abandon"),
    );
    assert!(cuts.stalled < waits.stalled / 2.0, "{cuts:?} {waits:?}");
    assert!(
        cuts.wasted > 0.0 && waits.wasted == 0.0,
        "{cuts:?} {waits:?}"
    );
}

#[test]
fn a_way_down_in_the_middle_of_a_segment_stalls_for_less() {
    let stretches = [(60.7, 6e6), (20.0, 1e6)];
    let trace = Arc::new(Trace::new("falling", &stretches).expect("carries something"));
    let mut setting = setting();
    setting.habits.hold_back = 2.0;
    let occasion = Occasion {
        trace,
        offset: 0.0,
        joined: 101.0,
    };
    let stalled = |open| {
        let mut stream = stream();
        (stream.parts, stream.open) = (4, open);
        view(&setting, &stream, &occasion, "mpc").stalled
    };
    let (closed, open) = (stalled(0), stalled(1));
    assert!(open < closed / 2.0, "{open} {closed}");
}

#[test]
fn parts_halve_the_distance_to_the_broadcast() {
    let trace = Arc::new(Trace::steady(10e6).expect("carries something"));
    let mut stream = stream();
    stream.parts = 4;
    let mut setting = setting();
    setting.habits.hold_back = 2.0;
    let occasion = Occasion {
        trace,
        offset: 0.0,
        joined: 101.3,
    };
    for name in ["hls", "mpc", "rate"] {
        let session = view(&setting, &stream, &occasion, name);
        assert!(session.latency < 3.0, "{name}: {session:?}");
        assert_eq!(session.stalls, 0, "{name}: {session:?}");
    }
}

const RULES: [&str; 9] = [
    "hls",
    "mpc",
    "rate",
    "robust-mpc",
    "harmonic",
    "bba",
    "bola",
    "fixed:0",
    "fixed:5",
];

/// QoE that the optimum may miss by its grid.
const GRID_COSTS: f64 = 0.02;

/// QoE that planning anew with each segment costs, since each plan begins at a cell of the grid.
const SEERS_COST: f64 = 0.1;

/// One of each synthetic family.
fn occasions(stream: &Stream) -> Vec<(Arc<Trace>, Occasion)> {
    let families = Family::synthetic(2, 1).expect("synthetic traces are well formed");
    let traces = families.into_iter().flat_map(|family| family.traces);
    let occasion = |trace: Arc<Trace>| {
        let occasion = setting().occasions(&trace, stream).swap_remove(0);
        (trace, occasion)
    };
    traces.map(occasion).collect()
}

fn view(setting: &Setting, stream: &Stream, occasion: &Occasion, name: &str) -> Session {
    let contender = Contender::named(name).expect("is there");
    contender.view(setting, stream, occasion, Instant::now())
}
