//! What streams were, on disk: immutable files that are mapped, so that hours of media take no memory of
//! this process and are sent like any other. Which segments are listed is the window's business.
//!
//! Nothing here waits on the way of what is live: a thread for each stream takes complete segments from
//! a bounded queue. A segment that finds the queue full, or that cannot be written, is missing from the
//! DVR, which is said, and is a gap there.

mod file;
mod map;
mod options;
mod past;
mod shelf;
mod writer;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, mpsc as jobs},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use playlists::{Format, MediaTime, Segment, WallTime};
use tokio::sync::mpsc;

pub use self::{
    file::{Shape, Unreadable},
    map::populate,
    options::{DvrConfig, Options, Reach},
    shelf::OpenError,
    writer::Note,
};
use self::{
    shelf::Shelf,
    writer::{Job, Trouble, Writer},
};
use crate::clock;

/// The archives of a node's streams.
#[derive(Debug)]
pub struct Archives {
    options: Options,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// One stream's archive, for the one who publishes it.
#[derive(Debug)]
pub struct Archive {
    stream: String,
    span: Option<MediaTime>,
    jobs: jobs::SyncSender<Job>,
    notes: mpsc::Receiver<Note>,
    past: Option<Past>,
    /// Segments were turned away since the queue was last seen to take one.
    full: bool,
    /// What has to be told before the next segment, but found the queue full.
    owed: Vec<Job>,
}

/// What an archive held when it was opened.
#[derive(Debug)]
pub struct Past {
    pub shape: Shape,
    /// Consecutive numbers, the last of which was the last that anybody heard of.
    pub segments: Vec<Arc<Segment>>,
    /// When the programme ended, if it did.
    pub ended: Option<WallTime>,
}

impl Archives {
    pub fn new(options: Options) -> Self {
        Self {
            options,
            threads: Mutex::default(),
        }
    }

    /// Opens the archive of `stream` and reads what is in it. `span` says how far back its playlists go, if
    /// not as far as usual. Blocks.
    pub fn open(&self, stream: &str, span: Option<Reach>) -> Result<Archive, OpenError> {
        let span = span.map_or(self.options.span, Reach::media_time);
        let began = Instant::now();
        let (shelf, found) = Shelf::open(self.options.folder.join(stream))?;
        let shape = found.as_ref().map(|(shape, _)| shape.clone());
        let past = found.and_then(|(shape, runs)| {
            let segments = past::joined(&shape, runs, shelf.state().edge);
            let ended = shelf.ended();
            (!segments.is_empty()).then_some(Past {
                shape,
                segments,
                ended,
            })
        });
        if let Some(past) = &past {
            let gaps = past.segments.iter().filter(|segment| segment.gap).count();
            tracing::info!(
                stream, segments = past.segments.len(), gaps, length_s = past::length(&past.segments).seconds(),
                octets = shelf.used(), took = ?began.elapsed(), "DVR of the run before",
            );
        }
        let (sender, receiver) = jobs::sync_channel(QUEUE);
        let (noter, notes) = mpsc::channel(QUEUE);
        let writer = Writer {
            stream: stream.to_owned(),
            // The newest first: that is what is watched.
            unchecked: shelf.files().rev().map(|file| file.path.clone()).collect(),
            shelf,
            jobs: receiver,
            notes: noter,
            span,
            group: 1,
            shape,
            most: self.options.most,
            pending: Vec::new(),
            trouble: Trouble::default(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("dvr-{stream}"))
            .spawn(move || writer.run())
            .map_err(|error| OpenError::Folder {
                folder: self.options.folder.clone(),
                error,
            })?;
        self.threads().push(thread);
        Ok(Archive {
            stream: stream.to_owned(),
            span,
            jobs: sender,
            notes,
            past,
            full: false,
            owed: Vec::new(),
        })
    }

    /// Waits until all that was handed over is written, or for `patience`. Its streams are gone. Blocks.
    pub fn close(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut threads: VecDeque<_> = self.threads().drain(..).collect();
        while let Some(thread) = threads.pop_front() {
            if thread.is_finished() {
                let _ = thread.join();
            } else if Instant::now() < deadline {
                threads.push_back(thread);
                std::thread::sleep(Duration::from_millis(10));
            } else {
                return false;
            }
        }
        true
    }

    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Archive {
    /// What was there, for who takes it up.
    pub fn take_past(&mut self) -> Option<Past> {
        self.past.take()
    }

    /// How far back playlists go.
    pub fn span(&self) -> Option<MediaTime> {
        self.span
    }

    /// Segments have this format from here on.
    pub fn begin(&mut self, format: &Format) {
        self.owe(Job::Begin(Shape::of(format)));
    }

    /// Segment `number` is begun.
    pub fn opened(&self, number: u64) {
        self.tell(Job::Edge(number));
    }

    /// Hands over a complete segment. `false` if there is no room for it in the queue: it will not be kept.
    pub fn keep(&mut self, segment: &Arc<Segment>) -> bool {
        let taken = self.settled() && self.jobs.try_send(Job::Keep(segment.clone())).is_ok();
        if taken && self.full {
            tracing::info!(stream = %self.stream, "the DVR keeps up again");
        } else if !taken && !self.full {
            tracing::warn!(stream = %self.stream, number = segment.number(), "the disk is too slow for the DVR; segments are missing from it until it keeps up");
        }
        self.full = !taken;
        taken
    }

    /// Nothing before segment `number` is listed or fetched any more.
    pub fn forget_before(&self, number: u64) {
        self.tell(Job::Forget(number));
    }

    /// No more will come for a while.
    pub fn flush(&self) {
        self.tell(Job::Flush);
    }

    /// The programme is over.
    pub fn end(&mut self) {
        self.owe(Job::End(clock::wall().millis()));
    }

    /// Deletes all of it.
    pub fn clear(&mut self) {
        self.owe(Job::Clear);
    }

    /// What has become of segments since this was last asked.
    pub fn note(&mut self) -> Option<Note> {
        self.settled();
        self.notes.try_recv().ok()
    }

    /// Says `job` before the next segment, if not now.
    fn owe(&mut self, job: Job) {
        self.owed.push(job);
        self.settled();
    }

    /// Whether nothing is owed any more.
    fn settled(&mut self) -> bool {
        while !self.owed.is_empty() {
            match self.jobs.try_send(self.owed.remove(0)) {
                Ok(()) => {}
                Err(jobs::TrySendError::Full(job)) => {
                    self.owed.insert(0, job);
                    return false;
                }
                Err(jobs::TrySendError::Disconnected(_)) => return false,
            }
        }
        true
    }

    /// What is told besides segments is told again with the next, or is no loss if the queue is full.
    fn tell(&self, job: Job) {
        if let Err(error) = self.jobs.try_send(job) {
            tracing::debug!(stream = %self.stream, %error, "the DVR's queue took no word");
        }
    }
}

/// Segments that may wait to be written: a minute, where segments are of two seconds. They are in
/// memory meanwhile.
const QUEUE: usize = 32;

#[cfg(test)]
mod tests;
