//! Media in pages that the kernel can send without a copy: one arena for the process, backed by an
//! anonymous file, so that what lies in it can go to any number of sockets by `sendfile(2)`.
//! What is kept, and for how long, is the business of whoever holds the [`Bytes`]; nothing here is
//! needed for them to be right, only for them to be cheap.
//!
//! Pages on their way through a socket must never be written to again, whoever lets go of the
//! octets meanwhile. So what is freed is taken out of the file (a hole is punched), which leaves its
//! pages to the sockets that still hold them, and what comes there next gets new ones. That takes
//! whole pages, of whatever size they are: hence blocks of the size of a huge page, of which one is
//! asked for as a block is begun. Sending out of small pages costs a quarter more, for looking each
//! of them up. What lies in a block goes only with all of it, so each writer fills blocks of its own.

#![allow(
    unsafe_code,
    reason = "a mapping of the arena, and slices of it, have no safe form"
)]

use std::{
    collections::BTreeMap,
    fmt, fs,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use rustix::{fs as file, io, mm};

/// What one writer keeps: a stream, whose media comes and goes in one order.
#[derive(Debug, Default)]
pub struct Shelf {
    /// The blocks that are being filled, and how far they are.
    open: Option<(Arc<Blocks>, usize)>,
}

impl Shelf {
    /// The same octets where they are cheap to send, if there is room for them; a copy, once per
    /// object. Short ones are cheaper to copy for each viewer than to look up; they get memory of
    /// their own, since they came in a buffer of many others, which would stay for as long as they do.
    pub fn keep(&mut self, octets: Bytes) -> Bytes {
        if octets.len() < SHORT {
            return Bytes::copy_from_slice(&octets);
        }
        if locate(&octets).is_some() {
            return octets;
        }
        match arena().and_then(|arena| self.put(arena, &octets)) {
            Some(slot) => Bytes::from_owner(slot),
            None => octets,
        }
    }

    /// `None` if there is no room, or no memory.
    fn put(&mut self, arena: &'static Arena, octets: &[u8]) -> Option<Slot> {
        let length = octets.len();
        let fits = |(blocks, filled): &(Arc<Blocks>, usize)| blocks.length() - filled >= length;
        let (blocks, at) = match self.open.take().filter(fits) {
            Some((blocks, filled)) => {
                arena.write(octets, blocks.start() + filled)?;
                (blocks, filled)
            }
            None => {
                let blocks = arena.take(length)?;
                arena.write(octets, blocks.start())?;
                // Not before: there has to be something in each.
                arena.collapse(&blocks);
                (Arc::new(blocks), 0)
            }
        };
        // Whatever comes next begins a page.
        let filled = (at + length).next_multiple_of(PAGE);
        self.open = (filled < blocks.length()).then(|| (blocks.clone(), filled));
        Some(Slot { blocks, at, length })
    }
}

/// The file and the place in it where these very octets lie, if they are kept here.
pub fn locate(octets: &[u8]) -> Option<(BorrowedFd<'static>, u64)> {
    // Asking must not make an arena where nothing was ever kept.
    let arena = ARENA.get()?.as_ref()?;
    let offset = (octets.as_ptr() as usize).checked_sub(arena.base)?;
    let inside = offset < SIZE && octets.len() <= SIZE - offset;
    inside.then(|| (arena.file.as_fd(), offset as u64))
}

/// A long file that is empty but for what is kept, and a view of it that is only read.
struct Arena {
    file: OwnedFd,
    /// Address of the mapping, which stays for as long as the process. The first of a block.
    base: usize,
    free: Mutex<Free>,
    /// It was said that pages stay small.
    small: AtomicBool,
}

/// Blocks that nobody has: the first of each run, and how many.
#[derive(Debug)]
struct Free(BTreeMap<usize, usize>);

/// A run of blocks. Only this keeps them from being given to another.
struct Blocks {
    arena: &'static Arena,
    first: usize,
    count: usize,
}

/// One object in some blocks.
#[derive(Debug)]
struct Slot {
    blocks: Arc<Blocks>,
    at: usize,
    length: usize,
}

fn arena() -> Option<&'static Arena> {
    let made = ARENA.get_or_init(|| match Arena::new() {
        Ok(arena) => Some(arena),
        Err(why) => {
            tracing::info!(%why, "media stays on the heap; sending it costs a copy for each viewer");
            None
        }
    });
    made.as_ref()
}

