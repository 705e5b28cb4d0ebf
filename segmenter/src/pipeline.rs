//! The run's timeline: pictures brought to a constant rate and handed to the ladder, sound placed beside them, and both cut
//! where the grid says, as soon as they are there.
//!
//! One timeline for whoever is on the air, which is `playout`'s business: times go on over every change.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{SyncSender, sync_channel},
    },
};

use playlists::{MediaTime, WallTime};
use segmenter::{
    Grid,
    cutter::{AAC_FRAME, Begins, Cutter, Key, SAMPLE_RATE, Span},
    wire::{Clock, Frame, Hello},
};

use crate::{
    a53::Ferry,
    beside::{self, Beside, Voice},
    cadence::{Cadence, whole_rate},
    captions::Cue,
    clock::Reading,
    config::{Captions, Config, Pacing},
    crew::{self, Crew, hello, open_ladder},
    error::Error,
    ladder,
    libav::{self, About, Coded, Look, Original, Picture, Samples, Shaper},
    likeness::Likeness,
    marks::{Marks, Note},
    overload::Overload,
    rung::{Made, Work},
    stills::{self, Stills},
    through::Through,
    writer::{Asides, Progress, Stdout, Told, Writer},
};

pub(crate) struct Pipeline {
    grid: Grid,
    cadence: Cadence,
    cutter: Cutter,
    shaper: Shaper,
    /// The main one first.
    voices: Vec<Voice>,
    beside: Beside,
    through: Option<Through>,
    /// The pictures of who is on the air are passed on.
    passes: bool,
    /// Source's time of the picture that is held, if it is a key frame that has not been shown.
    key: Option<MediaTime>,
    /// What was passed on has stopped in the middle of a segment, which ends with it.
    lost: bool,
    patience: MediaTime,
    top: SyncSender<Work>,
    made: SyncSender<Made>,
    progress: Arc<Progress>,
    stills: Option<Stills>,
    /// The newest picture: shown until the next one comes, shaped when it is first shown.
    held: Option<Held>,
    /// The last picture that was shown.
    shown: Option<Picture>,
    /// Closed captions of pictures that came; `None` if there are to be none.
    ferry: Option<Ferry>,
    /// Quarter turns to the right until the pictures of who is on the air are upright, before its first one.
    turns: Option<u8>,
    /// Who is on the air has sound, and so far it was heard.
    has_sound: bool,
    heard: MediaTime,
    marks: Marks,
    /// To the writer: what is said beside the parts.
    told: SyncSender<Frame>,
    /// Media time of the run's beginning.
    origin: MediaTime,
    /// Sound of which it is not known yet when it sounds. Bounded by `EARLY`.
    unplaced: Vec<Heard>,
    /// How many rungs, the cheapest, are encoded in each segment that is not cut yet.
    encoded: VecDeque<(u64, usize)>,
    /// Pictures given to the ladder.
    pictures: u64,
    /// Pictures after which the run ends.
    limit: u64,
}

enum Held {
    Raw(Picture),
    Shaped(Picture),
}

