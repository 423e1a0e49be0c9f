//! The log service, SLS: signed requests in, records out.

pub mod credentials;
pub mod endpoint;
pub mod sign;

pub mod decode;
pub mod unpack;

pub mod calls;
pub mod client;
pub mod error;

pub use calls::{Cursor, Place, Shard};
pub use client::{Client, ClientError, ClientSettings};
pub use credentials::{Credentials, Fixed, Provider};
pub use error::{Class, SlsError};
