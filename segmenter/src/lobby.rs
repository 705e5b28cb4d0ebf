//! Before anything is on the air: waits for the main input's first picture, and says what the run begins with if there is none
//! in time. What goes on the air later is `director`'s business.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use playlists::MediaTime;
use segmenter::wire::OnAir;

use crate::{
    config::{Config, Source},
    crew,
    error::Error,
    feed::{Message, Said},
    ladder,
    libav::{About, Coded, Event, Look, Picture},
    pipeline::{EARLY, Heard},
    slate::Slate,
};

/// What a run begins with.
pub(crate) struct Opening {
    pub(crate) who: OnAir,
    pub(crate) about: About,
    pub(crate) look: Look,
    pub(crate) picture: Option<(Picture, MediaTime)>,
    pub(crate) early: Vec<Heard>,
    /// The same picture, and those after it, before they are decoded.
    pub(crate) coded: Vec<Coded>,
}

/// Before anything is on the air.
pub(crate) struct Lobby<'a> {
    config: &'a Config,
    pub(crate) born: Instant,
    /// What is known of the main input and of the backup.
    pub(crate) abouts: [Option<About>; 2],
    backup: Option<(Picture, MediaTime)>,
    early: Vec<Heard>,
    coded: Vec<Coded>,
}

impl<'a> Lobby<'a> {
    pub(crate) fn new(config: &'a Config) -> Self {
        Self {
            config,
            born: Instant::now(),
            abouts: [None, None],
            backup: None,
            early: Vec::new(),
            coded: Vec::new(),
        }
    }

    /// Waits for the main input's first picture; for `STARTING` or `AGAIN`, if there is somebody else to begin with.
    pub(crate) fn wait(
        &mut self,
        heard: &Receiver<Message>,
        slate: Option<&Slate>,
    ) -> Result<Opening, Error> {
        let stand_in = self.config.rules().stand_in();
        let mut why = None;
        loop {
            let patience = match self.config.like {
                Some(_) => AGAIN,
                None => STARTING,
            };
            let left = patience.saturating_sub(self.born.elapsed());
            let message = match stand_in {
                true if left.is_zero() => Err(RecvTimeoutError::Timeout),
                true => heard.recv_timeout(left),
                false => heard.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let Ok((who, said)) = message else {
                return self.without_main(slate, why);
            };
            match said {
                Said::Opened(about) => self.abouts[place(who)] = Some(*about),
                Said::Event(Event::Picture(picture, time)) if who == OnAir::Main => {
                    return self.begin(who, picture, time);
                }
                Said::Event(Event::Picture(picture, time)) => self.backup = Some((picture, time)),
                Said::Event(Event::Sound {
                    track,
                    samples,
                    time,
                }) if who == OnAir::Main => {
                    if self.early.len() == EARLY {
                        self.early.remove(0);
                    }
                    self.early.push((track, samples, time));
                }
                Said::Event(Event::Coded(coded)) if who == OnAir::Main => {
                    if self.coded.len() == EARLY {
                        self.coded.remove(0);
                    }
                    self.coded.push(coded);
                }
                Said::Failed(error)
                    if who == OnAir::Main && (!stand_in || self.is_hopeless(&error)) =>
                {
                    return Err(error);
                }
                Said::Failed(error) if who == OnAir::Main => why = Some(error),
                Said::Failed(_) => self.backup = None,
                Said::Event(Event::Restart) | Said::Ended { .. }
                    if who == OnAir::Main && !stand_in =>
                {
                    return Err(self.no_picture());
                }
                Said::Event(_) | Said::Ended { .. } => {}
            }
        }
    }

    /// Nothing of the kind can ever be played, and the operator is still looking. What a feed carries may be other the next
    /// time it comes.
    fn is_hopeless(&self, error: &Error) -> bool {
        let carries = matches!(error, Error::NoVideo { .. } | Error::NoPicture { .. });
        let is_file = matches!(self.config.source(), Source::File(_));
        error.fatal() && (is_file || !carries)
    }

    fn begin(&mut self, who: OnAir, picture: Picture, time: MediaTime) -> Result<Opening, Error> {
        let about = self.abouts[place(who)].clone();
        let about = about.ok_or_else(|| self.no_picture())?;
        Ok(Opening {
            who,
            look: Look::of(&picture, about.turns),
            about,
            picture: Some((picture, time)),
            early: std::mem::take(&mut self.early),
            coded: std::mem::take(&mut self.coded),
        })
    }

    fn without_main(
        &mut self,
        slate: Option<&Slate>,
        why: Option<Error>,
    ) -> Result<Opening, Error> {
        self.early.clear();
        self.coded.clear();
        let like = self.config.like.as_ref();
        if let Some((picture, time)) = self.backup.take() {
            tracing::warn!("the main input gives no picture yet; beginning with the backup");
            let mut opening = self.begin(OnAir::Backup, picture, time)?;
            if let Some(like) = like {
                (opening.about, opening.look) = (like.about(&opening.about), like.look());
            }
            return Ok(opening);
        }
        let Some(slate) = slate else {
            return Err(why.unwrap_or_else(|| self.no_picture()));
        };
        let whole = Look::of_size(ladder::full_size(&self.config.rungs, crew::cores()));
        let (about, look) = match like {
            Some(like) => (like.about(&slate.about), like.look()),
            None => (slate.about.clone(), whole),
        };
        tracing::warn!(size = %look.size, "no input gives a picture yet; beginning with the slate");
        Ok(Opening {
            who: OnAir::Slate,
            about,
            look,
            picture: None,
            early: Vec::new(),
            coded: Vec::new(),
        })
    }

    fn no_picture(&self) -> Error {
        Error::NoPicture {
            input: self.config.input.clone(),
            codec: "encoded".into(),
        }
    }
}

/// Where it stands among the inputs.
pub(crate) fn place(who: OnAir) -> usize {
    usize::from(who == OnAir::Backup)
}

/// So long the main input may take to its first picture before the run begins with something else: time enough to connect, to
/// learn what it is and to see a key frame.
const STARTING: Duration = Duration::from_secs(5);
/// The same for a run that follows another: there are viewers, and they wait.
const AGAIN: Duration = Duration::from_secs(2);
