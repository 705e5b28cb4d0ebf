//! What is to be decided when a viewer asks for a segment: what the stream has to offer, within the
//! bounds that the node and the viewer's own wishes set. Deciding is `adaptation`'s business.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use adaptation::{Hint, Offer, Part};
use playlists::{Bitrate, MediaTime, Segment};

use super::{Origin, explain::Laid, profile::Choosing, seat::Seat};
use crate::store::{Published, Table};

/// What a viewer asks for, and under what limits.
#[derive(Debug)]
pub struct Ask<'a> {
    pub offer: Offer<'a>,
    pub ceiling: usize,
    /// The congestion price.
    pub price: f32,
    /// The rungs, a bit each, that have to be fetched first, and how long that usually takes.
    pub absent: u16,
    pub wait: Duration,
    /// The dearest rung on offer is the one that the viewer named, whatever its path.
    pub fixed: bool,
    /// When the node's egress was last shared out; `None` if there is enough for everybody.
    pub shared: Option<Instant>,
    /// What another node knew of this viewer's path, should it be new here.
    pub known: Option<Bitrate>,
    /// Three target durations: how long a silence ends the viewing.
    pub patience: Duration,
    /// Of a viewer whose rungs are chosen when they are listed: which one the playlist said.
    pub listed: Option<usize>,
    /// What a player chose that adapts by itself.
    pub taken: Option<usize>,
    /// What the offer was made from, for decisions that are kept.
    pub table: Option<&'a Arc<Table>>,
    /// What the player says of itself.
    pub hint: Option<Hint>,
    /// The path to the viewer is one that we see.
    pub measured: bool,
    /// All of it is asked for, not what is missing.
    pub whole: bool,
    /// The place of its class; see [`Weights`](super::weights::Weights).
    pub place: u8,
}

/// What whoever asks brings along.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Brought {
    /// What another node measured to this viewer.
    pub known: Option<Bitrate>,
    /// The rung that the playlist listed, where that is when it is chosen.
    pub listed: Option<usize>,
    /// The rung that a player chose that adapts by itself.
    pub taken: Option<usize>,
    /// What the player says of itself.
    pub hint: Option<Hint>,
    /// The path to the viewer is one that we see.
    pub measured: bool,
    /// Which part of the segment is asked for.
    pub part: Option<usize>,
    /// All of it is asked for, not what is missing.
    pub whole: bool,
    /// The place of its class.
    pub place: u8,
}

/// What choices of the rung of `segment` rest on, if it is not what `window` has for all that is live.
pub(super) fn past(window: &Published, segment: &Segment) -> Option<Arc<Table>> {
    if !window.is_past(segment.number()) {
        return None;
    }
    let first = segment.number();
    let held = (first..first + LOOKED_AT).map_while(|number| window.segment(number));
    let held: Vec<_> = held.filter(|segment| segment.complete).collect();
    let rows: Vec<_> = held.iter().map(|segment| &***segment).collect();
    let behind = rows.last().zip(window.edge()).map(|(last, edge)| {
        let end = last.head.date_time.later(last.duration());
        MediaTime::from_ticks(edge.millis() - end.millis(), 1000)
    });
    let behind = behind.unwrap_or_default().max(MediaTime::ZERO);
    let table = Table::past(window, &rows, behind, window.expected());
    Some(Arc::new(table))
}

/// What is to be decided for a viewer: the rung of `segment`, of which `table` knows what there is.
///
/// Of a segment that is still open nobody knows the size; what it is expected to take is offered.
pub(super) fn ask<'a>(
    origin: &Origin,
    seat: &Seat,
    window: &Published,
    segment: &Segment,
    table: &'a Arc<Table>,
    brought: Brought,
) -> Ask<'a> {
    let (format, profile) = (window.format(), &seat.viewer.profile);
    let most = profile.most(&format.ladder);
    let laid = Laid::out(table, segment.number(), most + 1);
    let most = laid.sizes.rungs().saturating_sub(1);
    let duration = if segment.complete {
        segment.duration()
    } else {
        format.segment.max(segment.duration())
    };
    let share = origin.share.load();
    let ceiling = share.ceiling(seat.stream.as_str(), brought.place, seat.viewer.key);
    let taken = brought.taken.map(|rung| rung.min(most));
    Ask {
        offer: Offer {
            number: segment.number(),
            // Who adapts by itself has its rung by name.
            part: brought
                .part
                .filter(|_| taken.is_none())
                .map(|part| offered(window, segment, table, part)),
            sizes: laid.sizes,
            expected: laid.expected,
            duration,
            ahead: laid.ahead,
            quality: laid.worth,
            pictures: laid.pictures,
            lost: Duration::from_millis(u64::from(profile.lost) * 100),
            start: 1.min(most),
        },
        ceiling: ceiling.min(most),
        price: share.price() as f32,
        // Who adapts by itself has its rung by name.
        absent: if taken.is_some() {
            0
        } else {
            absent(segment, brought.part)
        },
        wait: window.supply().takes(),
        fixed: profile.fixed(&format.ladder).is_some(),
        shared: share.at,
        known: brought.known,
        patience: format.patience(),
        listed: brought
            .listed
            .filter(|_| profile.choosing == Choosing::AtListing),
        taken,
        table: Some(table),
        hint: brought.hint,
        measured: brought.measured,
        whole: brought.whole,
        place: brought.place,
    }
}

/// The rungs of `segment`, or of one of its parts, that are not here, a bit each.
fn absent(segment: &Segment, part: Option<usize>) -> u16 {
    let part = part.and_then(|part| segment.parts.get(part));
    let lacks = |rung: &usize| match part {
        Some(part) => part.lacks(*rung),
        None => segment.lacks(*rung),
    };
    let rungs = (0..segment.rungs().min(16)).filter(lacks);
    rungs.fold(0, |absent, rung| absent | 1 << rung)
}

/// What there is of `segment` from one of its parts on.
fn offered(window: &Published, segment: &Segment, table: &Table, part: usize) -> Part {
    let (format, there) = (window.format(), segment.parts.len());
    let of = if segment.complete {
        there
    } else {
        let usual = format.segment.seconds() / format.part.seconds().max(f64::EPSILON);
        there.max(usual.round() as usize)
    };
    Part {
        index: small(part),
        of: small(of),
        there: small(there.saturating_sub(part).max(1)),
        open: small(segment.parts.get(part).map_or(0, |part| part.open)),
        later: small(table.open()),
    }
}

/// No segment has more parts, and no ladder more rungs.
pub(super) fn small(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}

/// As many segments as any rule looks at.
const LOOKED_AT: u64 = 5;
