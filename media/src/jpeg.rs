//! Pictures of one size put below one another, in one JPEG (ITU-T T.81), without decoding any of them.
//!
//! A scan begins anew at each restart interval (section F.1.1.5). So that scans that were coded alone, with the
//! same tables, are one scan if restart markers stand between them and the interval is a picture.

use crate::Error;

/// `tiles`, which an encoder made with the same settings, from top to bottom, each on as many lines as whole blocks
/// take. A tile that is coded in another way than the first leaves its place to the one before it.
pub fn stack(tiles: &[impl AsRef<[u8]>]) -> Result<Vec<u8>, Error> {
    let first = tiles.first().ok_or(Error::Jpeg("there is no picture"))?;
    let first = Picture::read(first.as_ref())?;
    let lines = first.block_lines * first.rows();
    let height = u16::try_from(usize::from(lines) * tiles.len());
    let height = height.map_err(|_| Error::Jpeg("they are too many lines"))?;
    let interval = u16::try_from(u32::from(first.columns()) * u32::from(first.rows()));
    let interval = interval.map_err(|_| Error::Jpeg("it is too large to be one of several"))?;

    let length: usize = tiles.iter().map(|tile| tile.as_ref().len()).sum();
    let mut out = Vec::with_capacity(length + 16);
    out.extend_from_slice(&first.head[..first.height_at]);
    out.extend_from_slice(&height.to_be_bytes());
    out.extend_from_slice(&first.head[first.height_at + 2..first.scan_at]);
    out.extend_from_slice(&[MARKER, DRI, 0, 4]);
    out.extend_from_slice(&interval.to_be_bytes());
    out.extend_from_slice(&first.head[first.scan_at..]);
    let mut scan = first.scan;
    for (place, tile) in tiles.iter().enumerate() {
        if place > 0 {
            out.extend_from_slice(&[MARKER, RST0 + ((place - 1) % 8) as u8]);
        }
        match Picture::read(tile.as_ref()) {
            Ok(picture) if picture.head == first.head => scan = picture.scan,
            _ => {}
        }
        out.extend_from_slice(scan);
    }
    out.extend_from_slice(&[MARKER, EOI]);
    Ok(out)
}

/// A JPEG of one scan.
struct Picture<'a> {
    /// Everything before the scan's octets.
    head: &'a [u8],
    /// Where in it the lines are said, in two octets.
    height_at: usize,
    /// Where in it the head of the scan begins.
    scan_at: usize,
    scan: &'a [u8],
    width: u16,
    height: u16,
    block_columns: u16,
    block_lines: u16,
}

impl<'a> Picture<'a> {
    fn read(octets: &'a [u8]) -> Result<Self, Error> {
        if !octets.starts_with(&[MARKER, SOI]) {
            return Err(Error::Jpeg("it does not begin like one"));
        }
        let (mut at, mut frame) = (2, None);
        loop {
            let (kind, body) = section(octets, at)?;
            match kind {
                // Baseline, Huffman coding (section B.2.2).
                SOF0 => frame = Some((at + 5, Frame::read(body)?)),
                0xc1..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                    return Err(Error::Jpeg("it is not coded as baseline"));
                }
                DRI => return Err(Error::Jpeg("it has restart intervals of its own")),
                SOS => {
                    let (height_at, frame) =
                        frame.ok_or(Error::Jpeg("its scan comes before its size"))?;
                    let begin = at + 4 + body.len();
                    return Ok(Self {
                        head: &octets[..begin],
                        height_at,
                        scan_at: at,
                        scan: scan(&octets[begin..])?,
                        width: frame.width,
                        height: frame.height,
                        block_columns: frame.block_columns,
                        block_lines: frame.block_lines,
                    });
                }
                _ => {}
            }
            at += 4 + body.len();
        }
    }

    fn columns(&self) -> u16 {
        self.width.div_ceil(self.block_columns)
    }

    fn rows(&self) -> u16 {
        self.height.div_ceil(self.block_lines)
    }
}

/// What a frame's head says (section B.2.2).
struct Frame {
    width: u16,
    height: u16,
    block_columns: u16,
    block_lines: u16,
}

