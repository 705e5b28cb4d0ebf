//! What Spillway decides: a viewer's rung, a node's egress, a region's relays.
//!
//! Pure: values in, values out. No clock (`now` is an argument), no I/O, no task, and so every
//! decision can be replayed from its inputs.
//!
//! ```text
//! Delivery -> throughput -> Estimate -> rule -> Choice -> viewer pins it      (every segment)
//!                              |                  ^
//!                              +--> allocator ----+ ceiling                    (every tick)
//! ```

pub mod allocator;
pub mod region;
pub mod rule;
pub mod throughput;
pub mod viewer;

pub use allocator::{Allocation, Allocator, Class, Demand};
pub use rule::{Choice, Cycle, Fixed, Rate, Reason, Rule, Situation};
pub use throughput::{Delivery, Estimate, Evidence, Throughput};
pub use viewer::{Offer, Pin, Viewer, Wish};
