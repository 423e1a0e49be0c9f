//! Ingest over real files and a real lake.

#[cfg(test)]
mod common;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod files;
#[cfg(test)]
mod inventory;
#[cfg(test)]
mod reopened;