impl Arena {
    fn new() -> Result<Self, String> {
        if let Some(size) = larger_pages() {
            return Err(format!("a huge page is of {size} octets here"));
        }
        let named = |what: &'static str| move |error: io::Errno| format!("{what}: {error}");
        let file = file::memfd_create(c"media", file::MemfdFlags::CLOEXEC)
            .map_err(named("memfd_create"))?;
        file::ftruncate(&file, SIZE as u64).map_err(named("ftruncate"))?;
        // Addresses first, with a block to spare, so that a block of the file is one of memory.
        let (none, flags) = (mm::ProtFlags::empty(), mm::MapFlags::NORESERVE);
        let (anywhere, length) = (std::ptr::null_mut(), SIZE + BLOCK);
        // SAFETY: a new mapping at an address that the kernel chooses; it aliases nothing.
        let room =
            unsafe { mm::mmap_anonymous(anywhere, length, none, flags | mm::MapFlags::PRIVATE) };
        let base = (room.map_err(named("mmap"))? as usize).next_multiple_of(BLOCK);
        let flags = flags | mm::MapFlags::SHARED | mm::MapFlags::FIXED;
        // SAFETY: it takes the place of what was mapped above, which nobody else knows of.
        let mapped = unsafe { mm::mmap(base as _, SIZE, mm::ProtFlags::READ, flags, &file, 0) };
        mapped.map_err(named("mmap"))?;
        let free = Mutex::new(Free(BTreeMap::from([(0, SIZE / BLOCK)])));
        let small = AtomicBool::new(false);
        Ok(Self {
            file,
            base,
            free,
            small,
        })
    }

    /// Blocks for an object of this length.
    fn take(&'static self, length: usize) -> Option<Blocks> {
        let count = length.div_ceil(BLOCK);
        let first = self.free().take(count)?;
        Some(Blocks {
            arena: self,
            first,
            count,
        })
    }

    /// Writes `octets` at this place of the file: through the file, not the mapping, so that no page
    /// has to be mapped only to be filled. `None` if there is no memory.
    fn write(&self, octets: &[u8], at: usize) -> Option<()> {
        let mut written = 0;
        while written < octets.len() {
            match io::pwrite(&self.file, &octets[written..], (at + written) as u64) {
                Ok(0) | Err(io::Errno::INTR) => {}
                Ok(more) => written += more,
                Err(_) => return None,
            }
        }
        Some(())
    }

    /// Makes each of these blocks one page. Where that cannot be they stay many, which is dearer to
    /// send from and nothing else. (Asked for by name it needs no setting of the system.)
    fn collapse(&self, blocks: &Blocks) {
        let at = (self.base + blocks.start()) as *mut libc::c_void;
        // SAFETY: of the mapping above; what is read there is the same before and after.
        let answer = unsafe { libc::madvise(at, blocks.length(), libc::MADV_COLLAPSE) };
        if answer != 0 && !self.small.swap(true, Relaxed) {
            let why = std::io::Error::last_os_error();
            tracing::debug!(%why, "no huge pages for media");
        }
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Free {
    /// The lowest run of `blocks` that is free.
    fn take(&mut self, blocks: usize) -> Option<usize> {
        let (&first, &length) = self.0.iter().find(|(_, length)| **length >= blocks)?;
        self.0.remove(&first);
        if length > blocks {
            self.0.insert(first + blocks, length - blocks);
        }
        Some(first)
    }

    fn give_back(&mut self, mut first: usize, mut blocks: usize) {
        if let Some(after) = self.0.remove(&(first + blocks)) {
            blocks += after;
        }
        if let Some((&before, &length)) = self.0.range(..first).next_back()
            && before + length == first
        {
            (first, blocks) = (before, length + blocks);
        }
        self.0.insert(first, blocks);
    }
}

impl AsRef<[u8]> for Slot {
    fn as_ref(&self) -> &[u8] {
        let address = (self.blocks.arena.base + self.blocks.start() + self.at) as *const u8;
        // SAFETY: the mapping is readable there and stays for as long as the process; it was
        // filled before the slot was handed out, and nothing writes to these octets until the slot
        // is dropped, which the slice does not outlive. No file is truncated below it.
        unsafe { std::slice::from_raw_parts(address, self.length) }
    }
}

impl Blocks {
    fn start(&self) -> usize {
        self.first * BLOCK
    }

    fn length(&self) -> usize {
        self.count * BLOCK
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        let hole = file::FallocateFlags::PUNCH_HOLE | file::FallocateFlags::KEEP_SIZE;
        let (at, length) = (self.start() as u64, self.length() as u64);
        // Where it cannot be punched the pages stay ours: they may be in a socket still.
        if file::fallocate(&self.arena.file, hole, at, length).is_ok() {
            self.arena.free().give_back(self.first, self.count);
        }
    }
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blocks = self.first..self.first + self.count;
        f.debug_tuple("Blocks").field(&blocks).finish()
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena").field("free", &self.free()).finish()
    }
}

/// The size of a huge page, if a block may be but a piece of one: a hole in it would be zeros in place.
fn larger_pages() -> Option<usize> {
    let size = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
    let size = size.ok()?.trim().parse().ok()?;
    (size > BLOCK).then_some(size)
}

static ARENA: OnceLock<Option<Arena>> = OnceLock::new();

/// Addresses, not memory. Every stream's window of an hour would fit; what does not stays on the heap.
const SIZE: usize = 64 << 30;

/// Of a multiple of every page that there may be in it.
const BLOCK: usize = 2 << 20;

/// Where objects begin, so that none shares a small page with another.
const PAGE: usize = 4 << 10;

const SHORT: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// Each says whose it is.
    fn object(fill: u8, length: usize) -> Bytes {
        Bytes::from(vec![fill; length])
    }

