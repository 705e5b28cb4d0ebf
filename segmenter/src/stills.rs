//! Stills of a run: which sizes there are, and the thread that makes them. It never holds the ladder up: what comes
//! while it is busy has no stills, which is counted.

use std::{
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use playlists::{
    MediaTime,
    still::{Coding, Still},
};
use segmenter::Grid;

use crate::{
    config::{Config, Pacing},
    error::Error,
    ladder::Size,
    libav::{self, Look, Picture, StillEncoder},
    writer::Progress,
};

/// The end that pictures are put into.
pub(crate) struct Stills {
    pictures: SyncSender<(u64, Picture)>,
    /// The run is no live one, so that nobody is held up by waiting.
    waits: bool,
    progress: Arc<Progress>,
}

/// The end that stills come out of, segment by segment.
pub(crate) struct Made {
    stills: Receiver<(u64, Vec<Still>)>,
    waits: bool,
    /// The last segment of which any came, and what came before its turn.
    until: Option<u64>,
    early: Vec<(u64, Vec<Still>)>,
}

/// One size in one coding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Plan {
    tile: bool,
    coding: Coding,
    size: Size,
}

/// Starts the thread; `None` if no stills are wanted. Those who take what it makes outlive it, or it ends.
pub(crate) fn start(
    config: &Config,
    grid: &Grid,
    look: Look,
    top: Size,
    progress: &Arc<Progress>,
) -> Result<Option<(Stills, Made)>, Error> {
    let Some(seconds) = config.stills.0 else {
        return Ok(None);
    };
    let mut makers = Vec::new();
    for plan in plans(top)
        .into_iter()
        .filter(|plan| libav::codes(plan.coding))
    {
        let quality = match (plan.coding, plan.tile) {
            (Coding::Jpeg, true) => 6,
            (Coding::Jpeg, false) => 4,
            (Coding::Webp, _) => 75,
        };
        let encoder = StillEncoder::open(top, look.colours, plan.size, plan.coding, quality)?;
        makers.push((plan, encoder));
    }
    let every = (seconds / grid.segment().seconds()).round().max(1.0) as u64;
    let (pictures, work) = sync_channel(1);
    let begun = (AHEAD.seconds() / grid.segment().seconds()).ceil() as usize;
    let (made, stills) = sync_channel(MADE + begun);
    let run = move || {
        while let Ok((segment, picture)) = work.recv() {
            let stills = match make(&mut makers, &picture, segment % every == 0) {
                Ok(stills) => stills,
                Err(why) => {
                    tracing::warn!(%why, "no more stills in this run");
                    return;
                }
            };
            if made.send((segment, stills)).is_err() {
                return;
            }
        }
    };
    let builder = thread::Builder::new().name("stills".into());
    builder.spawn(run).map_err(Error::Thread)?;
    let waits = config.pace == Pacing::Off;
    let stills_in = Stills {
        pictures,
        waits,
        progress: Arc::clone(progress),
    };
    let made = Made {
        stills,
        waits,
        until: None,
        early: Vec::new(),
    };
    Ok(Some((stills_in, made)))
}

fn make(
    makers: &mut [(Plan, StillEncoder)],
    picture: &Picture,
    posters: bool,
) -> Result<Vec<Still>, Error> {
    let wanted = makers.iter_mut().filter(|(plan, _)| plan.tile || posters);
    let stills = wanted.map(|(plan, encoder)| {
        Ok(Still {
            tile: plan.tile,
            coding: plan.coding,
            width: plan.size.width as u16,
            height: plan.size.height as u16,
            media: encoder.encode(picture)?,
        })
    });
    stills.collect()
}

impl Stills {
    /// The first picture of `segment`.
    pub(crate) fn put(&self, segment: u64, picture: &Picture) {
        let Ok(picture) = libav::share(picture) else {
            return;
        };
        let missed = match self.waits {
            // Whoever ended has said why.
            true => self.pictures.send((segment, picture)).is_err(),
            false => {
                let tried = self.pictures.try_send((segment, picture));
                matches!(tried, Err(TrySendError::Full(_)))
            }
        };
        if missed {
            self.progress.unpictured.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Made {
    /// What there is of `segment`, whose last part is about to leave. What comes after that is nobody's.
    pub(crate) fn take(&mut self, segment: u64) -> Vec<Still> {
        let patience = if self.waits { PATIENCE } else { Duration::ZERO };
        while self.until.is_none_or(|until| until < segment) {
            match self.stills.recv_timeout(patience) {
                Ok((of, stills)) => {
                    self.until = Some(of);
                    self.early.push((of, stills));
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        let early = std::mem::take(&mut self.early).into_iter();
        let (due, early): (Vec<_>, Vec<_>) = early.partition(|(of, _)| *of <= segment);
        self.early = early;
        let mut due = due.into_iter().filter(|(of, _)| *of == segment);
        due.next().map_or_else(Vec::new, |(_, stills)| stills)
    }
}

/// A tile and the posters of a ladder whose pictures are at most of size `top`; none is larger than that.
fn plans(top: Size) -> Vec<Plan> {
    let mut widths: Vec<u32> = POSTERS.iter().map(|width| top.width.min(*width)).collect();
    widths.dedup();
    let tile = Plan {
        tile: true,
        coding: Coding::Jpeg,
        size: narrowed(top, top.width.min(TILE)),
    };
    let posters = widths.into_iter().flat_map(|width| {
        [Coding::Jpeg, Coding::Webp].map(|coding| Plan {
            tile: false,
            coding,
            size: narrowed(top, width),
        })
    });
    std::iter::once(tile).chain(posters).collect()
}

/// `size` at this width: as high as is nearest to its shape, in even lines.
fn narrowed(size: Size, width: u32) -> Size {
    let half = f64::from(size.height) * f64::from(width) / f64::from(size.width.max(1)) / 2.0;
    Size {
        width: (width & !1).max(2),
        height: (half.round() as u32 * 2).max(2),
    }
}

const TILE: u32 = 160;
const POSTERS: [u32; 3] = [320, 640, 1280];
/// Segments whose stills wait for the rest of the segment: some, and all that there may be of a gap that is filled. No part of
/// those is cut before sound comes, and if we were waited for until then, neither would ever go on.
const MADE: usize = 4;
/// How much media is begun before any of it is cut: the longest gap that is one, and the longest wait for sound; with a reserve.
const AHEAD: MediaTime = MediaTime::from_flicks(20 * MediaTime::PER_SECOND);
/// For one segment's stills, where nothing is live.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn posters_are_no_larger_than_the_ladder_and_keep_its_shape() {
        let sizes = |width, height| {
            let plans = plans(Size { width, height });
            let sizes = plans
                .iter()
                .map(|plan| (plan.tile, plan.size.width, plan.size.height));
            let mut sizes: Vec<_> = sizes.collect();
            sizes.dedup();
            sizes
        };
        let full = [
            (true, 160, 90),
            (false, 320, 180),
            (false, 640, 360),
            (false, 1280, 720),
        ];
        assert_eq!(sizes(1920, 1080), full);
        assert_eq!(
            sizes(854, 480),
            [
                (true, 160, 90),
                (false, 320, 180),
                (false, 640, 360),
                (false, 854, 480)
            ]
        );
        assert_eq!(sizes(100, 200), [(true, 100, 200), (false, 100, 200)]);
        assert_eq!(sizes(606, 1080)[0], (true, 160, 286));
    }
}
