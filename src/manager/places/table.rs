//! The operator's table of networks: the longest prefix that contains an address says its region.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use adaptation::region::Region;
use ipnet::IpNet;

/// By length of prefix, and then by network.
#[derive(Clone, Debug, Default)]
pub struct Table {
    v4: BTreeMap<u8, HashMap<IpNet, Region>>,
    v6: BTreeMap<u8, HashMap<IpNet, Region>>,
}

impl Table {
    pub fn insert(&mut self, network: IpNet, region: Region) {
        let network = network.trunc();
        let family = match network {
            IpNet::V4(_) => &mut self.v4,
            IpNet::V6(_) => &mut self.v6,
        };
        let length = family.entry(network.prefix_len()).or_default();
        length.insert(network, region);
    }

    pub fn region(&self, address: IpAddr) -> Option<Region> {
        // A listener for both families shows those of IPv4 as `::ffff:192.0.2.1`.
        let address = address.to_canonical();
        let family = match address {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        };
        family.iter().rev().find_map(|(length, networks)| {
            let network = IpNet::new(address, *length).ok()?.trunc();
            networks.get(&network).cloned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_says_it() {
        let mut table = Table::default();
        for (network, region) in [
            ("10.0.0.0/8", "france"),
            ("10.1.0.7/16", "paris"),
            ("2001:db8::/32", "rome"),
            ("0.0.0.0/0", "world"),
        ] {
            table.insert(network.parse().unwrap(), Region::new(region));
        }
        for (address, region) in [
            ("10.1.2.3", Some("paris")),
            ("10.2.2.3", Some("france")),
            ("::ffff:10.1.0.1", Some("paris")),
            ("192.0.2.1", Some("world")),
            ("2001:db8::1", Some("rome")),
            ("2001:db9::1", None),
        ] {
            let found = table.region(address.parse().unwrap());
            assert_eq!(found.as_ref().map(Region::as_str), region, "{address}");
        }
    }
}
