//! Runs the built `segmenter`, reads what it says, and makes clips for it with the `ffmpeg` program.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod boxes;
pub(crate) mod captioned;
pub(crate) mod noted;

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use bytes::{Bytes, BytesMut};
use playlists::{Closed, still::Still};
use segmenter::wire::{End, Frame, Hello, Mark, Part};

/// Everything that one run said.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) hello: Option<Hello>,
    pub(crate) init: Bytes,
    /// Each rendition's init segment.
    pub(crate) inits: Vec<Bytes>,
    pub(crate) parts: Vec<Part>,
    /// With the segment that each is of.
    pub(crate) stills: Vec<(u64, Still)>,
    /// What was said of captions, over and over.
    pub(crate) captions: Vec<Vec<Closed>>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) end: Option<End>,
    pub(crate) stderr: String,
    pub(crate) success: bool,
}

pub(crate) fn segment(arguments: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_segmenter"))
        .args(arguments)
        .args(["--pace", "off"])
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .expect("the segmenter starts");
    let mut run = Run {
        hello: None,
        init: Bytes::new(),
        inits: Vec::new(),
        parts: Vec::new(),
        stills: Vec::new(),
        captions: Vec::new(),
        marks: Vec::new(),
        end: None,
        stderr: String::from_utf8(output.stderr).expect("stderr is text"),
        success: output.status.success(),
    };
    let mut pipe = BytesMut::from(&output.stdout[..]);
    while let Some(frame) = Frame::decode(&mut pipe).expect("stdout is frames") {
        assert!(run.end.is_none(), "something follows the end");
        match frame {
            Frame::Hello(hello) => assert!(run.hello.replace(hello).is_none(), "two hellos"),
            Frame::Init(init) if run.init.is_empty() => run.init = init,
            Frame::Init(init) => run.inits.push(init),
            Frame::Part(part) => run.parts.push(part),
            Frame::Mark(mark) => run.marks.push(mark),
            Frame::Captions(closed) => run.captions.push(closed),
            Frame::Still { segment, still } => run.stills.push((segment, still)),
            Frame::Health(health) => assert!(health.speed >= 0.0),
            Frame::End(end) => run.end = Some(end),
        }
    }
    assert!(
        pipe.is_empty(),
        "{} octets of half a frame at the end",
        pipe.len()
    );
    run
}

/// A clip made by `ffmpeg` with `arguments`, under `name`.
pub(crate) fn clip(name: &str, arguments: &[&str]) -> String {
    let path = scratch(name);
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-y"])
        .args(arguments)
        .arg(&path)
        .stdin(Stdio::null())
        .output()
        .expect("ffmpeg is installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    path.into_os_string()
        .into_string()
        .expect("a readable path")
}

/// What `ffmpeg` makes of `media`, with `arguments` for the output, which goes to stdout. It must not complain.
pub(crate) fn decode(name: &str, media: &[u8], arguments: &[&str]) -> Vec<u8> {
    let path = scratch(name);
    std::fs::write(&path, media).expect("the scratch folder can be written");
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(&path)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("ffmpeg is installed");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "",
        "ffmpeg complains about {name}"
    );
    assert!(output.status.success());
    std::fs::remove_file(path).expect("what was just written is there");
    output.stdout
}

fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}
