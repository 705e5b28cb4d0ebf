//! Viewings in virtual time: the origin's rules and their rivals on recorded paths, hundreds of hours in
//! seconds, the same with the same seed.
//!
//! The rules, the filter and the allocator are `adaptation`'s, as in production. What is modelled here is
//! what they live on: a path ([`link`], [`trace`]), a stream ([`stream`]), a player ([`viewer`],
//! [`playback`]), and the rival ([`hls`]).

pub mod contender;
pub mod figure;
pub mod harmonic;
pub mod hls;
pub mod lab;
pub mod link;
pub mod many;
pub mod measure;
pub mod mind;
pub mod optimum;
pub mod origin;
pub mod playback;
pub mod random;
pub mod replay;
pub mod scale;
pub mod single;
pub mod statistics;
pub mod stream;
pub mod table;
pub mod trace;
pub mod viewer;
pub mod world;
