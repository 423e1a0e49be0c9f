//! Credentials and the object store, against servers on loopback that check what they are sent.
#![cfg(test)]

#[path = "../fake_oss/mod.rs"]
mod fake_oss;

mod bucket;
mod credentials;
mod faults;
mod oss_contract;