impl Pipeline {
    /// Opens everything, tells the reader what will come, and sets the crew to work. `look` is that of the first picture.
    pub(crate) fn start(
        config: &Config,
        about: &About,
        look: Look,
        progress: Arc<Progress>,
    ) -> Result<(Self, Crew), Error> {
        let original = original(config, about);
        // What is passed on has the rate that it has, and nothing is left out of it.
        let most = original.map_or(config.max_fps, |_| ladder::FASTEST);
        let fps = config.fps.unwrap_or_else(|| whole_rate(about.rate, most));
        let grid = match original {
            Some(_) => Grid::following(fps, config.segment(), config.part()),
            None => Grid::new(fps, config.segment(), config.part()),
        };
        let cutter = Cutter::new(grid);
        let plans = ladder::plan(look.size, fps, crew::cores(), &config.rungs);
        let voices = beside::voices(config, about)?;
        let sound = (!beside::apart(&voices)).then_some(&voices[MAIN].sound);
        let (rungs, through) = open_ladder(config, &grid, look, plans, sound, original)?;
        let made = rungs.len() + usize::from(through.is_some());
        let beside = Beside::open(config, about, &voices, made)?;

        let mut stdout = Stdout::open()?;
        let likeness = Likeness::of(look, fps, about);
        let published = rungs.iter().map(|rung| &rung.published);
        let published = published.chain(through.iter().map(|opened| &opened.published));
        let hello = hello(
            about,
            &likeness,
            &grid,
            published.cloned().collect(),
            beside.renditions.clone(),
            original.is_some(),
        )?;
        announce(config, about, &grid, &hello);
        stdout.write(&Frame::Hello(hello))?;
        let top = &rungs[rungs.len() - 1];
        let init = through.as_ref().map_or(&top.init, |opened| &opened.init);
        stdout.write(&Frame::Init(init.clone()))?;
        for init in &beside.inits {
            stdout.write(&Frame::Init(init.clone()))?;
        }

        let top_size = rungs[rungs.len() - 1].plan.size;
        let stills = stills::start(config, &grid, look, top_size, &progress)?;
        let (stills, pictured) = stills.unzip();
        // What need not be in time may take its time.
        let least = match config.pace {
            Pacing::Off => rungs.len(),
            Pacing::Auto | Pacing::On => 1,
        };
        let overload = Overload::new(rungs.len(), least);
        let (told, asides) = sync_channel(ASIDES);
        let writer = Writer::new(
            stdout,
            grid,
            config.origin(),
            made + beside.inits.len(),
            overload,
            Arc::clone(&progress),
            Asides {
                stills: pictured,
                captions: Told::new(&config.captions),
                told: asides,
            },
        );
        let (top, made, crew) = Crew::start(rungs, config.open_rungs, writer)?;
        let limit = config.duration.map_or(u64::MAX, |seconds| {
            (seconds * f64::from(fps)).ceil().max(1.0) as u64
        });
        let pipeline = Self {
            grid,
            cadence: Cadence::new(grid),
            cutter,
            shaper: Shaper::new(look, top_size),
            voices,
            beside,
            through: through.map(|opened| opened.through),
            passes: false,
            key: None,
            lost: false,
            patience: about.patience,
            top,
            made,
            progress,
            stills,
            held: None,
            shown: None,
            marks: Marks::new(config.origin()),
            told,
            origin: config.origin(),
            ferry: (config.captions != Captions::None).then(Ferry::default),
            turns: None,
            has_sound: false,
            heard: MediaTime::ZERO,
            unplaced: Vec::new(),
            encoded: VecDeque::new(),
            pictures: 0,
            limit,
        };
        Ok((pipeline, crew))
    }

    /// All that was wanted is shown.
    pub(crate) fn is_over(&self) -> bool {
        self.pictures >= self.limit
    }

    /// Run time of the newest picture.
    pub(crate) fn newest(&self) -> MediaTime {
        self.cadence.held_time()
    }

    /// The segment that the next picture will be in.
    pub(crate) fn next_segment(&self) -> u64 {
        self.cutter.segment_of(self.pictures + 1)
    }

    /// From one picture to the next.
    pub(crate) fn step(&self) -> MediaTime {
        self.grid.time(1)
    }

    /// Who is on the air first, and what came before its first picture.
    pub(crate) fn first(&mut self, about: &About, early: Vec<Heard>, coded: Vec<Coded>) {
        self.has_sound = !about.sounds.is_empty();
        self.turns = Some(about.turns);
        self.unplaced = early;
        self.take_on(about);
        coded.into_iter().for_each(|coded| self.coded(coded));
    }

    /// Whether the pictures of who has the air now are passed on.
    fn take_on(&mut self, about: &About) {
        self.key = None;
        self.lost |= std::mem::take(&mut self.passes);
        if let (Some(through), Some(Ok(original))) = (&mut self.through, &about.original) {
            through.switch();
            self.passes = through.takes(&original.sets);
        }
    }

    /// Pictures and sound come from elsewhere from now on: the next picture follows the last one. No sound is waited for
    /// before it comes.
    pub(crate) fn switch(&mut self, about: &About) {
        self.reset(None, self.cadence.offset());
        self.cadence.restart();
        self.unplaced.clear();
        (self.turns, self.patience) = (Some(about.turns), about.patience);
        self.has_sound = !about.sounds.is_empty();
        self.heard = self.newest();
        self.take_on(about);
        for voice in &mut self.voices {
            voice.sound.switch();
            voice.missing = true;
        }
    }

