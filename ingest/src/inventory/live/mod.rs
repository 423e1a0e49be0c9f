//! A live watch of a cluster: what its API server says ([`heard`]), as it comes.

pub mod heard;

pub use heard::{Heard, KindId};
