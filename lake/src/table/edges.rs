//! `edges`: all one client did to one server on one port in one hour.

table! {
    /// All one client did to one server on one port in one hour under one verdict with one observation.
    Edges: EdgeRow {
        /// Start of the hour; not `hour`, which is the partition's name and would hide it.
        hour_us: Time as "hour_start",
        /// The VPC of the interfaces that logged it; equal addresses of two VPCs are two parties.
        vpc_id: Key or "not in the records",
        /// What the client is: `pod`, `node`, `service`, `load-balancer`, `eni`, `cidr-set`, `cloud-service`, `load-balancer-range`, `external`, `ambiguous` or `unidentified`.
        client_kind: Key,
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
        /// The uid of the client.
        client_uid: Key or "not known",
        /// The address of the client; a /24 or /64 where external addresses were folded.
        client_addr: Key,
        /// What the server is; values as in `client_kind`.
        server_kind: Key,
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
        /// The uid of the server.
        server_uid: Key or "not known",
        /// The address of the server; a /24 or /64 where external addresses were folded.
        server_addr: Key,
        /// The port at the server.
        server_port: Int,
        /// IP protocol number.
        protocol: Int,
        /// Distinct five-tuples seen in the hour.
        connections: Count in "connections",
        /// Packets from client to server.
        forward_packets: Count in "packets",
        /// Bytes from client to server.
        forward_bytes: Count in "bytes",
        /// TCP flags of the packets from client to server, OR-ed.
        forward_flags: Int or "not TCP, or not recorded",
        /// Packets from server to client.
        reverse_packets: Count in "packets",
        /// Bytes from server to client.
        reverse_bytes: Count in "bytes",
        /// TCP flags of the packets from server to client, OR-ed.
        reverse_flags: Int or "not TCP, not recorded, or no reply seen",
        /// What the wire showed: `established`, `refused`, `unanswered`, `rejected`, or `unknown` near a gap of the log.
        observation: Key,
        /// What is declared: `allowed`, `denied` or `unspecified`.
        verdict: Key,
        /// What the two together mean.
        class: Key,
        /// The policy and rule that decided on each side, JSON.
        reasons: Json,
        /// The evidence for which end opened the connection; words in `docs/identity.md`.
        oriented_by: Key,
        /// The evidence for who the client was, or why it is not known; words in `docs/identity.md`.
        client_identified_by: Key,
        /// The evidence for who the server was; values as in `client_identified_by`.
        server_identified_by: Key,
        /// Whom the address of the client may have belonged to, a JSON list of names like `["shop/cart-7d9f"]`: pods on a node's network, pods behind a Service, or the candidates of an ambiguous one; at most 16.
        client_candidates: Json or "there are none",
        /// Whom the address of the server may have belonged to; values as in `client_candidates`.
        server_candidates: Json or "there are none",
        /// What ties the two legs of a connection that an address translation cuts in two: both have the same text, such as `node-port shop/web 31443 on node-a of prod` or `nat ngw-bp1 to 198.51.100.7 443`.
        link: Key or "nothing is known to tie it to another edge",
        /// Start of the first record that was folded in.
        first_seen_us: Time as "first_seen",
        /// End of the last record that was folded in.
        last_seen_us: Time as "last_seen",
        /// Records folded in.
        records: Count in "records",
        /// External client addresses folded into `client_addr`.
        client_addrs: Count or "not folded" in "addresses",
        /// External server addresses folded into `server_addr`.
        server_addrs: Count or "not folded" in "addresses",
    }
}
