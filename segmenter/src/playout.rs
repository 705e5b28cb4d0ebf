//! One run: inputs speak, the director says who is on the air, and the pipeline gets that one's pictures and sound.
//!
//! While nobody else has pictures it shows the slate, or lets the last picture stand, in step with the clock: what goes
//! out neither stops nor falls behind.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use playlists::MediaTime;
use segmenter::wire::{InputState, OnAir};

use crate::{
    config::Config,
    director::{Director, Verdict},
    error::Error,
    feed::{self, Feed, Message, Said},
    libav::{About, Event},
    lobby::{Lobby, Opening, place},
    pipeline::Pipeline,
    slate::Slate,
    writer::{Progress, Stdout},
};

/// Plays `config`'s inputs to the end of the programme.
pub(crate) fn run(config: &Config) -> Result<Stdout, Error> {
    let slate = config.slate.as_deref();
    let slate = slate.map(|name| Slate::open(config, name)).transpose()?;
    let progress = Arc::new(Progress::of(config.backup.is_some()));
    let (queue, heard) = feed::queue();
    let backup = config.backup.as_deref();
    let backup = backup.map(|input| (OnAir::Backup, config.for_backup(input)));
    for (who, config) in [(OnAir::Main, config.clone())].into_iter().chain(backup) {
        let gauge = Arc::clone(&progress.source(who).gauge);
        let again = config.rules().stand_in();
        let feed = Feed {
            who,
            config,
            again,
            gauge,
        };
        feed.start(queue.clone())?;
    }
    // When the last of them is gone, so is the queue.
    drop(queue);

    let mut lobby = Lobby::new(config);
    let opening = lobby.wait(&heard, slate.as_ref())?;
    let (pipeline, crew) =
        Pipeline::start(config, &opening.about, opening.look, Arc::clone(&progress))?;
    let mut playout = Playout {
        pipeline,
        director: Director::new(config.rules(), opening.who),
        born: lobby.born,
        abouts: lobby.abouts,
        slate,
        schedule: (Duration::ZERO, MediaTime::ZERO),
        began: MediaTime::ZERO,
        last: MediaTime::ZERO,
        wish: None,
        stand_in: config.rules().stand_in(),
        fresh: [false; 2],
        progress,
    };
    let outcome = playout.play(&heard, opening);
    // The crew ends when nobody feeds it.
    drop(playout);
    crew.join(outcome)
}

struct Playout {
    pipeline: Pipeline,
    director: Director,
    born: Instant,
    abouts: [Option<About>; 2],
    slate: Option<Slate>,
    /// While the slate is on: a time, and the run time that was due then.
    schedule: (Duration, MediaTime),
    /// Run time at which the slate began.
    began: MediaTime,
    /// Run time of the last picture of who is on the air, not counting how often it was shown again.
    last: MediaTime,
    /// Who is to have the air with the next segment, and which one is on its way now.
    wish: Option<(OnAir, u64)>,
    stand_in: bool,
    /// Main and backup: opened anew, and without a picture since.
    fresh: [bool; 2],
    progress: Arc<Progress>,
}

/// How the run goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    On,
    Over,
}

impl Playout {
    fn play(&mut self, heard: &Receiver<Message>, opening: Opening) -> Result<(), Error> {
        let who = opening.who;
        self.progress.set_on_air(who);
        match opening.picture {
            Some((picture, time)) => {
                self.director.picture(who, time, self.now());
                let about = self.abouts[place(who)].as_ref();
                let about = about.unwrap_or(&opening.about);
                self.pipeline.first(about, opening.early, opening.coded);
                self.pipeline.picture(picture, time)?;
            }
            None => self.switch(OnAir::Slate),
        }
        let outcome = self.follow(heard);
        // What came before a failure is not lost.
        self.pipeline.finish()?;
        outcome
    }

    fn follow(&mut self, heard: &Receiver<Message>) -> Result<(), Error> {
        while !self.pipeline.is_over() {
            // First what has come, then what to make of it: nobody is late who waits in our own queue.
            let message = match heard.try_recv() {
                Ok(message) => Some(message),
                Err(_) => {
                    if self.direct()? == Turn::Over {
                        return Ok(());
                    }
                    let own = &self.progress.source(OnAir::Slate).gauge;
                    match own.waiting(|| heard.recv_timeout(TICK)) {
                        Ok(message) => Some(message),
                        Err(RecvTimeoutError::Timeout) => None,
                        Err(RecvTimeoutError::Disconnected) if !self.stand_in => return Ok(()),
                        // Only who comes to an end for good leaves while somebody stands by.
                        Err(RecvTimeoutError::Disconnected) => {
                            std::thread::sleep(TICK);
                            None
                        }
                    }
                }
            };
            if let Some((who, said)) = message
                && self.hear(who, said)? == Turn::Over
            {
                return Ok(());
            }
            if self.director.on_air() == OnAir::Slate {
                self.show_slate()?;
            }
            self.fulfil();
            if !self.pipeline.is_over() {
                self.pipeline.cut_ready()?;
            }
        }
        Ok(())
    }

