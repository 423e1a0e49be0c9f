//! `endpoints`: one holder of one address during one time.

table! {
    /// One holder of one address during one time. `valid_from` to `valid_to` is the core, during which it surely held the address; the slack says how far outside it possibly still did.
    Endpoints: EndpointRow {
        /// The address in canonical text, or a CIDR for kind `cidr-set`.
        addr: Key,
        /// The VPC in which the address is meant.
        vpc_id: Key or "not known; the address is taken to be unique",
        /// From when on it surely held the address.
        valid_from_us: Time as "valid_from",
        /// Until when it surely held the address.
        valid_to_us: Time or "held without a known end" as "valid_to",
        /// How long before `valid_from` it possibly already held the address.
        from_slack_ms: Count or "unbounded" in "ms",
        /// How long after `valid_to` it possibly still held the address.
        to_slack_ms: Count or "unbounded" in "ms",
        /// `pod`, `node`, `service`, `load-balancer`, `eni`, `nat-gateway` or `cidr-set`.
        kind: Key,
        /// The cluster the holder belongs to; empty for what belongs to none.
        cluster: Key,
        /// The namespace of the holder.
        namespace: Key or "the holder has none",
        /// The name of the holder.
        name: Key,
        /// The uid of the object.
        uid: Key or "not known",
        /// The kind of the workload that owns the pod.
        workload_kind: Key or "not a pod",
        /// The name of the workload that owns the pod.
        workload: Key or "not a pod",
        /// The labels, a JSON object of text; `null` in JSON where nobody saw them.
        labels: Json or "the holder has none",
        /// Whether the pod shares its node's addresses.
        host_network: Flag,
        /// The node the pod runs on.
        node: Key or "not a pod, or not scheduled",
        /// The declared ports, a JSON list like `[{"name":"http","port":80,"protocol":"TCP","owner":"container"}]`.
        container_ports: Json or "none declared",
        /// The service account of the pod.
        service_account: Key or "not a pod, or not known",
        /// The elastic network interface that is the holder's own, as `eni_id` of `flows`.
        eni_id: Key or "it has none of its own, or not known",
        /// Where this is known from.
        evidence: Key,
    }
}
