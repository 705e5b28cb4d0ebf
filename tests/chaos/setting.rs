//! Where the programs of a site run, and by which clock; and how each is started there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tokio::process::Command;
use tools::program::{Program, sibling};

use super::{clocks::Clocks, common::SMALL, net::Net, site::Part};

/// What is different from programs that all run on this machine.
#[derive(Debug, Default)]
pub(crate) struct Setting {
    /// A script that stands in for the relays' program.
    pub(crate) stub: Option<&'static str>,
    /// Each on a machine of its own.
    pub(crate) net: Option<Net>,
    /// Each by a clock of its own.
    pub(crate) clocks: Option<Clocks>,
}

impl Setting {
    /// A script that the manager starts as a relay: the real one as this setting has it, or what stands in for it.
    pub(crate) fn relay(&self, manager: &str) -> PathBuf {
        let name = format!("spillway-chaos-{}", manager.replace([':', '.'], "-"));
        let path = std::env::temp_dir().join(name);
        let own = format!(
            "exec {} {} \"$@\"",
            self.way(Part::Relay),
            env!("CARGO_BIN_EXE_local-server")
        );
        let script = self.stub.unwrap_or(&own);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// What stands before a program's own command line.
    fn way(&self, part: Part) -> String {
        let enter = self.net.iter().flat_map(|net| net.enter(part));
        let clocks = self
            .clocks
            .iter()
            .flat_map(|clocks| clocks.environment(part));
        let clocks = clocks.map(|(name, value)| format!("{name}={}", value.display()));
        let words: Vec<_> = enter.chain(["env".into()]).chain(clocks).collect();
        words.join(" ")
    }

    fn command(&self, part: Part, program: &str) -> Command {
        let way = self.way(part);
        let mut words = way.split(' ');
        let mut command = Command::new(words.next().unwrap());
        command.args(words).arg(program).env("RUST_LOG", "info");
        if self.net.is_some() {
            // They are not heard without, as they are not of the manager's machine.
            command.env(
                "SPILLWAY_CONTROL_SECRET",
                "a secret of thirty-two octets at least",
            );
        }
        command
    }

    pub(crate) async fn primary(&self, at: &str, manager: &str) -> Program {
        let mut command = self.command(Part::Primary, env!("CARGO_BIN_EXE_primary"));
        let segmenter = sibling(env!("CARGO_BIN_EXE_primary"), "segmenter").unwrap();
        let (ip, _) = at.split_once(':').unwrap();
        command
            .args([ip, "test", "--listen", at])
            .args(["--private-listen", "127.0.0.1:0"])
            .args(["--manager", &format!("http://{manager}/")])
            .arg("--segmenter")
            .arg(segmenter)
            .args(SMALL);
        let mut program = Program::start("primary", command).unwrap();
        program.ready().await.unwrap();
        program
    }

    pub(crate) async fn manager(&self, primary: &str, at: &str, relay: &Path) -> Program {
        let mut command = self.command(Part::Manager, env!("CARGO_BIN_EXE_traffic-manager"));
        command
            .args([&format!("http://{primary}"), "2", "--listen", at])
            .args(["--cooldown-seconds", "2", "--heartbeat-seconds", "1"])
            .arg("--local-server")
            .arg(relay);
        if let Some(net) = &self.net {
            command.args(["--relay-ip", &net.address(Part::Relay)]);
        }
        let mut program = Program::start("traffic-manager", command).unwrap();
        program.ready().await.unwrap();
        program
    }
}
