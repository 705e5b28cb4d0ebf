//! A link that can be narrowed: a network namespace for the viewer, and a token bucket on the way
//! to it. Needs root; rates only, since delay and loss need queueing disciplines that not every
//! kernel has.
//!
//! What it is to carry when is its user's to say; [`Link::play`] follows a list of that.

use std::{
    process::Output,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::{process::Command, time::Instant};

use crate::program::signal;

/// A namespace with one link to the host. Dropping it takes both away.
#[derive(Debug)]
pub struct Link {
    namespace: String,
    device: String,
    subnet: u32,
}

impl Link {
    /// Why there can be no link here, or nothing.
    pub async fn obstacle() -> Option<String> {
        match Self::new(1000).await {
            Ok(_) => None,
            Err(error) => Some(format!("{error:#}")),
        }
    }

    /// A link that carries `kbps` toward the namespace.
    pub async fn new(kbps: u32) -> anyhow::Result<Self> {
        let subnet = free()?;
        let link = Self {
            // Whose it is can be told, should it ever be left behind.
            namespace: format!("spillway-{}-{subnet}", std::process::id()),
            device: device(subnet),
            subnet,
        };
        let (namespace, device) = (link.namespace.clone(), link.device.clone());
        let (host, viewer) = (
            format!("{}/24", link.host()),
            format!("{}/24", link.viewer()),
        );
        ip(&["netns", "add", &namespace]).await?;
        ip(&[
            "link", "add", &device, "type", "veth", "peer", "name", "viewer", "netns", &namespace,
        ])
        .await?;
        ip(&["addr", "add", &host, "dev", &device]).await?;
        ip(&["link", "set", &device, "up"]).await?;
        ip(&["-n", &namespace, "addr", "add", &viewer, "dev", "viewer"]).await?;
        ip(&["-n", &namespace, "link", "set", "viewer", "up"]).await?;
        ip(&["-n", &namespace, "link", "set", "lo", "up"]).await?;
        link.set(kbps).await?;
        Ok(link)
    }

    /// Changes what the link carries, while it is used.
    pub async fn set(&self, kbps: u32) -> anyhow::Result<()> {
        let rate = format!("{kbps}kbit");
        // A queue of 100 ms, as a home router's might be, and a burst that suits any rate used here.
        let shape = [
            "qdisc",
            "replace",
            "dev",
            &self.device,
            "root",
            "tbf",
            "rate",
            &rate,
        ];
        run(
            "tc",
            &[&shape[..], &["burst", "16kb", "latency", "100ms"]].concat(),
        )
        .await
        .map(|_| ())
    }

    /// Carries each of `steps` from its time on, counted from `start`, and tells `applied` when that is so.
    /// Ends with the steps; the last of them stays.
    pub async fn play(
        &self,
        start: Instant,
        steps: impl IntoIterator<Item = (Duration, u32)>,
        mut applied: impl FnMut(Duration, u32),
    ) -> anyhow::Result<()> {
        for (at, kbps) in steps {
            tokio::time::sleep_until(start + at).await;
            self.set(kbps).await?;
            applied(start.elapsed(), kbps);
        }
        Ok(())
    }

    /// The host's address on the link.
    pub fn host(&self) -> String {
        format!("10.213.{}.1", self.subnet)
    }

    fn viewer(&self) -> String {
        format!("10.213.{}.2", self.subnet)
    }

    /// `program`, to be run at the far end.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, program]);
        command
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Takes the link with it.
        remove_namespace(&self.namespace);
        remove_device(&self.device);
    }
}

/// With whoever still runs there, who would keep it, without its name. Nothing can be done about a failure here and below, nor is
/// it worth a panic.
pub fn remove_namespace(name: &str) {
    let left = std::process::Command::new("ip")
        .args(["netns", "pids", name])
        .output();
    let left = left.map(|output| output.stdout).unwrap_or_default();
    for pid in String::from_utf8_lossy(&left).lines() {
        if let Ok(pid) = pid.parse() {
            signal(pid, "KILL");
        }
    }
    let _ = std::process::Command::new("ip")
        .args(["netns", "del", name])
        .output();
}

pub fn remove_device(name: &str) {
    let _ = std::process::Command::new("ip")
        .args(["link", "del", name])
        .output();
}

/// A subnet that no link has; other programs may have some.
fn free() -> anyhow::Result<u32> {
    let candidates = (0..200).map(|_| (std::process::id() + NEXT.fetch_add(1, Relaxed)) % 200 + 20);
    let mut free = candidates.filter(|subnet| {
        !std::path::Path::new("/sys/class/net")
            .join(device(*subnet))
            .exists()
    });
    free.next().context("there are 200 links already")
}

fn device(subnet: u32) -> String {
    format!("spill{subnet}")
}

/// iproute2 does this; an error is what it said.
pub async fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    run("ip", arguments).await.map(|_| ())
}

async fn run(program: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    let said = || format!("{program} {}", arguments.join(" "));
    let output = Command::new(program)
        .args(arguments)
        .output()
        .await
        .with_context(said)?;
    if !output.status.success() {
        bail!(
            "{}: {}",
            said(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(output)
}

/// So that links of one process do not meet.
static NEXT: AtomicU32 = AtomicU32::new(0);
