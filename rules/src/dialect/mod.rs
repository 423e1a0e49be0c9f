//! Policy languages, one module each: from the tree that was read to the common form.

pub mod network_policy;
