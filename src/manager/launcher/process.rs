//! Relays as processes of this machine.
//!
//! Each is its own process group: a Ctrl-C at the manager's terminal is the manager's to pass on.
//! A manager that is killed leaves its relays running, for the next one to adopt (`orphan`).

mod orphan;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
};
use tokio_util::sync::CancellationToken;

use super::{Ended, Later, Launcher, Order};
use orphan::Orphan;

/// Starts `local-server`.
#[derive(Clone, Debug)]
pub struct ProcessLauncher {
    /// The `local-server` program.
    pub program: PathBuf,
    /// Base URL of the manager as seen from this machine.
    pub manager: String,
    /// Address on which relays listen, each on a free port.
    pub ip: IpAddr,
    /// Options of relays: certificates, whom to trust, how to log.
    pub files: Vec<(&'static str, PathBuf)>,
    /// For a relay to say that it listens.
    pub ready_within: Duration,
    /// From SIGTERM to SIGKILL.
    pub ends_within: Duration,
}

impl ProcessLauncher {
    pub fn new(program: PathBuf, manager: String, ip: IpAddr) -> Self {
        Self {
            program,
            manager,
            ip,
            files: Vec::new(),
            ready_within: Duration::from_secs(10),
            ends_within: Duration::from_secs(10),
        }
    }

    fn command(&self, order: &Order) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--launched");
        for (flag, value) in [
            ("--name", order.node.as_str()),
            ("--region", &order.region),
            ("--manager", &self.manager),
            ("--listen", &SocketAddr::new(self.ip, 0).to_string()),
            ("--upstream", &order.upstream),
        ] {
            command.args([flag, value]);
        }
        for (flag, path) in &self.files {
            command.arg(flag).arg(path);
        }
        for own in OWN_SETTINGS {
            command.env_remove(own);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .process_group(0)
            .kill_on_drop(false);
        command
    }

    async fn run(self, order: Order, stop: CancellationToken) -> anyhow::Result<Ended> {
        let program = self.program.display();
        let mut child = self
            .command(&order)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let stdout = child.stdout.take().context("the relay has no stdout")?;
        let mut stdout = BufReader::new(stdout);
        let failure = tokio::select! {
            ready = tokio::time::timeout(self.ready_within, ready(&mut stdout)) => match ready {
                Ok(Some(url)) => {
                    tracing::debug!(node = order.node, url, pid = child.id(), "relay listens");
                    return Ok(Box::pin(self.attend(child, stdout, stop)));
                }
                Ok(None) => "it closed its stdout before it was ready".to_owned(),
                Err(_) => format!("it was not ready within {:?}", self.ready_within),
            },
            () = stop.cancelled() => "it was stopped before it was ready".to_owned(),
        };
        let end = self.end(&mut child).await;
        anyhow::bail!("{program}: {failure} ({end})")
    }

    /// Until the relay ends by itself, or is made to.
    async fn attend(
        self,
        mut child: Child,
        mut stdout: BufReader<ChildStdout>,
        stop: CancellationToken,
    ) -> String {
        // Whatever else it prints is read, lest it hangs on a full pipe or dies of a closed one.
        let rest = tokio::spawn(async move {
            let _ = tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await;
        });
        let end = tokio::select! {
            status = child.wait() => describe(status),
            () = stop.cancelled() => self.end(&mut child).await,
        };
        rest.abort();
        end
    }

    /// SIGTERM, and SIGKILL for what does not heed it.
    async fn end(&self, child: &mut Child) -> String {
        for (signal, patience) in [
            (Signal::TERM, self.ends_within),
            (Signal::KILL, Duration::MAX),
        ] {
            // None: it ended and was waited for; `wait` says how. Until then its number is nobody else's.
            let Some(pid) = child.id() else { break };
            let group = i32::try_from(pid).ok().and_then(Pid::from_raw);
            if let Some(Err(error)) = group.map(|group| kill_process_group(group, signal)) {
                tracing::debug!(pid, ?signal, %error, "cannot signal a relay");
            }
            if let Ok(status) = tokio::time::timeout(patience, child.wait()).await {
                return describe(status);
            }
            tracing::warn!(pid, after = ?patience, "a relay does not heed SIGTERM; killing it");
        }
        describe(child.wait().await)
    }
}

impl Launcher for ProcessLauncher {
    fn launch(&self, order: Order, stop: CancellationToken) -> Later<anyhow::Result<Ended>> {
        Box::pin(self.clone().run(order, stop))
    }

    fn adopt(&self, node: String, stop: CancellationToken) -> Later<Option<Ended>> {
        let (manager, ends_within) = (self.manager.clone(), self.ends_within);
        Box::pin(async move {
            let found = tokio::task::spawn_blocking(move || Orphan::find(&node, &manager)).await;
            let orphan = found.ok().flatten()?;
            Some(Box::pin(orphan.attend(ends_within, stop)) as Ended)
        })
    }
}

/// The URL of the line `ready URL ...`; `None` if the output ends before.
async fn ready(stdout: &mut BufReader<ChildStdout>) -> Option<String> {
    let mut lines = stdout.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(url) = line.strip_prefix("ready ") {
            return url.split_whitespace().next().map(str::to_owned);
        }
    }
    None
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => format!("it cannot be waited for: {error}"),
    }
}

/// Settings of the manager that would mean something else to a relay, which inherits the rest.
/// One private port for all of them would not do either.
const OWN_SETTINGS: [&str; 12] = [
    "SPILLWAY_CONFIG",
    "SPILLWAY_LISTEN",
    "SPILLWAY_PUBLIC_URL",
    "SPILLWAY_NAME",
    "SPILLWAY_PRIVATE_LISTEN",
    // Relays have a certificate of their own.
    "SPILLWAY_CONTROL_CERT",
    "SPILLWAY_CONTROL_KEY",
    // Relays present the manager's certificate; they neither order one nor take its plain port.
    "SPILLWAY_TLS_CERT",
    "SPILLWAY_TLS_KEY",
    "SPILLWAY_ACME_DOMAIN",
    "SPILLWAY_HTTP_LISTEN",
    // A relay of this machine that stands by has it; one that is launched is there to stream at once.
    "SPILLWAY_STANDBY",
];
