//! A program under test: started, waited for, read, and stopped again whatever happens.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    sync::watch,
};

/// A running program. Dropping it stops it.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    /// What it said on stdout and stderr so far.
    said: Arc<Mutex<Vec<String>>>,
    lines: watch::Receiver<usize>,
}

impl Program {
    /// Starts `command`; what it prints is kept, and can be waited for.
    pub fn start(name: &str, mut command: Command) -> anyhow::Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let (sender, lines) = watch::channel(0);
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(keep(stdout, said.clone(), sender.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(keep(stderr, said.clone(), sender));
        }
        Ok(Self {
            name: name.to_owned(),
            child,
            said,
            lines,
        })
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Everything it said so far.
    pub fn said(&self) -> Vec<String> {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Everything it said, once it can say no more.
    pub async fn said_in_full(&mut self) -> Vec<String> {
        while self.lines.changed().await.is_ok() {}
        self.said()
    }

    /// The first line for which `wanted` has an answer; an error with what it said instead, if it
    /// does not say it within `patience` or ends before.
    pub async fn says<T>(
        &mut self,
        patience: Duration,
        wanted: impl Fn(&str) -> Option<T>,
    ) -> anyhow::Result<T> {
        let mut lines = self.lines.clone();
        let search = async {
            let mut seen = 0;
            loop {
                let count = *lines.borrow_and_update();
                if let Some(found) = self.said()[seen..].iter().find_map(|line| wanted(line)) {
                    return Some(found);
                }
                seen = count.min(self.said().len());
                if lines.changed().await.is_err() {
                    return self.said()[seen..].iter().find_map(|line| wanted(line));
                }
            }
        };
        match tokio::time::timeout(patience, search).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => bail!("{} ended; it said:\n{}", self.name, self.said().join("\n")),
            Err(_) => bail!(
                "{} did not say it within {patience:?}; it said:\n{}",
                self.name,
                self.said().join("\n")
            ),
        }
    }

    /// The base URLs of its line `ready URL [private URL]`.
    pub async fn ready(&mut self) -> anyhow::Result<Vec<String>> {
        self.says(READY, |line| {
            let urls = line
                .strip_prefix("ready ")?
                .split(' ')
                .filter(|word| word.starts_with("http"));
            Some(
                urls.map(|url| url.trim_end_matches('/').to_owned())
                    .collect(),
            )
        })
        .await
    }

    /// `kill -9`.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child
            .kill()
            .await
            .with_context(|| format!("killing {}", self.name))
    }

    /// Asks it to stop, as an operator would, and waits until it has.
    pub async fn stop(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        if let Some(pid) = self.pid() {
            signal(pid, "TERM");
        }
        self.ended(STOPPED).await
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self, patience: Duration) -> anyhow::Result<std::process::ExitStatus> {
        let ended = tokio::time::timeout(patience, self.child.wait()).await;
        Ok(ended.with_context(|| format!("{} is still there after {patience:?}", self.name))??)
    }
}

/// Keeps each line; a line may also end as on a terminal that is written over.
async fn keep(
    mut output: impl AsyncRead + Unpin,
    said: Arc<Mutex<Vec<String>>>,
    lines: watch::Sender<usize>,
) {
    let (mut rest, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = output.read(&mut chunk).await {
        rest.extend_from_slice(&chunk[..read]);
        let Some(end) = rest.iter().rposition(|octet| LINE_ENDS.contains(octet)) else {
            continue;
        };
        let whole: Vec<u8> = rest.drain(..=end).collect();
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = whole
            .split(|octet| LINE_ENDS.contains(octet))
            .filter(|line| !line.is_empty());
        said.extend(fresh.map(|line| String::from_utf8_lossy(line).into_owned()));
        lines.send_replace(said.len());
    }
}

const LINE_ENDS: &[u8] = b"\r\n";

/// Sends a signal such as `TERM` to `pid`; one that is gone needs none.
pub fn signal(pid: u32, name: &str) {
    let _ = std::process::Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .output();
}

/// Whether there is such a process, and it is not a zombie.
pub fn is_running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| !rest.trim_start().starts_with('Z'))
    })
}

/// The processes whose parent is `pid`, with their command lines.
pub fn children(pid: u32) -> Vec<(u32, String)> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|child| parent(*child) == Some(pid))
        .map(|child| {
            let line = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            (
                child,
                String::from_utf8_lossy(&line)
                    .replace('\0', " ")
                    .trim()
                    .to_owned(),
            )
        })
        .collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')')
        .next()?
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

/// The program called `name` in the folder of `beside`, which is one of the same build.
pub fn sibling(beside: &str, name: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(beside).with_file_name(name);
    anyhow::ensure!(
        path.is_file(),
        "{} is not built; run tools/test, or cargo build --workspace",
        path.display()
    );
    Ok(path)
}

/// Whether a program can be run here at all.
pub fn is_installed(name: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}

const READY: Duration = Duration::from_secs(30);
const STOPPED: Duration = Duration::from_secs(20);
