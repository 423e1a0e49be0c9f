//! What the lake promises, tried from outside.
#![cfg(test)]

mod numbers;

mod formats;
mod page;
mod round_trip;

mod conflicts;
mod crash;
mod damage;
mod failing_store;
mod forgotten;
mod log;
mod opening;
mod parquet_files;
mod store;
mod writers;
