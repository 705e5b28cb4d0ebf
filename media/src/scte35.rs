//! What a splice_info_section says (ANSI/SCTE 35): where a break begins, where it ends, for how long it is meant to be.
//! What is made of that is the caller's business.

use crate::{Error, bits::Bits};

/// Something that a section says of a moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Splice {
    /// Of the event, the same where it begins and where it ends; `None` of what is said of no event.
    pub event: Option<u32>,
    pub edge: Edge,
    /// In ticks of 1/90000 s, on the stream's clock of 33 bits; `None` is at once.
    pub time: Option<u64>,
    /// In ticks of 1/90000 s.
    pub duration: Option<u64>,
    /// `segmentation_type_id`, of a time signal.
    pub kind: Option<u8>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Edge {
    /// The break begins.
    Out,
    /// It is over.
    In,
    /// Something else.
    Other,
    /// What was said of the event does not hold any more.
    Cancelled,
}

/// What `section` says, which is whole; nothing if it is only a sign of life.
pub fn splices(section: &[u8]) -> Result<Vec<Splice>, Error> {
    let wrong = |why| Err(Error::Splice(why));
    let [TABLE, high, low, ..] = section else {
        return wrong("it does not begin like one");
    };
    let length = usize::from(*high & 15) << 8 | usize::from(*low);
    let Some(section) = section.get(..3 + length) else {
        return wrong("it ends before its length");
    };
    if crc(section) != 0 {
        return wrong("its checksum is another");
    }
    let mut bits = Bits::plain(WHAT, &section[3..]);
    if bits.bits(8, "protocol_version")? != 0 {
        return wrong("it is of another version");
    }
    if bits.bits(1, "encrypted_packet")? == 1 {
        return wrong("it is encrypted");
    }
    bits.bits(6, "encryption_algorithm")?;
    let adjustment = long(&mut bits, "pts_adjustment")?;
    bits.bits(8, "cw_index")?;
    bits.bits(12, "tier")?;
    let command_length = bits.bits(12, "splice_command_length")? as usize;
    let command = bits.bits(8, "splice_command_type")?;
    let body = &section[COMMAND..];
    let adjusted = |time: u64| time.wrapping_add(adjustment) & PTS;
    match command {
        INSERT => Ok(vec![insert(&mut Bits::plain(WHAT, body), adjusted)?]),
        SIGNAL => {
            let time = time(&mut Bits::plain(WHAT, body))?.map(adjusted);
            // Old ones do not say how long a command is; this one says it by itself.
            let length = match command_length {
                0xfff if body.first().is_some_and(|first| first >> 7 == 1) => 5,
                0xfff => 1,
                length => length,
            };
            let descriptors = body
                .get(length..)
                .ok_or(Error::Splice("its command is cut short"))?;
            let said = segmentations(descriptors, time)?;
            let alone = Splice {
                event: None,
                edge: Edge::Other,
                time,
                duration: None,
                kind: None,
            };
            Ok(if said.is_empty() { vec![alone] } else { said })
        }
        _ => Ok(Vec::new()),
    }
}

fn insert(bits: &mut Bits<'_>, adjusted: impl Fn(u64) -> u64) -> Result<Splice, Error> {
    let event = bits.bits(32, "splice_event_id")?;
    let mut splice = Splice {
        event: Some(event),
        edge: Edge::Cancelled,
        time: None,
        duration: None,
        kind: None,
    };
    if bits.bits(1, "splice_event_cancel_indicator")? == 1 {
        return Ok(splice);
    }
    bits.bits(7, "reserved")?;
    splice.edge = match bits.bits(1, "out_of_network_indicator")? {
        1 => Edge::Out,
        _ => Edge::In,
    };
    let whole = bits.bits(1, "program_splice_flag")? == 1;
    let has_duration = bits.bits(1, "duration_flag")? == 1;
    let at_once = bits.bits(1, "splice_immediate_flag")? == 1;
    bits.bits(4, "reserved")?;
    if whole && !at_once {
        splice.time = time(bits)?.map(&adjusted);
    }
    if !whole {
        for _ in 0..bits.bits(8, "component_count")? {
            bits.bits(8, "component_tag")?;
            if !at_once {
                let of_one = time(bits)?.map(&adjusted);
                splice.time = splice.time.or(of_one);
            }
        }
    }
    if has_duration {
        bits.bits(7, "auto_return")?;
        splice.duration = Some(long(bits, "break_duration")?);
    }
    Ok(splice)
}

/// `splice_time()`.
fn time(bits: &mut Bits<'_>) -> Result<Option<u64>, Error> {
    if bits.bits(1, "time_specified_flag")? == 0 {
        bits.bits(7, "reserved")?;
        return Ok(None);
    }
    bits.bits(6, "reserved")?;
    long(bits, "pts_time").map(Some)
}

