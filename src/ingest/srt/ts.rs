//! MPEG-TS as far as it takes to hand it on: where one can begin, what has to come before, and which codecs its
//! tables announce. Packets go on as they came.

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::ingest::feed::Piece;

#[derive(Debug, Default)]
pub struct Scanner {
    /// The last tables: which programme there is, and what is in it.
    pat: Option<Bytes>,
    pmt: Option<Bytes>,
    /// Both, for whoever begins to read.
    prologue: Bytes,
    pmt_pid: Option<u16>,
    video_pid: Option<u16>,
    /// Kinds of streams, as the table has them.
    kinds: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("what it sends is no MPEG-TS; ffmpeg has to be told `-f mpegts`")]
pub struct NotTs;

impl Scanner {
    /// Takes whole packets.
    pub fn scan(&mut self, media: Bytes) -> Result<Piece, NotTs> {
        let mut begins = false;
        if media.is_empty() || !media.len().is_multiple_of(PACKET) {
            return Err(NotTs);
        }
        for place in (0..media.len()).step_by(PACKET) {
            begins |= self.packet(media.slice(place..place + PACKET))?;
        }
        Ok(Piece { media, begins })
    }

    /// Whether one can begin with this packet.
    fn packet(&mut self, packet: Bytes) -> Result<bool, NotTs> {
        if packet[0] != SYNC {
            return Err(NotTs);
        }
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        let (starts, adapts, carries) = (
            packet[1] & 0x40 != 0,
            packet[3] & 0x20 != 0,
            packet[3] & 0x10 != 0,
        );
        let random = adapts && packet[4] > 0 && packet[5] & 0x40 != 0;
        let payload = if adapts {
            5 + usize::from(packet[4])
        } else {
            4
        };
        let payload = packet
            .get(payload..)
            .filter(|_| carries)
            .unwrap_or_default();
        if starts && pid == 0 {
            if let Some(pmt) = first_programme(payload) {
                self.pmt_pid = Some(pmt);
                self.pat = Some(packet);
                self.tables();
            }
        } else if starts && Some(pid) == self.pmt_pid {
            // A table that does not fit into a packet is read as far as it goes.
            let streams = streams(payload);
            self.video_pid = streams
                .iter()
                .find(|(kind, _)| video(*kind).is_some())
                .map(|(_, pid)| *pid);
            self.kinds = streams.iter().map(|(kind, _)| *kind).collect();
            self.pmt = Some(packet);
            self.tables();
        } else if starts && Some(pid) == self.video_pid {
            return Ok(random);
        }
        Ok(false)
    }

    /// What has to come first for whoever begins to read.
    pub fn prologue(&self) -> Bytes {
        self.prologue.clone()
    }

    fn tables(&mut self) {
        let mut out = BytesMut::new();
        [&self.pat, &self.pmt]
            .into_iter()
            .flatten()
            .for_each(|table| out.put_slice(table));
        self.prologue = out.freeze();
    }

    /// Whether the tables say that there is a picture in it, if they have come.
    pub fn has_video(&self) -> Option<bool> {
        self.pmt.as_ref().map(|_| self.video_pid.is_some())
    }

    pub fn video(&self) -> &'static str {
        self.kinds
            .iter()
            .find_map(|kind| video(*kind))
            .unwrap_or("none")
    }

    pub fn audio(&self) -> String {
        let tracks: Vec<_> = self.kinds.iter().filter_map(|kind| audio(*kind)).collect();
        if tracks.is_empty() {
            "none".into()
        } else {
            tracks.join(", ")
        }
    }
}

/// The PID of the first programme's table.
fn first_programme(payload: &[u8]) -> Option<u16> {
    let section = section(payload)?;
    let mut programmes = section
        .get(8..section.len().checked_sub(4)?)?
        .chunks_exact(4);
    // Number 0 is the network's.
    let first = programmes.find(|programme| programme[..2] != [0, 0])?;
    Some(u16::from_be_bytes([first[2] & 0x1f, first[3]]))
}

