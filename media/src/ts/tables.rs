//! The two tables that say what is in the multiplex (ISO/IEC 13818-1 section 2.4.4). The same in every segment of a stream.

use super::{
    packet::{Packets, Pid},
    read::{PAT, PMT, kind},
};

/// Both, written.
#[derive(Debug)]
pub(super) struct Tables {
    pat: Vec<u8>,
    pmt: Vec<u8>,
}

impl Tables {
    pub(super) fn new(with_sound: bool) -> Self {
        let [high, low] = Pid::Pmt.number().to_be_bytes();
        let pat = section(PAT, &[0, PROGRAMME, RESERVED | high, low]);
        let clock = Pid::Video.number().to_be_bytes();
        // Where the clock is, and no descriptors.
        let mut content = vec![RESERVED | clock[0], clock[1], 0xf0, 0];
        let sound = with_sound.then_some((kind::AAC, Pid::Audio));
        for (coding, pid) in [(kind::AVC, Pid::Video)].into_iter().chain(sound) {
            let [high, low] = pid.number().to_be_bytes();
            content.extend_from_slice(&[coding, RESERVED | high, low, 0xf0, 0]);
        }
        Self {
            pat,
            pmt: section(PMT, &content),
        }
    }

    /// Writes both until there are `count` of each.
    pub(super) fn write_until(&self, count: usize, packets: &mut Packets) {
        while packets.count(Pid::Pat) < count {
            packets.table(Pid::Pat, &self.pat);
            packets.table(Pid::Pmt, &self.pmt);
        }
    }
}

/// A section that is the only one of its table, in version 0 and in force.
fn section(table: u8, content: &[u8]) -> Vec<u8> {
    // What follows the length: five octets of head, the content, four of CRC.
    let length = (content.len() + 9) as u8;
    let mut section = vec![table, 0xb0, length, 0, PROGRAMME, 0xc1, 0, 0];
    section.extend_from_slice(content);
    let check = crc(&section);
    section.extend_from_slice(&check.to_be_bytes());
    section
}

/// Annex A: polynomial 0x04c11db7, nothing reflected, begun with ones.
fn crc(octets: &[u8]) -> u32 {
    octets.iter().fold(u32::MAX, |crc, octet| {
        (0..8).fold(crc ^ u32::from(*octet) << 24, |crc, _| {
            let carry = if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 };
            crc << 1 ^ carry
        })
    })
}

/// The one programme, and the number of the multiplex.
const PROGRAMME: u8 = 1;
/// Reserved bits before a PID.
const RESERVED: u8 = 0xe0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_over_a_section_with_its_check_is_nothing() {
        for with_sound in [false, true] {
            let tables = Tables::new(with_sound);
            assert_eq!((crc(&tables.pat), crc(&tables.pmt)), (0, 0));
        }
        assert_eq!(crc(b"123456789"), 0x0376_e6e7);
    }
}
