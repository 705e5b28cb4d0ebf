//! Virtual time: viewers on one link, and what happens next.

use super::{
    link::{Done, Link},
    stream::Stream,
    viewer::Viewer,
};

/// A link and who watches over it.
#[derive(Debug)]
pub struct World<'a> {
    pub streams: &'a [Stream],
    pub link: Link,
    pub viewers: Vec<Viewer>,
    done: Vec<Done>,
}

impl<'a> World<'a> {
    /// A viewer's id is its place, and its stream is one of these.
    pub fn new(streams: &'a [Stream], link: Link, viewers: Vec<Viewer>) -> Self {
        Self {
            streams,
            link,
            viewers,
            done: Vec::new(),
        }
    }

    /// Until `end`.
    pub fn run(&mut self, end: f64) {
        loop {
            let due = self.viewers.iter().map(|viewer| viewer.due);
            let due = due.fold(f64::INFINITY, f64::min);
            let now = due.min(self.link.due().unwrap_or(f64::INFINITY));
            if now > end {
                self.link.advance(end, &mut self.done);
                self.viewers
                    .iter_mut()
                    .for_each(|viewer| viewer.playback.advance(end));
                return;
            }
            self.link.advance(now, &mut self.done);
            for done in self.done.drain(..) {
                if let Some(viewer) = self.viewers.get_mut(done.id as usize) {
                    viewer.sent(&done, &self.streams[viewer.stream]);
                }
            }
            for viewer in &mut self.viewers {
                if viewer.due <= now {
                    viewer.wake(&self.streams[viewer.stream], &mut self.link, now);
                }
            }
        }
    }
}