    #[test]
    fn what_is_kept_is_the_same_octets_and_lies_in_the_arena() {
        let mut shelf = Shelf::default();
        let octets: Bytes = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let kept = shelf.keep(octets.clone());
        assert_eq!(kept, octets);
        let (_, whole) = locate(&kept).unwrap();
        let (_, part) = locate(&kept.slice(5000..6000)).unwrap();
        assert_eq!(part, whole + 5000);
        assert!(locate(&octets).is_none());
        assert_eq!(
            shelf.keep(kept.clone()).as_ptr(),
            kept.as_ptr(),
            "kept once"
        );
    }

    #[test]
    fn what_is_kept_holds_nothing_of_the_buffer_that_it_came_in() {
        for length in [0, 100, SHORT - 1, SHORT] {
            let buffer = object(1, 256 << 10);
            let kept = Shelf::default().keep(buffer.slice(1000..1000 + length));
            assert_eq!(kept, object(1, length));
            assert!(buffer.is_unique(), "{length} octets hold all of it");
        }
    }

    #[test]
    fn objects_of_one_writer_lie_together_and_each_is_its_own() {
        let mut shelf = Shelf::default();
        let lengths = [5000, BLOCK - 20_000, 9000, 3 * BLOCK + 1, 7000];
        let kept: Vec<_> = (1..)
            .zip(lengths)
            .map(|(fill, length)| shelf.keep(object(fill, length)))
            .collect();
        let places = kept.iter().map(|kept| locate(kept).unwrap().1 as usize);
        let places: Vec<_> = places.map(|place| (place / BLOCK, place % BLOCK)).collect();
        assert_eq!(places[0].0, places[1].0);
        assert_eq!(
            (places[1].1, places[2].1),
            (8192, 0),
            "the third has no room there"
        );
        assert_eq!(places[3].1, 0);
        assert_eq!(places[4].0, places[3].0 + 3, "in what is left");
        for (fill, (kept, length)) in (1..).zip(kept.iter().zip(lengths)) {
            assert_eq!(*kept, object(fill, length));
        }
    }

    #[test]
    fn free_runs_grow_together_again() {
        let mut free = Free(BTreeMap::from([(0, 10)]));
        let taken = [3, 2, 5].map(|pages| free.take(pages).unwrap());
        assert_eq!((taken, free.take(1)), ([0, 3, 5], None));
        free.give_back(0, 3);
        free.give_back(5, 5);
        assert_eq!(free.take(4), Some(5), "three are too few");
        free.give_back(5, 4);
        free.give_back(3, 2);
        assert_eq!(free.0, BTreeMap::from([(0, 10)]));
    }

    /// The promise that sending without a copy rests on: a reader who is slow gets what was sent,
    /// although its place has long been another's.
    #[test]
    fn what_is_in_a_socket_outlives_its_slot() {
        const LENGTH: usize = 200_000;
        let arena: &Arena = Box::leak(Box::new(Arena::new().unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut reader = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (writer, _) = listener.accept().unwrap();
        writer.set_nonblocking(true).unwrap();
        let mut shelf = Shelf::default();
        let slot = shelf.put(arena, &object(b'a', LENGTH)).unwrap();
        let first = slot.blocks.first;
        let (mut offset, mut sent) = (slot.blocks.start() as u64, 0);
        while sent < LENGTH
            && let Ok(more) = file::sendfile(&writer, &arena.file, Some(&mut offset), LENGTH - sent)
        {
            sent += more;
        }
        assert!(sent > 0);
        drop((slot, shelf));
        let other = Shelf::default().put(arena, &object(b'b', LENGTH)).unwrap();
        assert_eq!(other.blocks.first, first, "the same place");
        drop(writer);
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), sent);
        assert!(got.iter().all(|&octet| octet == b'a'));
    }
}
