//! The writing half of a stream: what a source calls as media comes. It decides nothing of what
//! is kept or listed, which is the window's, nor of how it is kept, which is the archive's; it
//! tells each of them what the other has to know.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use playlists::{
    Closed, DateRange, Format, Head, History, MediaTime, Part, Segment, Window, WindowError,
    still::Still,
};
use tokio::sync::watch;

use crate::pages::Shelf;

use super::{Intake, Published, Store, StreamName, Supply};
use crate::archive::{Archive, Note};

/// The one writer of a stream. Dropping it takes the stream off the node.
#[derive(Debug)]
pub struct Producer {
    pub(super) name: StreamName,
    pub(super) store: Store,
    pub(super) window: Option<Window>,
    pub(super) kept: Option<Kept>,
    pub(super) shelf: Shelf,
    pub(super) supply: Arc<Supply>,
    pub(super) sender: watch::Sender<Option<Arc<Published>>>,
    pub(super) intake: Arc<ArcSwap<Intake>>,
}

/// The archive of a stream, and how far it has been told of it.
#[derive(Debug)]
pub(super) struct Kept {
    archive: Archive,
    /// Segments before this one have been handed over.
    next: u64,
    /// Nothing before this one is wanted.
    first: u64,
    /// Something was published since the archive was taken up.
    begun: bool,
}

impl Producer {
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// Keeps what is published in `archive`, and goes on from what is there: it is published at once, and
    /// what comes next follows it. `listed` is how many segments live playlists list.
    pub fn keep_in(&mut self, mut archive: Archive, listed: usize) {
        let past = archive.take_past();
        self.kept = Some(Kept {
            archive,
            next: 0,
            first: 0,
            begun: false,
        });
        let Some(past) = past else { return };
        let mut window = self.empty(past.shape.format(listed));
        if let Err(error) = window.resume(past.segments) {
            tracing::warn!(stream = %self.name, %error, "the DVR of the run before is of no use");
            return;
        }
        if past.ended.is_some() {
            window.end();
        }
        if let Some(kept) = &mut self.kept {
            kept.next = window.last_complete().map_or(0, |last| last.number() + 1);
        }
        self.window = Some(window);
        self.publish();
    }

    /// Starts publishing in `format`; a window in another format is gone.
    pub fn begin(&mut self, mut format: Format) {
        if let Some(window) = &mut self.window {
            // What is found out of captions is no other format.
            match &format.renditions.closed {
                Some(closed) => window.declare(closed.clone()),
                None => format
                    .renditions
                    .closed
                    .clone_from(&window.format().renditions.closed),
            }
        }
        if let Some(kept) = &mut self.kept {
            kept.archive.begin(&format);
            kept.begun = true;
        }
        if self
            .window
            .as_ref()
            .is_none_or(|window| **window.format() != format)
        {
            self.window = Some(self.empty(format));
        }
    }

    /// Starts over in the same format; for when what comes does not follow what is there.
    pub fn begin_anew(&mut self) {
        if let Some(window) = self.window.take() {
            self.window = Some(self.empty(Format::clone(window.format())));
        }
    }

    /// Says how the source goes.
    pub fn report(&mut self, intake: Intake) {
        self.intake.store(Arc::new(intake));
    }

    /// Whether anything came since this node started; a window of the run before does not count.
    pub fn has_begun(&self) -> bool {
        match &self.kept {
            Some(kept) => kept.begun,
            None => self.window.is_some(),
        }
    }

    fn empty(&self, format: Format) -> Window {
        let Some(kept) = &self.kept else {
            return Window::new(format);
        };
        // As long as a player may hold on to a playlist.
        let grace = MediaTime::from_seconds(format.patience().as_secs_f64());
        Window::remembering(format, History::new(kept.archive.span(), grace))
    }

    pub fn window(&self) -> Option<&Window> {
        self.window.as_ref()
    }

    /// What is brought beyond what is published.
    pub fn supply(&self) -> &Arc<Supply> {
        &self.supply
    }

    /// Opens a segment; readers see it with its first part.
    pub fn open(&mut self, head: Head) -> Result<(), WindowError> {
        let number = head.number;
        let window = self.window.as_mut().ok_or(WindowError::NoSegment)?;
        window.open(head)?;
        if let Some(kept) = &self.kept {
            kept.archive.opened(number);
        }
        Ok(())
    }

