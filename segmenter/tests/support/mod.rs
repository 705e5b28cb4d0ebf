//! Runs the built `segmenter`, reads what it says, and makes clips for it with the `ffmpeg` program.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod boxes;
pub(crate) mod captioned;
pub(crate) mod clocked;
pub(crate) mod feed;
pub(crate) mod judge;
pub(crate) mod live;
pub(crate) mod noted;
pub(crate) mod rtsp;

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use bytes::{Bytes, BytesMut};
use playlists::{Closed, MediaTime, still::Still};
use segmenter::wire::{Clock, End, Frame, Health, Hello, Mark, Part};

/// Everything that one run said.
#[derive(Debug, Default)]
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
    pub(crate) healths: Vec<Health>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) clocks: Vec<Clock>,
    pub(crate) end: Option<End>,
    pub(crate) stderr: String,
    pub(crate) success: bool,
}

impl Run {
    pub(crate) fn take(&mut self, frame: Frame) {
        assert!(self.end.is_none(), "something follows the end");
        match frame {
            Frame::Hello(hello) => assert!(self.hello.replace(hello).is_none(), "two hellos"),
            Frame::Init(init) if self.init.is_empty() => self.init = init,
            Frame::Init(init) => self.inits.push(init),
            Frame::Part(part) => self.parts.push(part),
            Frame::Mark(mark) => self.marks.push(mark),
            Frame::Clock(clock) => self.clocks.push(clock),
            Frame::Captions(closed) => self.captions.push(closed),
            Frame::Still { segment, still } => self.stills.push((segment, still)),
            Frame::Health(health) => {
                assert!(health.speed >= 0.0);
                self.healths.push(health);
            }
            Frame::End(end) => self.end = Some(end),
        }
    }

    /// The media of one rung as a file.
    pub(crate) fn file(&self, rung: u8) -> Vec<u8> {
        let parts = self.parts.iter().filter(|part| part.rung == rung);
        let media = parts.map(|part| &part.media[..]);
        [&self.init[..]]
            .into_iter()
            .chain(media)
            .collect::<Vec<_>>()
            .concat()
    }
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
        stderr: String::from_utf8(output.stderr).expect("stderr is text"),
        success: output.status.success(),
        ..Run::default()
    };
    let mut pipe = BytesMut::from(&output.stdout[..]);
    while let Some(frame) = Frame::decode(&mut pipe).expect("stdout is frames") {
        run.take(frame);
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

/// How much media a run made.
pub(crate) fn length(run: &Run) -> MediaTime {
    let cheapest = run.parts.iter().filter(|part| part.rung == 0);
    cheapest.map(|part| part.duration).sum()
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

/// One octet for each picture that `ffmpeg` decodes of `media`: how bright it is.
pub(crate) fn brightness(name: &str, media: &[u8]) -> Vec<u8> {
    let grey = ["-vf", "scale=1:1", "-pix_fmt", "gray"];
    let raw = ["-f", "rawvideo", "-an", "-"];
    decode(name, media, &[grey.as_slice(), &raw].concat())
}

pub(crate) fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}
