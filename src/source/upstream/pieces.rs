//! A whole segment of a node, taken apart into the parts that it was made of.
//!
//! What was complete before a relay came is fetched whole: one request instead of one for each part. Players by parts want
//! to find parts before the newest segment too (RFC 8216bis section 6.2.2 keeps them for three target durations; hls.js asks
//! for a part only when those listed begin well before the end of its buffer), else who comes to a relay that has just
//! started waits with an empty buffer until the open segment is complete.

use std::ops::Range;

use bytes::Bytes;
use media::boxes::boxes;
use playlists::{Init, MediaTime};

use super::rung::Share;

/// What each rung that is followed brought of one part, and each sound.
pub(super) type Shares = (Vec<Option<Share>>, Vec<Share>);

/// The parts of a whole segment; `None` of one that cannot be taken apart the same way in all rungs and sounds, or whose
/// parts would not be what a playlist with this part target may list.
pub(super) fn pieces(whole: &Shares, init: &Init, part: MediaTime) -> Option<Vec<Shares>> {
    let (rungs, sounds) = whole;
    let lead = rungs.first()?.as_ref().filter(|lead| lead.whole)?;
    let init = media::Init::parse(&init.media).ok()?;
    let rungs: Vec<_> = rungs.iter().map(|rung| rung.as_ref().map(cut)).collect();
    let sounds: Vec<_> = sounds.iter().map(cut).collect();
    let count = rungs.first()?.as_ref()?.1.len();
    let mut all = rungs.iter().flatten().chain(&sounds);
    if count < 2 || all.any(|(_, cuts)| cuts.len() != count) {
        return None;
    }
    let mut length = MediaTime::ZERO;
    let mut parts = Vec::with_capacity(count);
    for index in 0..count {
        let last = index + 1 == count;
        let piece = |(share, cuts): &Cut<'_>, duration, independent| Share {
            part: index,
            whole: false,
            duration,
            independent,
            last: share.last && last,
            segment: share.segment.clone(),
            gap: share.gap,
            media: share.media.slice(cuts[index].clone()),
        };
        // As long as it is in the first, which leads.
        let mut duration = None;
        let mut here = Vec::with_capacity(rungs.len());
        for rung in &rungs {
            here.push(match rung {
                Some(rung) => {
                    let (share, cuts) = rung;
                    let (long, independent) = measured(&share.media[cuts[index].clone()], &init)?;
                    Some(piece(rung, *duration.get_or_insert(long), independent))
                }
                None => None,
            });
        }
        let duration = duration.filter(|long| may_be_listed(*long, part, last))?;
        length += duration;
        let beside = sounds.iter().map(|sound| piece(sound, duration, true));
        parts.push((here, beside.collect()));
    }
    ((length - lead.duration).seconds().abs() < ROUNDING).then_some(parts)
}

/// What came whole, and where it is cut.
type Cut<'a> = (&'a Share, Vec<Range<usize>>);

fn cut(share: &Share) -> Cut<'_> {
    (share, cuts(&share.media))
}

/// Where each fragment is, with what stands before it. Nothing, if these are no boxes.
fn cuts(octets: &Bytes) -> Vec<Range<usize>> {
    let mut cuts: Vec<Range<usize>> = Vec::new();
    let mut from = 0;
    for found in boxes(octets) {
        let Ok(found) = found else {
            return Vec::new();
        };
        if found.kind.0 == *b"mdat" {
            let end = found.at + found.whole.len();
            cuts.push(from..end);
            from = end;
        }
    }
    if let Some(last) = cuts.last_mut() {
        last.end = octets.len();
    }
    cuts
}

/// How long a fragment's pictures last, or its sound if there are none, and whether it can be decoded by itself.
fn measured(octets: &[u8], init: &media::Init) -> Option<(MediaTime, bool)> {
    let fragments = media::fragments(octets, init).ok()?;
    let [fragment] = &fragments[..] else {
        return None;
    };
    let pictures = init.video().map(|(track, _)| track.id);
    let run = fragment.runs.iter().find(|run| Some(run.track) == pictures);
    let run = run.or(fragment.runs.first())?;
    let ticks = i64::try_from(run.end().checked_sub(run.start)?).ok()?;
    let timescale = init.track(run.track)?.timescale;
    let independent = run.samples.first()?.sync;
    (timescale > 0).then(|| (MediaTime::from_ticks(ticks, timescale), independent))
}

