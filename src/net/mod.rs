//! Connections: how they are accepted and bounded, and what the kernel knows about them.
//! What is said over them is the callers' business.

pub mod fetch;
pub mod server;
pub mod socket;
pub mod stretch;
pub mod tcp_info;

pub use fetch::{FetchError, Fetched, Fetcher};
pub use server::{Limits, bind, serve};
pub use socket::{Connection, Peer};
pub use stretch::Stretch;
