//! The sound of a segment of MPEG-TS, as samples: frames of AAC, which may lie across packets.

use super::{Clock, Coded};
use crate::{
    Error, aac,
    ts::{TICKS, demux::Pes},
};

/// A segment's sound.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sound {
    /// Their times are in samples.
    pub(super) frames: Vec<Coded>,
    pub(super) data: Vec<u8>,
    pub(super) damaged: usize,
}

/// What the first frame in a packet says, if there is one.
pub(super) fn config(packet: &Pes) -> Option<Result<aac::Config, Error>> {
    let frame = aac::framed(&packet.data)?;
    let fit = frame.config.adts(0).map(|_| frame.config);
    Some(match frame.blocks {
        true => Err(Error::Ts {
            what: "several blocks in a frame of AAC",
        }),
        false => fit,
    })
}

/// Every frame, of which all are coded as `known`.
pub(super) fn of(packets: &[Pes], clock: &Clock, known: &aac::Config) -> Result<Sound, Error> {
    let mut sound = Sound::default();
    for (octets, marks) in stretches(packets) {
        sound.stretch(&octets, &marks, clock, known)?;
    }
    Ok(sound)
}

/// Where in a stretch a packet begins, and what it says of the first frame that begins in it.
type Mark = (usize, Option<u64>);

/// Packets that follow one another without a hole, joined.
fn stretches(packets: &[Pes]) -> Vec<(Vec<u8>, Vec<Mark>)> {
    let mut stretches: Vec<(Vec<u8>, Vec<Mark>)> = Vec::new();
    for packet in packets {
        if !packet.follows || stretches.is_empty() {
            stretches.push(Default::default());
        }
        if let Some((octets, marks)) = stretches.last_mut() {
            marks.push((octets.len(), packet.stamps.shown));
            octets.extend_from_slice(&packet.data);
        }
    }
    stretches
}

impl Sound {
    /// For each frame that `lead` has, the one of this that is heard then, or else that of `lead`.
    pub(super) fn in_place_of(self, lead: &Self) -> Self {
        if lead.frames.is_empty() {
            return self;
        }
        let mut all = Self {
            damaged: self.damaged,
            ..Self::default()
        };
        let mut own = self.frames.iter().peekable();
        for frame in &lead.frames {
            while own
                .next_if(|own| own.start + (FRAME as u64) / 2 < frame.start)
                .is_some()
            {}
            let same = own.next_if(|own| own.start <= frame.start + FRAME as u64 / 2);
            let octets = match same {
                Some(own) => self.data.get(own.data.clone()),
                None => lead.data.get(frame.data.clone()),
            };
            let from = all.data.len();
            all.data.extend_from_slice(octets.unwrap_or_default());
            all.frames.push(Coded {
                data: from..all.data.len(),
                ..frame.clone()
            });
        }
        all
    }

    fn stretch(
        &mut self,
        octets: &[u8],
        marks: &[Mark],
        clock: &Clock,
        known: &aac::Config,
    ) -> Result<(), Error> {
        let (mut at, mut marks, mut time) = (0, marks.iter().peekable(), None);
        while at < octets.len() {
            let mut stamp = None;
            while let Some((_, shown)) = marks.next_if(|(from, _)| *from <= at) {
                stamp = clock.time(*shown).or(stamp);
            }
            if let Some(stamp) = stamp {
                time = Some(i128::from(stamp) * i128::from(known.rate) / i128::from(TICKS));
            }
            let frame = aac::framed(&octets[at..]).filter(|frame| octets.len() - at >= frame.whole);
            let Some(frame) = frame else {
                self.damaged += 1;
                at = next(octets, at + 1);
                continue;
            };
            if frame.config != *known || frame.blocks {
                // A head in the middle of damage is as good as none.
                if aac::framed(&octets[at + frame.whole..]).is_none() {
                    self.damaged += 1;
                    at = next(octets, at + 1);
                    continue;
                }
                return Err(Error::Sound {
                    found: said(&frame.config),
                    known: said(known),
                });
            }
            at += frame.whole;
            if let Some(start) = time {
                self.frame(start as i64, frame.frame);
                time = Some(start + i128::from(FRAME));
            }
        }
        Ok(())
    }

    /// A frame that is heard at about `start`. Times that are rounded to 1/90000 s are taken to follow one another; one that
    /// comes while another is still heard is left out.
    fn frame(&mut self, start: i64, octets: &[u8]) {
        let mut start = start.max(0);
        if let Some(last) = self.frames.last_mut() {
            let end = last.start as i64 + FRAME;
            if start + FRAME / 2 < end {
                return;
            }
            if start - end < FRAME / 2 {
                start = end;
            }
            last.duration = u32::try_from(start - last.start as i64).unwrap_or(u32::MAX);
        }
        let from = self.data.len();
        self.data.extend_from_slice(octets);
        self.frames.push(Coded {
            start: start as u64,
            duration: FRAME as u32,
            offset: 0,
            sync: true,
            data: from..self.data.len(),
        });
    }
}

/// Where the next frame may begin.
fn next(octets: &[u8], from: usize) -> usize {
    let rest = octets.get(from..).unwrap_or_default();
    let head = rest
        .windows(2)
        .position(|two| two[0] == 0xff && two[1] & 0xf6 == 0xf0);
    head.map_or(octets.len(), |head| from + head)
}

fn said(config: &aac::Config) -> String {
    let aac::Config {
        object_type,
        rate,
        channels,
        ..
    } = config;
    format!("mp4a.40.{object_type} of {rate} Hz in {channels} channels")
}

/// Samples in a frame.
const FRAME: i64 = 1024;
