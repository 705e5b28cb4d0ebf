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
    cutter::Cutter,
    wire::{self, Hello},
};

use crate::{
    config::Config,
    error::Error,
    ladder::{self, Plan},
    libav::{self, About, Look, Muxer, Original, Setup, Sound, VideoEncoder},
    likeness::Likeness,
    rung::{Made, Rung, Work},
    through::Through,
    writer::{Stdout, Writer},
};

/// A rung that is ready to go.
pub(crate) struct Opened {
    pub(crate) published: Published,
    pub(crate) plan: Plan,
    encoder: VideoEncoder,
    muxer: Muxer,
    pub(crate) init: Bytes,
}

/// The rung that is passed on, ready to go.
pub(crate) struct Passed {
    pub(crate) published: Published,
    pub(crate) through: Through,
    pub(crate) init: Bytes,
}

/// Opens every rung's encoder and muxer, and, above them, the muxer of an original that is passed on. All muxers carry the
/// parameter sets of all rungs, the largest rung's first.
pub(crate) fn open_ladder(
    config: &Config,
    grid: &Grid,
    look: Look,
    plans: Vec<Plan>,
    sound: Option<&Sound>,
    original: Option<&Original>,
) -> Result<(Vec<Opened>, Option<Passed>), Error> {
    let fps = grid.fps();
    let plans = match original {
        Some(original) => ladder::below(plans, original.size, rate(original, fps)),
        None => plans,
    };
    let cutter = Cutter::new(*grid);
    let (shortest, longest) = cutter.range(original.is_some());
    let taken = original.map_or_else(Vec::new, |original| original.sets.ids());
    let mut free = (0..MOST_SETS).filter(|id| !taken.contains(id));
    let common = libav::Common {
        preset: config.preset.clone(),
        fps,
        segment_frames: longest as u32,
        level: ladder::level(&plans, fps),
        look,
        largest: plans.last().map_or(look.size, |plan| plan.size),
        threads: config.threads,
    };
    let encoders = plans.iter().map(|plan| {
        let id = free.next().unwrap_or(MOST_SETS);
        VideoEncoder::open(plan, id, &common)
    });
    let encoders = encoders.collect::<Result<Vec<_>, _>>()?;
    let sets = encoders.iter().rev().flat_map(VideoEncoder::parameter_sets);
    let own = original.map_or_else(Vec::new, |original| original.sets.octets());
    let sets: Vec<u8> = own.into_iter().chain(sets).collect();
    let setup = Setup {
        origin: config.origin(),
        fps,
    };
    let audio = sound.map_or(Bitrate::ZERO, |_| config.audio());
    let mut opened = Vec::new();
    for (plan, encoder) in plans.into_iter().zip(encoders) {
        let (muxer, init) = Muxer::open(&encoder, sound, &sets, setup)?;
        let promise = plan.promise(audio, grid, grid.time(shortest));
        opened.push(Opened {
            published: Published {
                name: name(&plan.name)?,
                width: plan.size.width,
                height: plan.size.height,
                bandwidth: promise.peak,
                average: promise.average,
                codecs: codecs(&plan.name, &encoder.parameter_sets(), AAC_LC)?,
                frame_rate: f64::from(fps),
                score: plan.score,
            },
            plan,
            encoder,
            muxer,
            init,
        });
    }
    let passed = original.map(|original| -> Result<Passed, Error> {
        let (muxer, init) = Muxer::open_original(&original.recipe, sound, &sets, setup)?;
        let sets = original.sets.clone();
        Ok(Passed {
            published: passed_on(original, grid, audio, AAC_LC)?,
            through: Through::new(opened.len(), sets, muxer, *grid, grid.time(longest)),
            init,
        })
    });
    Ok((opened, passed.transpose()?))
}

/// The rung that is passed on, with sound of this rate and kind.
pub(crate) fn passed_on(
    original: &Original,
    grid: &Grid,
    sound: Bitrate,
    kind: &str,
) -> Result<Published, Error> {
    let promise = ladder::promise_of_original(rate(original, grid.fps()), sound, grid);
    Ok(Published {
        name: name(SOURCE)?,
        width: original.size.width,
        height: original.size.height,
        bandwidth: promise.peak,
        average: promise.average,
        codecs: codecs(SOURCE, &original.sets.octets(), kind)?,
        frame_rate: f64::from(grid.fps()),
        score: None,
    })
}

/// By the container's word, or what is usual.
fn rate(original: &Original, fps: u32) -> Bitrate {
    let usual = || ladder::usual_rate(original.size, fps);
    original.rate.unwrap_or_else(usual)
}

fn name(name: &str) -> Result<RungName, Error> {
    RungName::try_from(name.to_owned()).map_err(refused)
}

fn codecs(rung: &str, parameter_sets: &[u8], sound: &str) -> Result<String, Error> {
    let video = libav::codec_name(parameter_sets).ok_or_else(|| Error::Libav {
        doing: format!("rung {rung}: reading its parameter sets"),
        why: "there is no SPS among them".into(),
    })?;
    Ok(format!("{video},{sound}"))
}

pub(crate) fn refused(why: LadderError) -> Error {
    Error::Option {
        option: "--rung",
        why: why.to_string(),
    }
}

/// What the reader is told before the first part.
pub(crate) fn hello(
    about: &About,
    likeness: &Likeness,
    grid: &Grid,
    rungs: Vec<Published>,
    renditions: Renditions,
    follows: bool,
) -> Result<Hello, Error> {
    let (shortest, _) = Cutter::new(*grid).range(follows);
    Ok(Hello {
        version: wire::VERSION,
        ladder: Ladder::new(rungs).map_err(refused)?,
        renditions,
        segment: grid.segment(),
        shortest: grid.time(shortest),
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

/// What the rung is called that is passed on.
const SOURCE: &str = "source";
/// Parameter sets of either kind that x264 can number (`--sps-id`).
const MOST_SETS: u32 = 32;
pub(crate) const AAC_LC: &str = "mp4a.40.2";
/// Pictures between one rung and the next: enough for the dearest picture of one to coincide with others' cheap ones.
const QUEUE: usize = 6;

/// How many cores this machine has for us.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
