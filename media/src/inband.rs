//! Parameter sets put into a segment, before its first picture: so that segments of rungs that were made with
//! an init section each can follow one another under one.
//!
//! Only the segment's first fragment changes: the sample grows, and what lies behind it moves. The init section that
//! suits is `rung`'s business.

use crate::{
    Error, Init, Kind,
    avc::{Config, kind, unit},
    boxes::{self, Fields, Found, boxes, one},
    fragments,
};

/// `segment`, made with the init section `init`, with the parameter sets of that in band. One that has them
/// already, or does not begin with a key frame, is as it was.
pub fn in_band(init: &Init, segment: &[u8]) -> Result<Vec<u8>, Error> {
    let (track, config) = init.video().ok_or(Error::NoTrack { wanted: "H.264" })?;
    let first = fragments(segment, init)?.into_iter().next();
    let first = first.and_then(|fragment| {
        let run = fragment
            .runs
            .into_iter()
            .find(|run| run.track == track.id)?;
        let sizes = run.samples.iter().map(|sample| sample.data.len());
        let (sizes, first) = (sizes.collect(), run.samples.into_iter().next()?);
        first.sync.then_some((first.data.start, first.data, sizes))
    });
    let Some((at, data, sizes)) = first else {
        return Ok(segment.to_vec());
    };
    let picture = segment.get(data).ok_or(Error::NoKeyFrame)?;
    if begins_with_sets(config, picture)? {
        return Ok(segment.to_vec());
    }
    let insert = Insert {
        track: track.id,
        at,
        sets: sets(config),
        sizes,
    };
    insert.into_segment(segment)
}

fn begins_with_sets(config: &Config, picture: &[u8]) -> Result<bool, Error> {
    let mut units = config.units(picture).filter(|unit| {
        !unit
            .as_ref()
            .is_ok_and(|unit| kind(unit) == unit::DELIMITER)
    });
    Ok(match units.next() {
        Some(first) => kind(first?) == unit::SPS,
        None => false,
    })
}

/// All of the record's, each behind its length.
fn sets(config: &Config) -> Vec<u8> {
    let mut all = Vec::new();
    for set in config.sps.iter().chain(&config.pps) {
        let length = (set.len() as u32).to_be_bytes();
        all.extend_from_slice(&length[4 - config.length_size.clamp(1, 4)..]);
        all.extend_from_slice(set);
    }
    all
}

struct Insert {
    track: u32,
    /// Where in the segment.
    at: usize,
    sets: Vec<u8>,
    /// Of the samples of the track in the fragment, as they were.
    sizes: Vec<usize>,
}

impl Insert {
    fn into_segment(self, segment: &[u8]) -> Result<Vec<u8>, Error> {
        let mut whole = Vec::with_capacity(segment.len() + self.sets.len() + 64);
        let (mut moof, mut done) = (None, false);
        for found in boxes(segment) {
            let found = found?;
            match &found.kind.0 {
                // Its sizes would be wrong; it may be left out.
                b"sidx" => {}
                b"moof" if moof.is_none() && !done => moof = Some(found),
                b"mdat" if !done => {
                    let range = found.content_range();
                    let head = moof.take().ok_or(Error::Missing {
                        of: Kind(*b"mdat"),
                        missing: Kind(*b"moof"),
                    })?;
                    let inside = self
                        .at
                        .checked_sub(range.start)
                        .and_then(|at| found.content.split_at_checked(at));
                    let (before, after) = inside.ok_or(Error::NoKeyFrame)?;
                    let head_size = found.whole.len() - found.content.len();
                    // Once to know how much it grows, once to say so.
                    let moved = 8 - head_size as i64;
                    let grown = self.moof(&head, moved)?.len() as i64 - head.whole.len() as i64;
                    whole.extend_from_slice(&self.moof(&head, moved + grown)?);
                    boxes::write(
                        found.kind,
                        &[before, &self.sets, after].concat(),
                        &mut whole,
                    );
                    done = true;
                }
                _ => whole.extend_from_slice(found.whole),
            }
        }
        Ok(whole)
    }

    /// The `moof`, for data that has moved so far from its beginning.
    fn moof(&self, moof: &Found<'_>, moved: i64) -> Result<Vec<u8>, Error> {
        let mut content = Vec::with_capacity(moof.content.len());
        let mut is_first = true;
        for found in boxes(moof.content) {
            let found = found?;
            if found.kind.0 != *b"traf" {
                content.extend_from_slice(found.whole);
                continue;
            }
            let mut tfhd = Fields::new(b"tfhd", one(found.content, b"traf", b"tfhd")?);
            let (_, flags) = tfhd.full()?;
            let mine = tfhd.u32("the id of the track")? == self.track;
            // Else its offsets count from the end of what is before it, which moves as well.
            let from_moof = is_first || flags & 0x02_0000 != 0;
            is_first = false;
            let traf = self.traf(&found, mine, from_moof.then_some((moof.at, moved)))?;
            boxes::write(found.kind, &traf, &mut content);
        }
        let mut whole = Vec::with_capacity(content.len() + 8);
        boxes::write(moof.kind, &content, &mut whole);
        Ok(whole)
    }

    fn traf(
        &self,
        traf: &Found<'_>,
        mine: bool,
        moved: Option<(usize, i64)>,
    ) -> Result<Vec<u8>, Error> {
        let mut content = Vec::with_capacity(traf.content.len());
        let mut sizes = self.sizes.iter();
        let mut grows = mine;
        for found in boxes(traf.content) {
            let found = found?;
            if found.kind.0 != *b"trun" {
                content.extend_from_slice(found.whole);
                continue;
            }
            let mut fields = Fields::new(b"trun", found.content);
            let (version, flags) = fields.full()?;
            let count = fields.u32("the number of samples")?;
            let written = if mine { flags | 0x200 } else { flags };
            let mut trun = (u32::from(version) << 24 | written).to_be_bytes().to_vec();
            trun.extend_from_slice(&count.to_be_bytes());
            if let Some(offset) = fields.u32_if(flags & 0x1 != 0, "the offset of its data")? {
                let offset = i64::from(offset as i32);
                let offset = offset
                    + moved.map_or(0, |(moof, moved)| {
                        let behind = moof as i64 + offset > self.at as i64;
                        moved + if behind { self.sets.len() as i64 } else { 0 }
                    });
                trun.extend_from_slice(&(offset as i32).to_be_bytes());
            }
            let first = fields.u32_if(flags & 0x4 != 0, "the flags of the first sample")?;
            trun.extend(first.map(u32::to_be_bytes).iter().flatten());
            if !mine {
                trun.extend_from_slice(fields.rest());
                boxes::write(found.kind, &trun, &mut content);
                continue;
            }
            for _ in 0..count {
                let duration = fields.u32_if(flags & 0x100 != 0, "a sample's duration")?;
                fields.u32_if(flags & 0x200 != 0, "a sample's size")?;
                let own = fields.u32_if(flags & 0x400 != 0, "a sample's flags")?;
                let offset = fields.u32_if(flags & 0x800 != 0, "a sample's offset")?;
                let size = sizes.next().copied().unwrap_or(0);
                let size = size + if grows { self.sets.len() } else { 0 };
                grows = false;
                let size = Some(u32::try_from(size).unwrap_or(0));
                let row = [duration, size, own, offset].into_iter().flatten();
                row.for_each(|value| trun.extend_from_slice(&value.to_be_bytes()));
            }
            boxes::write(found.kind, &trun, &mut content);
        }
        Ok(content)
    }
}
