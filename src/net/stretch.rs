//! Where in its connection's octets one answer lies: from where it began to where the last of it
//! left for the kernel. Record headers of TLS and frames of HTTP/2 are between, so the length of
//! an answer does not tell where it ends. How fast it went is for others to say.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
};

use super::Connection;

/// One answer on its way. Ends with [`Stretch::over`], at the latest when it is dropped.
#[derive(Debug)]
pub struct Stretch {
    connection: Arc<Connection>,
    before: u64,
    overlaps: u64,
    alone: bool,
    over: AtomicBool,
    /// [`UNKNOWN`] until all of it is with the kernel.
    end: Arc<AtomicU64>,
    /// Its end was looked for in vain since it is over.
    sought: AtomicBool,
    /// Whether others were under way on the same connection, known when it is over.
    shared: AtomicBool,
}

/// What a connection keeps for the answers that are under way on it.
#[derive(Debug, Default)]
pub(super) struct Answers {
    under_way: AtomicUsize,
    /// How often one began while another was under way.
    overlaps: AtomicU64,
    /// Those that are over, but not known to have left for the kernel.
    leaving: Mutex<Vec<Arc<AtomicU64>>>,
    any_leaving: AtomicBool,
    /// What the connection had written when last it had nothing left to write.
    flushed: AtomicU64,
}

impl Answers {
    /// Everything that was said so far is with the kernel, which makes it `written` octets.
    pub(super) fn flushed(&self, written: u64) {
        self.flushed.store(written, Relaxed);
        if self.any_leaving.load(SeqCst) {
            let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
            self.any_leaving.store(false, SeqCst);
            for end in leaving.drain(..) {
                end.store(written, Relaxed);
            }
        }
    }
}

impl Stretch {
    /// What `connection` writes from now on belongs to a new answer.
    pub fn begin(connection: Arc<Connection>) -> Self {
        let answers = connection.answers();
        let alone = answers.under_way.fetch_add(1, Relaxed) == 0;
        let overlaps = if alone {
            answers.overlaps.load(Relaxed)
        } else {
            answers.overlaps.fetch_add(1, Relaxed) + 1
        };
        Self {
            before: connection.written(),
            connection,
            overlaps,
            alone,
            over: AtomicBool::new(false),
            end: Arc::new(AtomicU64::new(UNKNOWN)),
            sought: AtomicBool::new(false),
            shared: AtomicBool::new(!alone),
        }
    }

    /// Nothing more of it will be given to the connection.
    pub fn over(&self) {
        if self.over.swap(true, Relaxed) {
            return;
        }
        let answers = self.connection.answers();
        let alone = self.alone && answers.overlaps.load(Relaxed) == self.overlaps;
        self.shared.store(!alone, Relaxed);
        answers.under_way.fetch_sub(1, Relaxed);
        let mut leaving = answers
            .leaving
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        leaving.push(self.end.clone());
        answers.any_leaving.store(true, SeqCst);
    }

    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Octets of the connection before it.
    pub fn before(&self) -> u64 {
        self.before
    }

    /// Octets of the connection up to its end; `None` while some of it is not with the kernel.
    pub fn end(&self) -> Option<u64> {
        let end = self.end.load(Relaxed);
        if end != UNKNOWN || !self.over.load(Relaxed) {
            return Some(end).filter(|&end| end != UNKNOWN);
        }
        // With HTTP/2 its last octets may have left just before it was let go of, and nothing
        // will be written any more. Whoever looks again later finds the connection at rest.
        let written = self.connection.written();
        let rests = self.connection.answers().flushed.load(Relaxed) == written;
        if rests && self.sought.swap(true, Relaxed) {
            self.end.store(written, Relaxed);
            return Some(written);
        }
        None
    }

    /// Others were under way on the same connection at the same time (HTTP/2 only), so what the
    /// connection carried meanwhile was not all of this one.
    pub fn is_shared(&self) -> bool {
        let answers = self.connection.answers();
        self.shared.load(Relaxed)
            || (!self.over.load(Relaxed) && answers.overlaps.load(Relaxed) != self.overlaps)
    }
}

impl Drop for Stretch {
    fn drop(&mut self) {
        self.over();
    }
}

/// No connection gets so far.
const UNKNOWN: u64 = u64::MAX;
