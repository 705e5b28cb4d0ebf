//! A machine for each node: network namespaces on one bridge, any two of which can be kept from hearing each other, without
//! being told. Needs root.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use tools::link::{ip, remove_device, remove_namespace};

use super::site::Part;

/// The bridge, and a namespace for each part but the segmenter, which is the primary's. Dropping it takes all away.
#[derive(Debug)]
pub(crate) struct Net {
    name: String,
    subnet: u8,
}

impl Net {
    pub(crate) const MACHINES: [Part; 3] = [Part::Primary, Part::Manager, Part::Relay];

    pub(crate) async fn new() -> anyhow::Result<Self> {
        let number = NEXT.fetch_add(1, Relaxed);
        let subnet = (std::process::id() as u8).wrapping_add(number);
        let net = Self {
            name: format!("chaos{subnet}"),
            subnet,
        };
        let (bridge, host) = (&net.name, format!("10.214.{subnet}.1/24"));
        ip(&["link", "add", bridge, "type", "bridge"]).await?;
        ip(&["addr", "add", &host, "dev", bridge]).await?;
        ip(&["link", "set", bridge, "up"]).await?;
        for part in Self::MACHINES {
            let (machine, device) = (net.machine(part), format!("{bridge}-{}", place(part)));
            let address = format!("{}/24", net.address(part));
            ip(&["netns", "add", &machine]).await?;
            let peer = ["type", "veth", "peer", "name", INSIDE, "netns", &machine];
            ip(&[&["link", "add", &device][..], &peer].concat()).await?;
            ip(&["link", "set", &device, "master", bridge, "up"]).await?;
            ip(&["-n", &machine, "addr", "add", &address, "dev", INSIDE]).await?;
            ip(&["-n", &machine, "link", "set", INSIDE, "up"]).await?;
            ip(&["-n", &machine, "link", "set", "lo", "up"]).await?;
        }
        Ok(net)
    }

    pub(crate) fn address(&self, part: Part) -> String {
        format!("10.214.{}.{}", self.subnet, place(part))
    }

    /// What to start a program of that machine by.
    pub(crate) fn enter(&self, part: Part) -> [String; 4] {
        [
            "ip".into(),
            "netns".into(),
            "exec".into(),
            self.machine(part),
        ]
    }

    /// What one of the two sends the other gets lost from now on, both ways: it goes to a machine that is not there.
    pub(crate) async fn part(&self, one: Part, other: Part) {
        for (here, there) in [(one, other), (other, one)] {
            let (machine, there) = (self.machine(here), self.address(there));
            let astray = ["lladdr", "02:00:00:00:00:01", "nud", "permanent"];
            let neighbour = ["-n", &machine, "neigh", "replace", &there, "dev", INSIDE];
            ip(&[&neighbour[..], &astray].concat()).await.unwrap();
        }
    }

    pub(crate) async fn join(&self, one: Part, other: Part) {
        for (here, there) in [(one, other), (other, one)] {
            let (machine, there) = (self.machine(here), self.address(there));
            ip(&["-n", &machine, "neigh", "del", &there, "dev", INSIDE])
                .await
                .unwrap();
        }
    }

    fn machine(&self, part: Part) -> String {
        format!("{}-{}", self.name, format!("{part:?}").to_lowercase())
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for part in Self::MACHINES {
            remove_namespace(&self.machine(part));
        }
        remove_device(&self.name);
    }
}

fn place(part: Part) -> u8 {
    match part {
        Part::Primary | Part::Segmenter => 2,
        Part::Manager => 3,
        Part::Relay => 4,
    }
}

const INSIDE: &str = "eth0";

/// So that two of one process do not meet.
static NEXT: AtomicU8 = AtomicU8::new(0);
