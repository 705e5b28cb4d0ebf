//! What is inside a segment: reads CMAF (ISO/IEC 14496-12, 23000-19) with H.264 and AAC, makes the
//! init section of a single rung from the one that all rungs share, one that all share from that of one, MPEG-TS from a CMAF segment and CMAF from
//! one of MPEG-TS, and one picture of several.
//!
//! Pure: octets in, values or octets out. Octets are taken to come from anybody: whatever they are,
//! the answer is a value or an [`Error`], within memory that the input's length bounds.

pub mod aac;
pub mod avc;
mod bits;
pub mod boxes;
mod compose;
mod error;
pub mod fragment;
mod inband;
pub mod init;
pub mod jpeg;
pub mod order;
pub mod remux;
mod rung;
pub mod scte35;
pub mod ts;

pub use boxes::Kind;
pub use error::Error;
pub use fragment::{Fragment, Run, Sample, fragments};
pub use inband::in_band;
pub use init::{Coding, Init, Track};
pub use rung::{init_in_band, init_of_rung};
pub use ts::{transmux, transmux_nothing};
