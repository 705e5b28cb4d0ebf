//! The init section of one rung, made from the one that all rungs share.
//!
//! The shared one holds every rung's parameter sets under ids of their own and says the size of the
//! largest. A player that is told of a change (`EXT-X-MAP` at each switch) is better told the truth:
//! the parameter sets of this rung alone, and its size.

use crate::{
    Coding, Error, Init, Kind, avc,
    boxes::{self, Found, boxes},
    fragments,
    init::{VISUAL_HEAD, VISUAL_SIZE_AT},
};

/// The init section for segments that are coded like `segment`, of which it takes the first part.
///
/// Which parameter sets that are is told by its first picture: the PPS that its slices name, in band
/// or from the shared section, and the SPS which that names.
pub fn init_of_rung(shared: &[u8], segment: &[u8]) -> Result<Vec<u8>, Error> {
    let init = Init::parse(shared)?;
    let (track, config) = init.video().ok_or(Error::NoTrack { wanted: "H.264" })?;
    let fragments = fragments(segment, &init)?;
    let mut samples = fragments
        .iter()
        .flat_map(|fragment| &fragment.runs)
        .filter(|run| run.track == track.id)
        .flat_map(|run| &run.samples);
    let first = samples
        .find(|sample| sample.sync)
        .ok_or(Error::NoKeyFrame)?;
    let picture = segment.get(first.data.clone()).ok_or(Error::NoKeyFrame)?;
    let sets = config.sets_of(picture)?;
    for set in [sets.sps, sets.pps] {
        u16::try_from(set.len()).map_err(|_| Error::Value {
            of: Kind(*b"avcC"),
            field: "the length of a parameter set",
            found: set.len() as u64,
            rule: "it is written with 16 bits",
        })?;
    }
    let sps = avc::sps(sets.sps)?;
    let Coding::Avc { width, height, .. } = track.coding else {
        return Err(Error::NoTrack { wanted: "H.264" });
    };
    let rung = Rung {
        entry: None,
        track: track.id,
        size: (fit(sps.width)?, fit(sps.height)?),
        shown: (
            scaled(track.shown.0, sps.width, width),
            scaled(track.shown.1, sps.height, height),
        ),
        config: avc::Config {
            profile: sps.profile,
            compatibility: sps.compatibility,
            level: sps.level,
            sps: vec![sets.sps.to_vec()],
            pps: vec![sets.pps.to_vec()],
            ..config.clone()
        },
    };
    let mut own = Vec::with_capacity(shared.len());
    rung.copy(shared, &[], &mut own)?;
    Ok(own)
}

/// An init section for all rungs that are like the one whose section is `own`, once their parameter sets are [in
/// band](crate::in_band); of pictures of this `size`, which is to be that of the largest.
pub fn init_in_band(own: &[u8], size: (u16, u16)) -> Result<Vec<u8>, Error> {
    let init = Init::parse(own)?;
    let (track, config) = init.video().ok_or(Error::NoTrack { wanted: "H.264" })?;
    let Coding::Avc { width, height, .. } = track.coding else {
        return Err(Error::NoTrack { wanted: "H.264" });
    };
    let rung = Rung {
        entry: Some(Kind(*b"avc3")),
        track: track.id,
        size,
        shown: (
            scaled(track.shown.0, u32::from(size.0), width),
            scaled(track.shown.1, u32::from(size.1), height),
        ),
        config: config.clone(),
    };
    let mut shared = Vec::with_capacity(own.len());
    rung.copy(own, &[], &mut shared)?;
    Ok(shared)
}

/// What is different for the rung.
struct Rung {
    /// What the sample entry is called, if it is called otherwise.
    entry: Option<Kind>,
    track: u32,
    size: (u16, u16),
    /// In 1/65536 pixels, as they are to be shown.
    shown: (u32, u32),
    config: avc::Config,
}

