//! The first half of SRT's handshake, without a memory: whoever asks is given a cookie, and is only remembered once it
//! has come back from where it was sent to. Addresses of UDP can be made up; what comes back cannot.

use std::net::SocketAddr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What makes this listener's cookies, and nobody else's.
pub(super) struct Cookies([u8; 32]);

/// What a datagram from an address that is not known begins.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum First {
    /// The first half; this is the answer.
    Induction([u8; HANDSHAKE]),
    /// The second half, with a cookie of ours.
    Conclusion,
    Nothing,
}

impl Cookies {
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        Ok(Self(secret))
    }

    /// Reads a datagram that came from `from` in this `minute`.
    pub(super) fn read(&self, datagram: &[u8], from: SocketAddr, minute: u64) -> First {
        let Some(head) = datagram.first_chunk::<HANDSHAKE>() else {
            return First::Nothing;
        };
        let field = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
        // A control packet of kind 0, for no socket that would be known.
        if field(0) != [0x80, 0, 0, 0] || field(DESTINATION) != [0; 4] {
            return First::Nothing;
        }
        match field(TYPE) {
            INDUCTION => {
                let mut answer = *head;
                answer[DESTINATION..DESTINATION + 4].copy_from_slice(&field(SOCKET));
                answer[VERSION..VERSION + 8].copy_from_slice(&[0, 0, 0, 5, 0, 0, 0x4a, 0x17]);
                answer[COOKIE..COOKIE + 4].copy_from_slice(&self.cookie(from, minute));
                First::Induction(answer)
            }
            CONCLUSION => {
                let minutes = [minute, minute.saturating_sub(1)];
                let ours = minutes.map(|minute| self.cookie(from, minute));
                if ours.contains(&field(COOKIE)) {
                    First::Conclusion
                } else {
                    First::Nothing
                }
            }
            _ => First::Nothing,
        }
    }

    fn cookie(&self, from: SocketAddr, minute: u64) -> [u8; 4] {
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return [0; 4];
        };
        let said = format!("{from} {minute}");
        let mac = mac.chain_update(said).finalize().into_bytes();
        [mac[0], mac[1], mac[2], mac[3]]
    }
}

/// Octets of a handshake without extensions, the packet's header included.
pub(super) const HANDSHAKE: usize = 64;

// Where in it what is.
const DESTINATION: usize = 12;
const VERSION: usize = 16;
const TYPE: usize = 36;
const SOCKET: usize = 40;
const COOKIE: usize = 44;

const INDUCTION: [u8; 4] = [0, 0, 0, 1];
const CONCLUSION: [u8; 4] = [0xff; 4];

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(kind: [u8; 4], cookie: [u8; 4]) -> Vec<u8> {
        let mut datagram = vec![0; HANDSHAKE];
        datagram[0] = 0x80;
        datagram[TYPE..TYPE + 4].copy_from_slice(&kind);
        datagram[SOCKET..SOCKET + 4].copy_from_slice(&[1, 2, 3, 4]);
        datagram[COOKIE..COOKIE + 4].copy_from_slice(&cookie);
        datagram
    }

    #[test]
    fn only_who_is_where_it_says_can_conclude() {
        let (cookies, minute) = (Cookies::new().unwrap(), 100);
        let (here, there) = (([192, 0, 2, 1], 5000).into(), ([192, 0, 2, 1], 5001).into());
        let First::Induction(answer) = cookies.read(&datagram(INDUCTION, [0; 4]), here, minute)
        else {
            panic!("no answer");
        };
        assert_eq!(answer[DESTINATION..DESTINATION + 4], [1, 2, 3, 4]);
        let cookie = [answer[44], answer[45], answer[46], answer[47]];
        let conclusion = datagram(CONCLUSION, cookie);
        assert_eq!(cookies.read(&conclusion, here, minute), First::Conclusion);
        assert_eq!(
            cookies.read(&conclusion, here, minute + 1),
            First::Conclusion
        );
        assert_eq!(cookies.read(&conclusion, here, minute + 2), First::Nothing);
        assert_eq!(cookies.read(&conclusion, there, minute), First::Nothing);
        assert_eq!(
            cookies.read(&conclusion[..63], here, minute),
            First::Nothing
        );
        assert_eq!(
            cookies.read(&datagram([0; 4], cookie), here, minute),
            First::Nothing
        );
    }
}
