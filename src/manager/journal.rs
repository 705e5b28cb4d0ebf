//! The manager's decisions, with all that they were made from, a line of JSON each: `traffic-manager --replay`
//! makes them again.
//!
//! A section begins with the whole state of the balancer, and then has every event with what was decided, and every
//! join with where it went. Nobody waits for the disk: when the queue is full the section ends, and the next one
//! begins when there is room. So it does when the file is opened anew at SIGHUP, or moved to `FILE.1` when it is full.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use adaptation::region::{Action, Balancer, Event, Moment, Region, Route};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::logfile::LogFile;

/// Where decisions are handed in.
#[derive(Debug)]
pub struct Journal {
    lines: mpsc::Sender<String>,
    /// A section has to begin: none has, one broke off, or the file is another one.
    anew: Arc<AtomicBool>,
}

/// Where they are written. Ends with its [`Journal`].
#[derive(Debug)]
pub struct Writer {
    lines: mpsc::Receiver<String>,
    anew: Arc<AtomicBool>,
    file: LogFile,
}

/// One line, as it is read. Time is microseconds since the manager was started.
#[derive(Debug, Deserialize)]
pub(super) struct Line {
    pub(super) us: u64,
    pub(super) state: Option<Box<Balancer>>,
    pub(super) event: Option<Event>,
    #[serde(default)]
    pub(super) decided: Vec<Action>,
    pub(super) join: Option<Join>,
    pub(super) route: Option<Route>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Join {
    pub(super) region: Region,
    pub(super) stream: Option<String>,
    pub(super) before: Option<String>,
    /// May be told to wait.
    pub(super) patient: bool,
}

#[derive(Serialize)]
struct State<'a> {
    us: u64,
    state: &'a Balancer,
}

#[derive(Serialize)]
struct Told<'a> {
    us: u64,
    event: &'a Event,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    decided: &'a [Action],
}

#[derive(Serialize)]
struct Asked<'a> {
    us: u64,
    join: &'a Join,
    route: &'a Route,
}

/// Opens `path` to write on behind what is there, at most `most` octets of it.
pub async fn open(path: &Path, most: Option<u64>) -> io::Result<(Journal, Writer)> {
    let file = LogFile::open(path, most).await?;
    let (sender, lines) = mpsc::channel(QUEUE);
    let anew = Arc::new(AtomicBool::new(true));
    let journal = Journal {
        lines: sender,
        anew: anew.clone(),
    };
    let writer = Writer { lines, anew, file };
    Ok((journal, writer))
}

impl Journal {
    /// Before anything happens to the balancer: begins a section if one is due.
    pub(super) fn prepare(&self, balancer: &Balancer, now: Moment) {
        if self.anew.load(Relaxed) && self.lines.capacity() > QUEUE / 2 {
            self.anew.store(false, Relaxed);
            let us = micros(now);
            self.write(&State {
                us,
                state: balancer,
            });
        }
    }

    /// The balancer is another one.
    pub(super) fn begin(&self) {
        self.anew.store(true, Relaxed);
    }

    pub(super) fn event(&self, event: &Event, decided: &[Action], now: Moment) {
        let us = micros(now);
        self.note(&Told { us, event, decided });
    }

    pub(super) fn join(&self, join: &Join, route: &Route, now: Moment) {
        let us = micros(now);
        self.note(&Asked { us, join, route });
    }

    fn note(&self, line: &impl Serialize) {
        // What follows a gap says nothing until the next section.
        if !self.anew.load(Relaxed) {
            self.write(line);
        }
    }

    fn write(&self, line: &impl Serialize) {
        let text = serde_json::to_string(line);
        let sent = text.is_ok_and(|text| self.lines.try_send(text + "\n").is_ok());
        if !sent && !self.anew.swap(true, Relaxed) {
            tracing::warn!(
                "decisions come faster than they can be written; some are left out of the log"
            );
        }
    }
}

impl Writer {
    /// Until the manager has ended.
    pub async fn run(mut self) {
        let mut lines = Vec::new();
        loop {
            lines.clear();
            tokio::select! {
                count = self.lines.recv_many(&mut lines, AT_A_TIME) => match count {
                    0 => return,
                    _ => self.write(lines.concat().as_bytes()).await,
                },
                () = self.file.hung_up() => {
                    self.file.reopen().await;
                    self.anew.store(true, Relaxed);
                }
            }
        }
    }

    async fn write(&mut self, text: &[u8]) {
        if self.file.make_room(text.len()).await {
            self.anew.store(true, Relaxed);
        }
        if !self.file.append(text).await {
            self.anew.store(true, Relaxed);
        }
    }
}

fn micros(now: Moment) -> u64 {
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// Lines that wait for the disk: a second of 4,000 joins.
const QUEUE: usize = 4096;

/// Lines that are written with one call.
const AT_A_TIME: usize = 256;
