//! What a segment of MPEG-TS is made of: the packets of one stream of H.264 and of one of AAC, each with its times.
//!
//! Of several programmes the first counts, of several streams of a kind the first. Damage is passed over: what is not whole
//! is left out, and it is counted. What is in the packets is not looked at.

use super::read::{self, Packet, Stamps, kind, packets};
use crate::Error;

/// A segment, taken apart.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Multiplex {
    pub pictures: Vec<Pes>,
    pub sound: Vec<Pes>,
    /// The tables tell of pictures, and of sound, be there any or not.
    pub has_pictures: bool,
    pub has_sound: bool,
    /// So many packets, of the multiplex or of a stream, were left out.
    pub damaged: usize,
}

/// A packet of an elementary stream.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pes {
    pub stamps: Stamps,
    pub data: Vec<u8>,
    /// It follows the one before without a hole.
    pub follows: bool,
}

/// Takes a segment apart.
pub fn demux(octets: &[u8]) -> Result<Multiplex, Error> {
    let mut demux = Demux::default();
    for packet in packets(octets) {
        match packet {
            Ok(packet) => demux.packet(&packet)?,
            Err(_) => demux.damaged += 1,
        }
    }
    demux.finish()
}

#[derive(Debug, Default)]
struct Demux {
    programme: Option<u16>,
    /// The tables tell of streams, be they of a kind that is taken or not.
    described: bool,
    pictures: Option<Stream>,
    sound: Option<Stream>,
    damaged: usize,
}

#[derive(Debug)]
struct Stream {
    pid: u16,
    counter: Option<u8>,
    done: Vec<Pes>,
    open: Option<Vec<u8>>,
    /// What comes next follows what was there.
    follows: bool,
}

impl Demux {
    fn packet(&mut self, packet: &Packet<'_>) -> Result<(), Error> {
        if packet.broken {
            self.damaged += 1;
        } else if packet.pid == 0 {
            let found = read::section(packet).and_then(read::programme);
            self.programme = self.programme.or(found);
        } else if Some(packet.pid) == self.programme {
            if !self.described
                && let Some(found) = read::section(packet).and_then(read::streams)
            {
                self.streams(&found)?;
            }
        } else {
            let own = [&mut self.pictures, &mut self.sound];
            let own = own.into_iter().flatten();
            if let Some(stream) = own.into_iter().find(|stream| stream.pid == packet.pid) {
                if packet.scrambled {
                    return Err(Error::Ts {
                        what: "scrambled packets",
                    });
                }
                self.damaged += stream.take(packet);
            }
        }
        Ok(())
    }

    fn streams(&mut self, found: &[(u8, u16)]) -> Result<(), Error> {
        let first = |wanted| {
            let first = found.iter().find(|(kind, _)| *kind == wanted);
            first.map(|(_, pid)| Stream::new(*pid))
        };
        (self.pictures, self.sound) = (first(kind::AVC), first(kind::AAC));
        self.described = !found.is_empty();
        for (number, what, instead) in FOREIGN {
            let missing = match *instead {
                kind::AVC => self.pictures.is_none(),
                _ => self.sound.is_none(),
            };
            if missing && found.iter().any(|(kind, _)| kind == number) {
                return Err(Error::Ts { what });
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Multiplex, Error> {
        if !self.described {
            return Err(Error::NoTables);
        }
        let mut multiplex = Multiplex {
            has_pictures: self.pictures.is_some(),
            has_sound: self.sound.is_some(),
            damaged: self.damaged,
            ..Multiplex::default()
        };
        for (stream, to) in [
            (self.pictures, &mut multiplex.pictures),
            (self.sound, &mut multiplex.sound),
        ] {
            let Some(mut stream) = stream else { continue };
            multiplex.damaged += stream.close();
            *to = stream.done;
        }
        Ok(multiplex)
    }
}

impl Stream {
    fn new(pid: u16) -> Self {
        Self {
            pid,
            counter: None,
            done: Vec::new(),
            open: None,
            follows: true,
        }
    }

    /// Takes what a packet brings; says how many packets are lost by it.
    fn take(&mut self, packet: &Packet<'_>) -> usize {
        let Some(payload) = packet.payload else {
            return 0;
        };
        let mut lost = 0;
        if let Some(last) = self.counter {
            if packet.counter == last && !packet.announced {
                // The same packet may come twice (section 2.4.3.3).
                return 0;
            }
            if packet.counter != (last + 1) & 0xf && !packet.announced {
                lost += self.lose();
            }
        }
        self.counter = Some(packet.counter);
        if packet.begins {
            lost += self.close();
            self.open = Some(payload.to_vec());
        } else if let Some(open) = &mut self.open {
            open.extend_from_slice(payload);
        }
        lost
    }

    /// What is open is not whole.
    fn lose(&mut self) -> usize {
        self.follows = false;
        self.open = None;
        1
    }

    /// What is open is all there.
    fn close(&mut self) -> usize {
        let Some(open) = self.open.take() else {
            return 0;
        };
        let length = open.get(4..6).map_or(0, |length| {
            usize::from(u16::from_be_bytes([length[0], length[1]]))
        });
        // 0: it is as long as it is.
        let whole = length == 0 || open.len() >= 6 + length;
        let Some((stamps, body)) = read::packetised(&open).filter(|_| whole) else {
            return self.lose();
        };
        let end = match length {
            0 => body.len(),
            length => (6 + length).saturating_sub(open.len() - body.len()),
        };
        self.done.push(Pes {
            stamps,
            data: body[..end.min(body.len())].to_vec(),
            follows: std::mem::replace(&mut self.follows, true),
        });
        0
    }
}

/// Streams that could have been pictures or sound, what they are, and instead of which kind that is taken they are there.
const FOREIGN: &[(u8, &str, u8)] = &[
    (0x24, "pictures in HEVC", kind::AVC),
    (0x33, "pictures in VVC", kind::AVC),
    (0x01, "pictures in MPEG-1", kind::AVC),
    (0x02, "pictures in MPEG-2", kind::AVC),
    (0xdb, "encrypted pictures (SAMPLE-AES)", kind::AVC),
    (0xcf, "encrypted sound (SAMPLE-AES)", kind::AAC),
    (0x11, "sound in AAC with LATM", kind::AAC),
    (0x03, "sound in MPEG-1 (MP3)", kind::AAC),
    (0x04, "sound in MPEG-2 (MP3)", kind::AAC),
    (0x81, "sound in AC-3", kind::AAC),
    (0x87, "sound in E-AC-3", kind::AAC),
];
