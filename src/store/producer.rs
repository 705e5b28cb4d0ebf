//! The writing half of a stream: what a source calls as media comes. It decides nothing of what
//! is kept or listed; that is the window's.

use std::sync::Arc;

use bytes::Bytes;
use playlists::{Format, Head, Part, Window, WindowError};
use tokio::sync::watch;

use super::{Published, Store, StreamName};

/// The one writer of a stream. Dropping it takes the stream off the node.
#[derive(Debug)]
pub struct Producer {
    pub(super) name: StreamName,
    pub(super) store: Store,
    pub(super) window: Option<Window>,
    pub(super) sender: watch::Sender<Option<Arc<Published>>>,
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

    /// Adds subtitles to the open segment; readers see them when it is closed.
    pub fn caption(&mut self, rendition: usize, text: Bytes) -> Result<(), WindowError> {
        self.window
            .as_mut()
            .ok_or(WindowError::NoSegment)?
            .caption(rendition, text)
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
