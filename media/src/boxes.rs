//! Boxes (ISO/IEC 14496-12 section 4.2): walking them, reading their fields, writing them.
//! What a box means is its reader's business.

use std::{fmt, ops::Range};

use crate::Error;

/// The four characters that say what a box is.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Kind(pub [u8; 4]);

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A box in its surroundings.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    pub kind: Kind,
    /// Where it begins among its siblings' octets.
    pub at: usize,
    /// Head and content.
    pub whole: &'a [u8],
    pub content: &'a [u8],
}

impl Found<'_> {
    /// Where the content is among the siblings' octets.
    pub fn content_range(&self) -> Range<usize> {
        let end = self.at + self.whole.len();
        end - self.content.len()..end
    }
}

/// The boxes that `octets` are made of, in order. The first that is not whole ends it, as an error.
pub fn boxes(octets: &[u8]) -> Boxes<'_> {
    Boxes { octets, at: 0 }
}

#[derive(Clone, Debug)]
pub struct Boxes<'a> {
    octets: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Boxes<'a> {
    type Item = Result<Found<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.octets.get(self.at..).filter(|rest| !rest.is_empty())?;
        let found = take(rest, self.at);
        self.at = match &found {
            Ok(found) => self.at + found.whole.len(),
            Err(_) => self.octets.len(),
        };
        Some(found)
    }
}

/// The first box of `octets`, which are at `at` of something.
fn take(octets: &[u8], at: usize) -> Result<Found<'_>, Error> {
    let left = octets.len();
    let Some((size, rest)) = octets.split_first_chunk::<4>() else {
        return Err(Error::Head { at, left });
    };
    let Some((kind, rest)) = rest.split_first_chunk::<4>() else {
        return Err(Error::Head { at, left });
    };
    let kind = Kind(*kind);
    let (head, size) = match u32::from_be_bytes(*size) {
        // To the end of what there is.
        0 => (8, left as u64),
        1 => match rest.first_chunk::<8>() {
            Some(size) => (16, u64::from_be_bytes(*size)),
            None => return Err(Error::Head { at, left }),
        },
        size => (8, u64::from(size)),
    };
    let whole = usize::try_from(size)
        .ok()
        .and_then(|size| octets.get(..size));
    let parts = whole.and_then(|whole| Some((whole, whole.get(head..)?)));
    let (whole, content) = parts.ok_or(Error::Size {
        kind,
        at,
        size,
        left,
    })?;
    Ok(Found {
        kind,
        at,
        whole,
        content,
    })
}

/// The first box of a kind among `octets`, which are the content of an `of`.
pub(crate) fn one<'a>(octets: &'a [u8], of: &[u8; 4], kind: &[u8; 4]) -> Result<&'a [u8], Error> {
    let (of, missing) = (Kind(*of), Kind(*kind));
    maybe(octets, kind)?.ok_or(Error::Missing { of, missing })
}

/// The first box of a kind, if there is one.
pub(crate) fn maybe<'a>(octets: &'a [u8], kind: &[u8; 4]) -> Result<Option<&'a [u8]>, Error> {
    for found in boxes(octets) {
        let found = found?;
        if found.kind.0 == *kind {
            return Ok(Some(found.content));
        }
    }
    Ok(None)
}

/// A box of `kind` around `content`.
pub(crate) fn write(kind: Kind, content: &[u8], to: &mut Vec<u8>) {
    // What is rewritten here was read from a box, and loses octets on the way.
    let size = u32::try_from(content.len() + 8).unwrap_or(0);
    to.extend_from_slice(&size.to_be_bytes());
    to.extend_from_slice(&kind.0);
    to.extend_from_slice(content);
}

/// The fields of a box, one after another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    of: Kind,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(of: &[u8; 4], content: &'a [u8]) -> Self {
        Self {
            of: Kind(*of),
            rest: content,
        }
    }

    fn chunk<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Error> {
        let (chunk, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(Error::Short { of: self.of, field })?;
        self.rest = rest;
        Ok(*chunk)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, Error> {
        Ok(u8::from_be_bytes(self.chunk(field)?))
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, Error> {
        Ok(u16::from_be_bytes(self.chunk(field)?))
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.chunk(field)?))
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, Error> {
        Ok(u64::from_be_bytes(self.chunk(field)?))
    }

    /// The next four octets where a flag says that they are there.
    pub(crate) fn u32_if(
        &mut self,
        there: bool,
        field: &'static str,
    ) -> Result<Option<u32>, Error> {
        there.then(|| self.u32(field)).transpose()
    }

    pub(crate) fn take(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], Error> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(Error::Short { of: self.of, field })?;
        self.rest = rest;
        Ok(taken)
    }

    /// Version and flags of a full box.
    pub(crate) fn full(&mut self) -> Result<(u8, u32), Error> {
        let word = self.u32("version and flags")?;
        Ok(((word >> 24) as u8, word & 0x00ff_ffff))
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_of_all_three_kinds_of_size_are_walked() {
        let mut octets = vec![0, 0, 0, 10, b'a', b'a', b'a', b'a', 1, 2];
        octets.extend_from_slice(&[
            0, 0, 0, 1, b'b', b'b', b'b', b'b', 0, 0, 0, 0, 0, 0, 0, 17, 3,
        ]);
        octets.extend_from_slice(&[0, 0, 0, 0, b'c', b'c', b'c', b'c', 4, 5, 6]);
        let found: Vec<_> = boxes(&octets).map(|found| found.expect("a box")).collect();
        let contents: Vec<_> = found.iter().map(|found| found.content).collect();
        assert_eq!(contents, [&[1, 2][..], &[3], &[4, 5, 6]]);
        for found in found {
            assert_eq!(&octets[found.content_range()], found.content);
        }
    }

    #[test]
    fn what_is_no_box_is_said_with_its_place() {
        let said = |octets: &[u8]| {
            let last = boxes(octets).last().expect("something");
            last.expect_err("no box").to_string()
        };
        assert_eq!(
            said(&[0, 0]),
            "2 octets are left at octet 0, too few for the head of a box"
        );
        assert_eq!(
            said(b"\0\0\0\x08free\0\0\0\x09moov"),
            "box moov at octet 8 says that it is 9 octets long; 8 are left"
        );
        assert_eq!(
            said(b"\0\0\0\x07\xffoov"),
            "box \\xffoov at octet 0 says that it is 7 octets long; 8 are left"
        );
    }
}
