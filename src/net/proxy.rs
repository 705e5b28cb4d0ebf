//! Who is behind a proxy: the PROXY protocol (versions 1 and 2, as HAProxy specifies them), and
//! the headers `X-Forwarded-For` and `Forwarded` (RFC 7239). Both are believed from trusted networks only.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The header in which proxies say for whom they ask. One of them, as a proxy that writes one
/// passes on what a client wrote into the other.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedBy {
    /// `X-Forwarded-For`
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239)
    Forwarded,
}

/// Whose word is taken for who a client is.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    pub proxies: Vec<IpNet>,
    /// Connections from `proxies` begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    pub header: ForwardedBy,
}

impl Trust {
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxies
            .iter()
            .any(|network| network.contains(&address))
    }

    /// The client of a request that came from `peer`: the last hop that is not a trusted proxy.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if self.proxies.is_empty() || !self.trusts(peer) {
            return peer;
        }
        let name = match self.header {
            ForwardedBy::XForwardedFor => X_FORWARDED_FOR,
            ForwardedBy::Forwarded => header::FORWARDED,
        };
        // Several headers are one list, of which the last entry was written by the proxy next to us.
        let lines: Vec<_> = headers.get_all(name).iter().collect();
        let hops = lines
            .iter()
            .rev()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.rsplit(','));
        let mut client = peer;
        for hop in hops {
            let hop = match self.header {
                ForwardedBy::XForwardedFor => Some(hop),
                ForwardedBy::Forwarded => forwarded_for(hop),
            };
            // Whatever stands before something that is no address was not written by those we trust.
            let Some(address) = hop.and_then(address_of) else {
                break;
            };
            client = address;
            if !self.trusts(address) {
                break;
            }
        }
        client
    }
}

/// The `for=` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for")
            .then(|| value.trim_matches('"'))
    })
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let address = text.parse::<IpAddr>().ok().or_else(|| {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse().ok()
    });
    let address =
        address.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(address.to_canonical())
}

