//! Everyone who works on a run beside the pipeline: opens the rungs, says what they will make, sets each to work on
//! a thread of its own, and waits for them in the end.

use std::{
    sync::mpsc::{SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use playlists::{Bitrate, Ladder, LadderError, Renditions, Rung as Published, RungName};
use segmenter::{
    Grid,
    wire::{self, Hello},
};

use crate::{
    config::Config,
    error::Error,
    ladder::{self, Plan},
    libav::{self, About, Look, Muxer, Setup, Sound, VideoEncoder},
    likeness::Likeness,
    rung::{Made, Rung, Work},
    writer::{Stdout, Writer},
};

/// A rung that is ready to go.
pub(crate) struct Opened {
    pub(crate) plan: Plan,
    codecs: String,
    encoder: VideoEncoder,
    muxer: Muxer,
    pub(crate) init: Bytes,
}

/// Opens every rung's encoder and muxer. All muxers carry the parameter sets of all rungs, the largest rung's first.
pub(crate) fn open_rungs(
    config: &Config,
    grid: &Grid,
    look: Look,
    plans: &[Plan],
    sound: Option<&Sound>,
) -> Result<Vec<Opened>, Error> {
    let common = libav::Common {
        preset: config.preset.clone(),
        fps: grid.fps(),
        segment_frames: grid.segment_frames(),
        level: ladder::level(plans, grid.fps()),
        look,
        largest: plans.last().map_or(look.size, |plan| plan.size),
        threads: config.threads,
    };
    let encoders = plans
        .iter()
        .enumerate()
        .map(|(id, plan)| VideoEncoder::open(plan, id, &common));
    let encoders = encoders.collect::<Result<Vec<_>, _>>()?;
    let sets: Vec<u8> = encoders
        .iter()
        .rev()
        .flat_map(VideoEncoder::parameter_sets)
        .collect();
    let setup = Setup {
        origin: config.origin(),
        fps: grid.fps(),
    };
    plans
        .iter()
        .zip(encoders)
        .map(|(plan, encoder)| {
            let (muxer, init) = Muxer::open(&encoder, sound, &sets, setup)?;
            let video =
                libav::codec_name(&encoder.parameter_sets()).ok_or_else(|| Error::Libav {
                    doing: format!("rung {}: reading the encoder's parameter sets", plan.name),
                    why: "there is no SPS among them".into(),
                })?;
            Ok(Opened {
                plan: plan.clone(),
                codecs: format!("{video},{AAC_LC}"),
                encoder,
                muxer,
                init,
            })
        })
        .collect()
}

/// What the reader is told before the first part.
pub(crate) fn hello(
    config: &Config,
    about: &About,
    likeness: &Likeness,
    grid: &Grid,
    rungs: &[Opened],
    renditions: Renditions,
) -> Result<Hello, Error> {
    let published = rungs.iter().map(|rung| {
        let sound = match renditions.apart() {
            true => Bitrate::ZERO,
            false => config.audio(),
        };
        let promise = rung.plan.promise(sound, grid);
        Ok(Published {
            name: RungName::try_from(rung.plan.name.clone())?,
            width: rung.plan.size.width,
            height: rung.plan.size.height,
            bandwidth: promise.peak,
            average: promise.average,
            codecs: rung.codecs.clone(),
            frame_rate: f64::from(grid.fps()),
            score: rung.plan.score,
        })
    });
    let ladder = published
        .collect::<Result<Vec<_>, _>>()
        .and_then(Ladder::new);
    let ladder = ladder.map_err(|why: LadderError| Error::Option {
        option: "--rung",
        why: why.to_string(),
    })?;
    Ok(Hello {
        version: wire::VERSION,
        ladder,
        renditions,
        segment: grid.segment(),
        part: grid.part(),
        input: about.description.clone(),
        likeness: likeness.text(),
    })
}

/// The threads of a run: one for each rung, and the writer.
pub(crate) struct Crew {
    rungs: Vec<(String, JoinHandle<Result<(), Error>>)>,
    writer: JoinHandle<Result<Stdout, Error>>,
}

impl Crew {
    /// Hangs the rungs under each other, and gives the end to feed them by, and the one that takes what is made
    /// beside them.
    pub(crate) fn start(
        rungs: Vec<Opened>,
        open: usize,
        writer: Writer,
    ) -> Result<(SyncSender<Work>, SyncSender<Made>, Self), Error> {
        let (made, parts) = sync_channel(rungs.len() * 2);
        let mut below = None;
        let mut threads = Vec::new();
        for (
            index,
            Opened {
                plan,
                encoder,
                muxer,
                ..
            },
        ) in rungs.into_iter().enumerate()
        {
            let (feed, work) = sync_channel(QUEUE);
            let name = plan.name.clone();
            let rung = Rung {
                index,
                open: index < open,
                below: below.replace((feed, plan.size)),
                plan,
                encoder,
                muxer,
                made: made.clone(),
                rested: false,
            };
            let thread = thread::Builder::new()
                .name(name.clone())
                .spawn(move || rung.run(&work))
                .map_err(Error::Thread)?;
            threads.push((name, thread));
        }
        let writer = thread::Builder::new()
            .name("writer".into())
            .spawn(move || writer.run(&parts))
            .map_err(Error::Thread)?;
        let (top, _) = below.ok_or_else(|| Error::Option {
            option: "--rung",
            why: "no rung is left".into(),
        })?;
        Ok((
            top,
            made,
            Self {
                rungs: threads,
                writer,
            },
        ))
    }

    /// Waits for all of them. What one of the crew died of explains the pipeline's own `outcome`, not the other way round.
    pub(crate) fn join(self, outcome: Result<(), Error>) -> Result<Stdout, Error> {
        let died = |who: &str| Error::Panicked {
            who: format!("the thread of {who}"),
        };
        let rungs = self
            .rungs
            .into_iter()
            .map(|(name, rung)| rung.join().unwrap_or_else(|_| Err(died(&name))));
        let rungs = rungs.fold(Ok(()), Result::and);
        let stdout = self
            .writer
            .join()
            .unwrap_or_else(|_| Err(died("the writer")))?;
        rungs.and(outcome).map(|()| stdout)
    }
}

pub(crate) const AAC_LC: &str = "mp4a.40.2";
/// Pictures between one rung and the next: enough for the dearest picture of one to coincide with others' cheap ones.
const QUEUE: usize = 6;

/// How many cores this machine has for us.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
