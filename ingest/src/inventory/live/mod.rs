//! A live watch of a cluster: what its API server says ([`heard`]), as it comes, becomes who held what and what was declared.
//!
//! [`state`] keeps what is open, in words that objects share ([`compact`]): addresses that are held ([`hold`], [`addresses`]), versions
//! in force ([`version`]), and what has ended lately ([`settled`]). [`own`] is what pods hold on interfaces of their own. [`resync`] is what can be said after something was missed, [`adopt`] how a
//! run takes up what the lake holds. [`news`] is what the lake does not have yet, and [`recorder`] writes it: what has ended for good once,
//! what is open as a small file that each commit replaces.

pub mod heard;

mod compact;
mod hold;
mod settled;
mod version;

mod addresses;
mod own;
mod resync;
mod state;

mod adopt;
mod foreign;
mod news;
mod recorder;

pub use heard::{Heard, KindId};
pub use recorder::{Recorder, RecorderSettings};
pub(crate) use resync::watch_of;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod relabelled;

#[cfg(test)]
mod terway;

#[cfg(test)]
mod truth;

#[cfg(test)]
mod killed;
