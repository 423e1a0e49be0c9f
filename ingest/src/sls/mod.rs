//! The log service, SLS: signed requests in, flows in the lake out, each record once.
//!
//! ```text
//! which shards (shards, or group)  →  one task per shard (shard)  →  one writer (pull)  →  lake
//! ```
//!
//! Every shard task pulls a checked reply and hands it over together with the positions it lies between; the writer turns
//! replies into rows and publishes rows and positions as one commit. Memory is a fixed budget ([`PullSettings`]).
//!
//! **Invariant:** the lake's checkpoint decides what was read. The service's own checkpoints only follow it.

pub mod credentials;
pub mod endpoint;
pub mod sign;

pub mod decode;
pub mod unpack;

mod contradiction;
mod cursor;
pub mod error;

pub mod calls;
pub mod client;
mod spare;

mod cut;
mod limits;
pub mod position;
mod shard;

mod group;
mod heartbeat;
mod shards;

pub mod pull;

pub mod entries;

pub use calls::{Place, Shard};
pub use client::{Client, ClientError, ClientSettings};
pub use contradiction::Contradiction;
pub use credentials::{Chain, Credentials, Fixed, Provider};
pub use cursor::Cursor;
pub use error::{Class, SlsError};
pub use group::GroupSettings;
pub use pull::{BatchReport, Event, PullSettings, PullSummary, pull};
