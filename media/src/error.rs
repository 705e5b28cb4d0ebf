//! What can be wrong with media, said with the place and the rule.

use crate::boxes::Kind;

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("box {kind} at octet {at} says that it is {size} octets long; {left} are left")]
    Size {
        kind: Kind,
        at: usize,
        size: u64,
        left: usize,
    },
    #[error("{left} octets are left at octet {at}, too few for the head of a box")]
    Head { at: usize, left: usize },
    #[error("{of} ends in the middle of {field}")]
    Short { of: Kind, field: &'static str },
    #[error("{of} has no box {missing}")]
    Missing { of: Kind, missing: Kind },
    #[error("{of}: {field} is {found}; {rule}")]
    Value {
        of: Kind,
        field: &'static str,
        found: u64,
        rule: &'static str,
    },
    #[error("a fragment is of track {track}, which the init section does not have")]
    UnknownTrack { track: u32 },
    #[error("sample {index} of track {track} is at octets {from} to {to}, which are in no mdat")]
    Astray {
        track: u32,
        index: usize,
        from: u64,
        to: u64,
    },
    #[error("the init section has no track of {wanted}")]
    NoTrack { wanted: &'static str },
    #[error("the segment has no picture that can be decoded by itself")]
    NoKeyFrame,
    #[error("a NAL unit of {length} octets is in a sample that has {left} left")]
    Unit { length: u64, left: usize },
    #[error("{what} ends before {field}")]
    Bits {
        what: &'static str,
        field: &'static str,
    },
    #[error("a picture uses {set} {id}, which is neither in band nor in the init section")]
    NoSet { set: &'static str, id: u32 },
    #[error("there is {what}; of MPEG-TS, H.264 with AAC in ADTS frames is taken, in the clear")]
    Ts { what: &'static str },
    #[error("there are no tables of MPEG-TS that say what is in it")]
    NoTables,
    #[error("its sound is {found}, and was {known}")]
    Sound { found: String, known: String },
    #[error("MPEG-TS cannot carry {what}")]
    NotForTs { what: String },
    #[error("a JPEG cannot be put among others: {0}")]
    Jpeg(&'static str),
    #[error("a splice_info_section cannot be read: {0}")]
    Splice(&'static str),
}
