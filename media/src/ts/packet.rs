//! Packets of 188 octets, and how what is larger is cut into them (ISO/IEC 13818-1 section 2.4.3).

use super::read::SYNC;

/// Where in the multiplex something is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pid {
    Pat,
    Pmt,
    Video,
    Audio,
}

impl Pid {
    pub(super) const fn number(self) -> u16 {
        match self {
            Self::Pat => 0,
            Self::Pmt => 0x1000,
            Self::Video => 0x100,
            Self::Audio => 0x101,
        }
    }
}

/// What the packet where a picture begins says of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// The multiplex's time in 1/90000 s when this octet comes (PCR).
    pub(super) time: u64,
    pub(super) random_access: bool,
}

/// A segment's packets.
#[derive(Debug)]
pub(super) struct Packets {
    octets: Vec<u8>,
    /// Packets so far, by PID.
    counts: [usize; 4],
}

impl Packets {
    /// Continuity counters go round after this many.
    pub(super) const ROUND: usize = 16;

    pub(super) fn with_capacity(octets: usize) -> Self {
        Self {
            octets: Vec::with_capacity(octets),
            counts: [0; 4],
        }
    }

    pub(super) fn count(&self, pid: Pid) -> usize {
        self.counts[pid as usize]
    }

    /// A section, which fits into one packet.
    pub(super) fn table(&mut self, pid: Pid, section: &[u8]) {
        self.head(pid, true, false);
        let start = self.octets.len();
        self.octets.push(0); // the section begins at once
        self.octets.extend_from_slice(section);
        self.octets.resize(start + PAYLOAD, 0xff);
    }

    /// A packet of an elementary stream. The `last` one of the segment is spread over as many more
    /// packets as make the PID's count a multiple of 16; it has more octets than that.
    pub(super) fn stream(&mut self, pid: Pid, pes: &[u8], clock: Option<Clock>, last: bool) {
        let first = PAYLOAD - clock.map_or(0, |_| CLOCK);
        let mut packets = 1 + pes.len().saturating_sub(first).div_ceil(PAYLOAD);
        if last {
            packets += (Self::ROUND - (self.count(pid) + packets) % Self::ROUND) % Self::ROUND;
        }
        let (mut rest, mut clock) = (pes, clock);
        for number in 0..packets {
            let room = PAYLOAD - clock.map_or(0, |_| CLOCK);
            // Each packet that follows needs an octet: one without any would not count.
            let spare = rest.len().saturating_sub(packets - 1 - number);
            let (now, later) = rest.split_at(room.min(spare));
            self.packet(pid, number == 0, clock.take(), now);
            rest = later;
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.octets
    }

    fn packet(&mut self, pid: Pid, begins: bool, clock: Option<Clock>, payload: &[u8]) {
        let adaptation = PAYLOAD - payload.len();
        self.head(pid, begins, adaptation > 0);
        let end = self.octets.len() + adaptation;
        if adaptation > 0 {
            self.octets.push((adaptation - 1) as u8);
        }
        if adaptation > 1 {
            match clock {
                Some(clock) => {
                    let random_access = if clock.random_access { 0x40 } else { 0 };
                    self.octets.push(0x10 | random_access);
                    self.octets.extend_from_slice(&pcr(clock.time));
                }
                None => self.octets.push(0),
            }
        }
        self.octets.resize(end, 0xff);
        self.octets.extend_from_slice(payload);
    }

    fn head(&mut self, pid: Pid, begins: bool, adapted: bool) {
        let count = &mut self.counts[pid as usize];
        let continuity = (*count % Self::ROUND) as u8;
        *count += 1;
        let [high, low] = pid.number().to_be_bytes();
        let begins = if begins { 0x40 } else { 0 };
        let control = if adapted { 0x30 } else { 0x10 };
        self.octets
            .extend_from_slice(&[SYNC, begins | high, low, control | continuity]);
    }
}

/// A program clock reference: 33 bits of 1/90000 s, six reserved, nine of 1/27000000 s.
fn pcr(time: u64) -> [u8; 6] {
    [
        (time >> 25) as u8,
        (time >> 17) as u8,
        (time >> 9) as u8,
        (time >> 1) as u8,
        (time << 7) as u8 | 0x7e,
        0,
    ]
}

const PAYLOAD: usize = 184;
/// Octets of an adaptation field with a clock: its length, its flags, the clock.
const CLOCK: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// Payload octets of each packet, and its continuity counter.
    fn cut(lengths: &[usize], clocked: bool) -> Vec<(usize, u8)> {
        let clock = clocked.then_some(Clock {
            time: 0,
            random_access: true,
        });
        let mut packets = Packets::with_capacity(0);
        for (at, length) in lengths.iter().enumerate() {
            let pes = vec![0x55; *length];
            packets.stream(Pid::Video, &pes, clock, at + 1 == lengths.len());
        }
        let octets = packets.finish();
        assert_eq!(octets.len() % 188, 0);
        let packets = octets.chunks(188).map(|packet| {
            assert_eq!(packet[0], SYNC);
            let adaptation = if packet[3] & 0x20 == 0 {
                0
            } else {
                1 + usize::from(packet[4])
            };
            let payload = &packet[4 + adaptation..];
            assert!(payload.iter().all(|octet| *octet == 0x55), "{packet:x?}");
            (payload.len(), packet[3] & 15)
        });
        packets.collect()
    }

    #[test]
    fn whatever_is_cut_is_whole_and_a_multiple_of_sixteen() {
        for length in (20..800).chain([184 * 16, 184 * 16 + 1, 184 * 40 - 8]) {
            for clocked in [false, true] {
                let cut = cut(&[300, 40, length], clocked);
                let octets: usize = cut.iter().map(|(octets, _)| octets).sum();
                assert_eq!(octets, 340 + length);
                assert_eq!(cut.len() % 16, 0);
                assert!(cut.iter().all(|(octets, _)| *octets > 0), "{cut:?}");
                for (at, (_, counter)) in cut.iter().enumerate() {
                    assert_eq!(usize::from(*counter), at % 16);
                }
            }
        }
    }

    #[test]
    fn a_clock_is_33_bits_and_no_extension() {
        assert_eq!(pcr(0), [0, 0, 0, 0, 0x7e, 0]);
        assert_eq!(pcr((1 << 33) - 1), [0xff, 0xff, 0xff, 0xff, 0xfe, 0]);
        assert_eq!(pcr(1 << 33), pcr(0));
    }
}