    /// The clock of who is on the air starts over.
    pub(crate) fn restart(&mut self) -> Result<(), Error> {
        self.outlast()?;
        self.reset(None, self.cadence.offset());
        self.cadence.restart();
        Ok(())
    }

    /// A picture before it is decoded.
    pub(crate) fn coded(&mut self, coded: Coded) {
        if let Some(through) = self.through.as_mut().filter(|_| self.passes) {
            through.put(coded);
        }
    }

    pub(crate) fn picture(&mut self, picture: Picture, time: MediaTime) -> Result<(), Error> {
        let before = self.cadence.offset();
        let times = self.cadence.arrive(time);
        if before.is_some() && before != self.cadence.offset() {
            self.reset(Some(time), before);
        }
        self.show(times)?;
        self.hold(picture)?;
        // Where two pictures fall into one slot the later one is seen, and begins what the earlier one would have begun.
        if let Some(through) = self.through.as_ref().filter(|_| self.passes)
            && through.is_key(time)
        {
            self.key = Some(time);
        }
        for heard in std::mem::take(&mut self.unplaced) {
            self.sound(heard)?;
        }
        Ok(())
    }

    /// The clock of who is on the air does not go on as it did.
    fn reset(&mut self, time: Option<MediaTime>, before: Option<MediaTime>) {
        if let Some(through) = &mut self.through {
            through.reset(time, before);
        }
    }

    /// A picture without a clock, in the next slot; without one, the last goes on.
    pub(crate) fn stand_in(&mut self, picture: Option<Picture>) -> Result<(), Error> {
        let times = self.cadence.follow();
        self.show(times)?;
        if let Some(picture) = picture {
            self.hold(picture)?;
        }
        Ok(())
    }

    /// No picture comes: the last one stands up to run time `until`, in silence if no sound comes either.
    pub(crate) fn freeze(&mut self, until: MediaTime) -> Result<(), Error> {
        for voice in &mut self.voices {
            voice.missing |= until - voice.sound.until() > STALE;
        }
        self.fill(until)
    }

    /// The last picture stands up to run time `until`. There is nothing then that could be passed on.
    fn fill(&mut self, until: MediaTime) -> Result<(), Error> {
        let times = self.cadence.fill(until);
        self.lost |= self.passes && times > 0;
        self.show(times)
    }

    fn hold(&mut self, mut picture: Picture) -> Result<(), Error> {
        if let Some(turns) = self.turns.take() {
            self.shaper.switch(Look::of(&picture, turns));
        }
        self.captions(&mut picture)?;
        self.held = Some(Held::Raw(picture));
        Ok(())
    }

    /// Takes the captions off a picture that came: when they are shown does not hang on whether it is.
    fn captions(&mut self, picture: &mut Picture) -> Result<(), Error> {
        let Some(captions) = libav::captions(picture) else {
            return Ok(());
        };
        libav::caption(picture, &[]).map_err(captioning)?;
        if let Some(ferry) = &mut self.ferry {
            ferry.put(&captions);
            self.progress
                .captions
                .store(ferry.seen().0, Ordering::Relaxed);
        }
        Ok(())
    }

    pub(crate) fn sound(&mut self, (track, mut samples, time): Heard) -> Result<(), Error> {
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
        if voice.sound.place(&mut samples, at)? {
            if track == MAIN {
                self.heard = voice.sound.until();
            }
            voice.missing = false;
        }
        if track != MAIN {
            return Ok(());
        }
        // The pictures have stopped while the sound goes on: the last one stays on the screen.
        let shown = self.grid.time(self.pictures);
        let until = self.voices[MAIN].sound.until();
        if until - shown > self.patience {
            self.fill(until - self.patience)?;
        }
        Ok(())
    }

