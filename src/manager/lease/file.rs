//! A lease as a lock on a file, for managers of one machine (or of one file system that locks for all). The
//! system gives it back when its holder ends, however that ends.
//!
//! What the file says is the epoch and who has it; what one holder leaves to the next is in `PATH.left` beside it. A holder that is frozen keeps the lock; where that has to be
//! survived, the lease belongs into PostgreSQL.

use std::{
    fs::File,
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::{Checked, Hold, Holder, Later, Lease, Sought};

#[derive(Clone, Debug)]
pub struct FileLease {
    path: PathBuf,
    /// Of this manager, for the others to send viewers to.
    url: String,
}

#[derive(Debug)]
struct Held {
    path: PathBuf,
    file: File,
    epoch: u64,
    left: String,
}

impl FileLease {
    pub fn new(path: PathBuf, url: String) -> Self {
        Self { path, url }
    }

    fn try_now(&self) -> anyhow::Result<Sought> {
        let path = self.path.display();
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.path)
            .with_context(|| format!("lease {path}"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(Sought::Taken(read(&mut file).ok().flatten())),
            Err(error) => return Err(error).with_context(|| format!("lease {path}")),
        }
        let before = read(&mut file)
            .with_context(|| format!("lease {path} is not one of ours; name a file of its own"))?;
        let holder = Holder {
            epoch: before.map_or(0, |before| before.epoch) + 1,
            url: self.url.clone(),
        };
        let left = match std::fs::read_to_string(beside(&self.path)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            left => left,
        };
        let left = left.with_context(|| format!("what was left beside lease {path}"))?;
        write(&mut file, &holder).with_context(|| format!("lease {path}"))?;
        Ok(Sought::Held(Box::new(Held {
            path: self.path.clone(),
            file,
            epoch: holder.epoch,
            left,
        })))
    }
}

impl Lease for FileLease {
    fn seek(&self) -> Later<anyhow::Result<Sought>> {
        let lease = self.clone();
        Box::pin(async move {
            // A file system may take its time.
            tokio::task::spawn_blocking(move || lease.try_now()).await?
        })
    }
}

impl Hold for Held {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn left(&self) -> &str {
        &self.left
    }

    fn leave<'a>(&'a mut self, text: &'a str) -> Checked<'a, anyhow::Result<()>> {
        Box::pin(async move {
            // It is ours alone while the lock is.
            self.check().await?;
            let (path, text) = (beside(&self.path), text.to_owned());
            let written = move || {
                let new = path.with_extension("new");
                std::fs::write(&new, text)?;
                std::fs::rename(new, path)
            };
            Ok(tokio::task::spawn_blocking(written).await??)
        })
    }

    /// The lock is ours while the file is open; but somebody may have put another file in its place.
    fn check(&mut self) -> Checked<'_, anyhow::Result<()>> {
        Box::pin(async move {
            let (path, ours) = (self.path.clone(), self.file.metadata()?);
            let there = tokio::task::spawn_blocking(move || std::fs::metadata(path)).await??;
            anyhow::ensure!(
                (there.dev(), there.ino()) == (ours.dev(), ours.ino()),
                "{} is another file now",
                self.path.display()
            );
            Ok(())
        })
    }
}

/// Where it is written what a holder leaves.
fn beside(lease: &Path) -> PathBuf {
    let mut name = lease.to_owned().into_os_string();
    name.push(".left");
    name.into()
}

/// `None` if nobody has ever held it.
fn read(file: &mut File) -> anyhow::Result<Option<Holder>> {
    let mut text = String::new();
    file.rewind()?;
    file.take(4096).read_to_string(&mut text)?;
    match text.trim() {
        "" => Ok(None),
        text => Ok(Some(serde_json::from_str(text)?)),
    }
}

/// Padded to one length, and so written over what is there in one go: readers see the one or the other.
fn write(file: &mut File, holder: &Holder) -> anyhow::Result<()> {
    let text = serde_json::to_string(holder)?;
    file.rewind()?;
    file.write_all(format!("{text:<WIDTH$}\n").as_bytes())?;
    file.sync_all()?;
    Ok(())
}

const WIDTH: usize = 511;

#[cfg(test)]
mod tests {
    use super::*;

    fn held(sought: Sought) -> Box<dyn Hold> {
        match sought {
            Sought::Held(hold) => hold,
            Sought::Taken(holder) => panic!("taken by {holder:?}"),
        }
    }

    #[tokio::test]
    async fn one_has_it_the_other_knows_who_and_the_epoch_grows() {
        let folder = std::env::temp_dir().join(format!("lease-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let lease = |url: &str| FileLease::new(folder.join("lease"), url.into());
        let (one, other) = (lease("http://one"), lease("http://other"));
        let mut first = held(one.seek().await.unwrap());
        assert_eq!(first.epoch(), 1);
        first.check().await.unwrap();
        assert_eq!(first.left(), "");
        first.leave("a word").await.unwrap();
        let Sought::Taken(Some(holder)) = other.seek().await.unwrap() else {
            panic!("two have it");
        };
        assert_eq!((holder.epoch, holder.url.as_str()), (1, "http://one"));
        drop(first);
        let mut second = held(other.seek().await.unwrap());
        assert_eq!((second.epoch(), second.left()), (2, "a word"));
        std::fs::rename(folder.join("lease"), folder.join("away")).unwrap();
        assert!(second.check().await.is_err());
        drop(second);

        std::fs::write(folder.join("lease"), "a shopping list").unwrap();
        let error = format!("{:#}", one.seek().await.unwrap_err());
        assert!(error.contains("is not one of ours"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
