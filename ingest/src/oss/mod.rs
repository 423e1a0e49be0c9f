//! Objects that a shipping job of the log service writes to OSS, each record once.
//!
//! ```text
//! which objects (layout, pull)  →  bytes ahead of need (fetch)  →  records (lines, columns)  →  one writer (pull)  →  lake
//! ```
//!
//! Every object is a shard, named by its key and its ETag; its records and "this object is done" are one commit. Objects
//! are listed from a low watermark on, which follows the clock at a distance, the look-back. What lies before it is never
//! listed again, and its positions are forgotten. Every commit also carries the watermark it was read under, so of two
//! ingesters that read the same prefix one is refused.
//!
//! **Invariant:** no object is held in memory whole.

mod fetch;
pub mod layout;
mod position;

mod columns;
mod lines;

mod error;
mod events;
pub mod pull;

pub use error::OssReadError;
pub use events::{BatchReport, Event, PullSummary};
pub use layout::{LayoutError, PathFormat};
pub use pull::{Form, PullSettings, Start, pull};
