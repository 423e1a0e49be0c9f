//! A small world with known truth: the seeded simulator.
//!
//! A [`Scenario`] describes an ACK cluster: its nodes, workloads, policies, who talks to whom, and for
//! every line of traffic **what the policies mean for it**, side by side, as its author reasoned it out.
//! [`simulate`] plays the scenario with a seed and gives a [`Run`]: the ENI flow-log records such a cluster
//! would leave, the inventory its user would have, and the truth beside both.
//!
//! ```
//! use flowaudit_sample_logs::{Scenario, simulate};
//!
//! let scenario = Scenario::builtin("small")?;
//! let run = simulate(&scenario, scenario.seed);
//! let first = run.lines().next().map(|line| line.record.to_json());
//! assert!(first.is_some_and(|json| json.starts_with("{\"version\":\"1\"")));
//! # Ok::<(), flowaudit_sample_logs::SampleLogsError>(())
//! ```
//!
//! # What [`Run::write`] leaves behind
//!
//! | path | holds |
//! | --- | --- |
//! | `flows/flowlog-<UTC>.jsonl.zst` | official record shape, one JSON object per line, every value a string, `-` where nothing applies; a file is what was delivered up to that time, late and repeated records included |
//! | `inventory/snapshot-<UTC>.json` | `kubectl get … -A -o json` at that time: namespaces, nodes, pods, services, ReplicaSets, Jobs, NetworkPolicies; every `snapshot_every`, at the very end, and right before and after each policy change, whose time nothing else would show |
//! | `inventory/watch-pods.jsonl` | `kubectl get pods -A --watch --output-watch-events -o json` over the whole run; where it was interrupted, the parts before that carry the time of their end in the name, `watch-pods-<UTC>.jsonl` |
//! | `inventory/watch-podenis.jsonl`, `inventory/watch-noderuntimes.jsonl` | the same of what Terway writes of addresses, where the scenario has it do so; snapshots have these objects, too |
//! | `truth/connections.jsonl.zst` | one [`ConnectionTruth`] per connection, those that left no record included |
//! | `truth/records.jsonl.zst` | one [`RecordTruth`] per line of `flows/`, in the order of the file names and lines |
//! | `truth/findings.jsonl` | one [`ExpectedFinding`] per finding that follows from the scenario's own words |
//!
//! [`Run::write_past`] writes what the cluster's own logs say of the same time: `past/audit.jsonl`, one event of the API server per line,
//! `past/events.jsonl`, the event centre, and `past/snapshot-<UTC>.json`, what is there at the end; the logs go on for a minute.
//!
//! # What makes it a test and not an echo
//!
//! **Invariant:** nothing here evaluates a policy. Policies go into the inventory as they stand in the
//! scenario; verdicts are the scenario's words; findings follow from words and observation.
//! **Invariant:** no clock, no unseeded randomness, no hash order, no floating point: a scenario and a seed
//! give the same bytes on every machine.
//! **Invariant:** what is *identifiable* is computed from the true life of each address, never from the
//! inventory as an analyser would read it.

pub mod error;
pub mod time;

pub mod scenario;

mod random;
pub mod world;

pub mod traffic;

mod capture;
pub mod record;

mod findings;
pub mod truth;

mod inventory;
mod kubernetes;
mod past;
pub mod run;
mod write;

pub mod bulk;

pub use bulk::{Bulk, Records};
pub use error::SampleLogsError;
pub use record::Record;
pub use run::{Delivery, Line, Run, simulate};
pub use scenario::Scenario;
pub use truth::{ConnectionTruth, ExpectedFinding, RecordTruth};
pub use world::World;
pub use write::Written;
