//! Where pictures and sound come from: a demuxed input, several in a list, or a filter graph.

use std::{collections::VecDeque, sync::Arc};

use ff::filter;
use ffmpeg_next as ff;
use playlists::{Bitrate, MediaTime, rendition};

use super::{
    Packet, Picture, Samples,
    demux::Demuxed,
    failed,
    filter::{PICTURES, SOUND, build},
    list::Listed,
    media_time, programme,
};
use crate::{
    captions::Cue,
    clock::Reading,
    coded::{Sets, Voice},
    config::{self, Config},
    error::Error,
    gauge::Gauge,
    ladder::Size,
    marks::Note,
};

/// What comes out of a source, in the order in which it comes. Times are the source's own.
pub(crate) enum Event {
    Picture(Picture, MediaTime),
    /// A picture as it came, before it is decoded, in the order of decoding; where it may be passed on.
    Coded(Coded),
    /// Sound as it came; where nothing is decoded that need not be.
    Frame(Frame),
    /// `track` counts `About::sounds`.
    Sound {
        track: usize,
        samples: Samples,
        time: MediaTime,
    },
    /// `track` counts `About::subtitles`.
    Cue {
        track: usize,
        cue: Cue,
    },
    /// Something beside sound and pictures.
    Note(Note),
    /// What the input's own clock says.
    Clock(Reading),
    /// The input starts over.
    Restart,
    End,
}

/// One encoded picture of the source, as a muxer takes it. Times are the source's own.
pub(crate) struct Coded {
    pub(super) packet: Packet,
    /// Whoever has the source's parameter sets can begin with it.
    pub(crate) key: bool,
    pub(crate) shown: MediaTime,
    /// `None`: nobody knows.
    pub(crate) decoded: Option<MediaTime>,
}

/// One frame of the source's own AAC, and when it is heard.
pub(crate) struct Frame {
    pub(super) packet: Packet,
    pub(crate) time: MediaTime,
}

/// What is known of a source before its first picture.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// One line for the log.
    pub(crate) description: String,
    /// Pictures per second; 0 where nobody knows.
    pub(crate) rate: f64,
    /// What the tracks of sound are called, the main one first; none if there is no sound.
    pub(crate) sounds: Vec<rendition::Track>,
    pub(crate) subtitles: Vec<rendition::Track>,
    /// It comes as fast as it is read, not in real time.
    pub(crate) unpaced: bool,
    /// Its end was there from the beginning, and is the programme's: it is a recording, not a feed.
    pub(crate) has_end: bool,
    /// How far sound and pictures may be apart before one is no longer waited for.
    pub(crate) patience: MediaTime,
    /// Quarter turns to the right until pictures are upright.
    pub(crate) turns: u8,
    /// How its pictures can be passed on as they are, or why they cannot; `None` if nobody wants it.
    pub(crate) original: Option<Result<Original, String>>,
}

/// What it takes to pass pictures on as they are.
#[derive(Clone, Debug)]
pub(crate) struct Original {
    pub(crate) sets: Sets,
    pub(crate) size: Size,
    /// By the container's word.
    pub(crate) rate: Option<Bitrate>,
    pub(crate) recipe: Recipe,
    /// The main track of sound, if nothing is decoded and it can be passed on as well.
    pub(crate) voice: Option<(Voice, Recipe)>,
}

/// A stream as libav knows it, for a muxer.
#[derive(Clone)]
pub(crate) struct Recipe(pub(super) ff::codec::Parameters);

impl std::fmt::Debug for Recipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.id().name())
    }
}

pub(crate) enum Source {
    Demuxed(Box<Demuxed>),
    Listed(Box<Listed>),
    Made(Made),
}

impl Source {
    /// `gauge` is told how the input is waited for, and what comes.
    pub(crate) fn open(config: &Config, gauge: &Arc<Gauge>) -> Result<(Self, About), Error> {
        match config.source() {
            config::Source::Programme => Made::programme(config.fps.unwrap_or(programme::FPS)),
            config::Source::Graph(text) => Made::open(text, &format!("filter graph {text}")),
            config::Source::List(path) => {
                let (listed, about) = Listed::open(config, path, gauge)?;
                Ok((Self::Listed(Box::new(listed)), about))
            }
            config::Source::File(_) | config::Source::Url(_) => {
                let (demuxed, about) = Demuxed::open(config, gauge)?;
                Ok((Self::Demuxed(Box::new(demuxed)), about))
            }
        }
    }

    pub(crate) fn next(&mut self) -> Result<Event, Error> {
        match self {
            Self::Demuxed(demuxed) => demuxed.next(),
            Self::Listed(listed) => listed.next(),
            Self::Made(made) => made.next(),
        }
    }
}

/// Pictures and sound out of a filter graph, whichever is behind first.
pub(crate) struct Made {
    graph: filter::Graph,
    /// Taken out to learn what the pictures are like.
    first: VecDeque<Event>,
    picture_at: Option<MediaTime>,
    /// `None` when there is no sound, or no more of it.
    sound_at: Option<MediaTime>,
}

