//! What the segmenter's own tests are fed with, for tests of whole programs.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{path::PathBuf, process::Command};

#[path = "../../segmenter/tests/support/captioned.rs"]
pub(crate) mod captioned;
#[path = "../../segmenter/tests/support/clocked.rs"]
pub(crate) mod clocked;
#[path = "../../segmenter/tests/support/feed.rs"]
pub(crate) mod feed;

pub(crate) fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// A clip made by `ffmpeg` with `arguments`, under `name`.
pub(crate) fn clip(name: &str, arguments: &[&str]) -> String {
    let path = scratch(name);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-y"]);
    let made = ffmpeg.args(arguments).arg(&path).status();
    assert!(made.expect("ffmpeg is installed").success());
    path.into_os_string()
        .into_string()
        .expect("a readable path")
}
