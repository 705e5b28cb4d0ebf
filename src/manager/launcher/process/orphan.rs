//! A relay whose manager was killed: found among the processes of this machine by what it was started
//! with, watched and ended through a descriptor of it, which is never another process' even if the number is.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub(super) struct Orphan {
    pid: i32,
    process: OwnedFd,
}

impl Orphan {
    /// The relay that was launched under this name to report to this manager. Reads the table of processes.
    pub(super) fn find(node: &str, manager: &str) -> Option<Self> {
        let processes = std::fs::read_dir("/proc").ok()?;
        let numbers =
            processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        numbers.into_iter().find_map(|pid| {
            if !was_launched(&arguments(pid)?, node, manager) {
                return None;
            }
            let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::NONBLOCK).ok()?;
            // Again, as it may have ended meanwhile, and its number be another's.
            was_launched(&arguments(pid)?, node, manager).then_some(Self { pid, process })
        })
    }

    /// Until it ends by itself, or is made to. How, only its parent could tell.
    pub(super) async fn attend(self, ends_within: Duration, stop: CancellationToken) -> String {
        let (ended, pid) = ("its process ended".to_owned(), self.pid);
        tokio::select! {
            () = self.ended() => return ended,
            () = stop.cancelled() => {}
        }
        for (signal, patience) in [(Signal::TERM, ends_within), (Signal::KILL, Duration::MAX)] {
            if let Err(error) = pidfd_send_signal(&self.process, signal) {
                tracing::debug!(pid, ?signal, %error, "cannot signal a relay");
            }
            if tokio::time::timeout(patience, self.ended()).await.is_ok() {
                break;
            }
            tracing::warn!(pid, after = ?patience, "a relay does not heed SIGTERM; killing it");
        }
        ended
    }

    /// The descriptor of a process can be read when that has ended. Looked at now and then: there is
    /// no safe way to be woken by a descriptor of this kind.
    async fn ended(&self) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            let mut look = [PollFd::new(&self.process, PollFlags::IN)];
            if poll(&mut look, Some(&Timespec::default())).is_ok_and(|ready| ready > 0) {
                return;
            }
        }
    }
}

/// What a process was started with; `None` if it is gone, or not ours to look at.
fn arguments(pid: i32) -> Option<Vec<String>> {
    let line: io::Result<Vec<u8>> = std::fs::read(format!("/proc/{pid}/cmdline"));
    let words = line.ok()?;
    let words = words.split(|&octet| octet == 0);
    Some(
        words
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect(),
    )
}

/// As `ProcessLauncher` starts relays. One of several managers may have, which names them in another order.
fn was_launched(arguments: &[String], node: &str, managers: &str) -> bool {
    let told = |flag: &str| {
        let pair = arguments.windows(2).find(|pair| pair[0] == flag);
        pair.map_or("", |pair| pair[1].as_str())
    };
    let reports_here = |manager| told("--manager").split(',').any(|told| told == manager);
    arguments.iter().any(|word| word == "--launched")
        && told("--name") == node
        && managers.split(',').any(reports_here)
}

const LOOK_EVERY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_known_by_all_that_it_was_started_with() {
        let line = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let manager = "http://127.0.0.1:9000";
        let own = line(
            "/bin/local-server --launched --name relay-1 --region paris --manager http://127.0.0.1:9000",
        );
        assert!(was_launched(&own, "relay-1", manager));
        assert!(!was_launched(&own, "relay-2", manager));
        let with_peer = "http://127.0.0.1:9002,http://127.0.0.1:9000";
        assert!(was_launched(&own, "relay-1", with_peer));
        assert!(
            !was_launched(&own, "relay-1", "http://127.0.0.1:9001"),
            "another manager's"
        );
        let standby = line("local-server --name relay-1 --manager http://127.0.0.1:9000");
        assert!(!was_launched(&standby, "relay-1", manager));
    }
}
