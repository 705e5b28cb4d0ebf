//! Media in pages that the kernel can send without a copy: one arena for the process, backed by an
//! anonymous file, so that what lies in it can go to any number of sockets by `sendfile(2)`.
//! What is kept, and for how long, is the business of whoever holds the [`Bytes`]; nothing here is
//! needed for them to be right, only for them to be cheap.
//!
//! Pages on their way through a socket must never be written to again, whoever lets go of the
//! octets meanwhile. So a slot that is freed is taken out of the file (a hole is punched), which
//! leaves its pages to the sockets that still hold them, and the next object there gets new ones.
//! That takes slots of whole pages, and pages that are never part of a larger one: where the
//! system is set up to use huge pages for shared memory, a hole may be zeros in place, and
//! everything stays on the heap.

#![allow(
    unsafe_code,
    reason = "a mapping of the arena, and slices of it, have no safe form"
)]

use std::{
    collections::BTreeMap,
    fmt, fs,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::{Mutex, OnceLock, PoisonError},
};

use bytes::Bytes;
use rustix::{fs as file, io, mm};

/// The same octets where they are cheap to send, if there is room for them; a copy, once per
/// object. Short ones are cheaper to copy for each viewer than to look up.
pub fn keep(octets: Bytes) -> Bytes {
    if octets.len() < SHORT || locate(&octets).is_some() {
        return octets;
    }
    match arena().and_then(|arena| arena.keep(&octets)) {
        Some(slot) => Bytes::from_owner(slot),
        None => octets,
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
    /// Address of the mapping, which stays for as long as the process.
    base: usize,
    /// The system's: a hole of less than a page would be zeros in place.
    page: usize,
    free: Mutex<Free>,
}

/// Pages that nobody has: the first of each run, and how many.
#[derive(Debug)]
struct Free(BTreeMap<usize, usize>);

/// One object in the arena. Only this keeps its pages from being given to another.
struct Slot {
    arena: &'static Arena,
    first: usize,
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
        if let Some(setting) = huge_pages() {
            return Err(format!("{setting} makes huge pages of shared memory"));
        }
        let named = |what: &'static str| move |error: io::Errno| format!("{what}: {error}");
        let file = file::memfd_create(c"media", file::MemfdFlags::CLOEXEC)
            .map_err(named("memfd_create"))?;
        file::ftruncate(&file, SIZE as u64).map_err(named("ftruncate"))?;
        // SAFETY: a new mapping at an address that the kernel chooses; it aliases nothing.
        let base = unsafe {
            mm::mmap(
                std::ptr::null_mut(),
                SIZE,
                mm::ProtFlags::READ,
                mm::MapFlags::SHARED | mm::MapFlags::NORESERVE,
                &file,
                0,
            )
        };
        let base = base.map_err(named("mmap"))? as usize;
        let page = rustix::param::page_size();
        let free = Mutex::new(Free(BTreeMap::from([(0, SIZE / page)])));
        Ok(Self {
            file,
            base,
            page,
            free,
        })
    }

    /// `None` if there is no room, or no memory.
    fn keep(&'static self, octets: &[u8]) -> Option<Slot> {
        let length = octets.len();
        let first = self.free().take(length.div_ceil(self.page))?;
        let slot = Slot {
            arena: self,
            first,
            length,
        };
        // Written through the file, not the mapping: no page has to be mapped only to be filled.
        let mut written = 0;
        while written < length {
            let at = (first * self.page + written) as u64;
            match io::pwrite(&self.file, &octets[written..], at) {
                Ok(0) | Err(io::Errno::INTR) => {}
                Ok(more) => written += more,
                Err(_) => return None,
            }
        }
        Some(slot)
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Free {
    /// The lowest run of `pages` that is free.
    fn take(&mut self, pages: usize) -> Option<usize> {
        let (&first, &length) = self.0.iter().find(|(_, length)| **length >= pages)?;
        self.0.remove(&first);
        if length > pages {
            self.0.insert(first + pages, length - pages);
        }
        Some(first)
    }

    fn give_back(&mut self, mut first: usize, mut pages: usize) {
        if let Some(after) = self.0.remove(&(first + pages)) {
            pages += after;
        }
        if let Some((&before, &length)) = self.0.range(..first).next_back()
            && before + length == first
        {
            (first, pages) = (before, length + pages);
        }
        self.0.insert(first, pages);
    }
}

impl AsRef<[u8]> for Slot {
    fn as_ref(&self) -> &[u8] {
        let address = (self.arena.base + self.first * self.arena.page) as *const u8;
        // SAFETY: the mapping is readable there and stays for as long as the process; it was
        // filled before the slot was handed out, and nothing writes to these pages until the slot
        // is dropped, which the slice does not outlive. No file is truncated below it.
        unsafe { std::slice::from_raw_parts(address, self.length) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let page = self.arena.page;
        let pages = self.length.div_ceil(page);
        let hole = file::FallocateFlags::PUNCH_HOLE | file::FallocateFlags::KEEP_SIZE;
        let (at, length) = ((self.first * page) as u64, (pages * page) as u64);
        // Where it cannot be punched the pages stay ours: they may be in a socket still.
        if file::fallocate(&self.arena.file, hole, at, length).is_ok() {
            self.arena.free().give_back(self.first, pages);
        }
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena").field("free", &self.free()).finish()
    }
}

/// The setting under which shared memory gets huge pages without having asked for them.
fn huge_pages() -> Option<String> {
    const ROOT: &str = "/sys/kernel/mm/transparent_hugepage";
    let sizes = fs::read_dir(ROOT).into_iter().flatten().flatten();
    let settings = sizes.map(|size| size.path().join("shmem_enabled"));
    let settings = settings.chain([format!("{ROOT}/shmem_enabled").into()]);
    let mut set = settings.filter(|setting| {
        let text = fs::read_to_string(setting).unwrap_or_default();
        ["[always]", "[within_size]", "[force]"]
            .iter()
            .any(|huge| text.contains(huge))
    });
    set.next().map(|setting| setting.display().to_string())
}

static ARENA: OnceLock<Option<Arena>> = OnceLock::new();

/// Addresses, not memory. Every stream's window of an hour would fit; what does not stays on the heap.
const SIZE: usize = 64 << 30;

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
        let octets: Bytes = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let kept = keep(octets.clone());
        assert_eq!(kept, octets);
        let (_, whole) = locate(&kept).unwrap();
        let (_, part) = locate(&kept.slice(5000..6000)).unwrap();
        assert_eq!(part, whole + 5000);
        assert!(locate(&octets).is_none());
        assert_eq!(keep(kept.clone()).as_ptr(), kept.as_ptr(), "kept once");
        let short = object(1, 100);
        assert_eq!(keep(short.clone()).as_ptr(), short.as_ptr());
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
        let slot = arena.keep(&object(b'a', LENGTH)).unwrap();
        let (first, mut sent) = (slot.first, 0);
        let mut offset = (first * arena.page) as u64;
        while sent < LENGTH
            && let Ok(more) = file::sendfile(&writer, &arena.file, Some(&mut offset), LENGTH - sent)
        {
            sent += more;
        }
        assert!(sent > 0);
        drop(slot);
        let other = arena.keep(&object(b'b', LENGTH)).unwrap();
        assert_eq!(other.first, first, "the same place");
        drop(writer);
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), sent);
        assert!(got.iter().all(|&octet| octet == b'a'));
    }
}