    /// The input is over: where its sound goes on for longer than its pictures, the last one stays until then.
    pub(crate) fn outlast(&mut self) -> Result<(), Error> {
        let Some(main) = self.voices.first().filter(|voice| !voice.missing) else {
            return Ok(());
        };
        // One picture is held, and comes yet.
        let until = main.sound.until() - self.grid.time(1);
        if until - self.grid.time(self.pictures) < OVERHANG {
            return Ok(());
        }
        self.fill(until)
    }

    /// A cue whose place is not known yet would be of a picture that nobody saw.
    pub(crate) fn cue(&mut self, track: usize, cue: Cue) {
        let place = |time| self.cadence.run_time(time);
        if let (Some(start), Some(end)) = (place(cue.start), place(cue.end)) {
            self.beside.cue(track, Cue { start, end, ..cue });
        }
    }

    /// What cannot be read, or comes in a flood, is left out; the pictures go on.
    pub(crate) fn note(&mut self, note: &Note) {
        let Some(at) = self.cadence.run_time(note.time) else {
            return;
        };
        let marks = self.marks.read(note, at).unwrap_or_else(|why| {
            tracing::warn!(kind = ?note.kind, why, "left out what is said beside the pictures");
            Vec::new()
        });
        for mark in marks {
            tracing::info!(id = mark.id, start = %mark.start, "told of a moment or a span");
            if self.told.try_send(Frame::Mark(mark)).is_err() {
                tracing::warn!("too much is said beside the pictures; left out");
            }
        }
    }

    /// What the clock of who is on the air says. Before its first picture nobody knows what time of the run that is, and it says
    /// so again soon; so it does where the writer has no room.
    pub(crate) fn clock(&mut self, reading: Reading) {
        if let Some(at) = self.cadence.run_time(reading.time) {
            let clock = Clock {
                at: self.origin + at,
                utc: WallTime::from_millis(reading.utc / 1000),
            };
            let _ = self.told.try_send(Frame::Clock(clock));
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
            // A deinterlacer needs a second picture before it gives the first; the one before it stands meanwhile.
            let Some(picture) = picture.or_else(|| self.shown.take()) else {
                return Ok(());
            };
            let frame = self.pictures;
            let mut shared = share(&picture)?;
            self.shown = Some(share(&picture)?);
            if let Some(captions) = self.ferry.as_mut().and_then(Ferry::take) {
                libav::caption(&mut shared, &captions).map_err(captioning)?;
            }
            self.held = Some(Held::Shaped(picture));
            let key = self.key.take();
            let begins = self.cutter.put(match key {
                _ if std::mem::take(&mut self.lost) => Key::Lost,
                _ if !self.passes => Key::Any,
                Some(_) => Key::Yes,
                None => Key::No,
            });
            if begins == Begins::Segment {
                let segment = self.cutter.segment();
                if let Some(through) = &mut self.through {
                    through.begins(segment, key);
                }
                if let Some(stills) = &self.stills {
                    stills.put(segment, &shared);
                }
                let rungs = self.progress.rungs.load(Ordering::Relaxed);
                self.encoded.push_back((segment, rungs));
            }
            let encoded = self.encoded.back().map_or(usize::MAX, |(_, rungs)| *rungs);
            self.give(Work::Picture {
                frame,
                encoded,
                begins,
                picture: shared,
            })?;
            self.pictures += 1;
            self.progress.see(self.pictures);
        }
        Ok(())
    }

    /// What `Health` tells of the timeline.
    fn report(&self) {
        let set = |count: &std::sync::atomic::AtomicU64, value| {
            count.store(value, Ordering::Relaxed);
        };
        set(&self.progress.dropped, self.cadence.dropped);
        set(&self.progress.repeated, self.cadence.repeated);
        let silent = self.newest() - self.heard > self.patience;
        self.progress
            .sound_missing
            .store(self.has_sound && silent, Ordering::Relaxed);
    }

