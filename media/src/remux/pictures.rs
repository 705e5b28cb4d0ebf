//! The pictures of a segment of MPEG-TS, as samples.

use super::{Clock, Coded};
use crate::{
    Error, avc,
    avc::{annex_b, kind, unit},
    order::Order,
    ts::demux::Pes,
};

#[derive(Clone, Debug, Default)]
pub(super) struct Pictures {
    pub(super) frames: Vec<Coded>,
    pub(super) data: Vec<u8>,
    /// When the first is shown, be it one that could be kept or not.
    pub(super) begins: u64,
    /// How long a usual one is shown.
    pub(super) step: u64,
}

/// What the first key frame is decoded with, and whether it is the first picture.
pub(super) fn config(packets: &[Pes]) -> Result<(Option<avc::Config>, bool), Error> {
    let (mut sps, mut pps) = (None, None);
    for (number, packet) in packets.iter().enumerate() {
        for unit in annex_b(&packet.data) {
            match kind(unit) {
                unit::SPS => sps = Some(unit),
                unit::PPS => pps = pps.or(Some(unit)),
                unit::IDR => {
                    let set = |set| Error::NoSet { set, id: 0 };
                    let sps = sps.ok_or(set("SPS"))?;
                    let pps = pps.ok_or(set("PPS"))?;
                    return Ok((Some(avc::Config::of(sps, pps)?), number == 0));
                }
                _ => {}
            }
        }
    }
    Ok((None, false))
}

/// A picture as it comes: `None` of a time that is not said, or makes no sense.
struct Picture {
    shown: Option<i64>,
    decoded: Option<i64>,
    key: bool,
    data: std::ops::Range<usize>,
}

/// Every picture from the first key frame on. `length` is what the segment is said to be long, for one of a single picture.
pub(super) fn of(packets: &[Pes], clock: &Clock, length: u64) -> Result<Pictures, Error> {
    let mut data = Vec::with_capacity(packets.iter().map(|packet| packet.data.len() + 16).sum());
    let (mut pictures, mut begins) = (Vec::with_capacity(packets.len()), None::<i64>);
    let mut known = Known::default();
    for packet in packets {
        let from = data.len();
        let key = known.write(&packet.data, pictures.is_empty(), &mut data);
        let shown = clock.time(packet.stamps.shown);
        begins = match (begins, shown) {
            (Some(begins), Some(shown)) => Some(begins.min(shown)),
            (begins, shown) => begins.or(shown),
        };
        // What cannot be decoded by itself is of no use before something that can.
        if pictures.is_empty() && !key || data.len() == from {
            data.truncate(from);
            continue;
        }
        pictures.push(Picture {
            shown,
            decoded: clock.time(packet.stamps.decoded),
            key,
            data: from..data.len(),
        });
    }
    let first = pictures.first().ok_or(Error::NoKeyFrame)?;
    if !known.complete {
        return Err(Error::NoSet {
            set: "SPS or PPS",
            id: 0,
        });
    }
    let start = first.shown.or(begins).ok_or(Error::NoKeyFrame)?;
    let step = step(&pictures)
        .unwrap_or(length.try_into().unwrap_or(0))
        .max(1);
    let frames = timed(pictures, start, step);
    Ok(Pictures {
        frames,
        data,
        begins: begins.unwrap_or(start) as u64,
        step: step as u64,
    })
}

/// Parameter sets that came so far.
#[derive(Default)]
struct Known {
    sps: Vec<u8>,
    pps: Vec<Vec<u8>>,
    /// The first key frame has what it is decoded with.
    complete: bool,
}

impl Known {
    /// Writes a picture with its NAL units behind lengths, the first key frame with its parameter sets. Says whether it can be decoded by
    /// itself.
    fn write(&mut self, picture: &[u8], first: bool, to: &mut Vec<u8>) -> bool {
        let (mut key, mut own) = (false, false);
        for unit in annex_b(picture) {
            match kind(unit) {
                unit::SPS => {
                    (self.sps, own) = (unit.to_vec(), true);
                    self.pps.clear();
                }
                unit::PPS if self.pps.len() < MOST_PPS => self.pps.push(unit.to_vec()),
                unit::IDR => key = true,
                _ => {}
            }
        }
        let mut put = |unit: &[u8]| {
            to.extend_from_slice(&(unit.len() as u32).to_be_bytes());
            to.extend_from_slice(unit);
        };
        if key && first {
            self.complete = !self.sps.is_empty() && !self.pps.is_empty();
            if !own {
                // They came by themselves, before it.
                put(&self.sps);
                self.pps.iter().for_each(|pps| put(pps));
            }
        }
        let carried = annex_b(picture).filter(|unit| !BESIDE.contains(&kind(unit)));
        carried.for_each(put);
        key
    }
}

/// How long most pictures are shown.
fn step(pictures: &[Picture]) -> Option<i64> {
    let mut shown: Vec<_> = pictures
        .iter()
        .filter_map(|picture| picture.shown)
        .collect();
    shown.sort_unstable();
    let mut steps: Vec<_> = shown.windows(2).map(|two| two[1] - two[0]).collect();
    steps.retain(|step| *step > 0);
    steps.sort_unstable();
    steps.get(steps.len() / 2).copied()
}

fn timed(pictures: Vec<Picture>, start: i64, step: i64) -> Vec<Coded> {
    let mut order = Order::new(start, step);
    let (mut before, mut end) = (start - step, start);
    let mut frames: Vec<Coded> = Vec::with_capacity(pictures.len());
    for Picture {
        shown,
        decoded,
        key,
        data,
    } in pictures
    {
        let decoded = decoded.unwrap_or(before + step);
        before = decoded;
        let times = order.next(key, shown.unwrap_or(decoded), Some(decoded));
        end = end.max(times.shown + step);
        if let Some(last) = frames.last_mut() {
            last.duration = ticks(times.decoded - last.start as i64);
        }
        frames.push(Coded {
            start: times.decoded as u64,
            duration: ticks(step),
            offset: ticks(times.shown - times.decoded),
            sync: key,
            data,
        });
    }
    // Until the next segment begins.
    if let Some(last) = frames.last_mut() {
        last.duration = ticks((end - last.start as i64).max(1));
    }
    frames
}

fn ticks(span: i64) -> u32 {
    u32::try_from(span.max(0)).unwrap_or(u32::MAX)
}

/// NAL units that a sample goes without.
const BESIDE: [u8; 4] = [
    unit::DELIMITER,
    unit::END_OF_SEQUENCE,
    unit::END_OF_STREAM,
    unit::FILLER,
];

/// More are not remembered from one picture to the next.
const MOST_PPS: usize = 16;
