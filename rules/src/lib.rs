//! What is declared, and what it means: cluster model, policy dialects, verdicts.
//!
//! Text in, verdicts out. Nothing here opens, waits or asks the time.

pub mod cluster;

pub mod cidr;
pub mod port;
pub mod selector;

pub mod dialect;
pub mod kubernetes;

pub mod evaluate;
pub mod policy_set;
pub mod reading;
pub mod verdict;

pub mod bulk;
