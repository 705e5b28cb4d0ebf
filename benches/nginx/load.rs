//! The load: many connections that stay open, on one thread that does nothing else.
//!
//! Each connection asks, reads the whole answer, and asks again. A request is octets made before, an answer is
//! looked at no further than its status and length, so that this is never what a figure is about.

#![allow(unsafe_code, reason = "SO_RCVLOWAT has no safe wrapper")]

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    os::fd::AsRawFd as _,
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use rustls::{ClientConfig, ClientConnection, crypto::aws_lc_rs};

/// Connections to one server.
pub(crate) struct Load {
    pub(crate) poll: Poll,
    pub(crate) connections: Vec<Connection>,
    asked: usize,
}

pub(crate) struct Connection {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    since: Instant,
    /// What is read of a head that has not come in full.
    head: Vec<u8>,
    /// Octets of the body that are still to come.
    left: usize,
    waits_for: usize,
    busy: bool,
    /// The body, of an answer that is to be read.
    pub(crate) text: Option<Vec<u8>>,
}

/// What a round brought.
#[derive(Default)]
pub(crate) struct Round {
    pub(crate) answers: usize,
    pub(crate) octets: u64,
    pub(crate) latencies: Vec<Duration>,
}

impl Round {
    pub(crate) fn percentile(&mut self, share: f64) -> Duration {
        self.latencies.sort_unstable();
        let last = self.latencies.len() - 1;
        self.latencies[(last as f64 * share) as usize]
    }
}

