//! `objects`: one version of one declared object.

table! {
    /// One version of one declared object: a NetworkPolicy and its kin, a Namespace, a Service, a security group.
    Objects: ObjectRow {
        /// The API group, empty for the core group.
        group: Key,
        /// The kind.
        kind: Key,
        /// The namespace.
        namespace: Key or "the kind has none",
        /// The name.
        name: Key,
        /// The uid.
        uid: Key or "not known",
        /// From when on this version was surely in force.
        valid_from_us: Time as "valid_from",
        /// Until when this version was surely in force.
        valid_to_us: Time or "in force without a known end" as "valid_to",
        /// How long before `valid_from` it possibly already was in force.
        from_slack_ms: Count or "unbounded" in "ms",
        /// How long after `valid_to` it possibly still was in force.
        to_slack_ms: Count or "unbounded" in "ms",
        /// The object as canonical JSON, without status; `null` where nobody saw what it said.
        spec: Json,
        /// Where it was read, `file:line`.
        origin: Key,
        /// The cluster it belongs to.
        cluster: Key,
    }
}
