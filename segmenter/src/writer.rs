//! The one thread that writes to stdout: parts as soon as every rung has made its share, and how it goes, once a second.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, IoSlice, IsTerminal, Write},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use playlists::{Closed, MediaTime};
use segmenter::{
    Grid,
    cutter::Span,
    wire::{Frame, Health, InputState, OnAir, Part},
};

use crate::{
    a53::Seen,
    config::Captions,
    error::Error,
    gauge::{Gauge, Reading},
    health::{self, Lag},
    overload::{Overload, Second, Turn},
    rung::Made,
    stills,
};

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
        let media = frame.encode_head(&mut self.buffer)?;
        let mut slices = [IoSlice::new(&self.buffer), IoSlice::new(&media)];
        write_all(&mut self.file, &mut slices).map_err(|why| match why.kind() {
            io::ErrorKind::BrokenPipe => Error::ReaderGone,
            _ => Error::Stdout(why),
        })
    }
}

/// As one write, if the pipe takes it.
fn write_all(file: &mut File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Those that are empty are nothing to wait for.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

/// What a run counts, for `Health`. Each count has one writer.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Pictures given to the ladder.
    pub(crate) pictures: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) repeated: AtomicU64,
    /// Segments whose stills there was no time for.
    pub(crate) unpictured: AtomicU64,
    /// Closed captions that have come: a [`Seen`].
    pub(crate) captions: AtomicU8,
    /// Who is on the air has sound, and it has stopped.
    pub(crate) sound_missing: AtomicBool,
    /// How many rungs, the cheapest, are to be encoded from the next segment on. The writer's.
    pub(crate) rungs: AtomicUsize,
    /// Main, backup, slate.
    sources: [Source; 3],
    on_air: AtomicU8,
    backup: bool,
}

/// One of who may be on the air.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// What its own thread counts. Of the slate: how long nothing was to be done.
    pub(crate) gauge: Arc<Gauge>,
    state: AtomicU8,
}

impl Source {
    pub(crate) fn set(&self, state: InputState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    pub(crate) fn state(&self) -> InputState {
        let state = self.state.load(Ordering::Relaxed);
        let known = STATES.into_iter().find(|known| *known as u8 == state);
        known.unwrap_or_default()
    }
}

impl Progress {
    pub(crate) fn of(backup: bool) -> Self {
        Self {
            pictures: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            unpictured: AtomicU64::new(0),
            captions: AtomicU8::new(0),
            sound_missing: AtomicBool::new(false),
            rungs: AtomicUsize::new(usize::MAX),
            sources: Default::default(),
            on_air: AtomicU8::new(OnAir::Main as u8),
            backup,
        }
    }

    pub(crate) fn source(&self, who: OnAir) -> &Source {
        &self.sources[who as usize]
    }

    pub(crate) fn set_on_air(&self, who: OnAir) {
        self.on_air.store(who as u8, Ordering::Relaxed);
    }

    /// So many pictures were given to the ladder.
    pub(crate) fn see(&self, pictures: u64) {
        self.pictures.store(pictures, Ordering::Relaxed);
    }

    fn on_air(&self) -> OnAir {
        let on_air = self.on_air.load(Ordering::Relaxed);
        let known = SOURCES.into_iter().find(|known| *known as u8 == on_air);
        known.unwrap_or_default()
    }

    fn readings(&self) -> [Reading; 3] {
        SOURCES.map(|who| self.source(who).gauge.reading())
    }
}

const SOURCES: [OnAir; 3] = [OnAir::Main, OnAir::Backup, OnAir::Slate];
const STATES: [InputState; 5] = [
    InputState::Opening,
    InputState::Live,
    InputState::Stalled,
    InputState::Failed,
    InputState::Ended,
];

pub(crate) struct Writer {
    stdout: Stdout,
    grid: Grid,
    origin: MediaTime,
    /// Shares of a part: rungs, and renditions beside them.
    shares: usize,
    overload: Overload,
    progress: Arc<Progress>,
    /// Parts that some rung has not made yet. Bounded, as the rungs are, by the channels between them.
    open: BTreeMap<u64, Vec<Made>>,
    beside: Asides,
}

/// What is written besides parts and how it goes.
pub(crate) struct Asides {
    pub(crate) stills: Option<stills::Made>,
    pub(crate) captions: Told,
    pub(crate) told: Receiver<Frame>,
}

impl Writer {
    pub(crate) fn new(
        stdout: Stdout,
        grid: Grid,
        origin: MediaTime,
        shares: usize,
        overload: Overload,
        progress: Arc<Progress>,
        beside: Asides,
    ) -> Self {
        Self {
            stdout,
            grid,
            origin,
            shares,
            overload,
            progress,
            open: BTreeMap::new(),
            beside,
        }
    }

