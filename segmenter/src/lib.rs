//! One live input to an aligned ladder of CMAF parts.
//!
//! The library is the wire format, which the origin reads; the `segmenter` program is the one
//! place that links libav (feature `libav`).

pub mod wire;
