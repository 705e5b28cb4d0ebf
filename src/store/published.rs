//! One snapshot of a stream and its texts. Which snapshot is the present one is the store's to say.

use std::{ops::Deref, sync::OnceLock};

use playlists::{
    Window,
    render::{self, Style, Taken, View},
};

use crate::text::Text;

/// A snapshot of a stream's window, and its playlists: each written at most once, by the
/// first who asks, however many ask.
#[derive(Debug)]
pub struct Published {
    window: Window,
    viewer: OnceLock<Text>,
    canonical: Vec<OnceLock<Text>>,
    /// Of MPEG-TS: for viewers, and of each rung.
    transport: Vec<OnceLock<Text>>,
}

impl Published {
    pub(super) fn new(window: Window) -> Self {
        let rungs = window.format().ladder.rungs().len();
        let texts = |count| (0..count).map(|_| OnceLock::new()).collect();
        let (canonical, transport) = (texts(rungs), texts(rungs + 1));
        Self {
            window,
            viewer: OnceLock::new(),
            canonical,
            transport,
        }
    }

    /// The media playlist of this snapshot.
    pub fn playlist(&self, view: View) -> Text {
        let text = match view {
            View::Viewer => &self.viewer,
            View::Canonical { rung } => &self.canonical[rung],
        };
        text.get_or_init(|| render::media(&self.window, view).into())
            .clone()
    }

    /// The same of MPEG-TS: of one rung, or of whichever a viewer will be given.
    pub fn transport(&self, rung: Option<usize>) -> Text {
        let taken = rung.map_or(Taken::Later, Taken::Always);
        let style = Style {
            transport: true,
            ..Style::default()
        };
        let text = &self.transport[rung.map_or(0, |rung| rung + 1)];
        text.get_or_init(|| render::told(&self.window, taken, style).into())
            .clone()
    }
}

impl Deref for Published {
    type Target = Window;

    fn deref(&self) -> &Window {
        &self.window
    }
}
