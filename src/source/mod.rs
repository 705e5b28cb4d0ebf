//! How media gets into the store: from a segmenter that this node supervises, or from another
//! node. Who watches is not known here.

mod alerts;
pub mod live;
pub mod publication;
pub mod upstream;
