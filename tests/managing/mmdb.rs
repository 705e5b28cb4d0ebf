//! Small MaxMind databases, for tests to say where networks are: a tree of IPv4 prefixes, records of a country and a
//! continent (format 2.0, see maxmind.github.io/MaxMind-DB).

use std::path::Path;

use ipnet::Ipv4Net;

#[derive(Clone, Copy)]
enum Record {
    Nothing,
    Node(usize),
    Data(usize),
}

/// Writes a database in which each network is in the country and on the continent beside it.
pub(crate) fn write(path: &Path, places: &[(&str, &str, &str)]) {
    let (mut tree, mut data) = (vec![[Record::Nothing; 2]], Vec::new());
    for (network, country, continent) in places {
        let network: Ipv4Net = network.parse().unwrap();
        let at = data.len();
        map(&mut data, 2);
        text(&mut data, "country");
        map(&mut data, 1);
        text(&mut data, "iso_code");
        text(&mut data, country);
        text(&mut data, "continent");
        map(&mut data, 1);
        text(&mut data, "code");
        text(&mut data, continent);
        insert(&mut tree, network, at);
    }
    let nodes = tree.len();
    let mut file = Vec::new();
    for record in tree.iter().flatten() {
        let value = match record {
            Record::Nothing => nodes,
            Record::Node(node) => *node,
            Record::Data(at) => nodes + 16 + at,
        };
        file.extend(&(value as u32).to_be_bytes()[1..]);
    }
    file.extend([0; 16]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    map(&mut file, 9);
    for (key, kind, value) in [
        ("node_count", 6, nodes as u32),
        ("record_size", 5, 24),
        ("ip_version", 5, 4),
        ("binary_format_major_version", 5, 2),
        ("binary_format_minor_version", 5, 0),
    ] {
        text(&mut file, key);
        let octets: Vec<_> = value
            .to_be_bytes()
            .into_iter()
            .skip_while(|b| *b == 0)
            .collect();
        file.push((kind << 5) | octets.len() as u8);
        file.extend(octets);
    }
    text(&mut file, "database_type");
    text(&mut file, "Test-Country");
    text(&mut file, "languages");
    file.extend([0, 4]); // an array of none
    text(&mut file, "build_epoch");
    file.extend([1, 2, 1]); // 64 bits, one octet of them: 1
    text(&mut file, "description");
    map(&mut file, 0);
    // In one step, as an updater should.
    let new = path.with_extension("new");
    std::fs::write(&new, file).unwrap();
    std::fs::rename(new, path).unwrap();
}

fn insert(tree: &mut Vec<[Record; 2]>, network: Ipv4Net, at: usize) {
    let bits = u32::from(network.network());
    let mut node = 0;
    for depth in 0..network.prefix_len() {
        let side = (bits >> (31 - depth) & 1) as usize;
        if depth + 1 == network.prefix_len() {
            tree[node][side] = Record::Data(at);
        } else if let Record::Node(next) = tree[node][side] {
            node = next;
        } else {
            tree.push([Record::Nothing; 2]);
            tree[node][side] = Record::Node(tree.len() - 1);
            node = tree.len() - 1;
        }
    }
}

fn map(into: &mut Vec<u8>, pairs: u8) {
    into.push(7 << 5 | pairs);
}

fn text(into: &mut Vec<u8>, text: &str) {
    assert!(text.len() < 29);
    into.push(2 << 5 | text.len() as u8);
    into.extend(text.as_bytes());
}
