//! Everything that brings data into the lake.

pub mod decode;
pub mod normalize;
