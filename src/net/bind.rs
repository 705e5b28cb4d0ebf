//! Listening sockets, with errors that say what to do about them.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::anyhow;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

/// Listens on `address`; on `[::]` for IPv4 as well.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    listen(address).map_err(|error| told(address, &error))
}

/// Listens on every address that this machine has, of whichever kind.
pub async fn bind_all(port: u16) -> anyhow::Result<TcpListener> {
    let (both, old) = (
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
    );
    match listen(both) {
        Err(error) if lacks_family(&error) => bind(old).await,
        result => result.map_err(|error| told(both, &error)),
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        // Whatever the system's default is: `[::]` is for everybody, another address for itself.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Else a restart would have to wait for connections of the run before.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn told(address: SocketAddr, error: &io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow!(
                "{address} is in use by another program; stop it or choose another port (0 takes any)"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            anyhow!("{address} is not an address of this machine; [::] listens on all of them")
        }
        io::ErrorKind::PermissionDenied => {
            anyhow!(
                "no permission to listen on {address}; ports below 1024 need root or CAP_NET_BIND_SERVICE"
            )
        }
        _ if lacks_family(error) => {
            anyhow!(
                "cannot listen on {address}: this machine has no IPv6; 0.0.0.0 listens on all addresses of IPv4"
            )
        }
        _ => anyhow!("cannot listen on {address}: {error}"),
    }
}

fn lacks_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

/// Connections that wait to be accepted while all slots are taken; the kernel takes less if
/// `net.core.somaxconn` says so.
const BACKLOG: i32 = 4096;
