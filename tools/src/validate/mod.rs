//! What is wrong with an HLS stream, over time: playlists and media go in with the moment they came, findings come
//! out. Whose stream it is does not matter; nothing here knows Spillway.
//!
//! Everything but `fetch` and `session` is pure, so that tests are literal playlists.

pub mod across;
pub mod exchange;
pub mod finding;
pub mod follow;
pub mod lines;
pub mod listing;
pub mod rule;
pub mod snapshot;
pub mod variants;

pub use finding::{Broken, Finding, Findings, Place};
pub use listing::Listing;
pub use rule::{Rule, Severity};
