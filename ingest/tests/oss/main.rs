//! Objects of a shipping job, read over real sockets from the fake of OSS.
#![cfg(test)]

#[path = "../../../lake/tests/fake_oss/mod.rs"]
#[expect(dead_code, reason = "the tests of the lake use all of the fake")]
mod fake_oss;
#[path = "../ingest/common.rs"]
#[expect(dead_code, reason = "the tests of files use all of it")]
mod records;

mod common;
mod parquet_objects;

mod crash;
mod deaths;
mod faults;
mod formats;
mod memory;
mod reading;
