//! A primary, a manager and its relays, with whoever starts them again when they end; and viewers of theirs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::process::Command;
use tools::program::{Program, children, sibling, signal};

use super::common::{SMALL, Viewer, free, json};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Part {
    Segmenter,
    Relay,
    Manager,
    Primary,
}

impl Part {
    pub(crate) const ALL: [Self; 4] = [Self::Segmenter, Self::Relay, Self::Manager, Self::Primary];
}

pub(crate) struct Site {
    primary_at: String,
    manager_at: String,
    primary: Program,
    manager: Program,
    /// Stands in for the relays' program.
    stub: Option<PathBuf>,
}

pub(crate) struct Crowd(Vec<Viewer>);

impl Site {
    /// With relays that are this `script`, if there is one.
    pub(crate) async fn start(script: Option<&str>) -> Self {
        let (primary_at, manager_at) = (free(), free());
        let stub = script.map(|script| {
            let name = format!("spillway-chaos-{}", manager_at.replace([':', '.'], "-"));
            let path = std::env::temp_dir().join(name);
            std::fs::write(&path, script).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        });
        let primary = start_primary(&primary_at, &manager_at).await;
        let manager = start_manager(&primary_at, &manager_at, stub.as_ref()).await;
        let site = Self {
            primary_at,
            manager_at,
            primary,
            manager,
            stub,
        };
        site.playable().await;
        site
    }

    async fn playable(&self) {
        let url = format!("http://{}/live/live/index.m3u8", self.primary_at);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !reqwest::get(&url)
            .await
            .is_ok_and(|answer| answer.status().is_success())
        {
            assert!(Instant::now() < deadline, "{url} cannot be played");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.manager_at)
    }

    /// Four in a region that is to have a relay, and one elsewhere; all of them play.
    pub(crate) async fn crowd(&self) -> Crowd {
        let mut crowd = Vec::new();
        for region in ["paris", "paris", "paris", "paris", "rome"] {
            let mut viewer = Viewer::join(&self.url(), region, 3600);
            viewer.plays().await;
            crowd.push(viewer);
        }
        if self.stub.is_none() {
            self.whole().await;
        }
        Crowd(crowd)
    }

