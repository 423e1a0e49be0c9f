//! `flows`: one flow-log record, normalised.
//!
//! Addresses are text, dictionary-encoded and read back as keys. Measured by
//! `cargo bench -p flowaudit-lake --bench address_columns` (5 million rows, two address columns, zstd-1, one thread,
//! up to two small integers per row; a shared 2-core machine, so look at the ratios):
//!
//! | addresses                                  | u32               | text read as keys  | text read as text  |
//! | ------------------------------------------ | ----------------- | ------------------ | ------------------ |
//! | 3,000 pods, one row in ten of 200,000 more | 7 ns, 4.1 bytes   | 13 ns, 4.4 bytes   | 65 ns, 4.4 bytes   |
//! | every address another                      | 8 ns, 12.4 bytes  | 114 ns, 17.8 bytes | 115 ns, 17.8 bytes |
//!
//! Keys cost 6 ns per row more than u32 where addresses repeat, as they do, and nothing on disk; for that a person
//! can read the column, and IPv6 needs no second one. Text read as text costs five times as much.

table! {
    /// One flow-log record, normalised: one direction of one five-tuple during one window, seen at one interface.
    Flows: FlowRow<'a>, FlowsBuilder {
        /// Start of the capture window.
        start_us: Time as "start_time",
        /// End of the capture window.
        end_us: Time as "end_time",
        /// When the record was written to the lake.
        ingest_us: Time as "ingest_time",
        /// The elastic network interface where the record was made.
        eni_id: Key,
        /// The instance the interface belonged to.
        vm_id: Key or "the record names none",
        /// The VPC of the interface.
        vpc_id: Key or "the record names none",
        /// The vSwitch of the interface.
        vswitch_id: Key or "the record names none",
        /// The Alibaba Cloud account that owns the interface.
        account_id: Key or "the record names none",
        /// The region of the interface.
        region: Key or "neither the record nor the source names one",
        /// `in` towards the interface, `out` away from it.
        direction: Key,
        /// Source address of the packets, canonical text.
        src_addr: Key,
        /// Source port.
        src_port: Int,
        /// Destination address of the packets, canonical text.
        dst_addr: Key,
        /// Destination port.
        dst_port: Int,
        /// IP protocol number.
        protocol: Int,
        /// Packets in the window.
        packets: Count in "packets",
        /// Bytes in the window.
        bytes: Count in "bytes",
        /// TCP flags of all packets in the window, OR-ed.
        tcp_flags: Int or "not TCP, or the record has no such field",
        /// `ACCEPT` or `REJECT`, as security groups and network ACLs decided; NetworkPolicy has no part in it.
        action: Key,
        /// `OK` for records with data.
        log_status: Key,
        /// Number of the path the traffic took.
        traffic_path: Int or "the record has no such field",
        /// Which configured source brought the record.
        source: Key,
        /// Where in the source the record stood.
        source_position: Count,
    }
}

/// Text of [`FlowRow::direction`] towards the interface.
pub const DIRECTION_IN: &str = "in";
/// Text of [`FlowRow::direction`] away from the interface.
pub const DIRECTION_OUT: &str = "out";
