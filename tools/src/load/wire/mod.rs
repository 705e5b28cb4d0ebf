//! One viewer's connections: sockets of its own, from an address of its own, read no faster than its link carries.
//!
//! Written for thousands in one thread: a connection costs its socket, and media is read into one buffer that all
//! share, and counted. Which connection a request takes is decided here; what is said on it is `http1`'s and
//! `http2`'s, how it is encrypted `tls`', how fast it is read `link`'s.

mod http1;
mod http2;
mod link;
pub mod tls;

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use bytes::BytesMut;
use reqwest::{StatusCode, Url, header::HeaderMap};
use spillway::{
    net::FetchError,
    player::session::{Answer, Body},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use self::{
    link::{Link, Paced},
    tls::Tls,
};

/// A viewer's connections. Clones share them.
#[derive(Clone)]
pub struct Wire(Rc<Inner>);

struct Inner {
    agent: &'static str,
    /// Where connections begin.
    from: Option<IpAddr>,
    link: Link,
    tls: Option<Tls>,
    /// HTTP/2 where the server speaks it, as browsers do over TLS.
    modern: bool,
    /// Those of HTTP/1.1 that wait.
    idle: RefCell<HashMap<(String, u8), Stream>>,
    /// Those of HTTP/2, which take any number of requests.
    shared: RefCell<HashMap<String, http2::Sender>>,
}

/// What a request and its answer travel on.
type Stream = Box<dyn Octets>;

trait Octets: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Octets for T {}

/// An answer, whatever it says.
struct Said {
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
}

/// What a body is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kept {
    /// It is read by somebody.
    Whole,
    /// It is counted, unless it says what went wrong.
    Counted,
}

/// Why there is no answer.
#[derive(Debug)]
enum Broken {
    Transport(String),
    TooLong,
    Endless,
}

/// How a viewer's connections are opened.
#[derive(Clone, Debug)]
pub struct Manner {
    pub agent: &'static str,
    pub from: Option<IpAddr>,
    /// What the link carries; `None` is as much as there is.
    pub kbps: Option<u64>,
    pub modern: bool,
}

impl Wire {
    pub fn new(manner: Manner, tls: Option<Tls>) -> Self {
        Self(Rc::new(Inner {
            agent: manner.agent,
            from: manner.from,
            link: Link::new(manner.kbps),
            tls,
            modern: manner.modern,
            idle: RefCell::default(),
            shared: RefCell::default(),
        }))
    }

    /// What is at `url`, wherever it is, within `patience`. `purpose`: requests of different ones share no connection of
    /// HTTP/1.1. `whole`: the body is wanted, and not only its length.
    pub async fn get(
        &self,
        url: &Url,
        purpose: u8,
        patience: Duration,
        whole: bool,
    ) -> Result<Answer, FetchError> {
        let kept = if whole { Kept::Whole } else { Kept::Counted };
        let all = self.0.follow(url, purpose, kept);
        timeout(patience, all).await.unwrap_or_else(|_| {
            Err(FetchError::Late {
                url: Box::new(url.clone()),
                patience,
            })
        })
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { agent, from, .. } = &*self.0;
        f.debug_struct("Wire")
            .field("agent", agent)
            .field("from", from)
            .finish_non_exhaustive()
    }
}

impl Inner {
    async fn follow(&self, url: &Url, purpose: u8, kept: Kept) -> Result<Answer, FetchError> {
        let mut url = url.clone();
        for _ in 0..REDIRECTS {
            let said = self.exchange(&url, purpose, kept).await;
            let Said {
                status,
                headers,
                body,
            } = said.map_err(|broken| broken.at(&url))?;
            if status.is_redirection() {
                let to = headers.get("location").and_then(|to| to.to_str().ok());
                let to = to.and_then(|to| url.join(to).ok());
                let nowhere = || Broken::from("a redirect to nowhere").at(&url);
                url = to.ok_or_else(nowhere)?;
                continue;
            }
            if !status.is_success() {
                let said = match &body {
                    Body::Whole(body) => String::from_utf8_lossy(body).into_owned(),
                    Body::Counted(_) => String::new(),
                };
                return Err(FetchError::Status {
                    url: Box::new(url),
                    status,
                    said: said.trim().chars().take(200).collect(),
                });
            }
            return Ok(Answer { url, headers, body });
        }
        Err(Broken::from("too many redirects").at(&url))
    }

