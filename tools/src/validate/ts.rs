//! MPEG-TS (ISO/IEC 13818-1) as far as a validator looks at it: tables, counters, times, the first picture.

use std::collections::BTreeMap;

use media::avc::{self, unit};

use super::content::{Content, Sort, Track, Unread};

/// What is to be said of the packets of a segment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Packets {
    /// By PID, the counter of the first packet and of the last one that carry payload, and whether the first says
    /// that it does not go on (`discontinuity_indicator`).
    pub counters: BTreeMap<u16, Counter>,
    /// Where counters do not go on inside the segment.
    pub faults: Vec<String>,
    /// Both tables came before any media.
    pub tables_first: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Counter {
    pub first: u8,
    pub last: u8,
    pub announced: bool,
}

/// Times have 33 bits.
pub const WRAP: i64 = 1 << 33;

/// Reads a segment.
pub fn read(octets: &[u8]) -> Result<Content, Unread> {
    let mut reader = Reader::default();
    for (index, packet) in octets.chunks(PACKET).enumerate() {
        let whole: Option<&[u8; PACKET]> = packet.try_into().ok();
        let Some(packet) = whole.filter(|packet| packet[0] == 0x47) else {
            let found = format!(
                "no sync byte, or no whole packet, at octet {}",
                index * PACKET
            );
            return Err(Unread::Broken(found));
        };
        reader.packet(packet);
    }
    Ok(reader.finish())
}

#[derive(Debug, Default)]
struct Reader {
    packets: Packets,
    programme: Option<u16>,
    has_programme: bool,
    media_before_tables: bool,
    streams: BTreeMap<u16, Stream>,
}

/// An elementary stream.
#[derive(Debug, Default)]
struct Stream {
    kind: u8,
    /// When each access unit is decoded.
    times: Vec<i64>,
    /// The first access unit.
    first: Vec<u8>,
    /// How many have begun.
    begun: usize,
    /// All of it, if it is sound in ADTS frames, which say how many samples there are.
    sound: Vec<u8>,
}

impl Reader {
    fn packet(&mut self, packet: &[u8; PACKET]) {
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        let begins = packet[1] & 0x40 != 0;
        let (control, counter) = (packet[3] >> 4 & 3, packet[3] & 0xf);
        let mut payload = &packet[4..];
        let mut announced = false;
        if control & 2 != 0 {
            let length = usize::from(payload[0]);
            announced = length > 0 && payload[1] & 0x80 != 0;
            payload = payload.get(1 + length..).unwrap_or_default();
        }
        if pid == NULL || control & 1 == 0 {
            return;
        }
        self.count(pid, counter, announced);
        if pid == 0 {
            self.programme = self
                .programme
                .or_else(|| programme(section(payload, begins)?));
        } else if Some(pid) == self.programme {
            self.streams_of(section(payload, begins));
        } else if self.streams.contains_key(&pid) {
            self.payload(pid, begins, payload);
        } else if !self.has_programme && pid >= FIRST_FREE {
            self.media_before_tables = true;
        }
    }

    /// Counters go up by one with each packet that carries payload; one packet may come twice.
    fn count(&mut self, pid: u16, counter: u8, announced: bool) {
        let known = self.packets.counters.entry(pid).or_insert(Counter {
            first: counter,
            last: counter.wrapping_sub(1) & 0xf,
            announced,
        });
        let expected = (known.last + 1) & 0xf;
        if counter != expected
            && counter != known.last
            && !announced
            && self.packets.faults.len() < 8
        {
            let fault = format!("counter {counter} of PID {pid}, {expected} was due");
            self.packets.faults.push(fault);
        }
        known.last = counter;
    }

    fn streams_of(&mut self, table: Option<&[u8]>) {
        let Some(table) = table.filter(|table| table.first() == Some(&2)) else {
            return;
        };
        self.has_programme = true;
        let length = usize::from(u16::from_be_bytes([table[1] & 0xf, table[2]]));
        let Some(body) = table.get(..(3 + length).saturating_sub(4)) else {
            return;
        };
        let Some(information) = body.get(10..12) else {
            return;
        };
        let information = usize::from(u16::from_be_bytes([information[0] & 0xf, information[1]]));
        let mut rest = body.get(12 + information..).unwrap_or_default();
        while let [kind, high, low, es_high, es_low, after @ ..] = rest {
            let pid = u16::from_be_bytes([high & 0x1f, *low]);
            let kind = *kind;
            self.streams.entry(pid).or_insert_with(|| Stream {
                kind,
                ..Stream::default()
            });
            let skip = usize::from(u16::from_be_bytes([es_high & 0xf, *es_low]));
            rest = after.get(skip..).unwrap_or_default();
        }
    }

    fn payload(&mut self, pid: u16, begins: bool, payload: &[u8]) {
        let Some(stream) = self.streams.get_mut(&pid) else {
            return;
        };
        let mut payload = payload;
        if begins {
            stream.begun += 1;
            let Some((time, body)) = packetised(payload) else {
                return;
            };
            stream.times.extend(time);
            payload = body;
        }
        if stream.kind == AAC && stream.begun > 0 {
            stream.sound.extend_from_slice(payload);
        } else if stream.begun == 1 {
            stream.first.extend_from_slice(payload);
        }
    }

