//! What Spillway publishes: the ladder of a stream, its segments and their window, what each
//! viewer was given of it, and all of that as HLS text (RFC 8216bis) and back.
//!
//! Pure: values in, values out. No clock, no I/O, no task.

pub mod daterange;
pub mod edge;
pub mod history;
pub mod ladder;
pub mod measure;
pub mod parse;
pub mod render;
pub mod rendition;
pub mod segment;
pub mod still;
pub mod time;
pub mod timeline;
pub mod window;

pub use daterange::DateRange;
pub use edge::Spot;
pub use history::History;
pub use ladder::{Ladder, LadderError, MAX_RUNGS, Rung, RungName};
pub use measure::Measure;
pub use rendition::{Closed, Rendition, Renditions};
pub use segment::{Epoch, Head, Init, Part, Segment};
pub use time::{Bitrate, MediaTime, WallTime};
pub use timeline::Timeline;
pub use window::{Format, Window, WindowError};
