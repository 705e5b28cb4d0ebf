//! Load as an audience makes it: viewers who come and go by region, each a player with its own connections, over a
//! link of its own speed. What they saw is counted, written down and drawn.
//!
//! [`curve`], [`model`] and [`account`] are pure; a player's mind is `spillway::player`'s. What runs is [`crowd`] (who is
//! there), [`viewer`] (one of them) and [`wire`] (its connections, plain or over TLS).

pub mod account;
pub mod crowd;
pub mod curve;
pub mod figure;
pub mod model;
pub mod progress;
pub mod seen;
pub mod viewer;
pub mod wire;
