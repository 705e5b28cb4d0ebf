//! A stream from a segmenter of our own: started, read, watched, and started again when it dies.
//!
//! A death costs the stream a discontinuity. Numbering goes on, and because media time and
//! media sequence numbers follow the wall clock, it goes on after a restart of this node too.

use std::{
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use playlists::{
    DateRange, Epoch, Format, Head, Init, MediaTime, Part, Segment, WallTime, Window, WindowError,
    still::Still,
};
use segmenter::wire::{self, Frame, Hello, WireError};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;

use super::{
    alerts::Alerts,
    dates::{Dates, News},
    publication::{Publication, Waited},
};
use crate::{
    clock,
    store::{Intake, Producer, StreamName},
};

/// How to run the segmenter of one stream.
#[derive(Clone, Debug)]
pub struct Live {
    /// The `segmenter` program.
    pub program: PathBuf,
    /// Its options and its input.
    pub arguments: Vec<String>,
    /// How many segments playlists list.
    pub listed: usize,
    /// The input's end is the stream's end; otherwise the input is opened again.
    pub ends: bool,
    /// Somebody publishes it: it runs while a publisher is on the air.
    pub publication: Option<Publication>,
    /// How long the programme can be watched after its end; `None` is until this node stops.
    pub keep_ended: Option<Duration>,
}

/// Why a stream has no source any more.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("stream {stream}: {why}")]
    Fatal { stream: StreamName, why: String },
    #[error("stream {stream}: cannot start {program}: {error}")]
    Spawn {
        stream: StreamName,
        program: String,
        error: std::io::Error,
    },
}

/// Why one run of the segmenter is over.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("the input ended")]
    Input,
    #[error("{why}")]
    Failed { why: String, fatal: bool },
    #[error("it closed its output without a word, {status}")]
    Crashed { status: String },
    #[error("it said nothing for {SILENCE:?}")]
    Silent,
    #[error("reading its output: {0}")]
    Pipe(#[from] std::io::Error),
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("{0}")]
    Window(#[from] WindowError),
    #[error("a {found} frame came where {expected} was due")]
    Order {
        found: &'static str,
        expected: String,
    },
}

/// Keeps `producer` fed until `stop`, or until the input has ended or can never work. A stream that is published
/// has one programme after the other.
pub async fn run(live: Live, mut producer: Producer, stop: CancellationToken) -> Result<(), Ended> {
    // By our clock; of a programme of a run before this one only its dates are known.
    let mut ended = producer.window().and_then(Window::edge);
    if producer.window().is_some_and(Window::has_ended) {
        tracing::info!(stream = %producer.name(), keep = ?live.keep_ended, "the programme has ended before this start, and is served as it is on disk");
    } else {
        programme(&live, &mut producer, &stop).await?;
        ended = Some(clock::wall());
    }
    while !stop.is_cancelled() {
        tokio::select! {
            () = over(&live, ended) => {
                tracing::info!(stream = %producer.name(), "the programme is over for long enough; it is gone");
                if live.publication.is_none() {
                    producer.forget();
                    return Ok(());
                }
                producer.clear();
                ended = None;
            }
            () = published(&live) => {}
            () = stop.cancelled() => break,
        }
        if live.publication.is_some() {
            programme(&live, &mut producer, &stop).await?;
            ended = Some(clock::wall());
        }
    }
    Ok(())
}

