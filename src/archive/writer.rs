//! The one thread that writes a stream's archive. It takes segments from a bounded queue and says what
//! became of each; it never holds up who publishes.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use playlists::{MediaTime, Segment};
use tokio::sync::mpsc::Sender;

use super::{
    file::{self, Shape, Unreadable},
    shelf::{Shelf, State},
};

/// What the writer is told.
#[derive(Debug)]
pub(super) enum Job {
    /// From here on segments have this shape; what is there in another is of no use.
    Begin(Shape),
    /// A segment has been begun.
    Edge(u64),
    /// A segment is complete.
    Keep(Arc<Segment>),
    /// Nothing before this segment is listed any more.
    Forget(u64),
    /// No more will come for a while.
    Flush,
    /// The programme is over, at this time.
    End(i64),
    /// Nothing of it is wanted any more.
    Clear,
}

/// What the writer says.
#[derive(Debug)]
pub enum Note {
    /// The segment is on disk, and these are its octets there.
    Kept(Arc<Segment>),
    /// The segment could not be written, or not be read back.
    Lost(u64),
    /// To make room, everything before this segment was deleted.
    Forgotten { before: u64 },
}

pub(super) struct Writer {
    pub(super) stream: String,
    pub(super) shelf: Shelf,
    pub(super) jobs: Receiver<Job>,
    pub(super) notes: Sender<Note>,
    pub(super) shape: Option<Shape>,
    /// How far back playlists go.
    pub(super) span: Option<MediaTime>,
    /// Segments in a file.
    pub(super) group: usize,
    /// Octets that the files may take.
    pub(super) most: Option<u64>,
    /// Complete, and not written yet.
    pub(super) pending: Vec<Arc<Segment>>,
    /// Files of a run before, whose octets nobody has looked at yet.
    pub(super) unchecked: VecDeque<PathBuf>,
    pub(super) trouble: Trouble,
}

/// What has been said, so that it is said once.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    limit: bool,
    /// How many files were written since something went wrong; `None` if all is well.
    since: Option<u32>,
}

