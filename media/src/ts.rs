//! A CMAF segment as MPEG-TS (ISO/IEC 13818-1), whole and by itself. (Reading MPEG-TS is the business of `read` and `demux`.)
//!
//! A viewer may be given any sequence of rungs' segments, one after another, and a demultiplexer
//! must not notice where one ends: tables and times are the same in all rungs, and on every PID a
//! segment has a multiple of 16 packets, so that continuity counters go on without a gap.

pub mod demux;
mod packet;
pub mod read;
mod tables;

use self::{
    packet::{Clock, Packets, Pid},
    tables::Tables,
};
use crate::{Error, Init, Run, Sample, aac, avc, fragments};

/// Transmuxes a segment, given in its parts, whose init section is `init`.
///
/// Takes the first track of H.264 and, if there is one, the first of AAC. Costs about a copy.
pub fn transmux(init: &Init, parts: &[&[u8]]) -> Result<Vec<u8>, Error> {
    let (video, sets) = init.video().ok_or(Error::NoTrack { wanted: "H.264" })?;
    let audio = init.audio();
    let (mut pictures, mut sound) = (Vec::new(), Vec::new());
    for octets in parts {
        for run in fragments(octets, init)?
            .iter()
            .flat_map(|fragment| &fragment.runs)
        {
            if run.track == video.id {
                pictures.extend(units(octets, run, video.timescale)?);
            } else if let Some((track, _)) = audio.filter(|(track, _)| track.id == run.track) {
                sound.extend(units(octets, run, track.timescale)?);
            }
        }
    }
    if pictures.is_empty() {
        return Err(Error::NoKeyFrame);
    }
    let groups: Vec<_> = groups(&sound).collect();
    let octets: usize = parts.iter().map(|part| part.len()).sum();
    let mut writer = Writer {
        packets: Packets::with_capacity(octets + octets / 16 + 32 * 1024),
        tables: Tables::new(audio.is_some()),
        pes: Vec::new(),
        sets,
        audio: audio.map(|(_, config)| config),
    };
    let mut groups = groups.into_iter().peekable();
    let count = pictures.len();
    for (number, picture) in pictures.iter().enumerate() {
        // The first picture first: it carries the clock.
        while let Some(group) =
            groups.next_if(|group| number > 0 && group[0].decoded <= picture.decoded)
        {
            writer.sound(group, groups.peek().is_none())?;
        }
        writer.tables_until(number + 1, count);
        writer.picture(picture, number + 1 == count)?;
    }
    while let Some(group) = groups.next() {
        writer.sound(group, groups.peek().is_none())?;
    }
    Ok(writer.packets.finish())
}

/// A segment with nothing in it but the tables, for one that is lost: whoever plays it knows the
/// multiplex, and finds no gap in a counter.
pub fn transmux_nothing(init: &Init) -> Vec<u8> {
    let mut packets = Packets::with_capacity(0);
    Tables::new(init.audio().is_some()).write_until(Packets::ROUND, &mut packets);
    packets.finish()
}

/// What is shown or heard at once: a picture, or a frame of sound. Times are in 1/90000 s and not wrapped.
#[derive(Debug)]
struct Unit<'a> {
    decoded: u64,
    shown: u64,
    /// When the next one follows without a gap.
    end: u64,
    sync: bool,
    octets: &'a [u8],
}

/// The samples of a run that are not empty.
fn units<'a>(octets: &'a [u8], run: &Run, timescale: u32) -> Result<Vec<Unit<'a>>, Error> {
    let unit = |sample: &Sample| {
        let shown = sample.time.saturating_add_signed(i64::from(sample.offset));
        let end = sample.time.saturating_add(u64::from(sample.duration));
        Some(Unit {
            decoded: ticks(sample.time, timescale),
            shown: ticks(shown, timescale),
            end: ticks(end, timescale),
            sync: sample.sync,
            octets: octets
                .get(sample.data.clone())
                .filter(|octets| !octets.is_empty())?,
        })
    };
    Ok(run.samples.iter().filter_map(unit).collect())
}

/// From ticks of a track to those of MPEG-TS. What does not fit into 64 bits is wrapped, as all is to 33 in the end.
pub(crate) fn ticks(time: u64, timescale: u32) -> u64 {
    (u128::from(time) * u128::from(TICKS) / u128::from(timescale.max(1))) as u64
}