/// The segmentation descriptors among `descriptors`; others say nothing of breaks.
fn segmentations(descriptors: &[u8], time: Option<u64>) -> Result<Vec<Splice>, Error> {
    let short = Error::Splice("its descriptors are cut short");
    let (length, rest) = descriptors.split_first_chunk().ok_or(short.clone())?;
    let mut rest = rest
        .get(..u16::from_be_bytes(*length).into())
        .ok_or(short.clone())?;
    let mut splices = Vec::new();
    while let [tag, length, after @ ..] = rest {
        let (body, next) = after
            .split_at_checked((*length).into())
            .ok_or(short.clone())?;
        rest = next;
        if let (SEGMENTATION, Some(body)) = (*tag, body.strip_prefix(b"CUEI")) {
            splices.push(segmentation(&mut Bits::plain(WHAT, body), time)?);
        }
    }
    Ok(splices)
}

fn segmentation(bits: &mut Bits<'_>, time: Option<u64>) -> Result<Splice, Error> {
    let mut splice = Splice {
        event: Some(bits.bits(32, "segmentation_event_id")?),
        edge: Edge::Cancelled,
        time,
        duration: None,
        kind: None,
    };
    if bits.bits(1, "segmentation_event_cancel_indicator")? == 1 {
        return Ok(splice);
    }
    bits.bits(7, "reserved")?;
    let whole = bits.bits(1, "program_segmentation_flag")? == 1;
    let has_duration = bits.bits(1, "segmentation_duration_flag")? == 1;
    bits.bits(6, "restrictions")?;
    if !whole {
        for _ in 0..bits.bits(8, "component_count")? {
            bits.bits(24, "component")?;
            bits.bits(24, "component")?;
        }
    }
    if has_duration {
        let high = u64::from(bits.bits(8, "segmentation_duration")?);
        let low = u64::from(bits.bits(32, "segmentation_duration")?);
        splice.duration = Some(high << 32 | low);
    }
    bits.bits(8, "segmentation_upid_type")?;
    for _ in 0..bits.bits(8, "segmentation_upid_length")? {
        bits.bits(8, "segmentation_upid")?;
    }
    let kind = bits.bits(8, "segmentation_type_id")? as u8;
    splice.kind = Some(kind);
    // Breaks and advertisements, and opportunities for them (table 22): what begins is even, what ends follows it.
    splice.edge = match kind {
        0x22 | 0x30 | 0x32 | 0x34 | 0x36 => Edge::Out,
        0x23 | 0x31 | 0x33 | 0x35 | 0x37 => Edge::In,
        _ => Edge::Other,
    };
    Ok(splice)
}

/// 33 bits.
fn long(bits: &mut Bits<'_>, field: &'static str) -> Result<u64, Error> {
    let high = u64::from(bits.bits(1, field)?);
    Ok(high << 32 | u64::from(bits.bits(32, field)?))
}

/// CRC-32 as MPEG-2 has it (ISO/IEC 13818-1 annex A); 0 over a section with its own.
fn crc(octets: &[u8]) -> u32 {
    octets.iter().fold(u32::MAX, |crc, octet| {
        (0..8).fold(crc ^ u32::from(*octet) << 24, |crc, _| {
            if crc >> 31 == 1 {
                crc << 1 ^ POLYNOMIAL
            } else {
                crc << 1
            }
        })
    })
}

const WHAT: &str = "a splice_info_section";
const TABLE: u8 = 0xfc;
/// Where a section's command begins.
const COMMAND: usize = 14;
const INSERT: u32 = 5;
const SIGNAL: u32 = 6;
const SEGMENTATION: u8 = 2;
const POLYNOMIAL: u32 = 0x04c1_1db7;
const PTS: u64 = (1 << 33) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the standard's own examples, in hexadecimal.
    fn section(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    const INSERTED: &str = "fc302f000000000000fffff014054800008f7feffe7369c02efe0052ccf500000000000a0008435545490000013562dba30a";
    const OPPORTUNITY: &str = "fc3034000000000000fffff00506fe72bd0050001e021c435545494800008e7fcf0001a599b00808000000002ca0a18a3402009ac9d17e";

    #[test]
    fn a_break_is_begun_by_an_insertion() {
        let said = splices(&section(INSERTED)).unwrap();
        let wanted = Splice {
            event: Some(0x4800_008f),
            edge: Edge::Out,
            time: Some(0x7369_c02e),
            duration: Some(0x0052_ccf5),
            kind: None,
        };
        assert_eq!(said, [wanted]);
    }

    #[test]
    fn a_break_is_begun_by_an_opportunity() {
        let said = splices(&section(OPPORTUNITY)).unwrap();
        let wanted = Splice {
            event: Some(0x4800_008e),
            edge: Edge::Out,
            time: Some(0x72bd_0050),
            duration: Some(0x01a5_99b0),
            kind: Some(0x34),
        };
        assert_eq!(said, [wanted]);
    }

    #[test]
    fn what_is_damaged_is_said_so_and_never_panics() {
        for whole in [section(INSERTED), section(OPPORTUNITY)] {
            for at in 0..whole.len() * 8 {
                let mut odd = whole.clone();
                odd[at / 8] ^= 1 << (at % 8);
                assert!(splices(&odd).is_err(), "{at}");
            }
            for length in 0..whole.len() {
                assert!(splices(&whole[..length]).is_err(), "{length}");
            }
        }
    }
}
