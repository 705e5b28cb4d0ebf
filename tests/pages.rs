//! The pages, in Debian's Chromium, against the real programs: each test starts those, and has a script of
//! `tests/pages/` tell the story and judge what it sees. What every page has to be (nothing on the console, nothing asked
//! of strangers) is in `harness.mjs`.
//!
//! `SPILLWAY_SCREENSHOTS=FOLDER cargo test --test pages` keeps pictures of what was seen.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "the segmenter's tests use more of it")]
#[path = "../segmenter/tests/support/captioned.rs"]
mod captioned;
mod common;
#[path = "pages/operating.rs"]
mod operating;
#[path = "pages/watching.rs"]
mod watching;

use std::{path::Path, time::Duration};

use serde_json::Value;
use tokio::process::Command;
use tools::program::Program;

/// Why no page can be looked at here; `None` if one can.
fn no_browser() -> Option<String> {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
    let packages = ["playwright-core", "axe-core"];
    let packages = packages.map(|name| format!("web/node_modules/{name}"));
    let mut needed = packages.iter().chain([&chromium]);
    let missing = needed.find(|path| !Path::new(path).exists());
    let node = (!tools::program::is_installed("node")).then(|| "node is not installed".into());
    node.or_else(|| missing.map(|missing| format!("there is no {missing}")))
}

/// Tells a story of `tests/pages/`, and says what it said; fails where that fails.
async fn tell(script: &str, arguments: &[&str]) -> Value {
    let story = begin(Command::new("node"), script, arguments);
    end(story, script, arguments).await
}

/// Begins to tell one, with a `node` that may be elsewhere.
fn begin(mut node: Command, script: &str, arguments: &[&str]) -> Program {
    node.arg(format!("tests/pages/{script}")).args(arguments);
    Program::start(script, node).unwrap()
}

/// The story goes on when it says `what`.
async fn says(story: &mut Program, what: &str) {
    let said = story
        .says(PATIENCE, |line| (line == what).then_some(()))
        .await;
    if let Err(error) = said {
        panic!("{error:#}\n{}", story.said_in_full().await.join("\n"));
    }
}

async fn end(mut story: Program, script: &str, arguments: &[&str]) -> Value {
    let ended = story.ended(PATIENCE).await.unwrap();
    let said = story.said_in_full().await.join("\n");
    assert!(ended.success(), "{script} {arguments:?}:\n{said}");
    serde_json::from_str(said.lines().last().unwrap_or_default())
        .unwrap_or_else(|why| panic!("{script}: {why}:\n{said}"))
}

/// For all of a story.
const PATIENCE: Duration = Duration::from_secs(100);
