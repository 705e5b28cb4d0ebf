//! Signals to a process group: neither the standard library nor tokio sends any but SIGKILL.

#![allow(unsafe_code, reason = "killpg has no safe wrapper in std or tokio")]

use std::io;

#[derive(Clone, Copy, Debug)]
pub(super) enum Signal {
    Terminate,
    Kill,
}

/// Sends `signal` to the process group that `leader` leads. The leader must not have been waited
/// for yet, else its number may belong to somebody else.
pub(super) fn send(leader: u32, signal: Signal) -> io::Result<()> {
    let group = libc::pid_t::try_from(leader).map_err(io::Error::other)?;
    let signal = match signal {
        Signal::Terminate => libc::SIGTERM,
        Signal::Kill => libc::SIGKILL,
    };
    // SAFETY: takes two integers and touches no memory of this process.
    match unsafe { libc::killpg(group, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