/// None is longer than the part target, and none but a segment's last is much shorter (RFC 8216bis section 4.4.4.9).
fn may_be_listed(duration: MediaTime, target: MediaTime, last: bool) -> bool {
    let (duration, target) = (duration.seconds(), target.seconds());
    duration <= target + ROUNDING && (last || duration >= target * SHORTEST)
}

/// Lengths in playlists are rounded; in seconds.
const ROUNDING: f64 = 0.001;

/// Of the part target.
const SHORTEST: f64 = 0.85;

#[cfg(test)]
mod tests {
    use playlists::{Epoch, parse::ListedSegment};

    use super::*;

    /// One segment of 1.6 s in parts of 0.4 s, in two rungs.
    const INIT: &[u8] = include_bytes!("../../../media/tests/data/init.mp4");
    const LOW: &[u8] = include_bytes!("../../../media/tests/data/low.m4s");
    const HIGH: &[u8] = include_bytes!("../../../media/tests/data/high.m4s");

    fn seconds(seconds: f64) -> MediaTime {
        MediaTime::from_seconds(seconds)
    }

    fn init() -> Init {
        Init {
            epoch: Epoch(1),
            media: Bytes::from_static(INIT),
            renditions: vec![],
        }
    }

    fn share(media: &'static [u8]) -> Share {
        Share {
            part: 0,
            whole: true,
            segment: ListedSegment::default(),
            duration: seconds(1.6),
            independent: true,
            last: true,
            gap: false,
            media: Bytes::from_static(media),
        }
    }

    #[test]
    fn a_whole_segment_comes_apart_the_same_way_in_every_rung_and_loses_nothing() {
        let whole = (vec![Some(share(LOW)), None, Some(share(HIGH))], vec![]);
        let parts = pieces(&whole, &init(), seconds(0.4)).unwrap();
        assert_eq!(parts.len(), 4);
        for (place, media) in [(0, LOW), (2, HIGH)] {
            let shares = parts
                .iter()
                .map(|(rungs, _)| rungs[place].as_ref().unwrap());
            let shares: Vec<_> = shares.collect();
            let octets: Vec<u8> = shares
                .iter()
                .flat_map(|share| share.media.to_vec())
                .collect();
            assert!(octets == media);
            let told = shares.iter().enumerate().all(|(index, share)| {
                (share.part, share.whole, share.last) == (index, false, index == 3)
            });
            assert!(told);
            let open: Vec<_> = shares.iter().map(|share| share.independent).collect();
            assert_eq!(open, [true, false, false, false]);
        }
        assert!(parts.iter().all(|(rungs, _)| rungs[1].is_none()));
        let length: MediaTime = parts
            .iter()
            .map(|(rungs, _)| rungs[0].as_ref().unwrap().duration)
            .sum();
        assert!((length - seconds(1.6)).seconds().abs() < ROUNDING);
    }

    #[test]
    fn what_is_not_made_of_such_parts_in_all_rungs_stays_whole() {
        let both = |high| (vec![Some(share(LOW)), Some(share(high))], vec![]);
        let third = cuts(&Bytes::from_static(HIGH))[2].end;
        for (whole, part, why) in [
            (both(&HIGH[..third]), 0.4, "a part is missing in one rung"),
            (both(HIGH), 0.3, "parts are longer than the target"),
            (both(HIGH), 0.8, "parts are much shorter than the target"),
            (both(b"no boxes"), 0.4, "one is nothing that can be read"),
        ] {
            assert!(pieces(&whole, &init(), seconds(part)).is_none(), "{why}");
        }
        let mut came = both(HIGH);
        came.0[0].as_mut().unwrap().whole = false;
        assert!(
            pieces(&came, &init(), seconds(0.4)).is_none(),
            "it is a part"
        );
    }
}
