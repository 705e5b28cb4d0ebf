//! What a player says of itself (CTA-5004, Common Media Client Data), as far as it is of use here.
//!
//! A word of a player lowers a decision freely and raises one only within what was measured: it may
//! be wrong, of another stream, or made up. Parsing it is the origin's business.

use std::time::Duration;

use playlists::Bitrate;

/// What a player said with one request; `None` where it said nothing of the kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hint {
    /// `bl`: media ahead of its playhead.
    pub buffer: Option<Duration>,
    /// `bs`: it has run dry since its last request.
    pub starved: bool,
    /// `mtp`: what it measured its path to carry. Used where we cannot measure that ourselves.
    pub throughput: Option<Bitrate>,
    /// `rtp`: the rate at which it wants this object at most.
    pub requested: Option<Bitrate>,
    /// `tb`: the dearest rung that it can play.
    pub top: Option<Bitrate>,
}
