//! Credentials, the object store and lakes on it, against servers on loopback that check what they are sent.
#![cfg(test)]

#[path = "../fake_oss/mod.rs"]
mod fake_oss;
#[path = "../it/numbers.rs"]
mod numbers;

mod bucket;
mod credentials;
mod faults;
mod lake;
mod oss_contract;
