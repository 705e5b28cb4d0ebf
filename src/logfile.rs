//! A log of decisions on disk: written on behind what is there, opened anew at SIGHUP for who moves it away, and moved to
//! `FILE.1` when it is full. What its lines are, and who waits for whom, is its owner's.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::{
    fs::{self, File},
    io::AsyncWriteExt as _,
    signal::unix::{Signal, SignalKind, signal},
};

#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    /// Octets; `None` is however long.
    most: Option<u64>,
    file: File,
    size: u64,
    hangup: Option<Signal>,
}

impl LogFile {
    /// Opens `path`, of which there are to be at most `most` octets.
    pub async fn open(path: &Path, most: Option<u64>) -> io::Result<Self> {
        let (file, size) = file(path).await?;
        let hangup = signal(SignalKind::hangup()).map_err(
            |error| tracing::warn!(%error, "the decisions log is not opened anew at SIGHUP"),
        );
        Ok(Self {
            path: path.to_owned(),
            most,
            file,
            size,
            hangup: hangup.ok(),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Until somebody may have moved it away. It is to be opened anew then.
    pub async fn hung_up(&mut self) {
        match &mut self.hangup {
            Some(hangup) => _ = hangup.recv().await,
            None => std::future::pending().await,
        }
    }

    pub async fn reopen(&mut self) {
        match file(&self.path).await {
            Ok((file, size)) => (self.file, self.size) = (file, size),
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "the decisions log cannot be opened anew; the old one goes on");
            }
        }
    }

    /// Moves it out of the way if so many octets more are too many. Says whether it did.
    pub async fn make_room(&mut self, octets: usize) -> bool {
        let full = |most| self.size > 0 && self.size + octets as u64 > most;
        if !self.most.is_some_and(full) {
            return false;
        }
        if let Err(error) = fs::rename(&self.path, moved(&self.path)).await {
            tracing::warn!(%error, path = %self.path.display(), "the decisions log cannot be moved out of the way");
            return false;
        }
        self.reopen().await;
        true
    }

    /// Whether all of `text` was written; if not, the log of the program says why.
    pub async fn append(&mut self, text: &[u8]) -> bool {
        let written = async {
            self.file.write_all(text).await?;
            self.file.flush().await
        };
        match written.await {
            Ok(()) => {
                self.size += text.len() as u64;
                true
            }
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "the decisions log cannot be written");
                false
            }
        }
    }
}

/// Where a log goes that is full.
pub fn moved(path: &Path) -> PathBuf {
    let mut old = path.to_owned().into_os_string();
    old.push(".1");
    old.into()
}

async fn file(path: &Path) -> io::Result<(File, u64)> {
    let file = File::options().append(true).create(true).open(path).await?;
    let size = file.metadata().await?.len();
    Ok((file, size))
}
