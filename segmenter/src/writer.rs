//! The one thread that writes to stdout: parts as soon as every rung has made its share, and how it goes, once a second.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use bytes::BytesMut;
use playlists::{Closed, MediaTime};
use segmenter::{
    Grid,
    wire::{Frame, Health, Mark, Part},
};

use crate::{a53::Seen, config::Captions, error::Error, health::KeepingUp, rung::Made, stills};

/// Frames to stdout, unbuffered: each is one write.
pub(crate) struct Stdout {
    file: File,
    buffer: BytesMut,
}

impl Stdout {
    pub(crate) fn open() -> Result<Self, Error> {
        if io::stdout().is_terminal() {
            return Err(Error::Terminal);
        }
        let owned = io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .map_err(Error::Stdout)?;
        Ok(Self {
            file: File::from(owned),
            buffer: BytesMut::new(),
        })
    }

    pub(crate) fn write(&mut self, frame: &Frame) -> Result<(), Error> {
        self.buffer.clear();
        frame.encode(&mut self.buffer)?;
        self.file
            .write_all(&self.buffer)
            .map_err(|why| match why.kind() {
                io::ErrorKind::BrokenPipe => Error::ReaderGone,
                _ => Error::Stdout(why),
            })
    }
}

/// What the pipeline counts, for `Health`. Each is written by the pipeline alone.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Pictures given to the ladder.
    pub(crate) pictures: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) repeated: AtomicU64,
    /// Segments whose stills there was no time for.
    pub(crate) unpictured: AtomicU64,
    /// Closed captions that have come: a [`Seen`].
    pub(crate) captions: AtomicU8,
    /// Microseconds spent waiting for the input or for its time to come: the machine was not the bottleneck.
    pub(crate) idle: AtomicU64,
}

pub(crate) struct Writer {
    stdout: Stdout,
    grid: Grid,
    origin: MediaTime,
    rungs: usize,
    progress: Arc<Progress>,
    /// Parts that some rung has not made yet. Bounded, as the rungs are, by the channels between them.
    open: BTreeMap<u64, Vec<Made>>,
    aside: Aside,
}

/// What the reader is told beside parts.
pub(crate) struct Aside {
    pub(crate) stills: Option<stills::Made>,
    pub(crate) told: Told,
    pub(crate) marks: Receiver<Mark>,
}

impl Writer {
    pub(crate) fn new(
        stdout: Stdout,
        grid: Grid,
        origin: MediaTime,
        rungs: usize,
        progress: Arc<Progress>,
        aside: Aside,
    ) -> Self {
        Self {
            stdout,
            grid,
            origin,
            rungs,
            progress,
            open: BTreeMap::new(),
            aside,
        }
    }

    /// Until every rung has ended. Gives stdout back for the last word.
    pub(crate) fn run(mut self, made: &Receiver<Made>) -> Result<Stdout, Error> {
        let mut pulse = Pulse::new(self.grid);
        loop {
            match made.recv_timeout(pulse.due()) {
                Ok(share) => self.take(share)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(self.stdout),
            }
            if let Some(health) = pulse.beat(&self.progress) {
                self.stdout.write(&Frame::Health(health))?;
            }
        }
    }

    fn take(&mut self, share: Made) -> Result<(), Error> {
        let number = share.span.number;
        let shares = self.open.entry(number).or_default();
        shares.push(share);
        if shares.len() < self.rungs {
            return Ok(());
        }
        let mut shares = self.open.remove(&number).unwrap_or_default();
        shares.sort_by_key(|share| share.rung);
        let seen = Seen(self.progress.captions.load(Ordering::Relaxed));
        if let Some(closed) = self.aside.told.tell(seen) {
            self.stdout.write(&Frame::Captions(closed))?;
        }
        while let Ok(mark) = self.aside.marks.try_recv() {
            self.stdout.write(&Frame::Mark(mark))?;
        }
        if let Some(last) = shares.first().filter(|share| share.span.last) {
            self.picture(last.span.segment)?;
        }
        for share in shares {
            let part = self.part(share);
            self.stdout.write(&Frame::Part(part))?;
        }
        Ok(())
    }

