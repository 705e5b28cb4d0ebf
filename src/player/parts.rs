//! Playing by parts (RFC 8216bis appendix B.1): where to begin, which piece is next, what to ask a playlist for.
//!
//! A look at a [`List`]; what was fetched and when is the session's to know.

use playlists::{
    MediaTime,
    parse::{ListedPart, ListedSegment},
};

use super::list::List;

/// A place in a stream: before part `part` of segment `number`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Spot {
    pub(super) number: u64,
    pub(super) part: usize,
}

/// What there is at a spot.
#[derive(Debug, PartialEq)]
pub(super) enum Piece<'a> {
    /// A segment whose parts are listed no more.
    Segment(&'a ListedSegment),
    Part(&'a ListedSegment, &'a ListedPart),
    /// It comes next, and whoever asks for it waits until it is there.
    Hinted(&'a str),
    /// Nothing yet.
    Nothing,
}

impl Spot {
    /// The beginning of segment `number`.
    pub(super) fn of(number: u64) -> Self {
        Self { number, part: 0 }
    }
}

impl List {
    pub(super) fn has_parts(&self) -> bool {
        self.playlist.part_target.is_some()
    }

    /// The latest part that can be begun with, and that begins a `PART-HOLD-BACK` before the end.
    pub(super) fn start_by_parts(&self) -> Option<Spot> {
        let hold_back = self
            .playlist
            .part_hold_back
            .filter(|_| !self.playlist.ended);
        let (hold_back, mut behind) = (hold_back?, MediaTime::ZERO);
        for segment in self.playlist.segments.iter().rev() {
            for (index, part) in segment.parts.iter().enumerate().rev() {
                behind += part.duration;
                if behind >= hold_back && (part.independent || index == 0) {
                    return Some(Spot {
                        number: segment.number,
                        part: index,
                    });
                }
            }
        }
        None
    }

    /// What is at `spot`, or at the beginning of the next segment if it is at the end of one.
    pub(super) fn piece(&self, spot: Spot) -> (Spot, Piece<'_>) {
        let (mut spot, mut found) = (spot, self.listed(spot.number));
        // Of a segment that was begun and has lost its parts by now, the rest cannot be had alone.
        if let Some(segment) = found
            && segment.uri.is_some()
            && spot.part > 0
            && spot.part >= segment.parts.len()
        {
            spot = Spot::of(spot.number + 1);
            found = self.listed(spot.number);
        }
        let piece = match found {
            Some(segment) => match segment.parts.get(spot.part) {
                Some(part) => Piece::Part(segment, part),
                None if segment.uri.is_some() => Piece::Segment(segment),
                None => self.hinted(),
            },
            None if Some(spot) == self.following() => self.hinted(),
            None => Piece::Nothing,
        };
        (spot, piece)
    }

    fn hinted(&self) -> Piece<'_> {
        let hint = self.playlist.hint.as_deref();
        hint.map_or(Piece::Nothing, Piece::Hinted)
    }

    /// The spot behind all that is listed.
    pub(super) fn following(&self) -> Option<Spot> {
        let last = self.playlist.segments.last()?;
        Some(match last.uri {
            Some(_) => Spot::of(last.number + 1),
            None => Spot {
                number: last.number,
                part: last.parts.len(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Segments 7 and 8 of two parts, and the first of 9.
    fn list() -> List {
        let text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.5\n\
            #EXT-X-PART-INF:PART-TARGET=0.5\n#EXT-X-MEDIA-SEQUENCE:6\n#EXTINF:1,\n6.m4s\n\
            #EXT-X-PART:DURATION=0.5,URI=\"7.0\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.5,URI=\"7.1\"\n#EXTINF:1,\n7.m4s\n\
            #EXT-X-PART:DURATION=0.5,URI=\"8.0\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.5,URI=\"8.1\"\n#EXTINF:1,\n8.m4s\n\
            #EXT-X-PART:DURATION=0.5,URI=\"9.0\",INDEPENDENT=YES\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"9.1\"\n";
        let url = "http://node.test/i.m3u8".parse().unwrap();
        List::new(
            playlists::parse::media(text).unwrap(),
            url,
            Instant::now(),
            None,
        )
    }

    fn at(number: u64, part: usize) -> Spot {
        Spot { number, part }
    }

    #[test]
    fn playing_begins_with_a_part_that_can_be_begun_with_and_is_far_enough_behind() {
        assert_eq!(list().start_by_parts(), Some(at(8, 0)));
        let mut few = list();
        few.playlist.part_hold_back = Some(MediaTime::from_seconds(9.0));
        assert_eq!(few.start_by_parts(), None);
    }

    #[test]
    fn each_spot_has_a_part_a_segment_the_hint_or_nothing_yet() {
        let list = list();
        let uri = |spot| match list.piece(spot) {
            (_, Piece::Segment(segment)) => segment.uri.as_deref(),
            (_, Piece::Part(_, part)) => Some(part.uri.as_str()),
            (_, Piece::Hinted(uri)) => Some(uri),
            (_, Piece::Nothing) => None,
        };
        let found = [at(6, 0), at(7, 1), at(7, 2), at(9, 0), at(9, 1), at(10, 0)];
        let expected = [
            Some("6.m4s"),
            Some("7.1"),
            Some("8.0"),
            Some("9.0"),
            Some("9.1"),
            None,
        ];
        assert_eq!(found.map(uri), expected);
        assert_eq!(list.following(), Some(at(9, 1)));
    }
}
