//! Lake → findings: who talked to whom, whether it was declared, and what that means.
//!
//! **Aggregate first, decide later.** Records are folded into distinct tuples while scanning; identifying, orienting and
//! judging happens to tuples. A unit of work is a value: an hour, a bucket of its address pairs, the files, the
//! inventory. Both directions and both interfaces' records of a conversation are always in one bucket, so units need
//! nothing of each other but the hour's fan-in, and their edges add up.
//!
//! **Invariant:** a guess is never made silently. What is not certain is `ambiguous`, `unknown` or `unspecified`, with
//! its reason, and counted in `coverage`.
//! **Invariant:** an analysis depends on the records and the inventory only: not on threads, buckets, order or time.
//! **Invariant:** memory is bounded by the tuples of a bucket, never by the records.
//! **Not here:** the log service, the Kubernetes API, polars, SQL.

pub mod error;
pub mod settings;

pub mod identify;
pub mod timeline;
pub mod unknown;
pub mod worlds;

mod columns;
pub mod fold;
pub mod parties;
pub mod scan;
mod slots;

pub mod gaps;

mod wire;

pub mod fanin;
pub mod orient;

pub mod classify;
mod described;
pub mod judge;
pub mod observe;

pub mod backends;
pub mod coverage;
pub mod edges;
pub mod legs;

pub mod context;
mod outcome;

mod group;

mod alike;

pub mod decide;

pub mod finding;

pub mod explain;
pub mod hour;
pub mod run;

pub use error::AnalyzeError;
pub use run::{Progress, Selection, Summary, run};
pub use settings::Settings;
