//! Decisions of all viewers, written to a file as they are made: a line of JSON for each, of which
//! `tools simulate --replay` makes the same decision again.
//!
//! Nobody waits for the disk: between who decides and who writes is a queue, and what finds it full is
//! counted and left out. The file is opened anew at SIGHUP, for who moves it away; and where its
//! size is bounded, it is moved to `FILE.1` when it is full.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{explain::Kept, seat::ViewerId};
use crate::{logfile::LogFile, store::StreamName};

/// Where decisions are handed in.
#[derive(Debug)]
pub struct Journal {
    sender: mpsc::Sender<Entry>,
    counts: Arc<Counts>,
}

/// Where they are written.
#[derive(Debug)]
pub struct Writer {
    receiver: mpsc::Receiver<Entry>,
    counts: Arc<Counts>,
    file: LogFile,
}

#[derive(Debug)]
struct Entry {
    stream: StreamName,
    viewer: ViewerId,
    kept: Kept,
}

#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    dropped: AtomicU64,
}

/// Opens `path` to write on behind what is there, at most `most` octets of it.
pub async fn open(path: &Path, most: Option<u64>) -> io::Result<(Journal, Writer)> {
    let file = LogFile::open(path, most).await?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let counts = Arc::<Counts>::default();
    let journal = Journal {
        sender,
        counts: counts.clone(),
    };
    let writer = Writer {
        receiver,
        counts,
        file,
    };
    Ok((journal, writer))
}

impl Journal {
    /// Hands in a decision, unless too many wait to be written.
    pub fn note(&self, stream: &StreamName, viewer: &ViewerId, kept: Kept) {
        let entry = Entry {
            stream: stream.clone(),
            viewer: viewer.clone(),
            kept,
        };
        if self.sender.try_send(entry).is_err() {
            self.counts.dropped.fetch_add(1, Relaxed);
        }
    }

    /// How many were written, and how many left out.
    pub fn counts(&self) -> (u64, u64) {
        let Counts { written, dropped } = &*self.counts;
        (written.load(Relaxed), dropped.load(Relaxed))
    }
}

impl Writer {
    /// Writes until `stop`, and then what was handed in before.
    pub async fn run(mut self, stop: CancellationToken) {
        let (mut entries, mut told, mut said) = (Vec::new(), 0, None);
        loop {
            entries.clear();
            let some = tokio::select! {
                count = self.receiver.recv_many(&mut entries, AT_A_TIME) => count > 0,
                () = self.file.hung_up() => {
                    self.file.reopen().await;
                    continue;
                }
                () = stop.cancelled() => {
                    self.receiver.close();
                    self.receiver.recv_many(&mut entries, QUEUE).await > 0
                }
            };
            if !some {
                return;
            }
            self.write(&entries).await;
            let dropped = self.counts.dropped.load(Relaxed);
            let quiet = said.is_none_or(|said: Instant| said.elapsed() >= SAID_EVERY);
            if dropped > told && quiet {
                tracing::warn!(dropped, path = %self.file.path().display(), "decisions come faster than they can be written; some are left out of the log");
                (told, said) = (dropped, Some(Instant::now()));
            }
        }
    }

    async fn write(&mut self, entries: &[Entry]) {
        let mut text = Vec::with_capacity(entries.len() * 1024);
        for Entry {
            stream,
            viewer,
            kept,
        } in entries
        {
            // A Vec takes all text, and every value is one that JSON has.
            if serde_json::to_writer(&mut text, &kept.explained(stream, viewer)).is_ok() {
                text.push(b'\n');
            }
        }
        self.file.make_room(text.len()).await;
        let count = entries.len() as u64;
        let counter = match self.file.append(&text).await {
            true => &self.counts.written,
            false => &self.counts.dropped,
        };
        counter.fetch_add(count, Relaxed);
    }
}

/// Four seconds of 2,000 viewers; two megabytes.
const QUEUE: usize = 4096;

/// Decisions that are written with one call.
const AT_A_TIME: usize = 256;

/// How often it is said that some were left out.
const SAID_EVERY: Duration = Duration::from_secs(10);
