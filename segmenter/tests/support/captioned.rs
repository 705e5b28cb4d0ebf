//! Captions for a stream that has none: user data put into H.264 (annex B), a pair of CEA-608 for each picture.

/// Roll-up captions: two lines, carriage return, a row, then text; the first channel of field 1.
pub(crate) fn script() -> Vec<[u8; 2]> {
    let controls = [[0x14, 0x25], [0x14, 0x2d], [0x14, 0x70]];
    let controls = controls.into_iter().flat_map(|code| [code, code]);
    let text = b"CAPTIONS ARE NOT LOST WITH A PICTURE";
    let text = text.chunks_exact(2).map(|two| [two[0], two[1]]);
    controls.chain(text).map(|pair| pair.map(odd)).collect()
}

/// With odd parity (CEA-608 section 4.2).
fn odd(octet: u8) -> u8 {
    octet
        | if octet.count_ones().is_multiple_of(2) {
            0x80
        } else {
            0
        }
}

/// User data that is registered as ATSC's (A/53 part 4, section 6.2.3), with one pair of field 1.
fn sei([first, second]: [u8; 2]) -> Vec<u8> {
    let data = [
        &[0xb5, 0x00, 0x31][..],
        b"GA94",
        &[0x03, 0x41, 0xff, 0xfc, first, second, 0xff],
    ]
    .concat();
    [&[0, 0, 0, 1, 6, 4, data.len() as u8][..], &data, &[0x80]].concat()
}

/// Where each NAL unit begins, behind its start code, and what it is.
pub(crate) fn units(stream: &[u8]) -> Vec<(usize, u8)> {
    let codes = stream.windows(4).enumerate();
    let codes = codes.filter(|(_, four)| four[..3] == [0, 0, 1]);
    codes.map(|(at, four)| (at + 3, four[3] & 31)).collect()
}

/// `plain`, whose pictures are one slice each, with the next pair of the script in each, over and over.
pub(crate) fn insert(plain: &[u8]) -> Vec<u8> {
    let (mut stream, mut from, mut pairs) = (Vec::new(), 0, script().into_iter().cycle());
    for (at, kind) in units(plain) {
        if kind == 1 || kind == 5 {
            // Before the start code of the picture.
            let begin = at - 3 - usize::from(at > 3 && plain[at - 4] == 0);
            stream.extend_from_slice(&plain[from..begin]);
            stream.extend(pairs.next().map(sei).unwrap_or_default());
            from = begin;
        }
    }
    stream.extend_from_slice(&plain[from..]);
    stream
}
