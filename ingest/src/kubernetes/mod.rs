//! The API of a cluster: who is there is listed, watched, and handed to the inventory as it comes.
//!
//! One task per kind lists it page by page and watches on ([`follow`](Tuning)); one loop takes what they hear in order, gives it to a
//! [`Record`] and commits now and then. `kube` brings TLS, kubeconfig and credentials; its runtime is not used, because it hides the
//! bookmarks that say up to when nothing was missed.
//!
//! **Invariant:** what is said about time is what is known: an event that comes late, after a silent connection or an outage, is not
//! taken for news; the kind counts as lost from the last that was heard, and is listed anew.
//! **Invariant:** memory holds one page of a kind and the events in flight, never all raw objects.
//! **Not here:** what an object means; when a holder ends.

pub mod kinds;
pub mod login;

mod api;
mod discovery;
mod pause;
mod silence;

mod awake;
mod follow;
mod lines;

mod lease;

pub mod error;

mod told;

mod begin;
mod watch;

pub use error::KubernetesError;
pub use follow::Tuning;
pub use kinds::{KINDS, Kind};
pub use lease::LeaseSettings;
pub use login::{Login, LoginError};
pub use told::{Event, Missing, Record, Report, WatchSettings, WatchSummary};
pub use watch::{check_login, watch};
