//! A run that passes its input on and decodes nothing: one rung, the input's own pictures, with its own sound if that is AAC.
//!
//! Segments begin with the input's key frames, parts are cut by time. Nothing can stand in for an input that is lost, or whose key
//! frames are too far apart: what is said of that is all that can be done.

use std::{
    sync::{Arc, mpsc::RecvTimeoutError},
    time::Duration,
};

use media::order::{Order, Times};
use playlists::{Bitrate, Ladder, MediaTime, Renditions, WallTime};
use segmenter::{
    Grid,
    cutter::{Keys, SAMPLE_RATE},
    wire::{self, Clock, Frame, Hello, InputState, OnAir, Part},
};

use crate::{
    cadence::whole_rate,
    coded::Voice,
    config::{CLOCK, Config, Pacing},
    crew::{self, AAC_LC},
    error::Error,
    feed::{self, Feed, Said},
    gauge::Gauge,
    ladder,
    libav::{self, About, Coded, Event, Muxer, Original, Setup, Sound, Source},
    overload::Overload,
    writer::{Progress, Pulse, Stdout},
};

/// Plays `config`'s input to its end.
pub(crate) fn run(config: &Config) -> Result<Stdout, Error> {
    let mut run = Run {
        config,
        stdout: Stdout::open()?,
        progress: Arc::new(Progress::of(false)),
        playing: None,
    };
    match config.pace {
        Pacing::Off => run.hurry(),
        Pacing::Auto | Pacing::On => run.follow(),
    }?;
    Ok(run.stdout)
}

struct Run<'a> {
    config: &'a Config,
    stdout: Stdout,
    progress: Arc<Progress>,
    /// Since the input is open.
    playing: Option<(Copying, Pulse)>,
}