/// Kind and PID of each stream of a programme.
fn streams(payload: &[u8]) -> Vec<(u8, u16)> {
    let mut streams = Vec::new();
    let Some(section) = section(payload).filter(|section| section.len() > 12) else {
        return streams;
    };
    let descriptors = usize::from(u16::from_be_bytes([section[10] & 0x0f, section[11]]));
    let end = section.len().saturating_sub(4);
    let mut rest = section.get(12 + descriptors..end).unwrap_or_default();
    while let [kind, high, low, length_high, length_low, after @ ..] = rest {
        streams.push((*kind, u16::from_be_bytes([high & 0x1f, *low])));
        let length = usize::from(u16::from_be_bytes([length_high & 0x0f, *length_low]));
        rest = after.get(length..).unwrap_or_default();
    }
    streams
}

/// A table's section, as much of it as is in this packet.
fn section(payload: &[u8]) -> Option<&[u8]> {
    let section = payload.get(1 + usize::from(*payload.first()?)..)?;
    let length = u16::from_be_bytes([section.get(1)? & 0x0f, *section.get(2)?]);
    Some(&section[..section.len().min(3 + usize::from(length))])
}

fn video(kind: u8) -> Option<&'static str> {
    Some(match kind {
        0x01 => "MPEG-1",
        0x02 => "MPEG-2",
        0x10 => "MPEG-4",
        0x1b => "H.264",
        0x24 => "H.265",
        0x33 => "H.266",
        _ => return None,
    })
}

fn audio(kind: u8) -> Option<&'static str> {
    Some(match kind {
        0x03 | 0x04 => "MPEG audio",
        0x0f | 0x11 => "AAC",
        0x81 => "AC-3",
        0x87 => "E-AC-3",
        _ => return None,
    })
}

const PACKET: usize = 188;
const SYNC: u8 = 0x47;

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(pid: u16, starts: bool, random: bool, payload: &[u8]) -> Vec<u8> {
        let [high, low] = pid.to_be_bytes();
        let mut out = vec![SYNC, high | if starts { 0x40 } else { 0 }, low, 0x30];
        let stuffing = PACKET - 6 - payload.len();
        out.extend([stuffing as u8 + 1, if random { 0x40 } else { 0 }]);
        out.extend(std::iter::repeat_n(0xff, stuffing));
        out.extend(payload);
        out
    }

    fn tables() -> Vec<u8> {
        let pat = [0, 0, 0xb0, 13, 0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0, 0, 0, 0, 0];
        let pmt = [
            0, 2, 0xb0, 23, 0, 1, 0xc1, 0, 0, 0xe1, 0, 0xf0, 0, // no descriptors
            0x1b, 0xe1, 0, 0xf0, 0, // H.264 on 256
            0x0f, 0xe1, 1, 0xf0, 0, // AAC on 257
            0, 0, 0, 0,
        ];
        [
            packet(0, true, false, &pat),
            packet(4096, true, false, &pmt),
        ]
        .concat()
    }

    #[test]
    fn one_begins_with_the_tables_and_a_picture_that_stands_alone() {
        let mut scanner = Scanner::default();
        assert_eq!(scanner.has_video(), None);
        let tables = Bytes::from(tables());
        assert!(!scanner.scan(tables.clone()).unwrap().begins);
        assert_eq!(
            (scanner.has_video(), scanner.video(), &*scanner.audio()),
            (Some(true), "H.264", "AAC")
        );
        assert_eq!(scanner.prologue(), tables);
        let mut begins = |pid, starts, random| {
            let media = [
                packet(257, true, true, &[1]),
                packet(pid, starts, random, &[1]),
            ]
            .concat();
            scanner.scan(media.into()).unwrap().begins
        };
        assert!(begins(256, true, true));
        assert!(!begins(256, true, false), "a picture that needs another");
        assert!(!begins(256, false, true), "the middle of one");
        assert!(!begins(257, true, true), "sound");
    }

    #[test]
    fn what_is_no_ts_is_told_and_damage_does_no_harm() {
        let mut scanner = Scanner::default();
        assert_eq!(scanner.scan(Bytes::from_static(b"FLV")), Err(NotTs));
        assert_eq!(scanner.scan(vec![0; 188].into()), Err(NotTs));
        let good = tables();
        for place in 0..good.len() {
            for bit in 0..8 {
                let mut wrong = good.clone();
                wrong[place] ^= 1 << bit;
                let _ = scanner.scan(wrong.into());
            }
        }
    }
}