    /// The stills of `segment` go before its last part.
    fn picture(&mut self, segment: u64) -> Result<(), Error> {
        for still in self
            .aside
            .stills
            .iter_mut()
            .flat_map(|made| made.take(segment))
        {
            self.stdout.write(&Frame::Still { segment, still })?;
        }
        Ok(())
    }

    fn part(&self, made: Made) -> Part {
        let Made {
            rung,
            span,
            independent,
            media,
        } = made;
        Part {
            rung: rung as u8,
            segment: span.segment,
            index: span.index,
            independent,
            last: span.last,
            start: self.origin + self.grid.time(span.first_frame),
            duration: self.grid.time(span.end_frame()) - self.grid.time(span.first_frame),
            media,
        }
    }
}

/// What the reader knows of captions in the pictures.
pub(crate) struct Told {
    /// What is to be said whatever comes, until it was.
    said: Option<Vec<Closed>>,
    /// What was seen when that was last said; `None`: it is not looked at, or never was.
    seen: Option<Seen>,
    looks: bool,
}

impl Told {
    pub(crate) fn new(captions: &Captions) -> Self {
        let said = match captions {
            Captions::Auto => None,
            Captions::None => Some(Vec::new()),
            Captions::Said(closed) => Some(closed.clone()),
        };
        Self {
            looks: said.is_none(),
            said,
            seen: None,
        }
    }

    /// What is news, `seen` being what has come. That there is nothing is said of the first part.
    fn tell(&mut self, seen: Seen) -> Option<Vec<Closed>> {
        if !self.looks {
            return self.said.take();
        }
        if self.seen.replace(seen) == Some(seen) {
            return None;
        }
        let channels = seen.channels();
        if !channels.is_empty() {
            tracing::info!(
                channels = channels.join(", "),
                "there are captions in the pictures"
            );
        }
        let closed = channels
            .into_iter()
            .map(|channel| Closed::new(channel, None));
        // They are those that there are.
        Some(closed.filter_map(Result::ok).collect())
    }
}

/// Looks at the progress about once a second.
struct Pulse {
    grid: Grid,
    keeping_up: KeepingUp,
    /// Since the first picture; before it nothing can be late.
    started: Option<(Instant, u64)>,
    last: Instant,
    pictures: u64,
    idle: u64,
}

impl Pulse {
    fn new(grid: Grid) -> Self {
        Self {
            grid,
            keeping_up: KeepingUp::default(),
            started: None,
            last: Instant::now(),
            pictures: 0,
            idle: 0,
        }
    }

    fn due(&self) -> Duration {
        SECOND.saturating_sub(self.last.elapsed())
    }

    fn beat(&mut self, progress: &Progress) -> Option<Health> {
        let now = Instant::now();
        let pictures = progress.pictures.load(Ordering::Relaxed);
        if self.started.is_none() && pictures > 0 {
            self.started = Some((now, pictures));
        }
        let span = now - self.last;
        if span < SECOND {
            return None;
        }
        let idle = progress.idle.load(Ordering::Relaxed);
        let fps = (pictures - self.pictures) as f64 / span.as_secs_f64();
        let idle_share = Duration::from_micros(idle - self.idle).as_secs_f64() / span.as_secs_f64();
        let speed = fps / f64::from(self.grid.fps());
        let lead_ms = self.started.map_or(0, |(since, before)| {
            let media = self.grid.time(pictures - before).duration().as_millis() as i64;
            media - (now - since).as_millis() as i64
        });
        (self.last, self.pictures, self.idle) = (now, pictures, idle);
        self.keeping_up.judge(speed, idle_share, lead_ms);
        Some(Health {
            speed,
            fps,
            lead_ms,
            dropped: progress.dropped.load(Ordering::Relaxed),
            repeated: progress.repeated.load(Ordering::Relaxed),
            unpictured: progress.unpictured.load(Ordering::Relaxed),
        })
    }
}

const SECOND: Duration = Duration::from_secs(1);
