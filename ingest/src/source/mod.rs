//! Where bytes come from, and how far we are.

pub mod file;
pub mod input;
pub mod problem;

pub use input::{Input, InputError};
pub use problem::{Problem, Severity};
