//! The load: many connections that stay open, on one thread that does nothing else.
//!
//! Each connection asks, reads the whole answer, and asks again. A request is octets made before, an answer is
//! looked at no further than its status and length, so that this is never what a figure is about.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};

/// Connections to one server.
pub(crate) struct Load {
    poll: Poll,
    connections: Vec<Connection>,
    asked: usize,
}

struct Connection {
    stream: TcpStream,
    since: Instant,
    /// What is read of a head that has not come in full.
    head: Vec<u8>,
    /// Octets of the body that are still to come.
    left: usize,
    busy: bool,
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
    pub(crate) fn connect(server: SocketAddr, count: usize) -> io::Result<Self> {
        let poll = Poll::new()?;
        let connections = (0..count).map(|index| {
            // No faster than they are accepted: one that finds the backlog full waits a second for its next try.
            if index % CROWD == CROWD - 1 {
                std::thread::sleep(PAUSE);
            }
            let stream = std::net::TcpStream::connect(server)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let registry = poll.registry();
            registry.register(&mut stream, Token(index), Interest::READABLE)?;
            Ok(Connection {
                stream,
                since: Instant::now(),
                head: Vec::new(),
                left: 0,
                busy: false,
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
        let connection = &mut self.connections[index];
        connection.since = Instant::now();
        connection.busy = true;
        let written = connection.stream.write(scratch).unwrap();
        assert_eq!(
            written,
            scratch.len(),
            "a request is short, and the one before it was answered"
        );
    }
}

impl Connection {
    /// Reads what there is; says whether that made an answer whole.
    fn read(&mut self, buffer: &mut [u8], round: &mut Round) -> bool {
        loop {
            let octets = match self.stream.read(buffer) {
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
                round.latencies.push(self.since.elapsed());
                return true;
            }
            // A short read emptied the socket.
            if octets < buffer.len() {
                return false;
            }
        }
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
            self.left -= body;
        } else {
            self.left -= octets.len();
        }
        self.left == 0
    }
}

fn length(head: &str) -> usize {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().unwrap().1.parse().unwrap()
}

/// Connections at a time, fewer than any backlog; and the time in which a busy machine accepts them.
const CROWD: usize = 250;
const PAUSE: Duration = Duration::from_millis(20);

const PATIENCE: Duration = Duration::from_secs(20);