    /// Until every rung has ended. Gives stdout back for the last word.
    pub(crate) fn run(mut self, made: &Receiver<Made>) -> Result<Stdout, Error> {
        let mut pulse = Pulse::new(self.grid, self.overload.clone(), &self.progress);
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
        if shares.len() < self.shares {
            return Ok(());
        }
        let mut shares = self.open.remove(&number).unwrap_or_default();
        shares.sort_by_key(|share| share.rung);
        self.asides(&shares)?;
        // A rung that was not encoded has the very octets of the next cheaper one that was. That plays: all share one init
        // section, and every key frame brings its parameter sets.
        let mut cheaper = (false, Bytes::new());
        for (place, share) in shares.into_iter().enumerate() {
            cheaper = match share.media {
                Some(media) => (share.independent, media),
                None => cheaper,
            };
            let part = self.part(place, share.span, cheaper.clone());
            self.stdout.write(&Frame::Part(part))?;
        }
        Ok(())
    }

    /// What goes before a part: news of captions, what is said beside the pictures, and before a segment's last one its stills.
    fn asides(&mut self, shares: &[Made]) -> Result<(), Error> {
        let seen = Seen(self.progress.captions.load(Ordering::Relaxed));
        if let Some(closed) = self.beside.captions.tell(seen) {
            self.stdout.write(&Frame::Captions(closed))?;
        }
        while let Ok(frame) = self.beside.told.try_recv() {
            self.stdout.write(&frame)?;
        }
        let Some(last) = shares.first().filter(|share| share.span.last) else {
            return Ok(());
        };
        let segment = last.span.segment;
        let made = self.beside.stills.iter_mut();
        for still in made.flat_map(|made| made.take(segment)) {
            self.stdout.write(&Frame::Still { segment, still })?;
        }
        Ok(())
    }

    fn part(&self, place: usize, span: Span, (independent, media): (bool, Bytes)) -> Part {
        Part {
            rung: place as u8,
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

/// Looks at the progress about once a second, and says how many rungs are to be encoded.
pub(crate) struct Pulse {
    grid: Grid,
    overload: Overload,
    lag: Lag,
    /// Since the first picture; before it nothing can be late.
    started: Option<(Instant, u64)>,
    last: Instant,
    pictures: u64,
    readings: [Reading; 3],
}

impl Pulse {
    pub(crate) fn new(grid: Grid, overload: Overload, progress: &Progress) -> Self {
        Self {
            grid,
            overload,
            lag: Lag::default(),
            started: None,
            last: Instant::now(),
            pictures: 0,
            readings: progress.readings(),
        }
    }

    pub(crate) fn due(&self) -> Duration {
        SECOND.saturating_sub(self.last.elapsed())
    }

    pub(crate) fn beat(&mut self, progress: &Progress) -> Option<Health> {
        let now = Instant::now();
        let pictures = progress.pictures.load(Ordering::Relaxed);
        if self.started.is_none() && pictures > 0 {
            self.started = Some((now, pictures));
        }
        let span = now - self.last;
        if span < SECOND {
            return None;
        }
        let (on_air, readings) = (progress.on_air(), progress.readings());
        let [before, after] = [&self.readings, &readings].map(|all| all[on_air as usize].waited);
        let fps = (pictures - self.pictures) as f64 / span.as_secs_f64();
        let lead_ms = self.started.map_or(0, |(since, before)| {
            let media = self.grid.time(pictures - before).duration().as_millis() as i64;
            media - (now - since).as_millis() as i64
        });
        let second = Second {
            speed: fps / f64::from(self.grid.fps()),
            idle: after.saturating_sub(before).as_secs_f64() / span.as_secs_f64(),
            lag_ms: self.lag.look(lead_ms),
        };
        let input = |who: OnAir| {
            let [before, after] = [&self.readings, &readings].map(|all| all[who as usize]);
            health::input(progress.source(who).state(), before, after, span)
        };
        let (main, backup) = (input(OnAir::Main), input(OnAir::Backup));
        (self.last, self.pictures, self.readings) = (now, pictures, readings);
        self.judge(second);
        progress
            .rungs
            .store(self.overload.encoded(), Ordering::Relaxed);
        let mut health = Health {
            speed: second.speed,
            fps,
            lead_ms,
            lag_ms: second.lag_ms,
            dropped: progress.dropped.load(Ordering::Relaxed),
            repeated: progress.repeated.load(Ordering::Relaxed),
            unpictured: progress.unpictured.load(Ordering::Relaxed),
            on_air,
            main,
            backup: progress.backup.then_some(backup),
            rungs_dropped: self.overload.dropped() as u8,
            alerts: Vec::new(),
        };
        let missing = progress.sound_missing.load(Ordering::Relaxed);
        health.alerts = health::alerts(&health, self.overload.is_on(), missing);
        Some(health)
    }

    fn judge(&mut self, second: Second) {
        let Some(turn) = self.overload.second(second) else {
            return;
        };
        let Second { speed, lag_ms, .. } = second;
        let rungs = self.overload.encoded();
        match turn {
            Turn::Behind => tracing::warn!(
                speed,
                lag_ms,
                rungs,
                "cannot keep up with real time; only so many rungs are encoded now, and the dearest of them stands in for those above. \
                 Fewer rungs or a faster preset would help"
            ),
            Turn::TakenBack => tracing::info!(rungs, "trying with one more rung"),
            Turn::KeepsUp => tracing::info!(speed, rungs, "keeping up with real time again"),
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