    fn finish(mut self) -> Content {
        self.packets.tables_first = self.has_programme && !self.media_before_tables;
        let streams = std::mem::take(&mut self.streams);
        let tracks = streams
            .into_iter()
            .filter_map(|(pid, stream)| track(pid, stream));
        Content {
            tracks: tracks.collect(),
            packets: Some(self.packets),
        }
    }
}

fn track(pid: u16, stream: Stream) -> Option<Track> {
    let (first, last) = (*stream.times.first()?, *stream.times.last()?);
    let mut track = Track {
        id: pid.into(),
        rate: 90_000,
        start: first,
        wraps: true,
        ..Track::default()
    };
    let span = (last - first).rem_euclid(WRAP);
    let count = stream.times.len() as i64;
    match stream.kind {
        AVC => {
            track.sort = Sort::Video;
            track.sample = if count > 1 { span / (count - 1) } else { 0 };
            track.end = first + span + track.sample;
            picture(&mut track, &stream.first);
        }
        AAC => {
            track.sort = Sort::Sound;
            let (frames, rate, object) = adts(&stream.sound)?;
            track.codec = format!("mp4a.40.{object}");
            track.sample = 1024 * 90_000 / i64::from(rate);
            track.end = first + 1024 * frames * 90_000 / i64::from(rate);
        }
        _ => {
            track.sample = if count > 1 { span / (count - 1) } else { 0 };
            track.end = first + span + track.sample;
        }
    }
    Some(track)
}

/// What the first access unit, with start codes before its NAL units, says.
fn picture(track: &mut Track, access: &[u8]) {
    let units = annex_b(access);
    let of = |kind: u8| units.iter().find(|one| avc::kind(one) == kind);
    let key = of(unit::IDR).is_some();
    track.key = Some(key);
    match (of(unit::SPS), of(unit::PPS)) {
        (Some(sps), Some(_)) => {
            track.codec = avc::codec_name(sps).into_owned();
            track.size = avc::sps(sps).ok().map(|sps| (sps.width, sps.height));
        }
        _ if key => track.lacks = Some("the first picture has no SPS and PPS before it".into()),
        _ => {}
    }
}

/// NAL units behind start codes (ITU-T H.264 annex B).
fn annex_b(octets: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<_> = octets
        .windows(3)
        .enumerate()
        .filter(|(_, three)| *three == [0, 0, 1])
        .map(|(at, _)| at)
        .collect();
    let ends = starts.iter().skip(1).copied().chain([octets.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| {
            let mut unit = &octets[start + 3..end.max(start + 3)];
            // Zeros before the next start code are not the unit's.
            while let [rest @ .., 0] = unit {
                unit = rest;
            }
            unit
        })
        .collect()
}

/// How many frames there are, of how many samples per second, of which object type.
fn adts(octets: &[u8]) -> Option<(i64, u32, u8)> {
    let (mut rest, mut frames, mut format) = (octets, 0, None);
    while let [0xff, second, third, fourth, fifth, sixth, ..] = rest {
        if second & 0xf6 != 0xf0 {
            break;
        }
        let rate = *FREQUENCIES.get(usize::from(third >> 2 & 0xf))?;
        format.get_or_insert((rate, (third >> 6) + 1));
        let length =
            usize::from(fourth & 3) << 11 | usize::from(*fifth) << 3 | usize::from(sixth >> 5);
        frames += 1;
        rest = rest.get(length.max(7)..).unwrap_or_default();
    }
    let (rate, object) = format?;
    Some((frames, rate, object))
}

/// A table's octets, behind the pointer to it. Tables that do not fit a packet are not looked at.
fn section(payload: &[u8], begins: bool) -> Option<&[u8]> {
    let pointer = usize::from(*payload.first()?);
    let table = payload
        .get(1 + pointer..)
        .filter(|table| begins && table.len() >= 12)?;
    Some(table)
}

/// Where the first programme's table is.
fn programme(table: &[u8]) -> Option<u16> {
    let length = usize::from(u16::from_be_bytes([table[1] & 0xf, table[2]]));
    let entries = table.get(8..(3 + length).checked_sub(4)?)?;
    let mut programmes = entries.chunks_exact(4);
    let first = programmes.find(|entry| entry[..2] != [0, 0])?;
    Some(u16::from_be_bytes([first[2] & 0x1f, first[3]]))
}

/// When the access unit of a PES packet is decoded, and its octets.
fn packetised(octets: &[u8]) -> Option<(Option<i64>, &[u8])> {
    if octets.get(..3)? != [0, 0, 1] {
        return None;
    }
    let (flags, head) = (*octets.get(7)?, usize::from(*octets.get(8)?));
    let at = match flags >> 6 {
        3 => octets.get(14..19),
        2 => octets.get(9..14),
        _ => None,
    };
    let time = at.map(|at| {
        let bits = |octet: u8| i64::from(octet);
        (bits(at[0]) >> 1 & 7) << 30
            | bits(at[1]) << 22
            | (bits(at[2]) >> 1) << 15
            | bits(at[3]) << 7
            | bits(at[4]) >> 1
    });
    Some((time, octets.get(9 + head..)?))
}

const PACKET: usize = 188;
const NULL: u16 = 0x1fff;
/// Below are tables.
const FIRST_FREE: u16 = 0x20;
const AVC: u8 = 0x1b;
const AAC: u8 = 0x0f;
const FREQUENCIES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];
