//! The SRT listener: one UDP port for all streams. It gives each caller a task of its own, and datagrams to each.
//! What they say is `caller`'s business; what is parsed of a stranger's datagram here is its first octets.
//!
//! SRT's state machines are `srt-protocol`'s, driven one caller at a time: its own listener keeps what any datagram
//! from anywhere has begun, and some datagrams stop it. Here such a caller loses its task, and nobody else anything.

mod caller;
mod cookie;
pub mod stream_id;
pub mod ts;

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    net::UdpSocket,
    sync::mpsc,
    task::{Id, JoinSet},
};
use tokio_util::sync::CancellationToken;

use self::{
    caller::Caller,
    cookie::{Cookies, First},
};
use super::desk::Desk;
use crate::{
    clock,
    net::limits::{Addresses, Counted},
};

/// Listens on `address`; on `[::]` for IPv4 as well.
pub fn bind(address: SocketAddr) -> anyhow::Result<UdpSocket> {
    let bound = || -> io::Result<UdpSocket> {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None)?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        // As much as the system allows: a key picture of a large stream comes as a burst.
        let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        UdpSocket::from_std(socket.into())
    };
    bound().map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "UDP port {address} is in use by another program; stop it or choose another port (0 takes any)"
        ),
        _ => anyhow::anyhow!("cannot listen on UDP {address}: {error}"),
    })
}

/// Takes callers until `stop`.
pub async fn serve(socket: UdpSocket, desk: Desk, stop: CancellationToken) {
    let cookies = match Cookies::new() {
        Ok(cookies) => cookies,
        Err(error) => {
            tracing::error!(%error, "no random numbers, and so no SRT");
            return;
        }
    };
    let mut listener = Listener {
        socket: Arc::new(socket),
        cookies,
        desk,
        stop: stop.clone(),
        addresses: Addresses::default(),
        callers: HashMap::new(),
        tasks: JoinSet::new(),
        by_task: HashMap::new(),
    };
    let mut datagram = BytesMut::with_capacity(DATAGRAM);
    loop {
        datagram.reserve(DATAGRAM);
        tokio::select! {
            received = listener.socket.recv_buf_from(&mut datagram) => match received {
                Ok((_, from)) => listener.route(from, datagram.split().freeze()),
                // Somebody who was sent something is not there any more.
                Err(error) => {
                    tracing::debug!(%error, "SRT datagram");
                    datagram.clear();
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(ended) = listener.tasks.join_next_with_id() => {
                let id = match &ended {
                    Ok((id, ())) => *id,
                    Err(error) => error.id(),
                };
                listener.forget(id, ended.is_err());
            }
            () = stop.cancelled() => break,
        }
    }
    listener.callers.clear();
    while listener.tasks.join_next().await.is_some() {}
}

struct Listener {
    socket: Arc<UdpSocket>,
    cookies: Cookies,
    desk: Desk,
    stop: CancellationToken,
    addresses: Addresses,
    callers: HashMap<SocketAddr, mpsc::Sender<Bytes>>,
    tasks: JoinSet<()>,
    by_task: HashMap<Id, (SocketAddr, Counted)>,
}

impl Listener {
    fn route(&mut self, from: SocketAddr, datagram: Bytes) {
        if let Some(inbox) = self.callers.get(&from) {
            // One that is too slow for its own datagrams loses some, as it would in the kernel.
            let _ = inbox.try_send(datagram);
            return;
        }
        let minute = clock::since_1970().as_secs() / 60;
        match self.cookies.read(&datagram, from, minute) {
            First::Conclusion => {}
            First::Induction(answer) => {
                // Should it not go out now, it is asked for again.
                let _ = self.socket.try_send_to(&answer, from);
                return;
            }
            First::Nothing => return,
        }
        if self.callers.len() >= CALLERS {
            tracing::debug!(%from, "SRT caller left out: there are too many");
            return;
        }
        let Some(counted) = self.addresses.count(from.ip(), PER_ADDRESS) else {
            tracing::debug!(%from, "SRT caller left out: its address has too many");
            return;
        };
        let (sender, inbox) = mpsc::channel(INBOX);
        let _ = sender.try_send(datagram);
        let caller = Caller::new(self.socket.clone(), from, inbox);
        let (desk, stop) = (self.desk.clone(), self.stop.clone());
        let task = self
            .tasks
            .spawn(async move { caller.attend(&desk, &stop).await });
        self.by_task.insert(task.id(), (from, counted));
        self.callers.insert(from, sender);
    }

    fn forget(&mut self, id: Id, panicked: bool) {
        let Some((from, _counted)) = self.by_task.remove(&id) else {
            return;
        };
        self.callers.remove(&from);
        if panicked {
            tracing::warn!(%from, "an SRT caller has said what ended its connection");
        }
    }
}

/// Callers at a time, and those of one address.
const CALLERS: usize = 256;
const PER_ADDRESS: usize = 32;

/// Datagrams that may wait for one caller's task: a quarter of a second of 10 Mbit/s.
const INBOX: usize = 256;

const DATAGRAM: usize = 2048;
const KERNEL_BUFFER: usize = 4 << 20;
const PAUSE: Duration = Duration::from_millis(10);
