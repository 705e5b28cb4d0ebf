//! The mechanism of Spillway's nodes and of its traffic manager: sockets, tasks, stores, HTTP,
//! processes. It decides nothing: what to publish is `playlists`' business, what to choose is
//! `adaptation`'s.
//!
//! `docs/architecture.md` in the repository has the map.

pub mod analytics;
pub mod api;
pub mod archive;
pub mod assets;
pub mod clock;
pub mod config;
pub mod control;
pub mod ingest;
pub mod logfile;
pub mod manager;
pub mod metrics;
pub mod net;
pub mod node;
pub mod origin;
pub mod pages;
pub mod player;
pub mod runtime;
pub mod shutdown;
pub mod source;
pub mod store;
pub mod telemetry;
pub mod text;
pub mod token;
pub mod traces;
pub mod webhook;
