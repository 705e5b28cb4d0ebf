//! Connections: how they are accepted and bounded, and what the kernel knows about them; with TLS
//! and through proxies. What is said over them is the callers' business.

pub mod acme;
mod activity;
mod bind;
pub mod caller;
pub mod certificate;
mod complaints;
pub mod fetch;
pub mod front;
mod head;
pub mod http;
mod http1;
pub mod issuing;
pub mod limits;
pub mod proxy;
mod renewal;
mod rewound;
mod sending;
pub mod server;
pub mod shortcut;
pub mod socket;
mod stopping;
pub mod stretch;
pub mod tcp_info;
pub mod tls;

pub use bind::{bind, bind_all};
pub use caller::{Answer, Caller};
pub use certificate::Files;
pub use complaints::Complaints;
pub use fetch::{FetchError, Fetched, Fetcher, Incoming};
pub use front::{Front, FrontConfig};
pub use http::Client;
pub use limits::{Limits, PerAddress};
pub use proxy::{ForwardedBy, Trust};
pub use server::{Server, serve};
pub use shortcut::{App, Plain, Short, Shortcut};
pub use socket::{Connection, Observer, Peer};
pub use stretch::Stretch;
pub use tls::Tls;
