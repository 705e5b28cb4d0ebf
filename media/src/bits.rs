//! Bits of a NAL unit's payload (ITU-T H.264 sections 7.3.1 and 9.1), emulation prevention undone.

use crate::Error;

/// Reads bits, most significant first.
#[derive(Clone, Debug)]
pub(crate) struct Bits<'a> {
    /// What is read, for errors.
    what: &'static str,
    octets: &'a [u8],
    /// Octets of `octets` that are used up.
    used: usize,
    /// The current octet, and how many of its bits are left.
    octet: u8,
    left: u8,
    /// Zero octets just before; `None` where there is no emulation prevention to undo.
    zeros: Option<u8>,
}

impl<'a> Bits<'a> {
    pub(crate) fn new(what: &'static str, octets: &'a [u8]) -> Self {
        Self {
            what,
            octets,
            used: 0,
            octet: 0,
            left: 0,
            zeros: Some(0),
        }
    }

    /// Of octets that are what they are.
    pub(crate) fn plain(what: &'static str, octets: &'a [u8]) -> Self {
        Self {
            zeros: None,
            ..Self::new(what, octets)
        }
    }

    fn next_octet(&mut self) -> Option<u8> {
        let mut octet = *self.octets.get(self.used)?;
        self.used += 1;
        if self.zeros >= Some(2) && octet == EMULATION_PREVENTION {
            octet = *self.octets.get(self.used)?;
            self.used += 1;
            self.zeros = Some(0);
        }
        let zeros = |zeros: u8| {
            if octet == 0 {
                zeros.saturating_add(1)
            } else {
                0
            }
        };
        self.zeros = self.zeros.map(zeros);
        Some(octet)
    }

    pub(crate) fn bit(&mut self, field: &'static str) -> Result<bool, Error> {
        if self.left == 0 {
            let what = self.what;
            self.octet = self.next_octet().ok_or(Error::Bits { what, field })?;
            self.left = 8;
        }
        self.left -= 1;
        Ok(self.octet >> self.left & 1 == 1)
    }

    /// Up to 32 bits as a number.
    pub(crate) fn bits(&mut self, count: u8, field: &'static str) -> Result<u32, Error> {
        let mut value = 0;
        for _ in 0..count.min(32) {
            value = value << 1 | u32::from(self.bit(field)?);
        }
        Ok(value)
    }

    /// Exp-Golomb, unsigned.
    pub(crate) fn ue(&mut self, field: &'static str) -> Result<u32, Error> {
        let mut zeros = 0;
        while !self.bit(field)? {
            zeros += 1;
            if zeros > 31 {
                let what = self.what;
                return Err(Error::Bits { what, field });
            }
        }
        let rest = self.bits(zeros, field)?;
        Ok(((1u32 << zeros) - 1).wrapping_add(rest))
    }

    /// Exp-Golomb, signed.
    pub(crate) fn se(&mut self, field: &'static str) -> Result<i64, Error> {
        let code = i64::from(self.ue(field)?);
        Ok(if code % 2 == 1 {
            (code + 1) / 2
        } else {
            -(code / 2)
        })
    }
}

const EMULATION_PREVENTION: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_is_read_through_emulation_prevention() {
        // 1, 010, 011, 00100 and a stop bit: 0, 1, 2, 3.
        let mut bits = Bits::new("test", &[0b1010_0110, 0b0100_1000]);
        let values: Vec<_> = (0..4).map(|_| bits.ue("value").expect("a value")).collect();
        assert_eq!(values, [0, 1, 2, 3]);
        let mut bits = Bits::new("test", &[0, 0, 3, 1]);
        assert_eq!(bits.bits(24, "value"), Ok(1));
        assert!(bits.bit("more").is_err());
        // 010, 011, 00101.
        let mut bits = Bits::new("test", &[0b0100_1100, 0b1010_0000]);
        let values: Vec<_> = (0..3).map(|_| bits.se("value").expect("a value")).collect();
        assert_eq!(values, [1, -1, -2]);
    }
}
