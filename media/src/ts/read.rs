//! Reading MPEG-TS (ISO/IEC 13818-1): its packets, its two tables, and the heads of what is in an elementary stream.
//! What it all amounts to is `demux`'s business, or a validator's.

/// A packet, as its head describes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Packet<'a> {
    pub pid: u16,
    /// A section, or a packet of an elementary stream, begins in it.
    pub begins: bool,
    /// Goes up by one, modulo 16, with each packet of a PID that has a payload.
    pub counter: u8,
    /// It says that its counter does not go on from the one before (`discontinuity_indicator`).
    pub announced: bool,
    /// Whoever received it says that it is broken (`transport_error_indicator`).
    pub broken: bool,
    pub scrambled: bool,
    /// Absent, not empty, where there is none.
    pub payload: Option<&'a [u8]>,
}

impl<'a> Packet<'a> {
    /// `None` if there is no sync octet.
    pub fn parse(octets: &'a [u8; PACKET]) -> Option<Self> {
        let [SYNC, first, second, third, rest @ ..] = octets else {
            return None;
        };
        let (mut payload, mut announced) = (&rest[..], false);
        if third & 0x20 != 0 {
            let length = usize::from(payload[0]);
            announced = length > 0 && payload[1] & 0x80 != 0;
            payload = payload.get(1 + length..).unwrap_or_default();
        }
        Some(Self {
            pid: u16::from_be_bytes([first & 0x1f, *second]),
            begins: first & 0x40 != 0,
            counter: third & 0xf,
            announced,
            broken: first & 0x80 != 0,
            scrambled: third & 0xc0 != 0,
            payload: (third & 0x10 != 0).then_some(payload),
        })
    }
}

/// The packets that `octets` are made of. Where there is none, that is said with the place, and it goes on at the next
/// octet that can begin one.
pub fn packets(octets: &[u8]) -> impl Iterator<Item = Result<Packet<'_>, usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = octets.get(at..).filter(|rest| !rest.is_empty())?;
        if let Some(packet) = rest.first_chunk().and_then(Packet::parse) {
            at += PACKET;
            return Some(Ok(packet));
        }
        let lost = at;
        let sync = |from: &usize| {
            octets[*from] == SYNC && octets.get(from + PACKET).is_none_or(|next| *next == SYNC)
        };
        at = (at + 1..octets.len()).find(sync).unwrap_or(octets.len());
        Some(Err(lost))
    })
}

/// A table's octets in the payload of the packet in which it begins. Those that do not fit a packet are not looked at.
pub fn section<'a>(packet: &Packet<'a>) -> Option<&'a [u8]> {
    let payload = packet.payload.filter(|_| packet.begins)?;
    let pointer = usize::from(*payload.first()?);
    let table = payload.get(1 + pointer..)?;
    let length = usize::from(u16::from_be_bytes([table.get(1)? & 0xf, *table.get(2)?]));
    // Without the check behind it, which players do not look at either: the table comes again.
    let body = table.get(..(3 + length).checked_sub(4)?)?;
    (body.len() >= TABLE_HEAD).then_some(body)
}

/// Where the first programme's table is, by the PAT.
pub fn programme(section: &[u8]) -> Option<u16> {
    let table = section.first().filter(|table| **table == PAT);
    let entries = table.and(section.get(TABLE_HEAD..))?;
    let mut programmes = entries.chunks_exact(4);
    let first = programmes.find(|entry| entry[..2] != [0, 0])?;
    Some(u16::from_be_bytes([first[2] & 0x1f, first[3]]))
}

/// What kind of elementary stream is on which PID, by the PMT; `None` if it is none.
pub fn streams(section: &[u8]) -> Option<Vec<(u8, u16)>> {
    let table = section.first().filter(|table| **table == PMT);
    let information = table.and(section.get(10..12))?;
    let information = usize::from(u16::from_be_bytes([information[0] & 0xf, information[1]]));
    let mut rest = section.get(12 + information..)?;
    let mut streams = Vec::new();
    while let [kind, high, low, es_high, es_low, after @ ..] = rest {
        streams.push((*kind, u16::from_be_bytes([high & 0x1f, *low])));
        let skip = usize::from(u16::from_be_bytes([es_high & 0xf, *es_low]));
        rest = after.get(skip..).unwrap_or_default();
    }
    Some(streams)
}

/// What the head of a packet of an elementary stream says (section 2.4.3.6), in 1/90000 s and 33 bits.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stamps {
    pub shown: Option<u64>,
    /// The same as `shown` where nothing else is said.
    pub decoded: Option<u64>,
}

/// The head of a packet of an elementary stream, and what is behind it.
pub fn packetised(octets: &[u8]) -> Option<(Stamps, &[u8])> {
    let [0, 0, 1, _, _, _, _, flags, head, rest @ ..] = octets else {
        return None;
    };
    let (fields, body) = rest.split_at_checked(usize::from(*head))?;
    let shown = (flags & 0x80 != 0).then(|| stamp(fields)).flatten();
    let decoded = (flags & 0xc0 == 0xc0).then(|| stamp(fields.get(5..)?));
    let decoded = decoded.flatten().or(shown);
    Some((Stamps { shown, decoded }, body))
}

fn stamp(octets: &[u8]) -> Option<u64> {
    let [a, b, c, d, e, ..] = octets.first_chunk::<5>()?.map(u64::from);
    // Each of the three pieces ends with a bit that is set.
    (a & c & e & 1 == 1).then_some((a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1)
}

/// How far `to` is behind `from`, by the shorter way round: times have 33 bits.
pub fn span(from: u64, to: u64) -> i64 {
    let ahead = (to.wrapping_sub(from) % WRAP) as i64;
    if ahead < WRAP as i64 / 2 {
        ahead
    } else {
        ahead - WRAP as i64
    }
}

pub const PACKET: usize = 188;
/// The first octet of each packet.
pub const SYNC: u8 = 0x47;
/// Times begin anew after this many ticks.
pub const WRAP: u64 = 1 << 33;
/// The PID of packets that are there to be nothing.
pub const NULL: u16 = 0x1fff;

/// Types of elementary streams (table 2-34, and what registries have added).
pub mod kind {
    pub const AVC: u8 = 0x1b;
    pub const AAC: u8 = 0x0f;
}

/// The ids of tables.
pub(super) const PAT: u8 = 0;
pub(super) const PMT: u8 = 2;
/// Octets of a table before its entries.
const TABLE_HEAD: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(pid: u16, counter: u8) -> [u8; PACKET] {
        let mut packet = [0xff; PACKET];
        let [high, low] = pid.to_be_bytes();
        packet[..4].copy_from_slice(&[SYNC, 0x40 | high, low, 0x10 | counter]);
        packet
    }

    #[test]
    fn after_octets_that_are_no_packet_the_next_one_is_found() {
        let mut octets = packet(256, 3).to_vec();
        octets.extend_from_slice(&[0, SYNC, 0]);
        octets.extend_from_slice(&packet(257, 4));
        octets.extend_from_slice(&packet(256, 5)[..100]);
        let found: Vec<_> = packets(&octets)
            .map(|found| found.map(|packet| (packet.pid, packet.counter)))
            .collect();
        let end = 2 * PACKET + 3;
        assert_eq!(found, [Ok((256, 3)), Err(PACKET), Ok((257, 4)), Err(end)]);
    }

    #[test]
    fn times_are_compared_by_the_shorter_way() {
        assert_eq!(span(10, 25), 15);
        assert_eq!(span(25, 10), -15);
        assert_eq!(span(WRAP - 5, 10), 15);
        assert_eq!(span(10, WRAP - 5), -15);
    }
}