impl Rung {
    /// Copies boxes that lie in boxes of the kinds `path`, changing what is on the way to the sizes and the sets.
    fn copy(&self, octets: &[u8], path: &[[u8; 4]], to: &mut Vec<u8>) -> Result<(), Error> {
        for found in boxes(octets) {
            let found = found?;
            match (path, &found.kind.0) {
                ([], b"moov")
                | ([_], b"trak")
                | ([_, _], b"mdia")
                | ([_, _, _], b"minf")
                | ([_, _, _, _], b"stbl") => {
                    if found.kind.0 == *b"trak" && !self.is_mine(&found)? {
                        to.extend_from_slice(found.whole);
                        continue;
                    }
                    let mut content = Vec::with_capacity(found.content.len());
                    let path = [path, &[found.kind.0]].concat();
                    self.copy(found.content, &path, &mut content)?;
                    boxes::write(found.kind, &content, to);
                }
                ([_, _], b"tkhd") => boxes::write(found.kind, &self.head(&found)?, to),
                ([_, _, _, _, _], b"stsd") => {
                    boxes::write(found.kind, &self.descriptions(&found)?, to);
                }
                _ => to.extend_from_slice(found.whole),
            }
        }
        Ok(())
    }

    fn is_mine(&self, trak: &Found<'_>) -> Result<bool, Error> {
        let tkhd = boxes::one(trak.content, b"trak", b"tkhd")?;
        // Behind version, flags and two dates, of 8 octets each in version 1.
        let at = if tkhd.first() == Some(&1) { 20 } else { 12 };
        let id = tkhd.get(at..).and_then(|rest| rest.first_chunk());
        Ok(id.is_some_and(|id| u32::from_be_bytes(*id) == self.track))
    }

    /// `tkhd`: the size is its last eight octets.
    fn head(&self, tkhd: &Found<'_>) -> Result<Vec<u8>, Error> {
        let short = Error::Short {
            of: tkhd.kind,
            field: "the size",
        };
        let before = tkhd.content.len().checked_sub(8).ok_or(short)?;
        let mut content = tkhd.content[..before].to_vec();
        content.extend_from_slice(&self.shown.0.to_be_bytes());
        content.extend_from_slice(&self.shown.1.to_be_bytes());
        Ok(content)
    }

    fn descriptions(&self, stsd: &Found<'_>) -> Result<Vec<u8>, Error> {
        let short = |of, field| Error::Short { of, field };
        let counted = stsd.content.split_at_checked(8);
        let (head, entries) = counted.ok_or(short(stsd.kind, "the number of entries"))?;
        let mut content = head.to_vec();
        for entry in boxes(entries) {
            let entry = entry?;
            if !matches!(&entry.kind.0, b"avc1" | b"avc3") {
                content.extend_from_slice(entry.whole);
                continue;
            }
            let parts = entry.content.split_at_checked(VISUAL_HEAD);
            let (fields, inner) = parts.ok_or(short(entry.kind, "the fields of a picture"))?;
            let mut own = fields[..VISUAL_SIZE_AT].to_vec();
            own.extend_from_slice(&self.size.0.to_be_bytes());
            own.extend_from_slice(&self.size.1.to_be_bytes());
            own.extend_from_slice(&fields[VISUAL_SIZE_AT + 4..]);
            for found in boxes(inner) {
                let found = found?;
                match &found.kind.0 {
                    b"avcC" => boxes::write(found.kind, &self.config.write(), &mut own),
                    // The rates of another rung; the box may be left out.
                    b"btrt" => {}
                    _ => own.extend_from_slice(found.whole),
                }
            }
            boxes::write(self.entry.unwrap_or(entry.kind), &own, &mut content);
        }
        Ok(content)
    }
}

fn fit(pixels: u32) -> Result<u16, Error> {
    u16::try_from(pixels).map_err(|_| Error::Value {
        of: Kind(*b"avcC"),
        field: "a side of the picture",
        found: pixels.into(),
        rule: "a sample entry has 16 bits for it",
    })
}

/// A shown side, for a picture of `own` pixels instead of `shared`: pixels keep their shape.
fn scaled(shown: u32, own: u32, shared: u16) -> u32 {
    let scaled = u64::from(shown) * u64::from(own) / u64::from(shared.max(1));
    u32::try_from(scaled).unwrap_or(u32::MAX)
}
