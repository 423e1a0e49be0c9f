//! What lies outside: credentials of Alibaba Cloud, and its object store. Feature `cloud`.
//!
//! The only part of this crate that opens connections, waits and asks the time.

pub mod credentials;
pub mod oss;
