//! The API of a cluster, from the wire to what is recorded, against a fake that breaks on demand.

#[cfg(test)]
mod certificates;
#[cfg(test)]
mod common;
#[cfg(test)]
mod credentials;
#[cfg(test)]
#[path = "../fake_kube/mod.rs"]
mod fake_kube;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod history;
#[cfg(test)]
mod lease;
#[cfg(test)]
mod listening;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod scenario;
#[cfg(test)]
mod told;
