//! `findings`: one finding.

table! {
    /// One finding: a statement for a person, with evidence and remedy.
    Findings: FindingRow {
        /// The hash that makes it the same finding tomorrow.
        fingerprint: Key,
        /// The id of the detection that found it.
        detection: Key,
        /// `critical`, `high`, `medium`, `low` or `info`.
        severity: Key,
        /// `open`, `resolved` or `suppressed`.
        status: Key,
        /// What was found, in one line.
        title: Text,
        /// What the client is.
        client_kind: Key or "the finding concerns no client",
        /// The cluster of the client.
        client_cluster: Key or "not of a known cluster",
        /// The namespace of the client.
        client_namespace: Key or "the client has none",
        /// The kind of the client's workload.
        client_workload_kind: Key or "the client has none",
        /// The name of the client's workload.
        client_workload: Key or "the client has none",
        /// The name of the client.
        client_name: Key or "the client has none",
        /// What the server is.
        server_kind: Key or "the finding concerns no server",
        /// The cluster of the server.
        server_cluster: Key or "not of a known cluster",
        /// The namespace of the server.
        server_namespace: Key or "the server has none",
        /// The kind of the server's workload.
        server_workload_kind: Key or "the server has none",
        /// The name of the server's workload.
        server_workload: Key or "the server has none",
        /// The name of the server.
        server_name: Key or "the server has none",
        /// The port at the server.
        server_port: Int or "the finding concerns no single port",
        /// IP protocol number.
        protocol: Int or "the finding concerns no single protocol",
        /// What it rests on, JSON.
        evidence: Json,
        /// Why this is a finding, in sentences a person can check.
        explanation: Text,
        /// What would fix it, usually YAML.
        remedy: Text,
        /// When it was first seen.
        first_seen_us: Time as "first_seen",
        /// When it was last seen.
        last_seen_us: Time as "last_seen",
        /// Connections it concerns.
        connections: Count in "connections",
        /// Packets it concerns, both ways.
        packets: Count in "packets",
        /// Bytes it concerns, both ways.
        bytes: Count in "bytes",
    }
}
