//! Everything that brings data into the lake.
//!
//! Flow logs come in by [`files`], from the log service ([`sls`]) and from a bucket it ships to ([`oss`]): bytes → raw
//! records ([`decode`]) → flows, gaps and rejects ([`normalize`]) → the lake. Inventory, who held which address when, comes in by [`inventory::import`], from the API of
//! a cluster ([`kubernetes`]) and from the cloud ([`cloud`]). Nothing vanishes: records read = flows + gaps + rejects + duplicates, checked in every run.
//!
//! **Invariant:** data and position are published together; killed at any instant and run again, nothing is lost and
//! nothing doubled.
//! **Not here:** what traffic means, verdicts, findings.

mod error;
mod settings;
mod summary;

pub mod source;

pub mod decode;
pub mod normalize;

mod recent;
mod write;

mod reading;
mod run;

pub mod oss;
pub mod sls;
mod stop;

pub mod cloud;
pub mod inventory;
pub mod kubernetes;

pub use error::IngestError;
pub use run::files;
pub use settings::Settings;
pub use source::{Input, InputError, Problem, Severity};
pub use stop::Stop;
pub use summary::{Counts, Progress, Summary};