impl Writer {
    /// Until whoever publishes is gone.
    pub(super) fn run(mut self) {
        loop {
            let job = if self.unchecked.is_empty() {
                self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                self.jobs.recv_timeout(CHECK_PAUSE)
            };
            match job {
                Ok(job) => self.take(job),
                Err(RecvTimeoutError::Timeout) => self.check_one(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.flush();
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Begin(shape) => {
                if self.shape.as_ref().is_some_and(|known| *known != shape) {
                    tracing::info!(stream = %self.stream, "the ladder is another one; the DVR begins anew");
                    self.pending.clear();
                    self.unchecked.clear();
                    self.shelf.clear();
                }
                self.group = group(self.span, shape.segment);
                self.shape = Some(shape);
            }
            Job::Edge(edge) => self.shelf.note(State { edge, ended: None }),
            Job::Keep(segment) => {
                self.pending.push(segment);
                if self.pending.len() >= self.group {
                    self.flush();
                }
            }
            Job::Forget(number) => self.shelf.forget_before(number),
            Job::Flush => self.flush(),
            Job::End(at) => {
                self.flush();
                let state = State {
                    ended: Some(at),
                    ..self.shelf.state().clone()
                };
                self.shelf.note(state);
            }
            Job::Clear => {
                self.pending.clear();
                self.shelf.clear();
                self.shelf.note(State::default());
            }
        }
    }

    fn flush(&mut self) {
        let segments = std::mem::take(&mut self.pending);
        let (Some(shape), false) = (self.shape.clone(), segments.is_empty()) else {
            return;
        };
        self.make_room(&segments);
        match self.put(&shape, &segments) {
            Ok(kept) => {
                self.recovering();
                for segment in kept {
                    self.say(Note::Kept(segment));
                }
            }
            Err(error) => {
                if self.trouble.since.is_none() {
                    tracing::warn!(stream = %self.stream, %error, "cannot write the DVR; segments are missing from it until that is over");
                }
                self.trouble.since = Some(0);
                for segment in segments {
                    self.say(Note::Lost(segment.number()));
                }
            }
        }
    }

    /// Keeps to the limit.
    fn make_room(&mut self, segments: &[Arc<Segment>]) {
        let Some(most) = self.most else { return };
        let need: u64 = segments.iter().map(|segment| octets(segment)).sum();
        let mut before = None;
        while self.shelf.used() + need > most {
            match self.shelf.drop_oldest() {
                Some(number) => before = Some(number),
                None => break,
            }
        }
        if let Some(before) = before {
            if !std::mem::replace(&mut self.trouble.limit, true) {
                let reaches = self.shelf.files().map(|file| file.last + 1 - file.first);
                let segments: u64 = reaches.sum();
                tracing::warn!(stream = %self.stream, octets = most, segments, "the DVR has reached --dvr-max-gb before its length; the oldest goes");
            }
            self.say(Note::Forgotten { before });
        }
    }

    /// Writes a file. On a full disk the oldest goes first: its room is free once whoever publishes and
    /// whoever is being sent it have let go of it, for which there is a little time.
    fn put(
        &mut self,
        shape: &Shape,
        segments: &[Arc<Segment>],
    ) -> Result<Vec<Arc<Segment>>, Unreadable> {
        let need: u64 = segments.iter().map(|segment| octets(segment)).sum();
        let deadline = Instant::now() + ROOM_PATIENCE;
        loop {
            let error = match self.shelf.put(shape, segments) {
                Err(Unreadable::Io(error)) if is_full(&error) => error,
                done => return done,
            };
            if self.trouble.since.is_none() {
                tracing::warn!(stream = %self.stream, %error, "the disk is full; the oldest of the DVR goes");
            }
            self.trouble.since = Some(0);
            // Twice as much, or the next one would be here again.
            let (mut freed, mut before) = (0, None);
            while freed < need * 2 {
                freed += self
                    .shelf
                    .files()
                    .next()
                    .map_or(need * 2, |file| file.octets);
                before = self.shelf.drop_oldest().or(before);
            }
            if let Some(before) = before {
                self.say(Note::Forgotten { before });
            }
            if Instant::now() >= deadline {
                return Err(error.into());
            }
            std::thread::sleep(ROOM_PAUSE);
        }
    }

    /// A disk that is full stays at its brink: only after some time without is it over.
    fn recovering(&mut self) {
        if let Some(since) = &mut self.trouble.since {
            *since += 1;
            if *since >= RECOVERED {
                self.trouble.since = None;
                tracing::info!(stream = %self.stream, "the DVR is written without loss again");
            }
        }
    }

    /// Looks at the octets of one file of a run before.
    fn check_one(&mut self) {
        let Some(path) = self.unchecked.pop_front() else {
            return;
        };
        let there = self.shelf.files().find(|file| file.path == path).cloned();
        let (Some(entry), Err(error)) = (there, file::verify(&path)) else {
            return;
        };
        self.shelf.set_aside(&path, &error);
        for number in entry.first..=entry.last {
            self.say(Note::Lost(number));
        }
    }

    /// Whoever publishes looks at every part; when it is gone, nobody wants to know.
    fn say(&self, note: Note) {
        let _ = self.notes.blocking_send(note);
    }
}

/// Segments in a file: one, so that nothing is lost with a crash, unless there would be so many files that
/// the kernel's limit of mappings came near (65,530 for a process, `vm.max_map_count`).
fn group(span: Option<MediaTime>, segment: MediaTime) -> usize {
    let count = span.map_or(f64::MAX, |span| span.seconds() / segment.seconds().max(0.1));
    (count / FILES).ceil().clamp(1.0, GROUP_MOST) as usize
}

fn octets(segment: &Segment) -> u64 {
    let parts = segment.parts.iter();
    let media = parts.flat_map(|part| part.media.iter().chain(&part.renditions));
    media.map(|media| media.len() as u64).sum::<u64>() + INDEX
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// For what a file is above its media: index and init sections.
const INDEX: u64 = 8192;

/// For one stream; there may be a dozen.
const FILES: f64 = 4000.0;

/// All of them are still live when they are written: a live window is at least of seven.
const GROUP_MOST: f64 = 6.0;

const CHECK_PAUSE: Duration = Duration::from_millis(20);

/// Parts come every half second, and with each the publisher lets go of what is gone.
const ROOM_PATIENCE: Duration = Duration::from_secs(2);
const ROOM_PAUSE: Duration = Duration::from_millis(100);

/// Files in a row.
const RECOVERED: u32 = 30;
