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
    mind::Mind,
    origin::Tells,
    single::{Occasion, Setting},
    stream::{LADDER, Stream},
    trace::{Family, Trace},
    viewer::Habits,
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
fn a_wide_path_never_stalls_anybody() {
    let trace = Arc::new(Trace::steady(50e6).expect("carries something"));
    let stream = stream();
    for name in [
        "hls",
        "mpc",
        "rate",
        "bba",
        "bola",
        "robust-mpc",
        "harmonic",
        "fixed:5",
    ] {
        let occasion = Occasion {
            trace: Arc::clone(&trace),
            offset: 0.0,
            joined: 101.0,
        };
        let contender = Contender::named(name).expect("is there");
        let session = contender.view(&setting(), &stream, &occasion, Instant::now());
        assert_eq!(session.stalls, 0, "{name}: {session:?}");
        assert!(session.startup < 0.5, "{name}: {session:?}");
    }
}
