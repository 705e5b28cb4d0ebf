//! The folder of one stream: which files there are, what room they take, and what is known of the
//! stream besides. Knows no queue and no thread; who calls it may block.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use playlists::{Segment, WallTime};
use serde::{Deserialize, Serialize};

use super::file::{self, Shape, Unreadable};

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("dvr folder {}: {error}", folder.display())]
    Folder { folder: PathBuf, error: io::Error },
    #[error("dvr folder {} is in use by another node; give each its own", folder.display())]
    InUse { folder: PathBuf },
}

#[derive(Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    /// Held for as long as this node may write here.
    _lock: File,
    files: VecDeque<Entry>,
    used: u64,
    state: State,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) octets: u64,
}

/// What no file of segments says.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct State {
    /// The last segment that was begun, whether it was ever completed or not.
    pub(super) edge: u64,
    /// When the programme ended, in milliseconds since 1970.
    pub(super) ended: Option<i64>,
}

/// The files of one shape, oldest first, each with its segments.
pub(super) type Runs = Vec<Vec<Arc<Segment>>>;

impl Shelf {
    /// Locks the folder and takes stock: whatever is damaged is named, set aside and left out.
    pub(super) fn open(folder: PathBuf) -> Result<(Self, Option<(Shape, Runs)>), OpenError> {
        let failed = |error| OpenError::Folder {
            folder: folder.clone(),
            error,
        };
        fs::create_dir_all(&folder).map_err(failed)?;
        let lock = File::create(folder.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(OpenError::InUse { folder }),
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut paths = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(SEGMENTS) => paths.push(path),
                // Of a write that was cut short.
                Some(UNFINISHED) => remove(&path),
                _ => {}
            }
        }
        paths.sort();
        let mut shelf = Self {
            state: state(&folder.join(STATE)),
            folder,
            _lock: lock,
            files: VecDeque::new(),
            used: 0,
        };
        let found = shelf.take_stock(paths);
        Ok((shelf, found))
    }

    fn take_stock(&mut self, paths: Vec<PathBuf>) -> Option<(Shape, Runs)> {
        let mut found: Option<(Shape, Runs)> = None;
        for path in paths {
            let (shape, segments) = match read(&path) {
                Ok(read) => read,
                Err(error) => {
                    self.set_aside(&path, &error);
                    continue;
                }
            };
            if found.as_ref().is_none_or(|(known, _)| *known != shape) {
                // Before it the ladder was another one, and playlists cannot go back beyond that.
                self.clear();
                found = Some((shape, Vec::new()));
            }
            if let (Some((_, runs)), Some(entry)) = (&mut found, entry(path, &segments)) {
                self.used += entry.octets;
                self.files.push_back(entry);
                runs.push(segments);
            }
        }
        if let Some(last) = self.files.back() {
            self.state.edge = self.state.edge.max(last.last);
        }
        found
    }

    /// Out of the way, but there for whoever wants to look.
    pub(super) fn set_aside(&mut self, path: &Path, error: &Unreadable) {
        tracing::warn!(file = %path.display(), %error, "left out of the DVR; what it held is a gap");
        let aside = path.with_extension("damaged");
        if let Err(error) = fs::rename(path, &aside) {
            tracing::warn!(file = %path.display(), %error, "cannot set it aside");
        }
        if let Some(place) = self.files.iter().position(|entry| entry.path == *path)
            && let Some(entry) = self.files.remove(place)
        {
            self.used -= entry.octets;
        }
    }

    /// Puts down a file of `segments`: written and synced under another name, then renamed, so that there is
    /// never half a file. Gives back the same segments with their octets in the file.
    pub(super) fn put(
        &mut self,
        shape: &Shape,
        segments: &[Arc<Segment>],
    ) -> Result<Vec<Arc<Segment>>, Unreadable> {
        let Some(first) = segments.first() else {
            return Ok(Vec::new());
        };
        let path = self
            .folder
            .join(format!("{:020}.{SEGMENTS}", first.number()));
        let unfinished = path.with_extension(UNFINISHED);
        let written = write(&unfinished, shape, segments)
            .and_then(|()| fs::rename(&unfinished, &path))
            .map_err(Unreadable::from)
            .and_then(|()| read(&path));
        match written {
            Ok((_, segments)) => {
                if let Some(entry) = entry(path, &segments) {
                    self.used += entry.octets;
                    self.files.push_back(entry);
                }
                Ok(segments)
            }
            Err(error) => {
                remove(&unfinished);
                remove(&path);
                Err(error)
            }
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn files(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.files.iter()
    }

    /// Deletes the oldest file; says which segment is the first that is left.
    pub(super) fn drop_oldest(&mut self) -> Option<u64> {
        let oldest = self.files.pop_front()?;
        self.used -= oldest.octets;
        remove(&oldest.path);
        Some(oldest.last + 1)
    }

    /// Deletes what holds nothing from segment `number` on.
    pub(super) fn forget_before(&mut self, number: u64) {
        while self.files.front().is_some_and(|file| file.last < number) {
            self.drop_oldest();
        }
    }

    pub(super) fn clear(&mut self) {
        while self.drop_oldest().is_some() {}
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Not synced: after a crash of this program it is there, after one of the machine the files tell.
    pub(super) fn note(&mut self, state: State) {
        self.state = state;
        let unfinished = self.folder.join(STATE).with_extension(UNFINISHED);
        let written = serde_json::to_vec(&self.state)
            .map_err(io::Error::from)
            .and_then(|text| fs::write(&unfinished, text))
            .and_then(|()| fs::rename(&unfinished, self.folder.join(STATE)));
        if let Err(error) = written {
            tracing::debug!(folder = %self.folder.display(), %error, "cannot note the edge");
        }
    }

    pub(super) fn ended(&self) -> Option<WallTime> {
        self.state.ended.map(WallTime::from_millis)
    }
}

fn state(path: &Path) -> State {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return State::default(),
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "unreadable");
            return State::default();
        }
    };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::warn!(file = %path.display(), %error, "damaged; going by the files of segments");
        State::default()
    })
}

fn entry(path: PathBuf, segments: &[Arc<Segment>]) -> Option<Entry> {
    let octets = fs::metadata(&path).map_or(0, |metadata| metadata.len());
    Some(Entry {
        first: segments.first()?.number(),
        last: segments.last()?.number(),
        octets,
        path,
    })
}

fn read(path: &Path) -> Result<(Shape, Vec<Arc<Segment>>), Unreadable> {
    file::read(&File::open(path)?)
}

fn write(path: &Path, shape: &Shape, segments: &[Arc<Segment>]) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 18, File::create(path)?);
    file::write(&mut out, shape, segments)?;
    out.flush()?;
    out.get_ref().sync_data()
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(file = %path.display(), %error, "cannot delete it");
    }
}

const SEGMENTS: &str = "dvr";
const UNFINISHED: &str = "unfinished";
const STATE: &str = "state.json";