/// One programme, from its first part to its end; `Ok` as well if it was told to stop.
async fn programme(
    live: &Live,
    producer: &mut Producer,
    stop: &CancellationToken,
) -> Result<(), Ended> {
    let stream = producer.name().clone();
    let (mut back_off, mut last_epoch, mut runs) = (BACK_OFF_MIN, Epoch(0), 0);
    let (mut covered, mut dates) = (None, Dates::default());
    let mut likeness = None;
    loop {
        if let Some(publication) = &live.publication {
            let waited = tokio::select! {
                waited = publication.wait(under_way(producer)) => waited,
                () = stop.cancelled() => return Ok(()),
            };
            if waited == Waited::InVain {
                tracing::info!(%stream, grace = ?publication.grace, "nobody publishes it any more; the programme has ended");
                producer.end();
                return Ok(());
            }
        }
        let started = Instant::now();
        runs += 1;
        producer.report(Intake { runs, health: None });
        dates.begin();
        let mut run = Run::begin(producer, last_epoch, runs, covered, dates);
        last_epoch = run.epoch;
        let spawned = spawn(live, &run, likeness.as_deref()).map_err(|error| Ended::Spawn {
            stream: stream.clone(),
            program: live.program.display().to_string(),
            error,
        })?;
        tracing::info!(%stream, epoch = run.epoch.0, pid = spawned.id(), "segmenter started");
        let stopped = tokio::select! {
            stopped = follow(spawned, &mut run, live, producer) => stopped,
            () = stop.cancelled() => return Ok(()),
        };
        producer.close();
        producer.report(Intake { runs, health: None });
        (covered, dates) = (run.covered.or(covered), run.dates);
        let said = run.hello.map(|hello| hello.likeness);
        likeness = said.filter(|said| !said.is_empty()).or(likeness);
        if started.elapsed() > HEALTHY {
            back_off = BACK_OFF_MIN;
        }
        match (stopped, &live.publication) {
            (Stopped::Input, None) if live.ends => {
                tracing::info!(%stream, "the input ended, and with it the stream");
                producer.end();
                return Ok(());
            }
            (Stopped::Input, Some(Publication { grace: None, .. })) => {
                tracing::info!(%stream, "nobody publishes it any more; the programme has ended");
                producer.end();
                return Ok(());
            }
            (Stopped::Input, Some(publication)) => {
                tracing::info!(%stream, grace = ?publication.grace, "the publisher has gone; its viewers wait for it to come back");
                back_off = BACK_OFF_MIN;
            }
            // Its next publisher may do better.
            (Stopped::Failed { why, fatal: true }, Some(publication)) => {
                tracing::warn!(%stream, %why, "what is published is of no use");
                publication.cut_off();
            }
            // What has worked may work again, and its viewers wait; at a start somebody should know.
            (Stopped::Failed { why, fatal: true }, None) if !producer.has_begun() => {
                return Err(Ended::Fatal { stream, why });
            }
            (stopped, _) => {
                tracing::warn!(%stream, why = %stopped, again_in = ?back_off, "segmenter stopped; starting it again");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(back_off) => back_off = (back_off * 2).min(BACK_OFF_MAX),
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Whether there is a programme that would have to be ended.
fn under_way(producer: &Producer) -> bool {
    let window = producer.window();
    window.is_some_and(|window| !window.has_ended() && window.segments().next().is_some())
}

/// Until a programme that has ended has been there for as long as it is to be watched.
async fn over(live: &Live, ended: Option<WallTime>) {
    let (Some(keep), Some(since)) = (live.keep_ended, ended) else {
        return std::future::pending().await;
    };
    let gone = Duration::from_millis((clock::wall().millis() - since.millis()).max(0) as u64);
    tokio::time::sleep(keep.saturating_sub(gone)).await;
}

/// Until somebody publishes it.
async fn published(live: &Live) {
    match &live.publication {
        Some(publication) => publication.begun().await,
        None => std::future::pending().await,
    }
}

/// `likeness` is what the run before said of itself: this one may have to begin before its input is there.
fn spawn(live: &Live, run: &Run, likeness: Option<&str>) -> std::io::Result<Child> {
    Command::new(&live.program)
        .arg("--origin-time")
        .arg(run.origin.flicks().to_string())
        .args(likeness.map(|likeness| format!("--like={likeness}")))
        .args(&live.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // Its log lines are ours; a terminal's Ctrl-C reaches only this program, which then stops it.
        .stderr(Stdio::inherit())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Reads one run of the segmenter to its end, publishing what it makes.
async fn follow(mut child: Child, run: &mut Run, live: &Live, producer: &mut Producer) -> Stopped {
    let Some(mut output) = child.stdout.take() else {
        return Stopped::Crashed {
            status: "it has no output".into(),
        };
    };
    let mut stopped = loop {
        match run.next(&mut output).await {
            Ok(Some(frame)) => {
                if let Err(stopped) = run.take(frame, live, producer) {
                    break stopped;
                }
            }
            Ok(None) => {
                break Stopped::Crashed {
                    status: String::new(),
                };
            }
            Err(stopped) => break stopped,
        }
    };
    // It is gone or of no use; either way nothing of it may be left.
    let _ = child.start_kill();
    if let (Stopped::Crashed { status }, Ok(exit)) = (&mut stopped, child.wait().await) {
        *status = exit.to_string();
    }
    stopped
}

/// One run of the segmenter: where it stands on the stream's timeline.
struct Run {
    epoch: Epoch,
    /// Which run of the stream's segmenter this is, and what holds in it.
    number: u64,
    alerts: Alerts,
    /// The last segment of the run before.
    last: Option<Arc<Segment>>,
    /// Media time of its first frame.
    origin: MediaTime,
    /// Discontinuity sequence number of its segments.
    timeline: u64,
    input: BytesMut,
    hello: Option<Hello>,
    /// Init segments until all have come.
    inits: Vec<Bytes>,
    init: Option<Arc<Init>>,
    /// The number of its segment 0, and when that was live; known from its first part on.
    base: Option<(u64, WallTime)>,
    /// Shares of the part that is being gathered, cheapest rung first, renditions last.
    shares: Vec<Bytes>,
    /// How many of those, from the first on, start with a key frame.
    open: usize,
    /// Pictures of segments that are not complete, and which segment of the run each is of.
    stills: Vec<(u64, Still)>,
    /// The first number that no programme before this one has had, if there was one.
    anew: Option<u64>,
    /// What is to be told with the next part.
    marks: Vec<wire::Mark>,
    /// The last word of the source's clock, until it is taken in.
    clock: Option<wire::Clock>,
    dates: Dates,
    /// How far media time has gone, as the time of day that it stands for.
    covered: Option<WallTime>,
}

impl Run {
    /// `covered` is what the run before this one covered, if there was one since this node started.
    fn begin(
        producer: &Producer,
        epoch_before: Epoch,
        number: u64,
        covered: Option<WallTime>,
        dates: Dates,
    ) -> Self {
        let now = clock::wall();
        let epoch = Epoch((now.millis().max(0) as u64).max(epoch_before.0 + 1));
        let before = producer.window();
        let last = before.and_then(Window::last_complete).cloned();
        // What follows a programme that has ended is another one, and has nothing in common with it but the name.
        let ended = before.is_some_and(Window::has_ended);
        let anew = last
            .as_ref()
            .filter(|_| ended)
            .map(|last| last.number() + 1);
        let last = last.filter(|_| !ended);
        // Media time goes on from where the last run ended, or from the clock if that is later,
        // so that `tfdt` never steps back, not even over a restart of this node.
        let told = last
            .as_ref()
            .map(|last| last.head.date_time.later(last.duration()));
        let origin = covered.or(told).map_or(now, |covered| covered.max(now));
        Self {
            epoch,
            number,
            alerts: Alerts::default(),
            origin: MediaTime::from_ticks(origin.millis() - MEDIA_ZERO, 1000),
            // Small numbers: hls.js counts up to them with every segment. After a restart of this
            // node media time goes on from the clock, so that there is a gap, but no break.
            timeline: last.as_ref().map_or(0, |last| last.head.timeline + 1),
            last,
            input: BytesMut::new(),
            hello: None,
            inits: Vec::new(),
            init: None,
            base: None,
            shares: Vec::new(),
            open: 0,
            stills: Vec::new(),
            anew,
            marks: Vec::new(),
            clock: None,
            dates,
            covered: None,
        }
    }

    async fn next(
        &mut self,
        output: &mut (impl AsyncRead + Unpin),
    ) -> Result<Option<Frame>, Stopped> {
        loop {
            if let Some(frame) = Frame::decode(&mut self.input)? {
                return Ok(Some(frame));
            }
            self.input.reserve(READ);
            let read = output.read_buf(&mut self.input);
            let octets = tokio::time::timeout(SILENCE, read)
                .await
                .map_err(|_| Stopped::Silent)??;
            if octets == 0 {
                return Ok(None);
            }
        }
    }

    fn take(&mut self, frame: Frame, live: &Live, producer: &mut Producer) -> Result<(), Stopped> {
        match frame {
            Frame::Hello(hello) => {
                let (stream, rungs) = (producer.name(), hello.ladder.rungs().len());
                tracing::info!(%stream, input = %hello.input, rungs, top = %hello.ladder.top().name, "on air");
                if self.anew.is_some() {
                    producer.clear();
                }
                producer.begin(format(&hello, live.listed));
                self.hello = Some(hello);
            }
            Frame::Init(media) => self.init(media)?,
            Frame::Part(part) => self.part(part, producer)?,
            Frame::Captions(closed) => producer.declare(closed),
            // They are told at the next part.
            Frame::Mark(mark) if self.marks.len() < MOST_MARKS => self.marks.push(mark),
            Frame::Mark(_) => {}
            Frame::Clock(clock) => self.clock = Some(clock),
            // What is more than a segment ever has is nobody's.
            Frame::Still { segment, still } if self.stills.len() < MOST_STILLS => {
                self.stills.push((segment, still));
            }
            Frame::Still { .. } => {}
            Frame::Health(health) => {
                tracing::debug!(stream = %producer.name(), ?health, "segmenter");
                self.alerts.hear(producer.name(), &health);
                producer.report(Intake {
                    runs: self.number,
                    health: Some(health),
                });
            }
            Frame::End(wire::End { error: None, .. }) => return Err(Stopped::Input),
            Frame::End(wire::End {
                error: Some(why),
                fatal,
            }) => return Err(Stopped::Failed { why, fatal }),
        }
        Ok(())
    }

    /// Gathers the init segments: the rungs' one, then the renditions'.
    fn init(&mut self, media: Bytes) -> Result<(), Stopped> {
        let all = self
            .hello
            .as_ref()
            .map_or(0, |hello| 1 + hello.renditions.others.len());
        if self.inits.len() >= all {
            return Err(Stopped::Order {
                found: "init",
                expected: if all == 0 { "hello" } else { "part" }.into(),
            });
        }
        self.inits.push(media);
        if self.inits.len() == all {
            let renditions = self.inits.split_off(1);
            let media = self.inits.remove(0);
            self.init = Some(self.shared_init(media, renditions));
        }
        Ok(())
    }

    /// Gathers the shares of a part, and publishes it with the last.
    fn part(&mut self, part: wire::Part, producer: &mut Producer) -> Result<(), Stopped> {
        let order = |found, expected: &str| Stopped::Order {
            found,
            expected: expected.to_owned(),
        };
        let hello = self.hello.as_ref().ok_or_else(|| order("part", "hello"))?;
        let init = self.init.as_ref().ok_or_else(|| order("part", "init"))?;
        let (rungs, all) = (hello.ladder.rungs().len(), hello.shares());
        if usize::from(part.rung) != self.shares.len() {
            return Err(order(
                "part",
                &format!("rung {} of its part", self.shares.len()),
            ));
        }
        if self.shares.len() == self.open && self.open < rungs && part.independent {
            self.open += 1;
        }
        self.shares.push(part.media);
        if self.shares.len() < all {
            return Ok(());
        }
        if part.index == 0 {
            let length = hello.shortest;
            let (number, live_at) = *self.base.get_or_insert_with(|| {
                let live_at = clock::wall().later(MediaTime::ZERO - part.duration);
                let number = first_number(self.last.as_deref(), length, live_at);
                (number.max(self.anew.unwrap_or(0)), live_at)
            });
            let own = |time: MediaTime| live_at.later(time - self.origin);
            if let Some(clock) = self.clock.take() {
                log(producer.name(), self.dates.hear(own(clock.at), clock.utc));
            }
            let follows = part.segment == 0;
            let before = self.last.as_ref().filter(|_| follows);
            let floor = before.map(|last| last.head.date_time.later(last.duration()));
            producer.open(Head {
                number: number + part.segment,
                epoch: self.epoch,
                init: init.clone(),
                discontinuity: before.is_some(),
                timeline: self.timeline,
                date_time: self.dates.open(own(part.start), floor),
            })?;
        }
        if let Some((_, live_at)) = self.base {
            for mark in std::mem::take(&mut self.marks) {
                let date = |time| self.dates.at(live_at.later(time - self.origin));
                producer.mark(range(mark, date))?;
            }
        }
        self.covered = Some(WallTime::from_millis(MEDIA_ZERO).later(part.start + part.duration));
        let mut media = std::mem::take(&mut self.shares);
        let renditions = media.split_off(rungs);
        if part.last {
            let stills = std::mem::take(&mut self.stills).into_iter();
            let (own, later): (Vec<_>, Vec<_>) = stills
                .filter(|(segment, _)| *segment >= part.segment)
                .partition(|(segment, _)| *segment == part.segment);
            self.stills = later;
            producer.illustrate(own.into_iter().map(|(_, still)| still).collect())?;
        }
        producer.push(
            Part {
                duration: part.duration,
                open: std::mem::take(&mut self.open),
                media,
                renditions,
            },
            part.last,
        )?;
        Ok(())
    }

    /// The init of the run before, if this one's is the same to the letter: then players are told
    /// of no new `EXT-X-MAP`, which VLC and ffmpeg would not survive.
    fn shared_init(&self, media: Bytes, renditions: Vec<Bytes>) -> Arc<Init> {
        match self.last.as_ref().map(|last| &last.head.init) {
            Some(init) if init.media == media && init.renditions == renditions => init.clone(),
            _ => Arc::new(Init {
                epoch: self.epoch,
                media,
                renditions,
            }),
        }
    }
}

/// What is new of the source's clock.
fn log(stream: &StreamName, news: Option<News>) {
    match news {
        Some(News::Found { ahead_ms }) => {
            tracing::info!(%stream, ahead_ms, "the source has a clock; dates in playlists are by it");
        }
        Some(News::Jumped { by_ms }) => {
            tracing::warn!(%stream, by_ms, "the source's clock was set; dates follow, and never step back");
        }
        None => {}
    }
}

/// `mark` with dates instead of times.
fn range(mark: wire::Mark, date: impl Fn(MediaTime) -> WallTime) -> DateRange {
    DateRange {
        id: mark.id,
        class: mark.class,
        start: date(mark.start),
        end: mark.end.map(date),
        duration: mark.duration,
        planned: mark.planned,
        others: mark.others,
    }
}

fn format(hello: &Hello, listed: usize) -> Format {
    Format {
        ladder: hello.ladder.clone(),
        renditions: hello.renditions.clone(),
        segment: hello.segment,
        part: hello.part,
        listed,
    }
}

/// Goes on from the last segment; a stream that is new to this node starts where it would be
/// had it run for ever.
fn first_number(last: Option<&Segment>, length: MediaTime, live_at: WallTime) -> u64 {
    let length = (length.seconds() * 1000.0).max(1.0) as i64;
    last.map_or((live_at.millis() / length).max(1) as u64, |last| {
        last.number() + 1
    })
}

/// Media time 0 is the start of 2026: small enough for every player's arithmetic, for decades.
const MEDIA_ZERO: i64 = 1_767_225_600_000;

/// The segmenter reports its health every second, so this long a silence is a hang.
const SILENCE: Duration = Duration::from_secs(20);

const BACK_OFF_MIN: Duration = Duration::from_millis(250);
const BACK_OFF_MAX: Duration = Duration::from_secs(10);

/// A run this long ends the back-off.
const HEALTHY: Duration = Duration::from_secs(30);

const READ: usize = 256 * 1024;

/// What is said between one part and the next.
const MOST_MARKS: usize = 64;

/// A segment has some sizes of picture, each in two codings.
const MOST_STILLS: usize = 32;
