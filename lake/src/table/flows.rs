//! `flows`: one flow-log record, normalised.

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
