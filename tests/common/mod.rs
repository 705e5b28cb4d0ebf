//! What the tests of whole programs share.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tools::program::{Program, children, sibling, signal};

/// A primary with one stream called `live`.
#[derive(Debug)]
pub(crate) struct Primary {
    pub(crate) program: Program,
    /// Where viewers reach it.
    pub(crate) url: String,
    /// Where its operator does.
    pub(crate) private: String,
}

impl Primary {
    /// Starts one on free ports of `ip`, with `source` and more arguments, and waits until it can be watched.
    pub(crate) async fn start(ip: &str, source: &str, arguments: &[&str]) -> Self {
        let primary = Self::launch(ip, source, arguments).await;
        primary.playable().await;
        primary
    }

    /// The same without waiting for more than that it listens.
    pub(crate) async fn launch(ip: &str, source: &str, arguments: &[&str]) -> Self {
        Self::of(ip, &[&[source], arguments].concat()).await
    }

    /// One with the streams of a file, which are waited for by whoever watches.
    pub(crate) async fn of_file(ip: &str, config: &std::path::Path) -> Self {
        Self::of(ip, &["--config", config.to_str().unwrap()]).await
    }

    async fn of(ip: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_primary"));
        command.arg(ip).args(arguments);
        command.args([
            "--listen",
            &format!("{ip}:0"),
            "--private-listen",
            "127.0.0.1:0",
        ]);
        command.args([
            "--segmenter".as_ref(),
            sibling(env!("CARGO_BIN_EXE_primary"), "segmenter")
                .unwrap()
                .as_os_str(),
        ]);
        command.env("RUST_LOG", "debug");
        let mut program = Program::start("primary", command).unwrap();
        let urls = program.ready().await.unwrap();
        let [url, private] = <[String; 2]>::try_from(urls).unwrap();
        Self {
            program,
            url,
            private,
        }
    }

    /// Waits until its stream can be watched.
    pub(crate) async fn playable(&self) {
        // Held back by the node itself until there is enough to start on.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(40);
        loop {
            let answer = reqwest::get(format!("{}/live/live/index.m3u8", self.url)).await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            let said = self.program.said();
            assert!(
                tokio::time::Instant::now() < deadline,
                "nothing to watch; it said {said:#?}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub(crate) async fn viewers(&self) -> Vec<Value> {
        json(&format!("{}/v1/viewers", self.private)).await["viewers"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }
}

pub(crate) async fn json(url: &str) -> Value {
    reqwest::get(url).await.unwrap().json().await.unwrap()
}

/// A traffic manager in front of `primary`, with reports every second.
#[derive(Debug)]
pub(crate) struct Manager {
    pub(crate) program: Program,
    pub(crate) url: String,
}

impl Manager {
    /// On the address `listen`, which its primary has been told already.
    pub(crate) async fn start(listen: &str, primary: &str, threshold: u32) -> Self {
        Self::with(listen, primary, threshold, &[]).await
    }

    /// The same with more arguments.
    pub(crate) async fn with(
        listen: &str,
        primary: &str,
        threshold: u32,
        arguments: &[&str],
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_traffic-manager"));
        command.args([primary, &threshold.to_string(), "--listen", listen]);
        command.args(["--cooldown-seconds", "2", "--heartbeat-seconds", "1"]);
        command.args(arguments);
        command
            .args(["--local-server", env!("CARGO_BIN_EXE_local-server")])
            .env("RUST_LOG", "info");
        let mut program = Program::start("traffic-manager", command).unwrap();
        let url = program.ready().await.unwrap().remove(0);
        Self { program, url }
    }

    pub(crate) async fn overview(&self) -> Value {
        json(&format!("{}/v1/overview", self.url)).await
    }

    /// Looks at the overview until it is as `wanted`, and says how long that took.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Duration {
        let (start, patience) = (tokio::time::Instant::now(), Duration::from_secs(60));
        loop {
            let overview = self.overview().await;
            if wanted(&overview) {
                return start.elapsed();
            }
            assert!(start.elapsed() < patience, "never {what}: {overview:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A primary and a manager that know of each other.
pub(crate) async fn system(threshold: u32) -> (Primary, Manager) {
    system_with(threshold, &[]).await
}

/// The same with more arguments for the manager.
pub(crate) async fn system_with(threshold: u32, more: &[&str]) -> (Primary, Manager) {
    let listen = free();
    let reports = format!("http://{listen}/");
    let arguments = [&SMALL[..], &["--manager", &reports]].concat();
    let primary = Primary::start("127.0.0.1", "test", &arguments).await;
    let manager = Manager::with(&listen, &primary.url, threshold, more).await;
    manager
        .until("heard of the primary", |seen| {
            seen["ready"] == true
                && seen["nodes"]
                    .as_array()
                    .is_some_and(|nodes| nodes.len() == 1)
        })
        .await;
    (primary, manager)
}

/// A manager that is killed leaves its relays to the next one. After a test there is none.
impl Drop for Manager {
    fn drop(&mut self) {
        for (relay, _) in self.program.pid().map(children).unwrap_or_default() {
            signal(relay, "TERM");
        }
    }
}

/// A headless viewer that joined through a manager.
#[derive(Debug)]
pub(crate) struct Viewer {
    pub(crate) program: Program,
}

impl Viewer {
    pub(crate) fn join(manager: &str, region: &str, seconds: u32) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
        command.args([
            manager,
            "--region",
            region,
            "--json",
            "--seconds",
            &seconds.to_string(),
        ]);
        Self {
            program: Program::start("client", command).unwrap(),
        }
    }

    /// The node of its first segment after the `seen` first ones.
    pub(crate) async fn plays(&mut self) -> String {
        let node = self.program.says(Duration::from_secs(30), |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            (event["event"] == "segment")
                .then(|| event["node"].as_str().unwrap_or_default().to_owned())
        });
        node.await.unwrap()
    }

    /// What it says at its end.
    pub(crate) async fn summary(mut self) -> Value {
        let summary = self.program.says(Duration::from_secs(120), |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            (event["event"] == "summary").then_some(event)
        });
        summary.await.unwrap()
    }
}

/// An address that is free now; for programs that have to know of each other before they start.
pub(crate) fn free() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// A ladder that costs next to no CPU.
pub(crate) const SMALL: [&str; 8] = [
    "--rung",
    "320x180@300",
    "--rung",
    "256x144@180",
    "--rung",
    "192x108@90",
    "--preset",
    "ultrafast",
];

/// Says loudly that a test cannot run here. In CI it has to.
pub(crate) fn skip(test: &str, why: &str) {
    eprintln!("SKIPPED {test}: {why}");
    assert!(
        std::env::var_os("CI").is_none(),
        "{test} has to run in CI, but: {why}"
    );
}
