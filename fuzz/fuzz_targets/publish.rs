//! What a publisher says: RTMP from behind the handshake on, whoever asks being let in, with the FLV that is made of
//! it; and what SRT brings, which is MPEG-TS and a streamid. What comes out is whole tags, and bounded.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use spillway::ingest::{
    rtmp::{
        amf, flv,
        session::{Event, Session},
    },
    srt::{stream_id::StreamId, ts},
};

fuzz_target!(|octets: &[u8]| {
    rtmp(octets);
    values(octets);
    let _ = ts::Scanner::default().scan(Bytes::copy_from_slice(octets));
    if let Ok(text) = std::str::from_utf8(octets) {
        let _ = StreamId::read(text);
    }
});

fn rtmp(octets: &[u8]) {
    let mut session = Session::default();
    let hello = [&[3][..], &[0; 1536 * 2]].concat();
    session.put(&hello).expect("a handshake");
    let mut muxer = flv::Muxer::default();
    // In pieces, as they come from a socket.
    for piece in octets.chunks(1000) {
        if session.put(piece).is_err() {
            return;
        }
        while let Ok(Some(event)) = session.event() {
            let piece = match event {
                Event::Connect { .. } => {
                    session.connect();
                    continue;
                }
                Event::Publish { .. } => {
                    session.publish();
                    continue;
                }
                Event::Metadata { values, octets } => {
                    muxer.metadata(&values, &octets);
                    continue;
                }
                Event::Video { timestamp, octets } => muxer.video(timestamp, &octets),
                Event::Audio { timestamp, octets } => muxer.audio(timestamp, &octets),
                Event::Ended => return,
            };
            if let Ok(Some(piece)) = piece {
                whole(&piece.media);
            }
            whole(&muxer.prologue()[13..]);
            let _ = (muxer.said.video(), muxer.said.audio());
        }
        assert!(session.output().len() < 1_000_000, "it answers more than it hears");
        session.output().clear();
    }
}

/// Tags whose lengths are right, one behind the other.
fn whole(mut tags: &[u8]) {
    while !tags.is_empty() {
        let length = u32::from_be_bytes([0, tags[1], tags[2], tags[3]]) as usize;
        let behind = &tags[11 + length..15 + length];
        assert_eq!(behind, (length as u32 + 11).to_be_bytes());
        tags = &tags[15 + length..];
    }
}

/// What is read is written and read the same.
fn values(octets: &[u8]) {
    let Ok(values) = amf::read(octets) else { return };
    let mut out = Default::default();
    values.iter().for_each(|value| value.write(&mut out));
    // What is no UTF-8 is read as characters that are longer, and may be too long to be written.
    if out.len() > 60_000 {
        return;
    }
    if let Ok(again) = amf::read(&out) {
        assert_eq!(format!("{again:?}"), format!("{values:?}"));
    }
}
