//! What Spillway decides: a viewer's rung, a node's egress, a region's relays.
//!
//! Pure: values in, values out. No clock (`now` is an argument), no I/O, no task, and so every
//! decision can be replayed from its inputs.
//!
//! ```text
//! Delivery -> throughput -> Estimate --+-> rule -> Choice -> viewer pins it   (every segment)
//!          -> buffer ----> Level ------+     ^
//!                             Wish -> allocator: ceiling, price                (every tick)
//! ```

pub mod abandon;
pub mod allocator;
pub mod buffer;
pub mod decision;
pub mod hint;
pub mod offer;
mod pins;
pub mod region;
pub mod rule;
pub mod saturation;
pub mod throughput;
pub mod viewer;
pub mod wish;

pub use allocator::{Allocation, Allocator, Class, Demand};
pub use buffer::{Buffer, Level};
pub use decision::Decision;
pub use hint::Hint;
pub use offer::{Flight, Limits, Offer, Part, Sizes};
pub use rule::{
    Bba, Bola, Choice, Cycle, Fixed, Mpc, Rate, Reason, RobustMpc, Rule, Situation, Standing,
};
pub use saturation::{Saturation, Sight};
pub use throughput::{Delivery, Estimate, Evidence, Recent, Throughput};
pub use viewer::{Decided, Pin, Viewer};
pub use wish::Wish;
