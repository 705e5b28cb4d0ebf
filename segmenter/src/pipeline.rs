//! One run: decode once, bring to a constant rate, hand to the ladder, and cut where the grid says, as soon as the
//! sound for it is there.

use std::{
    sync::{Arc, atomic::Ordering, mpsc::SyncSender},
    thread,
    time::{Duration, Instant},
};

use playlists::MediaTime;
use segmenter::{
    Grid,
    cutter::{AAC_FRAME, SAMPLE_RATE},
    wire::{Frame, Hello},
};

use crate::{
    beside::{self, Beside, Voice},
    cadence::{Cadence, whole_rate},
    captions::Cue,
    config::{Config, Pacing},
    crew::{Crew, hello, open_rungs},
    error::Error,
    ladder,
    libav::{self, About, Event, Look, Picture, Samples, Shaper, Source},
    rung::{Made, Starts, Work},
    writer::{Progress, Stdout, Writer},
};

/// Plays `config`'s input to its end.
pub(crate) fn run(config: &Config) -> Result<Stdout, Error> {
    let (mut source, about) = Source::open(config)?;
    let mut early = Vec::new();
    let (first, at) = loop {
        match source.next()? {
            Event::Picture(picture, time) => break (picture, time),
            Event::Sound {
                track,
                samples,
                time,
            } => early.push((track, samples, time)),
            Event::Cue { .. } => {}
            Event::Restart | Event::End => {
                return Err(Error::NoPicture {
                    input: config.input.clone(),
                    codec: "encoded".into(),
                });
            }
        }
        if early.len() > EARLY {
            early.remove(0);
        }
    };
    let (mut pipeline, crew) = Pipeline::start(config, &about, &first)?;
    let outcome = pipeline.play(&mut source, early, (first, at));
    drop(pipeline);
    crew.join(outcome)
}

struct Pipeline {
    grid: Grid,
    cadence: Cadence,
    shaper: Shaper,
    /// The main one first.
    voices: Vec<Voice>,
    beside: Beside,
    patience: MediaTime,
    top: SyncSender<Work>,
    made: SyncSender<Made>,
    progress: Arc<Progress>,
    pace: Option<Pace>,
    /// The newest picture: shown until the next one comes, shaped when it is first shown.
    held: Option<Held>,
    /// Sound of which it is not known yet when it sounds. Bounded by `EARLY`.
    unplaced: Vec<Heard>,
    /// Pictures given to the ladder, and parts cut.
    pictures: u64,
    parts: u64,
    /// Pictures after which the run ends.
    limit: u64,
}

enum Held {
    Raw(Picture),
    Shaped(Picture),
}

impl Pipeline {
    /// Opens everything, tells the reader what will come, and sets the crew to work.
    fn start(config: &Config, about: &About, first: &Picture) -> Result<(Self, Crew), Error> {
        let look = Look::of(first, about.turns);
        let fps = config
            .fps
            .unwrap_or_else(|| whole_rate(about.rate, config.max_fps));
        let grid = Grid::new(fps, config.segment(), config.part());
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let plans = ladder::plan(look.size, fps, cores, &config.rungs);
        let voices = beside::voices(config, about)?;
        let sound = (!beside::apart(&voices)).then_some(&voices[MAIN].sound);
        let rungs = open_rungs(config, &grid, look, &plans, sound)?;
        let beside = Beside::open(config, about, &voices, rungs.len())?;

        let mut stdout = Stdout::open()?;
        let hello = hello(config, about, &grid, &rungs, beside.renditions.clone())?;
        announce(config, about, &grid, &hello);
        stdout.write(&Frame::Hello(hello))?;
        stdout.write(&Frame::Init(rungs[rungs.len() - 1].init.clone()))?;
        for init in &beside.inits {
            stdout.write(&Frame::Init(init.clone()))?;
        }

        let progress = Arc::new(Progress::default());
        let writer = Writer::new(
            stdout,
            grid,
            config.origin(),
            rungs.len() + beside.inits.len(),
            Arc::clone(&progress),
        );
        let top_size = rungs[rungs.len() - 1].plan.size;
        let (top, made, crew) = Crew::start(rungs, config.open_rungs, writer)?;
        let paced = match config.pace {
            Pacing::Auto => about.unpaced,
            Pacing::On => true,
            Pacing::Off => false,
        };
        let limit = config.duration.map_or(u64::MAX, |seconds| {
            (seconds * f64::from(fps)).ceil().max(1.0) as u64
        });
        let pipeline = Self {
            grid,
            cadence: Cadence::new(grid),
            shaper: Shaper::new(look, top_size),
            voices,
            beside,
            patience: about.patience,
            top,
            made,
            progress,
            pace: paced.then(Pace::default),
            held: None,
            unplaced: Vec::new(),
            pictures: 0,
            parts: 0,
            limit,
        };
        Ok((pipeline, crew))
    }