impl Frame {
    fn read(body: &[u8]) -> Result<Self, Error> {
        let short = Error::Jpeg("its frame's head is short");
        let [_, h0, h1, w0, w1, count, components @ ..] = body else {
            return Err(short);
        };
        let components: Vec<_> = components.chunks_exact(3).take((*count).into()).collect();
        if components.len() != usize::from(*count) {
            return Err(short);
        }
        let most = |shift: u32| {
            let factors = components.iter().map(|one| u16::from(one[1] >> shift & 15));
            factors.max().unwrap_or(0)
        };
        let frame = Self {
            height: u16::from_be_bytes([*h0, *h1]),
            width: u16::from_be_bytes([*w0, *w1]),
            block_columns: 8 * most(4),
            block_lines: 8 * most(0),
        };
        if frame.height == 0
            || frame.width == 0
            || frame.block_columns == 0
            || frame.block_lines == 0
        {
            return Err(Error::Jpeg("it has no size"));
        }
        Ok(frame)
    }
}

/// The marker at `at`, and the octets that belong to it.
fn section(octets: &[u8], at: usize) -> Result<(u8, &[u8]), Error> {
    let short = Error::Jpeg("it ends before its scan");
    let Some([marker, kind, l0, l1]) = octets.get(at..at + 4) else {
        return Err(short);
    };
    if *marker != MARKER {
        return Err(Error::Jpeg("something stands where a marker is due"));
    }
    let length = usize::from(u16::from_be_bytes([*l0, *l1]));
    let body = length
        .checked_sub(2)
        .and_then(|length| octets.get(at + 4..at + 4 + length));
    Ok((*kind, body.ok_or(short)?))
}

/// The octets of a scan: up to the first marker, which has to be the end.
fn scan(octets: &[u8]) -> Result<&[u8], Error> {
    let end = octets
        .windows(2)
        .position(|pair| pair[0] == MARKER && pair[1] != 0);
    let end = end.ok_or(Error::Jpeg("it does not end"))?;
    match octets[end + 1] {
        EOI => Ok(&octets[..end]),
        _ => Err(Error::Jpeg("it has more than one scan")),
    }
}

const MARKER: u8 = 0xff;
const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const DRI: u8 = 0xdd;
const SOF0: u8 = 0xc0;
const RST0: u8 = 0xd0;

#[cfg(test)]
mod tests {
    use super::*;

    const TILE: &[u8] = include_bytes!("../tests/data/tile.jpg");
    const OTHER: &[u8] = include_bytes!("../tests/data/tile2.jpg");

    #[test]
    fn tiles_come_to_stand_on_whole_blocks() {
        let sheet = stack(&[TILE, OTHER, TILE]).unwrap();
        let frame = sheet
            .windows(2)
            .position(|two| two == [MARKER, SOF0])
            .unwrap();
        let word = |at: usize| u16::from_be_bytes([sheet[at], sheet[at + 1]]);
        assert_eq!((word(frame + 5), word(frame + 7)), (3 * 96, 160));
        let interval = sheet
            .windows(2)
            .position(|two| two == [MARKER, DRI])
            .unwrap();
        assert_eq!(word(interval + 4), 10 * 6);
        let ends = |octets: &[u8]| {
            let markers = octets.windows(2).filter(|two| two[0] == MARKER);
            markers
                .map(|two| two[1])
                .filter(|kind| (RST0..=EOI).contains(kind))
                .collect::<Vec<_>>()
        };
        assert_eq!(ends(&sheet), [SOI, RST0, RST0 + 1, EOI]);
    }

    #[test]
    fn what_is_coded_in_another_way_leaves_its_place() {
        let mut odd = OTHER.to_vec();
        let table = odd
            .windows(2)
            .position(|two| two == [MARKER, 0xdb])
            .unwrap();
        odd[table + 6] ^= 1;
        assert_eq!(stack(&[TILE, &odd]).unwrap(), stack(&[TILE, TILE]).unwrap());
        assert_eq!(
            stack(&[TILE, b"RIFF"]).unwrap(),
            stack(&[TILE, TILE]).unwrap()
        );
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic() {
        assert!(stack(&[[0u8; 0]; 0]).is_err());
        for length in 0..TILE.len() {
            assert!(stack(&[&TILE[..length]]).is_err(), "{length}");
        }
        for at in 0..700.min(TILE.len()) {
            let mut odd = TILE.to_vec();
            odd[at] ^= 0xff;
            let _ = stack(&[&odd[..], TILE]);
        }
    }
}
