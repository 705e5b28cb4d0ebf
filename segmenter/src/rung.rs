//! One rung at work, on its own thread: takes each picture, hands a smaller one down to the next rung, encodes, and
//! at each cut makes a part.
//!
//! Rungs hang in a chain, largest first, each feeding the next smaller one. Every channel is bounded: when the
//! slowest rung or the reader of stdout is behind, all wait, and so does the input.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender},
    },
};

use bytes::Bytes;
use segmenter::cutter::{Begins, Span};

use crate::{
    error::Error,
    ladder::{Plan, Size},
    libav::{Muxer, Packet, Picture, Scaler, VideoEncoder},
};

/// What goes down the chain, in order.
pub(crate) enum Work {
    /// Picture `frame` of the run, at the size of the rung that it comes to.
    Picture {
        frame: u64,
        begins: Begins,
        /// So many rungs, the cheapest, encode it.
        encoded: usize,
        picture: Picture,
    },
    /// Every picture of `span` has come; this is its sound.
    Cut {
        span: Span,
        /// As its pictures had it.
        encoded: usize,
        sound: Arc<Vec<Packet>>,
    },
}

/// One rung's share of one part.
pub(crate) struct Made {
    /// Counted from the cheapest rung.
    pub(crate) rung: usize,
    pub(crate) span: Span,
    /// It starts with a key frame.
    pub(crate) independent: bool,
    /// `None` if it was not encoded: the next cheaper rung's stands in for it.
    pub(crate) media: Option<Bytes>,
}

pub(crate) struct Rung {
    pub(crate) index: usize,
    /// It has a key frame at each part, not only at each segment: whoever watches another rung can come down to it at any
    /// part.
    pub(crate) open: bool,
    pub(crate) plan: Plan,
    pub(crate) encoder: VideoEncoder,
    pub(crate) muxer: Muxer,
    /// The next smaller rung.
    pub(crate) below: Option<(SyncSender<Work>, Size)>,
    pub(crate) made: SyncSender<Made>,
    /// The part before was not encoded here.
    pub(crate) rested: bool,
}

impl Rung {
    /// Until the work ends, or whoever takes what is made has gone; why that is, they know better.
    pub(crate) fn run(mut self, work: &Receiver<Work>) -> Result<(), Error> {
        let mut scaler = match &self.below {
            Some((_, size)) => Some(Scaler::new(self.plan.size, *size)?),
            None => None,
        };
        // Encoded pictures of parts that are not cut yet. Bounded by how long the pipeline waits for sound.
        let mut waiting = VecDeque::new();
        for work in work {
            if !self.hand_down(&work, scaler.as_mut())? {
                return Ok(());
            }
            match work {
                Work::Picture {
                    frame,
                    begins,
                    encoded,
                    picture,
                } => {
                    if self.index < encoded {
                        self.encode(&picture, frame, self.has_key(begins), &mut waiting)?;
                    }
                }
                Work::Cut {
                    span,
                    encoded,
                    sound,
                } => {
                    let media = match self.index < encoded {
                        true => Some(self.cut(span, &sound, &mut waiting)?),
                        false => None,
                    };
                    self.rested = media.is_none();
                    if self
                        .made
                        .send(Made {
                            rung: self.index,
                            span,
                            independent: self.open || span.index == 0,
                            media,
                        })
                        .is_err()
                    {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn hand_down(&self, work: &Work, scaler: Option<&mut Scaler>) -> Result<bool, Error> {
        let (Some((below, _)), Some(scaler)) = (&self.below, scaler) else {
            return Ok(true);
        };
        let work = match work {
            Work::Picture {
                frame,
                begins,
                encoded,
                picture,
            } => Work::Picture {
                frame: *frame,
                begins: *begins,
                encoded: *encoded,
                picture: scaler.scale(picture)?,
            },
            Work::Cut {
                span,
                encoded,
                sound,
            } => Work::Cut {
                span: *span,
                encoded: *encoded,
                sound: Arc::clone(sound),
            },
        };
        Ok(below.send(work).is_ok())
    }

    fn has_key(&self, begins: Begins) -> bool {
        match begins {
            Begins::Segment => true,
            Begins::Part => self.open,
            Begins::Nothing => false,
        }
    }

    fn encode(
        &mut self,
        picture: &Picture,
        frame: u64,
        idr: bool,
        waiting: &mut VecDeque<Packet>,
    ) -> Result<(), Error> {
        self.encoder.put(picture, frame, idr)?;
        while let Some(packet) = self.encoder.take()? {
            if packet.pts() == Some(frame as i64) && packet.is_key() != idr {
                return Err(Error::Step {
                    rung: self.plan.name.clone(),
                    frame,
                    want: idr,
                });
            }
            waiting.push_back(packet);
        }
        Ok(())
    }

    fn cut(
        &mut self,
        span: Span,
        sound: &[Packet],
        waiting: &mut VecDeque<Packet>,
    ) -> Result<Bytes, Error> {
        let want = span.frames as usize;
        if waiting.len() < want {
            let rung = self.plan.name.clone();
            return Err(Error::Withheld {
                rung,
                part: span.number,
                got: waiting.len(),
                want: span.frames,
            });
        }
        if self.rested {
            self.muxer.skip()?;
        }
        for packet in waiting.drain(..want) {
            self.muxer.picture(packet)?;
        }
        for packet in sound {
            self.muxer.sound(packet)?;
        }
        self.muxer.cut()
    }
}