    fn hear(&mut self, who: OnAir, said: Said) -> Result<Turn, Error> {
        let now = self.now();
        let on_air = self.director.on_air() == who;
        match said {
            Said::Opened(about) => {
                self.abouts[place(who)] = Some(*about);
                // Its clock is not that of the last time.
                self.director.anew(who);
                self.fresh[place(who)] = true;
            }
            Said::Event(Event::Picture(picture, time)) => {
                if std::mem::take(&mut self.fresh[place(who)]) && on_air {
                    // It goes on as if it had never been away, and as late as it is.
                    self.pipeline.freeze(self.due(now))?;
                    self.take_up(who);
                }
                self.director.picture(who, time, now);
                self.progress.source(who).set(InputState::Live);
                if on_air {
                    self.pipeline.picture(picture, time)?;
                    self.last = self.pipeline.newest();
                }
            }
            Said::Event(Event::Coded(coded)) if on_air => self.pipeline.coded(coded),
            Said::Event(Event::Restart) => {
                self.director.anew(who);
                if on_air {
                    self.pipeline.restart()?;
                }
            }
            Said::Event(Event::Sound {
                track,
                samples,
                time,
            }) if on_air => self.pipeline.sound((track, samples, time))?,
            Said::Event(Event::Cue { track, cue }) if on_air => self.pipeline.cue(track, cue),
            Said::Event(Event::Note(note)) if on_air => self.pipeline.note(&note),
            Said::Event(Event::Clock(reading)) if on_air => self.pipeline.clock(reading),
            Said::Event(_) => {}
            Said::Failed(why) if who == OnAir::Main && !self.stand_in => return Err(why),
            Said::Failed(_) => {
                self.director.failed(who);
                self.progress.source(who).set(InputState::Failed);
            }
            Said::Ended { for_good } => {
                if who == OnAir::Main && (for_good || !self.stand_in) {
                    if on_air {
                        self.pipeline.outlast()?;
                    }
                    return Ok(Turn::Over);
                }
                self.director.ended(who, now);
                self.progress.source(who).set(InputState::Ended);
            }
        }
        Ok(Turn::On)
    }

    /// Asks the director, and does what it says, but for what has to wait for a segment.
    fn direct(&mut self) -> Result<Turn, Error> {
        if !self.stand_in {
            return Ok(Turn::On);
        }
        let now = self.now();
        for who in [OnAir::Main, OnAir::Backup] {
            let source = self.progress.source(who);
            if source.state() == InputState::Live && self.director.is_stalled(who, now) {
                source.set(InputState::Stalled);
            }
        }
        match self.director.decide(now) {
            Verdict::Stay => self.wish = None,
            Verdict::Freeze => {
                self.wish = None;
                self.pipeline.freeze(self.due(now))?;
            }
            Verdict::Take(to) => {
                self.wish = None;
                self.pipeline.freeze(self.due(now))?;
                self.switch(to);
            }
            Verdict::Return(to) if self.wish.is_none_or(|(wish, _)| wish != to) => {
                self.wish = Some((to, self.pipeline.next_segment()));
            }
            Verdict::Return(_) => {}
            Verdict::Over => return Ok(Turn::Over),
        }
        Ok(Turn::On)
    }

    /// Whoever waits for a segment has the air when one begins.
    fn fulfil(&mut self) {
        if let Some((to, segment)) = self.wish
            && self.pipeline.next_segment() != segment
        {
            self.wish = None;
            self.switch(to);
        }
    }

    fn switch(&mut self, to: OnAir) {
        let now = self.now();
        tracing::info!(from = ?self.director.on_air(), ?to, at = %self.pipeline.newest(), "on the air");
        self.schedule = (now, self.due(now));
        self.director.took(to, now);
        self.progress.set_on_air(to);
        self.last = self.pipeline.newest();
        match to {
            OnAir::Slate => {
                self.began = self.pipeline.newest();
                if let Some(slate) = &mut self.slate {
                    slate.begin();
                    self.pipeline.switch(&slate.about);
                }
            }
            OnAir::Main | OnAir::Backup => self.take_up(to),
        }
    }

    fn take_up(&mut self, who: OnAir) {
        if let Some(about) = &self.abouts[place(who)] {
            self.pipeline.switch(about);
        }
    }

    /// Run time that is due now.
    fn due(&self, now: Duration) -> MediaTime {
        let (since, media) = match self.director.on_air() {
            OnAir::Slate => (now.saturating_sub(self.schedule.0), self.schedule.1),
            _ => (self.director.overdue(now), self.last),
        };
        media + MediaTime::from_ticks(since.as_micros() as i64, 1_000_000)
    }

    /// Shows the slate up to the time that is due, or to the segment that somebody waits for.
    fn show_slate(&mut self) -> Result<(), Error> {
        let due = self.due(self.now());
        let Some(slate) = &mut self.slate else {
            return Ok(());
        };
        while self.pipeline.newest() + self.pipeline.step() <= due && !self.pipeline.is_over() {
            if self
                .wish
                .is_some_and(|(_, segment)| segment != self.pipeline.next_segment())
            {
                return Ok(());
            }
            let elapsed = self.pipeline.newest() + self.pipeline.step() - self.began;
            self.pipeline.stand_in(slate.picture(elapsed))?;
            self.pipeline.cut_ready()?;
        }
        Ok(())
    }

    fn now(&self) -> Duration {
        self.born.elapsed()
    }
}

/// How often the clock is looked at when nothing comes: less than a picture's time.
const TICK: Duration = Duration::from_millis(15);
