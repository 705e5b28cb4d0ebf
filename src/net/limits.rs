//! What a listener bears: connections, from anybody and from any one address, and how long each
//! may keep us waiting.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time. When all are taken, new ones wait in the kernel's backlog.
    pub connections: usize,
    /// Connections of one address at a time; further ones are closed at once.
    pub per_address: Option<PerAddress>,
    /// For the handshake of TLS, and for a proxy to say on whose behalf it connects.
    pub handshake: Duration,
    /// For a request's head to arrive in full, and for an idle connection to be used again.
    pub head: Duration,
    /// Without one octet written while there is something to write.
    pub stalled_write: Duration,
    /// From the word to stop until what is still open is cut.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            per_address: None,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            stalled_write: Duration::from_secs(30),
            shutdown: Duration::from_secs(5),
        }
    }
}

/// An address of IPv6 is a network of 64 bits: whoever has one address of it has all of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PerAddress {
    pub most: usize,
    /// Connections of this machine (a proxy beside the node, a load test) are not counted.
    pub spare_loopback: bool,
}

/// How many connections each address has. Holds no more entries than there are connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection that is counted; not any more when dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    addresses: Addresses,
    address: IpAddr,
}

impl Addresses {
    /// `None` if `address` has its `most` connections.
    pub(crate) fn count(&self, address: IpAddr, most: usize) -> Option<Counted> {
        let address = network(address);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Counted {
            addresses: self.clone(),
            address,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self
            .addresses
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

impl PerAddress {
    pub(super) fn concerns(&self, address: IpAddr) -> bool {
        !(self.spare_loopback && address.is_loopback())
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let network = address.to_bits() >> 64 << 64;
            Ipv6Addr::from_bits(network).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_leaves_makes_room_and_leaves_nothing() {
        let (addresses, one) = (Addresses::default(), "192.0.2.1".parse().unwrap());
        let held: Vec<_> = (0..3).map_while(|_| addresses.count(one, 2)).collect();
        assert_eq!(held.len(), 2);
        assert!(addresses.count("192.0.2.2".parse().unwrap(), 2).is_some());
        drop(held);
        assert!(addresses.0.lock().unwrap().is_empty());
        assert!(addresses.count(one, 2).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_mapped_ipv4_is_ipv4() {
        let addresses = Addresses::default();
        let held = addresses.count("2001:db8::1".parse().unwrap(), 1);
        assert!(held.is_some());
        let near = "2001:db8::ffff:1".parse().unwrap();
        assert!(addresses.count(near, 1).is_none(), "of the same /64");
        let far = "2001:db8:0:1::1".parse().unwrap();
        assert!(addresses.count(far, 1).is_some());
        let plain = addresses.count("192.0.2.1".parse().unwrap(), 1);
        assert!(plain.is_some());
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        assert!(addresses.count(mapped, 1).is_none());
    }
}
