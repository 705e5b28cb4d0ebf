//! What a run makes beside its rungs: sound, where there is more than one track of it or where it is wanted alone, and subtitles. Cheap enough to be made by the
//! pipeline itself, cut where the rungs are cut.

use std::sync::mpsc::SyncSender;

use bytes::Bytes;
use playlists::{
    Bitrate, LadderError, MediaTime, Rendition, Renditions, RungName,
    rendition::{self, Alone, Kind, Track},
};
use segmenter::{Grid, cutter::Span};

use crate::{
    captions::{Captions, Cue},
    config::Config,
    error::Error,
    libav::{About, Muxer, Packet, Sound},
    rung::Made,
};

/// A track of sound on the run's timeline.
pub(crate) struct Voice {
    pub(crate) sound: Sound,
    /// No part waits for it: there is none in the input, or it has stopped.
    pub(crate) missing: bool,
}

/// The makers of all renditions, in their order: sound first.
pub(crate) struct Beside {
    /// Each cuts what the voice of its place has said. If the rungs carry the one voice there is: none, or one that cuts the same
    /// once more.
    muxers: Vec<Muxer>,
    captions: Vec<Captions>,
    /// Each rendition's init segment.
    pub(crate) inits: Vec<Bytes>,
    pub(crate) renditions: Renditions,
    /// How many shares of a part the rungs have.
    rungs: usize,
    /// When the segment that is being cut began.
    began: MediaTime,
}

/// The voices of a run, the main one first; without any sound in the input there is one all the same.
pub(crate) fn voices(config: &Config, about: &About) -> Result<Vec<Voice>, Error> {
    let count = about.sounds.len().max(1);
    let voice = |_| {
        Ok(Voice {
            sound: Sound::open(config.audio())?,
            missing: about.sounds.is_empty(),
        })
    };
    (0..count).map(voice).collect()
}

/// Whether the rungs are pictures alone: there is sound to choose.
pub(crate) fn apart(voices: &[Voice]) -> bool {
    voices.len() > 1
}

impl Beside {
    pub(crate) fn open(
        config: &Config,
        about: &About,
        voices: &[Voice],
        rungs: usize,
    ) -> Result<Self, Error> {
        let (mut muxers, mut inits, mut others) = (Vec::new(), Vec::new(), Vec::new());
        let apart = if apart(voices) { voices } else { &[] };
        for (voice, track) in apart.iter().zip(&about.sounds) {
            let (muxer, init) = Muxer::open_sound(&voice.sound, config.origin())?;
            others.push(rendition(Kind::Audio, muxers.len(), track, config.audio())?);
            muxers.push(muxer);
            inits.push(init);
        }
        let alone = config.audio_rung.then(|| Alone {
            bandwidth: config.audio().scale(STRAYS),
            average: config.audio().scale(HEADS),
        });
        if let (Some(main), Some(_)) = (others.first_mut(), alone) {
            main.alone = alone;
        } else if let (Some(_), Some(voice)) = (alone, voices.first()) {
            let track = about.sounds.first().cloned().unwrap_or_default();
            let (muxer, init) = Muxer::open_sound(&voice.sound, config.origin())?;
            let made = rendition(Kind::Audio, 0, &track, config.audio())?;
            others.push(Rendition {
                name: named(RungName::try_from(rendition::ALONE.to_owned()))?,
                default: false,
                alone,
                ..made
            });
            muxers.push(muxer);
            inits.push(init);
        }
        let mut captions = Vec::new();
        for track in &about.subtitles {
            others.push(rendition(
                Kind::Subtitles,
                captions.len(),
                track,
                config.audio(),
            )?);
            captions.push(Captions::new(config.origin()));
            inits.push(Bytes::new());
        }
        Ok(Self {
            muxers,
            captions,
            inits,
            renditions: Renditions {
                main: about.sounds.first().cloned().unwrap_or_default(),
                others,
                closed: None,
            },
            rungs,
            began: MediaTime::ZERO,
        })
    }

    /// A cue on the run's own time. Its track is one that was there at the start.
    pub(crate) fn cue(&mut self, track: usize, cue: Cue) {
        if let Some(captions) = self.captions.get_mut(track) {
            captions.put(cue);
        }
    }

    /// Every rendition's share of the part that `span` is; `carried` is the sound that the rungs have of it. `false`: nobody
    /// takes it any more.
    pub(crate) fn cut(
        &mut self,
        span: Span,
        grid: &Grid,
        voices: &mut [Voice],
        carried: &[Packet],
        made: &SyncSender<Made>,
    ) -> Result<bool, Error> {
        let until = grid.sample(span.end_frame());
        let mut shares = Vec::with_capacity(self.inits.len());
        let apart = apart(voices);
        for (muxer, voice) in self.muxers.iter_mut().zip(voices) {
            let own = match apart {
                true => voice.sound.take(until),
                false => Vec::new(),
            };
            for packet in own.iter().chain(carried) {
                muxer.sound(packet)?;
            }
            shares.push(muxer.cut()?);
        }
        let end = grid.time(span.end_frame());
        for captions in &mut self.captions {
            shares.push(if span.last {
                captions.take(self.began, end).into()
            } else {
                Bytes::new()
            });
        }
        if span.last {
            self.began = end;
        }
        let sent = shares.into_iter().enumerate().all(|(place, media)| {
            let rung = self.rungs + place;
            let independent = span.index == 0;
            made.send(Made {
                rung,
                span,
                independent,
                media: Some(media),
            })
            .is_ok()
        });
        Ok(sent)
    }
}

fn named(name: Result<RungName, LadderError>) -> Result<RungName, Error> {
    name.map_err(|why| Error::Option {
        option: "--audio-tracks",
        why: why.to_string(),
    })
}

/// The encoder strays from its rate by the bits it has saved up.
const STRAYS: f64 = 1.25;
/// Each part has a head.
const HEADS: f64 = 1.04;

fn rendition(kind: Kind, index: usize, track: &Track, audio: Bitrate) -> Result<Rendition, Error> {
    let (codecs, bandwidth) = match kind {
        Kind::Audio => (crate::crew::AAC_LC, audio.scale(STRAYS)),
        Kind::Subtitles => ("wvtt", Bitrate::from_kbps(8)),
    };
    let name = kind.name(index, track.language.as_deref());
    Ok(Rendition {
        kind,
        name: named(name)?,
        track: track.clone(),
        default: kind == Kind::Audio && index == 0,
        codecs: codecs.to_owned(),
        bandwidth,
        alone: None,
    })
}