impl Run<'_> {
    fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.progress.source(OnAir::Main).gauge)
    }

    /// What is to be done as fast as it can be is done by one thread: no packet goes cold on the way.
    fn hurry(&mut self) -> Result<(), Error> {
        let gauge = self.gauge();
        let (mut source, about) = Source::open(self.config, &gauge)?;
        gauge.opened();
        self.opened(&about)?;
        loop {
            match source.next() {
                Ok(Event::End) => return self.finish(Ok(())),
                Ok(event) => self.hear(event)?,
                Err(why) => return self.finish(Err(why)),
            }
            self.beat()?;
            if self.is_over() {
                return Ok(());
            }
        }
    }

    /// Somebody else reads, so that how it goes is told also while nothing comes.
    fn follow(&mut self) -> Result<(), Error> {
        let (queue, heard) = feed::queue();
        let feed = Feed {
            who: OnAir::Main,
            config: self.config.clone(),
            again: false,
            gauge: self.gauge(),
        };
        feed.start(queue)?;
        loop {
            let patience = self.playing.as_ref();
            let patience = patience.map_or(SECOND, |(_, pulse)| pulse.due());
            match heard.recv_timeout(patience) {
                Ok((_, Said::Opened(about))) => self.opened(&about)?,
                Ok((_, Said::Event(event))) => self.hear(event)?,
                Ok((_, Said::Failed(why))) => return self.finish(Err(why)),
                Ok((_, Said::Ended { .. })) | Err(RecvTimeoutError::Disconnected) => {
                    return self.finish(Ok(()));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.beat()?;
            if self.is_over() {
                return Ok(());
            }
        }
    }

    fn opened(&mut self, about: &About) -> Result<(), Error> {
        let (copying, grid) = Copying::open(self.config, about, &mut self.stdout)?;
        let pulse = Pulse::new(grid, Overload::new(1, 1), &self.progress);
        self.playing = Some((copying, pulse));
        Ok(())
    }

    fn hear(&mut self, event: Event) -> Result<(), Error> {
        let Some((copying, _)) = &mut self.playing else {
            return Ok(());
        };
        if matches!(event, Event::Coded(_)) {
            self.progress.source(OnAir::Main).set(InputState::Live);
            self.progress.see(copying.pictures);
        }
        copying.hear(event, &mut self.stdout)
    }

    fn beat(&mut self) -> Result<(), Error> {
        let pulse = self.playing.as_mut().map(|(_, pulse)| pulse);
        match pulse.and_then(|pulse| pulse.beat(&self.progress)) {
            Some(health) => self.stdout.write(&Frame::Health(health)),
            None => Ok(()),
        }
    }

    fn is_over(&self) -> bool {
        self.playing
            .as_ref()
            .is_some_and(|(copying, _)| copying.over)
    }

    /// What came before an end, or a failure, is not lost.
    fn finish(&mut self, outcome: Result<(), Error>) -> Result<(), Error> {
        if let Some((copying, _)) = &mut self.playing {
            copying.finish(&mut self.stdout)?;
            return outcome;
        }
        outcome?;
        Err(Error::NoPicture {
            input: self.config.input.clone(),
            codec: "encoded".into(),
        })
    }
}

struct Copying {
    muxer: Muxer,
    speaker: Speaker,
    origin: MediaTime,
    grid: Grid,
    /// How short and how long a segment may be.
    range: (MediaTime, MediaTime),
    /// From one picture to the next, if nothing says otherwise.
    step: MediaTime,
    limit: Option<MediaTime>,
    over: bool,
    pictures: u64,
    /// Source's time minus run time; `None` until a key frame says so.
    offset: Option<MediaTime>,
    /// The end of the picture that is shown last.
    newest: MediaTime,
    segment: u64,
    index: u16,
    /// Run time at which the segment and the part began that are open.
    began: MediaTime,
    part: MediaTime,
    /// The segment begins with a key frame.
    independent: bool,
    keys: Keys,
    order: Order,
    /// Came, and is written when it is known how long it takes.
    pending: Option<(Coded, Times)>,
    /// Pictures of the open part that are written, or pending.
    inside: usize,
    warned: bool,
}

/// The sound of a run.
enum Speaker {
    Copied(Copied),
    /// What is no AAC is encoded; what is not there is silence.
    Made {
        sound: Box<Sound>,
        missing: bool,
    },
}

/// Sound that is passed on, frame behind frame: clocks of containers are coarser than frames are long.
struct Copied {
    voice: Voice,
    /// Run time at which the next frame is due; `None`: the source's clock was set anew.
    due: Option<MediaTime>,
    /// The end of the last frame.
    until: MediaTime,
    waiting: Vec<(libav::Frame, MediaTime)>,
}

impl Copying {
    /// Says what will come. The second is the grid by which speed is told.
    fn open(config: &Config, about: &About, stdout: &mut Stdout) -> Result<(Self, Grid), Error> {
        let refused = |why: String| Error::Open {
            input: config.input.clone(),
            why: format!("its pictures cannot be passed on: {why}"),
            fatal: true,
        };
        let original = match &about.original {
            Some(Ok(original)) => original,
            Some(Err(why)) => return Err(refused(why.clone())),
            None => return Err(refused("nothing is known of them".into())),
        };
        let setup = Setup {
            origin: config.origin(),
            fps: 1,
        };
        let sets = original.sets.octets();
        let (muxer, init, speaker, audio) = match &original.voice {
            Some((voice, recipe)) => {
                let (muxer, init) =
                    Muxer::open_copied(&original.recipe, (voice, recipe), &sets, setup)?;
                let speaker = Speaker::Copied(Copied {
                    voice: voice.clone(),
                    due: None,
                    until: MediaTime::ZERO,
                    waiting: Vec::new(),
                });
                let codec = format!("mp4a.40.{}", voice.object_type);
                (muxer, init, speaker, codec)
            }
            None => {
                let sound = Sound::open(config.audio())?;
                let (muxer, init) =
                    Muxer::open_original(&original.recipe, Some(&sound), &sets, setup)?;
                let missing = about.sounds.is_empty();
                let sound = Box::new(sound);
                (muxer, init, Speaker::Made { sound, missing }, AAC_LC.into())
            }
        };
        let whole = whole_rate(about.rate, ladder::FASTEST);
        let by_rate = Grid::following(whole, config.segment(), config.part());
        let (least, most) = segmenter::cutter::Cutter::new(by_rate).range(true);
        let range = (by_rate.time(least), by_rate.time(most));
        let hello = hello(config, about, original, &by_rate, range.0, &audio)?;
        let segment = config.segment();
        tracing::info!(input = %about.description, %segment, part = %hello.part, rate = %hello.ladder.top().average, "passing on");
        stdout.write(&Frame::Hello(hello))?;
        stdout.write(&Frame::Init(init))?;
        let step = match about.rate {
            rate if rate >= 1.0 => MediaTime::from_seconds(1.0 / rate),
            _ => by_rate.time(1),
        };
        let copying = Self {
            muxer,
            speaker,
            origin: config.origin(),
            grid: by_rate,
            range,
            step,
            limit: config.duration.map(MediaTime::from_seconds),
            over: false,
            pictures: 0,
            offset: None,
            newest: MediaTime::ZERO,
            segment: 0,
            index: 0,
            began: MediaTime::ZERO,
            part: MediaTime::ZERO,
            independent: true,
            keys: Keys::default(),
            order: Order::new(0, 1),
            pending: None,
            inside: 0,
            warned: false,
        };
        Ok((copying, by_rate))
    }

    fn hear(&mut self, event: Event, stdout: &mut Stdout) -> Result<(), Error> {
        match event {
            Event::Coded(coded) => self.picture(coded, stdout),
            Event::Frame(frame) => {
                if let (Speaker::Copied(copied), Some(offset)) = (&mut self.speaker, self.offset) {
                    let time = frame.time - offset;
                    copied.put(frame, time);
                }
                Ok(())
            }
            Event::Sound {
                track: 0,
                mut samples,
                time,
            } => {
                if let (Speaker::Made { sound, .. }, Some(offset)) =
                    (&mut self.speaker, self.offset)
                {
                    sound.place(&mut samples, time - offset)?;
                }
                Ok(())
            }
            Event::Restart => {
                self.anchor(None);
                Ok(())
            }
            Event::Clock(reading) => match self.offset {
                Some(offset) => stdout.write(&Frame::Clock(Clock {
                    at: self.origin + reading.time - offset,
                    utc: WallTime::from_millis(reading.utc / 1000),
                })),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// The next picture of the source follows the last one.
    fn anchor(&mut self, time: Option<MediaTime>) {
        self.offset = time.map(|time| time - self.newest);
        if let Speaker::Copied(copied) = &mut self.speaker {
            copied.due = None;
        }
    }

    fn picture(&mut self, coded: Coded, stdout: &mut Stdout) -> Result<(), Error> {
        let decoded = coded.decoded.unwrap_or(coded.shown);
        let run = self.offset.map(|offset| decoded - offset);
        let goes_on =
            run.is_some_and(|run| run - self.newest < FORWARD && self.newest - run < BACKWARD);
        if !goes_on {
            // Nobody can begin with anything else.
            if self.pictures == 0 && !coded.key {
                return Ok(());
            }
            self.anchor(Some(coded.shown));
        }
        let Some(offset) = self.offset else {
            return Ok(());
        };
        let (shown, decoded) = (coded.shown - offset, decoded - offset);
        self.cut_before(&coded, shown, decoded, stdout)?;
        if self.over {
            return Ok(());
        }
        let ticks = |time: MediaTime| time.to_ticks(CLOCK);
        if self.inside == 0 && self.index == 0 && coded.key {
            self.order = Order::new(ticks(self.began), ticks(self.step));
        }
        let times = self
            .order
            .next(coded.key, ticks(shown), Some(ticks(decoded)));
        self.flush(Some(times.decoded))?;
        self.pending = Some((coded, times));
        self.newest = self.newest.max(shown + self.step);
        (self.inside, self.pictures) = (self.inside + 1, self.pictures + 1);
        // The part has all it will have, and the segment does not end with it: nobody waits for the next picture.
        let end = self.part + self.grid.part();
        let there = MediaTime::from_ticks(times.decoded, CLOCK) + self.step + HAIR;
        if there >= end && end - self.began < self.range.0 {
            self.close(end, false, stdout)?;
        }
        Ok(())
    }

    /// Ends what `coded` is not part of any more.
    fn cut_before(
        &mut self,
        coded: &Coded,
        shown: MediaTime,
        decoded: MediaTime,
        stdout: &mut Stdout,
    ) -> Result<(), Error> {
        let next = match coded.key {
            true => self.keys.come(shown),
            false => MediaTime::ZERO,
        };
        if self.inside == 0 && self.index == 0 {
            return Ok(());
        }
        let long = shown - self.began;
        let (least, most) = self.range;
        // As `segmenter::Cutter` has it.
        let early = !self.independent || long + next > most + HAIR;
        if coded.key && (long >= least || early && shown > self.part + HAIR) {
            self.close(shown, true, stdout)?;
            self.over = self.limit.is_some_and(|limit| shown + HAIR >= limit);
            self.independent = true;
            return Ok(());
        }
        if decoded - self.began >= most {
            if !self.warned {
                tracing::warn!(
                    longest_s = most.seconds(),
                    "the input's key frames are too far apart: there are segments now that nobody can begin with. Set its key frame interval \
                     to --segment-seconds, or that to the interval"
                );
                self.warned = true;
            }
            self.close(self.began + most, true, stdout)?;
            self.independent = false;
            return Ok(());
        }
        while decoded + HAIR >= self.part + self.grid.part() {
            self.close(self.part + self.grid.part(), false, stdout)?;
        }
        Ok(())
    }

    /// Writes what is pending, `next` being when the next picture is decoded.
    fn flush(&mut self, next: Option<i64>) -> Result<(), Error> {
        let Some((coded, times)) = self.pending.take() else {
            return Ok(());
        };
        let usual = times.decoded + self.step.to_ticks(CLOCK);
        let long = next.unwrap_or(usual) - times.decoded;
        self.muxer.original(coded, times, long.max(1))
    }

    /// Ends the part at run time `end`.
    fn close(&mut self, end: MediaTime, last: bool, stdout: &mut Stdout) -> Result<(), Error> {
        self.flush(last.then(|| end.to_ticks(CLOCK)))?;
        self.speaker.speak(end, &mut self.muxer)?;
        let media = self.muxer.cut()?;
        self.muxer.skip()?;
        if end > self.part {
            stdout.write(&Frame::Part(Part {
                rung: 0,
                segment: self.segment,
                index: self.index,
                independent: self.index == 0 && self.independent,
                last,
                start: self.origin + self.part,
                duration: end - self.part,
                media,
            }))?;
            self.index += 1;
        }
        (self.part, self.inside) = (end, 0);
        if last {
            (self.segment, self.index, self.began) = (self.segment + 1, 0, end);
        }
        Ok(())
    }

    fn finish(&mut self, stdout: &mut Stdout) -> Result<(), Error> {
        if self.inside > 0 || self.index > 0 {
            self.close(self.newest.max(self.part + self.step), true, stdout)?;
        }
        Ok(())
    }
}

impl Speaker {
    /// Writes the sound that is heard before run time `end`, as far as it is there: pictures do not wait for it.
    fn speak(&mut self, end: MediaTime, muxer: &mut Muxer) -> Result<(), Error> {
        match self {
            Self::Copied(copied) => {
                let count = copied.waiting.partition_point(|(_, time)| *time < end);
                for (frame, time) in copied.waiting.drain(..count) {
                    muxer.frame(frame, &copied.voice, time)?;
                }
            }
            Self::Made { sound, missing } => {
                if *missing || end - sound.until() > SILENT {
                    sound.fill(end)?;
                }
                for packet in sound.take(end.to_ticks(SAMPLE_RATE)) {
                    muxer.sound(&packet)?;
                }
            }
        }
        Ok(())
    }
}

impl Copied {
    fn put(&mut self, frame: libav::Frame, time: MediaTime) {
        let due = self.due.filter(|due| {
            let off = time - *due;
            off < STEP && MediaTime::ZERO - off < STEP
        });
        let time = due.unwrap_or(time);
        // There is sound already, or, at the start, no picture yet.
        if time < self.until || self.waiting.len() == MOST {
            return;
        }
        let long = MediaTime::from_ticks(self.voice.frame.into(), self.voice.rate);
        self.until = time + long;
        self.due = Some(self.until);
        self.waiting.push((frame, time));
    }
}

fn hello(
    config: &Config,
    about: &About,
    original: &Original,
    grid: &Grid,
    shortest: MediaTime,
    audio: &str,
) -> Result<Hello, Error> {
    let rung = crew::passed_on(original, grid, SOUND, audio)?;
    Ok(Hello {
        version: wire::VERSION,
        ladder: Ladder::new(vec![rung]).map_err(crew::refused)?,
        renditions: Renditions {
            main: about.sounds.first().cloned().unwrap_or_default(),
            ..Renditions::default()
        },
        segment: config.segment(),
        shortest,
        part: grid.part(),
        input: about.description.clone(),
        likeness: String::new(),
    })
}

/// What sound of a source takes, about.
const SOUND: Bitrate = Bitrate::from_kbps(128);
/// A source's clock that makes such a step was set anew.
const FORWARD: MediaTime = MediaTime::from_flicks(10 * MediaTime::PER_SECOND);
const BACKWARD: MediaTime = MediaTime::from_flicks(2 * MediaTime::PER_SECOND);
/// A frame of sound so far from where the one before it ended does not follow it.
const STEP: MediaTime = MediaTime::from_flicks(MediaTime::PER_SECOND * 30 / 1000);
/// Sound that is so late does not come.
const SILENT: MediaTime = MediaTime::from_flicks(MediaTime::PER_SECOND);
/// Less is rounding, of containers that count milliseconds.
const HAIR: MediaTime = MediaTime::from_flicks(MediaTime::PER_SECOND * 2 / 1000);
/// Frames of sound that no part has taken; more than any part has.
const MOST: usize = 4096;
const SECOND: Duration = Duration::from_secs(1);
