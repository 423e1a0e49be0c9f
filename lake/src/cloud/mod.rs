//! What lies outside: credentials of Alibaba Cloud, its object store, and lakes on object stores. Feature `cloud`.
//!
//! The only part of this crate that opens connections, waits and asks the time.

pub mod credentials;
pub mod oss;
pub mod s3;

mod location;
mod objects;
mod wait;

pub use self::location::{Access, Location, LocationError};
pub use self::objects::Objects;