    fn play(
        &mut self,
        source: &mut Source,
        early: Vec<Heard>,
        first: (Picture, MediaTime),
    ) -> Result<(), Error> {
        self.unplaced = early;
        self.picture(first.0, first.1)?;
        while self.pictures < self.limit {
            let waited = source.waited();
            let event = source.next();
            self.idle(source.waited() - waited);
            match event {
                Err(why) => {
                    // What came before it is not lost.
                    self.show(1)?;
                    self.finish()?;
                    return Err(why);
                }
                Ok(Event::Picture(picture, time)) => self.picture(picture, time)?,
                Ok(Event::Sound {
                    track,
                    samples,
                    time,
                }) => self.sound((track, samples, time))?,
                Ok(Event::Cue { track, cue }) => self.cue(track, cue),
                Ok(Event::Restart) => {
                    self.outlast()?;
                    self.cadence.restart();
                }
                Ok(Event::End) => {
                    self.outlast()?;
                    self.show(1)?;
                    break;
                }
            }
            self.progress
                .dropped
                .store(self.cadence.dropped, Ordering::Relaxed);
            self.progress
                .repeated
                .store(self.cadence.repeated, Ordering::Relaxed);
            if self.pictures < self.limit {
                self.cut_ready()?;
            }
        }
        self.finish()
    }

    fn picture(&mut self, picture: Picture, time: MediaTime) -> Result<(), Error> {
        let times = self.cadence.arrive(time);
        self.show(times)?;
        self.held = Some(Held::Raw(picture));
        for heard in std::mem::take(&mut self.unplaced) {
            self.sound(heard)?;
        }
        Ok(())
    }

    fn sound(&mut self, (track, mut samples, time): Heard) -> Result<(), Error> {
        let Some(at) = self.cadence.run_time(time) else {
            if self.unplaced.len() == EARLY {
                self.unplaced.remove(0);
            }
            self.unplaced.push((track, samples, time));
            return Ok(());
        };
        let Some(voice) = self.voices.get_mut(track) else {
            return Ok(());
        };
        if voice.sound.place(&mut samples, at)? && voice.missing {
            tracing::info!(track, at = %voice.sound.until(), "the sound is back");
            voice.missing = false;
        }
        if track != MAIN {
            return Ok(());
        }
        // The pictures have stopped while the sound goes on: the last one stays on the screen.
        let shown = self.grid.time(self.pictures);
        let until = self.voices[MAIN].sound.until();
        if until - shown > self.patience {
            let times = self.cadence.fill(until - self.patience);
            self.show(times)?;
        }
        Ok(())
    }

    /// The input is over: where its sound goes on for longer than its pictures, the last one stays until then.
    fn outlast(&mut self) -> Result<(), Error> {
        let Some(main) = self.voices.first().filter(|voice| !voice.missing) else {
            return Ok(());
        };
        // One picture is held, and comes yet.
        let until = main.sound.until() - self.grid.time(1);
        if until - self.grid.time(self.pictures) < OVERHANG {
            return Ok(());
        }
        let times = self.cadence.fill(until);
        self.show(times)
    }

    /// A cue whose place is not known yet would be of a picture that nobody saw.
    fn cue(&mut self, track: usize, cue: Cue) {
        let place = |time| self.cadence.run_time(time);
        if let (Some(start), Some(end)) = (place(cue.start), place(cue.end)) {
            self.beside.cue(track, Cue { start, end, ..cue });
        }
    }