impl Load {
    /// `tls` is how it is spoken, if it is.
    pub(crate) fn connect(
        server: SocketAddr,
        count: usize,
        tls: Option<&Arc<ClientConfig>>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let connections = (0..count).map(|index| {
            // No faster than they are accepted: one that finds the backlog full waits a second for its next try.
            if index % CROWD == CROWD - 1 {
                std::thread::sleep(PAUSE);
            }
            let mut stream = std::net::TcpStream::connect(server)?;
            stream.set_nodelay(true)?;
            let tls = tls.map(|config| {
                let name = "localhost".try_into().unwrap();
                let mut tls = ClientConnection::new(config.clone(), name).unwrap();
                while tls.is_handshaking() {
                    tls.complete_io(&mut stream).unwrap();
                }
                Box::new(tls)
            });
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let registry = poll.registry();
            registry.register(&mut stream, Token(index), Interest::READABLE)?;
            Ok(Connection {
                stream,
                tls,
                since: Instant::now(),
                head: Vec::new(),
                left: 0,
                waits_for: 1,
                busy: false,
                text: None,
            })
        });
        let connections = connections.collect::<io::Result<_>>()?;
        Ok(Self {
            poll,
            connections,
            asked: 0,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Every connection asks, and again as soon as it is answered, until `count` requests were sent and answered.
    /// `request` writes the request of a connection, given how many were sent before.
    pub(crate) fn run(
        &mut self,
        count: usize,
        request: &dyn Fn(usize, usize, &mut Vec<u8>),
    ) -> Round {
        let mut round = Round::default();
        let (mut sent, mut scratch, mut buffer) = (0, Vec::new(), vec![0; 512 * 1024]);
        let mut events = Events::with_capacity(1024);
        for index in 0..self.connections.len().min(count) {
            self.ask(index, &mut scratch, request);
            sent += 1;
        }
        while round.answers < count {
            self.poll.poll(&mut events, Some(PATIENCE)).unwrap();
            assert!(
                !events.is_empty(),
                "no answer within {PATIENCE:?}; {} of {count} came",
                round.answers
            );
            for event in &events {
                let Token(index) = event.token();
                if self.connections[index].read(&mut buffer, &mut round) {
                    round.answers += 1;
                    if sent < count {
                        self.ask(index, &mut scratch, request);
                        sent += 1;
                    }
                }
            }
        }
        round
    }

    fn ask(
        &mut self,
        index: usize,
        scratch: &mut Vec<u8>,
        request: &dyn Fn(usize, usize, &mut Vec<u8>),
    ) {
        scratch.clear();
        request(index, self.asked, scratch);
        self.asked += 1;
        self.connections[index].ask(scratch);
    }
}

impl Connection {
    pub(crate) fn ask(&mut self, request: &[u8]) {
        self.since = Instant::now();
        self.busy = true;
        let written = match &mut self.tls {
            Some(tls) => {
                let written = tls.writer().write(request).unwrap();
                tls.write_tls(&mut self.stream).unwrap();
                assert!(!tls.wants_write(), "a request is short");
                written
            }
            None => self.stream.write(request).unwrap(),
        };
        assert_eq!(
            written,
            request.len(),
            "a request is short, and the one before it was answered"
        );
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.stream.read(buffer);
        };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            if tls.read_tls(&mut self.stream)? == 0 {
                return Ok(0);
            }
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }

    /// Reads what there is; says whether that made an answer whole.
    pub(crate) fn read(&mut self, buffer: &mut [u8], round: &mut Round) -> bool {
        loop {
            let octets = match self.receive(buffer) {
                Ok(0) => panic!(
                    "the server closed a connection: {}",
                    String::from_utf8_lossy(&self.head)
                ),
                Ok(octets) => octets,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => panic!("{error}"),
            };
            assert!(self.busy, "an answer to nothing");
            round.octets += octets as u64;
            let whole = self.take(&buffer[..octets]);
            if whole {
                self.busy = false;
                self.wait_for(1);
                round.latencies.push(self.since.elapsed());
                return true;
            }
            // A short read emptied the socket, but for what TLS holds.
            if octets < buffer.len() && self.tls.is_none() {
                self.wait_for(self.left.min(BATCH));
                return false;
            }
        }
    }

    /// Is woken when so much has come (`SO_RCVLOWAT`). A reader that is woken by each packet acknowledges each, which makes
    /// the slower of two servers slower still: where it is as fast as the server, chance decides who has to wait.
    fn wait_for(&mut self, octets: usize) {
        if self.tls.is_some() || self.waits_for == octets {
            return;
        }
        self.waits_for = octets;
        let octets = octets as libc::c_int;
        // SAFETY: the descriptor is open, and `octets` is readable for the length that is given.
        let answer = unsafe {
            libc::setsockopt(
                self.stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVLOWAT,
                (&raw const octets).cast(),
                size_of_val(&octets) as libc::socklen_t,
            )
        };
        assert_eq!(answer, 0, "{}", io::Error::last_os_error());
    }

    fn take(&mut self, octets: &[u8]) -> bool {
        if self.left == 0 {
            let before = self.head.len();
            self.head.extend_from_slice(octets);
            let Some(end) = self.head.windows(4).position(|four| four == b"\r\n\r\n") else {
                return false;
            };
            let head = std::str::from_utf8(&self.head[..end]).unwrap();
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            let body = octets.len() - (end + 4 - before);
            self.left = length(head);
            self.head.clear();
            self.keep(&octets[octets.len() - body..]);
        } else {
            self.keep(octets);
        }
        self.left == 0
    }
}

impl Connection {
    fn keep(&mut self, body: &[u8]) {
        self.left -= body.len();
        if let Some(text) = &mut self.text {
            text.extend_from_slice(body);
        }
    }
}

/// Trusts this certificate, and speaks one cipher only: the usual one of processors that have it.
pub(crate) fn tls(certificate: rustls::pki_types::CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

fn length(head: &str) -> usize {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().unwrap().1.parse().unwrap()
}

/// Connections at a time, fewer than any backlog; and the time in which a busy machine accepts them.
const CROWD: usize = 250;
const PAUSE: Duration = Duration::from_millis(20);

/// Octets of a body that are read at a time.
const BATCH: usize = 256 * 1024;

const PATIENCE: Duration = Duration::from_secs(20);
