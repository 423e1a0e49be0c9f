//! Hours in a real lake, from records written by hand to edges, findings and coverage.
#![cfg(test)]

mod world;

mod across;
mod clusters;
mod decided;
mod gaps;
mod identity;
