//! Spillway's laboratory: programs under test, links that can be narrowed, and real players, for
//! the tests and the tools that look at a running system from outside. And what tells whether a stream is right.

#[cfg(feature = "lab")]
pub mod congest;
pub mod drawing;
pub mod link;
#[cfg(feature = "load")]
pub mod load;
pub mod player;
pub mod plot;
pub mod program;
#[cfg(feature = "simulate")]
pub mod simulate;
pub mod validate;
