//! What is kept in PostgreSQL, the managers' lease and what became of viewers, against a database of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/kept.rs"]
mod kept;

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use spillway::manager::lease::{Hold, Lease as _, PostgresLease, Sought};

/// A server that ends with its handle.
struct Server {
    process: Child,
    folder: PathBuf,
    address: String,
}

impl Server {
    /// `None`: there is no PostgreSQL here, or nobody to run it as.
    fn start(test: &str) -> Option<Self> {
        let mut versions: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
            .filter(|programs| programs.join("postgres").is_file())
            .collect();
        versions.sort();
        let programs = versions.pop()?;
        let folder = std::env::temp_dir().join(format!("spillway-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        // It does not run as root.
        let root = std::fs::metadata("/proc/self").is_ok_and(|me| {
            use std::os::unix::fs::MetadataExt as _;
            me.uid() == 0
        });
        if root && !run(Command::new("chown").arg("postgres").arg(&folder)) {
            return None;
        }
        let command = |program: &str| -> Command {
            let program = programs.join(program);
            if root {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
                command.arg(program);
                command
            } else {
                Command::new(program)
            }
        };
        let data = folder.join("data");
        let made = run(command("initdb")
            .args(["--auth=trust", "--username=spillway", "--no-sync", "-D"])
            .arg(&data));
        if !made {
            return None;
        }
        let port = {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            free.local_addr().unwrap().port()
        };
        let process = command("postgres")
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-p",
                &port.to_string(),
                "-k",
            ])
            .arg(&folder)
            .arg("-D")
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self {
            process,
            folder,
            address: format!("postgres://spillway@127.0.0.1:{port}/postgres"),
        })
    }

    fn lease(&self, url: &str) -> PostgresLease {
        PostgresLease::new(&self.address, "test", url.to_owned()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        remove(&self.folder);
    }
}

fn run(command: &mut Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn remove(folder: &Path) {
    let _ = std::fs::remove_dir_all(folder);
}

/// Asks until the lease is ours, as a manager in standby does.
async fn gets(lease: &PostgresLease) -> Box<dyn Hold> {
    let asks = async {
        loop {
            match lease.seek().await {
                Ok(Sought::Held(hold)) => return hold,
                Ok(Sought::Taken(_)) | Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(40), asks)
        .await
        .expect("the lease is to be had in time")
}

#[tokio::test]
async fn one_manager_holds_it_and_another_gets_it_when_that_is_gone_or_frozen() {
    let name = "one_manager_holds_it_and_another_gets_it_when_that_is_gone_or_frozen";
    let Some(server) = Server::start("lease") else {
        return common::skip(name, "PostgreSQL is not installed, or cannot be started");
    };
    let (one, other) = (server.lease("http://one"), server.lease("http://other"));
    let mut first = gets(&one).await;
    assert_eq!(first.epoch(), 1);
    first.check().await.unwrap();
    first.leave("a word").await.unwrap();
    let Ok(Sought::Taken(Some(holder))) = other.seek().await else {
        panic!("two have it");
    };
    assert_eq!((holder.epoch, holder.url.as_str()), (1, "http://one"));

    // It ends: its session does, and with it the lock.
    drop(first);
    let mut second = gets(&other).await;
    assert_eq!((second.epoch(), second.left()), (2, "a word"));

    // It is frozen: it says nothing, until the database has had enough.
    let third = gets(&one).await;
    assert_eq!(third.epoch(), 3);
    let told = second.check().await.unwrap_err();
    println!("who was frozen is told: {told:#}");
}

#[tokio::test]
async fn it_keeps_what_became_of_viewers_as_sqlite_does() {
    let name = "it_keeps_what_became_of_viewers_as_sqlite_does";
    let Some(server) = Server::start("analytics") else {
        return common::skip(name, "PostgreSQL is not installed, or cannot be started");
    };
    // It takes a moment until it listens.
    let lease = server.lease("http://one");
    drop(gets(&lease).await);
    kept::story(&server.address.parse().unwrap()).await;
}
