//! High dynamic range, brought down to what every screen shows: BT.709 at 100 % of standard white.
//!
//! Which pictures need it, and the filters that do it. Where they go in the graph is `shape`'s business.

use ff::{color, filter};
use ffmpeg_next as ff;

use super::Picture;
use crate::error::Error;

/// What the values of a picture mean in light.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Range {
    Standard,
    /// Standard range in the wide colours of BT.2020.
    Wide,
    /// SMPTE ST 2084: HDR10 and its kin.
    Pq,
    /// ARIB STD-B67.
    Hlg,
}

impl Range {
    pub(super) fn of(picture: &Picture) -> Self {
        use color::{Primaries, TransferCharacteristic as Transfer};
        match picture.color_transfer_characteristic() {
            Transfer::SMPTE2084 => Self::Pq,
            Transfer::ARIB_STD_B67 => Self::Hlg,
            _ if picture.color_primaries() == Primaries::BT2020 => Self::Wide,
            _ => Self::Standard,
        }
    }

    /// What is said of it in the log and in errors; `None`: nothing.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Standard | Self::Wide => None,
            Self::Pq => Some("PQ (SMPTE ST 2084)"),
            Self::Hlg => Some("HLG (ARIB STD-B67)"),
        }
    }

    /// Filters from pictures of this range to standard ones, each followed by a comma; nothing for those that are.
    pub(super) fn to_standard(self, picture: &Picture) -> Result<String, Error> {
        let transfer = match self {
            Self::Standard => return Ok(String::new()),
            Self::Wide => "2020_10",
            Self::Pq => "smpte2084",
            Self::Hlg => "arib-std-b67",
        };
        for filter in ["zscale", "tonemap"] {
            if filter::find(filter).is_none() {
                return Err(Error::Range {
                    range: self.name().unwrap_or("BT.2020"),
                    filter,
                });
            }
        }
        // What a picture does not say is what such pictures are made with.
        let matrix = match picture.color_space() {
            color::Space::RGB => "gbr",
            color::Space::BT2020CL => "2020_cl",
            color::Space::BT709 => "709",
            _ => "2020_ncl",
        };
        let primaries = match picture.color_primaries() {
            color::Primaries::BT709 => "709",
            color::Primaries::SMPTE432 => "smpte432",
            _ => "2020",
        };
        let range = match picture.color_range() {
            color::Range::JPEG => "full",
            _ => "limited",
        };
        let input = format!("zscale=tin={transfer}:min={matrix}:pin={primaries}:rin={range}");
        let output = "m=709:r=limited";
        if self == Self::Wide {
            return Ok(format!("{input}:t=709:p=709:{output},"));
        }
        Ok(format!(
            "{input}:t=linear:npl={WHITE},format=gbrpf32le,zscale=p=709,tonemap=mobius:desat=0:peak={PEAK},\
             zscale=t=709:{output},"
        ))
    }
}

/// The light of a white sheet, in cd/m2 (ITU-R BT.2408, table 1). It comes out as nearly white, and what is darker as it is.
const WHITE: u32 = 203;
/// The brightest there is, in such whites: 1,000 cd/m2, for which most programmes are graded. What is brighter is white.
const PEAK: f64 = 1000.0 / WHITE as f64;
