//! One file per command, its arguments beside it, in the order of the walk.

pub(crate) mod demo;
pub(crate) mod simulate;

pub(crate) mod ingest;
mod ingest_shipped;
mod ingest_source;
pub(crate) mod inventory;

pub(crate) mod analyze;
pub(crate) mod findings;

pub(crate) mod explain;
mod explain_bulk;
pub(crate) mod policy;

pub(crate) mod lake;

pub(crate) mod completions;
pub(crate) mod config;
