//! MPEG-TS (ISO/IEC 13818-1) as far as a validator looks at it: tables, counters, times, the first picture.

use std::collections::BTreeMap;

use media::{
    aac,
    avc::{self, annex_b, unit},
    ts::read::{self, Packet, kind, packetised, packets},
};

use super::content::{Content, Sort, Track, Unread};

/// Times have 33 bits.
pub const WRAP: i64 = read::WRAP as i64;

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

/// Reads a segment.
pub fn read(octets: &[u8]) -> Result<Content, Unread> {
    let mut reader = Reader::default();
    for packet in packets(octets) {
        match packet {
            Ok(packet) => reader.packet(&packet),
            Err(at) => {
                let found = format!("no sync byte, or no whole packet, at octet {at}");
                return Err(Unread::Broken(found));
            }
        }
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
    fn packet(&mut self, packet: &Packet<'_>) {
        let pid = packet.pid;
        let Some(payload) = packet.payload.filter(|_| pid != read::NULL) else {
            return;
        };
        self.count(pid, packet.counter, packet.announced);
        if pid == 0 {
            let found = read::section(packet).and_then(read::programme);
            self.programme = self.programme.or(found);
        } else if Some(pid) == self.programme {
            let found = read::section(packet).and_then(read::streams);
            self.streams_of(found);
        } else if self.streams.contains_key(&pid) {
            self.payload(pid, packet.begins, payload);
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

    fn streams_of(&mut self, found: Option<Vec<(u8, u16)>>) {
        self.has_programme |= found.is_some();
        for (kind, pid) in found.into_iter().flatten() {
            self.streams.entry(pid).or_insert_with(|| Stream {
                kind,
                ..Stream::default()
            });
        }
    }

    fn payload(&mut self, pid: u16, begins: bool, payload: &[u8]) {
        let Some(stream) = self.streams.get_mut(&pid) else {
            return;
        };
        let mut payload = payload;
        if begins {
            stream.begun += 1;
            let Some((stamps, body)) = packetised(payload) else {
                return;
            };
            stream.times.extend(stamps.decoded.map(|time| time as i64));
            payload = body;
        }
        if stream.kind == kind::AAC && stream.begun > 0 {
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
        kind::AVC => {
            track.sort = Sort::Video;
            track.sample = if count > 1 { span / (count - 1) } else { 0 };
            track.end = first + span + track.sample;
            picture(&mut track, &stream.first);
        }
        kind::AAC => {
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
    let of = |kind: u8| annex_b(access).find(|one| avc::kind(one) == kind);
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

/// How many frames there are, of how many samples per second, of which object type.
fn adts(octets: &[u8]) -> Option<(i64, u32, u8)> {
    let (mut rest, mut frames, mut format) = (octets, 0, None);
    while let Some(frame) = aac::framed(rest) {
        format.get_or_insert((frame.config.rate, frame.config.object_type));
        frames += 1;
        rest = rest.get(frame.whole..).unwrap_or_default();
    }
    let (rate, object) = format?;
    Some((frames, rate, object))
}

/// Below are tables.
const FIRST_FREE: u16 = 0x20;
