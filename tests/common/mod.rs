//! What the tests of whole programs share.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tools::program::{Program, sibling};

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
        let mut command = Command::new(env!("CARGO_BIN_EXE_primary"));
        command.args([
            ip,
            source,
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
        command.args(arguments).env("RUST_LOG", "debug");
        let mut program = Program::start("primary", command).unwrap();
        let urls = program.ready().await.unwrap();
        let [url, private] = <[String; 2]>::try_from(urls).unwrap();
        let primary = Self {
            program,
            url,
            private,
        };
        primary.playable().await;
        primary
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

/// Says loudly that a test cannot run here. In CI it has to.
pub(crate) fn skip(test: &str, why: &str) {
    eprintln!("SKIPPED {test}: {why}");
    assert!(
        std::env::var_os("CI").is_none(),
        "{test} has to run in CI, but: {why}"
    );
}
