//! A segmenter that runs while a test goes on: what it says is gathered, and can be waited for.

use std::{
    io::Read as _,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use segmenter::wire::{Frame, Health};

use super::Run;

pub(crate) struct Live {
    child: Child,
    frames: Receiver<Frame>,
    stderr: Option<thread::JoinHandle<String>>,
    pub(crate) run: Run,
}

impl Live {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_segmenter"))
            .args(arguments)
            .env("RUST_LOG", "debug")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the segmenter starts");
        let mut stdout = child.stdout.take().expect("a pipe");
        let mut stderr = child.stderr.take().expect("a pipe");
        let (sender, frames) = channel();
        thread::spawn(move || {
            let (mut input, mut some) = (BytesMut::new(), vec![0; 1 << 16]);
            while let Ok(count @ 1..) = stdout.read(&mut some) {
                input.extend_from_slice(&some[..count]);
                while let Some(frame) = Frame::decode(&mut input).expect("stdout is frames") {
                    if sender.send(frame).is_err() {
                        return;
                    }
                }
            }
        });
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        Self {
            child,
            frames,
            stderr: Some(stderr),
            run: Run::default(),
        }
    }

    /// Goes on until a report is as `wanted`.
    pub(crate) fn until(&mut self, what: &str, wanted: impl Fn(&Health) -> bool) -> Health {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let frame = self.frames.recv_timeout(left);
            let Some(frame) = frame.ok().filter(|_| !left.is_zero()) else {
                let _ = self.child.kill();
                let said = self.stderr.take().map(thread::JoinHandle::join);
                panic!(
                    "never {what}; last {:?}; it said {said:?}",
                    self.run.healths.last()
                );
            };
            self.run.take(frame.clone());
            if let Frame::Health(health) = frame
                && wanted(&health)
            {
                return health;
            }
        }
    }

    /// Goes on for so many parts more.
    pub(crate) fn parts(&mut self, count: usize) {
        let wanted = self.run.parts.len() + count;
        let deadline = Instant::now() + PATIENCE;
        while self.run.parts.len() < wanted {
            let left = deadline.saturating_duration_since(Instant::now());
            let frame = self.frames.recv_timeout(left);
            self.run.take(frame.expect("parts go on"));
        }
    }

    /// Ends it here; what it said so far, in whole parts.
    pub(crate) fn leave(mut self) -> Run {
        let rungs = self
            .run
            .hello
            .as_ref()
            .map_or(1, |hello| hello.ladder.rungs().len());
        let whole = self.run.parts.len() / rungs * rungs;
        self.run.parts.truncate(whole);
        std::mem::take(&mut self.run)
    }

    /// To its end, which it has to come to by itself.
    pub(crate) fn end(mut self) -> Run {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.frames.recv_timeout(left) {
                Ok(frame) if !left.is_zero() => self.run.take(frame),
                _ => break,
            }
        }
        if self.run.end.is_none() {
            let _ = self.child.kill();
        }
        self.run.success = self.child.wait().expect("it was started").success();
        self.run.stderr = self
            .stderr
            .take()
            .map(|stderr| stderr.join().expect("no panic"))
            .unwrap_or_default();
        std::mem::take(&mut self.run)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PATIENCE: Duration = Duration::from_secs(40);
