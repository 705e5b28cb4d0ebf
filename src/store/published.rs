//! One snapshot of a stream and its texts. Which snapshot is the present one is the store's to say.

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
};

use playlists::{
    Window,
    render::{self, Skip, Style, Taken, View},
};

use super::{Supply, Table};
use crate::text::Text;

/// A snapshot of a stream's window, and what is to be said of it: each worked out at most once, by
/// the first who asks, however many ask.
#[derive(Debug)]
pub struct Published {
    window: Window,
    supply: Arc<Supply>,
    plain: Texts,
    parts: Texts,
    /// As MPEG-TS or not, to be begun at the beginning or not.
    long: [[Texts; 2]; 2],
    canonical: Vec<Texts>,
    /// Of MPEG-TS: for viewers, and of each rung.
    transport: Vec<Texts>,
    /// Of each rendition: from where it is seen, with parts or not.
    renditions: Vec<[[Texts; 2]; 3]>,
    table: OnceLock<Arc<Table>>,
}

/// A playlist, and its delta update if there is anything to leave out.
#[derive(Debug, Default)]
struct Texts {
    whole: OnceLock<Text>,
    delta: OnceLock<Option<Text>>,
    /// The same without what was told of spans long ago.
    short: OnceLock<Option<Text>>,
}

impl Published {
    pub(super) fn new(window: Window, supply: Arc<Supply>) -> Self {
        let rungs = window.format().ladder.rungs().len();
        let canonical = (0..rungs).map(|_| Texts::default()).collect();
        let transport = (0..=rungs).map(|_| Texts::default()).collect();
        let renditions = window.format().renditions.others.iter();
        let renditions = renditions.map(|_| Default::default()).collect();
        Self {
            window,
            supply,
            plain: Texts::default(),
            parts: Texts::default(),
            long: Default::default(),
            canonical,
            transport,
            renditions,
            table: OnceLock::new(),
        }
    }

    /// What can be had beyond what is in this snapshot.
    pub fn supply(&self) -> &Arc<Supply> {
        &self.supply
    }

    /// The media playlist of this snapshot; with `skip`, without what its reader has already.
    pub fn playlist(&self, view: View, skip: Skip) -> Text {
        let texts = match view {
            View::Viewer { parts: false } => &self.plain,
            View::Viewer { parts: true } => &self.parts,
            View::Long {
                transport,
                from_beginning,
            } => &self.long[usize::from(transport)][usize::from(from_beginning)],
            View::Canonical { rung } => &self.canonical[rung],
            View::Rendition { index, seen, parts } => {
                &self.renditions[index][seen as usize][usize::from(parts)]
            }
        };
        texts.get(
            skip,
            || render::media(&self.window, view),
            || render::delta(&self.window, view, skip),
        )
    }

    /// What the segment at the edge will take in each rung; see [`Window::expected_sizes`].
    pub fn expected(&self) -> &[u64] {
        self.table().expected()
    }

    /// What choices of rungs rest on, for all of them.
    pub fn table(&self) -> &Arc<Table> {
        self.table.get_or_init(|| {
            let open = self.window.open_segment().map(|open| &**open);
            let expected = self.window.expected_sizes(open);
            Arc::new(Table::of(&self.window, expected))
        })
    }

    /// The same of MPEG-TS: of one rung, or of whichever a viewer will be given.
    pub fn transport(&self, rung: Option<usize>, skip: Skip) -> Text {
        let taken = rung.map_or(Taken::Later, Taken::Always);
        let style = Style {
            transport: true,
            ..Style::default()
        };
        self.transport[rung.map_or(0, |rung| rung + 1)].get(
            skip,
            || render::told(&self.window, taken, style),
            || render::told_delta(&self.window, taken, style),
        )
    }
}

impl Texts {
    fn get(
        &self,
        skip: Skip,
        whole: impl FnOnce() -> String,
        delta: impl FnOnce() -> Option<String>,
    ) -> Text {
        let delta = || delta().map(Text::from);
        let delta = match skip {
            Skip::Nothing => None,
            Skip::Segments => Some(self.delta.get_or_init(delta).clone()),
            Skip::Ranges => Some(self.short.get_or_init(delta).clone()),
        };
        delta
            .flatten()
            .unwrap_or_else(|| self.whole.get_or_init(|| whole().into()).clone())
    }
}

impl Deref for Published {
    type Target = Window;

    fn deref(&self) -> &Window {
        &self.window
    }
}
