//! A file's octets as memory, and having them there before somebody touches them. What is in the
//! file is not known here.

#![allow(
    unsafe_code,
    reason = "mapping a file and madvise(2) have no safe form"
)]

use std::{fs::File, io};

use bytes::Bytes;

/// The octets of `file`, shared with the page cache: they take no memory of this process.
///
/// The file must never be written again; `archive` writes it under another name and renames it. Deleting it
/// is no harm, the octets stay until the last reader is gone.
pub(super) fn map(file: &File) -> io::Result<Bytes> {
    // SAFETY: nobody here changes or shortens a file after it has its name, and the folder is
    // locked against a second node. Should somebody else shorten one, or the disk fail, `populate`
    // answers with an error where a first touch would end the process; it is asked before each use.
    let map = unsafe { memmap2::Mmap::map(file) }?;
    Ok(Bytes::from_owner(map))
}

/// Waits until `octets` are in memory, so that whoever reads them next waits for no disk; an error if they
/// cannot be read. For a thread that may block.
pub fn populate(octets: &[u8]) -> io::Result<()> {
    if octets.is_empty() {
        return Ok(());
    }
    // SAFETY: sysconf has no preconditions.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
    let start = octets.as_ptr().addr() / page * page;
    let length = octets.as_ptr().addr() + octets.len() - start;
    let start = octets.as_ptr().with_addr(start).cast_mut().cast();
    // SAFETY: the range lies within pages of one mapping, which `octets` keeps alive, and
    // MADV_POPULATE_READ changes nothing that can be seen in it.
    let done = unsafe { libc::madvise(start, length, libc::MADV_POPULATE_READ) };
    if done == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // A kernel before 5.14 knows no such advice: whoever reads first waits, as everywhere else.
        Some(libc::EINVAL) => Ok(()),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_was_cut_off_behind_our_back_is_an_error_and_no_signal() {
        let path = std::env::temp_dir().join(format!("spillway-map-{}", std::process::id()));
        let mut file = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        file.write_all(&vec![7; 100_000]).unwrap();
        let octets = map(&file).unwrap();
        std::fs::remove_file(&path).unwrap();
        populate(&octets[5000..90_000]).unwrap();
        assert!(octets.iter().all(|octet| *octet == 7));
        file.set_len(10_000).unwrap();
        populate(&octets[..8000]).unwrap();
        assert!(populate(&octets[50_000..]).is_err());
        populate(&[]).unwrap();
    }
}
