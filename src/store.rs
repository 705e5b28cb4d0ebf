//! What this node has of each stream, in memory: one writer a stream, any number of readers over
//! snapshots. Who writes (a segmenter, an upstream node) and who reads is not known here.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use playlists::{
    Format, Head, Part, Window, WindowError,
    render::{self, View},
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// The name of a stream in URLs: 1 to 64 of `a-z A-Z 0-9 - _`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamName(Arc<str>);

#[derive(Debug, thiserror::Error)]
#[error("stream name {0:?} is not 1 to 64 letters, digits, '-' or '_'")]
pub struct StreamNameError(String);

impl StreamName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for StreamName {
    type Err = StreamNameError;

    fn from_str(name: &str) -> Result<Self, StreamNameError> {
        let fits = (1..=64).contains(&name.len());
        if fits
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        {
            Ok(Self(name.into()))
        } else {
            Err(StreamNameError(name.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for StreamName {
    type Error = StreamNameError;

    fn try_from(name: String) -> Result<Self, StreamNameError> {
        name.parse()
    }
}

impl From<StreamName> for String {
    fn from(name: StreamName) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// So that a table of streams can be asked by text; both order alike.
impl std::borrow::Borrow<str> for StreamName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The streams of this node by name. Looking one up takes no lock.
#[derive(Clone, Debug, Default)]
pub struct Store(Arc<ArcSwap<BTreeMap<StreamName, Consumer>>>);

impl Store {
    /// Adds a stream and hands out its one writer; `None` if there is one already.
    pub fn create(&self, name: &StreamName) -> Option<Producer> {
        if self.stream(name.as_str()).is_some() {
            return None;
        }
        let (sender, receiver) = watch::channel(None);
        self.0.rcu(|streams| {
            let mut streams = BTreeMap::clone(streams);
            streams.insert(name.clone(), Consumer(receiver.clone()));
            streams
        });
        Some(Producer {
            name: name.clone(),
            store: self.clone(),
            window: None,
            sender,
        })
    }

    pub fn stream(&self, name: &str) -> Option<Consumer> {
        self.0.load().get(name).cloned()
    }

    pub fn streams(&self) -> Vec<(StreamName, Consumer)> {
        self.0
            .load()
            .iter()
            .map(|(name, consumer)| (name.clone(), consumer.clone()))
            .collect()
    }

    fn remove(&self, name: &StreamName) {
        self.0.rcu(|streams| {
            let mut streams = BTreeMap::clone(streams);
            streams.remove(name);
            streams
        });
    }
}

/// A snapshot of a stream's window, and its playlists: each written at most once, by the
/// first who asks, however many ask.
#[derive(Debug)]
pub struct Published {
    window: Window,
    viewer: OnceLock<Bytes>,
    canonical: Vec<OnceLock<Bytes>>,
}

impl Published {
    fn new(window: Window) -> Self {
        let canonical = window
            .format()
            .ladder
            .rungs()
            .iter()
            .map(|_| OnceLock::new())
            .collect();
        Self {
            window,
            viewer: OnceLock::new(),
            canonical,
        }
    }

    /// The media playlist of this snapshot.
    pub fn playlist(&self, view: View) -> Bytes {
        let text = match view {
            View::Viewer => &self.viewer,
            View::Canonical { rung } => &self.canonical[rung],
        };
        text.get_or_init(|| render::media(&self.window, view).into())
            .clone()
    }
}

impl Deref for Published {
    type Target = Window;

    fn deref(&self) -> &Window {
        &self.window
    }
}

/// The one writer of a stream. Dropping it takes the stream off the node.
#[derive(Debug)]
pub struct Producer {
    name: StreamName,
    store: Store,
    window: Option<Window>,
    sender: watch::Sender<Option<Arc<Published>>>,
}

impl Producer {
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// Starts publishing in `format`; a window in another format is gone.
    pub fn begin(&mut self, format: Format) {
        if self
            .window
            .as_ref()
            .is_none_or(|window| **window.format() != format)
        {
            self.window = Some(Window::new(format));
        }
    }

    /// Starts over in the same format; for when what comes does not follow what is there.
    pub fn begin_anew(&mut self) {
        self.window = self
            .window
            .take()
            .map(|window| Window::new(Format::clone(window.format())));
    }

    pub fn window(&self) -> Option<&Window> {
        self.window.as_ref()
    }

    /// Opens a segment; readers see it with its first part.
    pub fn open(&mut self, head: Head) -> Result<(), WindowError> {
        self.window
            .as_mut()
            .ok_or(WindowError::NoSegment)?
            .open(head)
    }

    /// Publishes the next part, and with the segment's last one the segment.
    pub fn push(&mut self, part: Part, last: bool) -> Result<(), WindowError> {
        let window = self.window.as_mut().ok_or(WindowError::NoSegment)?;
        window.push(part)?;
        if last {
            window.close();
        }
        self.publish();
        Ok(())
    }

    /// Completes an open segment as it is; for when no more of it will come.
    pub fn close(&mut self) {
        if let Some(window) = &mut self.window {
            window.close();
            self.publish();
        }
    }

    /// Takes back an open segment, which is to come again from its first part.
    pub fn abandon(&mut self) {
        if let Some(window) = &mut self.window {
            window.abandon();
        }
    }

    /// Nothing will follow. The window stays for those who are still watching.
    pub fn end(&mut self) {
        if let Some(window) = &mut self.window {
            window.end();
            self.publish();
        }
    }

    fn publish(&self) {
        let snapshot = self
            .window
            .clone()
            .map(|window| Arc::new(Published::new(window)));
        self.sender.send_replace(snapshot);
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.store.remove(&self.name);
    }
}

/// A reader. Clones are cheap; a snapshot, once taken, never changes.
#[derive(Clone, Debug)]
pub struct Consumer(watch::Receiver<Option<Arc<Published>>>);

impl Consumer {
    /// What is published now; `None` before the first part.
    pub fn now(&self) -> Option<Arc<Published>> {
        self.0.borrow().clone()
    }

    /// Waits until a snapshot `suits`; `None` if the stream goes away first.
    pub async fn wait(&mut self, mut suits: impl FnMut(&Window) -> bool) -> Option<Arc<Published>> {
        let suits = |now: &Option<Arc<Published>>| now.as_ref().is_some_and(|now| suits(now));
        self.0.wait_for(suits).await.ok()?.clone()
    }
}
