//! `TCP_INFO`: the kernel's own account of one connection; `SO_MAX_PACING_RATE`, how fast it may send; and
//! `SO_LINGER` with `shutdown`, its end at once.

#![allow(
    unsafe_code,
    reason = "getsockopt(TCP_INFO) has no safe wrapper that returns every field, SO_MAX_PACING_RATE none at all; and the descriptor is only looked at, its owner is the stream"
)]

use std::{io, mem, os::fd::RawFd, time::Duration};

use playlists::Bitrate;

/// A sample of one connection (Linux `struct tcp_info`; RFC 4898 names in brackets).
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpInfo {
    /// Octets the peer has acknowledged (`tcpEStatsAppHCThruOctetsAcked`).
    pub acked: u64,
    /// Smallest round-trip time seen, and the smoothed one of now.
    pub min_rtt: Duration,
    pub rtt: Duration,
    /// Since the last acknowledgement arrived.
    pub last_ack: Duration,
    /// The last rate sample, unless the application had nothing to send: then the sample says
    /// nothing about the path.
    pub capacity: Option<Bitrate>,
    /// Time with data outstanding, and the part of it in which the peer's window was the limit.
    pub busy: Duration,
    pub receiver_limited: Duration,
    /// Octets sent, and of those the ones that were sent again.
    pub sent: u64,
    pub retransmitted: u64,
}

/// Reads `TCP_INFO` of an open socket. A kernel older than a field leaves it zero.
pub(super) fn read(socket: RawFd) -> io::Result<TcpInfo> {
    // Eight octets at a time: aligned for `tcp_info`, and long enough for it.
    let mut raw = [0u64; mem::size_of::<libc::tcp_info>().div_ceil(8)];
    let mut length = mem::size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: a number that is no socket is an error; `raw` is writable for `length` octets, and the kernel writes at most that many.
    let answer = unsafe {
        libc::getsockopt(
            socket,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            raw.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `raw` is aligned for and at least as long as `tcp_info`, a plain struct of
    // integers for which any bit pattern is valid.
    let info: libc::tcp_info = unsafe { raw.as_ptr().cast::<libc::tcp_info>().read() };
    // `tcpi_delivery_rate_app_limited` is bit 0 of octet 7, which libc's struct leaves as padding.
    let app_limited = raw[0].to_ne_bytes()[7] & 1 != 0;
    Ok(TcpInfo {
        acked: info.tcpi_bytes_acked,
        min_rtt: match info.tcpi_min_rtt {
            u32::MAX => Duration::ZERO, // no sample yet
            micros => Duration::from_micros(micros.into()),
        },
        rtt: Duration::from_micros(info.tcpi_rtt.into()),
        last_ack: Duration::from_millis(info.tcpi_last_ack_recv.into()),
        capacity: (!app_limited && info.tcpi_delivery_rate > 0)
            .then(|| Bitrate::from_bps(info.tcpi_delivery_rate.saturating_mul(8))),
        busy: Duration::from_micros(info.tcpi_busy_time),
        receiver_limited: Duration::from_micros(info.tcpi_rwnd_limited),
        sent: info.tcpi_bytes_sent,
        retransmitted: info.tcpi_bytes_retrans,
    })
}

/// Ends a connection without sending what is left in its buffer: whoever writes to it finds it closed, and
/// with the descriptor's end the peer is sent a reset (`SO_LINGER` of no time, socket(7)).
pub(super) fn abort(socket: RawFd) -> io::Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: a number that is no socket is an error; `linger` is readable for the length that is given.
    let answer = unsafe {
        libc::setsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            mem::size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: takes no memory, and a number that is no socket is an error.
    if unsafe { libc::shutdown(socket, libc::SHUT_RDWR) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Sends no faster than `rate` from now on; `None` is as fast as the path allows. Needs no queueing
/// discipline: where there is none that paces, TCP itself does.
pub(super) fn pace(socket: RawFd, rate: Option<Bitrate>) -> io::Result<()> {
    // Octets per second, all ones for no limit; read as 64 bits since Linux 4.20.
    let limit = rate.map_or(u64::MAX, |rate| (rate.bps() / 8).max(1));
    // SAFETY: a number that is no socket is an error; `limit` is readable for the length that is given.
    let answer = unsafe {
        libc::setsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_MAX_PACING_RATE,
            (&raw const limit).cast(),
            mem::size_of::<u64>() as libc::socklen_t,
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
