//! The log service, from the wire to the lake, against a fake that checks what it is sent.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod common;
#[cfg(test)]
mod crash;
#[cfg(test)]
#[path = "../fake/mod.rs"]
mod fake;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod groups;
#[cfg(test)]
mod large;
#[cfg(test)]
mod lies;
#[cfg(test)]
mod past;
#[cfg(test)]
mod query;
#[cfg(test)]
mod reading;