    async fn exchange(&self, url: &Url, purpose: u8, kept: Kept) -> Result<Said, Broken> {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(80);
        let place = format!("{host}:{port}");
        let encrypted = match (url.scheme(), &self.tls) {
            ("http", _) => None,
            ("https", Some(tls)) => Some(tls),
            ("https", None) => return Err("no authority to check its certificate with".into()),
            _ => return Err("neither http nor https".into()),
        };
        // One that waited may have been closed just now; that is no failure of the server's.
        let shared = self.shared.borrow().get(&place).cloned();
        if let Some(sender) = shared {
            match http2::exchange(sender, url, self.agent, kept).await {
                Ok(said) => return Ok(said),
                Err(_) => drop(self.shared.borrow_mut().remove(&place)),
            }
        }
        let key = (place, purpose);
        let waiting = self.idle.borrow_mut().remove(&key);
        if let Some(waiting) = waiting
            && let Ok(said) = self.speak(key.clone(), waiting, url, kept).await
        {
            return Ok(said);
        }
        let stream = self.connect(host, port).await?;
        let Some(tls) = encrypted else {
            return self.speak(key, Box::new(stream), url, kept).await;
        };
        let stream = timeout(CONNECT, tls.around(stream, host, self.modern));
        let (stream, modern) = stream.await.map_err(|_| "no TLS in time")??;
        if !modern {
            return self.speak(key, stream, url, kept).await;
        }
        let sender = http2::begin(stream).await?;
        self.shared.borrow_mut().insert(key.0, sender.clone());
        http2::exchange(sender, url, self.agent, kept).await
    }

    /// Says it as HTTP/1.1, and keeps the connection if it stays.
    async fn speak(
        &self,
        key: (String, u8),
        mut stream: Stream,
        url: &Url,
        kept: Kept,
    ) -> Result<Said, Broken> {
        let (said, stays) = http1::exchange(&mut stream, &key.0, url, self.agent, kept).await?;
        if stays {
            self.idle.borrow_mut().insert(key, stream);
        }
        Ok(said)
    }

    async fn connect(&self, host: &str, port: u16) -> Result<Paced, Broken> {
        let to = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, port),
            Err(_) => {
                let mut found = tokio::net::lookup_host((host, port)).await?;
                found.next().ok_or("no such host")?
            }
        };
        let socket = if to.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        if let Some(octets) = self.link.held() {
            // Else the kernel would take in at once what the link brings by and by.
            socket.set_recv_buffer_size(octets)?;
        }
        if let Some(from) = self.from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let connecting = timeout(CONNECT, socket.connect(to));
        let stream: TcpStream = connecting.await.map_err(|_| "no connection in time")??;
        stream.set_nodelay(true)?;
        Ok(Paced::new(stream, self.link.clone()))
    }
}

impl Kept {
    /// The body of an answer of this status, of which nothing has come yet.
    fn of(self, status: StatusCode) -> Taken {
        let keeps = self == Self::Whole || !status.is_success();
        Taken {
            octets: 0,
            kept: keeps.then(BytesMut::new),
        }
    }
}

/// What has come of a body.
struct Taken {
    octets: usize,
    kept: Option<BytesMut>,
}

impl Taken {
    /// An error if it is too long with so many octets more.
    fn room_for(&self, octets: usize) -> Result<(), Broken> {
        match self.octets + octets > MOST {
            true => Err(Broken::TooLong),
            false => Ok(()),
        }
    }

    fn add(&mut self, octets: &[u8]) {
        self.octets += octets.len();
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(octets);
        }
    }

    fn done(self) -> Body {
        match self.kept {
            Some(kept) => Body::Whole(kept.freeze()),
            None => Body::Counted(self.octets as u64),
        }
    }
}

impl Broken {
    fn at(self, url: &Url) -> FetchError {
        let url = Box::new(url.clone());
        match self {
            Self::Transport(why) => FetchError::Transport { url, why },
            Self::TooLong => FetchError::TooLong { url },
            Self::Endless => FetchError::Endless { url },
        }
    }
}

impl From<&str> for Broken {
    fn from(why: &str) -> Self {
        Self::Transport(why.to_owned())
    }
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        Self::Transport(error.to_string())
    }
}

const CONNECT: Duration = Duration::from_secs(3);
const REDIRECTS: usize = 8;
/// A body that is longer is not read.
const MOST: usize = 64 << 20;
