//! What is wrong with an HLS stream, over time: playlists and media go in with the moment they came, findings come
//! out. Whose stream it is does not matter; nothing here knows Spillway.
//!
//! Everything but `fetch` and `session` is pure, so that tests are literal playlists.

pub mod across;
pub mod checker;
pub mod content;
pub mod exchange;
#[cfg(feature = "fetch")]
pub mod fetch;
pub mod finding;
pub mod follow;
pub mod lines;
pub mod listing;
pub mod rates;
pub mod report;
pub mod rule;
#[cfg(feature = "fetch")]
pub mod session;
pub mod snapshot;
pub mod tracks;
pub mod ts;
pub mod variants;

pub use checker::{Checker, Event};
pub use finding::{Broken, Finding, Findings, Place};
pub use listing::Listing;
pub use rule::{Rule, Severity};
