//! A clock of its own for each node, which can be set: by libfaketime, which tells the programs that are started with it
//! another time of day, as a file says. What they measure spans with is left alone, as it is when a real clock is set.

use std::path::{Path, PathBuf};

use super::site::Part;

/// Clocks of all parts. Dropping them takes the files away.
#[derive(Debug)]
pub(crate) struct Clocks {
    library: PathBuf,
    folder: PathBuf,
}

impl Clocks {
    pub(crate) const OF: [Part; 3] = [Part::Relay, Part::Primary, Part::Manager];

    /// `name` is one of its own; an error says what is missing.
    pub(crate) fn new(name: &str) -> anyhow::Result<Self> {
        let libraries = std::fs::read_dir("/usr/lib")
            .into_iter()
            .flatten()
            .flatten();
        let library = libraries
            .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"))
            .find(|library| library.is_file());
        let Some(library) = library else {
            anyhow::bail!("libfaketime is not installed (Debian's package faketime)");
        };
        let folder = std::env::temp_dir().join(format!("spillway-clocks-{name}"));
        std::fs::create_dir_all(&folder)?;
        let clocks = Self { library, folder };
        for part in Self::OF {
            clocks.set(part, 0);
        }
        Ok(clocks)
    }

    /// Hours from what it is.
    pub(crate) fn set(&self, part: Part, hours: i32) {
        let (file, fresh) = (self.file(part), self.folder.join("fresh"));
        // Whoever reads it meanwhile reads all of it.
        std::fs::write(&fresh, format!("{:+}\n", hours * 3600)).unwrap();
        std::fs::rename(fresh, file).unwrap();
    }

    pub(crate) fn environment(&self, part: Part) -> [(&'static str, PathBuf); 4] {
        [
            ("LD_PRELOAD", self.library.clone()),
            ("FAKETIME_TIMESTAMP_FILE", self.file(part)),
            ("FAKETIME_DONT_FAKE_MONOTONIC", Path::new("1").into()),
            ("FAKETIME_CACHE_DURATION", Path::new("1").into()),
        ]
    }

    fn file(&self, part: Part) -> PathBuf {
        self.folder.join(format!("{part:?}"))
    }
}

impl Drop for Clocks {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
