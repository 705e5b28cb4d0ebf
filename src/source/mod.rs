//! How media gets into the store: from a segmenter that this node supervises, or from another
//! node. Who watches is not known here.

mod alerts;
mod dates;
pub mod live;
pub mod publication;
pub mod upstream;