/// Reads the header with which a proxy begins a connection, and not an octet more.
/// `None`: the proxy speaks for itself, as it does to see whether we are there.
pub async fn announced<R: AsyncRead + Unpin>(stream: &mut R) -> io::Result<Option<SocketAddr>> {
    // Neither version is shorter than this.
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    if start == V2_SIGNATURE {
        return second(stream).await;
    }
    if !start.starts_with(b"PROXY ") {
        return Err(wrong(
            "it does not begin with a header of the PROXY protocol",
        ));
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == V1_LONGEST {
            return Err(wrong("its PROXY line does not end"));
        }
        line.push(stream.read_u8().await?);
    }
    let line = std::str::from_utf8(&line).map_err(|_| wrong("its PROXY line is not text"))?;
    first(line)
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443`
fn first(line: &str) -> io::Result<Option<SocketAddr>> {
    let words: Vec<_> = line.trim_end().split(' ').collect();
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", family @ ("TCP4" | "TCP6"), source, _, port, _] => {
            let address = source.parse::<IpAddr>().ok().zip(port.parse::<u16>().ok());
            let address = address.filter(|(ip, _)| ip.is_ipv4() == (family == "TCP4"));
            let (ip, port) = address.ok_or_else(|| wrong("its PROXY line names no address"))?;
            Ok(Some(SocketAddr::new(ip.to_canonical(), port)))
        }
        _ => Err(wrong("its PROXY line is none that is specified")),
    }
}

/// What follows the signature: version and command, family, length, addresses, extensions.
async fn second<R: AsyncRead + Unpin>(stream: &mut R) -> io::Result<Option<SocketAddr>> {
    let (command, family) = (stream.read_u8().await?, stream.read_u8().await?);
    let length = stream.read_u16().await?;
    if usize::from(length) > V2_LONGEST {
        return Err(wrong("its PROXY header is too long"));
    }
    let mut rest = vec![0; length.into()];
    stream.read_exact(&mut rest).await?;
    let port = |octets: &[u8]| u16::from_be_bytes([octets[0], octets[1]]);
    match (command, family) {
        (V2_LOCAL, _) => Ok(None),
        // Source, destination, port of the source, port of the destination; extensions are skipped.
        (V2_PROXY, 0x11) if rest.len() >= 12 => {
            let source: [u8; 4] = rest[..4].try_into().expect("four of four octets");
            Ok(Some(SocketAddr::from((source, port(&rest[8..10])))))
        }
        (V2_PROXY, 0x21) if rest.len() >= 36 => {
            let source: [u8; 16] = rest[..16].try_into().expect("sixteen of sixteen octets");
            let source = IpAddr::from(source).to_canonical();
            Ok(Some(SocketAddr::new(source, port(&rest[32..34]))))
        }
        // Of a socket of another kind, or of none that can be told: to be taken as it is.
        (V2_PROXY, 0x00 | 0x31 | 0x32 | 0x12 | 0x22) => Ok(None),
        _ => Err(wrong("its PROXY header is none that is specified")),
    }
}

fn wrong(rule: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, rule)
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const V1_LONGEST: usize = 107;
const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const V2_LOCAL: u8 = 0x20;
const V2_PROXY: u8 = 0x21;

/// Addresses and extensions (certificates' names among them) that balancers send fit many times.
const V2_LONGEST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(header: ForwardedBy) -> Trust {
        Trust {
            proxies: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
            proxy_protocol: false,
            header,
        }
    }

    fn client(header: ForwardedBy, peer: &str, lines: &[&str]) -> String {
        let name = match header {
            ForwardedBy::XForwardedFor => X_FORWARDED_FOR,
            ForwardedBy::Forwarded => header::FORWARDED,
        };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name.clone(), line.parse().unwrap());
        }
        let client = trust(header).client(peer.parse().unwrap(), &headers);
        client.to_string()
    }

    #[test]
    fn the_client_is_the_last_hop_that_is_not_ours() {
        let by = ForwardedBy::XForwardedFor;
        for (lines, told) in [
            (&["192.0.2.7"][..], "192.0.2.7"),
            (&["6.6.6.6, 192.0.2.7, 10.9.9.9"], "192.0.2.7"),
            (&["6.6.6.6, 192.0.2.7", "10.9.9.9"], "192.0.2.7"),
            (&["192.0.2.7:4711"], "192.0.2.7"),
            (&["2001:db8::7, fd00::1"], "2001:db8::7"),
            (&["[2001:db8::7]:80"], "2001:db8::7"),
            (&["::ffff:192.0.2.7"], "192.0.2.7"),
            (&["10.1.1.1"], "10.1.1.1"),
            (&["192.0.2.7, unknown"], "10.0.0.1"),
            (&["192.0.2.7, unknown, 10.2.2.2"], "10.2.2.2"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(client(by, "10.0.0.1", lines), told, "{lines:?}");
        }
        let stranger = client(by, "192.0.2.1", &["1.2.3.4"]);
        assert_eq!(stranger, "192.0.2.1", "not from a trusted network");
    }

    #[test]
    fn forwarded_is_read_as_specified_where_it_is_the_one_that_counts() {
        let by = ForwardedBy::Forwarded;
        for (lines, told) in [
            (&["for=192.0.2.7;proto=https;by=10.0.0.1"][..], "192.0.2.7"),
            (&["For=\"[2001:db8::7]:4711\""], "2001:db8::7"),
            (&["for=6.6.6.6, for=192.0.2.7, for=10.3.3.3"], "192.0.2.7"),
            (&["for=_hidden"], "10.0.0.1"),
            (&["proto=https"], "10.0.0.1"),
        ] {
            assert_eq!(client(by, "10.0.0.1", lines), told, "{lines:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(X_FORWARDED_FOR, "1.2.3.4".parse().unwrap());
        let told = trust(by).client("10.0.0.1".parse().unwrap(), &headers);
        assert_eq!(
            told.to_string(),
            "10.0.0.1",
            "the other header is a client's"
        );
    }

    async fn read(mut octets: &[u8]) -> (io::Result<Option<SocketAddr>>, Vec<u8>) {
        let told = announced(&mut octets).await;
        (told, octets.to_vec())
    }

    #[tokio::test]
    async fn the_first_version_is_a_line_of_text() {
        let (told, rest) = read(b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\nGET /").await;
        assert_eq!(told.unwrap(), Some("192.0.2.7:4711".parse().unwrap()));
        assert_eq!(rest, b"GET /", "not an octet more");
        let (told, _) = read(b"PROXY TCP6 2001:db8::7 fd00::1 4711 443\r\n").await;
        assert_eq!(told.unwrap(), Some("[2001:db8::7]:4711".parse().unwrap()));
        assert_eq!(read(b"PROXY UNKNOWN\r\n").await.0.unwrap(), None);
        for wrong in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PROXY TCP4 2001:db8::7 fd00::1 4711 443\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 99999 443\r\n",
            b"PROXY TCP4 192.0.2.7\r\n",
            b"PROXY SCTP 192.0.2.7 10.0.0.1 1 2\r\n",
            &[b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat(),
            b"PROXY TCP4 192.0.2.7",
        ] {
            assert!(read(wrong).await.0.is_err(), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn the_second_version_is_binary() {
        let header = |command: u8, family: u8, rest: &[u8]| {
            let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
            [&V2_SIGNATURE[..], &[command, family], &length, rest, b"GET"].concat()
        };
        let four = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 1, 187];
        let (told, rest) = read(&header(0x21, 0x11, &four)).await;
        assert_eq!(told.unwrap(), Some("192.0.2.7:4711".parse().unwrap()));
        assert_eq!(rest, b"GET");
        let extended = [&four[..], &[4, 0, 1, 0]].concat();
        let (told, rest) = read(&header(0x21, 0x11, &extended)).await;
        assert_eq!(told.unwrap(), Some("192.0.2.7:4711".parse().unwrap()));
        assert_eq!(rest, b"GET", "extensions are skipped");
        let mut six = [0; 36];
        six[..16].copy_from_slice(
            &"2001:db8::7"
                .parse::<std::net::Ipv6Addr>()
                .unwrap()
                .octets(),
        );
        six[32..34].copy_from_slice(&[0x12, 0x67]);
        let (told, _) = read(&header(0x21, 0x21, &six)).await;
        assert_eq!(told.unwrap(), Some("[2001:db8::7]:4711".parse().unwrap()));
        assert_eq!(read(&header(0x20, 0x00, &[])).await.0.unwrap(), None);
        for wrong in [
            header(0x21, 0x11, &four[..8]),
            header(0x31, 0x11, &four),
            header(0x21, 0x99, &four),
            header(0x21, 0x11, &four)[..20].to_vec(),
        ] {
            assert!(read(&wrong).await.0.is_err(), "{wrong:?}");
        }
    }
}