    /// Cuts every part whose pictures and sound are complete, making up the sound where it has not come in time.
    pub(crate) fn cut_ready(&mut self) -> Result<(), Error> {
        self.report();
        while let Some(span) = self.cutter.ready() {
            let end = self.grid.sample(span.end_frame());
            let shown = self.grid.time(self.pictures);
            for (track, voice) in self.voices.iter_mut().enumerate() {
                if shown - voice.sound.until() > self.patience && !voice.missing {
                    tracing::debug!(track, at = %voice.sound.until(), "the sound has stopped; silence stands in for it");
                    voice.missing = true;
                }
                if !voice.sound.reaches(end) && voice.missing {
                    voice.sound.fill(self.grid.time(span.end_frame()))?;
                }
            }
            if !self.voices.iter().all(|voice| voice.sound.reaches(end)) {
                return Ok(());
            }
            self.cutter.taken();
            self.cut(span)?;
        }
        Ok(())
    }

    /// The run ends with the pictures there are: cuts what is left, sound made up to their end.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        self.show(1)?;
        while let Some(span) = self.cutter.finish() {
            for voice in &mut self.voices {
                if !voice.sound.reaches(self.grid.sample(span.end_frame())) {
                    voice.sound.fill(self.grid.time(span.end_frame()))?;
                }
            }
            self.cut(span)?;
        }
        Ok(())
    }

    fn cut(&mut self, span: Span) -> Result<(), Error> {
        let end = self.grid.sample(span.end_frame());
        let sound = match beside::apart(&self.voices) {
            true => Vec::new(),
            false => self.voices[MAIN].sound.take(end),
        };
        let sound = Arc::new(sound);
        let of_this = |(segment, _): &&(u64, usize)| *segment == span.segment;
        let encoded = self.encoded.iter().find(of_this);
        let encoded = encoded.map_or(usize::MAX, |(_, rungs)| *rungs);
        if span.last {
            self.encoded.retain(|(segment, _)| *segment > span.segment);
        }
        if let Some(through) = &mut self.through {
            let share = Made {
                rung: through.rung,
                span,
                independent: span.index == 0,
                media: through.cut(span, self.cadence.offset(), &sound)?,
            };
            self.made.send(share).map_err(|_| gone())?;
        }
        self.give(Work::Cut {
            span,
            encoded,
            sound: Arc::clone(&sound),
        })?;
        if self
            .beside
            .cut(span, &self.grid, &mut self.voices, &sound, &self.made)?
        {
            Ok(())
        } else {
            Err(gone())
        }
    }

    fn give(&self, work: Work) -> Result<(), Error> {
        // Whoever stopped taking says why when the crew is joined.
        self.top.send(work).map_err(|_| Error::Panicked {
            who: "the ladder".into(),
        })
    }
}

/// Nobody takes what is made. Why that is, who joins the crew is told.
fn gone() -> Error {
    Error::Panicked {
        who: "the writer".into(),
    }
}

/// What is passed on beside the ladder; if that was wanted and cannot be, it is said why.
fn original<'a>(config: &Config, about: &'a About) -> Option<&'a Original> {
    config.passthrough?;
    match &about.original {
        Some(Ok(original)) => Some(original),
        Some(Err(why)) => {
            tracing::warn!(input = %about.description, why, "its pictures cannot be passed on; all rungs are encoded");
            None
        }
        // A run that begins before its input is there.
        None => {
            tracing::warn!(
                "there is no input whose pictures could be passed on; all rungs are encoded in this run"
            );
            None
        }
    }
}

fn captioning(why: impl std::fmt::Display) -> Error {
    Error::Libav {
        doing: "captioning a picture".into(),
        why: why.to_string(),
    }
}

fn share(picture: &Picture) -> Result<Picture, Error> {
    libav::share(picture).map_err(|why| Error::Libav {
        doing: "sharing a picture".into(),
        why: why.to_string(),
    })
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
pub(crate) type Heard = (usize, Samples, MediaTime);

/// The track of sound that goes with the pictures.
const MAIN: usize = 0;

/// So much sound after the last picture is only a codec's padding.
const OVERHANG: MediaTime = MediaTime::from_flicks(MediaTime::PER_SECOND / 5);
/// Sound that is so far behind pictures that stand is not waited for.
const STALE: MediaTime = MediaTime::from_flicks(MediaTime::PER_SECOND / 2);
/// What is said between one part and the next.
const ASIDES: usize = 64;

/// Sound frames kept while waiting for the first picture; the oldest go first.
pub(crate) const EARLY: usize = 512;
