//! What each viewer of a stream would take, side by side in memory: to be gone through whenever the
//! egress is shared out, without a look at the viewers themselves, and in a lasting order for whoever
//! wants to page through them.
//!
//! A viewer writes its own line, without a lock. What it writes there is `adaptation`'s business.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use adaptation::Wish;

/// The lines of all viewers of a stream.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    pages: Vec<Arc<Page>>,
    /// Lines that were given back.
    free: Vec<u32>,
    used: u32,
    closed: bool,
}

#[derive(Debug)]
struct Page([Entry; LINES]);

#[derive(Debug, Default)]
struct Entry {
    key: AtomicU64,
    /// The wish and flags; 0 if the line is nobody's.
    state: AtomicU64,
}

/// One viewer's line, for as long as it is not given back.
#[derive(Debug)]
pub(super) struct Line {
    page: Arc<Page>,
    index: u32,
    /// Of the viewer's class among the weights.
    pub place: u8,
}

/// What a line says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Written {
    pub index: u32,
    pub key: u64,
    /// Of the viewer's class among the weights.
    pub place: usize,
    /// `None`: it takes nothing here now.
    pub wish: Option<Wish>,
}

impl Ledger {
    /// A line for a viewer whose class has this place; `None` once the ledger is closed.
    pub(super) fn open(&self, key: u64, place: u8) -> Option<Line> {
        let mut book = self.lock();
        if book.closed {
            return None;
        }
        let index = book.free.pop().unwrap_or(book.used);
        if index as usize / LINES == book.pages.len() {
            book.pages
                .push(Arc::new(Page(std::array::from_fn(|_| Entry::default()))));
        }
        book.used += 1;
        let page = book.pages[index as usize / LINES].clone();
        let line = Line { page, index, place };
        line.entry().key.store(key, Relaxed);
        line.write(None);
        Some(line)
    }

    /// The viewer has gone.
    pub(super) fn give_back(&self, line: &Line) {
        let mut book = self.lock();
        line.entry().state.store(0, Relaxed);
        book.used -= 1;
        book.free.push(line.index);
        // What a crowd took is kept only until it is gone.
        if book.used == 0 {
            (book.pages, book.free) = (Vec::new(), Vec::new());
        }
    }

    /// Closes it, if nobody has a line.
    pub(super) fn close(&self) -> bool {
        let mut book = self.lock();
        book.closed |= book.used == 0;
        book.closed
    }

    /// All lines that are somebody's, from that with index `first` on, as they are while one goes on.
    pub(super) fn lines(&self, first: u32) -> impl Iterator<Item = Written> + use<> {
        let skipped = first as usize / LINES;
        let pages: Vec<_> = self.lock().pages.iter().skip(skipped).cloned().collect();
        let lines = pages.into_iter().zip(skipped as u32..);
        let lines = lines.flat_map(|(page, number)| {
            let written = page.0.iter().zip(number * LINES as u32..);
            let written = written.filter_map(|(entry, index)| entry.read(index));
            written.collect::<Vec<_>>()
        });
        lines.skip_while(move |written| written.index < first)
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// `None`: this viewer takes nothing here now.
    pub(super) fn write(&self, wish: Option<Wish>) {
        let wish = wish.map_or(0, |wish| wish.to_bits() | WISHES);
        let state = wish | u64::from(self.place) << PLACE | TAKEN;
        self.entry().state.store(state, Relaxed);
    }

    fn entry(&self) -> &Entry {
        &self.page.0[self.index as usize % LINES]
    }
}

impl Entry {
    fn read(&self, index: u32) -> Option<Written> {
        let state = self.state.load(Relaxed);
        (state & TAKEN != 0).then(|| Written {
            index,
            key: self.key.load(Relaxed),
            place: usize::from((state >> PLACE) as u8),
            wish: (state & WISHES != 0).then(|| Wish::from_bits(state)),
        })
    }
}

/// Four kilobytes.
const LINES: usize = 256;

const TAKEN: u64 = 1 << 63;
const WISHES: u64 = 1 << 62;
/// Above the bits of a wish.
const PLACE: u32 = 49;

#[cfg(test)]
mod tests {
    use adaptation::Viewer;

    use super::*;

    fn keys(ledger: &Ledger, first: u32) -> Vec<u64> {
        ledger.lines(first).map(|written| written.key).collect()
    }

    #[test]
    fn lines_are_gone_through_in_a_lasting_order() {
        let ledger = Ledger::default();
        let lines: Vec<_> = (0..1000).map(|key| ledger.open(key, 0).unwrap()).collect();
        assert_eq!(keys(&ledger, 0), (0..1000).collect::<Vec<_>>());
        assert_eq!(keys(&ledger, 700), (700..1000).collect::<Vec<_>>());
        assert_eq!(keys(&ledger, 5000), [0; 0]);
        ledger.give_back(&lines[3]);
        assert_eq!(keys(&ledger, 0)[..5], [0, 1, 2, 4, 5]);
        let _back = ledger.open(7777, 0).unwrap();
        assert_eq!(keys(&ledger, 0)[..5], [0, 1, 2, 7777, 4]);
    }

    #[test]
    fn a_line_says_what_was_written_last() {
        let ledger = Ledger::default();
        let line = ledger.open(1, 0).unwrap();
        let wish = |ledger: &Ledger| ledger.lines(0).next().map(|written| written.wish);
        assert_eq!(wish(&ledger), Some(None));
        let wanted = Viewer::new(None, std::time::Instant::now()).wish();
        line.write(Some(wanted));
        assert_eq!(wish(&ledger), Some(Some(wanted)));
        line.write(None);
        assert_eq!(wish(&ledger), Some(None));
        ledger.give_back(&line);
        assert_eq!(wish(&ledger), None);
    }

    #[test]
    fn a_crowd_that_has_gone_leaves_nothing_behind() {
        let ledger = Ledger::default();
        let lines: Vec<_> = (0..1000).map(|key| ledger.open(key, 0).unwrap()).collect();
        assert!(!ledger.close(), "somebody is there");
        lines.iter().for_each(|line| ledger.give_back(line));
        assert_eq!(ledger.lock().pages.len(), 0);
        let line = ledger.open(1, 0).unwrap();
        assert_eq!(keys(&ledger, 0), [1]);
        ledger.give_back(&line);
        assert!(ledger.close());
        assert!(ledger.open(2, 0).is_none());
    }
}