/// Frames of sound that go into one packet of the elementary stream: they follow each other, and are few.
fn groups<'a>(sound: &'a [Unit<'a>]) -> impl Iterator<Item = &'a [Unit<'a>]> {
    let mut rest = sound;
    std::iter::from_fn(move || {
        let mut octets = 0;
        let end = rest.iter().enumerate().position(|(at, frame)| {
            octets += frame.octets.len() + aac::ADTS_HEAD;
            let follows = at == 0 || frame.decoded.abs_diff(rest[at - 1].end) <= 1;
            at > 0 && (at == GROUP || octets > GROUP_OCTETS || !follows)
        });
        let (group, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        (!group.is_empty()).then_some(group)
    })
}

struct Writer<'a> {
    packets: Packets,
    tables: Tables,
    /// The packet of an elementary stream in the making; kept for its memory.
    pes: Vec<u8>,
    sets: &'a avc::Config,
    audio: Option<&'a aac::Config>,
}

impl Writer<'_> {
    /// Writes tables where `done` of `all` pictures call for them: evenly, and 16 times in all.
    fn tables_until(&mut self, done: usize, all: usize) {
        let due = (Packets::ROUND * done).div_ceil(all.max(1));
        self.tables.write_until(due, &mut self.packets);
    }

    fn picture(&mut self, picture: &Unit<'_>, last: bool) -> Result<(), Error> {
        self.pes.clear();
        // No length: it may be more than 16 bits can say (section 2.4.3.7).
        pes_head(&mut self.pes, VIDEO, None, picture.shown, picture.decoded);
        annex_b(&mut self.pes, self.sets, picture)?;
        let clock = Clock {
            time: picture.decoded.wrapping_sub(LEAD),
            random_access: picture.sync,
        };
        self.packets
            .stream(Pid::Video, &self.pes, Some(clock), last);
        Ok(())
    }

    fn sound(&mut self, group: &[Unit<'_>], last: bool) -> Result<(), Error> {
        let (Some(config), Some(first)) = (self.audio, group.first()) else {
            return Ok(());
        };
        let payload = group
            .iter()
            .map(|frame| frame.octets.len() + aac::ADTS_HEAD);
        let payload: usize = payload.sum();
        self.pes.clear();
        pes_head(
            &mut self.pes,
            AUDIO,
            Some(payload),
            first.shown,
            first.shown,
        );
        for frame in group {
            self.pes
                .extend_from_slice(&config.adts(frame.octets.len())?);
            self.pes.extend_from_slice(frame.octets);
        }
        self.packets.stream(Pid::Audio, &self.pes, None, last);
        Ok(())
    }
}

/// A picture with start codes instead of lengths, behind a delimiter, and with its parameter sets if it is a key frame.
fn annex_b(to: &mut Vec<u8>, config: &avc::Config, picture: &Unit<'_>) -> Result<(), Error> {
    let mut put = |unit: &[u8]| {
        to.extend_from_slice(&[0, 0, 0, 1]);
        to.extend_from_slice(unit);
    };
    put(DELIMITER);
    let units = || config.units(picture.octets);
    let mut in_band = false;
    for unit in units() {
        in_band |= avc::kind(unit?) == avc::unit::SPS;
    }
    if picture.sync && !in_band {
        let sets = config.sets_of(picture.octets)?;
        put(sets.sps);
        put(sets.pps);
    }
    for unit in units() {
        let unit = unit?;
        if !unit.is_empty() && avc::kind(unit) != avc::unit::DELIMITER {
            put(unit);
        }
    }
    Ok(())
}

/// The head of a packet of an elementary stream (section 2.4.3.6).
fn pes_head(to: &mut Vec<u8>, stream: u8, payload: Option<usize>, shown: u64, decoded: u64) {
    let times: &[(u8, u64)] = if shown == decoded {
        &[(2, shown)]
    } else {
        &[(3, shown), (1, decoded)]
    };
    let head = 5 * times.len();
    let length = payload.map_or(0, |payload| payload + head + 3);
    let [high, low] = u16::try_from(length).unwrap_or(0).to_be_bytes();
    let which = if times.len() == 2 { 0xc0 } else { 0x80 };
    // Aligned: an access unit begins here.
    to.extend_from_slice(&[0, 0, 1, stream, high, low, 0x84, which, head as u8]);
    for (mark, time) in times {
        to.extend_from_slice(&[
            mark << 4 | (time >> 29) as u8 & 0x0e | 1,
            (time >> 22) as u8,
            (time >> 14) as u8 | 1,
            (time >> 7) as u8,
            (time << 1) as u8 | 1,
        ]);
    }
}

/// Per second, of time stamps.
pub const TICKS: u32 = 90_000;
/// How long before it is decoded the first octet of a picture comes: enough for its octets and the sound beside it.
const LEAD: u64 = TICKS as u64 / 5;
const VIDEO: u8 = 0xe0;
const AUDIO: u8 = 0xc0;
/// An access unit delimiter for pictures of any kind.
const DELIMITER: &[u8] = &[avc::unit::DELIMITER, 0xf0];
/// At 48 kHz, 171 ms.
const GROUP: usize = 8;
/// A packet of sound says its length in 16 bits.
const GROUP_OCTETS: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(decoded: u64, octets: &[u8]) -> Unit<'_> {
        Unit {
            decoded,
            shown: decoded,
            end: decoded + 1920,
            sync: true,
            octets,
        }
    }

    #[test]
    fn sound_is_grouped_until_it_breaks_off_or_is_much() {
        let (small, large) = (vec![0; 200], vec![0; 8000]);
        let mut sound: Vec<_> = (0..11).map(|at| frame(at * 1920, &small)).collect();
        sound.extend((20..25).map(|at| frame(at * 1920, &large)));
        let lengths: Vec<_> = groups(&sound).map(<[_]>::len).collect();
        assert_eq!(lengths, [8, 3, 4, 1]);
    }

    #[test]
    fn a_time_stamp_wraps_at_33_bits() {
        let stamp = |time| {
            let mut head = Vec::new();
            pes_head(&mut head, VIDEO, None, time, time);
            head[9..].to_vec()
        };
        assert_eq!(stamp(0), [0x21, 0, 1, 0, 1]);
        assert_eq!(stamp((1 << 33) - 1), [0x2f, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(stamp((1 << 33) + 5), stamp(5));
        assert_eq!(ticks(48_000 * 86_400 * 365, 48_000), 90_000 * 86_400 * 365);
    }
}