    /// Relays of this manager, and of those before it, whoever their parent is now.
    pub(crate) fn relays(&self) -> Vec<u32> {
        let mine = format!("http://{}", self.manager_at);
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let relay = |entry: std::fs::DirEntry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let words: Vec<_> = line.split(|octet| *octet == 0).collect();
            let launched = words.contains(&&b"--launched"[..]);
            let manager = |word: &&[u8]| word.strip_suffix(b"/").unwrap_or(word) == mine.as_bytes();
            (launched && words.iter().any(manager)).then_some(pid)
        };
        processes.filter_map(relay).collect()
    }

    /// Waits until there is one relay, which serves, and the primary; not two.
    pub(crate) async fn whole(&self) {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let overview = self.overview().await;
            let active = |kind: &str| {
                let nodes = overview["nodes"].as_array().into_iter().flatten();
                let active = nodes.filter(|node| node["kind"] == kind && node["state"] == "active");
                active.count()
            };
            let relays = self.relays();
            if overview["ready"] == true
                && active("primary") == 1
                && active("relay") == 1
                && relays.len() == 1
            {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "never whole: {relays:?} {overview:#}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn overview(&self) -> Value {
        match reqwest::get(format!("{}/v1/overview", self.url())).await {
            Ok(_) => json(&format!("{}/v1/overview", self.url())).await,
            Err(_) => Value::Null,
        }
    }

    /// kill -9, and started again by whoever does that: the primary for its segmenter, the manager for its relays, and
    /// this for those two.
    pub(crate) async fn kill(&mut self, part: Part) {
        self.send(part, "KILL");
        self.again(part).await;
    }

    pub(crate) async fn kill_two(&mut self, one: Part, other: Part) {
        self.send(one, "KILL");
        self.send(other, "KILL");
        self.again(one).await;
        self.again(other).await;
    }

    pub(crate) async fn freeze(&mut self, part: Part, span: Duration) {
        let frozen = self.pids(part);
        frozen.iter().for_each(|pid| signal(*pid, "STOP"));
        tokio::time::sleep(span).await;
        frozen.iter().for_each(|pid| signal(*pid, "CONT"));
    }

    fn pids(&self, part: Part) -> Vec<u32> {
        match part {
            Part::Segmenter => {
                let parent = self.primary.pid().unwrap();
                children(parent).into_iter().map(|(pid, _)| pid).collect()
            }
            Part::Relay => self.relays(),
            Part::Manager => self.manager.pid().into_iter().collect(),
            Part::Primary => self.primary.pid().into_iter().collect(),
        }
    }

    fn send(&self, part: Part, what: &str) {
        self.pids(part).iter().for_each(|pid| signal(*pid, what));
    }

    async fn again(&mut self, part: Part) {
        match part {
            Part::Segmenter | Part::Relay => {}
            Part::Manager => {
                self.manager.kill().await.unwrap();
                self.manager =
                    start_manager(&self.primary_at, &self.manager_at, self.stub.as_ref()).await;
            }
            Part::Primary => {
                self.primary.kill().await.unwrap();
                self.primary = start_primary(&self.primary_at, &self.manager_at).await;
            }
        }
    }

    /// When the viewers have gone there is no relay any more.
    pub(crate) async fn over(&mut self, crowd: Crowd) {
        for mut viewer in crowd.0 {
            viewer.program.stop().await.unwrap();
        }
        let deadline = Instant::now() + Duration::from_secs(90);
        while !self.relays().is_empty() {
            assert!(
                Instant::now() < deadline,
                "relays that nobody wants: {:?}",
                self.relays()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// After a test there is nothing left of it, however it ended.
impl Drop for Site {
    fn drop(&mut self) {
        self.send(Part::Relay, "KILL");
        if let Some(stub) = &self.stub {
            let _ = std::fs::remove_file(stub);
        }
    }
}

impl Crowd {
    /// Waits until everybody has had two more segments; returns how long that took the slowest.
    pub(crate) async fn plays_on(&mut self, what: &str) -> Duration {
        let segments = |viewer: &Viewer| {
            let said = viewer.program.said();
            said.iter()
                .filter(|line| line.contains("\"event\":\"segment\""))
                .count()
        };
        let (began, mut worst) = (Instant::now(), Duration::ZERO);
        for viewer in &self.0 {
            let before = segments(viewer);
            while segments(viewer) < before + 2 {
                let said = viewer.program.said();
                let last: Vec<_> = said.iter().rev().take(8).collect();
                assert!(
                    began.elapsed() < STUCK,
                    "{what}: a viewer is stuck; it said {last:#?}"
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            worst = worst.max(began.elapsed());
        }
        worst
    }
}

async fn start_primary(at: &str, manager: &str) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_primary"));
    let segmenter = sibling(env!("CARGO_BIN_EXE_primary"), "segmenter").unwrap();
    command
        .args(["127.0.0.1", "test", "--listen", at])
        .args(["--private-listen", "127.0.0.1:0"])
        .args(["--manager", &format!("http://{manager}/")])
        .arg("--segmenter")
        .arg(segmenter)
        .args(SMALL)
        .env("RUST_LOG", "info");
    let mut program = Program::start("primary", command).unwrap();
    program.ready().await.unwrap();
    program
}

async fn start_manager(primary: &str, at: &str, relay: Option<&PathBuf>) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_traffic-manager"));
    let own = PathBuf::from(env!("CARGO_BIN_EXE_local-server"));
    command
        .args([&format!("http://{primary}"), "2", "--listen", at])
        .args(["--cooldown-seconds", "2", "--heartbeat-seconds", "1"])
        .arg("--local-server")
        .arg(relay.unwrap_or(&own))
        .env("RUST_LOG", "info");
    let mut program = Program::start("traffic-manager", command).unwrap();
    program.ready().await.unwrap();
    program
}

/// Nobody may have nothing for longer.
const STUCK: Duration = Duration::from_secs(60);
