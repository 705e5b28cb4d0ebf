//! RTMP's chunks: messages out of octets, and octets out of messages. What messages mean is `session`'s.
//!
//! A peer announces how long its messages and its chunks are. Nothing is allocated for an announcement: memory
//! grows with the octets that have come, and all that is unfinished together has a bound.

use std::collections::BTreeMap;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// A whole message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub kind: u8,
    /// The message stream that it belongs to; 0 is the connection itself.
    pub stream: u32,
    /// In milliseconds, wrapping.
    pub timestamp: u32,
    pub payload: Bytes,
}

/// Which rule of the chunk stream was broken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ChunkError {
    #[error("a message of {length} octets; at most {most} are taken")]
    Length { length: usize, most: usize },
    #[error("a chunk size of {0}")]
    ChunkSize(u32),
    #[error("chunk stream {0} goes on and has not begun")]
    NotBegun(u32),
    #[error("chunk stream {0} begins a message in the middle of another")]
    Interrupted(u32),
    #[error("more than {STREAMS} chunk streams")]
    Streams,
    #[error("more than {most} octets of unfinished messages")]
    Unfinished { most: usize },
}

/// Takes messages off what a peer sends. Chunks of several messages may lie between one another.
#[derive(Debug)]
pub struct Reader {
    input: BytesMut,
    streams: BTreeMap<u32, Stream>,
    chunk: usize,
    /// Length of the longest message that is taken.
    most: usize,
    unfinished: usize,
}

#[derive(Debug, Default)]
struct Stream {
    timestamp: u32,
    /// What the last header's timestamp field said, or its extension.
    field: u32,
    extended: bool,
    length: usize,
    kind: u8,
    message_stream: u32,
    payload: BytesMut,
}

impl Reader {
    pub fn new(most: usize) -> Self {
        Self {
            input: BytesMut::new(),
            streams: BTreeMap::new(),
            chunk: 128,
            most,
            unfinished: 0,
        }
    }

    /// From now on messages may be so long.
    pub fn take_up_to(&mut self, most: usize) {
        self.most = most;
    }

    /// What the peer has said its chunks are.
    pub fn set_chunk_size(&mut self, size: u32) -> Result<(), ChunkError> {
        if size == 0 || size > 0x7fff_ffff {
            return Err(ChunkError::ChunkSize(size));
        }
        self.chunk = size as usize;
        Ok(())
    }

    /// The peer will not finish the message of this chunk stream.
    pub fn abort(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            self.unfinished -= stream.payload.len();
            stream.payload.clear();
        }
    }

    pub fn put(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
    }

    /// The next whole message, if all of it has come.
    pub fn message(&mut self) -> Result<Option<Message>, ChunkError> {
        loop {
            let Some(header) = Header::read(&self.input) else {
                return Ok(None);
            };
            let id = header.id;
            if !self.streams.contains_key(&id) {
                if header.format != 0 {
                    return Err(ChunkError::NotBegun(id));
                }
                if self.streams.len() == STREAMS {
                    return Err(ChunkError::Streams);
                }
            }
            let stream = self.streams.entry(id).or_default();
            let begins = stream.payload.is_empty();
            if !begins && header.format != 3 {
                return Err(ChunkError::Interrupted(id));
            }
            let Some(next) = header.over(stream, &self.input, begins) else {
                return Ok(None);
            };
            if next.length > self.most {
                let (length, most) = (next.length, self.most);
                return Err(ChunkError::Length { length, most });
            }
            let wanted = self.chunk.min(next.length - stream.payload.len());
            if self.input.len() < next.header + wanted {
                return Ok(None);
            }
            self.input.advance(next.header);
            stream.timestamp = next.timestamp;
            stream.field = next.field;
            stream.extended = next.extended;
            stream.length = next.length;
            stream.kind = next.kind;
            stream.message_stream = next.message_stream;
            stream.payload.extend_from_slice(&self.input[..wanted]);
            self.input.advance(wanted);
            if stream.payload.len() == stream.length {
                self.unfinished -= stream.length - wanted;
                return Ok(Some(Message {
                    kind: stream.kind,
                    stream: stream.message_stream,
                    timestamp: stream.timestamp,
                    payload: stream.payload.split().freeze(),
                }));
            }
            self.unfinished += wanted;
            if self.unfinished > self.most * 2 {
                let most = self.most * 2;
                return Err(ChunkError::Unfinished { most });
            }
        }
    }
}

