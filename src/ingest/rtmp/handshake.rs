//! RTMP's handshake, the plain one of Adobe's specification: each side sends 1536 octets and gets them back.
//! The one with digests is for Flash players that want to see H.264; no publisher needs it.

use bytes::{Buf as _, BufMut as _, BytesMut};

/// Where the handshake of one connection stands, as the server.
#[derive(Debug)]
pub enum Handshake {
    /// Their version and their octets have not come in full.
    Hello,
    /// Ours have not come back in full.
    Echo,
    Done,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("it begins with octet {0:#04x}; RTMP begins with 0x03")]
pub struct NotRtmp(u8);

impl Handshake {
    /// Takes what it needs off `input`, and puts answers into `output`.
    pub fn go_on(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<(), NotRtmp> {
        if matches!(self, Self::Hello) {
            // Whoever speaks another protocol is told so by its first octet.
            if let Some(first) = input.first().filter(|first| **first != VERSION) {
                return Err(NotRtmp(*first));
            }
            if input.len() <= SIZE {
                return Ok(());
            }
            let theirs = input.split_to(1 + SIZE);
            output.put_u8(VERSION);
            // Time and version 0: the plain handshake. The rest may be anything.
            output.put_bytes(0, SIZE);
            output.put_slice(&theirs[1..]);
            *self = Self::Echo;
        }
        if matches!(self, Self::Echo) && input.len() >= SIZE {
            input.advance(SIZE);
            *self = Self::Done;
        }
        Ok(())
    }

    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}

const VERSION: u8 = 3;
const SIZE: usize = 1536;
