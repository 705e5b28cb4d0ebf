//! One live input to an aligned ladder of CMAF parts.
//!
//! The library is the wire format, which the origin reads, the grid that every input is cut on, and
//! media from nothing for tests; the `segmenter` program is the one place that links libav (feature `libav`).

pub mod cutter;
pub mod synthetic;
pub mod wire;

pub use cutter::Grid;
pub use synthetic::Synthetic;
