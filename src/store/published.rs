//! One snapshot of a stream and its texts. Which snapshot is the present one is the store's to say.

use std::{ops::Deref, sync::OnceLock};

use bytes::Bytes;
use playlists::{
    Window,
    render::{self, View},
};

/// A snapshot of a stream's window, and its playlists: each written at most once, by the
/// first who asks, however many ask.
#[derive(Debug)]
pub struct Published {
    window: Window,
    viewer: OnceLock<Bytes>,
    canonical: Vec<OnceLock<Bytes>>,
}

impl Published {
    pub(super) fn new(window: Window) -> Self {
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