    /// Publishes the next part, and with the segment's last one the segment.
    pub fn push(&mut self, mut part: Part, last: bool) -> Result<(), WindowError> {
        for media in part.media.iter_mut().chain(&mut part.renditions) {
            *media = self.shelf.keep(std::mem::take(media));
        }
        let window = self.window.as_mut().ok_or(WindowError::NoSegment)?;
        window.push(part)?;
        if last {
            window.close();
        }
        self.publish();
        Ok(())
    }

    /// Publishes a segment in which there is nothing to play (`EXT-X-GAP`), for one that is lost.
    pub fn skip(&mut self, head: Head, duration: MediaTime) -> Result<(), WindowError> {
        let window = self.window.as_mut().ok_or(WindowError::NoSegment)?;
        window.skip(head, duration)?;
        self.publish();
        Ok(())
    }

    /// Adds pictures of the open segment; readers see them when it is closed.
    pub fn illustrate(&mut self, stills: Vec<Still>) -> Result<(), WindowError> {
        self.window
            .as_mut()
            .ok_or(WindowError::NoSegment)?
            .illustrate(stills)
    }

    /// Tells of a span from the open segment on; readers see it with the next part.
    pub fn mark(&mut self, range: DateRange) -> Result<(), WindowError> {
        self.window
            .as_mut()
            .ok_or(WindowError::NoSegment)?
            .mark(range)
    }

    /// Says which captions the pictures carry; readers see it with the next part.
    pub fn declare(&mut self, closed: Vec<Closed>) {
        if let Some(window) = &mut self.window {
            window.declare(closed);
        }
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
        if let Some(kept) = &self.kept {
            kept.archive.flush();
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
        if let Some(kept) = &mut self.kept {
            kept.archive.end();
        }
    }

    /// Takes away all that was published, here and on disk; the stream is there as one that has not begun.
    pub fn clear(&mut self) {
        self.window = None;
        if let Some(kept) = &mut self.kept {
            kept.archive.clear();
            (kept.first, kept.begun) = (0, false);
        }
        self.publish();
    }

    /// Takes the stream off the node for good: nothing of it is kept.
    pub fn forget(mut self) {
        if let Some(kept) = &mut self.kept {
            kept.archive.clear();
        }
    }

    fn publish(&mut self) {
        if let (Some(window), Some(kept)) = (&mut self.window, &mut self.kept) {
            kept.settle(window);
        }
        let first = self
            .window
            .as_ref()
            .and_then(|window| window.segments().next());
        if let Some(first) = first {
            self.supply.forget_before(first.number());
        }
        let snapshot = self
            .window
            .clone()
            .map(|window| Arc::new(Published::new(window, self.supply.clone())));
        self.sender.send_replace(snapshot);
    }
}

impl Kept {
    /// Hands over what is complete, and takes note of what became of what was handed over.
    fn settle(&mut self, window: &mut Window) {
        let complete = window
            .segments()
            .filter(|segment| segment.complete && segment.number() >= self.next);
        for segment in complete.cloned().collect::<Vec<_>>() {
            self.next = segment.number() + 1;
            if !self.archive.keep(&segment) {
                window.succeed(Arc::new(lost(&segment, window)));
            }
        }
        while let Some(note) = self.archive.note() {
            match note {
                Note::Kept(segment) => {
                    window.succeed(segment);
                }
                Note::Lost(number) => {
                    if let Some(segment) = window.segment(number).cloned() {
                        window.succeed(Arc::new(lost(&segment, window)));
                    }
                }
                Note::Forgotten { before } => window.forget_before(before),
            }
        }
        let first = window.history().and_then(History::first);
        if let Some(first) = first.map(|first| first.number())
            && first > self.first
        {
            self.first = first;
            self.archive.forget_before(first);
        }
    }
}

/// What is left of a segment that is not on disk, once it is not live any more.
fn lost(segment: &Segment, window: &Window) -> Segment {
    let format = window.format();
    Segment::gap(
        segment.head.clone(),
        segment.duration(),
        format.ladder.rungs().len(),
        &format.renditions,
    )
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.store.remove(&self.name);
    }
}
