//! What is shown while no input gives pictures: an image, or a clip over and over, of the operator's; or black.
//!
//! It is opened before the run begins, so that one that cannot be shown is refused then. What goes wrong with it later
//! costs no more than that its last picture stands.

use std::sync::Arc;

use playlists::MediaTime;

use crate::{
    config::Config,
    error::Error,
    libav::{self, About, Event, Picture, Source},
};

pub(crate) struct Slate {
    config: Config,
    /// What stands if there is nothing newer.
    still: Picture,
    clip: Option<Clip>,
    /// It has been given since the slate began.
    given: bool,
    /// It has no sound.
    pub(crate) about: About,
}

/// A clip that plays.
struct Clip {
    source: Source,
    /// The picture that comes next, and when by the clip's own time.
    next: Option<(Picture, MediaTime)>,
    /// The clip's time at which the slate began; later rounds move it.
    zero: MediaTime,
    /// The last picture's time, and what lies between two.
    last: MediaTime,
    interval: MediaTime,
}

impl Slate {
    /// `name` is a file's, or `black`.
    pub(crate) fn open(config: &Config, name: &str) -> Result<Self, Error> {
        let input = match name {
            "black" => BLACK.to_owned(),
            file => file.to_owned(),
        };
        let refused = |why: Error| Error::Option {
            option: "--slate",
            why: why.to_string(),
        };
        let config = config.for_slate(input, false);
        let (mut source, about) = Source::open(&config, &Arc::default()).map_err(refused)?;
        let still = picture(&mut source).map_err(refused)?;
        let Some((still, _)) = still else {
            return Err(Error::Option {
                option: "--slate",
                why: format!("{name} has no picture that can be decoded"),
            });
        };
        let moves = picture(&mut source).map_err(refused)?.is_some();
        let mut slate = Self {
            config: Config {
                looped: true,
                ..config
            },
            still,
            clip: None,
            given: false,
            about: About {
                description: format!("slate: {}", about.description),
                rate: 0.0,
                sounds: Vec::new(),
                subtitles: Vec::new(),
                ..about
            },
        };
        if moves && name != "black" {
            slate.clip = slate.begun();
        } else {
            slate.config.looped = false;
        }
        Ok(slate)
    }

    /// It goes on the air, from its beginning.
    pub(crate) fn begin(&mut self) {
        self.given = false;
        if self.config.looped {
            self.clip = self.begun();
        }
    }

    /// The picture to be shown from `elapsed` on, if it is another than before.
    pub(crate) fn picture(&mut self, elapsed: MediaTime) -> Option<Picture> {
        let mut newer = None;
        if let Some(clip) = &mut self.clip {
            match clip.until(elapsed) {
                Ok(picture) => newer = picture,
                Err(why) => {
                    tracing::warn!(%why, "the slate cannot be played any further; its last picture stands");
                    self.clip = None;
                }
            }
        }
        if newer.is_none() && !self.given {
            newer = libav::share(&self.still).ok();
        }
        self.given |= newer.is_some();
        newer
    }

    fn begun(&self) -> Option<Clip> {
        let begun = Clip::open(&self.config);
        if let Err(why) = &begun {
            tracing::warn!(%why, "the slate cannot be played; its first picture stands");
        }
        begun.ok()
    }
}

impl Clip {
    fn open(config: &Config) -> Result<Self, Error> {
        let (mut source, about) = Source::open(config, &Arc::default())?;
        let next = picture(&mut source)?;
        let zero = next.as_ref().map_or(MediaTime::ZERO, |(_, time)| *time);
        let rate = if about.rate >= 1.0 { about.rate } else { 25.0 };
        Ok(Self {
            source,
            next,
            zero,
            last: zero,
            interval: MediaTime::from_seconds(1.0 / rate),
        })
    }

    /// The newest picture that is due at `elapsed`, if it was not given yet.
    fn until(&mut self, elapsed: MediaTime) -> Result<Option<Picture>, Error> {
        let mut newest = None;
        while let Some((picture, time)) = self.next.take() {
            if time - self.zero > elapsed {
                self.next = Some((picture, time));
                break;
            }
            (newest, self.last) = (Some(picture), time);
            self.next = loop {
                match self.source.next()? {
                    Event::Picture(picture, time) => break Some((picture, time)),
                    Event::Restart => {
                        let Some((picture, time)) = self.round()? else {
                            break None;
                        };
                        break Some((picture, time));
                    }
                    Event::End => break None,
                    Event::Sound { .. }
                    | Event::Cue { .. }
                    | Event::Note(_)
                    | Event::Coded(_)
                    | Event::Frame(_)
                    | Event::Clock(_) => {}
                }
            };
        }
        Ok(newest)
    }

    /// The first picture of the next round, which follows the last one of this.
    fn round(&mut self) -> Result<Option<(Picture, MediaTime)>, Error> {
        let first = picture(&mut self.source)?;
        if let Some((_, time)) = &first {
            let due = self.last + self.interval - self.zero;
            self.zero = *time - due;
        }
        Ok(first)
    }
}

/// The next picture; `None` at the end.
fn picture(source: &mut Source) -> Result<Option<(Picture, MediaTime)>, Error> {
    loop {
        match source.next()? {
            Event::Picture(picture, time) => return Ok(Some((picture, time))),
            Event::End => return Ok(None),
            _ => {}
        }
    }
}

/// Any shape will do: it gets bars of its own colour.
const BLACK: &str = "lavfi:color=c=black:size=320x180:rate=2:duration=1,format=yuv420p";