impl Made {
    /// Spillway's own programme, with its clock if a font can be found.
    fn programme(fps: u32) -> Result<(Source, About), Error> {
        let name = "Spillway's own programme";
        match Self::open(&programme::graph(fps, true), name) {
            Err(why) => {
                tracing::info!(%why, "the programme goes without its clock");
                Self::open(&programme::graph(fps, false), name)
            }
            made => made,
        }
    }

    fn open(text: &str, name: &str) -> Result<(Source, About), Error> {
        // One open end may go without a name, as everywhere in libav.
        let text = if text.contains("[out0]") {
            text.to_owned()
        } else {
            format!("{text}[out0]")
        };
        let has_sound = text.contains("[out1]");
        let sinks = if has_sound {
            &[&PICTURES, &SOUND][..]
        } else {
            &[&PICTURES]
        };
        let fatal = |error| Error::Open {
            input: name.to_owned(),
            why: libav_reason(error),
            fatal: true,
        };
        let graph = build(&text, &[], sinks).map_err(fatal)?;
        let sound_at = has_sound.then_some(MediaTime::ZERO);
        let mut made = Self {
            graph,
            first: VecDeque::new(),
            picture_at: Some(MediaTime::ZERO),
            sound_at,
        };
        let pictures: Vec<_> = [made.picture()?, made.picture()?]
            .into_iter()
            .flatten()
            .collect();
        let [(first, start), rest @ ..] = &pictures[..] else {
            return Err(Error::NoPicture {
                input: name.to_owned(),
                codec: "raw".into(),
            });
        };
        let rate = rest
            .first()
            .map_or(0.0, |(_, next)| 1.0 / (*next - *start).seconds());
        let sound = if has_sound { "sound" } else { "no sound" };
        let about = About {
            description: format!(
                "{name}: {}x{}, {rate:.3} fps, {sound}",
                first.width(),
                first.height()
            ),
            rate,
            sounds: Vec::from_iter(has_sound.then(|| rendition::Track::new(None, None, "Audio"))),
            subtitles: Vec::new(),
            unpaced: true,
            has_end: true,
            patience: MediaTime::from_seconds(1.0),
            turns: 0,
            original: None,
        };
        made.first = pictures
            .into_iter()
            .map(|(picture, time)| Event::Picture(picture, time))
            .collect();
        Ok((Source::Made(made), about))
    }

    fn next(&mut self) -> Result<Event, Error> {
        if let Some(event) = self.first.pop_front() {
            return Ok(event);
        }
        loop {
            match (self.picture_at, self.sound_at) {
                (None, None) => return Ok(Event::End),
                (picture, Some(sound)) if picture.is_none_or(|picture| sound <= picture) => {
                    match self.sound()? {
                        Some((samples, time)) => {
                            return Ok(Event::Sound {
                                track: 0,
                                samples,
                                time,
                            });
                        }
                        None => self.sound_at = None,
                    }
                }
                (None, _) => return Ok(Event::End),
                (Some(_), _) => match self.picture()? {
                    Some((picture, time)) => return Ok(Event::Picture(picture, time)),
                    // Sound alone is no programme.
                    None => (self.picture_at, self.sound_at) = (None, None),
                },
            }
        }
    }

    fn picture(&mut self) -> Result<Option<(Picture, MediaTime)>, Error> {
        let mut picture = Picture::empty();
        let Some(base) = self.pull(PICTURES.label, &mut picture)? else {
            return Ok(None);
        };
        let time = media_time(picture.pts().unwrap_or(0), base);
        self.picture_at = Some(time);
        Ok(Some((picture, time)))
    }

    fn sound(&mut self) -> Result<Option<(Samples, MediaTime)>, Error> {
        let mut samples = Samples::empty();
        let Some(base) = self.pull(SOUND.label, &mut samples)? else {
            return Ok(None);
        };
        let time = media_time(samples.pts().unwrap_or(0), base);
        self.sound_at =
            Some(time + MediaTime::from_ticks(samples.samples() as i64, samples.rate()));
        Ok(Some((samples, time)))
    }

    fn pull(&mut self, label: &str, frame: &mut ff::Frame) -> Result<Option<ff::Rational>, Error> {
        let doing = || failed("running the filter graph");
        let mut sink = self
            .graph
            .get(label)
            .ok_or(ff::Error::Bug)
            .map_err(doing())?;
        match sink.sink().frame(frame) {
            Ok(()) => Ok(Some(sink.sink().time_base())),
            Err(ff::Error::Eof) => Ok(None),
            Err(why) => Err(doing()(why)),
        }
    }
}

fn libav_reason(error: Error) -> String {
    match error {
        Error::Libav { doing, why } => format!("{doing}: {why}"),
        other => other.to_string(),
    }
}