    /// Gives the held picture to the ladder, `times` times.
    fn show(&mut self, times: u64) -> Result<(), Error> {
        for _ in 0..times.min(self.limit - self.pictures) {
            let picture = match self.held.take() {
                Some(Held::Shaped(picture)) => Some(picture),
                Some(Held::Raw(raw)) => self.shaper.shape(&raw)?,
                None => None,
            };
            // A deinterlacer needs a second picture before it gives the first.
            let Some(picture) = picture else {
                return Ok(());
            };
            let frame = self.pictures;
            if let Some(pace) = &mut self.pace {
                let slept = pace.wait(self.grid.time(frame).duration());
                self.idle(slept);
            }
            let shared = libav::share(&picture).map_err(|why| Error::Libav {
                doing: "sharing a picture".into(),
                why: why.to_string(),
            })?;
            self.held = Some(Held::Shaped(picture));
            self.give(Work::Picture {
                frame,
                starts: if self.grid.starts_segment(frame) {
                    Starts::Segment
                } else if self.grid.starts_part(frame) {
                    Starts::Part
                } else {
                    Starts::Nothing
                },
                picture: shared,
            })?;
            self.pictures += 1;
            self.progress
                .pictures
                .store(self.pictures, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Cuts every part whose pictures and sound are complete, making up the sound where it has not come in time.
    fn cut_ready(&mut self) -> Result<(), Error> {
        loop {
            let span = self.grid.span(self.parts);
            if span.end_frame() > self.pictures {
                return Ok(());
            }
            let end = self.grid.sample(span.end_frame());
            let shown = self.grid.time(self.pictures);
            for (track, voice) in self.voices.iter_mut().enumerate() {
                if shown - voice.sound.until() > self.patience && !voice.missing {
                    tracing::warn!(track, at = %voice.sound.until(), "the sound has stopped; silence stands in for it");
                    voice.missing = true;
                }
                if !voice.sound.reaches(end) && voice.missing {
                    voice.sound.fill(self.grid.time(span.end_frame()))?;
                }
            }
            if !self.voices.iter().all(|voice| voice.sound.reaches(end)) {
                return Ok(());
            }
            self.cut(span)?;
        }
    }

    /// The run ends with the pictures there are: cuts what is left, sound made up to their end.
    fn finish(&mut self) -> Result<(), Error> {
        loop {
            let span = self.grid.span(self.parts);
            if span.first_frame >= self.pictures {
                return Ok(());
            }
            let ends_here = span.end_frame() >= self.pictures;
            let span = if ends_here {
                span.ending_at(self.pictures)
            } else {
                span
            };
            for voice in &mut self.voices {
                if !voice.sound.reaches(self.grid.sample(span.end_frame())) {
                    voice.sound.fill(self.grid.time(span.end_frame()))?;
                }
            }
            self.cut(span)?;
        }
    }

    fn cut(&mut self, span: segmenter::cutter::Span) -> Result<(), Error> {
        let end = self.grid.sample(span.end_frame());
        let sound = match beside::apart(&self.voices) {
            true => Vec::new(),
            false => self.voices[MAIN].sound.take(end),
        };
        let sound = Arc::new(sound);
        self.parts += 1;
        self.give(Work::Cut { span, sound })?;
        if self
            .beside
            .cut(span, &self.grid, &mut self.voices, &self.made)?
        {
            Ok(())
        } else {
            Err(Error::Panicked {
                who: "the writer".into(),
            })
        }
    }

    fn give(&self, work: Work) -> Result<(), Error> {
        // Whoever stopped taking says why when the crew is joined.
        self.top.send(work).map_err(|_| Error::Panicked {
            who: "the ladder".into(),
        })
    }

    fn idle(&self, span: Duration) {
        self.progress
            .idle
            .fetch_add(span.as_micros() as u64, Ordering::Relaxed);
    }
}

/// Holds pictures back until their time comes. Late ones are not held back, so that what was lost is caught up.
#[derive(Debug, Default)]
struct Pace(Option<Instant>);

impl Pace {
    fn wait(&mut self, media: Duration) -> Duration {
        let start = *self.0.get_or_insert_with(Instant::now);
        let ahead = (start + media).saturating_duration_since(Instant::now());
        thread::sleep(ahead);
        ahead
    }
}

fn announce(config: &Config, about: &About, grid: &Grid, hello: &Hello) {
    let ladder: Vec<_> = hello
        .ladder
        .rungs()
        .iter()
        .map(|rung| format!("{} {}", rung.name, rung.average))
        .collect();
    let (segment, part) = (grid.segment(), grid.part());
    tracing::info!(input = %about.description, fps = grid.fps(), %segment, %part, ladder = ladder.join(", "), "segmenting");
    for rendition in &hello.renditions.others {
        tracing::info!(name = %rendition.name, label = rendition.track.label, "rendition");
    }
    if about.sounds.is_empty() {
        tracing::info!(input = %config.input, "there is no sound in it; every stream has sound, so this one gets silence");
    }
    let samples = u64::from(grid.segment_frames()) * u64::from(SAMPLE_RATE);
    if samples % (u64::from(grid.fps()) * u64::from(AAC_FRAME)) != 0 {
        tracing::debug!(fps = grid.fps(), %segment, "segments are not whole in AAC frames at this rate and length");
    }
}

/// Decoded sound, its track, and when it sounds by the input's clock.
type Heard = (usize, Samples, MediaTime);

/// The track of sound that goes with the pictures.
const MAIN: usize = 0;

/// So much sound after the last picture is only a codec's padding.
const OVERHANG: MediaTime = MediaTime::from_flicks(MediaTime::PER_SECOND / 5);

/// Sound frames kept while waiting for the first picture; the oldest go first.
const EARLY: usize = 512;