/// The first octets of a chunk.
struct Header {
    format: u8,
    id: u32,
    /// Octets of the basic header.
    length: usize,
}

/// What a chunk's header makes of its stream.
struct Next {
    /// Octets of the whole header.
    header: usize,
    timestamp: u32,
    field: u32,
    extended: bool,
    length: usize,
    kind: u8,
    message_stream: u32,
}

impl Header {
    /// `None` if more has to come first.
    fn read(input: &[u8]) -> Option<Self> {
        let first = *input.first()?;
        let (id, length) = match first & 0x3f {
            0 => (64 + u32::from(*input.get(1)?), 2),
            1 => {
                let (low, high) = (*input.get(1)?, *input.get(2)?);
                (64 + u32::from(low) + 256 * u32::from(high), 3)
            }
            id => (id.into(), 1),
        };
        Some(Self {
            format: first >> 6,
            id,
            length,
        })
    }

    /// Lays this header over what its stream had before; `None` if more has to come first.
    fn over(&self, stream: &Stream, input: &[u8], begins: bool) -> Option<Next> {
        let fields = match self.format {
            0 => 11,
            1 => 7,
            2 => 3,
            _ => 0,
        };
        let mut header = self.length + fields;
        let said = input.get(self.length..header)?;
        let mut next = Next {
            header,
            timestamp: stream.timestamp,
            field: stream.field,
            extended: stream.extended,
            length: stream.length,
            kind: stream.kind,
            message_stream: stream.message_stream,
        };
        if let [a, b, c, rest @ ..] = said {
            next.field = u32::from_be_bytes([0, *a, *b, *c]);
            next.extended = next.field == EXTENDED;
            if let [a, b, c, kind, rest @ ..] = rest {
                next.length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
                next.kind = *kind;
                if let [a, b, c, d] = rest {
                    next.message_stream = u32::from_le_bytes([*a, *b, *c, *d]);
                }
            }
        }
        if next.extended {
            let more: [u8; 4] = input.get(header..header + 4)?.try_into().ok()?;
            let more = u32::from_be_bytes(more);
            // Not every encoder repeats it where a message goes on.
            if self.format != 3 || more == stream.field {
                next.field = more;
                header += 4;
            }
        }
        next.header = header;
        next.timestamp = match self.format {
            0 => next.field,
            _ if begins => stream.timestamp.wrapping_add(next.field),
            _ => stream.timestamp,
        };
        Some(next)
    }
}

/// Appends `message` to `out` as chunks of at most `size` octets, on chunk stream `id`, which has to be 2 to 63.
pub fn write(message: &Message, id: u8, size: usize, out: &mut BytesMut) {
    out.put_u8(id);
    // Ours are all of time 0; an extended one is nobody's.
    out.put_uint(message.timestamp.min(EXTENDED - 1).into(), 3);
    out.put_uint(message.payload.len() as u64, 3);
    out.put_u8(message.kind);
    out.put_u32_le(message.stream);
    for (place, chunk) in message.payload.chunks(size).enumerate() {
        if place > 0 {
            out.put_u8(0xc0 | id);
        }
        out.put_slice(chunk);
    }
}

const EXTENDED: u32 = 0xff_ffff;

