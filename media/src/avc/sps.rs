//! What parameter sets say: their ids and the size of pictures (ITU-T H.264 sections 7.3.2.1 and 7.3.2.2).

use crate::{Error, bits::Bits};

/// The beginning of a sequence parameter set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sps {
    pub id: u32,
    pub profile: u8,
    pub compatibility: u8,
    /// Level times ten.
    pub level: u8,
    /// In pixels, as shown: cropped.
    pub width: u32,
    pub height: u32,
    /// Every picture is a whole frame; otherwise some may be fields.
    pub frames_only: bool,
    /// `chroma_format_idc`; 1 is 4:2:0.
    pub chroma: u8,
    /// Bits beyond eight, of luma and of chroma.
    pub deeper: (u8, u8),
}

/// Reads a sequence parameter set, a whole NAL unit.
pub fn sps(unit: &[u8]) -> Result<Sps, Error> {
    let mut bits = Bits::new("an SPS", unit.get(1..).unwrap_or_default());
    let profile = bits.bits(8, "its profile")? as u8;
    let compatibility = bits.bits(8, "its constraints")? as u8;
    let level = bits.bits(8, "its level")? as u8;
    let id = bits.ue("its id")?;
    let (mut chroma, mut separate, mut deeper) = (1, false, (0, 0));
    if WITH_CHROMA.contains(&profile) {
        chroma = bits.ue("the chroma format")?;
        separate = chroma == 3 && bits.bit("separate planes")?;
        let luma = bits.ue("the bit depth of luma")?;
        deeper = (luma as u8, bits.ue("the bit depth of chroma")? as u8);
        bits.bit("the lossless flag")?;
        if bits.bit("the scaling matrix")? {
            let lists = if chroma == 3 { 12 } else { 8 };
            for list in 0..lists {
                if bits.bit("a scaling list")? {
                    skip_scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.ue("the size of frame numbers")?;
    match bits.ue("the order of pictures")? {
        0 => {
            bits.ue("the size of order counts")?;
        }
        1 => {
            bits.bit("the order's delta")?;
            bits.se("the offset for pictures without reference")?;
            bits.se("the offset from top to bottom")?;
            for _ in 0..bits.ue("the length of the cycle")?.min(255) {
                bits.se("an offset of the cycle")?;
            }
        }
        _ => {}
    }
    bits.ue("the number of reference pictures")?;
    bits.bit("gaps in frame numbers")?;
    let across = bits.ue("the width")?;
    let down = bits.ue("the height")?;
    let frames_only = bits.bit("frames or fields")?;
    if !frames_only {
        bits.bit("adaptive fields")?;
    }
    bits.bit("direct inference")?;
    let mut crop = [0; 4];
    if bits.bit("cropping")? {
        for side in &mut crop {
            *side = bits.ue("a side's cropping")?;
        }
    }
    // Table 6-1: how many luma samples a chroma sample covers; none are subsampled in separate planes.
    let (unit_x, unit_y) = match chroma {
        1 if !separate => (2, 2),
        2 if !separate => (2, 1),
        _ => (1, 1),
    };
    let fields = if frames_only { 1 } else { 2 };
    let [left, right, top, bottom] = crop;
    let cropped = |macroblocks: u32, times: u32, unit: u32, from: u32, to: u32| {
        let whole = (u64::from(macroblocks) + 1) * 16 * u64::from(times);
        let cut = (u64::from(from) + u64::from(to)) * u64::from(unit) * u64::from(times);
        u32::try_from(whole.saturating_sub(cut)).unwrap_or(u32::MAX)
    };
    Ok(Sps {
        id,
        profile,
        compatibility,
        level,
        width: cropped(across, 1, unit_x, left, right),
        height: cropped(down, fields, unit_y, top, bottom),
        frames_only,
        chroma: chroma as u8,
        deeper,
    })
}

/// The id of a picture parameter set, a whole NAL unit, and of the SPS that it refers to.
pub fn pps_ids(unit: &[u8]) -> Result<(u32, u32), Error> {
    let mut bits = Bits::new("a PPS", unit.get(1..).unwrap_or_default());
    Ok((bits.ue("its id")?, bits.ue("the id of its SPS")?))
}

/// Section 7.3.2.1.1.1; only its length matters here.
fn skip_scaling_list(bits: &mut Bits<'_>, size: u32) -> Result<(), Error> {
    let (mut last, mut next) = (8i64, 8i64);
    for _ in 0..size {
        if next != 0 {
            let delta = bits.se("a scaling factor")?;
            next = (last + delta).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Ok(())
}

/// Profiles whose SPS says a chroma format.
const WITH_CHROMA: &[u8] = &[100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
