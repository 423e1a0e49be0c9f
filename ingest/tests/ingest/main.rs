//! Ingest over real files and a real lake.

#[cfg(test)]
mod by_hand;
#[cfg(test)]
mod columns;
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