/// Encoders use five or so.
const STREAMS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(reader: &mut Reader, octets: &[u8]) -> Result<Vec<Message>, ChunkError> {
        reader.put(octets);
        let mut messages = Vec::new();
        while let Some(message) = reader.message()? {
            messages.push(message);
        }
        Ok(messages)
    }

    /// A header in full.
    fn full(id: u8, timestamp: u32, length: u32, kind: u8) -> Vec<u8> {
        let mut out = vec![id];
        out.extend_from_slice(&timestamp.min(EXTENDED).to_be_bytes()[1..]);
        out.extend_from_slice(&length.to_be_bytes()[1..]);
        out.extend([kind, 1, 0, 0, 0]);
        if timestamp >= EXTENDED {
            out.extend(timestamp.to_be_bytes());
        }
        out
    }

    #[test]
    fn what_is_written_is_read_whatever_the_pieces() {
        let message = Message {
            kind: 20,
            stream: 1,
            timestamp: 0,
            payload: (0..200).collect::<Vec<u8>>().into(),
        };
        let mut out = BytesMut::new();
        write(&message, 3, 128, &mut out);
        let mut reader = Reader::new(1000);
        let mut seen = Vec::new();
        for octet in &out {
            seen.extend(all(&mut reader, &[*octet]).unwrap());
        }
        assert_eq!(seen, [message]);
    }

    #[test]
    fn sound_may_lie_between_the_chunks_of_a_picture() {
        let mut octets = full(6, 40, 200, 9);
        octets.extend([9; 128]);
        octets.extend(full(4, 40, 3, 8));
        octets.extend([8; 3]);
        octets.push(0xc0 | 6);
        octets.extend([9; 72]);
        let messages = all(&mut Reader::new(1000), &octets).unwrap();
        let seen: Vec<_> = messages.iter().map(|m| (m.kind, m.payload.len())).collect();
        assert_eq!(seen, [(8, 3), (9, 200)]);
    }

    #[test]
    fn deltas_add_up_and_wrap() {
        let mut octets = full(4, u32::MAX - 9, 1, 8);
        octets.push(0);
        octets.extend([0x40 | 4, 0, 0, 20, 0, 0, 1, 8, 0]);
        octets.extend([0xc0 | 4, 0]);
        let messages = all(&mut Reader::new(1000), &octets).unwrap();
        let times: Vec<_> = messages.iter().map(|message| message.timestamp).collect();
        assert_eq!(times, [u32::MAX - 9, 10, 30]);
    }

    #[test]
    fn an_extended_timestamp_may_be_repeated_where_a_message_goes_on_or_not() {
        let late = 20_000_000_u32;
        for repeated in [true, false] {
            let mut octets = full(6, late, 200, 9);
            octets.extend([7; 128]);
            octets.push(0xc0 | 6);
            if repeated {
                octets.extend(late.to_be_bytes());
            }
            octets.extend([7; 72]);
            let messages = all(&mut Reader::new(1000), &octets).unwrap();
            assert_eq!((messages.len(), messages[0].timestamp), (1, late));
        }
    }

    #[test]
    fn announcements_cost_nothing() {
        let mut reader = Reader::new(1000);
        let length = 0xff_ffff;
        assert_eq!(
            all(&mut reader, &full(3, 0, length, 9)),
            Err(ChunkError::Length {
                length: length as usize,
                most: 1000
            })
        );
        assert_eq!(
            all(&mut Reader::new(9), &[0xc3]),
            Err(ChunkError::NotBegun(3))
        );
        assert!(Reader::new(9).set_chunk_size(0).is_err());
    }

    #[test]
    fn what_is_begun_and_not_finished_has_a_bound() {
        let mut reader = Reader::new(1000);
        let many = (3..40).try_for_each(|id| {
            let mut octets = full(id, 0, 900, 9);
            octets.extend([0; 128]);
            all(&mut reader, &octets).map(|_| ())
        });
        assert_eq!(many, Err(ChunkError::Unfinished { most: 2000 }));
        let mut reader = Reader::new(1000);
        let many = (3..63).try_for_each(|id| all(&mut reader, &full(id, 0, 0, 9)).map(|_| ()));
        assert_eq!(many, Err(ChunkError::Streams));
        let mut interrupted = full(3, 0, 900, 9);
        interrupted.extend([0; 128]);
        interrupted.extend(full(3, 0, 10, 9));
        interrupted.extend([0; 10]);
        assert_eq!(
            all(&mut Reader::new(1000), &interrupted),
            Err(ChunkError::Interrupted(3))
        );
    }
}
