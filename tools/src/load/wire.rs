//! One viewer's connections: HTTP/1.1 over sockets of its own, from an address of its own, read no faster than its link
//! carries.
//!
//! Written for thousands in one thread: a connection costs its socket and one buffer. It does what the servers under test
//! do (lengths, chunks, redirects, connections that stay open), and calls all else an error.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use bytes::{Buf as _, Bytes, BytesMut};
use reqwest::{
    StatusCode, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use spillway::net::{FetchError, Fetched};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// What a viewer's connections are like.
#[derive(Clone, Debug)]
pub struct Wire {
    agent: &'static str,
    /// Where connections begin.
    from: Option<IpAddr>,
    /// What the link carries, octets per second.
    rate: Option<f64>,
    /// When the link is free again.
    free: Instant,
}

/// Connections that wait, by host and use.
pub type Idle = HashMap<(String, u8), TcpStream>;

impl Wire {
    pub fn new(agent: &'static str, from: Option<IpAddr>, kbps: Option<u64>) -> Self {
        Self {
            agent,
            from,
            rate: kbps.map(|kbps| kbps as f64 * 125.0),
            free: Instant::now(),
        }
    }

    /// The body of `url`, wherever it is, within `patience`. `purpose`: requests of different ones share no connection.
    pub async fn get(
        &mut self,
        idle: &mut Idle,
        url: &Url,
        purpose: u8,
        patience: Duration,
    ) -> Result<Fetched, FetchError> {
        let whole = self.follow(idle, url, purpose);
        timeout(patience, whole).await.unwrap_or_else(|_| {
            Err(FetchError::Late {
                url: Box::new(url.clone()),
                patience,
            })
        })
    }

    async fn follow(
        &mut self,
        idle: &mut Idle,
        url: &Url,
        purpose: u8,
    ) -> Result<Fetched, FetchError> {
        let mut url = url.clone();
        for _ in 0..REDIRECTS {
            let (status, headers, body) = self.exchange(idle, &url, purpose).await?;
            if status.is_redirection() {
                let to = headers.get("location").and_then(|to| to.to_str().ok());
                let to = to.and_then(|to| url.join(to).ok());
                url = to.ok_or_else(|| failed(&url, "a redirect to nowhere"))?;
                continue;
            }
            if !status.is_success() {
                let said = String::from_utf8_lossy(&body)
                    .trim()
                    .chars()
                    .take(200)
                    .collect();
                return Err(FetchError::Status {
                    url: Box::new(url),
                    status,
                    said,
                });
            }
            return Ok(Fetched { url, headers, body });
        }
        Err(failed(&url, "too many redirects"))
    }

    async fn exchange(
        &mut self,
        idle: &mut Idle,
        url: &Url,
        purpose: u8,
    ) -> Result<(StatusCode, HeaderMap, Bytes), FetchError> {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(80);
        if url.scheme() != "http" {
            return Err(failed(url, "only plain http is spoken here"));
        }
        let key = (format!("{host}:{port}"), purpose);
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nuser-agent: {}\r\naccept: */*\r\n\r\n",
            key.0, self.agent
        );
        // One that waited may have been closed just now; that is no failure of the server's.
        if let Some(waiting) = idle.remove(&key)
            && let Ok(answer) = self.speak(idle, key.clone(), waiting, &request, url).await
        {
            return Ok(answer);
        }
        let fresh = self.connect(host, port).await;
        let fresh = fresh.map_err(|error| failed(url, &error.to_string()))?;
        self.speak(idle, key, fresh, &request, url).await
    }

    async fn connect(&self, host: &str, port: u16) -> std::io::Result<TcpStream> {
        let to = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, port),
            Err(_) => tokio::net::lookup_host((host, port))
                .await?
                .next()
                .ok_or_else(|| std::io::Error::other("no such host"))?,
        };
        let socket = if to.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        if let Some(rate) = self.rate {
            // Else the kernel would take in at once what the link brings by and by.
            let held = (rate * HELD).clamp(16e3, 4e6);
            socket.set_recv_buffer_size(held as u32)?;
        }
        if let Some(from) = self.from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let stream = timeout(CONNECT, socket.connect(to)).await??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn speak(
        &mut self,
        idle: &mut Idle,
        key: (String, u8),
        mut stream: TcpStream,
        request: &str,
        url: &Url,
    ) -> Result<(StatusCode, HeaderMap, Bytes), FetchError> {
        let broken = |error: std::io::Error| failed(url, &error.to_string());
        stream.write_all(request.as_bytes()).await.map_err(broken)?;
        let mut read = BytesMut::with_capacity(8 << 10);
        let head = loop {
            self.read(&mut stream, &mut read).await.map_err(broken)?;
            if let Some(head) = Head::read(&read).map_err(|why| failed(url, why))? {
                break head;
            }
            if read.len() > HEAD {
                return Err(failed(url, "a head without end"));
            }
        };
        read.advance(head.octets);
        let body = match head.body {
            Body::Length(length) => {
                if length > MOST {
                    return Err(FetchError::TooLong {
                        url: Box::new(url.clone()),
                    });
                }
                read.reserve(length.saturating_sub(read.len()));
                while read.len() < length {
                    self.read(&mut stream, &mut read).await.map_err(broken)?;
                }
                read.split_to(length).freeze()
            }
            Body::Chunked => loop {
                if let Some(body) = chunks(&read).map_err(|why| failed(url, why))? {
                    break body;
                }
                if read.len() > MOST {
                    return Err(FetchError::TooLong {
                        url: Box::new(url.clone()),
                    });
                }
                self.read(&mut stream, &mut read).await.map_err(broken)?;
            },
            Body::Unknown => {
                return Err(FetchError::Endless {
                    url: Box::new(url.clone()),
                });
            }
        };
        if head.stays {
            idle.insert(key, stream);
        }
        Ok((head.status, head.headers, body))
    }

    /// Some more, at the pace of the link.
    async fn read(&mut self, stream: &mut TcpStream, to: &mut BytesMut) -> std::io::Result<()> {
        if self.rate.is_some() {
            tokio::time::sleep_until(self.free.into()).await;
        }
        let at_a_time = self.rate.map_or(AT_ONCE, |rate| {
            ((rate * STEP) as usize).clamp(1500, AT_ONCE)
        });
        to.reserve(at_a_time);
        let got = (&mut *stream).take(at_a_time as u64).read_buf(to).await?;
        if got == 0 {
            return Err(std::io::Error::new(
                std::io::ErrorKind::UnexpectedEof,
                "it was closed in the middle",
            ));
        }
        if let Some(rate) = self.rate {
            let takes = Duration::from_secs_f64(got as f64 / rate);
            self.free = self.free.max(Instant::now()) + takes;
        }
        Ok(())
    }
}

struct Head {
    octets: usize,
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
    stays: bool,
}

enum Body {
    Length(usize),
    Chunked,
    Unknown,
}

impl Head {
    /// `None` while there is not all of it.
    fn read(octets: &[u8]) -> Result<Option<Self>, &'static str> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut fields);
        let octets = match response.parse(octets) {
            Ok(httparse::Status::Complete(octets)) => octets,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err("no HTTP"),
        };
        let status = StatusCode::from_u16(response.code.unwrap_or(0)).map_err(|_| "no status")?;
        let mut headers = HeaderMap::with_capacity(response.headers.len());
        for field in response.headers.iter() {
            if let (Ok(name), Ok(value)) = (
                HeaderName::try_from(field.name),
                HeaderValue::from_bytes(field.value),
            ) {
                headers.append(name, value);
            }
        }
        let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let chunked = said("transfer-encoding").is_some_and(|coding| coding.ends_with("chunked"));
        let length = said("content-length").and_then(|length| length.parse().ok());
        let body = match length {
            _ if chunked => Body::Chunked,
            Some(length) => Body::Length(length),
            None if matches!(status.as_u16(), 204 | 304) => Body::Length(0),
            None => Body::Unknown,
        };
        let stays = response.version == Some(1)
            && !said("connection").is_some_and(|word| word.eq_ignore_ascii_case("close"));
        Ok(Some(Self {
            octets,
            status,
            headers,
            body,
            stays,
        }))
    }
}

/// The body that these chunks are; `None` while there are not all of them.
fn chunks(mut octets: &[u8]) -> Result<Option<Bytes>, &'static str> {
    let mut body = BytesMut::new();
    loop {
        let (head, length) = match httparse::parse_chunk_size(octets) {
            Ok(httparse::Status::Complete((head, length))) => (head, length),
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err("no chunk"),
        };
        let length = usize::try_from(length).map_err(|_| "a chunk without end")?;
        let Some(end) = head
            .checked_add(length)
            .filter(|end| end + 2 <= octets.len())
        else {
            return Ok(None);
        };
        if length == 0 {
            return Ok(Some(body.freeze()));
        }
        body.extend_from_slice(&octets[head..end]);
        octets = &octets[end + 2..];
    }
}

fn failed(url: &Url, why: &str) -> FetchError {
    FetchError::Transport {
        url: Box::new(url.clone()),
        why: why.to_owned(),
    }
}

const CONNECT: Duration = Duration::from_secs(3);
const REDIRECTS: usize = 8;
const HEAD: usize = 64 << 10;
const MOST: usize = 64 << 20;
/// Octets that are read at a time.
const AT_ONCE: usize = 256 << 10;
/// Seconds of a narrow link that are read at a time, and that the kernel may hold.
const STEP: f64 = 0.02;
const HELD: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_all_of_it_is_there() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSpillway-Node: a\r\n\r\nhello";
        for end in 0..whole.len() - 5 {
            assert!(Head::read(&whole[..end]).expect("HTTP").is_none());
        }
        let head = Head::read(whole).expect("HTTP").expect("all of it");
        assert!(matches!(head.body, Body::Length(5)) && head.stays);
        assert_eq!(head.headers["spillway-node"], "a");
        assert!(Head::read(b"SSH-2.0\r\n\r\n").is_err());
    }

    #[test]
    fn chunks_are_a_body_once_the_last_is_there() {
        let whole = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        for end in 0..whole.len() {
            assert_eq!(chunks(&whole[..end]), Ok(None), "{end}");
        }
        assert_eq!(chunks(whole), Ok(Some(Bytes::from_static(b"abcde"))));
        assert!(chunks(b"x\r\n").is_err());
    }
}
