//! The lab itself, with real players on a link that is wide enough: its report holds together, and nothing is left of it.
//! Needs root, for network namespaces. What a machine that is busy does to players is the lab's to tell, and not judged.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::process::Command;
use tools::{
    link::Link,
    program::{Program, is_installed, sibling, signal},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_report_says_what_was_played_and_a_wide_link_makes_nobody_stall() {
    let name = "a_report_says_what_was_played_and_a_wide_link_makes_nobody_stall";
    let Some(players) = players(name).await else {
        return;
    };
    let folder = Folder::new("report");
    let (json, svg) = (folder.0.join("report.json"), folder.0.join("report.svg"));
    let mut lab = lab(&players, 10);
    lab.arg("--json").arg(&json).arg("--svg").arg(&svg);
    let mut lab = Program::start("congest", lab).unwrap();
    let ended = lab.ended(Duration::from_secs(100)).await.unwrap();
    let said = lab.said_in_full().await.join("\n");
    println!("{name}:\n{said}");
    assert!(json.is_file(), "{said}");

    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let round = &report["rounds"][0];
    let sizes = round["sizes"]["segments"].as_array().unwrap();
    assert!(sizes.len() >= 4, "{round}");
    for size in sizes {
        let octets: Vec<_> = size["octets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|size| size.as_u64().unwrap())
            .collect();
        assert!(
            octets.len() == 2 && octets.is_sorted() && octets[0] > 0,
            "{size}"
        );
    }
    let held = !round["machine"]["limits"].as_array().unwrap().is_empty();
    assert_eq!(
        round["players"].as_array().unwrap().len(),
        players.split(',').count()
    );
    for played in round["players"].as_array().unwrap() {
        let summary = &played["summary"];
        let of = |key: &str| {
            summary[key]
                .as_f64()
                .unwrap_or_else(|| panic!("no {key} in {summary}"))
        };
        let whole = of("startup_s") + of("played_s") + of("stalled_s") + of("held_s");
        assert!((whole - 10.0).abs() < 0.01, "{summary}");
        assert!(played["link"][0][1] == 20_000, "{}", played["link"]);
        let rates = 0.0..=620.0;
        assert!(rates.contains(&of("bitrate_kbps")), "{summary}");
        for fetched in played["segments"].as_array().unwrap() {
            let known = sizes
                .iter()
                .any(|size| size["number"] == fetched["segment"]);
            assert!(known && fetched["rung"].is_string(), "{fetched}");
        }
        assert!(
            held || summary["stalls"] == 0 && of("played_s") > 5.0,
            "{played}"
        );
    }
    assert!(held || ended.success(), "{said}");
    assert!(std::fs::read_to_string(&svg).unwrap().contains("</svg>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_interrupts_it_finds_nothing_left() {
    let name = "who_interrupts_it_finds_nothing_left";
    let Some(players) = players(name).await else {
        return;
    };
    let mark = format!("SPILLWAY_LAB={}", std::process::id());
    let mut lab = lab(&players, 60);
    let (key, value) = mark.split_once('=').unwrap();
    lab.env(key, value);
    let mut lab = Program::start("congest", lab).unwrap();
    let pid = lab.pid().unwrap();
    lab.says(Duration::from_secs(60), |line| {
        line.contains("round 1 of 1").then_some(())
    })
    .await
    .unwrap();
    // In the middle of it: the browser is there, whose end takes the longest.
    let deadline = Instant::now() + Duration::from_secs(20);
    let is_up = || marked(&mark).len() > 6 && !namespaces(pid).is_empty();
    while !is_up() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    signal(pid, "INT");
    let ended = lab.ended(Duration::from_secs(20)).await.unwrap();
    assert_eq!(ended.code(), Some(130), "{:?}", lab.said());
    // What was killed is gone when its parent has heard of it.
    let deadline = Instant::now() + Duration::from_secs(10);
    while !marked(&mark).is_empty() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!((marked(&mark), namespaces(pid)), (vec![], vec![]));
}

/// The lab, with a stream that costs next to nothing.
fn lab(players: &str, seconds: u32) -> Command {
    let congest = env!("CARGO_BIN_EXE_congest");
    for program in ["primary", "segmenter"] {
        sibling(congest, program).unwrap();
    }
    let mut command = Command::new(congest);
    command.args([
        "--players",
        players,
        "--traces",
        "20000",
        "--seconds",
        &seconds.to_string(),
    ]);
    command.args([
        "--source",
        "test",
        "--loop-seconds",
        "12",
        "--rung",
        "320x180@300",
        "--rung",
        "320x180@500",
    ]);
    command
}

/// Who can play here; nobody where there can be no link.
async fn players(name: &str) -> Option<String> {
    let libraries = [
        "../tests/players/node_modules/hls.js",
        "../web/node_modules/hls.js",
    ];
    let mut obstacle = Link::obstacle().await;
    for program in ["node", "chromium", "ffmpeg"] {
        obstacle = obstacle
            .or_else(|| (!is_installed(program)).then(|| format!("{program} is not installed")));
    }
    if !libraries
        .iter()
        .any(|library| PathBuf::from(library).exists())
    {
        obstacle = obstacle.or(Some("hls.js is not installed".into()));
    }
    let Some(why) = obstacle else {
        return Some("ours,ffmpeg".into());
    };
    eprintln!("SKIPPED {name}: {why}");
    assert!(
        std::env::var_os("CI").is_none(),
        "{name} has to run in CI, but: {why}"
    );
    None
}

/// Processes with `mark` in their environment.
fn marked(mark: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids =
        entries.filter_map(|entry| entry.file_name().into_string().ok()?.parse::<u32>().ok());
    let is_marked = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|octet| *octet == 0)
            .any(|entry| entry == mark.as_bytes())
    };
    let line = |pid: u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        format!(
            "{pid} {}",
            String::from_utf8_lossy(&line).replace('\0', " ")
        )
    };
    pids.filter(is_marked).map(line).collect()
}

/// The namespaces of the program `pid`.
fn namespaces(pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir("/run/netns")
        .into_iter()
        .flatten()
        .flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| name.starts_with(&format!("spillway-{pid}-")))
        .collect()
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("spillway-congest-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
